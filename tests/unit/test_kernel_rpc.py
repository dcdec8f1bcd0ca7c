"""The guard around every call, over real sockets."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2 as details
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status
from tests.unit.jars import JARS, JarRow, MarblePut, uid
from tests.unit.jars_service import FAILURES, LABELS, NAME, PB, jars_service

from modelkeep import errors, node, rpc, viewset
from modelkeep.api.operations.v1 import operations_pb2
from modelkeep.clock import Clock, ScenarioClock
from modelkeep.errors import ModelkeepError, Unavailable
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.node import Build, Node, Tls
from modelkeep.service import Host, Service
from modelkeep.store.sqlite import SqliteStore
from modelkeep.views import Fact, Rows, View

TIMEOUT_S: Final = 20.0
OPERATIONS: Final = "modelkeep.api.operations.v1.OperationsService"
Metadata = Sequence[tuple[str, str | bytes]]


@dataclass
class Served:
    """A running node and a channel to it; `call` is what a client does."""

    node: Node
    store: SqliteStore
    channel: Any  # gRPC's types know generated stubs only
    port: int
    issuer: LocalIssuer

    def token(
        self,
        *roles: str,
        models: frozenset[str] = frozenset(),
        lifetime: timedelta = timedelta(hours=1),
        tenant: str = "main",
        subject: str = "dana",
    ) -> str:
        return self.issuer.issue(
            subject, frozenset(roles), tenant=tenant, lifetime=lifetime, models=models
        )

    def call(
        self,
        method: str,
        request: Any,  # a message declared by a test
        token: str | None = None,
        *,
        timeout: float | None = TIMEOUT_S,
        service: str = NAME,
        **options: Any,  # gRPC's own
    ) -> Any:  # as above
        answers = (
            f"{type(request).DESCRIPTOR.full_name.removesuffix('Request')}Response"
        )
        found = rpc.descriptor(service).methods_by_name[method]
        assert found.output_type.full_name == answers
        call = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(found.output_type).FromString,
        )
        return call(request, timeout=timeout, metadata=bearer(token), **options)

    def put(self, jar: str, token: str, **fields: object) -> Any:  # as above
        fields.setdefault("request_id", str(uuid4()))
        fields.setdefault("colour", "red")
        return self.call("PutMarbles", PB.PutMarblesRequest(jar=jar, **fields), token)

    def get(self, jar: str, token: str, **asked: object) -> Any:  # as above
        return self.call("GetJar", PB.GetJarRequest(jar=jar, **asked), token).jar


def bearer(token: str | None) -> Metadata:
    return () if token is None else (("authorization", f"Bearer {token}"),)


@contextmanager
def serving(
    folder: Path,
    *builds: Build,
    clock: Clock | None = None,
    tls: Tls | None = None,
    credentials: grpc.ChannelCredentials | None = None,
) -> Iterator[Served]:
    home = Home(folder / "home").make()
    ready, stop, ports = threading.Event(), threading.Event(), list[int]()
    failures: list[BaseException] = []

    def tell(port: int) -> None:
        ports.append(port)
        ready.set()

    def serve(running: Node) -> None:
        try:
            running.serve("127.0.0.1:0", ready=tell, stop=stop)
        except BaseException as error:  # noqa: BLE001  # the test must be told
            failures.append(error)
            ready.set()

    with ExitStack() as stack:
        store = stack.enter_context(SqliteStore(home.ledger))
        running = Node(home, store, builds or (jars_service,), clock=clock, tls=tls)
        stack.enter_context(running)
        server = threading.Thread(target=serve, args=(running,))
        server.start()
        stack.callback(server.join)
        stack.callback(stop.set)
        assert ready.wait(TIMEOUT_S)
        if failures:
            raise failures[0]
        address = f"127.0.0.1:{ports[0]}"
        channel = (
            grpc.insecure_channel(address)
            if credentials is None
            else grpc.secure_channel(address, credentials)
        )
        stack.enter_context(channel)
        yield Served(running, store, channel, ports[0], LocalIssuer.open(home.keys))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One node for all tests here that leave others alone: each has its own jars."""
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


JAR_NAMES = itertools.count(1)


@pytest.fixture
def jar() -> str:
    return f"jar{next(JAR_NAMES)}"


@pytest.fixture(scope="module")
def owner(served: Served) -> str:
    return served.token("owner")


class Said(NamedTuple):
    code: grpc.StatusCode
    message: str
    details: list[Message]


def refused(call: Callable[[], object]) -> Said:
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    error: Any = refusal.value
    status = rpc_status.from_call(error)
    packed = [] if status is None else list(status.details)
    return Said(error.code(), error.details(), [_unpacked(one) for one in packed])


def _unpacked(packed: Any) -> Message:  # an Any of another kind
    for kind in (details.BadRequest, details.ErrorInfo, details.PreconditionFailure):
        message: Message = kind()
        if packed.Unpack(message):
            return message
    raise AssertionError(packed.type_url)


class TestWhoIsAsking:
    def test_a_deadline_is_compulsory(
        self, served: Served, jar: str, owner: str
    ) -> None:
        request = PB.PutMarblesRequest(request_id=uid(1), jar=jar, colour="red")
        said = refused(lambda: served.call("PutMarbles", request, owner, timeout=None))
        assert said.code is grpc.StatusCode.INVALID_ARGUMENT
        (bad,) = said.details
        assert isinstance(bad, details.BadRequest)
        assert [one.field for one in bad.field_violations] == ["deadline"]

    def test_nobody_is_turned_away(self, served: Served, jar: str) -> None:
        request = PB.GetJarRequest(jar=jar)
        said = refused(lambda: served.call("GetJar", request))
        assert said.code is grpc.StatusCode.UNAUTHENTICATED

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "a b", "x" * 9_000])
    def test_what_is_no_token_is_turned_away(
        self, served: Served, jar: str, token: str
    ) -> None:
        said = refused(lambda: served.get(jar, token))
        assert said.code in {
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,  # gRPC's own bound on metadata
        }

    def test_an_expired_token_is_turned_away(self, served: Served, jar: str) -> None:
        old = served.token("owner", lifetime=timedelta(seconds=-120))
        said = refused(lambda: served.get(jar, old))
        assert said.code is grpc.StatusCode.UNAUTHENTICATED

    def test_another_issuers_token_is_turned_away(
        self, served: Served, jar: str
    ) -> None:
        elsewhere = replace(served.issuer, name="elsewhere")
        impostor = LocalIssuer(Ed25519PrivateKey.generate())
        for issuer in (elsewhere, impostor):
            token = issuer.issue("dana", frozenset({"owner"}))
            said = refused(lambda token=token: served.get(jar, token))  # type: ignore[misc]  # the loop's own
            assert said.code is grpc.StatusCode.UNAUTHENTICATED

    def test_another_role_is_forbidden_and_told_whose_it_is(
        self, served: Served, jar: str
    ) -> None:
        auditor = served.token("auditor")
        said = refused(lambda: served.put(jar, auditor))
        assert said.code is grpc.StatusCode.PERMISSION_DENIED
        assert "owner" in said.message
        assert "dana is auditor" in said.message

    def test_a_token_without_roles_may_do_nothing(
        self, served: Served, jar: str
    ) -> None:
        for token in (served.token(), served.token("emperor")):
            said = refused(lambda token=token: served.get(jar, token))  # type: ignore[misc]  # the loop's own
            assert said.code is grpc.StatusCode.PERMISSION_DENIED

    def test_a_serving_credential_is_bounded_to_its_models(
        self, served: Served, jar: str
    ) -> None:
        machine = served.token("serving", models=frozenset({jar}))
        assert served.put(jar, machine).written.changed
        said = refused(lambda: served.put("other", machine))
        assert said.code is grpc.StatusCode.PERMISSION_DENIED

    def test_tenants_see_nothing_of_each_other(
        self, served: Served, jar: str, owner: str
    ) -> None:
        position = served.put(jar, owner).written.position
        theirs = served.token("owner", tenant="other")
        said = refused(lambda: served.get(jar, theirs, not_before=position))
        assert said.code is grpc.StatusCode.NOT_FOUND
        assert served.put(jar, theirs).written.revision == 0

    def test_who_wrote_is_who_the_token_says(
        self, served: Served, jar: str, owner: str
    ) -> None:
        position = served.put(jar, owner).written.position
        assert served.get(jar, owner, not_before=position).put_by == "dana"


class TestWrites:
    def test_a_write_is_told_where_it_stands(
        self, served: Served, jar: str, owner: str
    ) -> None:
        first = served.put(jar, owner, request_id=uid(41), count=2).written
        assert (first.revision, first.replayed, first.changed) == (1, False, True)
        assert first.id == jar
        again = served.put(jar, owner, request_id=uid(41), count=2).written
        assert again.replayed
        assert (again.position, again.revision) == (first.position, first.revision)
        assert served.get(jar, owner, not_before=first.position).marbles == 2

    def test_a_request_id_may_be_spelled_in_any_way(
        self, served: Served, jar: str, owner: str
    ) -> None:
        request_id = str(uuid4())
        served.put(jar, owner, request_id=request_id)
        for spelled in (request_id.upper(), request_id.replace("-", "")):
            assert served.put(jar, owner, request_id=spelled).written.replayed

    def test_nothing_to_do_changes_nothing(
        self, served: Served, jar: str, owner: str
    ) -> None:
        assert not served.put(jar, owner, count=0).written.changed

    def test_a_request_id_used_for_another_body_is_refused(
        self, served: Served, jar: str, owner: str
    ) -> None:
        served.put(jar, owner, request_id=uid(42))
        said = refused(lambda: served.put(jar, owner, request_id=uid(42), colour="tan"))
        assert said.code is grpc.StatusCode.ALREADY_EXISTS

    @pytest.mark.parametrize("request_id", ["", "x", "123", "é" * 32])
    def test_a_request_id_is_a_uuid(
        self, served: Served, jar: str, owner: str, request_id: str
    ) -> None:
        said = refused(lambda: served.put(jar, owner, request_id=request_id))
        assert said.code is grpc.StatusCode.INVALID_ARGUMENT
        assert _fields(said) == ["request_id"]

    def test_every_wrong_field_is_named(self, served: Served, owner: str) -> None:
        said = refused(lambda: served.put("A Bad Name", owner, count=99, colour="X"))
        assert said.code is grpc.StatusCode.INVALID_ARGUMENT
        assert sorted(_fields(said)) == ["colour", "count", "jar"]

    def test_an_impossible_effective_at_is_named(
        self, served: Served, jar: str, owner: str
    ) -> None:
        said = refused(lambda: served.put(jar, owner, effective_at={"seconds": 2**60}))
        assert _fields(said) == ["effective_at"]

    def test_a_conflict_says_where_the_stream_is(
        self, served: Served, jar: str, owner: str
    ) -> None:
        served.put(jar, owner, count=3)
        said = refused(lambda: served.put(jar, owner, expected_revision=0))
        assert said.code is grpc.StatusCode.ABORTED
        (info,) = said.details
        assert isinstance(info, details.ErrorInfo)
        assert info.reason == "REVISION_CONFLICT"
        assert info.domain == "modelkeep"
        assert dict(info.metadata) == {"current_revision": "2"}
        assert served.put(jar, owner, expected_revision=2).written.revision == 3

    def test_bytes_that_are_no_request_are_refused(
        self, served: Served, owner: str
    ) -> None:
        call = served.channel.unary_unary(f"/{NAME}/PutMarbles")
        said = refused(
            lambda: call(b"\xff\xff\xff", timeout=TIMEOUT_S, metadata=bearer(owner))
        )
        assert said.code is grpc.StatusCode.INVALID_ARGUMENT


def _fields(said: Said) -> list[str]:
    (bad,) = said.details
    assert isinstance(bad, details.BadRequest)
    return [one.field for one in bad.field_violations]


class TestReads:
    def test_the_past_can_be_asked_for(
        self, served: Served, jar: str, owner: str
    ) -> None:
        earlier = served.put(f"{jar}.other", owner).written.position
        first = served.put(jar, owner, colour="red").written.position
        before = datetime.now(UTC)
        second = served.put(jar, owner, colour="blue").written.position

        def colour(**moment: object) -> str:
            found = served.get(jar, owner, as_of=moment, not_before=second)
            return str(found.colour)

        assert colour() == colour(position=second) == "blue"
        assert colour(position=first) == "red"
        assert colour(time=before) == "red"
        said = refused(lambda: colour(position=earlier))
        assert said.code is grpc.StatusCode.NOT_FOUND

    @pytest.mark.parametrize(
        ("moment", "field"),
        [({"position": -1}, "as_of.position"), ({"time": {"nanos": -5}}, "as_of.time")],
    )
    def test_an_impossible_moment_is_named(
        self, served: Served, jar: str, owner: str, moment: object, field: str
    ) -> None:
        said = refused(lambda: served.get(jar, owner, as_of=moment))
        assert said.code is grpc.StatusCode.INVALID_ARGUMENT
        assert _fields(said) == [field]

    def test_waiting_for_what_never_comes_ends_with_the_deadline(
        self, served: Served, jar: str, owner: str
    ) -> None:
        request = PB.GetJarRequest(jar=jar, not_before=served.store.head() + 1_000_000)
        said = refused(lambda: served.call("GetJar", request, owner, timeout=0.2))
        assert said.code is grpc.StatusCode.DEADLINE_EXCEEDED

    def test_lists_come_in_pages(self, served: Served) -> None:
        token = served.token("owner", tenant="pages")
        for number in range(5):
            last = served.put(f"jar{number}", token).written.position

        def ask(**page: object) -> Any:  # a message declared by a test
            request = PB.ListJarsRequest(page=page, not_before=last)
            return served.call("ListJars", request, token)

        first = ask(size=3)
        assert [one.jar for one in first.jars] == ["jar0", "jar1", "jar2"]
        second = ask(size=3, token=first.next)
        assert [one.jar for one in second.jars] == ["jar3", "jar4"]
        assert second.next == ""
        assert ask(size=5).next == ""
        assert _fields(refused(lambda: ask(size=1_001))) == ["page.size"]
        for wrong in ("?", "a", "é", "_w=="):
            said = refused(lambda wrong=wrong: ask(token=wrong))  # type: ignore[misc]  # the loop's own
            assert _fields(said) == ["page.token"]


ERRORS = "modelkeep.errors"


class TestRefusals:
    def test_every_error_has_a_status(self) -> None:
        # Others are somebody's own, and take the status of the nearest one above.
        ours = {kind for kind in _below(ModelkeepError) if kind.__module__ == ERRORS}
        assert ours == set(rpc.STATUS)

    def test_every_error_is_tried_here(self) -> None:
        assert {kind.__name__ for kind in rpc.STATUS} == set(FAILURES)

    @pytest.mark.parametrize("how", sorted(FAILURES))
    def test_an_error_has_its_status_and_says_why(
        self, served: Served, owner: str, how: str
    ) -> None:
        said = refused(lambda: served.call("Fail", PB.FailRequest(how=how), owner))
        assert said.code is rpc.STATUS[type(FAILURES[how])]
        assert said.message == str(FAILURES[how])
        assert said.details

    def test_a_rule_that_was_broken_is_named(self, served: Served, owner: str) -> None:
        said = refused(
            lambda: served.call("Fail", PB.FailRequest(how="Refused"), owner)
        )
        (failure,) = said.details
        assert isinstance(failure, details.PreconditionFailure)
        (violation,) = failure.violations
        assert (violation.type, violation.subject) == ("tests.rule", "big")
        assert violation.description == "jar big is broken"

    def test_what_nobody_expected_says_nothing_of_the_inside(
        self, served: Served, owner: str
    ) -> None:
        said = refused(lambda: served.call("Fail", PB.FailRequest(how="?"), owner))
        assert said.code is grpc.StatusCode.INTERNAL
        assert "secret" not in said.message
        assert "ZeroDivision" not in said.message

    def test_a_message_beyond_its_limit_is_refused(
        self, served: Served, owner: str
    ) -> None:
        big = "x" * (rpc.MAX_MESSAGE_BYTES + 1)
        said = refused(lambda: served.put(big, owner))
        assert said.code is grpc.StatusCode.RESOURCE_EXHAUSTED

    def test_a_compressed_bomb_is_refused(self, served: Served, owner: str) -> None:
        bomb = PB.PutMarblesRequest(request_id=uid(1), jar="a" * 50_000_000)
        said = refused(
            lambda: served.call(
                "PutMarbles", bomb, owner, compression=grpc.Compression.Gzip
            )
        )
        assert said.code in {
            grpc.StatusCode.UNIMPLEMENTED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }

    def test_a_method_that_does_not_exist_is_unimplemented(
        self, served: Served, owner: str
    ) -> None:
        call = served.channel.unary_unary(f"/{NAME}/Nothing")
        said = refused(lambda: call(b"", timeout=TIMEOUT_S, metadata=bearer(owner)))
        assert said.code is grpc.StatusCode.UNIMPLEMENTED


def _below(kind: type[ModelkeepError]) -> Iterator[type[ModelkeepError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


class TestSealedFields:
    def label(
        self, served: Served, jar: str, token: str, text: str, number: int
    ) -> Any:  # declared by a test
        request = PB.LabelJarRequest(
            request_id=uid(number), jar=jar, owner="erin", label=text
        )
        return served.call("LabelJar", request, token).written

    def test_they_are_ciphertext_in_the_log(
        self, served: Served, jar: str, owner: str
    ) -> None:
        at = self.label(served, jar, owner, "Erin Example", 51).position
        (one,) = served.store.read_stream(f"label-main.{jar}")
        assert b"Erin" not in one.data + one.metadata
        assert b"ciphertext" in one.data
        request = PB.GetLabelRequest(jar=jar, not_before=at)
        assert served.call("GetLabel", request, owner).label == "Erin Example"

    def test_the_same_body_sealed_anew_is_recognised(
        self, served: Served, jar: str, owner: str
    ) -> None:
        first = self.label(served, jar, owner, "Erin Example", 52)
        again = self.label(served, jar, owner, "Erin Example", 52)
        assert again.replayed
        assert again.position == first.position
        said = refused(lambda: self.label(served, jar, owner, "Erin Other", 52))
        assert said.code is grpc.StatusCode.ALREADY_EXISTS

    def test_they_are_bounded_and_named(
        self, served: Served, jar: str, owner: str
    ) -> None:
        said = refused(lambda: self.label(served, jar, owner, "x" * 1_001, 53))
        assert _fields(said) == ["label"]
        said = refused(lambda: self.label(served, jar, owner, "", 54))
        assert _fields(said) == ["label"]


def watching(served: Served, token: str | None) -> Iterable[Any]:
    call = served.channel.unary_stream(
        f"/{NAME}/WatchJars", response_deserializer=PB.WatchJarsResponse.FromString
    )
    found: Iterable[Any] = call(b"", timeout=TIMEOUT_S, metadata=bearer(token))
    return found


class TestStreams:
    def test_a_stream_goes_through_the_same_guard(self, served: Served) -> None:
        for token, code in (
            (None, grpc.StatusCode.UNAUTHENTICATED),
            (served.token(), grpc.StatusCode.PERMISSION_DENIED),
        ):
            said = refused(lambda token=token: list(watching(served, token)))  # type: ignore[misc]  # the loop's own
            assert said.code is code

    def test_a_stream_tells_what_happens(
        self, served: Served, jar: str, owner: str
    ) -> None:
        told = watching(served, owner)
        at = served.put(jar, owner).written.position
        assert next(one.position for one in told if one.position >= at) >= at
        told.cancel()  # type: ignore[attr-defined]  # a call is more than an iterator

    def test_a_stream_ends_when_the_token_does(self, served: Served) -> None:
        token = served.token("owner", lifetime=timedelta(seconds=1))
        said = refused(lambda: list(watching(served, token)))
        assert said.code is grpc.StatusCode.UNAUTHENTICATED
        assert "expired" in said.message

    def test_a_stream_writes_in_its_callers_name(
        self, served: Served, jar: str, owner: str
    ) -> None:
        call = served.channel.stream_stream(
            f"/{NAME}/PutMany",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=PB.PutManyResponse.FromString,
        )
        asks = [PB.PutManyRequest(request_id=str(uuid4()), jar=jar) for _ in range(3)]
        told = call(iter(asks), timeout=TIMEOUT_S, metadata=bearer(owner))
        assert [one.revision for one in told] == [0, 1, 2]
        for one in served.store.read_stream(f"jar-main.{jar}"):
            assert one.meta["actor_subject"] == "dana"


class TestTheProcess:
    def test_it_says_that_it_is_healthy(self, served: Served) -> None:
        for name in ("", NAME, OPERATIONS):
            assert health(served, name) == health_pb2.HealthCheckResponse.SERVING

    def test_it_says_what_it_can_be_asked(self, served: Served) -> None:
        call = served.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = call(iter([ask]), timeout=TIMEOUT_S)
        listed = {one.name for one in answer.list_services_response.service}
        assert {NAME, OPERATIONS, "grpc.health.v1.Health"} <= listed

    def test_status_can_wait_until_everybody_is_level(
        self, served: Served, owner: str
    ) -> None:
        for _ in range(20):
            at = served.put("waited-for", owner).written.position
            status = ask_status(served, owner, within_ms=1_000)
            assert status.head >= at
            assert all(one.position >= status.head for one in status.followers)

    def test_status_waits_for_a_second_at_most(
        self, served: Served, owner: str
    ) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            ask_status(served, owner, within_ms=1_001)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    def test_it_says_how_far_it_is(self, served: Served, jar: str, owner: str) -> None:
        at = served.put(jar, owner).written.position
        served.node.catch_up(TIMEOUT_S)
        status = ask_status(served, owner)
        assert status.head >= at
        assert status.origin == served.store.origin
        followers = {one.name: one for one in status.followers}
        assert followers["jars/views"].position >= at
        assert not any(one.halted for one in status.followers)

    def test_it_tells_the_digests_of_its_views(self, served: Served) -> None:
        request = operations_pb2.DigestsRequest()
        operator = served.token("operator")
        found = served.call("Digests", request, operator, service=OPERATIONS)
        assert set(found.digests) == {"jars/jars", "jars/labels"}

    def test_a_live_clock_is_not_moved_by_anybody(self, served: Served) -> None:
        said = refused(
            lambda: tick(served, served.token("operator"), datetime.now(UTC))
        )
        assert said.code is grpc.StatusCode.FAILED_PRECONDITION

    def test_a_scenarios_clock_is_moved_and_is_what_is_known(
        self, tmp_path: Path
    ) -> None:
        noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
        with serving(tmp_path, clock=ScenarioClock(noon)) as served:
            operator, owner = served.token("operator"), served.token("owner")
            written = tick(served, operator, noon + timedelta(hours=1)).written
            served.node.catch_up(TIMEOUT_S)
            served.put("big", owner)
            assert written.changed
            (one,) = served.store.read_stream("jar-main.big")
            assert one.meta["known_at"] == "2030-01-01T13:00:00.000000Z"
            now = ask_status(served, owner).now.ToDatetime(tzinfo=UTC)
            assert now == noon + timedelta(hours=1)

    def test_halted_views_say_so_and_answer_of_the_past(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node, "HEALTH_S", 0.01)
        monkeypatch.setattr(viewset, "POLL_S", 0.02)
        afraid = View("jars", JarRow)

        @afraid.on(MarblePut)
        def put(event: MarblePut, fact: Fact, rows: Rows[JarRow]) -> None:
            if event.colour == "black":
                raise ZeroDivisionError("a black marble")
            JARS.applies[event.event_name](event, fact, rows)  # type: ignore[arg-type]  # the same rows

        def build(host: Host) -> Service:
            return jars_service(host, afraid, LABELS)

        with serving(tmp_path, build) as served:
            owner = served.token("owner")
            before = served.put("big", owner).written.position
            poison = served.put("big", owner, colour="black").written.position
            with pytest.raises(Unavailable):
                served.node.catch_up(TIMEOUT_S)
            said = refused(lambda: served.get("big", owner))
            assert said.code is grpc.StatusCode.UNAVAILABLE
            assert "a black marble" in said.message
            past = served.get("big", owner, as_of={"position": before})
            assert past.colour == "red"
            halted = {f.name: f.halted for f in ask_status(served, owner).followers}
            assert "a black marble" in halted["jars/views"]
            assert str(poison) in halted["jars/views"]
            deadline = datetime.now(UTC) + timedelta(seconds=TIMEOUT_S)
            while health(served, NAME) == 1 and datetime.now(UTC) < deadline:
                pass
            assert health(served, "") == health_pb2.HealthCheckResponse.NOT_SERVING

    def test_a_port_in_use_is_an_error(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with opened(tmp_path) as running, pytest.raises(Unavailable, match="taken"):
                running.serve(address)

    @pytest.mark.parametrize(
        "address", ["0.0.0.0:0", "[::]:0", "10.1.2.3:50051", "example.org:0", ":0"]
    )
    def test_beyond_loopback_it_speaks_only_with_a_certificate(
        self, tmp_path: Path, address: str
    ) -> None:
        with opened(tmp_path) as running, pytest.raises(Unavailable, match="loopback"):
            running.serve(address)

    def test_a_service_runs_once_a_home(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served:
            where = f"127.0.0.1:{served.port}"
            home = served.node.home
            with (
                pytest.raises(Unavailable, match=f"runs on {where}"),
                Node(home, served.store, [jars_service]),
            ):
                pass

    def test_a_table_that_is_not_the_protos_stops_the_start(
        self, tmp_path: Path
    ) -> None:
        def forgetful(host: Host) -> Service:
            whole = jars_service(host)
            return replace(whole, reads=whole.reads[1:])

        def inventive(host: Host) -> Service:
            whole = jars_service(host)
            return replace(
                whole, reads=[*whole.reads, replace(whole.reads[0], rpc="X")]
            )

        for build, word in ((forgetful, "GetJar"), (inventive, "X")):
            with pytest.raises(TypeError, match=word), serving(tmp_path, build):
                pass


@contextmanager
def opened(folder: Path) -> Iterator[Node]:
    home = Home(folder / "home").make()
    with (
        SqliteStore(home.ledger) as store,
        Node(home, store, [jars_service]) as running,
    ):
        yield running


def health(served: Served, name: str) -> int:
    call = served.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    answer: Any = call(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S)
    return int(answer.status)


def ask_status(served: Served, token: str, within_ms: int = 0) -> Any:  # any process
    request = operations_pb2.StatusRequest(level_within_ms=within_ms)
    return served.call("Status", request, token, service=OPERATIONS)


def tick(served: Served, token: str, instant: datetime) -> Any:  # as above
    request = operations_pb2.TickRequest(request_id=str(uuid4()))
    request.instant.FromDatetime(instant)
    return served.call("Tick", request, token, service=OPERATIONS)


# --- TLS ---------------------------------------------------------------------------


class Pair(NamedTuple):
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> tuple[bytes, bytes]:
        return (
            self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            self.certificate.public_bytes(Encoding.PEM),
        )


def certify(name: str, authority: Pair | None = None) -> Pair:
    """Make a certificate for 127.0.0.1; without an authority it is one itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    issuer = subject if authority is None else authority.certificate.subject
    loopback = x509.IPAddress(ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(authority is None, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
        .sign(key if authority is None else authority.key, hashes.SHA256())
    )
    return Pair(key, certificate)


def test_with_a_client_authority_only_its_clients_get_in(tmp_path: Path) -> None:
    authority, stranger = certify("authority"), certify("stranger")
    key, certificate = certify("server", authority).pem
    root = authority.pem[1]
    tls = Tls(key, certificate, client_ca=root)
    ours = grpc.ssl_channel_credentials(root, *certify("client", authority).pem)
    with serving(tmp_path, tls=tls, credentials=ours) as served:
        owner = served.token("owner")
        assert served.put("big", owner).written.changed
        address = f"127.0.0.1:{served.port}"
        for credentials in (
            grpc.ssl_channel_credentials(root),
            grpc.ssl_channel_credentials(root, *certify("client", stranger).pem),
            None,
        ):
            with (
                grpc.insecure_channel(address)
                if credentials is None
                else grpc.secure_channel(address, credentials)
            ) as channel:
                theirs = replace(served, channel=channel)
                said = refused(lambda theirs=theirs: theirs.put("big", owner))  # type: ignore[misc]  # the loop's own
                assert said.code is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_needs_no_client_authority(tmp_path: Path) -> None:
    authority = certify("authority")
    tls = Tls(*certify("server", authority).pem)
    trusting = grpc.ssl_channel_credentials(authority.pem[1])
    with serving(tmp_path, tls=tls, credentials=trusting) as served:
        assert served.put("big", served.token("owner")).written.changed
        said = refused(lambda: served.call("GetJar", PB.GetJarRequest(jar="big")))
        assert said.code is grpc.StatusCode.UNAUTHENTICATED


def test_every_error_is_in_the_tree_at_the_top_of_its_file() -> None:
    assert errors.__doc__ is not None
    for kind in _below(ModelkeepError):
        if kind.__module__ == errors.__name__:
            assert kind.__name__ in errors.__doc__

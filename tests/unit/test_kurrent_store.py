"""The KurrentDB engine over the double: what it promises beyond the contract suite.

The double tests our side, not KurrentDB.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import kurrentdbclient
import pytest
from kurrentdbclient.protos.v1 import shared_pb2
from tests.doubles.kurrentdb import Double

from modelkeep.errors import (
    Corrupt,
    Exhausted,
    Invalid,
    Late,
    ModelkeepError,
    TooLarge,
    Unavailable,
    WrongVersion,
)
from modelkeep.store import kurrent
from modelkeep.store.kurrent import KurrentStore
from modelkeep.store.port import (
    ANY,
    EXISTS,
    MAX_APPEND_BYTES,
    NO_STREAM,
    START,
    Appended,
    Filter,
    NewEvent,
    Store,
)

STREAM = "model-acme.fraud"


def event(name: str = "inventory.model-registered", data: bytes = b"{}") -> NewEvent:
    return NewEvent(uuid4(), name, 1, data, b'{"schema_version":"1"}')


@pytest.fixture
def double() -> Iterator[Double]:
    with Double() as double:
        yield double


@pytest.fixture
def store(double: Double) -> Iterator[KurrentStore]:
    with KurrentStore(double.uri) as store:
        yield store


def names(store: KurrentStore, only: Filter | None = None) -> list[str]:
    return [recorded.name for recorded in store.read_all(only=only)]


def test_it_is_a_store(store: KurrentStore) -> None:
    assert isinstance(store, Store)


def test_an_event_comes_back_as_it_was_given(store: KurrentStore) -> None:
    metadata = json.dumps({"known_at": "now", "schema_version": "12"}).encode()
    given = NewEvent(uuid4(), "debt.incurred", 12, b'{"amount": 1.50}', metadata)
    at = store.append(STREAM, [given], expected=NO_STREAM)
    (back,) = store.read_stream(STREAM)
    assert (back.uuid, back.name, back.schema_version) == given[:3]
    assert (back.data, back.metadata) == (given.data, given.metadata)
    assert (back.stream, back.position, back.version) == (STREAM, *at)
    assert back.recorded_at > 1_600_000_000_000_000


def test_what_could_not_be_read_back_is_not_written(
    store: KurrentStore, double: Double
) -> None:
    lost = event()._replace(schema_version=2)
    with pytest.raises(Invalid, match="schema_version"):
        store.append(STREAM, [lost], expected=NO_STREAM)
    assert double.calls["BatchAppend"] == 0


@pytest.mark.parametrize("expected", [NO_STREAM, ANY])
def test_a_repeated_append_has_the_first_answer(
    store: KurrentStore, expected: int
) -> None:
    events = [event(), event()]
    first = store.append(STREAM, events, expected=expected)
    store.append(STREAM, [event()], expected=1)
    assert first.version == 1
    assert store.append(STREAM, events, expected=expected) == first
    assert store.stream_version(STREAM) == 2


def test_a_repeated_append_to_what_exists_has_the_first_answer(
    store: KurrentStore,
) -> None:
    store.append(STREAM, [event()], expected=NO_STREAM)
    events = [event(), event()]
    first = store.append(STREAM, events, expected=EXISTS)
    assert first.version == 2
    assert store.append(STREAM, events, expected=EXISTS) == first


def test_a_server_that_forgot_the_position_is_asked_for_it(
    store: KurrentStore, double: Double
) -> None:
    double.faults.forgetful = True
    events = [event(), event()]
    first = store.append(STREAM, events, expected=NO_STREAM)
    assert store.append(STREAM, events, expected=NO_STREAM) == first


def test_a_wrong_version_tells_the_current_one(store: KurrentStore) -> None:
    with pytest.raises(WrongVersion) as missing:
        store.append(STREAM, [event()], expected=3)
    assert missing.value.current == NO_STREAM
    store.append(STREAM, [event(), event()], expected=NO_STREAM)
    with pytest.raises(WrongVersion) as late:
        store.append(STREAM, [event()], expected=0)
    assert (late.value.stream, late.value.expected, late.value.current) == (
        STREAM,
        0,
        1,
    )


def test_a_known_id_at_the_current_version_is_written_again(
    store: KurrentStore,
) -> None:
    events = [event()]
    store.append(STREAM, events, expected=NO_STREAM)
    assert store.append(STREAM, events, expected=0).version == 1


def test_even_one_event_goes_out_as_a_list(store: KurrentStore, double: Double) -> None:
    store.append(STREAM, [event()], expected=NO_STREAM)
    assert double.calls["BatchAppend"] == 1
    assert double.calls["Append"] == 0


def test_a_lost_answer_leaves_one_event(store: KurrentStore, double: Double) -> None:
    double.faults.lose_answers(1)
    at = store.append(STREAM, [event()], expected=NO_STREAM)
    assert [(r.position, r.version) for r in store.read_all()] == [at]


def test_an_unknown_outcome_is_settled_by_the_same_ids(
    store: KurrentStore, double: Double
) -> None:
    events = [event(), event()]
    double.faults.lose_answers(10)
    with pytest.raises(Unavailable):
        store.append(STREAM, events, expected=NO_STREAM)
    double.faults.lose_answers(0)
    assert store.append(STREAM, events, expected=NO_STREAM).version == 1
    assert [r.uuid for r in store.read_stream(STREAM)] == [e.id for e in events]


def test_a_slow_answer_is_late_and_the_same_ids_settle_it(double: Double) -> None:
    events = [event()]
    with KurrentStore(double.uri, timeout=0.1) as store:
        double.faults.delay_answers(0.4, 2)
        with pytest.raises(Late):
            store.append(STREAM, events, expected=NO_STREAM)
    with KurrentStore(double.uri) as store:
        assert store.append(STREAM, events, expected=NO_STREAM).version == 0
        assert len(list(store.read_all())) == 1


def test_too_large_an_append_is_not_sent(store: KurrentStore, double: Double) -> None:
    overhead = len(event().metadata)
    store.append(
        STREAM, [event(data=b"x" * (MAX_APPEND_BYTES - overhead))], expected=NO_STREAM
    )
    sent = double.calls["BatchAppend"]
    with pytest.raises(TooLarge):
        store.append(
            STREAM, [event(data=b"x" * (MAX_APPEND_BYTES - overhead + 1))], expected=0
        )
    assert double.calls["BatchAppend"] == sent


def test_a_server_with_a_lower_limit_is_heard() -> None:
    with Double(max_append=1000) as small, KurrentStore(small.uri) as store:
        with pytest.raises(TooLarge, match="1000"):
            store.append(STREAM, [event(data=b"x" * 1000)], expected=NO_STREAM)
        assert store.head() == START


@pytest.mark.parametrize(
    ("details", "told"),
    [
        (shared_pb2.Timeout(), Late),
        (shared_pb2.Unknown(), Unavailable),
        (shared_pb2.InvalidTransaction(), Unavailable),
        (shared_pb2.AccessDenied(), Unavailable),
        (shared_pb2.BadRequest(message="no"), Invalid),
        (shared_pb2.Empty(), Unavailable),
    ],
)
def test_every_answer_of_the_server_has_an_error_of_ours(
    store: KurrentStore,
    double: Double,
    details: shared_pb2.Timeout,
    told: type[ModelkeepError],
) -> None:
    double.faults.answer_with(details)
    with pytest.raises(told):
        store.append(STREAM, [event()], expected=NO_STREAM)
    assert store.head() == START


def test_every_error_of_the_client_has_an_error_of_ours() -> None:
    stack = [kurrentdbclient.exceptions.KurrentDBClientError]
    for kind in stack:
        stack.extend(kind.__subclasses__())
        if kind.__init__ is Exception.__init__ and not hasattr(kind, "__deprecated__"):
            assert isinstance(kurrent._told(kind("why"), "what"), ModelkeepError)
    assert len(stack) > 20


def test_domain_events_with_the_names_of_kurrents_own_are_seen(
    store: KurrentStore, double: Double
) -> None:
    given = [event("Result"), event("PersistentConfig1"), event("inventory.x")]
    store.append(STREAM, given, expected=NO_STREAM)
    double.log.write_system_event("$stats-0.0.0.0", "$statsCollected")
    double.log.write_system_event("$projections-x-result", "Result")
    assert names(store) == ["Result", "PersistentConfig1", "inventory.x"]
    assert names(store, Filter("name", ("Res",))) == ["Result"]


def test_the_head_is_the_last_domain_event(store: KurrentStore, double: Double) -> None:
    assert store.head() == START
    at = store.append(STREAM, [event()], expected=NO_STREAM)
    double.log.write_system_event("$stats-0.0.0.0", "$statsCollected")
    assert store.head() == at.position


def test_a_prefix_is_no_pattern(store: KurrentStore) -> None:
    given = [event(n) for n in ("policy.evaluated", "policyXevaluated", "xpolicy.a")]
    store.append(STREAM, given, expected=NO_STREAM)
    assert names(store, Filter("name", ("policy.",))) == ["policy.evaluated"]
    assert names(store, Filter("name", ())) == []
    assert len(names(store, Filter("name", ("", "policy.")))) == 3
    assert len(names(store, Filter("stream", ("model-acme.", "zzz")))) == 3
    assert names(store, Filter("stream", ("model.acme",))) == []


def test_reading_on_begins_after_the_position(store: KurrentStore) -> None:
    store.append(STREAM, [event(f"n.{i}") for i in range(5)], expected=NO_STREAM)
    read = list(store.read_all())
    assert [r.version for r in store.read_all(after=read[1].position)] == [2, 3, 4]
    assert [r.version for r in store.read_all(after=read[1].position, limit=2)] == [
        2,
        3,
    ]
    assert list(store.read_all(limit=0)) == []
    only = Filter("name", ("n.4",))
    assert [r.version for r in store.read_all(after=read[0].position, only=only)] == [4]


def test_a_position_of_another_log_is_refused(store: KurrentStore) -> None:
    at = store.append(STREAM, [event()], expected=NO_STREAM)
    with pytest.raises(Invalid, match="position"):
        list(store.read_all(after=at.position + 1))


def test_a_stream_is_read_in_both_directions(store: KurrentStore) -> None:
    store.append(STREAM, [event() for _ in range(4)], expected=NO_STREAM)

    def versions(after: int = NO_STREAM, *, backwards: bool = False) -> list[int]:
        read = store.read_stream(STREAM, after=after, backwards=backwards)
        return [r.version for r in read]

    assert versions() == [0, 1, 2, 3]
    assert versions(1) == [2, 3]
    assert versions(3) == []
    assert versions(backwards=True) == [3, 2, 1, 0]
    assert versions(2, backwards=True) == [1, 0]
    assert versions(0, backwards=True) == []
    assert versions(99, backwards=True) == [3, 2, 1, 0]
    assert list(store.read_stream("model-acme.none")) == []
    assert list(store.read_stream("$settings")) == []


def test_a_deleted_stream_is_missing_and_then_visibly_broken(
    store: KurrentStore, double: Double
) -> None:
    store.append(STREAM, [event(), event()], expected=NO_STREAM)
    double.log.delete(STREAM)
    assert store.stream_version(STREAM) == NO_STREAM
    with pytest.raises(WrongVersion):
        store.append(STREAM, [event()], expected=EXISTS)
    store.append(STREAM, [event()], expected=NO_STREAM)
    with pytest.raises(Corrupt, match="version 2 stands where 0 is due"):
        list(store.read_stream(STREAM))


def test_a_tombstone_in_a_ledger_is_corruption(
    store: KurrentStore, double: Double
) -> None:
    store.append(STREAM, [event()], expected=NO_STREAM)
    double.log.tombstone(STREAM)
    with pytest.raises(Corrupt, match="tombstoned"):
        store.append(STREAM, [event()], expected=0)
    with pytest.raises(Corrupt, match="tombstoned"):
        list(store.read_stream(STREAM))


def test_ledgers_share_a_database_without_meeting(double: Double) -> None:
    with (
        KurrentStore(double.uri + "&Namespace=one_") as one,
        KurrentStore(double.uri + "&namespace=two_") as two,
    ):
        at = one.append(STREAM, [event("n.one")], expected=NO_STREAM)
        two.append(STREAM, [event("n.two")], expected=NO_STREAM)
        assert names(one) == ["n.one"]
        assert names(one, Filter("name", ("n.",))) == ["n.one"]
        assert names(one, Filter("stream", ("model-",))) == ["n.one"]
        assert [r.stream for r in one.read_stream(STREAM)] == [STREAM]
        assert one.head() == at.position
        with one.subscribe() as subscription:
            assert [r.name for r in subscription.poll(20).events] == ["n.one"]
    with KurrentStore(double.uri) as whole:
        assert [r.stream for r in whole.read_all()] == [
            "one_" + STREAM,
            "two_" + STREAM,
        ]


def test_of_many_writers_at_one_version_one_wins(store: KurrentStore) -> None:
    def write(_: int) -> int:
        try:
            return store.append(STREAM, [event()], expected=NO_STREAM).version
        except WrongVersion as lost:
            return -1 - lost.current

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(write, range(16)))
    assert outcomes == [-1] * 15 + [0]


def test_submitted_appends_answer_through_their_futures(store: KurrentStore) -> None:
    futures = [
        store.submit(f"model-acme.{n}", [event()], expected=NO_STREAM)
        for n in range(50)
    ]
    wrong = store.submit("model-acme.x", [event()], expected=7)
    empty = store.submit("model-acme.x", [], expected=NO_STREAM)
    positions = {future.result().position for future in futures}
    assert len(positions) == 50
    assert isinstance(wrong.exception(), WrongVersion)
    assert isinstance(empty.exception(), Invalid)


def test_what_waits_to_be_appended_is_bounded(double: Double) -> None:
    with KurrentStore(double.uri, workers=1, backlog=2) as store:
        double.faults.delay_answers(0.2, 1)
        futures = [
            store.submit(f"model-acme.{n}", [event()], expected=NO_STREAM)
            for n in range(3)
        ]
        assert isinstance(futures[2].exception(), Exhausted)
        assert futures[0].result().version == futures[1].result().version == 0


def test_an_answered_append_makes_room_for_another(double: Double) -> None:
    with KurrentStore(double.uri, backlog=1) as store:
        for n in range(5):
            future = store.submit(STREAM, [event()], expected=n - 1)
            assert future.result().version == n
            while not store._room.acquire(blocking=False):
                pass  # the room is made just after the answer
            store._room.release()


def test_closing_does_not_wait_for_each_append_to_a_server_that_is_gone(
    double: Double,
) -> None:
    store = KurrentStore(double.uri, workers=1)
    double.close()
    futures = [store.submit(STREAM, [event()], expected=ANY) for _ in range(500)]
    store.close()
    assert all(isinstance(f.exception(), Unavailable) for f in futures)
    assert "closed while" in str(futures[-1].exception())


def test_a_closed_store_says_so(double: Double) -> None:
    store = KurrentStore(double.uri)
    store.close()
    store.close()
    with pytest.raises(Unavailable):
        store.append(STREAM, [event()], expected=ANY)
    with pytest.raises(Unavailable):
        store.head()
    with pytest.raises(Unavailable):
        store.subscribe()
    refused = store.submit(STREAM, [event()], expected=ANY)
    assert isinstance(refused.exception(), Unavailable)


def test_a_restarted_server_is_found_again(store: KurrentStore, double: Double) -> None:
    first = store.append(STREAM, [event()], expected=NO_STREAM)
    double.restart()
    assert store.append(STREAM, [event()], expected=0) > first
    assert [r.version for r in store.read_stream(STREAM)] == [0, 1]


def test_no_server_is_unavailable() -> None:
    with Double() as gone:
        uri = gone.uri
    with (
        KurrentStore(uri) as store,
        pytest.raises(Unavailable),
    ):
        store.append(STREAM, [event()], expected=ANY)


def test_a_cluster_is_found_by_gossip(double: Double) -> None:
    uri = f"kurrentdb+discover://localhost:{double.port}?Tls=false"
    with KurrentStore(uri) as store:
        assert store.append(STREAM, [event()], expected=NO_STREAM).version == 0


@pytest.mark.parametrize(
    "uri", ["", "http://u:s3cret@h", "kurrentdb://u:s3cret@h?Nope=1", "esdb://h"]
)
def test_a_bad_connection_string_keeps_its_password(uri: str) -> None:
    with pytest.raises(Invalid) as refused:
        KurrentStore(uri)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kurrentdbclient", None)
    spec = importlib.util.spec_from_file_location("without", kurrent.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.raises(ModuleNotFoundError, match=r"modelkeep\[eventstoredb\]"):
        spec.loader.exec_module(module)


def test_ids_travel_unchanged(store: KurrentStore) -> None:
    given = event()._replace(id=UUID(int=1))
    at = store.append(STREAM, [given], expected=NO_STREAM)
    assert isinstance(at, Appended)
    assert next(store.read_stream(STREAM)).id == given.id.bytes

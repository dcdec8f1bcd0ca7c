"""A person's words through every door; then they are forgotten: no file has them."""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from tests.integration.conftest import Serve, Served
from tests.integration.policy_desk import Desk
from tests.integration.policy_world import DIGEST, built, promote, registered, say
from tests.integration.privacy_office import MORNING, PAM, Office
from tests.integration.watched import DAY, a_model, observe, rows

from modelkeep.api.audit.v1 import audit_pb2 as audit
from modelkeep.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from modelkeep.api.common.v1.common_pb2 import AsOf, Page
from modelkeep.api.inventory.v1 import inventory_pb2 as inventory
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.api.monitoring.v1 import monitoring_pb2 as monitoring
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.api.policy.v1 import policy_pb2 as policy
from modelkeep.api.privacy.v1 import privacy_pb2 as privacy
from modelkeep.events.base import Event
from modelkeep.events.inventory import ModelClassified
from modelkeep.home import Home
from modelkeep.identity import writer_key
from modelkeep.keystore import ERASED
from modelkeep.ledger import Ledger
from modelkeep.node import Node
from modelkeep.viewset import ViewSet
from modelkeep_services.privacy.retention import RETENTION

NAMES: Final = ("Zoë Quillfeather-Brandt", "zoe.quillfeather@canary.example")
SERVICES: Final = ("inventory", "policy", "monitoring", "audit", "privacy")


def traces(text: str) -> Iterator[bytes]:
    """How a text might lie in a file: as it is, escaped, encoded, hashed unsalted."""
    raw = text.encode()
    yield raw
    yield text.encode("utf-16-le")
    yield text.encode("ascii", "backslashreplace")
    yield text.split("-", maxsplit=1)[0].split("@", maxsplit=1)[0].encode()
    yield raw.hex().encode()
    for skipped in range(3):  # base64 of it, wherever in a longer text it begins
        yield b64encode(bytes(skipped) + raw)[4:-4]
    for known in ("sha256", "sha1", "md5", "blake2b"):
        digest = hashlib.new(known, raw).digest()
        yield digest
        yield digest.hex().encode()
        yield b64encode(digest)


def found_in(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    """Name each file below `folder` with what it has of `wanted`."""
    hits = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            hits += [
                f"{path.relative_to(folder)}: {what}"
                for what, one in wanted.items()
                if one in content
            ]
    return hits


@dataclass
class World:
    served: Served
    office: Office
    desk: Desk
    request: str = ""
    decision: str = ""
    before: int = 0

    @property
    def home(self) -> Home:
        return self.served.node.home

    def keys(self) -> dict[str, bytes]:
        """Each subject's key, as it is and as it is wrapped."""
        keystore, found = self.served.node.host.keystore, {}
        for subject in ("zoe", "rob", "vera", self.decision):
            for key in keystore.keys_of("main", subject):
                row = keystore._row(key.key_id)
                assert row is not None
                found[f"{subject} {key.purpose}"] = keystore._unwrap(row)
                found[f"{subject} {key.purpose} wrapped"] = row.wrapped
        return found

    def comments(self, **when: Any) -> list[str]:
        verdict = self.desk.verdict(self.request, **when)
        return [one.comment for one in verdict.approvals]


CANARIES: Final = {
    f"{name.split('@')[0]} {number}": trace
    for name in NAMES
    for number, trace in enumerate(traces(name))
}


def risky(event: Event) -> Event:
    """As much so as can be: the inventory looks again, and people must approve."""
    if not isinstance(event, ModelClassified):
        return event
    worst = {"exposure": 4, "purpose": 4, "harm": 4, "materiality": 4}
    drivers = event.drivers.model_copy(update=worst)
    return event.model_copy(update={"drivers": drivers})


@contextmanager
def elsewhere(served: Served) -> Iterator[Served]:
    """Another process on the same log: what it tells, the services here read."""
    node = served.node
    signer = writer_key(node.home.keys)
    with Ledger(served.store, signer=signer) as ledger:
        there = SimpleNamespace(ledger=ledger, host=node.host, running=node.running)
        yield replace(served, node=cast("Node", there))


def plant(world: World) -> None:
    """Through every personal field of the API."""
    desk, served = world.desk, world.served
    said = f"{NAMES[0]} <{NAMES[1]}>"
    who = inventory.AssignRoleRequest(
        model="credit", role=inventory.ROLE_VALIDATOR, subject="zoe", contact=said
    )
    served.call(
        InventoryServiceStub(served.channel).AssignRole, who, "owner", subject="olga"
    )
    world.request = desk.ask(promote("credit")).verdict.request
    approve = policy.ApproveRequest(
        request=world.request, digest=DIGEST, comment=f"{said} agrees"
    )
    served.call(desk.stub.Approve, approve, "risk_officer", subject="rob")
    limited = policy.ApproveWithConditionsRequest(
        request=world.request,
        digest=DIGEST,
        comment=f"for {said}",
        max_traffic_share=0.1,
    )
    now = served.node.host.clock.now()
    limited.expires_at.FromDatetime(now + timedelta(days=20))
    served.call(desk.stub.ApproveWithConditions, limited, "validator", subject="vera")
    logged = rows()
    observe(served, logged.request())
    world.decision = str(logged.ids[0])
    disposed = monitoring.RecordDispositionRequest(
        model="late",
        decision=world.decision,
        disposition=monitoring.DISPOSITION_OVERRIDDEN,
        reason="local knowledge",
        comment=f"{said} called",
    )
    stub = MonitoringServiceStub(served.channel)
    served.call(stub.RecordDisposition, disposed, "business_owner")
    served.settle()


@dataclass
class Erased:
    """A world after four erasures, and what was there before them."""

    world: World
    keys: dict[str, bytes]
    on_disk: list[str]
    comments: list[str]
    personal: list[str]
    size: int
    digests: dict[str, str]
    logged: str = ""


@pytest.fixture(scope="module")
def erased(serve_once: Serve) -> Erased:
    logged = StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)
    world = made(serve_once)
    audits = AuditServiceStub(world.served.channel)
    asked = audit.GetCheckpointRequest()
    keys = world.keys()
    before = Erased(
        world,
        keys,
        found_in(world.home.root, CANARIES | keys),
        world.comments(),
        world.office.personal(subject="zoe"),
        world.served.call(audits.GetCheckpoint, asked, "auditor").checkpoint.size,
        views_of(world.served),
    )
    for subject in ("zoe", "rob", "vera", world.decision):
        erasure = world.office.request(subject).erasure
        world.office.approve(erasure, PAM)
        found = world.office.get(erasure)
        assert all(key.subject == ERASED for key in found.keys)
    logging.getLogger().removeHandler(handler)
    before.logged = logged.getvalue()
    return before


def made(serve: Serve) -> World:
    served = serve(*SERVICES, scenario=True)
    office = Office(served)
    office.tick(max(MORNING, DAY))
    with elsewhere(served) as other:
        a_model(other)
        *theirs, lineages = (*registered("credit"), *built("credit"))
        say(other, "credit", *map(risky, theirs))
        say(other, "the-lineage-of-credit", lineages)
    served.settle()
    world = World(served, office, Desk(served))
    plant(world)
    world.before = served.store.head()
    return world


def test_the_personal_fields_of_the_api_are_those_planted(erased: Erased) -> None:
    """Whoever adds another plants it too, and says how long it is kept."""
    running = erased.world.served.node.running.values()
    sealed = {
        (write.rpc, field): personal.purpose
        for one in running
        for write in one.service.writes
        for field, personal in write.sealed.items()
    }
    assert set(sealed) == {
        ("AssignRole", "contact"),
        ("Approve", "comment"),
        ("ApproveWithConditions", "comment"),
        ("RecordDisposition", "comment"),
    }
    kept = {one.kind for one in RETENTION.classes if one.erased_by_key}
    assert set(sealed.values()) == kept


def test_before_it_was_read_and_its_keys_were_there_to_be_found(
    erased: Erased,
) -> None:
    """Otherwise that nothing is found afterwards would say nothing."""
    assert erased.personal == [f"{NAMES[0]} <{NAMES[1]}>"]
    assert len(erased.comments) == 2
    assert all(NAMES[1] in one for one in erased.comments)
    assert len(erased.keys) == 8
    found = {one.partition(": ")[2] for one in erased.on_disk}
    assert found == {name for name in erased.keys if "wrapped" in name}


def test_whoever_reads_it_reads_erased(erased: Erased) -> None:
    world = erased.world
    assert world.comments() == [ERASED, ERASED]
    # Also of a moment when it was not erased yet, and also who must account for it.
    assert world.comments(as_of=AsOf(position=world.before)) == [ERASED, ERASED]
    for subject in ("zoe", "rob", "vera", world.decision):
        assert set(world.office.personal(subject=subject)) == {ERASED}
    heard = answers(world) + erased.logged.encode()
    assert not [name for name, one in CANARIES.items() if one in heard]


def test_proofs_are_good_and_views_are_those_from_before(erased: Erased) -> None:
    """No byte of the log or of a view changes: what is forgotten is how to read it."""
    served = erased.world.served
    stub = AuditServiceStub(served.channel)
    checks = audit.GetConsistencyRequest(old_size=erased.size)
    served.call(stub.GetConsistency, checks, "auditor")
    personal = [one for one in served.store.read_all() if b'"ciphertext"' in one.data]
    assert len(personal) == 4
    for event in personal:
        # It raises Corrupt when the event's bytes are not those in the tree.
        asked = audit.GetInclusionRequest(event_id=str(event.uuid))
        served.call(stub.GetInclusion, asked, "auditor")
    now = views_of(served)
    theirs = ("privacy/", "audit/")  # they say what was erased, and what was signed
    assert {name: one for name, one in now.items() if not name.startswith(theirs)} == {
        name: one for name, one in erased.digests.items() if not name.startswith(theirs)
    }
    for name, running in served.node.running.items():
        beside = served.node.home.views(f"again-{name}")
        with ViewSet(name, running.service.views, served.store, beside) as again:
            again.rebuild()
            told = {f"{name}/{view}": it for view, it in again.digests().items()}
            assert told == {k: v for k, v in now.items() if k in told}


def test_what_has_no_key_is_told_when_its_period_is_over(erased: Erased) -> None:
    """Its features stay in the clear: that is said, and nothing pretends otherwise."""
    world = erased.world
    (stored,) = world.home.decisions.rglob("*.parquet")
    over = DAY.replace(day=1) + timedelta(days=32)
    over = over.replace(day=1) + RETENTION.of["decisions"].keep
    asked = privacy.ListDueRequest()
    asked.by.FromDatetime(over - timedelta(seconds=1))
    assert not world.office.ask(asked).records
    asked.by.FromDatetime(over)
    (found,) = world.office.ask(asked).records
    assert (found.kind, found.model, found.objects) == ("decisions", "late", 1)
    assert found.month == f"{DAY:%Y-%m}"
    assert found.bytes == stored.stat().st_size
    assert stored.exists()


def test_no_file_has_it_not_even_when_all_is_closed(erased: Erased) -> None:
    """Last: it closes the home."""
    world = erased.world
    everything = CANARIES | erased.keys
    assert found_in(world.home.root, everything) == []
    world.served.node.__exit__()
    assert found_in(world.home.root, everything) == []


def answers(world: World) -> bytes:
    """All that the audit, the inventory and the monitoring tell of it, as sent."""
    served, told = world.served, b""
    stub = AuditServiceStub(served.channel)
    asked = audit.ListEventsRequest(page=Page(size=1_000))
    while True:
        listed = served.call(stub.ListEvents, asked, "auditor")
        told += listed.SerializeToString()
        if not listed.next_token:
            break
        asked.page.token = listed.next_token
    for request in (
        audit.AsOfRequest(),
        audit.AsOfRequest(as_of=AsOf(position=world.before)),
        audit.WhyRequest(decision=world.decision),
    ):
        method = getattr(stub, type(request).__name__.removesuffix("Request"))
        told += served.call(method, request, "auditor").SerializeToString()
    people = inventory.ListRolesRequest(model="credit")
    stub_ = InventoryServiceStub(served.channel)
    return bytes(
        told + served.call(stub_.ListRoles, people, "auditor").SerializeToString()
    )


def views_of(served: Served, *but: str) -> dict[str, str]:
    served.settle()
    return {
        f"{name}/{view}": digest
        for name, one in served.node.running.items()
        if name not in but
        for view, digest in one.views.digests().items()
    }

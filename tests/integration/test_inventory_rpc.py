"""A model's life over the wire: what was known then, and what is known about then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.bad_inputs.inventory import (
    artifact,
    card,
    digest,
    finding,
    receive,
    register,
)
from tests.integration.conftest import Served

from modelkeep.api.common.v1 import common_pb2 as common
from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.clock import CLOCK, CLOCK_STREAM, Tick
from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.events.base import Event
from modelkeep.events.monitoring import BatchRecorded
from modelkeep.events.policy import VerdictRevoked, VerdictSettled
from modelkeep.events.types import Person
from modelkeep.ledger import Order, Written, body_hash
from modelkeep.viewset import ViewSet
from modelkeep_services.inventory import views

START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SOMEBODY = Person(issuer="tests", subject="somebody")
OTHERS = Actor("modelkeep", "others", frozenset(), "main", human=False)


def stamp(instant: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(instant)
    return found


class Bank:
    """One ledger under a scenario's clock, and its people."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.stub = InventoryServiceStub(served.channel)
        self.tick(START)

    def tick(self, instant: datetime) -> None:
        command = Tick(instant=instant)
        context = Context(
            OTHERS, instant, instant, str(uuid5(UUID(int=0), f"{instant}"))
        )
        host = self.served.node.host
        host.ledger.execute(
            Order(CLOCK_STREAM, CLOCK, command, context, body_hash(command))
        )
        self.served.settle()

    def happened(self, stream: str, event: Event) -> str:
        """Another service said so. Returns the event's id."""
        said = decider(None, lambda *_: [event], lambda state, _: state)
        host = self.served.node.host
        now = host.clock.now()
        context = Context(OTHERS, now, now, str(uuid4()))
        command = Command()
        host.ledger.execute(Order(stream, said, command, context, body_hash(command)))
        self.served.settle()
        *_, last = self.served.store.read_stream(stream)
        return str(last.uuid)

    def tell(self, request: object, *roles: str, subject: str = "") -> Written:
        rpc = type(request).__name__.removesuffix("Request")
        answer = self.served.call(
            getattr(self.stub, rpc), request, *roles, subject=subject
        )
        written = answer.written
        return Written(written.position, written.revision)

    def ask(self, request: object, *roles: str) -> object:
        self.served.settle()
        rpc = type(request).__name__.removesuffix("Request")
        return self.served.call(
            getattr(self.stub, rpc), request, *(roles or ("auditor",))
        )

    def model(self, model: str = "fraud", **said: object) -> pb.GetModelResponse:
        found = self.ask(pb.GetModelRequest(model=model, **said))  # type: ignore[arg-type]  # a test's fields
        assert isinstance(found, pb.GetModelResponse)
        return found


@pytest.fixture
def bank(serve: Callable[..., Served]) -> Bank:
    return Bank(serve("inventory", scenario=True))


def classify(model: str = "fraud", **said: object) -> pb.ClassifyRiskRequest:
    values: dict[str, object] = {
        "exposure_share": 0.05,
        "purpose": 4,
        "harm": 2,
        "method": 2,
        "input_uncertainty": 2,
        "opacity": 2,
        "autonomy": 2,
    }
    return pb.ClassifyRiskRequest(model=model, **(values | said))  # type: ignore[arg-type]  # a test's fields


def version(name: str, of: str) -> pb.RegisterVersionRequest:
    return pb.RegisterVersionRequest(
        model="fraud", version=name, artifacts=[artifact(of)]
    )


def settled(request: str, of: str, **said: object) -> VerdictSettled:
    values: dict[str, object] = {
        "request": request,
        "action": "promote",
        "model": "fraud",
        "version": "1",
        "digest": digest(of),
        "environment": "prod",
        "verdict": "allow",
        "bundle": "sha256:" + "0" * 64,
        "facts_digest": "sha256:" + "1" * 64,
        "requested_by": SOMEBODY,
    }
    return VerdictSettled.model_validate(values | said)


def deploy(name: str, of: str, source: str, **said: object) -> pb.DeployRequest:
    values: dict[str, object] = {"environment": "prod", "share": 1.0}
    return pb.DeployRequest(
        model="fraud",
        version=name,
        digest=digest(of),
        verdict_source=source,
        **(values | said),  # type: ignore[arg-type]  # a test's fields
    )


def refused(ask: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as error:
        ask()
    return error.value


# --- verdicts and serving ----------------------------------------------------------


def test_a_verdict_of_policy_reaches_the_models_own_stream_and_allows(
    bank: Bank,
) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(version("1", "a"), "engineer")
    source = bank.happened("request-main.r1", settled("r1", "a"))
    bank.tell(deploy("1", "a", source), "engineer")
    found = bank.model()
    assert found.model.lifecycle == pb.LIFECYCLE_LIVE
    assert [one.verdict_source for one in found.deployments] == [source]
    request = pb.ResolveRequest(model="fraud", environment="prod", version="1")
    may = bank.ask(request, "serving")
    assert isinstance(may, pb.ResolveResponse)
    assert may.may_serve


def test_what_is_revoked_may_no_longer_serve(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(version("1", "a"), "engineer")
    source = bank.happened("request-main.r1", settled("r1", "a"))
    bank.tell(deploy("1", "a", source), "engineer")
    gone = VerdictRevoked(
        request="r1", action="promote", model="fraud", reason="a finding", by=SOMEBODY
    )
    bank.happened("request-main.r1", gone)
    request = pb.ResolveRequest(model="fraud", environment="prod")
    may = bank.ask(request, "serving")
    assert isinstance(may, pb.ResolveResponse)
    assert not may.may_serve
    assert may.reason == "version 1: its verdict is revoked: a finding"
    listed = bank.ask(pb.ListVerdictsRequest(model="fraud"))
    assert isinstance(listed, pb.ListVerdictsResponse)
    assert [one.revoked for one in listed.verdicts] == ["a finding"]


def test_a_material_change_ends_what_was_allowed(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(version("1", "a"), "engineer")
    receive(bank.served, "fraud", "v-1", {"digest": digest("a")})
    bank.tell(deploy("1", "a", "v-1"), "engineer")
    change = pb.ClassifyChangeRequest(
        model="fraud",
        change="c-1",
        version="1",
        kinds=[pb.CHANGE_KIND_DATA],
        material=True,
        rationale="another source of fares",
    )
    bank.tell(change, "engineer")
    may = bank.ask(pb.ResolveRequest(model="fraud", environment="prod"), "serving")
    assert isinstance(may, pb.ResolveResponse)
    assert may.reason == "version 1: its verdict is revoked: material change c-1"


def test_an_unapproved_version_is_refused_by_the_rule_that_says_so(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(version("1", "a"), "engineer")
    error = refused(lambda: bank.tell(deploy("1", "a", "v-none"), "engineer"))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "no verdict v-none was received" in (error.details() or "")


# --- as of, and about then ---------------------------------------------------------


def test_a_model_retired_later_was_active_then(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tick(START + DAY)
    before = bank.tell(classify(), "owner")
    bank.tick(START + 10 * DAY)
    bank.tell(pb.RetireRequest(model="fraud", reason="replaced"), "owner")
    assert bank.model().model.lifecycle == pb.LIFECYCLE_RETIRED
    by_time = common.AsOf(time=stamp(START + 5 * DAY))
    by_position = common.AsOf(position=before.position)
    for as_of in (by_time, by_position):
        assert bank.model(as_of=as_of).model.lifecycle == pb.LIFECYCLE_REGISTERED
        assert bank.model(as_of=as_of).model.tier == 1
    first = common.AsOf(time=stamp(START))
    assert not bank.model(as_of=first).model.HasField("tier")


def test_a_back_dated_correction_leaves_both_questions_right(bank: Bank) -> None:
    """In March it becomes known that the owner changed in January."""
    bank.tell(register("fraud"), "owner")
    bank.tick(START + 59 * DAY)
    correction = pb.AssignRoleRequest(
        model="fraud",
        role=pb.ROLE_OWNER,
        subject="otto",
        effective_at=stamp(START + 14 * DAY),
    )
    bank.tell(correction, "owner")
    february = stamp(START + 40 * DAY)
    known_then = bank.model(as_of=common.AsOf(time=february))
    known_now_about_then = bank.model(effective_at=february)
    assert known_then.model.owner == "a-owner"
    assert known_now_about_then.model.owner == "otto"
    assert [r.subject for r in known_now_about_then.roles] == ["otto"]
    first_week = bank.model(effective_at=stamp(START + 7 * DAY))
    assert first_week.model.owner == "a-owner"
    # What was known in February about February had no correction yet.
    both = bank.model(as_of=common.AsOf(time=february), effective_at=february)
    assert both.model.owner == "a-owner"
    for about, owners in ((february, ["otto"]), (stamp(START), ["a-owner"])):
        listed = bank.ask(pb.ListModelsRequest(effective_at=about))
        assert isinstance(listed, pb.ListModelsResponse)
        assert [model.owner for model in listed.models] == owners


def test_before_it_was_registered_a_model_was_not(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    early = stamp(START - DAY)
    error = refused(lambda: bank.model(effective_at=early))
    assert error.code() is grpc.StatusCode.NOT_FOUND


# --- the clock ---------------------------------------------------------------------


def test_reviews_findings_and_overrides_fall_due_by_the_clock(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(classify(), "owner")
    override = pb.OverrideTierRequest(
        model="fraud", tier=3, reason="a pilot", expires_at=stamp(START + 90 * DAY)
    )
    bank.tell(override, "risk_officer")
    late = finding("f-1")
    late.due_at.CopyFrom(stamp(START + 30 * DAY))
    bank.tell(late, "auditor")
    bank.tick(START + 30 * DAY)
    found = bank.model()
    assert (found.model.tier, found.findings.overdue) == (3, 1)
    bank.tick(START + 90 * DAY)
    found = bank.model()
    assert (found.model.tier, found.model.tier_source) == (1, pb.TIER_SOURCE_DERIVED)
    assert [one.status for one in found.reviews] == [pb.REVIEW_STATUS_SCHEDULED]
    bank.tick(START + 365 * DAY)
    assert [one.status for one in bank.model().reviews] == [pb.REVIEW_STATUS_OVERDUE]
    with bank.served.node.running["inventory"].views.reader("main") as read:
        assert read.scan(views.due) == []


def test_an_accepted_risk_is_overdue_when_the_acceptance_ends(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    late = finding("f-1")
    late.due_at.CopyFrom(stamp(START + 10 * DAY))
    bank.tell(late, "auditor")
    accept = pb.AcceptRiskRequest(
        model="fraud", subject="f-1", until=stamp(START + 50 * DAY), reason="replaced"
    )
    bank.tell(accept, "risk_officer")
    bank.tick(START + 20 * DAY)
    counts = bank.model().findings
    assert (counts.high, counts.overdue, counts.accepted) == (1, 0, 1)
    bank.tick(START + 50 * DAY)
    counts = bank.model().findings
    assert (counts.high, counts.overdue, counts.accepted) == (1, 1, 0)


# --- ghosts, uses, cards -----------------------------------------------------------


def batch(last_at: datetime) -> BatchRecorded:
    return BatchRecorded(
        model="fraud",
        version="1",
        environment="prod",
        batch="0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
        sent=(),
        rows=12,
        root="sha256:" + "0" * 64,
        row_schema="sha256:" + "1" * 64,
        address="x.parquet",
        file_digest="sha256:" + "2" * 64,
        file_bytes=10,
        first_id="0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
        last_id="0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1b",
        first_at=last_at,
        last_at=last_at,
    )


def history(bank: Bank) -> list[str]:
    found = bank.ask(pb.ListHistoryRequest(model="fraud"))
    assert isinstance(found, pb.ListHistoryResponse)
    assert [one.revision for one in found.facts] == list(range(len(found.facts)))
    return [one.name for one in found.facts]


def test_a_retired_model_that_still_decides_is_seen(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tick(START + DAY)
    bank.tell(pb.RetireRequest(model="fraud", reason="replaced"), "owner")
    bank.happened("decisions-main.fraud", batch(START))
    assert "inventory.retired-model-served" not in history(bank)
    bank.happened("decisions-main.fraud", batch(START + 2 * DAY))
    assert history(bank)[-1] == "inventory.retired-model-served"


def test_splitting_one_scorecard_into_many_changes_no_tier(bank: Bank) -> None:
    for at in range(6):
        bank.tell(register(f"card-{at}"), "owner")
        bank.tell(
            classify(f"card-{at}", use="cards", exposure_share=0.001 * (at + 1)),
            "owner",
        )
    bank.tell(classify("card-0", use="cards", exposure_share=0.06), "owner")
    bank.served.settle()
    found = bank.ask(pb.ListUsesRequest(use="cards"))
    assert isinstance(found, pb.ListUsesResponse)
    assert {one.exposure_share for one in found.uses} == {0.06}
    assert {one.tier for one in found.uses} == {1}
    assert len(found.uses) == 6


def test_a_card_comes_back_as_it_went(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(version("1", "a"), "engineer")
    content = card("a")
    request = pb.AttachCardRequest(
        model="fraud", version="1", digest=digest("a"), card=content
    )
    bank.tell(request, "engineer")
    found = bank.ask(pb.GetCardRequest(model="fraud", version="1"))
    assert isinstance(found, pb.GetCardResponse)
    assert found.card == content
    assert found.card_digest == "sha256:" + hashlib.sha256(content).hexdigest()
    assert history(bank)[-1] == "inventory.card-attached"


def test_an_attached_card_attached_again_is_answered_alike(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(version("1", "a"), "engineer")
    request = pb.AttachCardRequest(
        request_id=str(uuid4()),
        model="fraud",
        version="1",
        digest=digest("a"),
        card=card("a"),
    )
    assert bank.tell(request, "engineer") == bank.tell(request, "engineer")


# --- lists and risk ----------------------------------------------------------------


def test_models_are_found_by_tier_owner_lifecycle_and_business_line(bank: Bank) -> None:
    for at in range(5):
        request = register(f"m-{at}")
        request.business_line = "retail" if at % 2 else "cards"
        bank.tell(request, "owner")
    bank.tell(classify("m-1"), "owner")

    def names(**said: object) -> list[str]:
        found = bank.ask(pb.ListModelsRequest(**said))  # type: ignore[arg-type]  # a test's fields
        assert isinstance(found, pb.ListModelsResponse)
        return [model.model for model in found.models]

    assert names(tier=1) == ["m-1"]
    assert names(business_line="retail") == ["m-1", "m-3"]
    assert names(owner="nobody") == []
    assert names(lifecycle=pb.LIFECYCLE_REGISTERED) == [f"m-{at}" for at in range(5)]
    assert names(page=common.Page(size=2), business_line="cards") == ["m-0", "m-2"]


def test_a_filtered_list_goes_on_where_it_stopped(bank: Bank) -> None:
    for at in range(7):
        request = register(f"m-{at}")
        request.business_line = "retail" if at % 2 else "cards"
        bank.tell(request, "owner")
    seen: list[str] = []
    page = common.Page(size=2)
    while True:
        found = bank.ask(pb.ListModelsRequest(page=page, business_line="cards"))
        assert isinstance(found, pb.ListModelsResponse)
        seen += [model.model for model in found.models]
        if not found.next_token:
            break
        page = common.Page(size=2, token=found.next_token)
    assert seen == ["m-0", "m-2", "m-4", "m-6"]


def test_inherent_tier_and_residual_risk_are_both_told(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(classify(), "owner")
    found = bank.model()
    assert found.inherent_tier == 1
    assert found.residual_risk == pb.RESIDUAL_RISK_HIGH
    assert pb.ROLE_VALIDATOR in found.role_gaps
    assert "nobody is validator" in found.residual_reasons
    assert found.model.revision == 2


def test_a_revision_that_is_told_may_be_expected(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    revision = bank.model().model.revision
    first = pb.ApproveUsesRequest(
        model="fraud", uses=["cards"], expected_revision=revision
    )
    second = pb.ApproveUsesRequest(
        model="fraud", uses=["wires"], expected_revision=revision
    )
    bank.tell(first, "validator")
    error = refused(lambda: bank.tell(second, "validator"))
    assert error.code() is grpc.StatusCode.ABORTED


def test_a_contact_is_stored_sealed(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    request = pb.AssignRoleRequest(
        model="fraud",
        role=pb.ROLE_ENGINEER,
        subject="emil",
        contact="emil@bank.example",
    )
    bank.tell(request, "owner")
    stored = b"".join(one.data for one in bank.served.store.read_all())
    assert b"role-assigned" not in stored  # names are beside the data
    assert b"emil@bank.example" not in stored


def test_views_dropped_and_replayed_are_the_same(bank: Bank) -> None:
    bank.tell(register("fraud"), "owner")
    bank.tell(classify(), "owner")
    bank.tell(version("1", "a"), "engineer")
    receive(bank.served, "fraud", "v-1", {"digest": digest("a")})
    bank.tell(deploy("1", "a", "v-1"), "engineer")
    bank.tell(finding_by(START + DAY), "auditor")
    bank.tick(START + 3 * DAY)
    running = bank.served.node.running["inventory"].views
    home = bank.served.node.home
    with ViewSet(
        "again", views.VIEWS, bank.served.store, home.views("again")
    ) as replayed:
        replayed.rebuild()
        assert replayed.digests() == running.digests()


def finding_by(instant: datetime) -> pb.RaiseFindingRequest:
    request = finding("f-1")
    request.due_at.CopyFrom(stamp(instant))
    return request

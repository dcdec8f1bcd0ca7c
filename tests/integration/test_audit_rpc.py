"""The audit over real sockets: what it proves is checked here, not believed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc
import pytest
from tests.integration.audit_story import (
    ASKED,
    DIGEST,
    ROWS,
    Story,
    day,
    tell_all,
    tell_approval,
    tell_end,
    tell_trouble,
    tell_work,
    telling,
)
from tests.integration.conftest import Serve, Served

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from modelkeep.api.common.v1.common_pb2 import AsOf, Page
from modelkeep.proof.checkpoint import open_signed
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.leaf import event_leaf
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.merkle import verify_consistency, verify_inclusion
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.verify import verify
from modelkeep_services.cli.proofs import steps


@dataclass
class Audited:
    served: Served
    story: Story
    stub: AuditServiceStub

    def ask(self, method: Callable[..., Any], request: object) -> Any:
        return self.served.call(method, request, "auditor")


@pytest.fixture(scope="module")
def audited(serve_once: Serve) -> Iterator[Audited]:
    served = serve_once("audit")
    with telling(served.node.home, served.store) as story:
        tell_all(story)
        served.settle()
        yield Audited(served, story, AuditServiceStub(served.channel))


def at(month: int, of_month: int) -> AsOf:
    moment = AsOf()
    moment.time.FromDatetime(day(month, of_month))
    return moment


# --- proofs ------------------------------------------------------------------------


def test_a_checkpoint_is_signed_and_published(audited: Audited) -> None:
    signed = audited.ask(audited.stub.GetCheckpoint, pb.GetCheckpointRequest())
    folder = audited.served.node.home.checkpoints
    key = VerifierKey.parse((folder / "checkpoint.vkey").read_text())
    found, _ = open_signed(signed.checkpoint.note.encode(), [key])
    assert (found.size, found.root) == audited.served.store.tree()  # type: ignore[attr-defined]  # SQLite grows one
    assert (folder / "checkpoint").read_text() == signed.checkpoint.note


def test_any_event_is_proven_to_a_checkpoint(audited: Audited) -> None:
    events = audited.ask(audited.stub.ListEvents, pb.ListEventsRequest()).events
    for event in events:
        request = pb.GetInclusionRequest(event_id=event.id)
        found = audited.ask(audited.stub.GetInclusion, request).inclusion
        leaf = event_leaf(
            found.checkpoint.origin,
            event.stream,
            event.version,
            UUID(event.id).bytes,
            event.name,
            event.schema_version,
            event.data.encode(),
            event.metadata.encode(),
        )
        assert leaf == found.leaf
        assert verify_inclusion(
            leaf,
            found.index,
            found.checkpoint.size,
            list(found.proof),
            found.checkpoint.root,
        )


def test_an_older_log_is_the_beginning_of_a_newer(audited: Audited) -> None:
    for old in (1, 5, 17):
        request = pb.GetConsistencyRequest(old_size=old)
        found = audited.ask(audited.stub.GetConsistency, request)
        assert verify_consistency(
            old,
            found.old_root,
            found.new_size,
            found.new_root,
            list(found.proof),
        )


def test_the_notary_signs_by_itself_and_the_verifier_agrees(serve: Serve) -> None:
    served = serve("audit")
    home = served.node.home
    with telling(home, served.store) as story:
        tell_approval(story)
        served.settle()
        size = sum(1 for _ in served.store.read_all())
        _until(lambda: _signed_size(home.checkpoints / "checkpoint") == size)
    keys = read_keys(str(home.checkpoints / "checkpoint.vkey"))
    writers = read_keys(str(home.checkpoints / "writers.vkeys"))
    evidence = gather(home.checkpoints, keys)
    with LedgerFile(home.ledger) as ledger:
        report = verify(ledger, evidence, writers=writers)
    assert (report.exit_code, report.proven, report.tail.events) == (0, size, 0)


def _signed_size(path: Any) -> int:
    return int(path.read_text().split("\n")[1]) if path.exists() else -1


def _until(so: Callable[[], bool]) -> None:
    import time  # noqa: PLC0415  # only here does a test wait for a clock

    for _ in range(200):
        if so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass within ten seconds")


def test_a_history_that_was_rewritten_is_not_signed(serve: Serve) -> None:
    served = serve("audit")
    stub = AuditServiceStub(served.channel)
    with telling(served.node.home, served.store) as story:
        tell_approval(story)
    served.call(stub.GetCheckpoint, pb.GetCheckpointRequest(), "auditor")
    with closing(sqlite3.connect(served.node.home.ledger)) as db, db:
        db.execute("drop trigger event_stays")
        db.execute("update event set leaf = zeroblob(32) where position = 20")
    with pytest.raises(grpc.RpcError) as refused:
        served.call(stub.GetCheckpoint, pb.GetCheckpointRequest(), "auditor")
    assert refused.value.code() is grpc.StatusCode.DATA_LOSS
    assert "not the history that was signed" in str(refused.value.details())


# --- events ------------------------------------------------------------------------


def test_an_event_is_shown_as_it_was_written(audited: Audited) -> None:
    listed = audited.ask(audited.stub.ListEvents, pb.ListEventsRequest()).events
    for event in listed:
        request = pb.GetEventRequest(event_id=event.id)
        found = audited.ask(audited.stub.GetEvent, request).event
        assert found == event
    assert json.loads(listed[0].data)["model"] == "credit"
    assert listed[0].actor.subject == "dana"
    assert listed[0].known_at.ToJsonString() == "2013-03-01T00:00:00Z"


@pytest.mark.parametrize("stream", ["", "model-main.credit"])
def test_events_come_in_pages(audited: Audited, stream: str) -> None:
    whole = pb.ListEventsRequest(stream=stream)
    every = audited.ask(audited.stub.ListEvents, whole).events
    token, paged = "", []
    while True:
        request = pb.ListEventsRequest(stream=stream, page=Page(size=2, token=token))
        answer = audited.ask(audited.stub.ListEvents, request)
        paged += answer.events
        token = answer.next_token
        if not token:
            break
    assert paged == list(every)
    assert len(every) > 2


def test_the_past_lists_what_was_known_then(audited: Audited) -> None:
    request = pb.ListEventsRequest(as_of=at(3, 10))
    events = audited.ask(audited.stub.ListEvents, request).events
    assert {e.name for e in events} >= {"inventory.deployed", "policy.verdict-settled"}
    assert all(
        e.known_at.ToDatetime() <= day(3, 10).replace(tzinfo=None) for e in events
    )


def test_another_tenant_sees_nothing(audited: Audited) -> None:
    kept = {"tenant": "other"}
    listed = audited.served.call(
        audited.stub.ListEvents, pb.ListEventsRequest(), "auditor", **kept
    )
    there = audited.served.call(audited.stub.AsOf, pb.AsOfRequest(), "auditor", **kept)
    assert not listed.events
    assert not there.models


# --- as of -------------------------------------------------------------------------


def test_what_was_true_stays_true_after_later_edits(audited: Audited) -> None:
    april = audited.ask(audited.stub.AsOf, pb.AsOfRequest(as_of=at(4, 2)))
    assert [(m.model, m.status) for m in april.models] == [("credit", "active")]
    assert [(d.version, d.share) for d in april.deployments] == [("v1", 1.0)]
    assert [h.band for h in april.health] == ["green"]
    assert not april.alerts
    assert dict(april.lineage) == {"dataset": 1, "feature_view": 1, "edges": 2}
    may = audited.ask(audited.stub.AsOf, pb.AsOfRequest(as_of=at(5, 10)))
    assert [a.cause for a in may.alerts] == ["AUC fell to 0.60"]
    assert [f.finding for f in may.findings] == ["f1"]
    assert [d.liability for d in may.liabilities] == ["d1"]
    assert [h.band for h in may.health] == ["amber"]
    now = audited.ask(audited.stub.AsOf, pb.AsOfRequest())
    assert [m.status for m in now.models] == ["retired"]
    assert not now.deployments
    assert not now.alerts
    assert now.counts["alerts"] == 1


def test_before_the_first_event_nothing_was_known(audited: Audited) -> None:
    answer = audited.ask(audited.stub.AsOf, pb.AsOfRequest(as_of=at(2, 1)))
    assert not answer.models
    assert sum(answer.counts.values()) == 0


def test_two_moments_are_compared_field_by_field(audited: Audited) -> None:
    request = pb.AsOfRequest(as_of=at(4, 2), against=at(7, 10))
    found = audited.ask(audited.stub.AsOf, request).changes
    told = {(c.kind, c.key, c.field): (c.before, c.after) for c in found}
    assert told["model", "credit", "status"] == ("active", "retired")
    assert told["health", "credit", "band"] == ("green", "amber")
    assert told["alert", "credit/a1", ""][0] == ""
    assert told["deployment", "credit/prod/v1", ""][1] == ""


def test_the_same_moment_has_the_same_digests_for_ever(serve: Serve) -> None:
    served = serve("audit")
    stub = AuditServiceStub(served.channel)
    request = pb.AttestRequest(as_of=at(4, 10))
    with telling(served.node.home, served.store) as story:
        tell_work(story, tell_approval(story))
        served.settle()
        before = served.call(stub.Attest, request, "auditor")
        tell_trouble(story)
        tell_end(story)
        served.settle()
    after = served.call(stub.Attest, request, "auditor")
    now = served.call(stub.Attest, pb.AttestRequest(), "auditor")
    assert before.digests == after.digests
    assert now.digests != after.digests


# --- why ---------------------------------------------------------------------------


def why(audited: Audited, **more: Any) -> Any:
    request = pb.WhyRequest(decision=audited.story.decision, **more)
    return audited.ask(audited.stub.Why, request)


def test_a_decision_is_shown_as_it_was_logged(audited: Audited) -> None:
    said = why(audited).decision
    assert (said.model, said.version, said.environment) == ("credit", "v1", "prod")
    assert said.score == audited.story.scores[ASKED]
    values = {cell.name: cell.WhichOneof("value") for cell in said.features}
    assert values == {"age": "number", "town": None}
    assert said.reference == str(ASKED)
    assert said.explained
    assert not said.HasField("reason_codes")


def test_it_says_what_was_known_then_and_what_is_known_now(audited: Audited) -> None:
    answer = why(audited)
    then, now = answer.then, answer.now
    assert (then.model.status, now.model.status) == ("active", "retired")
    assert then.version.digest == DIGEST
    assert [o.kind for o in then.lineage] == ["feature_view", "dataset"]
    assert then.health.band == "green"
    assert now.health.band == "amber"
    assert not then.alerts
    [budget] = then.budgets
    assert budget.status == "within"
    # a day of April has been counted, its window has yet to close
    assert (budget.events, budget.bad_events, budget.spent) == (100, 5, 0.2)
    assert then.window.window == "w0305"
    assert then.window.worst_feature == "town"
    assert {(c.kind, c.field) for c in answer.changes} >= {("model", "status")}


def test_it_names_the_rule_and_the_person_that_let_it_through(audited: Audited) -> None:
    then = why(audited).then
    (verdict,) = then.verdicts
    assert verdict.settled_by == then.deployment.verdict_source
    assert verdict.verdict == "allow"
    (rule,) = verdict.rules
    (operand,) = rule.operands
    assert (operand.text, operand.value, operand.limit) == (
        "evidence.auc",
        "0.71",
        "0.7",
    )
    (approval,) = verdict.approvals
    assert (approval.by.subject, list(approval.roles)) == ("vera", ["validator"])


def test_the_row_is_proven_to_the_signature(audited: Audited) -> None:
    proof = why(audited).proof
    published = audited.served.node.home.checkpoints / "checkpoint.vkey"
    proven = list(steps(proof, VerifierKey.parse(published.read_text())))
    assert len(proven) == 4
    assert all(step.holds for step in proven)
    assert (proof.index, proof.rows) == (ASKED, ROWS)
    assert proof.root == proof.found_root


def test_the_archived_model_gives_the_same_score_again(audited: Audited) -> None:
    again = why(audited, rescore=True).rescore
    assert again.result == pb.RESCORE_RESULT_EQUAL
    assert again.again == again.logged == audited.story.scores[ASKED]


def test_a_model_that_is_gone_is_not_executed(serve: Serve) -> None:
    served = serve("audit")
    stub = AuditServiceStub(served.channel)
    with telling(served.node.home, served.store) as story:
        tell_all(story)
    served.settle()
    for artifact in served.node.home.artifacts.iterdir():
        artifact.write_bytes(b"another model")
    request = pb.WhyRequest(decision=story.decision, rescore=True)
    changed = served.call(stub.Why, request, "auditor").rescore
    assert changed.result == pb.RESCORE_RESULT_NOT_REEXECUTABLE
    assert "sha256" in changed.reason
    for artifact in served.node.home.artifacts.iterdir():
        artifact.unlink()
    gone = served.call(stub.Why, request, "auditor").rescore
    assert gone.reason == "the artifact is not in the archive"


def test_a_row_changed_in_its_file_is_told(serve: Serve) -> None:
    from pyarrow import compute, parquet  # noqa: PLC0415  # the forger's tools

    served = serve("audit")
    stub = AuditServiceStub(served.channel)
    with telling(served.node.home, served.store) as story:
        tell_all(story)
    served.settle()
    table = parquet.read_table(story.parquet)
    forged = compute.add(table["score"], 0.1)
    place = table.schema.get_field_index("score")
    parquet.write_table(table.set_column(place, "score", forged), story.parquet)
    request = pb.WhyRequest(decision=story.decision, rescore=True)
    answer = served.call(stub.Why, request, "auditor")
    assert answer.proof.root != answer.proof.found_root
    assert any("the object was changed" in gap for gap in answer.gaps)
    assert answer.rescore.result == pb.RESCORE_RESULT_NOT_REEXECUTABLE
    key = VerifierKey.parse(answer.proof.inclusion.checkpoint.key)
    first, *rest = steps(answer.proof, key)
    assert not first.holds
    assert all(step.holds for step in rest)


def test_what_was_not_known_is_told_as_a_gap(serve: Serve) -> None:
    served = serve("audit")
    stub = AuditServiceStub(served.channel)
    with telling(served.node.home, served.store) as story:
        tell_work(story, "00000000-0000-4000-8000-000000000000")
    served.settle()
    request = pb.WhyRequest(decision=story.decision)
    answer = served.call(stub.Why, request, "auditor")
    assert any("did not know version credit/v1" in gap for gap in answer.gaps)
    assert any("no rule had allowed" in gap for gap in answer.gaps)

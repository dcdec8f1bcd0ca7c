"""Batches proven by columns: chosen, recorded, found again, and rows when owed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from pyarrow import parquet
from tests.integration.conftest import Served
from tests.integration.watched import DANA, DAY, a_model, happen, observe, rows, stub
from tests.integration.watched import tick as ticked

from modelkeep.api.audit.v1 import audit_pb2
from modelkeep.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.events.inventory import Drivers, ModelClassified
from modelkeep.ledger import stream_name
from modelkeep.proof.note import VerifierKey
from modelkeep_services.cli.proofs import steps

ROWS, COLUMNS = pb.DECISION_PROOF_ROWS, pb.DECISION_PROOF_COLUMNS
SAID = "this batch proves columns, not single rows"


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    found = serve("monitoring", "audit", scenario=True)
    ticked(found, DAY)
    a_model(found)
    return found


def classify(served: Served, tier: int) -> None:
    drivers = Drivers(
        use="desk",
        exposure_share=0.0,
        **dict.fromkeys(
            (
                "exposure",
                "purpose",
                "harm",
                "materiality",
                "method",
                "input_uncertainty",
                "opacity",
                "autonomy",
                "complexity",
            ),
            1,
        ),
    )
    told = ModelClassified(
        model="late",
        tier=tier,
        derived_tier=tier,
        source="derived",
        drivers=drivers,
        rubric="r",
        rubric_digest="sha256:" + "0" * 64,
        by=DANA,
    )
    happen(served, stream_name("model", "main", "late"), told)
    served.settle()


def choose(served: Served, proof: Any = COLUMNS, role: str = "risk_officer") -> None:
    request = pb.ChooseProofRequest(model="late", proof=proof, reason="volume")
    served.call(stub(served).ChooseProof, request, role)
    served.settle()


def policy(served: Served) -> pb.ProofPolicy:
    served.settle()
    request = pb.GetMonitorRequest(model="late")
    found: pb.ProofPolicy = served.call(
        stub(served).GetMonitor, request, "auditor"
    ).proof
    return found


def find(served: Served, decision: object) -> pb.FindDecisionResponse:
    served.settle()
    request = pb.FindDecisionRequest(decision=str(decision))
    found: pb.FindDecisionResponse = served.call(
        stub(served).FindDecision, request, "auditor"
    )
    return found


def why(served: Served, decision: object) -> audit_pb2.WhyResponse:
    served.settle()
    request = audit_pb2.WhyRequest(decision=str(decision))
    found: audit_pb2.WhyResponse = served.call(
        AuditServiceStub(served.channel).Why, request, "auditor"
    )
    return found


def change(served: Served, address: str) -> None:
    """Write another score into an object, as somebody with the disk could."""
    path = Path(served.node.host.home.decisions) / address
    table = parquet.read_table(path)
    scores = table["score"].to_pylist()
    scores[0] = scores[0] / 2
    at = table.column_names.index("score")
    table = table.set_column(at, table.schema.field("score"), [scores])
    parquet.write_table(table, path)


def test_rows_are_proven_until_a_risk_officer_says_otherwise(served: Served) -> None:
    assert policy(served).in_force == ROWS
    with pytest.raises(grpc.RpcError, match="it has no tier yet"):
        choose(served)
    classify(served, 2)
    with pytest.raises(grpc.RpcError, match="it is tier 2"):
        choose(served)
    classify(served, 4)
    with pytest.raises(grpc.RpcError) as refused:
        choose(served, role="engineer")
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    choose(served)
    told = policy(served)
    assert (told.in_force, told.reason) == (COLUMNS, "volume")
    assert told.by.subject == "a-risk_officer"


def test_a_batch_of_columns_says_so_to_whoever_looks_for_a_row(served: Served) -> None:
    classify(served, 4)
    choose(served)
    first, second = rows(), rows(seed=2)
    one, two = observe(served, first.request(flush=False), second.request())
    assert (one.object, one.root) == (two.object, two.root)
    found = find(served, second.ids[17])
    assert found.batch.proof == COLUMNS
    assert found.decision.score == second.scores[17]
    assert (found.not_proven, found.row, list(found.proof)) == (SAID, b"", [])
    answer = why(served, second.ids[17])
    assert SAID in answer.gaps
    assert (answer.proof.not_proven, list(answer.proof.proof)) == (SAID, [])
    assert answer.proof.found_root == answer.proof.root
    assert one.root == f"sha256:{answer.proof.root.hex()}"
    key = VerifierKey.parse(answer.proof.inclusion.checkpoint.key)
    walked = list(steps(answer.proof, key))
    assert [step.holds for step in walked] == [True, True, True]
    assert not any("the row" in step.said for step in walked)
    change(served, found.batch.address)
    with pytest.raises(grpc.RpcError, match="not those recorded"):
        find(served, second.ids[17])
    changed = why(served, second.ids[17])
    assert changed.proof.found_root != changed.proof.root
    assert any("was changed" in gap for gap in changed.gaps)


def test_a_batch_sent_again_after_the_choice_is_still_the_same(served: Served) -> None:
    classify(served, 4)
    request = rows().request()
    [before] = observe(served, request)
    choose(served)
    [again] = observe(served, request)
    assert (again.replayed, again.root) == (True, before.root)
    other = rows(seed=2).request(batch=request.batch)
    with pytest.raises(grpc.RpcError) as refused:
        observe(served, other)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert find(served, rows().ids[0]).batch.proof == ROWS


def test_rows_are_proven_again_as_soon_as_they_are_owed(served: Served) -> None:
    classify(served, 3)
    choose(served)
    classify(served, 1)
    told = policy(served)
    assert (told.in_force, told.chosen) == (ROWS, COLUMNS)
    assert told.rows_owed == "it is tier 1"
    logged = rows()
    observe(served, logged.request())
    assert find(served, logged.ids[5]).proof
    classify(served, 4)
    request = pb.ConfigureMonitorRequest(model="late", reason_codes_compulsory=True)
    served.call(stub(served).ConfigureMonitor, request, "owner")
    assert policy(served).rows_owed == "its reason codes are compulsory"

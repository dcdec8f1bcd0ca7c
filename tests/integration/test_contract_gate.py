"""Data at rest against a contract: over the wire, and as people check a file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from tests.integration.conftest import TIMEOUT_S, Served
from tests.integration.watched import DAY, a_model, happen, stub, tick

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.errors import Invalid
from modelkeep.events.lineage import NodeRecorded, node_id
from modelkeep.ledger import stream_name
from modelkeep_services.cli import contract as cli

Serve = Callable[..., Served]
DIGEST = "sha256:" + "b" * 64
OTHER = "sha256:" + "c" * 64
LOANS = """
kind: DataContract
apiVersion: v3.1.0
id: loans
version: 1.0.0
status: active
schema:
  - name: loans
    quality:
      - {metric: rowCount, mustBeGreaterThan: 1000}
    properties:
      - {name: id, logicalType: string, primaryKey: true}
      - name: income
        logicalType: number
        required: true
        logicalTypeOptions: {minimum: 0}
"""


def loans(rows: int = 2_000, *, broken: int = 0) -> pa.Table:
    income = np.random.default_rng(6).lognormal(10, 1, rows)
    income[:broken] = -1.0
    return pa.table({"id": [f"L{row}" for row in range(rows)], "income": income})


@pytest.fixture
def served(serve: Serve) -> Served:
    found = serve("monitoring", scenario=True)
    tick(found, DAY)
    a_model(found)
    contract = pb.RegisterContractRequest(
        model="late",
        contract="loans",
        columns=[
            pb.ColumnContract(column="id", max_duplicates=0),
            pb.ColumnContract(column="income", minimum=0.0, max_null_rate=0.0),
        ],
        on_breach=pb.BREACH_POLICY_MARK,
    )
    found.call(stub(found).RegisterContract, contract, "owner")
    found.settle()
    return found


def checked(
    served: Served, table: pa.Table, folder: Path, **header: Any
) -> pb.CheckSnapshotResponse:
    file = folder / "data.parquet"
    parquet.write_table(table, file)
    given: dict[str, Any] = {
        "model": "late",
        "digest": DIGEST,
        "purpose": pb.SNAPSHOT_PURPOSE_TRAINING,
    } | header
    first = pb.CheckSnapshotRequest(
        request_id="0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
        header=pb.SnapshotHeader(**given),
    )
    [answer] = stub(served).CheckSnapshot(
        iter([first, *cli.parts(file)]),
        timeout=TIMEOUT_S,
        metadata=served.metadata("engineer"),
    )
    return answer


def verdicts(served: Served) -> list[pb.Snapshot]:
    served.settle()
    request = pb.ListSnapshotsRequest(model="late", digest=DIGEST)
    return list(served.call(stub(served).ListSnapshots, request, "auditor").snapshots)


def test_a_verdict_on_a_snapshot_is_bound_to_its_digest(
    served: Served, tmp_path: Path
) -> None:
    table = loans(40_000, broken=30)
    answer = checked(served, table, tmp_path, key="id")
    assert (answer.kept, answer.rows, answer.contract) == (False, 40_000, "loans")
    [breach] = answer.breaches
    assert (breach.column, breach.rule, breach.count) == ("income", "minimum", 30)
    assert list(breach.examples) == [f"L{row}" for row in range(20)]
    [verdict] = verdicts(served)
    assert (verdict.kept, verdict.rows, verdict.columns) == (False, 40_000, 2)
    again = checked(served, table, tmp_path, key="id")
    assert again.written.replayed


def test_ids_are_told_apart_across_all_parts_of_a_snapshot(
    served: Served, tmp_path: Path
) -> None:
    twice = pa.concat_tables([loans(30_000), loans(30_000)])
    answer = checked(served, twice, tmp_path)
    [breach] = answer.breaches
    assert (breach.rule, breach.count, breach.of) == ("unique", 30_000, 60_000)
    assert breach.examples[0] == "row 30000"


def test_a_dataset_of_lineage_must_have_the_digest_that_is_said(
    served: Served, tmp_path: Path
) -> None:
    node = node_id("dataset", "s3://bank", "loans", digest=DIGEST)
    happen(
        served,
        stream_name("node", "main", node.replace(":", ".")),
        NodeRecorded(
            node=node,
            kind="dataset",
            namespace="s3://bank",
            name="loans",
            digest=DIGEST,
        ),
    )
    served.settle()
    for digest, dataset, code in (
        (OTHER, node, grpc.StatusCode.FAILED_PRECONDITION),
        (DIGEST, node_id("dataset", "s3://bank", "cars"), grpc.StatusCode.NOT_FOUND),
        ("", "", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            checked(served, loans(), tmp_path, digest=digest, node=dataset)
        assert refused.value.code() is code
    answer = checked(served, loans(), tmp_path, digest="", node=node)
    assert (answer.kept, answer.digest) == (True, DIGEST)
    assert [one.node for one in verdicts(served)] == [node]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_is_checked_against_a_document(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("open_data_contract_standard")
    document = tmp_path / "loans.odcs.yaml"
    document.write_text(LOANS)
    write = parquet.write_table if kind == "parquet" else csv.write_csv
    good, bad = tmp_path / f"good.{kind}", tmp_path / f"bad.{kind}"
    write(loans(), good)
    write(loans(broken=7), bad)
    assert cli.local(good, document, None, "id")
    assert not cli.local(bad, document, None, "id")
    said = capsys.readouterr().out
    assert "minimum" in said
    assert "L0, L1, L2, L3, L4 …" in said
    few = tmp_path / f"few.{kind}"
    write(loans(10), few)
    assert not cli.local(few, document, None, "")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "loans.xlsx"
    file.write_bytes(b"PK")
    with pytest.raises(Invalid, match="neither"):
        list(cli.parts(file))
    broken = tmp_path / "loans.parquet"
    broken.write_bytes(b"PAR1 no more")
    with pytest.raises(Invalid, match=r"loans\.parquet"):
        list(cli.parts(broken))


def test_the_command_ends_with_1_where_a_contract_broke(tmp_path: Path) -> None:
    pytest.importorskip("open_data_contract_standard")
    document, file = tmp_path / "loans.odcs.yaml", tmp_path / "loans.csv"
    document.write_text(LOANS)
    csv.write_csv(loans(broken=3), file)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "modelkeep_services", "contract", "check"),
            *(str(file), "--contract", str(document)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "income" in done.stdout

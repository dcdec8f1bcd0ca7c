"""An inventory brought in over the wire: once, whatever is run twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.conftest import Served

from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.errors import Refused
from modelkeep_services.inventory.importing import Plan, plan, read_mapping, run

SHARED = Path(
    os.environ.get(
        "MODELKEEP_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"
    )
)
FEDERAL = SHARED / "us_federal_ai_inventory_2025.parquet"

RECIPE = """
register:
  model: {column: id}
  title: {column: title}
  kind: {constant: trained}
  purpose: {column: title}
  owner: {constant: model-office}
classify:
  exposure_share: {constant: 0.02}
  purpose: {constant: 3}
  harm: {constant: 2}
  method: {constant: 2}
  input_uncertainty: {constant: 2}
  opacity: {constant: 2}
  autonomy: {constant: 2}
roles:
- {role: {constant: engineer}, subject: {column: developer}}
"""


def planned(folder: Path, rows: str, recipe: str = RECIPE) -> Plan:
    (folder / "models.csv").write_text(rows)
    (folder / "map.yaml").write_text(recipe)
    return plan(folder / "models.csv", read_mapping(folder / "map.yaml"))


def test_a_second_run_imports_nothing_twice(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve("inventory")
    rows = "id,title,developer\n" + "".join(
        f"m-{at},Model {at},emil\n" for at in range(40)
    )
    found, told = planned(tmp_path, rows), list[tuple[int, int]]()
    metadata = served.metadata("owner")
    first = run(found, served.channel, metadata, lambda *done: told.append(done))
    assert (first.written, first.again, first.failures) == (120, 0, ())
    assert told[-1] == (120, 120)
    served.settle()
    head = served.store.head()
    second = run(found, served.channel, metadata)
    assert (second.written, second.again, second.failures) == (0, 120, ())
    assert served.store.head() == head
    stub = InventoryServiceStub(served.channel)
    models = served.call(
        stub.ListModels, pb.ListModelsRequest(tier=2), "auditor"
    ).models
    assert len(models) == 40


def test_a_row_that_changed_since_is_a_failure_of_that_row(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve("inventory")
    metadata = served.metadata("owner")
    header = "id,title,developer\n"
    run(planned(tmp_path, header + "a,A,\nb,B,\n"), served.channel, metadata)
    changed = planned(tmp_path, header + "a,A,\nb,Another,\n")
    found = run(changed, served.channel, metadata)
    assert [(one.row, one.value) for one in found.failures] == [(3, "b")]
    assert "model b is registered" in found.failures[0].reason


def test_a_plan_with_problems_is_not_run(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve("inventory")
    found = planned(tmp_path, "id,title,developer\nB A D,A,\n")
    head = served.store.head()
    with pytest.raises(Refused, match="1 problems"):
        run(found, served.channel, served.metadata("owner"))
    assert served.store.head() == head


FEDERAL_RECIPE = """
empty: [None, N/A]
register:
  model: {template: "{agency}-{use_case_name}", slug: true, max_length: 100}
  title: {column: use_case_name, one_line: true, max_length: 200}
  kind:
    column: classification
    map: {Generative AI: generative, Agentic AI: generative}
    default: trained
  purpose: {column: problem_solved, default: not stated, max_length: 4000}
  owner: {column: agency, slug: true}
  business_line: {column: agency, slug: true}
classify:
  exposure_share: {constant: 0.01}
  purpose: {column: is_high_impact, map: {High-impact: 4}, default: 2}
  harm: {column: is_high_impact, map: {High-impact: 4}, default: 1}
  method: {constant: 2}
  input_uncertainty: {constant: 2}
  opacity: {constant: 3}
  autonomy: {constant: 2}
"""


@pytest.mark.skipif(not FEDERAL.exists(), reason="no MODELKEEP_SHARED_DATA")
def test_a_real_inventory_of_thousands_is_planned_in_full(tmp_path: Path) -> None:
    """3,611 use cases of the United States' agencies, as reported in 2025."""
    parquet = pytest.importorskip("pyarrow.parquet")
    csv = pytest.importorskip("pyarrow.csv")
    table = parquet.read_table(FEDERAL)
    flat = table.select(
        [
            "agency",
            "use_case_name",
            "classification",
            "problem_solved",
            "is_high_impact",
        ]
    )
    csv.write_csv(flat, tmp_path / "federal.csv")
    (tmp_path / "map.yaml").write_text(FEDERAL_RECIPE)
    found = plan(tmp_path / "federal.csv", read_mapping(tmp_path / "map.yaml"))
    assert found.rows == 3_611
    reasons = {one.reason.partition(" row")[0] for one in found.problems}
    assert reasons == {"is the same model as", "title: Field required"}

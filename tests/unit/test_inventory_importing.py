"""A table of models: every problem is listed, and nothing sent before all is good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelkeep.errors import Invalid
from modelkeep_services.inventory import importing
from modelkeep_services.inventory.importing import Plan, Problem, plan, read_mapping

RECIPE = """
register:
  model: {template: "{Unit}-{ID}", slug: true}
  title: {column: Name, one_line: true, max_length: 20}
  kind: {column: Kind, map: {LLM: generative, Rules: rulebook}, default: trained}
  purpose: {column: Purpose}
  owner: {constant: model-office}
  approved_uses: {column: Uses, split: ";", slug: true}
  effective_at: {column: Since}
classify:
  exposure_share: {column: Share, default: 0}
  purpose: {constant: 2}
  harm: {constant: 1}
  method: {constant: 1}
  input_uncertainty: {constant: 1}
  opacity: {constant: 1}
  autonomy: {constant: 1}
roles:
- {role: {constant: engineer}, subject: {column: Developer, slug: true}}
"""
HEADER = "Unit,ID,Name,Kind,Purpose,Uses,Since,Share,Developer\n"


@pytest.fixture
def planned(tmp_path: Path) -> Any:
    def make(rows: str | bytes, recipe: str = RECIPE) -> Plan:
        table, mapping = tmp_path / "models.csv", tmp_path / "map.yaml"
        content = rows if isinstance(rows, bytes) else (HEADER + rows).encode()
        table.write_bytes(content)
        mapping.write_text(recipe)
        return plan(table, read_mapping(mapping))

    return make


def test_a_row_becomes_a_registration_a_tier_and_a_role(planned: Any) -> None:
    found = planned(
        "Retail,1,Fraud  guard,LLM,stop fraud,Cards; Wires,2024-05-01,0.02,Emil B\n"
    )
    assert found.problems == ()
    register, classify, assign = (one.request for one in found.requests)
    assert (register.model, register.title) == ("retail-1", "Fraud guard")
    assert list(register.approved_uses) == ["cards", "wires"]
    assert register.effective_at.ToJsonString() == "2024-05-01T00:00:00Z"
    assert (classify.model, classify.exposure_share) == ("retail-1", 0.02)
    assert (assign.model, assign.subject) == ("retail-1", "emil-b")


def test_a_role_nobody_fills_and_an_empty_line_are_no_problem(planned: Any) -> None:
    found = planned("Retail,1,Fraud,,stop fraud,,,,\n,,,,,,,,\n")
    assert found.problems == ()
    assert [one.rpc for one in found.requests] == ["RegisterModel", "ClassifyRisk"]


def test_every_problem_is_listed_with_row_column_value_and_reason(planned: Any) -> None:
    found = planned(
        "Retail,1,,LLM,stop fraud,,,,\n"
        "Retail,2,Churn,LLM,,,,lots,\n"
        "Retail,2,Again,LLM,x,,yesterday,,\n"
        "Retail,3\n"
    )
    assert [one[:3] for one in found.problems] == [
        (2, "Name", ""),
        (3, "Purpose", ""),
        (3, "Share", "lots"),
        (4, "Since", "yesterday"),
        (5, "", ""),
    ]
    assert found.problems[4].reason == "has 2 cells, not 9"


def test_the_same_model_twice_is_a_problem(planned: Any) -> None:
    found = planned("Retail,1,A,,x,,,,\nRETAIL,1,B,,x,,,,\n")
    assert found.problems == (
        Problem(3, "Unit, ID", "retail-1", "is the same model as row 2"),
    )


def test_a_value_without_a_mapping_is_a_problem(planned: Any) -> None:
    strict = RECIPE.replace(", default: trained", "")
    found = planned("Retail,1,A,Magic,x,,,,\n", strict)
    assert found.problems == (
        Problem(2, "Kind", "Magic", "is a value that the mapping does not know"),
    )


def test_a_mapped_column_that_is_not_there_is_a_problem_of_the_header(
    planned: Any,
) -> None:
    found = planned(b"Unit,ID,Name,Name\nRetail,1,A,B\n")
    reasons = {(one.column, one.reason) for one in found.problems}
    assert ("Name", "is there more than once") in reasons
    assert ("Purpose", "is mapped, but is not a column") in reasons
    assert found.requests == ()


def test_a_field_that_no_request_has_is_a_problem(planned: Any) -> None:
    wrong = RECIPE.replace("  purpose: {column: Purpose}", "  aim: {column: Purpose}")
    found = planned("Retail,1,A,,x,,,,\n", wrong)
    assert {one.reason.split(":")[0] for one in found.problems} == {"aim", "purpose"}


def test_bytes_that_are_not_text_are_a_problem_of_their_line(planned: Any) -> None:
    found = planned(HEADER.encode() + b"Retail,1,\xff,,x,,,,\n")
    assert [(one.row, one.value) for one in found.problems] == [(2, "ff")]


def test_a_spreadsheets_mark_at_the_start_is_read_over(planned: Any) -> None:
    found = planned(b"\xef\xbb\xbf" + HEADER.encode() + b"Retail,1,A,,x,,,,\n")
    assert found.problems == ()


def test_a_table_has_bounds(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_ROWS", 1)
    found = planned("Retail,1,A,,x,,,,\nRetail,2,A,,x,,,,\n")
    assert [one.reason for one in found.problems] == ["there are more than 1 rows"]
    monkeypatch.setattr(importing, "MAX_BYTES", 10)
    found = planned("Retail,1,A,,x,,,,\n")
    assert [one.reason for one in found.problems] == ["is larger than 10 bytes"]
    assert planned(b"").problems


def test_a_cell_beyond_reason_is_a_problem(planned: Any) -> None:
    found = planned(f"Retail,1,{'x' * 200_000},,x,,,,\n")
    assert "cannot be read" in found.problems[0].reason


def test_the_same_row_gets_the_same_request_id_and_another_another(
    planned: Any,
) -> None:
    first = planned("Retail,1,A,,x,,,,\n").requests[0].request
    again = planned("Retail,1,A,,x,,,,\n").requests[0].request
    other = planned("Retail,1,B,,x,,,,\n").requests[0].request
    assert first.request_id == again.request_id != other.request_id


def test_a_mapping_that_is_none_is_refused_by_name(planned: Any) -> None:
    with pytest.raises(Invalid, match="register"):
        planned("", "classify: {}")
    with pytest.raises(Invalid, match="is not YAML"):
        planned("", "a: [")
    with pytest.raises(Invalid, match="line 1: '2026-02-30' is no timestamp"):
        planned("", "classify: {tier: 2026-02-30}")
    with pytest.raises(Invalid, match="mapping: line 2 holds an alias"):
        planned("", "a: &a [1]\nb: *a")
    with pytest.raises(Invalid, match="mapping: line 1 is nested deeper"):
        planned("", "a: " + "[" * 100)
    with pytest.raises(Invalid, match=r"register\.model\.colour"):
        planned("", "register: {model: {colour: red}}")


def test_a_vendor_is_two_columns_of_one_field(planned: Any) -> None:
    bought = RECIPE + "\n"
    bought = bought.replace(
        "  owner:",
        "  vendor.name: {column: Uses}\n  vendor.product: {column: ID}\n  owner:",
    ).replace("default: trained", "default: vendor")
    bought = bought.replace(
        '  approved_uses: {column: Uses, split: ";", slug: true}\n', ""
    )
    found = planned("Retail,Score 9,A,,x,Acme,,,\nRetail,2,A,,x,,,,\n", bought)
    vendor = found.requests[0].request.vendor
    assert (vendor.name, vendor.product) == ("Acme", "Score 9")
    assert [one.reason for one in found.problems] == ["vendor.name: Field required"]

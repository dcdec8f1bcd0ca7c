"""Open Data Contract Standard documents: what of them is checked, and what is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkeep.errors import Invalid
from modelkeep.events.monitoring import ColumnContract
from modelkeep_services.monitoring import odcs, plain_yaml

pytest.importorskip("open_data_contract_standard")

SHARED = Path(
    os.environ.get(
        "MODELKEEP_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"
    )
)
FIXTURES = SHARED / "fixtures" / "odcs" / "examples"

LOANS = """
kind: DataContract
apiVersion: v3.1.0
id: loans
version: 2.1.0
status: active
schema:
  - name: loans
    quality:
      - {metric: rowCount, mustBeGreaterThan: 10, type: library}
    properties:
      - name: loan_id
        logicalType: string
        primaryKey: true
        logicalTypeOptions: {minLength: 4, maxLength: 12, pattern: "L[0-9]+"}
      - name: income
        logicalType: number
        required: true
        logicalTypeOptions: {minimum: 0, exclusiveMaximum: 1000000}
        quality:
          - {type: sql, query: "select 1", mustBe: 0}
      - name: age
        logicalType: integer
        quality:
          - {metric: nullValues, mustBeLessThan: 5, unit: percent, severity: warning}
      - name: country
        logicalType: string
        quality:
          - metric: invalidValues
            mustBeLessOrEqualTo: 2
            arguments: {validValues: [NO, SE, null]}
          - metric: missingValues
            mustBe: 0
            arguments: {missingValues: ["n/a", null]}
      - name: updated_at
        logicalType: timestamp
slaProperties:
  - {property: latency, value: 2, unit: d, element: loans.updated_at}
  - {property: retention, value: 3, unit: y, element: loans.updated_at}
"""


def test_what_a_document_promises_of_columns_is_checked() -> None:
    found = odcs.read(LOANS)
    by_name = {column.column: column for column in found.columns}
    assert by_name["loan_id"] == ColumnContract(
        column="loan_id",
        kind="string",
        max_null_rate=0.0,
        max_duplicate_rate=0.0,
        min_length=4,
        max_length=12,
    )
    assert by_name["income"] == ColumnContract(
        column="income",
        kind="number",
        max_null_rate=0.0,
        minimum=0,
        exclusive_maximum=1_000_000,
    )
    country = by_name["country"]
    assert country.categories == ("NO", "SE")
    assert (country.max_invalids, country.max_nulls) == (2, 0)
    assert country.missing_words == ("n/a",)
    assert by_name["updated_at"].max_age_hours == 48
    assert (found.least_rows, found.document_version) == (11, "2.1.0")


def test_less_than_five_percent_is_not_five_percent() -> None:
    age = odcs.read(LOANS).columns[2]
    assert age.max_null_rate is not None
    assert 0.049999 < age.max_null_rate < 0.05


def test_what_is_not_checked_is_listed_with_its_place() -> None:
    told = {one.place: one.promise for one in odcs.read(LOANS).unenforced}
    assert told.keys() == {
        "schema[0].properties[0].logicalTypeOptions.pattern",
        "schema[0].properties[1].quality[0]",
        "schema[0].properties[2].quality[0]",
        "slaProperties[1]",
    }
    assert told["slaProperties[1]"] == "retention 3 y"


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("logicalType: number", "logicalType: nmber", "nmber"),
        ("kind: DataContract", "kind: Dashboard", "Open Data Contract Standard 3"),
        ("apiVersion: v3.1.0", "apiVersion: v2.2.2", "Open Data Contract Standard 3"),
        ("status: active", "status: active\nstatus: old", "a second time"),
        ("id: loans", "id: &a loans", "alias"),
        ("id: loans", "id: !!python/name:os.system x", "tag"),
        ("id: loans", "id: [loans", "line"),
        ("id: loans", "---\nid: loans", "documents"),
        ("    properties:", "    properties: []\n    x:", "x"),
    ],
)
def test_a_document_that_is_none_is_refused_by_name(
    was: str, becomes: str, said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        odcs.read(LOANS.replace(was, becomes, 1))


def test_of_several_tables_one_is_chosen() -> None:
    two = LOANS.replace(
        "slaProperties",
        "  - name: people\n    properties:\n      - name: born\nslaProperties",
        1,
    )
    assert odcs.read(two, "people").columns == (ColumnContract(column="born"),)
    for wanted in (None, "nobody"):
        with pytest.raises(Invalid, match="loans, people"):
            odcs.read(two, wanted)


def test_a_document_too_long_or_too_deep_is_refused() -> None:
    with pytest.raises(Invalid, match="longer than"):
        odcs.read("#" + "x" * plain_yaml.MAX_BYTES)
    with pytest.raises(Invalid, match="deeper than"):
        odcs.read("kind: " + "[" * 40 + "]" * 40)


def test_a_country_is_no_truth_value_and_a_date_is_text() -> None:
    found = plain_yaml.read("f", "a: NO\nb: 2020-01-01\nc: 010\nd: 1e3\ne:\nf: true")
    assert found == {
        "a": "NO",
        "b": "2020-01-01",
        "c": "010",
        "d": 1000.0,
        "e": None,
        "f": True,
    }


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="no Bitol example documents here")
def test_the_standards_own_examples_are_read_or_refused_for_having_no_columns() -> None:
    read = 0
    for path in sorted(FIXTURES.glob("*/*.odcs.yaml")):
        try:
            found = odcs.read(path.read_text())
        except Invalid as refused:
            assert "schema_object" in str(refused) or "names no column" in str(refused)  # noqa: PT017  # some have none, some several
        else:
            read += 1
            assert found.columns
    assert read >= 8

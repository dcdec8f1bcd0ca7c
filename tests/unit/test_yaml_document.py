"""YAML that people write: what it means, and what is refused by its line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from modelkeep.errors import Invalid
from modelkeep.yaml_document import MAX_DEPTH, read
from modelkeep_services.cli import rescore
from modelkeep_services.insight.documents import read_health

READERS = {"rubric": rescore._rubric, "health": read_health, "debt": rescore._card}
NESTED = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)


def test_it_means_what_yaml_means() -> None:
    text = "a: no\nb: 2026-02-03\nc: 010\nd: {1: [x, ~]}\ne: !!str 5\nf: {<<: {g: 1}}"
    assert read("f", text) == read("f", text.encode()) == yaml.safe_load(text)
    assert read("f", text)["b"] == date(2026, 2, 3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb: 2026-02-30", "is not YAML: line 2: '2026-02-30' is no timestamp"),
        ("a:\n- 2026-01-01 25:00:00", "line 2: '2026-01-01 25:00:00' is no timestamp"),
        ("a: !!timestamp never", "line 1: 'never' is no timestamp"),
        ("a: !!bool maybe", "line 1: 'maybe' is no bool"),
        ("\na: !!int ''", "line 2: '' is no int"),
        ("a: 0x_", "line 1: '0x_' is no int"),
        (f"a: {'9' * 5_000}", f"line 1: '{'9' * 100}' is no int"),
        ("a: [", "is not YAML: line 1: expected the node content"),
        ("a: 1\n--- \nb: 1", "line 2: but found another document"),
        ("a: !!python/name:os.system x", "line 1: could not determine a constructor"),
        ("a: {[1]: 2}", "line 1: found unhashable key"),
        (b"a: \xff", "is not YAML: unacceptable character #x00ff"),
        ("a: &x [1]\nb: *x", "line 2 holds an alias: write the value out"),
        (f"a:\n- [{NESTED}]", f"line 2 is nested deeper than {MAX_DEPTH}"),
        ("a: " + "[" * 5_000, "line 1 is nested deeper than"),
        ("", "is not a mapping of fields"),
        ("- a", "is not a mapping of fields"),
        ("1: a", "is not a mapping of fields"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_line(
    text: str | bytes, why: str
) -> None:
    with pytest.raises(Invalid) as refused:
        read("mapping", text)
    assert str(refused.value).startswith("mapping: ")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_nested_as_deep_as_may_be_is_read() -> None:
    assert read("f", f"a: {NESTED}") == yaml.safe_load(f"a: {NESTED}")


@pytest.mark.parametrize("field", ["rubric", "health", "debt"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb: 2026-02-30", "is not YAML: line 2: '2026-02-30' is no timestamp"),
        ("a: [", "is not YAML: line 1: "),
        ("a: &x [1]\nb: *x", "line 2 holds an alias"),
        ("[]", "is not a mapping of fields"),
    ],
)
def test_a_document_to_score_by_is_refused_by_its_path_and_line(
    tmp_path: Path, field: str, text: str, why: str
) -> None:
    path = tmp_path / "document.yaml"
    path.write_text(text)
    with pytest.raises(Invalid) as refused:
        rescore.read(field, path, READERS[field])
    assert str(refused.value).startswith(f"{field}: {path}: document: {why}")

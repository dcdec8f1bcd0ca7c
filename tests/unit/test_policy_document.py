"""YAML that two readers could take for two things is refused, by line."""

from __future__ import annotations

import pytest

from modelkeep.errors import Invalid
from modelkeep.policy.document import MAX_BYTES, read

AMBIGUOUS = [
    *["yes", "no", "on", "off", "y", "N", "True", "FALSE", "null", "~", "Null"],
    *["2026-01-01", "2026-01-01T00:00:00Z", "12:30:45", "0x1F", "0o17", "010"],
    *["1_000", "+1", ".5", ".inf", "-.inf", ".nan", "=", "1.", "0b11", "1e400"],
    "99999999999999999999",
]
HOSTILE = {
    "a duplicate key": "a: 1\nb: 2\na: 3\n",
    "a duplicate key in another spelling": 'a: 1\n"a": 2\n',
    "an anchor": "a: &x [1]\nb: 2\n",
    "an alias": "a: &x [1]\nb: *x\n",
    "a bomb": "a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n",
    "a merge": "a: {<<: {b: 1}}\n",
    "a tag": "a: !!int '1'\n",
    "a local tag": "a: !thing 1\n",
    "a python object": "a: !!python/object/apply:os.system ['true']\n",
    "a binary": "a: !!binary aGk=\n",
    "a set": "a: !!set {b, c}\n",
    "a directive": "%YAML 1.1\n---\na: 1\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "nothing": "",
    "only a comment": "# hello\n",
    "a list": "- a\n",
    "a scalar": "hello\n",
    "an empty value": "a:\n",
    "a list as key": "? [a]\n: 1\n",
    "a mapping as key": "{{a: 1}: 2}\n",
    "deep lists": "a: " + "[" * 5_000 + "]" * 5_000,
    "deep mappings": "\n".join(" " * n + "a:" for n in range(200)),
    "an open quote": 'a: "b\n',
    "an open bracket": "a: [1, 2\n",
    "a tab": "a:\n\t- b\n",
    "a NUL": 'a: "b\\0c"\n',
    "a raw NUL": "a: b\0c\n",
    "a bidirectional override": 'a: "b\u202ec"\n',
    "a zero-width space": 'a: "b\u200bc"\n',
    "an escaped bell": 'a: "\\a"\n',
    "a lone surrogate": "a: \ud800\n",
    "an invisible key": '"a\\u200b": 1\n',
    "too much": "a: " + "x" * MAX_BYTES,
}


@pytest.mark.parametrize("plain", AMBIGUOUS)
def test_what_could_be_read_in_two_ways_must_be_quoted(plain: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(f"first: 1\nvalue: {plain}\n")
    (violation,) = refused.value.violations
    assert violation.field == "value"
    assert "line 2" in violation.description
    assert read(f"value: '{plain}'").data == {"value": plain}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read(text)


def test_plain_data_keeps_its_types_and_its_lines() -> None:
    source = read("a: 1\nb: [true, 0.5, 4.1.0, 2160h]\nc:\n  1: 'yes'\n")
    assert source.data == {
        "a": 1,
        "b": [True, 0.5, "4.1.0", "2160h"],
        "c": {"1": "yes"},
    }
    assert source.line(("c", "1")) == 4
    assert source.line(("b", 1)) == 2
    assert source.line(("c", "nothing")) == 3

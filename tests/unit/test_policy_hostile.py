"""Hundreds of hostile rules, documents and facts: refused or bounded, and we live."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Final

import pytest
from tests.unit.hostile_policies import FORGED, MOST_MIB, MOST_MS

LEAST: Final = 500
Line = dict[str, str | float]


@pytest.fixture(scope="module")
def met() -> list[Line]:
    """In a process of its own: what it survives is what is tested."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.hostile_policies"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_there_are_hundreds_of_each_kind(met: list[Line]) -> None:
    counts = Counter(line["kind"] for line in met[:-1])
    assert counts.keys() == {"expression", "document", "input", "octets"}
    assert counts.total() >= LEAST


def test_what_is_not_refused_costs_little(met: list[Line]) -> None:
    dear = [
        line
        for line in met[:-1]
        if line["end"] != "refused" and float(line["ms"]) > MOST_MS
    ]
    assert not dear
    assert float(met[-1]["grown_mib"]) < MOST_MIB


def test_no_made_up_value_is_allowed(met: list[Line]) -> None:
    assert not [line for line in met[:-1] if line["end"] == FORGED]

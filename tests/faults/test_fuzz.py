"""Parsers of others' bytes: no crash and no hang, whatever is fed (see `fuzz.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest
from tests.faults.fuzz import Parser, fuzz, parsers

SEED: Final = 20130401
FEW: Final = 80
DEAR: Final = {"bundle": 2, "contract": 8, "mapping": 8, "table": 8, "ledger": 15}
"""Those that take milliseconds, and how often they are tried each time."""
LONG_S: Final = 20.0


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Parser]:
    return parsers(tmp_path_factory.mktemp("fuzz"))


def test_what_is_nearly_right_is_refused_or_read(known: Mapping[str, Parser]) -> None:
    for name, parser in known.items():
        told = fuzz(name, parser, seed=SEED, runs=DEAR.get(name, FEW))
        assert not told.wrong, told
        assert told.refused + told.read == told.runs


@pytest.mark.slow
def test_for_minutes_what_is_nearly_right_is_refused_or_read(
    known: Mapping[str, Parser],
) -> None:
    for name, parser in known.items():
        told = fuzz(name, parser, seed=SEED + 1, seconds=LONG_S)
        print(told)  # noqa: T201
        assert not told.wrong, told


def test_a_parser_that_crashes_is_found_out() -> None:
    def crashes(raw: bytes) -> int:
        return raw.index(b"}")

    told = fuzz("planted", Parser(crashes, [b"{}"], (KeyError,)), seed=1, runs=50)
    assert told.failures["ValueError"] > 0

"""Parsers of others' bytes: no crash and no hang, whatever is fed (see `fuzz.py`)."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from tests.faults import planted
from tests.faults.fuzz import fuzz
from tests.faults.parser import Parser
from tests.faults.parsers import parsers
from tests.faults.spoiling import everywhere

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


def placed(known: Mapping[str, Parser], step: int) -> int:
    """Read JSON with an odd value at one place, each parser's in turn."""
    count = 0
    for name, parser in known.items():
        for seed in parser.seeds:
            for raw in everywhere(seed, step):
                count += 1
                with suppress(*parser.refuses):
                    try:
                        parser.read(raw)
                    except parser.refuses:
                        raise
                    except Exception as error:
                        raise AssertionError(f"{name}: {raw!r}") from error
    return count


def test_an_odd_value_at_some_places_is_refused_or_read(
    known: Mapping[str, Parser],
) -> None:
    assert placed(known, 101) > 100


@pytest.mark.slow
def test_an_odd_value_at_every_place_is_refused_or_read(
    known: Mapping[str, Parser],
) -> None:
    print(placed(known, 1))  # noqa: T201


def test_a_parser_that_crashes_is_found_out() -> None:
    def crashes(raw: bytes) -> int:
        return raw.index(b"}")

    told = fuzz("planted", Parser(crashes, [b"{}"], (KeyError,)), seed=1, runs=50)
    assert told.failures["ValueError"] > 0


@pytest.mark.slow
def test_the_guided_one_finds_what_hides_behind_five_bytes(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the group `fuzz` is missing")
    blind = fuzz(planted.NAME, planted.planted(), seed=SEED, runs=20_000)
    assert not blind.wrong
    run = [sys.executable, "-m", "tests.faults.fuzz_guided", "--seconds", "5"]
    ended = subprocess.run(
        [*run, "--corpus", str(tmp_path), planted.NAME],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
    )
    (wrong,) = json.loads(ended.stdout)["wrong"]
    assert "LookupError" in wrong["what"]
    assert base64.b64decode(wrong["input"]).startswith(b"MODEL")

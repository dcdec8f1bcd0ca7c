"""The same story in one process and in seven: services meet nowhere but in the log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modelkeep.home import Home

DAYS = 3
HOLD_SEALED = {"policy/requests"}
"""Views whose rows keep a personal field as it is sealed: a fresh nonce each time, so
another ciphertext each time. Their rows are compared with those left out."""


def test_one_process_and_seven_make_the_same_views(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
    from tests.e2e.stories import (  # noqa: PLC0415  # it needs the extra
        ONE_EACH,
        differing,
        play,
        rows,
        shown,
    )

    alone = play(Home(tmp_path / "alone"), DAYS)
    # The same people's keys: what is told apart by them is told apart in the same way.
    there = Home(tmp_path / "many").make()
    # With its write-ahead file: a process that had to be killed left keys in it.
    for part in alone.home.keys.glob("subjects.db*"):
        shutil.copy(part, there.keys)
    shutil.copytree(alone.home.epochs, there.epochs)
    many = play(there, DAYS, processes=ONE_EACH)

    assert alone.digests.keys() == many.digests.keys()
    assert len(alone.digests) > 50
    apart = set(differing(alone, many))
    said = {
        view: shown(rows(alone.home, view), rows(many.home, view)) for view in apart
    }
    assert apart <= HOLD_SEALED, said
    for view in HOLD_SEALED:
        assert rows(alone.home, view) == rows(many.home, view)
        assert rows(alone.home, view)

"""What fell due before the last tick, or behind what stays, is ticked all the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.jars import NOON, put
from tests.unit.test_kernel_clock import By, eventually_ticked, keeping, tick

from modelkeep import timekeeper, viewset
from modelkeep.home import Home
from modelkeep.ledger import Ledger
from modelkeep.store.sqlite import SqliteStore


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeper, "EVERY_S", 0.005)
    monkeypatch.setattr(viewset, "POLL_S", 0.02)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").make()


@pytest.fixture
def store(home: Home) -> Iterator[SqliteStore]:
    with SqliteStore(home.ledger) as store:
        yield store


@pytest.fixture
def ledger(store: SqliteStore) -> Iterator[Ledger]:
    with Ledger(store) as ledger:
        yield ledger


def after(minutes: int) -> timedelta:
    return timedelta(minutes=minutes)


def test_what_fell_due_before_the_last_tick_is_due_now(
    home: Home, store: SqliteStore, ledger: Ledger
) -> None:
    tick(ledger, NOON + after(30))
    with keeping(home, store, ledger, By(NOON + after(40))):
        ledger.execute(put("m20", 2))
        eventually_ticked(store, [NOON + after(30), NOON + after(40)])


def test_what_stays_does_not_hide_what_is_behind_it(
    home: Home, store: SqliteStore, ledger: Ledger
) -> None:
    """Nothing here takes a row away once its moment has come."""
    clock = By(NOON + after(6))
    with keeping(home, store, ledger, clock):
        ledger.execute(put("m5", 1))
        eventually_ticked(store, [NOON + after(5)])
        ledger.execute(put("m10", 2))
        clock.saw(NOON + after(11))
        eventually_ticked(store, [NOON + after(5), NOON + after(10)])

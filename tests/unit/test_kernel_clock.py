"""Clocks go forwards; moments that matter are ticked, once, and no others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.unit.jars import NOON, MarblePut, put, uid

from modelkeep import clock as kernel
from modelkeep import timekeeper, viewset
from modelkeep.clock import (
    CLOCK,
    CLOCK_STREAM,
    EPOCH,
    Clock,
    ScenarioClock,
    SystemClock,
    Tick,
    clock_of,
)
from modelkeep.decider import Context
from modelkeep.errors import Refused
from modelkeep.events.base import decode
from modelkeep.events.clock import Ticked
from modelkeep.home import Home
from modelkeep.keystore import Keystore
from modelkeep.ledger import Ledger, Order, Written, body_hash
from modelkeep.service import Host
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing import actor, given
from modelkeep.timekeeper import KEEPER, Due, Timekeeper, due_key, due_view, fallen
from modelkeep.views import Fact, Rows, View
from modelkeep.viewset import ViewSet

PATIENCE_S = 20.0
HOUR = timedelta(hours=1)


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


def tick(ledger: Ledger, instant: datetime, number: int = 1) -> Written:
    command = Tick(instant=instant)
    context = Context(KEEPER, instant, instant, uid(number))
    return ledger.execute(
        Order(CLOCK_STREAM, CLOCK, command, context, body_hash(command))
    )


def ticks(store: SqliteStore) -> list[datetime]:
    read = [
        decode(one.name, one.schema_version, one.data)
        for one in store.read_stream(CLOCK_STREAM)
    ]
    return [event.instant for event in read if isinstance(event, Ticked)]


class TestClocks:
    def test_a_live_clock_is_the_machines_and_in_utc(self) -> None:
        before = datetime.now(UTC)
        now = SystemClock().now()
        assert before <= now <= datetime.now(UTC)
        assert now.tzinfo is UTC

    def test_a_live_clock_never_goes_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moments = iter([NOON, NOON - HOUR, NOON + HOUR])

        class Jumping(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # the zone does not matter here
                assert tz is UTC
                return next(moments)

        clock = SystemClock()
        monkeypatch.setattr(kernel, "datetime", Jumping)
        assert [clock.now() for _ in range(3)] == [NOON, NOON, NOON + HOUR]

    def test_a_live_clock_is_not_moved_by_the_ledger(self) -> None:
        clock = SystemClock()
        clock.saw(datetime(9000, 1, 1, tzinfo=UTC))
        assert clock.now() < datetime(9000, 1, 1, tzinfo=UTC)

    def test_a_scenarios_clock_stands_still_until_it_is_moved_forwards(self) -> None:
        clock = ScenarioClock()
        assert clock.now() == clock.now() == EPOCH
        for seen, then in ((NOON, NOON), (NOON - HOUR, NOON), (NOON + HOUR,) * 2):
            clock.saw(seen)
            assert clock.now() == then


class TestTicks:
    def test_a_moment_is_ticked_once(self) -> None:
        given(CLOCK).when(Tick(instant=NOON)).then(Ticked(instant=NOON)).when(
            Tick(instant=NOON)
        ).then_nothing()

    def test_the_ledgers_clock_goes_forwards_only(self) -> None:
        ticked = given(CLOCK, Ticked(instant=NOON))
        ticked.when(Tick(instant=NOON - HOUR)).then_refused("clock.forwards")
        ticked.when(Tick(instant=NOON + HOUR)).then(Ticked(instant=NOON + HOUR))

    def test_a_moment_ticked_by_two_is_ticked_once(
        self, store: SqliteStore, ledger: Ledger
    ) -> None:
        tick(ledger, NOON, 1)
        with Ledger(store) as other:
            assert not tick(other, NOON, 2).changed
        assert ticks(store) == [NOON]


class TestTheClockOfAHome:
    def test_a_home_lives_by_the_machines_clock(
        self, home: Home, store: SqliteStore
    ) -> None:
        assert isinstance(clock_of(home, store), SystemClock)

    def test_a_scenario_stays_a_scenario_and_remembers_the_time(
        self, home: Home, store: SqliteStore, ledger: Ledger
    ) -> None:
        assert clock_of(home, store, scenario=True).now() == EPOCH
        tick(ledger, NOON, 1)
        tick(ledger, NOON + HOUR, 2)
        for scenario in (False, True):
            again = clock_of(home, store, scenario=scenario)
            assert isinstance(again, ScenarioClock)
            assert again.now() == NOON + HOUR

    def test_a_ledger_that_has_lived_does_not_become_a_scenario(
        self, home: Home, store: SqliteStore, ledger: Ledger
    ) -> None:
        ledger.execute(put())
        with pytest.raises(Refused, match="lives by the machine's clock"):
            clock_of(home, store, scenario=True)
        assert isinstance(clock_of(home, store), SystemClock)


DUE: View[Due] = due_view()


@DUE.on(MarblePut)
def put_due(event: MarblePut, _: Fact, rows: Rows[Due]) -> None:
    """A jar's name says after how many minutes it falls due; `never` does not."""
    if event.jar.startswith("m"):
        instant = NOON + timedelta(minutes=int(event.jar.removeprefix("m")))
        rows.put(due_key(instant, "jar", event.jar), Due("jar", event.jar))


class By(ScenarioClock, SystemClock):
    """A live clock that a test moves by hand."""


@contextmanager
def keeping(
    home: Home, store: SqliteStore, ledger: Ledger, clock: Clock
) -> Iterator[ViewSet]:
    with (
        Keystore(home.subjects) as keystore,
        ViewSet("jars", [DUE], store, home.views("jars")) as views,
    ):
        views.start()
        host = Host(home, store, ledger, clock, keystore)
        with Timekeeper(host, [views]):
            yield views


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeper, "EVERY_S", 0.005)
    monkeypatch.setattr(viewset, "POLL_S", 0.02)


def eventually_ticked(store: SqliteStore, expected: list[datetime]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while ticks(store) != expected and time.monotonic() < deadline:
        time.sleep(0.002)
    assert ticks(store) == expected


@pytest.mark.usefixtures("quick")
class TestTheKeeper:
    def test_it_ticks_when_something_falls_due_and_only_then(
        self, home: Home, store: SqliteStore, ledger: Ledger
    ) -> None:
        clock, numbers = By(NOON), count(1)
        with keeping(home, store, ledger, clock) as views:
            for jar in ("m10", "m5", "never"):
                ledger.execute(put(jar, next(numbers)))
            views.wait_for(store.head(), PATIENCE_S)
            clock.saw(NOON + timedelta(minutes=4))
            time.sleep(0.05)
            assert ticks(store) == []
            clock.saw(NOON + timedelta(minutes=6))
            eventually_ticked(store, [NOON + timedelta(minutes=5)])
            time.sleep(0.05)
            assert len(ticks(store)) == 1

    def test_each_tenants_next_thing_is_looked_at(
        self, home: Home, store: SqliteStore, ledger: Ledger
    ) -> None:
        clock = By(NOON + HOUR)
        with keeping(home, store, ledger, clock):
            ledger.execute(put("m20", 1, by=actor(tenant="other")))
            eventually_ticked(store, [NOON + timedelta(minutes=20)])
        (one,) = store.read_stream(CLOCK_STREAM)
        assert one.meta["actor_subject"] == "timekeeper"
        assert one.meta["effective_at"].startswith("2026-01-05T12:20")

    def test_two_keepers_tick_a_moment_once(
        self, home: Home, store: SqliteStore, ledger: Ledger, tmp_path: Path
    ) -> None:
        clock, other = By(NOON + HOUR), Home(tmp_path / "other").make()
        with (
            Ledger(store) as theirs,
            keeping(home, store, ledger, clock),
            keeping(other, store, theirs, clock),
        ):
            ledger.execute(put("m30", 1))
            eventually_ticked(store, [NOON + timedelta(minutes=30)])
            time.sleep(0.05)
            assert len(ticks(store)) == 1

    def test_in_a_scenario_it_keeps_still(
        self, home: Home, store: SqliteStore, ledger: Ledger
    ) -> None:
        with keeping(home, store, ledger, ScenarioClock(NOON + HOUR)) as views:
            ledger.execute(put("m5", 1))
            views.wait_for(store.head(), PATIENCE_S)
            time.sleep(0.05)
        assert ticks(store) == []


def test_due_keys_sort_by_time_in_every_zone() -> None:
    moments = [NOON + HOUR * n for n in (-5, 0, 3, 24 * 365)]
    keys = [due_key(one, "kind", "subject") for one in moments]
    assert keys == sorted(keys)
    there = [one.astimezone(ZoneInfo("Asia/Tokyo")) for one in moments]
    assert [due_key(one, "kind", "subject") for one in there] == keys


def test_what_has_fallen_due_is_told_oldest_first(
    home: Home, store: SqliteStore, ledger: Ledger
) -> None:
    for number, jar in enumerate(("m9", "m3", "m61", "m60", "m1"), start=1):
        ledger.execute(put(jar, number))
    with ViewSet("jars", [DUE], store, home.views("jars")) as views:
        views.catch_up()
        with views.reader("main") as read:
            found = [one.subject for one in fallen(read, DUE, NOON + HOUR)]
            assert found == ["m1", "m3", "m9", "m60"]
            assert fallen(read, DUE, NOON) == []

"""Views that another process keeps: they answer as if they were kept here."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.jars import JARS, order, uid
from tests.unit.jars import PutMarbles as Put
from tests.unit.keeper_program import wary

from modelkeep import apart
from modelkeep.apart import Projector
from modelkeep.clock import CLOCK, CLOCK_STREAM, Tick
from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.ledger import Ledger, Order, body_hash
from modelkeep.store.sqlite import SqliteStore
from modelkeep.views import AsOf
from modelkeep.viewset import ViewSet

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0


@dataclass
class World:
    home: Home
    store: SqliteStore
    ledger: Ledger
    views: ViewSet
    projector: Projector
    saw: list[datetime]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, jar: str = "big", colour: str = "red") -> int:
        asked = order(Put(jar=jar, colour=colour), uid(next(self._numbers)))
        return self.ledger.execute(asked).position

    def tick(self, instant: datetime) -> int:
        command = Tick(instant=instant)
        asked = order(Put(jar="any"), uid(next(self._numbers)))
        context = asked.context._replace(now=instant, effective_at=instant)
        return self.ledger.execute(
            Order(CLOCK_STREAM, CLOCK, command, context, body_hash(command))
        ).position

    def marbles(self, jar: str = "big") -> int:
        with self.views.reader("main") as read:
            row = read.get(JARS, jar)
        return 0 if row is None else row.marbles

    def replayed(self) -> dict[str, str]:
        fresh = self.home.root / "fresh.db"
        with ViewSet("jars", [wary()], self.store, fresh) as views:
            views.catch_up()
            return views.digests()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    home = Home(tmp_path / "home").make()
    saw: list[datetime] = []
    program = [sys.executable, "-m", "tests.unit.keeper_program", str(home.root)]
    with (
        SqliteStore(home.ledger) as store,
        Ledger(store) as ledger,
        ViewSet("jars", [wary()], store, home.views("jars"), saw=saw.append) as views,
        Projector(program, [views]) as projector,
    ):
        yield World(home, store, ledger, views, projector, saw)


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()


def test_who_writes_reads_what_was_written(world: World) -> None:
    for marbles in range(1, 4):
        world.views.wait_for(world.put(), PATIENCE_S)
        assert world.marbles() == marbles


def test_the_past_is_answered_too(world: World) -> None:
    first = world.put()
    world.views.wait_for(world.put(), PATIENCE_S)
    with world.views.reader("main", AsOf(first)) as read:
        row = read.get(JARS, "big")
    assert row is not None
    assert row.marbles == 1


def test_the_rows_are_those_of_a_replay(world: World) -> None:
    for jar in ("big", "small", "big"):
        at = world.put(jar)
    world.views.wait_for(at, PATIENCE_S)
    assert world.views.digests() == world.replayed()


def test_a_tick_is_told_before_the_position_is(world: World) -> None:
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    for hours in (1, 2):
        instant = noon + timedelta(hours=hours)
        world.views.wait_for(world.tick(instant), PATIENCE_S)
        assert world.saw[-1] == instant


def test_a_keeper_that_dies_is_followed_by_another(world: World) -> None:
    world.views.wait_for(world.put(), PATIENCE_S)
    _child(world).send_signal(signal.SIGKILL)
    for marbles in (2, 3):
        world.views.wait_for(world.put(), PATIENCE_S)
        assert world.marbles() == marbles
    assert world.views.digests() == world.replayed()


def test_what_it_cannot_take_halts_them_here_too(world: World) -> None:
    before = world.put()
    world.views.wait_for(before, PATIENCE_S)
    at = world.put(colour="black")
    assert eventually(lambda: world.views.halt is not None)
    assert world.views.halt is not None
    assert (world.views.halt.position, world.views.halt.event) == (
        at,
        "tests.marble-put",
    )
    assert "a black marble" in world.views.halt.reason
    with pytest.raises(Unavailable, match="a black marble"):
        world.marbles()
    with world.views.reader("main", AsOf(before)) as read:
        assert read.get(JARS, "big") is not None


@pytest.mark.usefixtures("world")  # for the path
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.unit.keeper_program"]
    hears, tells = os.pipe()
    with subprocess.Popen(
        [*program, str(Home(tmp_path / "other").make().root), str(tells)],
        stdin=subprocess.PIPE,
        pass_fds=[tells],
    ) as keeper:
        os.close(tells)
        with os.fdopen(hears) as said:
            assert '"views": "jars"' in said.readline()
            assert keeper.stdin is not None
            keeper.stdin.close()  # as the system does for a parent that dies
            assert keeper.wait(PATIENCE_S) == 0


def test_two_keepers_never_write_one_file(world: World) -> None:
    world.views.wait_for(world.put(), PATIENCE_S)
    path = world.home.views("jars")
    with ViewSet("jars", [wary()], world.store, path).start() as second:
        at = world.put()
        world.views.wait_for(at, PATIENCE_S)
        assert second.position < at
        _child(world).send_signal(signal.SIGKILL)
        # Whichever of the two comes next, all that is acknowledged is seen once.
        last = world.put()
        with second.reader("main") as read:
            assert read is not None
        assert eventually(
            lambda: second.position >= last or world.views.position >= last
        )
    assert world.replayed()["jars"] == world.views.digests()["jars"]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (["no-such-program-anywhere"], "cannot be started"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "exit code 3"),
    ],
)
def test_where_no_keeper_starts_the_views_say_so(
    program: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "AGAIN_S", 0.01)
    home = Home(tmp_path / "home").make()
    with (
        SqliteStore(home.ledger) as store,
        ViewSet("jars", [wary()], store, home.views("jars")) as views,
        Projector(program, [views]),
    ):
        assert eventually(lambda: views.halt is not None)
        with (
            pytest.raises(Unavailable, match=why),
            views.reader("main"),
        ):
            pass


def _child(world: World) -> subprocess.Popen[str]:
    child = world.projector.child
    assert child is not None
    return child

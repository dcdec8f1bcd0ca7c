"""Views: rows follow the log, and what they were at any moment can be asked for."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.jars import (
    JARS,
    NOON,
    JarBroken,
    JarRow,
    MarblePut,
    jars_view,
    put,
    smash,
)

from modelkeep import viewfile, viewset
from modelkeep.clock import CLOCK, CLOCK_STREAM, Tick
from modelkeep.decider import Context
from modelkeep.errors import Late, Refused, Unavailable
from modelkeep.ledger import Ledger, Order, body_hash
from modelkeep.store.port import START, Batch, Filter, Recorded, Subscription
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing import actor
from modelkeep.views import AnyView, AsOf, Fact, Reader, Rows, View
from modelkeep.viewset import ViewSet

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0


class World:
    """A ledger with jars, and views of them in as many files as a test likes."""

    def __init__(self, folder: Path, store: SqliteStore, ledger: Ledger) -> None:
        self.folder, self.store, self.ledger = folder, store, ledger
        self._numbers = itertools.count(1)
        self._files = itertools.count(1)

    def put(
        self,
        jar: str = "big",
        colour: str = "red",
        *,
        count: int = 1,
        at: datetime = NOON,
        tenant: str = "main",
    ) -> int:
        by = actor("somebody", tenant=tenant)
        number = next(self._numbers)
        asked = put(jar, number, colour=colour, count=count, by=by, at=at)
        return self.ledger.execute(asked).position

    def smash(self, jar: str = "big", tenant: str = "main") -> int:
        by = actor("somebody", tenant=tenant)
        return self.ledger.execute(smash(jar, next(self._numbers), by=by)).position

    def path(self) -> Path:
        return self.folder / f"views-{next(self._files)}.db"

    @contextmanager
    def views(
        self, *views: AnyView, path: Path | None = None, caught_up: bool = True
    ) -> Iterator[ViewSet]:
        file = path or self.path()
        with ViewSet("jars", views or (JARS,), self.store, file) as found:
            if caught_up:
                found.catch_up()
            yield found

    def replayed(self, *views: AnyView) -> dict[str, str]:
        with self.views(*views) as fresh:
            return fresh.digests()

    @contextmanager
    def read(self, tenant: str = "main", as_of: AsOf | None = None) -> Iterator[Reader]:
        with self.views() as views, views.reader(tenant, as_of or AsOf()) as read:
            yield read


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(viewset, "POLL_S", 0.02)
    with SqliteStore(tmp_path / "ledger.db") as store, Ledger(store) as ledger:
        yield World(tmp_path, store, ledger)


def colours(read: Reader) -> list[str]:
    return [row.colour for _, row in read.scan(JARS)]


class TestNow:
    def test_a_row_is_what_its_events_made_of_it(self, world: World) -> None:
        world.put("big", "red", count=2)
        world.put("big", "blue")
        with world.read() as read:
            assert read.get(JARS, "big") == JarRow("big", 3, "blue", NOON, "somebody")
            assert read.get(JARS, "small") is None

    def test_a_row_that_was_deleted_is_gone(self, world: World) -> None:
        world.put("big")
        world.put("small")
        world.smash("big")
        with world.read() as read:
            assert read.get(JARS, "big") is None
            assert [key for key, _ in read.scan(JARS)] == ["small"]

    def test_tenants_see_nothing_of_each_other(self, world: World) -> None:
        world.put("big", "red", tenant="main")
        world.put("big", "blue", tenant="other")
        world.put("mine", tenant="main")
        world.smash("big", tenant="main")
        with world.views() as views:
            with views.reader("main") as read:
                assert [key for key, _ in read.scan(JARS)] == ["mine"]
                assert read.tenants(JARS) == ["main", "other"]
                assert colours(read.other("other")) == ["blue"]
            with views.reader("nobody") as read:
                assert read.scan(JARS) == []
                assert read.history(JARS, "big") == []
            assert sorted(views.first_keys("jars")) == ["big", "mine"]

    def test_a_scan_is_in_order_and_within_its_prefix(self, world: World) -> None:
        for jar in ("b.2", "a.1", "b.10", "b", "c", "b.1"):
            world.put(jar)
        with world.read() as read:

            def keys(
                prefix: str = "", *, after: str | None = None, limit: int | None = None
            ) -> list[str]:
                return [
                    key for key, _ in read.scan(JARS, prefix, after=after, limit=limit)
                ]

            assert keys() == ["a.1", "b", "b.1", "b.10", "b.2", "c"]
            assert keys("b") == ["b", "b.1", "b.10", "b.2"]
            assert keys("b.") == ["b.1", "b.10", "b.2"]
            assert keys("b", after="b.1") == ["b.10", "b.2"]
            assert keys("b", after="a") == ["b", "b.1", "b.10", "b.2"]
            assert keys(after="b.1", limit=2) == ["b.10", "b.2"]
            assert keys("zzz") == keys("b", after="b.9") == keys(limit=0) == []

    def test_one_reader_sees_one_moment_however_much_is_written(
        self, world: World
    ) -> None:
        world.put("big", "red")
        with world.views() as views, views.reader("main") as read:
            before = read.get(JARS, "big")
            world.put("big", "blue")
            world.put("small")
            views.catch_up()
            assert read.get(JARS, "big") == before
            assert read.get(JARS, "small") is None
            with views.reader("main") as later:
                assert colours(later) == ["blue", "red"]


class TestThePast:
    def test_every_state_of_a_row_is_remembered(self, world: World) -> None:
        first = world.put("big", "red")
        second = world.put("big", "blue")
        gone = world.smash("big")
        with world.read() as read:
            history = read.history(JARS, "big")
        assert [at for at, _ in history] == [first, second, gone]
        assert [row and row.colour for _, row in history] == ["red", "blue", None]

    def test_a_row_can_be_asked_as_of_any_position(self, world: World) -> None:
        positions = [world.put("big", colour) for colour in ("red", "blue", "green")]
        gone = world.smash("big")
        with world.views() as views:
            for at, colour in zip(positions, ("red", "blue", "green"), strict=True):
                with views.reader("main", AsOf(at)) as read:
                    row = read.get(JARS, "big")
                    assert row is not None
                    assert row.colour == colour
                    assert len(read.history(JARS, "big")) == row.marbles
            for bound in (START, positions[0] - 1, gone, gone + 1_000):
                with views.reader("main", AsOf(bound)) as read:
                    assert read.get(JARS, "big") is None

    def test_a_scan_shows_what_was_there(self, world: World) -> None:
        world.put("a", "red")
        before = world.put("b", "red")
        world.smash("a")
        world.put("b", "blue")
        world.put("c", "blue")
        with world.read(as_of=AsOf(before)) as read:
            assert [(key, row.colour) for key, row in read.scan(JARS)] == [
                ("a", "red"),
                ("b", "red"),
            ]
            assert [key for key, _ in read.scan(JARS, limit=1)] == ["a"]
            assert [key for key, _ in read.scan(JARS, after="a", limit=1)] == ["b"]
            assert [key for key, _ in read.scan(JARS, "b")] == ["b"]

    def test_a_limit_counts_what_was_there_and_not_what_is(self, world: World) -> None:
        for jar in "abcd":
            world.put(jar)
        now = world.put("e")
        for jar in "bc":
            world.smash(jar)
        with world.views() as views:
            with views.reader("main") as read:
                assert [k for k, _ in read.scan(JARS, limit=3)] == ["a", "d", "e"]
            with views.reader("main", AsOf(now)) as read:
                assert [k for k, _ in read.scan(JARS, limit=3)] == ["a", "b", "c"]

    def test_a_moment_is_everything_known_by_then(self, world: World) -> None:
        hours = [NOON + timedelta(hours=n) for n in range(4)]
        for hour, colour in zip(hours, ("red", "blue", "green", "tan"), strict=True):
            world.put("big", colour, at=hour)
        with world.read() as read:

            def colour_at(instant: datetime) -> list[str]:
                return colours(read.at(read.when(instant)))

            assert colour_at(NOON - timedelta(microseconds=1)) == []
            assert colour_at(NOON) == ["red"]
            assert colour_at(NOON + timedelta(minutes=59)) == ["red"]
            assert colour_at(hours[1]) == ["blue"]
            assert colour_at(hours[3] - timedelta(microseconds=1)) == ["green"]
            assert colour_at(hours[3] + timedelta(days=9)) == ["tan"]

    def test_what_came_after_a_later_clock_counts_from_that_clock(
        self, world: World
    ) -> None:
        """An event stamped 13:00 behind one stamped 14:00 was known at 14:00."""
        one, two, three = (NOON + timedelta(hours=n) for n in (1, 2, 3))
        world.put("a", at=NOON)
        world.put("b", at=two)
        late = world.put("c", at=one)
        world.put("d", at=three)
        with world.read() as read:

            def jars_at(instant: datetime) -> list[str]:
                return [key for key, _ in read.at(read.when(instant)).scan(JARS)]

            assert jars_at(NOON) == jars_at(one) == ["a"]
            assert jars_at(two) == jars_at(three - timedelta(seconds=1)) == list("abc")
            assert jars_at(three) == list("abcd")
            assert read.at(AsOf(late)).known_until() == two
            assert read.at(AsOf(START)).known_until() is None
            assert read.known_until() == three

    def test_a_moment_is_the_same_in_every_time_zone(self, world: World) -> None:
        world.put("a", at=NOON)
        world.put("b", at=NOON + timedelta(hours=1))
        with world.read() as read:
            there = NOON.astimezone(timezone(timedelta(hours=-7)))
            assert read.when(there) == read.when(NOON)

    def test_changes_are_told_oldest_first_and_never_torn(self, world: World) -> None:
        first = world.put("a", "red")
        world.put("b", "red", tenant="other")
        second = world.put("b", "blue")
        gone = world.smash("a")
        last = world.put("c")
        with world.read() as read:

            def told(
                after: int, limit: int = 10, prefix: str = ""
            ) -> list[tuple[int, str]]:
                found = read.changes(JARS, prefix, after=after, limit=limit)
                return [(at, key) for at, key, _ in found]

            all_of_it = [(first, "a"), (second, "b"), (gone, "a"), (last, "c")]
            assert told(START) == all_of_it
            assert told(first) == all_of_it[1:]
            assert told(START, limit=2) == all_of_it[:2]
            assert told(START, prefix="a") == [(first, "a"), (gone, "a")]
            assert told(last) == []
            past = read.at(AsOf(gone)).changes(JARS, after=first, limit=10)
            assert [row and row.colour for *_, row in past] == ["blue", None]

    def test_an_event_that_changes_many_rows_is_told_whole(self, world: World) -> None:
        pairs = View("pairs", Pair)

        @pairs.on(MarblePut)
        def both(event: MarblePut, _: Fact, rows: Rows[Pair]) -> None:
            for side in ("left", "right"):
                rows.put(f"{event.jar}/{side}", Pair(event.colour))

        world.put("a", "red")
        world.put("a", "blue")
        with world.views(pairs) as views, views.reader("main") as read:
            told = read.changes(pairs, after=START, limit=1)
            assert [key for _, key, _ in told] == ["a/left", "a/right"]

    def test_an_event_that_changes_nothing_leaves_no_trace(self, world: World) -> None:
        flags = View("flags", Pair)

        @flags.on(MarblePut)
        def seen(event: MarblePut, _: Fact, rows: Rows[Pair]) -> None:
            rows.put(event.jar, Pair("seen"))

        @flags.on(JarBroken)
        def gone(_: JarBroken, __: Fact, rows: Rows[Pair]) -> None:
            rows.delete("never there")

        world.put("a", count=3)
        world.smash("a")
        with world.views(flags) as views, views.reader("main") as read:
            assert len(read.history(flags, "a")) == 1
            assert read.history(flags, "never there") == []


@dataclass(frozen=True)
class Pair:
    word: str


def many(world: World, seed: int, steps: int = 60) -> None:
    """Put and break at random, in two tenants, at clocks that stumble."""
    chance = random.Random(seed)  # noqa: S311  # not a secret
    for step in range(steps):
        tenant = chance.choice(["main", "other"])
        jar = f"{chance.choice('abc')}{step // 10}"
        at = NOON + timedelta(minutes=chance.randrange(600))
        colour = chance.choice(["red", "blue"])
        with suppress(Refused):  # it is broken
            if chance.random() < 0.15:
                world.smash(jar, tenant)
            else:
                world.put(jar, colour, count=chance.randrange(4), at=at, tenant=tenant)


class TestReplay:
    def test_a_rebuild_equals_what_was_followed_live(self, world: World) -> None:
        with world.views(caught_up=False) as views:
            views.start()
            many(world, seed=1)
            views.wait_for(world.store.head(), PATIENCE_S)
            assert views.digests() == world.replayed()
            assert views.lag_s == 0.0

    def test_a_rebuild_is_swapped_in_under_the_readers(self, world: World) -> None:
        many(world, seed=2)
        told: list[int] = []
        with world.views() as views:
            before = views.digests()
            with views.reader("main") as read:
                rows = read.scan(JARS)
                views.rebuild(told.append)
                assert read.scan(JARS) == rows != []
            assert views.digests() == before
            assert told == [len(list(world.store.read_all()))]
            world.put("another")
            views.catch_up()
            with views.reader("main") as read:
                assert read.get(JARS, "another") is not None

    def test_who_replays_waits_for_who_is_writing_still(self, world: World) -> None:
        file = world.path()
        world.put("big", "red")
        with (
            world.views(path=file) as first,
            world.views(path=file, caught_up=False) as second,
            ThreadPoolExecutor(1) as pool,
        ):
            waiting = pool.submit(second.catch_up)
            many(world, seed=3)
            first.catch_up()  # behind the back of the second, which is open already
            assert not waiting.done()
            first.close()
            waiting.result(PATIENCE_S)
            assert second.digests() == world.replayed()
            second.rebuild()
            second.start()
            world.put("another")
            second.wait_for(world.store.head(), PATIENCE_S)

    def test_two_never_write_one_file(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = world.path()
        world.put("big", "red")
        monkeypatch.setattr(viewset, "KEPT_S", 0.05)
        with (
            world.views(path=file),
            world.views(path=file, caught_up=False) as second,
        ):
            with pytest.raises(Unavailable, match="kept by another process"):
                second.catch_up()
            with pytest.raises(Unavailable, match="kept by another process"):
                second.rebuild()

    def test_the_digest_of_rows_is_not_that_of_their_history(
        self, world: World
    ) -> None:
        world.put("big", "red")
        with world.views() as views:
            before = views.digests(history=False), views.digests()
            world.put("other")
            world.smash("other")
            views.catch_up()
            assert views.digests(history=False) == before[0]
            assert views.digests() != before[1]

    def test_an_empty_view_has_a_digest(self, world: World) -> None:
        assert world.replayed().keys() == {"jars"}

    def test_the_size_of_batches_leaves_no_trace(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many(world, seed=3)
        whole = world.replayed()
        for size in (1, 2, 7):
            monkeypatch.setattr(viewset, "BATCH", size)
            assert world.replayed() == whole

    def test_rows_that_are_forgotten_are_read_again(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many(world, seed=4)
        whole = world.replayed()
        monkeypatch.setattr(viewfile, "CACHED_ROWS", 2)
        monkeypatch.setattr(viewset, "BATCH", 3)
        with world.views() as views:
            assert views.digests() == whole
            world.put("brand-new")
            world.put("big", "green")
            views.catch_up()
            again = views.digests()
        monkeypatch.setattr(viewfile, "CACHED_ROWS", 1_000)
        assert again == world.replayed()

    def test_a_file_is_taken_up_where_it_was_left(self, world: World) -> None:
        path = world.path()
        for seed in range(5, 8):
            many(world, seed, steps=20)
            with world.views(path=path) as views:
                assert views.digests() == world.replayed()
        with world.views(path=path, caught_up=False) as views:
            assert views.position == world.store.head()

    def test_an_event_delivered_twice_is_taken_once(self, world: World) -> None:
        many(world, seed=8)
        store, path = Stuttering(world.store), world.path()
        with ViewSet("jars", [JARS], store, path) as views:  # type: ignore[arg-type]  # __getattr__ gives it the rest
            views.start()
            views.wait_for(world.store.head(), PATIENCE_S)
            assert views.digests() == world.replayed()

    def test_another_version_of_a_view_starts_afresh(self, world: World) -> None:
        world.put("big", count=2)
        path = world.path()
        with world.views(path=path) as views:
            assert views.position > START
        with world.views(jars_view(version=2), path=path, caught_up=False) as views:
            assert views.position == START
            assert views.digests(history=False) != world.replayed()
            views.catch_up()
            assert views.digests() == world.replayed()

    @pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0"])
    def test_a_file_that_is_none_of_ours_is_replaced(
        self, world: World, content: bytes
    ) -> None:
        world.put("big")
        path = world.path()
        path.write_bytes(content)
        with world.views(path=path) as views:
            assert views.digests() == world.replayed()

    def test_a_digest_depends_on_no_hash_seed_and_no_time_zone(
        self, world: World
    ) -> None:
        many(world, seed=9)
        here = f"{sorted(world.replayed().items())}\n"
        for seed, zone in (("1", "UTC"), ("2", "Pacific/Kiritimati")):
            found = subprocess.run(
                projector(world, world.path(), "once"),
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
                capture_output=True,
                text=True,
                check=True,
            )
            assert found.stdout == here


class Stuttering:
    """A store that delivers everything twice, and the past once more each time."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def subscribe(self, *, after: int = START, only: Filter | None = None) -> _Twice:
        return _Twice(self._store.subscribe(after=after, only=only))


class _Twice:
    def __init__(self, inner: Subscription) -> None:
        self._inner = inner
        self._before: Sequence[Recorded] = ()

    def poll(self, timeout: float) -> Batch:
        batch = self._inner.poll(timeout)
        again = [*self._before, *batch.events, *batch.events]
        self._before = batch.events or self._before
        return batch._replace(events=again)

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._inner.close()


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["main", "other"]),
        st.sampled_from(["a", "b", "ab", "c"]),
        st.integers(0, 2),
        st.integers(0, 50),
    ),
    max_size=12,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=CHANGES)
def test_what_was_asked_then_is_what_is_answered_as_of_then(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str, int, int]]
) -> None:
    """As of every position, rows are those that were current there."""
    folder = tmp_path_factory.mktemp("any")
    with SqliteStore(folder / "ledger.db") as store, Ledger(store) as ledger:
        world = World(folder, store, ledger)
        with world.views() as views:
            then: list[tuple[int, str, list[tuple[str, JarRow]]]] = []
            for tenant, jar, count, minutes in changes:
                at = NOON + timedelta(minutes=minutes)
                world.put(jar, count=count, at=at, tenant=tenant)
                views.catch_up()
                with views.reader(tenant) as read:
                    then.append((views.position, tenant, read.scan(JARS)))
            for position, tenant, rows in then:
                with views.reader(tenant, AsOf(position)) as read:
                    assert read.scan(JARS) == rows
                    assert all(read.get(JARS, key) == row for key, row in rows)


def poisoned(colour: str = "black") -> View[JarRow]:
    jars = View("jars", JarRow)

    @jars.on(MarblePut)
    def put(event: MarblePut, fact: Fact, rows: Rows[JarRow]) -> None:
        if event.colour == colour:
            raise ZeroDivisionError(f"a {colour} marble")
        rows.put(
            event.jar, JarRow(event.jar, 1, event.colour, fact.effective_at, "somebody")
        )

    return jars


@pytest.fixture
def halted(world: World) -> Iterator[tuple[World, ViewSet, int]]:
    """Views that met a black marble between a red and a blue one."""
    world.put("before", "red")
    at = world.put("poison", "black")
    world.put("after", "blue", at=NOON + timedelta(hours=1))
    with world.views(poisoned(), caught_up=False) as views:
        views.start()
        with pytest.raises(Unavailable):
            views.wait_for(at, PATIENCE_S)
        yield world, views, at


Halted = tuple[World, ViewSet, int]


class TestPoison:
    def test_it_halts_the_views_where_it_lies(self, halted: Halted) -> None:
        world, views, at = halted
        assert views.halt is not None
        assert views.halt.position == at
        assert views.halt.event == "tests.marble-put"
        assert "a black marble" in views.halt.reason
        assert views.position < at < world.store.head()
        assert views.lag_s > 0

    def test_the_present_is_unavailable_and_says_why(self, halted: Halted) -> None:
        _, views, at = halted
        for bound in (None, at, at + 1_000):
            with (
                pytest.raises(Unavailable, match="a black marble"),
                views.reader("main", AsOf(bound)),
            ):
                pass

    def test_the_past_before_it_stays_readable(self, halted: Halted) -> None:
        _, views, at = halted
        with views.reader("main", AsOf(at - 1)) as read:
            assert colours(read) == ["red"]

    def test_a_time_is_readable_only_when_it_is_past(self, halted: Halted) -> None:
        _, views, _ = halted
        with (
            pytest.raises(Unavailable),
            views.reader_of("main", lambda read: read.when(NOON)),
        ):
            pass
        earlier = NOON - timedelta(hours=1)
        with views.reader_of("main", lambda read: read.when(earlier)) as read:
            assert colours(read) == []

    def test_a_restart_halts_there_again(self, world: World) -> None:
        world.put("before", "red")
        world.put("poison", "black")
        path = world.path()
        for _ in range(2):
            with (
                world.views(poisoned(), path=path, caught_up=False) as views,
                pytest.raises(Unavailable, match="a black marble"),
            ):
                views.catch_up()

    def test_a_rebuild_that_meets_it_leaves_the_old_file(self, world: World) -> None:
        fear = ["none"]
        moody = View("jars", JarRow)

        @moody.on(MarblePut)
        def put(event: MarblePut, fact: Fact, rows: Rows[JarRow]) -> None:
            if event.colour == fear[0]:
                raise ZeroDivisionError
            rows.put(
                event.jar,
                JarRow(event.jar, 1, event.colour, fact.effective_at, "somebody"),
            )

        world.put("big", "red")
        world.put("small", "blue")
        with world.views(moody) as views:
            before = views.digests()
            fear[0] = "blue"
            with pytest.raises(Unavailable, match="cannot be rebuilt"):
                views.rebuild()
            assert views.digests() == before

    def test_all_of_an_event_is_taken_or_nothing_of_it(self, world: World) -> None:
        """The first view has had the event when the second one chokes on it."""
        chokes = View("other", JarRow)

        @chokes.on(MarblePut)
        def put(event: MarblePut, _: Fact, __: Rows[JarRow]) -> None:
            if event.colour == "black":
                raise ZeroDivisionError

        world.put("big", "red")
        at = world.put("big", "black")
        with world.views(JARS, chokes, caught_up=False) as views:
            with pytest.raises(Unavailable):
                views.catch_up()
            with views.reader("main", AsOf(at - 1)) as read:
                assert [at for at, _ in read.history(JARS, "big")] == [views.position]


class TestWaiting:
    def test_who_wrote_can_wait_to_read_it(self, world: World) -> None:
        with world.views(caught_up=False) as views:
            views.start()
            for number in range(20):
                at = world.put(f"jar{number}")
                views.wait_for(at, PATIENCE_S)
                with views.reader("main") as read:
                    assert read.get(JARS, f"jar{number}") is not None

    def test_who_waits_for_what_never_comes_is_told_so(self, world: World) -> None:
        world.put("big")
        with world.views() as views, pytest.raises(Late, match="not yet at"):
            views.wait_for(views.position + 1, 0.01)

    def test_a_change_wakes_who_waits_for_one(self, world: World) -> None:
        with world.views(caught_up=False) as views:
            views.start()
            before = views.position
            told: list[int] = []
            waiting = threading.Thread(
                target=lambda: told.append(views.wait_change(before, PATIENCE_S))
            )
            waiting.start()
            at = world.put("big")
            waiting.join()
            assert told == [at]
            assert views.wait_change(at, 0.01) == at

    def test_closing_wakes_who_waits(self, world: World) -> None:
        with world.views(caught_up=False) as views:
            views.start()
            waiting = threading.Thread(
                target=views.wait_change, args=(views.position, PATIENCE_S)
            )
            waiting.start()
        waiting.join(PATIENCE_S)
        assert not waiting.is_alive()

    def test_a_tick_is_seen_before_its_position_is_told(self, world: World) -> None:
        seen: list[datetime] = []
        tick = Tick(instant=NOON)
        context = Context(actor(), NOON, NOON, "tick")
        order = Order(CLOCK_STREAM, CLOCK, tick, context, body_hash(tick))
        at = world.ledger.execute(order).position
        path = world.path()
        with ViewSet("jars", [JARS], world.store, path, saw=seen.append) as views:
            views.start()
            views.wait_for(at, PATIENCE_S)
            assert seen == [NOON.astimezone(UTC)]


def test_a_view_applies_an_event_in_one_way() -> None:
    with pytest.raises(TypeError, match="twice"):
        jars_view().on(MarblePut)(lambda *_: None)


def projector(world: World, path: Path, *words: str) -> list[str]:
    ledger = world.folder / "ledger.db"
    program = [sys.executable, "-m", "tests.faults.killed_projector"]
    return [*program, str(ledger), str(path), *words]


def check_killed(world: World, path: Path, jars: Callable[[], str]) -> None:
    """Let a process project while we write, kill it, and compare with a replay."""
    child = subprocess.Popen(
        projector(world, path), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
        while child.stdout.readline() and random.random() < 0.8:  # noqa: S311  # not a secret
            for _ in range(5):
                world.put(jars(), count=3)
        child.kill()
    child.wait()
    with world.views(path=path, caught_up=False) as views:
        said = views.position
        with views.reader("main") as read:
            assert sum(row.marbles for _, row in read.scan(JARS)) == sum(
                1 for one in world.store.read_all() if one.position <= said
            )
        views.catch_up()
        assert views.digests() == world.replayed()


def test_views_that_were_killed_equal_a_replay(world: World) -> None:
    names = itertools.cycle(["big", "small", "other"])
    path = world.path()
    for _ in range(2):
        world.put("big", count=3)
        check_killed(world, path, lambda: next(names))


@pytest.mark.slow
def test_views_that_were_killed_many_times_equal_a_replay(world: World) -> None:
    names = itertools.cycle([f"jar{number}" for number in range(50)])
    path = world.path()
    for _ in range(40):
        world.put("jar0", count=3)
        check_killed(world, path, lambda: next(names))


def test_views_that_are_told_to_leave_end_before_anybody_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewset, "POLL_S", 2 * PATIENCE_S)
    with world.views(caught_up=False) as views:
        thread = views.start()._thread
        assert thread is not None
        views.wait_for(world.put(), PATIENCE_S)
        views.leave()  # while it waits for news
        thread.join(PATIENCE_S)
        assert not thread.is_alive()

"""Reactors: an event in, commands out, each exactly once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from tests.unit.jars import (
    JAR,
    JARS,
    NOON,
    JarBroken,
    JarRow,
    MarblePut,
    PutMarbles,
    put,
    smash,
)

from modelkeep import reactor as kernel
from modelkeep import viewset
from modelkeep.clock import ScenarioClock
from modelkeep.errors import (
    AlreadyExists,
    Conflict,
    Exhausted,
    Late,
    ModelkeepError,
    Refused,
    Unavailable,
)
from modelkeep.ledger import Ledger, Order, Written, derived_command_id, stream_name
from modelkeep.reactor import Reaction, Reactor, ReactorSet
from modelkeep.store.port import Recorded
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing import actor
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep.viewset import ViewSet

PATIENCE_S = 20.0


def echo_into(jar: str, tenant: str = "main") -> str:
    return stream_name("jar", tenant, jar)


def mirror(
    name: str = "tests.mirror",
    *,
    from_start: bool = False,
    parts: Sequence[str] = ("",),
) -> Reactor:
    """Answer each marble in `big` with one of its colour in `mirror`, a part each."""
    reactor = Reactor(name, from_start=from_start)

    @reactor.on(MarblePut)
    def react(event: MarblePut, fact: Fact, _: Reader) -> Iterable[Reaction]:
        if event.jar == "big":
            for part in parts:
                command = PutMarbles(jar="mirror", colour=event.colour)
                stream = echo_into("mirror", fact.tenant)
                yield Reaction(stream, JAR, command, part=part)

    return reactor


class World:
    def __init__(self, folder: Path, store: SqliteStore, ledger: Ledger) -> None:
        self.folder, self.store, self.ledger = folder, store, ledger
        self.refusals: list[tuple[str, str]] = []
        self._numbers = itertools.count(1)

    def put(self, jar: str = "big", colour: str = "red", tenant: str = "main") -> int:
        by = actor("somebody", tenant=tenant)
        asked = put(jar, next(self._numbers), colour=colour, by=by)
        return self.ledger.execute(asked).position

    def smash(self, jar: str) -> int:
        return self.ledger.execute(smash(jar, next(self._numbers))).position

    def _refused(self, reactor: str, cause: Fact, error: ModelkeepError) -> None:
        assert cause.position <= self.store.head()
        self.refusals.append((reactor, str(error)))

    @contextmanager
    def views(self, jars: View[JarRow] = JARS) -> Iterator[ViewSet]:
        with ViewSet("jars", [jars], self.store, self.folder / "views.db") as views:
            yield views.start()

    @contextmanager
    def reacting(
        self,
        *reactors: Reactor,
        ledger: Ledger | None = None,
        start: bool = True,
        views: View[JarRow] = JARS,
    ) -> Iterator[ReactorSet]:
        with (
            self.views(views) as seen,
            ReactorSet(
                "jars",
                reactors,
                ledger or self.ledger,
                seen,
                ScenarioClock(NOON),
                self.folder / "reactors.db",
                self._refused,
            ) as reacting,
        ):
            yield reacting.start() if start else reacting

    def settled(self, reacting: ReactorSet) -> None:
        head = -2
        while head != self.store.head():
            head = self.store.head()
            reacting.wait_for(head, PATIENCE_S)

    def mirrored(self, jar: str = "mirror", tenant: str = "main") -> list[Recorded]:
        return list(self.store.read_stream(echo_into(jar, tenant)))

    def checkpoints(self) -> dict[str, int]:
        connection = apsw.Connection(str(self.folder / "reactors.db"))
        try:
            return dict(connection.execute("select * from checkpoints"))
        finally:
            connection.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(kernel, "POLL_S", 0.02)
    monkeypatch.setattr(viewset, "POLL_S", 0.02)
    with SqliteStore(tmp_path / "ledger.db") as store, Ledger(store) as ledger:
        yield World(tmp_path, store, ledger)


class Grudging:
    """A ledger that says no so many times before it does what it is told."""

    def __init__(self, ledger: Ledger, *errors: ModelkeepError) -> None:
        self.store, self._ledger = ledger.store, ledger
        self._errors = list(errors)
        self.asked: list[str] = []

    def execute(self, order: Order) -> Written:
        self.asked.append(order.context.command_id)
        if self._errors:
            raise self._errors.pop(0)
        return self._ledger.execute(order)


def test_an_event_is_answered_with_a_command(world: World) -> None:
    with world.reacting(mirror()) as reacting:
        at = world.put("big", "blue", tenant="other")
        world.settled(reacting)
    (one,) = world.mirrored(tenant="other")
    (cause,) = (event for event in world.store.read_all() if event.position == at)
    assert one.meta["$causationId"] == str(cause.uuid)
    assert one.meta["actor_subject"] == "tests.mirror"
    assert one.meta["actor_roles"] == "reactor"
    assert one.meta["tenant"] == "other"
    assert one.meta["effective_at"] == cause.meta["effective_at"]
    assert one.meta["command_id"] == derived_command_id(
        cause.uuid, "tests.mirror", one.stream, "PutMarbles"
    )


def test_reactors_that_are_told_to_leave_end_before_anybody_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that many of them end in the time of one."""
    monkeypatch.setattr(kernel, "POLL_S", 2 * PATIENCE_S)
    with world.reacting(mirror()) as reacting:
        thread = reacting._thread
        assert thread is not None
        reacting.wait_for(world.put(), PATIENCE_S)
        reacting.leave()  # while it waits for news
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_reaction_is_known_no_earlier_than_its_cause(world: World) -> None:
    later = NOON + timedelta(days=2)
    with world.reacting(mirror()) as reacting:
        world.ledger.execute(put(at=later))
        world.settled(reacting)
    (one,) = world.mirrored()
    assert one.meta["known_at"].startswith(f"{later:%Y-%m-%dT%H}")


def test_a_redelivery_is_answered_and_not_repeated(world: World) -> None:
    for _ in range(3):
        world.put()
    for _ in range(3):
        with world.reacting(mirror(from_start=True)) as reacting:
            world.settled(reacting)
        (world.folder / "reactors.db").unlink()
    assert len(world.mirrored()) == 3
    assert world.refusals == []


def test_a_redelivery_on_a_ledger_that_remembers_nothing_is_not_repeated(
    world: World,
) -> None:
    world.put()
    for _ in range(2):
        with (
            Ledger(world.store) as cold,
            world.reacting(mirror(from_start=True), ledger=cold) as reacting,
        ):
            world.settled(reacting)
        (world.folder / "reactors.db").unlink()
    assert len(world.mirrored()) == 1


def test_a_refused_reaction_is_passed_over_and_told(world: World) -> None:
    with world.reacting(mirror()) as reacting:
        world.smash("mirror")
        world.put()
        world.put()
        world.settled(reacting)
        assert reacting.halt is None
    assert world.refusals == [("tests.mirror", "jar mirror is broken")] * 2


def test_a_reactor_that_changed_its_mind_is_told_so_and_passed_over(
    world: World,
) -> None:
    """The same cause, another body: the first answer stands."""
    world.put("big", "red")
    with world.reacting(mirror(from_start=True)) as reacting:
        world.settled(reacting)
    (world.folder / "reactors.db").unlink()
    other = Reactor("tests.mirror", from_start=True)

    @other.on(MarblePut)
    def react(event: MarblePut, _: Fact, __: Reader) -> Iterable[Reaction]:
        if event.jar == "big":
            command = PutMarbles(jar="mirror", colour="tan")
            yield Reaction(echo_into("mirror"), JAR, command)

    with world.reacting(other) as reacting:
        world.settled(reacting)
    assert len(world.mirrored()) == 1
    ((_, told),) = world.refusals
    assert "was used for another request" in told


def test_a_new_reactor_starts_at_the_head(world: World) -> None:
    world.put()
    with world.reacting(mirror()) as reacting:
        world.put()
        world.settled(reacting)
    assert len(world.mirrored()) == 1


def test_a_new_reactor_that_asks_for_the_past_gets_it(world: World) -> None:
    for _ in range(3):
        world.put()
    with world.reacting(mirror(from_start=True)) as reacting:
        world.settled(reacting)
    assert len(world.mirrored()) == 3


def test_a_reactor_beside_an_older_one_starts_where_it_says(world: World) -> None:
    world.put()
    with world.reacting(mirror("tests.old")) as reacting:
        world.settled(reacting)
    world.put()
    with world.reacting(
        mirror("tests.old"), mirror("tests.new"), mirror("tests.eager", from_start=True)
    ) as reacting:
        world.settled(reacting)
    who = [one.meta["actor_subject"] for one in world.mirrored()]
    assert sorted(who) == ["tests.eager", "tests.eager", "tests.old"]


def test_how_far_it_has_come_is_kept(world: World) -> None:
    with world.reacting(mirror()) as reacting:
        world.put()
        world.settled(reacting)
        reached = reacting.position
    assert world.checkpoints() == {"tests.mirror": reached}
    world.put()
    calls: list[int] = []
    counting = Reactor("tests.mirror")

    @counting.on(MarblePut)
    def react(event: MarblePut, fact: Fact, _: Reader) -> Iterable[Reaction]:
        if event.jar == "big":
            calls.append(fact.position)
        return ()

    with world.reacting(counting) as reacting:
        world.settled(reacting)
    assert calls == [world.store.head()]


def test_it_reads_the_views_as_of_the_very_event(world: World) -> None:
    seen: list[int] = []
    looking = Reactor("tests.looking")

    @looking.on(MarblePut)
    def react(event: MarblePut, _: Fact, read: Reader) -> Iterable[Reaction]:
        row = read.get(JARS, event.jar)
        seen.append(0 if row is None else row.marbles)
        return ()

    with world.reacting(looking, start=False) as reacting:
        for _ in range(5):
            world.put()
        reacting.start()
        world.settled(reacting)
    assert seen == [1, 2, 3, 4, 5]


def test_a_rebuild_of_views_makes_nobody_react(world: World) -> None:
    with world.reacting(mirror()) as reacting:
        world.put()
        world.settled(reacting)
    before = world.store.head()
    with world.views() as views:
        views.wait_for(before, PATIENCE_S)
    with ViewSet("jars", [JARS], world.store, world.folder / "views.db") as views:
        views.rebuild()
    with world.reacting(mirror()) as reacting:
        world.settled(reacting)
    assert world.store.head() == before


@pytest.mark.parametrize(
    "error", [Conflict("s", 1, 2), Unavailable("gone"), Exhausted("full")]
)
def test_what_may_yet_succeed_is_asked_again_with_the_same_id(
    world: World, error: ModelkeepError
) -> None:
    ledger = Grudging(world.ledger, error, error)
    with world.reacting(mirror(), ledger=ledger) as reacting:  # type: ignore[arg-type]  # all of a ledger that reactors use
        world.put()
        world.settled(reacting)
    assert len(ledger.asked) == 3
    assert len(set(ledger.asked)) == 1
    assert len(world.mirrored()) == 1
    assert world.refusals == []


@pytest.mark.parametrize("error", [Refused("a.rule", "no"), AlreadyExists("no")])
def test_what_will_not_succeed_is_asked_once(
    world: World, error: ModelkeepError
) -> None:
    ledger = Grudging(world.ledger, error)
    with world.reacting(mirror(), ledger=ledger) as reacting:  # type: ignore[arg-type]  # all of a ledger that reactors use
        world.put()
        world.settled(reacting)
    assert len(ledger.asked) == 1
    assert world.refusals == [("tests.mirror", "no")]


def test_closing_ends_a_reaction_that_is_asked_again_and_again(world: World) -> None:
    ledger = Grudging(world.ledger, *[Unavailable("gone")] * 100_000)
    with world.reacting(mirror(), ledger=ledger) as reacting:  # type: ignore[arg-type]  # all of a ledger that reactors use
        at = world.put()
        with pytest.raises(Late):
            reacting.wait_for(at, 0.05)
    assert world.checkpoints()["tests.mirror"] < at
    with world.reacting(mirror()) as reacting:
        world.settled(reacting)
    assert len(world.mirrored()) == 1


def test_parts_tell_apart_commands_of_one_kind_on_one_stream(world: World) -> None:
    with world.reacting(mirror(parts=("left", "right"))) as reacting:
        world.put()
        world.settled(reacting)
    assert len(world.mirrored()) == 2
    assert len({one.meta["command_id"] for one in world.mirrored()}) == 2


def test_without_parts_the_second_is_the_first_again(world: World) -> None:
    with world.reacting(mirror(parts=("", ""))) as reacting:
        world.put()
        world.settled(reacting)
    assert len(world.mirrored()) == 1


def test_a_reaction_may_be_for_another_tenant_and_another_time(world: World) -> None:
    reactor = Reactor("tests.abroad")
    when = datetime(2020, 1, 1, tzinfo=UTC)

    @reactor.on(MarblePut)
    def react(event: MarblePut, _: Fact, __: Reader) -> Iterable[Reaction]:
        if event.jar == "big":
            stream = echo_into("mirror", "other")
            command = PutMarbles(jar="mirror")
            yield Reaction(stream, JAR, command, "other", effective_at=when)

    with world.reacting(reactor) as reacting:
        world.put()
        world.settled(reacting)
    (one,) = world.mirrored(tenant="other")
    assert one.meta["tenant"] == "other"
    assert one.meta["effective_at"].startswith("2020-01-01")


def test_a_reactor_that_breaks_halts_loudly_and_does_not_go_on(world: World) -> None:
    broken = Reactor("tests.broken")

    @broken.on(MarblePut)
    def react(event: MarblePut, _: Fact, __: Reader) -> Iterable[Reaction]:
        if event.colour == "black":
            raise ZeroDivisionError("a black marble")
        return ()

    with world.reacting(broken) as reacting:
        at = world.put("big", "black")
        with pytest.raises(Unavailable, match="a black marble"):
            reacting.wait_for(at, PATIENCE_S)
        assert reacting.halt is not None
        assert reacting.halt.event == "ZeroDivisionError"
    assert world.checkpoints()["tests.broken"] < at


def test_what_cannot_be_answered_yet_is_not_passed_over(world: World) -> None:
    """Other events come and go while this one cannot be answered."""
    tries: list[int] = []
    patient = Reactor("tests.patient")

    @patient.on(JarBroken)
    def react(_: JarBroken, fact: Fact, __: Reader) -> Iterable[Reaction]:
        tries.append(fact.position)
        if len(tries) < 4:
            world.put()
            raise Unavailable("not yet")
        yield Reaction(echo_into("mirror"), JAR, PutMarbles(jar="mirror"))

    with world.reacting(patient) as reacting:
        at = world.smash("other")
        world.settled(reacting)
    assert tries == [at] * 4
    assert len(world.mirrored()) == 1


def test_what_halted_views_hide_waits_for_a_restart(world: World) -> None:
    fear = ["black"]
    afraid = View("jars", JarRow)

    @afraid.on(MarblePut)
    def take(event: MarblePut, _: Fact, __: Rows[JarRow]) -> None:
        if event.colour in fear:
            raise ZeroDivisionError

    with world.reacting(mirror(), views=afraid) as reacting:
        at = world.put("big", "black")
        world.smash("other")
        with pytest.raises(Late):
            reacting.wait_for(at, 0.2)
        assert reacting.position < at
    fear.clear()
    with world.reacting(mirror(), views=afraid) as reacting:
        world.settled(reacting)
    assert len(world.mirrored()) == 1


def test_without_reactors_a_set_is_as_far_as_its_views(world: World) -> None:
    with world.reacting() as reacting:
        at = world.put()
        reacting.views.wait_for(at, PATIENCE_S)
        assert reacting.position == at


def test_a_reactor_answers_an_event_in_one_way() -> None:
    with pytest.raises(TypeError, match="twice"):
        mirror().on(MarblePut)(lambda *_: ())


def test_reactions_to_reactions_come_to_an_end(world: World) -> None:
    """A chain of jars: each answers the one before it."""
    chain = Reactor("tests.chain")

    @chain.on(MarblePut)
    def react(event: MarblePut, fact: Fact, _: Reader) -> Iterable[Reaction]:
        number = int(event.jar)
        if number < 5:
            jar = str(number + 1)
            stream = echo_into(jar, fact.tenant)
            yield Reaction(stream, JAR, PutMarbles(jar=jar))

    with world.reacting(chain) as reacting:
        world.put("0")
        world.settled(reacting)
    assert [len(world.mirrored(str(n))) for n in range(7)] == [1] * 6 + [0]


def test_writers_and_reactors_do_not_wait_for_each_other(world: World) -> None:
    def write(colour: str) -> None:
        for _ in range(20):
            world.put("big", colour)

    with world.reacting(mirror()) as reacting:
        writers = [threading.Thread(target=write, args=(c,)) for c in ("red", "blue")]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        world.settled(reacting)
    assert len(world.mirrored()) == 40

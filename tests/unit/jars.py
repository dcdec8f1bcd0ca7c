"""A small domain for the kernel's tests: marbles are put into jars, and jars break."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.errors import Refused
from modelkeep.events.base import Event
from modelkeep.events.types import Slug
from modelkeep.ledger import Order, body_hash, stream_name
from modelkeep.store.port import Store
from modelkeep.testing import actor
from modelkeep.views import Fact, Rows, View

NOON: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
SOMEBODY: Final = actor("somebody", "owner")
FULL: Final = 1_000
Few = Annotated[int, Field(ge=0, le=10)]


class MarblePut(Event, name="tests.marble-put"):
    jar: Slug
    colour: Slug


class JarBroken(Event, name="tests.jar-broken"):
    jar: Slug


class PutMarbles(Command):
    jar: Slug
    colour: Slug = "red"
    count: Few = 1


class BreakJar(Command):
    jar: Slug


@dataclass(frozen=True)
class Jar:
    marbles: int = 0
    broken: bool = False


def decide(
    command: PutMarbles | BreakJar, jar: Jar, _: Context
) -> Sequence[MarblePut | JarBroken]:
    match command:
        case PutMarbles():
            if jar.broken:
                raise Refused("tests.broken", f"jar {command.jar} is broken")
            if jar.marbles + command.count > FULL:
                raise Refused("tests.full", f"jar {command.jar} is full")
            put = MarblePut(jar=command.jar, colour=command.colour)
            return [put] * command.count
        case BreakJar():
            return [] if jar.broken else [JarBroken(jar=command.jar)]


def evolve(jar: Jar, event: MarblePut | JarBroken) -> Jar:
    match event:
        case MarblePut():
            return Jar(jar.marbles + 1, jar.broken)
        case JarBroken():
            return Jar(0, broken=True)


JAR: Final = decider(Jar(), decide, evolve)


@dataclass(frozen=True)
class JarRow:
    jar: str
    marbles: int
    colour: str
    put_at: datetime
    put_by: str


def jars_view(version: int = 1) -> View[JarRow]:
    """Declare a row a jar, until it breaks."""
    jars = View("jars", JarRow, version=version)

    @jars.on(MarblePut)
    def put(event: MarblePut, fact: Fact, rows: Rows[JarRow]) -> None:
        jar = rows.get(event.jar)
        marbles = 1 if jar is None else jar.marbles + 1
        by = fact.actor.subject
        rows.put(
            event.jar, JarRow(event.jar, marbles, event.colour, fact.effective_at, by)
        )

    @jars.on(JarBroken)
    def broken(event: JarBroken, _: Fact, rows: Rows[JarRow]) -> None:
        rows.delete(event.jar)

    return jars


JARS: Final = jars_view()


def uid(number: int) -> str:
    return str(UUID(int=number))


def order(
    command: PutMarbles | BreakJar,
    command_id: str = uid(1),
    *,
    by: Actor = SOMEBODY,
    at: datetime = NOON,
    effective_at: datetime | None = None,
    expected: int | None = None,
) -> Order:
    return Order(
        stream_name("jar", by.tenant, command.jar),
        JAR,
        command,
        Context(by, at, effective_at or at, command_id),
        body_hash(command),
        expected,
    )


def put(
    jar: str = "big",
    number: int = 1,
    *,
    colour: str = "red",
    count: int = 1,
    by: Actor = SOMEBODY,
    at: datetime = NOON,
    expected: int | None = None,
) -> Order:
    """Order `count` marbles into a jar, as command number `number`."""
    command = PutMarbles(jar=jar, colour=colour, count=count)
    return order(command, uid(number), by=by, at=at, expected=expected)


def smash(jar: str = "big", number: int = 1, *, by: Actor = SOMEBODY) -> Order:
    return order(BreakJar(jar=jar), uid(number), by=by)


def stored(store: Store, jar: str = "big", tenant: str = "main") -> list[str]:
    """Return the names of a jar's events."""
    return [one.name for one in store.read_stream(stream_name("jar", tenant, jar))]


def command_ids(store: Store) -> Iterator[str]:
    for one in store.read_all():
        yield one.meta["command_id"]

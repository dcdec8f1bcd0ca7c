"""An assertion: something of which no event of a complete range is the contrary.

It is told of every event that could matter from the log's first one on, because what
was agreed before a period counts in it, and judges those of the period. Nothing was
left out: the events are all those that a checkpoint was signed for, or the report
says otherwise and the assertion says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import ClassVar, Final, NamedTuple

from modelkeep.proof.errors import Malformed
from modelkeep.proof.fields import Fields, Person
from modelkeep.proof.reading import Seen
from modelkeep.proof.report import KEPT, Asserted, Assertions, Contrary
from modelkeep.proof.times import in_utc, instant

_DAY: Final = len("2013-06-30")


class Told:
    """An event, its JSON read when it is asked for; raises Malformed then."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    @property
    def name(self) -> str:
        return self.seen.name

    @property
    def id(self) -> str:
        raw = self.seen.id.hex()
        return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))

    @property
    def tenant(self) -> str:
        """Read `<category>-<tenant>.<id>`."""
        return self.seen.stream.partition("-")[2].partition(".")[0]

    @cached_property
    def data(self) -> Fields:
        return Fields.read(self.seen.data, "its data")

    @cached_property
    def around(self) -> Fields:
        return Fields.read(self.seen.metadata, "its metadata")

    @cached_property
    def known_at(self) -> datetime:
        return self.around.moment("known_at")

    @property
    def actor(self) -> Person:
        """Who did it, by the credentials that the service saw."""
        around = self.around
        return Person(around.text("actor_issuer"), around.text("actor_subject"))

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(self.around.text("actor_roles").split(",")) - {""}

    def __str__(self) -> str:
        _, stream, version, *_ = self.seen
        return f"event {self.seen.leaf} ({stream}@{version} {self.name})"


class Period(NamedTuple):
    """From the first to before the second; numbers of events or moments of the ledger's
    clock, open when None.
    """

    start: int | datetime | None = None
    end: int | datetime | None = None

    def holds(self, told: Told) -> bool:
        start, end = (_place(bound, told) for bound in self)
        return (start is None or start <= 0) and (end is None or end > 0)

    def __str__(self) -> str:
        said = [_spelled(bound) for bound in self]
        return f"from {said[0] or 'the first event'} to {said[1] or 'the checkpoint'}"


def _place(bound: int | datetime | None, told: Told) -> float | None:
    """Return how far a bound lies behind an event; negative, before it."""
    if bound is None:
        return None
    if isinstance(bound, int):
        return bound - told.seen.leaf
    return (bound - told.known_at) / timedelta(microseconds=1)


def _spelled(bound: int | datetime | None) -> str | None:
    if isinstance(bound, datetime):
        return bound.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return None if bound is None else f"event {bound}"


def bound(text: str, *, last: bool = False) -> int | datetime:
    """Read an event's number (its place in the log, from 0), a time or a day.

    `last` reads an end: the end of a day is the next midnight. Raises Malformed.

    >>> bound("1240"), bound("2013-06-30", last=True).isoformat()
    (1240, '2013-07-01T00:00:00+00:00')
    """
    if text.isascii() and text.isdigit() and len(text) <= len(str(1 << 62)):
        return int(text)
    try:
        found = in_utc(text)
        return found + timedelta(days=1) if last and len(text) == _DAY else found
    except (ValueError, OverflowError):
        raise Malformed(
            f"{text} is no day (2013-06-30), time or number of an event"
        ) from None


class Scope(NamedTuple):
    """What is judged: of these tiers and environments, of all when there are none."""

    period: Period = Period()
    tiers: frozenset[int] = frozenset()
    environments: frozenset[str] = frozenset()

    def of_tier(self, tier: float | None) -> bool:
        """Whatever has no tier could be of any."""
        return not self.tiers or tier is None or tier in self.tiers

    def in_environment(self, environment: str | None) -> bool:
        some = not self.environments or environment is None
        return some or environment in self.environments

    def __str__(self) -> str:
        said = [str(self.period)]
        if self.tiers:
            said.append(f"tier {', '.join(map(str, sorted(self.tiers)))}")
        if self.environments:
            said.append(f"in {', '.join(sorted(self.environments))}")
        return ", ".join(said)


class Assertion:
    """One of the table. A subclass says what it claims, of which events it must know,
    in which shapes (schema versions by name), and answers each by its name.
    """

    name: ClassVar[str]
    claim: ClassVar[str]
    things: ClassVar[str]
    reads: ClassVar[Mapping[str, int]]

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.judged = 0
        self.how: Counter[str] = Counter()
        self.contraries: list[Contrary] = []
        self.found = 0
        self.unread: list[Contrary] = []
        self._answers = self.answers()

    def answers(self) -> Mapping[str, Callable[[Told], None]]:
        """Begin: return what to do with an event, by its name."""
        raise NotImplementedError

    def take(self, told: Told) -> None:
        """What cannot be read is noted: it might have been the contrary."""
        if told.seen.schema_version != self.reads[told.name]:
            self._unread(
                told, f"is of version {told.seen.schema_version}, unknown here"
            )
            return
        try:
            self._answers[told.name](told)
        except Malformed as error:
            self._unread(told, f"cannot be read: {error}")

    def finish(self) -> None:
        """The log is at its end: what is still owed will not come."""

    def judge(self, told: Told, lacks: str | None, how: str = "") -> None:
        """Count an event of the period; `lacks` says why it is the contrary."""
        self.judged += 1
        if lacks is None:
            self.how[how] += 1
            return
        self.found += 1
        if len(self.contraries) < KEPT:
            self.contraries.append(_contrary(told, lacks))

    def _unread(self, told: Told, why: str) -> None:
        if len(self.unread) < KEPT:
            self.unread.append(_contrary(told, why))

    def result(self) -> Asserted:
        return Asserted(
            self.name,
            self.claim,
            self.things,
            str(self.scope),
            self.judged,
            dict(self.how),
            self.found,
            self.contraries,
            self.unread,
        )


def _contrary(told: Told, text: str) -> Contrary:
    leaf, stream, version, *_ = told.seen
    return Contrary(leaf, stream, version, f"{told} {text}")


class Asserting:
    """Tells assertions of a log's events, as a Watch of the pass that reads it."""

    def __init__(self, asked: Sequence[Assertion], size: int) -> None:
        """`size` is how many events were signed: later ones prove nothing."""
        self._asked = asked
        self.names = frozenset(name for one in asked for name in one.reads)
        self._size = size
        self._read = 0

    def take(self, seen: Seen) -> None:
        if seen.leaf >= self._size:
            return
        self._read += 1
        told = Told(seen)
        for one in self._asked:
            if seen.name in one.reads:
                one.take(told)

    def finish(self, time: str | None) -> Assertions:
        """Return what became of them; `time` is when the checkpoint was signed."""
        for one in self._asked:
            one.finish()
        periods = dict.fromkeys(one.scope.period for one in self._asked)
        unbound = [why for period in periods for why in self._unbound(period, time)]
        return Assertions(self._read, [one.result() for one in self._asked], unbound)

    def _unbound(self, period: Period, time: str | None) -> Iterator[str]:
        """Say why a period is not wholly before the checkpoint."""
        end = period.end
        if isinstance(end, int):
            if end > self._size:
                yield f"the checkpoint ends at event {self._size}, before {end}"
        elif end is not None:
            if time is None:
                yield "the checkpoint does not say when it was signed"
            elif instant(time, "the checkpoint's time") < end:
                yield f"the checkpoint was signed on {time}, before {_spelled(end)}"

"""What a verification found, for a screen and for a program."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from modelkeep.proof.saying import clean
from modelkeep.proof.vouching import Vouching
from modelkeep.proof.writers import Vouched

PROVEN: Final = 0
TAMPERED: Final = 1
UNVERIFIED: Final = 2
"""Exit codes."""

KEPT: Final = 100
_SHOWN: Final = 12
_CLOCK: Final = time.time


class Problem(NamedTuple):
    """`kind` is stable; `leaf` is an index in global order."""

    kind: str
    text: str
    leaf: int | None = None
    stream: str | None = None
    version: int | None = None
    name: str | None = None


class Tail(NamedTuple):
    """The events after the last checkpoint.

    `since` is when the engine says the oldest of them was recorded, in microseconds
    since 1970.
    """

    events: int
    since: int | None


class Contrary(NamedTuple):
    """An event that is the contrary of what was asserted, or that might be."""

    leaf: int
    stream: str
    version: int
    text: str


class Asserted(NamedTuple):
    """What became of an assertion. `things` is what it judged, `how` counts those that
    are as asserted by why; of `found` contraries the first are listed. `unread` could
    not be judged.
    """

    name: str
    claim: str
    things: str
    scope: str
    judged: int
    how: Mapping[str, int]
    found: int
    contraries: Sequence[Contrary]
    unread: Sequence[Contrary]

    @property
    def holds(self) -> bool | None:
        """None when it cannot be told."""
        if self.found:
            return False
        return None if self.unread else True


class Assertions(NamedTuple):
    """All that was asserted: of how many events, and why the period of some is not
    wholly before the checkpoint.
    """

    read: int
    each: Sequence[Asserted]
    unbound: Sequence[str]


class Piece(NamedTuple):
    """Events `first` to before `end`, when it is no whole ledger that was checked;
    `outside` says whether there were checkpoints but the one that came with them.
    """

    first: int
    end: int
    outside: bool


@dataclass
class Report:
    """`proven`: so many events, from the first, does a checkpoint vouch for.

    `now` is when it was looked at, in seconds since 1970.
    """

    ledger: str
    origin: str
    signers: list[str]
    size: int
    root: bytes
    time: str | None
    events: int = 0
    streams: int = 0
    proven: int = 0
    checkpoints: int = 0
    agreeing: int = 0
    ignored: int = 0
    tail: Tail = field(default_factory=lambda: Tail(0, None))
    vouched: Vouched | None = None
    vouching: Vouching = field(default_factory=Vouching)
    file_checked: bool = False
    piece: Piece | None = None
    compared: int = 0
    assertions: Assertions | None = None
    now: float = field(default_factory=_CLOCK)
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, problem: Problem) -> None:
        self.counts[problem.kind] += 1
        if self.counts[problem.kind] <= KEPT:
            self.problems.append(problem)

    @property
    def exit_code(self) -> int:
        if self.counts or self._contrary:
            return TAMPERED
        told = self.assertions
        loose = told and (told.unbound or any(one.holds is None for one in told.each))
        if loose or self.vouching.missing:
            return UNVERIFIED
        return PROVEN if self.proven or not self.events else UNVERIFIED

    @property
    def verdict(self) -> str:
        if self._contrary and not self.counts:
            return CONTRARY
        return _VERDICTS[self.exit_code]

    @property
    def _contrary(self) -> bool:
        told = self.assertions
        return told is not None and any(one.found for one in told.each)

    def json(self) -> dict[str, object]:
        return {
            "ledger": self.ledger,
            "origin": self.origin,
            "piece": self.piece and self.piece._asdict(),
            "verdict": self.verdict,
            "events": self.events,
            "streams": self.streams,
            "proven": self.proven,
            "checkpoint": {
                "size": self.size,
                "root": base64.b64encode(self.root).decode(),
                "time": self.time,
                "signers": self.signers,
            },
            "checkpoints": self.checkpoints,
            "checkpoints_agreeing": self.agreeing,
            "checkpoints_ignored": self.ignored,
            "tail": {
                "events": self.tail.events,
                "since": _instant(self.tail.since),
                "seconds": self._waited(),
            },
            "assertions": self.assertions and _told(self.assertions),
            "writers": self.vouched
            and {"events": self.vouched.events, "doubtful": self.vouched.doubtful},
            "vouching": self.vouching.json(),
            "problems": [problem._asdict() for problem in self.problems],
            "problem_counts": dict(self.counts),
            "seconds": round(self.seconds, 3),
        }

    def screen(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"{'Export' if self.piece else 'Ledger'}      {clean(self.ledger)}"
        yield f"Origin      {clean(self.origin)}"
        yield f"Events      {self.events:,} in {self.streams:,} streams"
        yield f"Checkpoint  {self.size:,} events" + (
            f", {clean(self.time)}" if self.time else ""
        )
        yield f"            root {base64.b64encode(self.root).decode()}"
        yield f"            signed by {', '.join(map(clean, self.signers))}"
        if self.counts:
            yield from ("", "WRONG", *self._wrong())
        if self.assertions:
            yield from ("", "ASSERTED", *_asserted(self.assertions, bool(self.counts)))
        yield from ("", "PROVEN", *(f"  + {line}" for line in self._proven()))
        yield from ("", "NOT PROVEN", *(f"  - {line}" for line in self._unproven()))
        speed = self.events / self.seconds if self.seconds else 0
        yield ""
        yield (f"{self.verdict.upper()}  ({self.seconds:.1f} s, {speed:,.0f} events/s)")

    def _wrong(self) -> Iterator[str]:
        for problem in self.problems[:_SHOWN]:
            yield f"  ! {clean(problem.text)}"
        more = self.counts.total() - min(_SHOWN, len(self.problems))
        if more:
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.counts.items())
            yield f"  ! and {more:,} more ({kinds} in all)"

    def _proven(self) -> Iterator[str]:
        if self.proven:
            yield (
                f"{self._which()} are those that were signed, in that"
                " order, none changed, none missing"
            )
            if self.agreeing > 1:
                yield f"{self.agreeing:,} of {self.checkpoints:,} checkpoints agree"
        else:
            yield "nothing"
        kinds = self.counts.keys()
        if self.events and not kinds & {"version", "malformed", "damaged"}:
            yield "the versions of every stream have no gap"
        if (
            self.events
            and not self.piece
            and not kinds & {"altered", "hash", "tree", "damaged"}
        ):
            yield "every stored hash is that of its event, and the stored tree theirs"
        if self.file_checked and not kinds & {"file", "damaged"}:
            yield "the file is consistent: no index hides an event"
        if self.vouched and not self.vouched.doubtful:
            yield "every append was signed by one of the writers given"
        # of a piece from the middle, no checkpoint of the beginning was compared
        middle = self.piece is not None and self.piece.first
        yield from map(clean, self.vouching.proven(0 if middle else self.proven))

    def _which(self) -> str:
        if self.piece is None or not self.piece.first:
            return f"the first {self.proven:,} events"
        first = self.piece.first
        return f"events {first:,} to {first + self.proven - 1:,} of {self.size:,}"

    def _outside(self, piece: Piece) -> Iterator[str]:
        """Say what of the log a piece is silent of."""
        if beyond := piece.first + self.size - piece.end:
            yield f"anything of the {beyond:,} other events that were signed"
        if not piece.outside:
            yield "that others hold the same checkpoint: it came in the export itself"
        elif not self.compared:
            yield "the checkpoints given: none is of a size that this piece tells of"
        if self.vouched and self.vouched.cut:
            yield f"who wrote {self.vouched.cut:,} events, whose appends are cut in two"

    def _unproven(self) -> Iterator[str]:
        if self.piece:
            yield from self._outside(self.piece)
        if self.tail.events:
            yield f"{self.tail.events:,} events after the checkpoint: {self._exposed()}"
        if self.vouched is None:
            yield "who wrote what: no writers' keys were given (--writers)"
        if self.ignored:
            yield f"{self.ignored:,} checkpoints are not signed by the key: ignored"
        if not self.counts and not (self.piece and not self.piece.outside):
            yield from self.vouching.unproven(self.events)
        yield from map(clean, self.vouching.warnings)
        if self.assertions:
            yield "that people are who their credentials said they were"
            yield "that enough was asked for: a quorum is what the bundle asked for"
        yield "recorded_at, the engine's own stamp; or that what was written was true"

    def _exposed(self) -> str:
        """Say what could still be done to the tail, and since when."""
        waited = self._waited()
        how = (
            "only their writers vouch for them"
            if self.vouched and not self.vouched.doubtful
            else "nothing outside vouches for them"
        )
        if waited is None:
            return how
        since = _instant(self.tail.since)
        return f"{how}, for {_lasting(waited)} by now (since {since})"

    def _waited(self) -> int | None:
        """Return how long the oldest event of the tail has been there, in seconds."""
        if self.tail.since is None or _instant(self.tail.since) is None:
            return None
        return max(0, int(self.now - self.tail.since / 1e6))


CONTRARY: Final = "does not hold"
_VERDICTS: Final = {PROVEN: "proven", TAMPERED: "tampered", UNVERIFIED: "not verified"}


def _instant(micros: int | None) -> str | None:
    if micros is None:
        return None
    try:
        moment = datetime.fromtimestamp(micros / 1e6, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _lasting(seconds: int) -> str:
    """Say how long: `7 s`, `3 min`, `5 h`, `12 days`."""
    for least, unit in ((2 * 86_400, "days"), (7_200, "h"), (120, "min")):
        if seconds >= least:
            return f"{seconds // (least // 2):,} {unit}"
    return f"{seconds} s"


def _asserted(told: Assertions, void: bool) -> Iterator[str]:  # noqa: FBT001, of one caller
    if void:
        yield "  - nothing: this is not the log that was signed"
        return
    for one in told.each:
        if one.found:
            yield f"  ! NOT: {one.claim}"
            yield f"      {one.found:,} of {one.judged:,} {one.things}, {one.scope}"
            yield from (f"      {clean(c.text)}" for c in one.contraries[:_SHOWN])
            if one.found > _SHOWN:
                yield f"      and {one.found - _SHOWN:,} more"
        elif one.unread:
            yield f"  - cannot be told: {one.claim}"
            yield from (f"      {clean(c.text)}" for c in one.unread[:_SHOWN])
        else:
            yield f"  + {one.claim}"
            yield f"      {one.judged:,} {one.things}, {one.scope}{_how(one)}"
    yield from (f"  - not the whole period: {clean(why)}" for why in told.unbound)
    yield f"    of all {told.read:,} events of the kinds that could tell, none left out"


def _how(one: Asserted) -> str:
    said = ", ".join(f"{n:,} {how}" for how, n in one.how.items() if how)
    return f": {said}" if said else ""


def _told(told: Assertions) -> dict[str, object]:
    return {
        "events": told.read,
        "unbound": list(told.unbound),
        "each": [
            {
                "name": one.name,
                "claim": one.claim,
                "scope": one.scope,
                "holds": one.holds,
                "judged": one.judged,
                "how": dict(one.how),
                "contraries": one.found,
                "first_contraries": [c._asdict() for c in one.contraries],
                "unread": [c._asdict() for c in one.unread],
            }
            for one in told.each
        ],
    }

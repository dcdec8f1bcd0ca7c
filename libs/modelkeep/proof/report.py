"""What a verification found, for a screen and for a program."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from modelkeep.proof.vouching import Vouching
from modelkeep.proof.writers import Vouched

PROVEN: Final = 0
TAMPERED: Final = 1
UNVERIFIED: Final = 2
"""Exit codes."""

KEPT: Final = 100
_SHOWN: Final = 12


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


@dataclass
class Report:
    """`proven`: so many events, from the first, does a checkpoint vouch for."""

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
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, problem: Problem) -> None:
        self.counts[problem.kind] += 1
        if self.counts[problem.kind] <= KEPT:
            self.problems.append(problem)

    @property
    def exit_code(self) -> int:
        if self.counts:
            return TAMPERED
        if self.vouching.missing:
            return UNVERIFIED
        return PROVEN if self.proven or not self.events else UNVERIFIED

    def json(self) -> dict[str, object]:
        return {
            "ledger": self.ledger,
            "origin": self.origin,
            "verdict": _VERDICTS[self.exit_code],
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
            "tail": {"events": self.tail.events, "since": _instant(self.tail.since)},
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
        yield f"Ledger      {_clean(self.ledger)}"
        yield f"Origin      {_clean(self.origin)}"
        yield f"Events      {self.events:,} in {self.streams:,} streams"
        yield f"Checkpoint  {self.size:,} events" + (
            f", {_clean(self.time)}" if self.time else ""
        )
        yield f"            root {base64.b64encode(self.root).decode()}"
        yield f"            signed by {', '.join(map(_clean, self.signers))}"
        if self.counts:
            yield from ("", "WRONG", *self._wrong())
        yield from ("", "PROVEN", *(f"  + {line}" for line in self._proven()))
        yield from ("", "NOT PROVEN", *(f"  - {line}" for line in self._unproven()))
        speed = self.events / self.seconds if self.seconds else 0
        yield ""
        yield (
            f"{_VERDICTS[self.exit_code].upper()}"
            f"  ({self.seconds:.1f} s, {speed:,.0f} events/s)"
        )

    def _wrong(self) -> Iterator[str]:
        for problem in self.problems[:_SHOWN]:
            yield f"  ! {_clean(problem.text)}"
        more = self.counts.total() - min(_SHOWN, len(self.problems))
        if more:
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.counts.items())
            yield f"  ! and {more:,} more ({kinds} in all)"

    def _proven(self) -> Iterator[str]:
        if self.proven:
            yield (
                f"the first {self.proven:,} events are those that were signed, in that"
                " order, none changed, none missing"
            )
            if self.agreeing > 1:
                yield f"{self.agreeing:,} of {self.checkpoints:,} checkpoints agree"
        else:
            yield "nothing"
        kinds = self.counts.keys()
        if self.events and not kinds & {"version", "malformed", "damaged"}:
            yield "the versions of every stream have no gap"
        if self.events and not kinds & {"altered", "hash", "tree", "damaged"}:
            yield "every stored hash is that of its event, and the stored tree theirs"
        if self.file_checked and not kinds & {"file", "damaged"}:
            yield "the file is consistent: no index hides an event"
        if self.vouched and not self.vouched.doubtful:
            yield "every append was signed by one of the writers given"
        yield from self.vouching.proven(self.proven)

    def _unproven(self) -> Iterator[str]:
        if self.tail.events:
            since = _instant(self.tail.since)
            yield (
                f"{self.tail.events:,} events after the checkpoint: nothing outside"
                " vouches for them" + (f" (since {since})" if since else "")
            )
        if self.vouched is None:
            yield "who wrote what: no writers' keys were given (--writers)"
        if self.ignored:
            yield f"{self.ignored:,} checkpoints are not signed by the key: ignored"
        if not self.counts:
            yield from self.vouching.unproven(self.events)
        yield from self.vouching.warnings
        yield "recorded_at, which is the engine's own stamp and in no hash"
        yield "that what was written down was true"


_VERDICTS: Final = {PROVEN: "proven", TAMPERED: "tampered", UNVERIFIED: "not verified"}


def _instant(micros: int | None) -> str | None:
    if micros is None:
        return None
    try:
        moment = datetime.fromtimestamp(micros / 1e6, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _clean(text: str) -> str:
    """Leave nothing in it that a terminal obeys."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape").decode()
        for character in text
    )

"""Asks a stored question of the stored bundle again, and compares every part."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import NamedTuple, Protocol

from google.protobuf.message import DecodeError

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.errors import Corrupt, Invalid
from modelkeep.events.policy import Approval, Barred, Covered, VerdictGiven, Waiver
from modelkeep.policy.program import Program
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.policy.history import Around
from modelkeep_services.policy.in_force import Programs, stored
from modelkeep_services.policy.judge import Answer, judge


def replay(
    given: VerdictGiven, read: Reader, programs: Programs
) -> pb.ReplayVerdictResponse:
    """Raises Corrupt when the stored facts are none."""
    force = stored(read, given.bundle, programs)
    answer = again(force.program, given, facts_of(given))
    differ = differences(given, answer)
    return fill(
        pb.ReplayVerdictResponse(),
        {
            "same": not differ,
            "verdict": answer.verdict,
            "differences": differ,
            "same_engine": force.same_engine,
        },
    )


class Said(Protocol):
    """What a stored answer says of people."""

    @property
    def waivers(self) -> tuple[Waiver, ...]: ...
    @property
    def approvals(self) -> tuple[Approval, ...]: ...
    @property
    def parties(self) -> tuple[Barred, ...]: ...
    @property
    def envelope(self) -> Covered | None: ...


def again(program: Program, said: Said, facts: Facts) -> Answer:
    """Ask a stored question, of the bundle that answered it or of another."""
    return judge(
        program,
        facts,
        waivers=said.waivers,
        approvals=said.approvals,
        parties=said.parties,
        now=facts.now.ToDatetime(tzinfo=UTC),
        envelope=said.envelope,
    )


def facts_of(given: VerdictGiven) -> Facts:
    try:
        return Facts.FromString(b64decode(given.facts))
    except (DecodeError, ValueError):
        raise Corrupt(f"the facts of {given.request} cannot be read") from None


def differences(given: VerdictGiven, answer: Answer) -> list[str]:
    """Name the parts that came out otherwise."""
    return [
        f"{name} differs"
        for name, value in answer.said.items()
        if getattr(given, name) != value
    ]


# --- exact replay --------------------------------------------------------------------


class Differs(NamedTuple):
    """A past verdict that its own bundle no longer gives, and what came out other."""

    request: str
    event: str
    what: tuple[str, ...]


@dataclass(frozen=True)
class Exact:
    """Of so many verdicts, those that differ."""

    verdicts: int
    differ: tuple[Differs, ...]


def exact(history: Iterable[tuple[str, VerdictGiven]], around: Around) -> Exact:
    """Ask every past question of the bundle that answered it then."""
    count, found = 0, []
    for event, given in history:
        count += 1
        what = _replayed(given, around.program(given.bundle))
        if what:
            found.append(Differs(given.request, event, tuple(what)))
    return Exact(count, tuple(found))


def _replayed(given: VerdictGiven, program: Program | None) -> list[str]:
    if program is None:
        return [f"bundle {given.bundle} is not in the log, or no longer reads"]
    try:
        return differences(given, again(program, given, facts_of(given)))
    except (Corrupt, Invalid) as error:
        return [str(error)]

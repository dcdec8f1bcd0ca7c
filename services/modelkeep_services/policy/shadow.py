"""Shadow mode: a bundle is asked beside the one in force, and nothing comes of it.

It answers from what the verdict's own event stored, after that event: what it says, how
long it takes and whether it fails can change nothing that was decided. Its answers are
events of their own streams, which nothing acts on. A shadow that fails time after time
is cleared, so that its cost ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from modelkeep.events.policy import (
    ShadowCleared,
    ShadowSet,
    ShadowVerdictGiven,
    VerdictGiven,
)
from modelkeep.events.types import Person
from modelkeep.ledger import stamp, stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep_services.policy.domain.shadow import (
    NOW,
    SHADOW,
    SHADOWING,
    RecordShadowVerdict,
    StopShadow,
)
from modelkeep_services.policy.in_force import Programs, stored
from modelkeep_services.policy.replay import again, facts_of

log = logging.getLogger(__name__)

SLOW_S: Final = 0.25
"""What takes longer is no answer: live verdicts take a thousandth of that."""
PATIENCE: Final = 5
"""So many failures in a row, and it is cleared."""
SAID: Final = 1_000

# --- views ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ShadowRow:
    bundle: str
    name: str
    version: str
    since: datetime
    by: Person
    cleared_at: datetime | None = None
    cleared_because: str = ""


@dataclass(frozen=True)
class CellRow:
    """Of one bundle as shadow: verdicts that were one thing where it says another."""

    tier: int | None
    action: str
    was: str
    now: str | None
    verdicts: int = 0


@dataclass(frozen=True)
class SaidRow:
    said: ShadowVerdictGiven
    event_id: str


beside = View("shadow_now", ShadowRow)
"""The bundle that is beside now, under NOW; none when nothing is."""

shadows = View("shadows", ShadowRow)
cells = View("shadow_cells", CellRow)
"""bundle/tier/action/was/now."""

verdicts = View("shadow_verdicts", SaidRow)
differing = View("shadow_differing", SaidRow)
"""bundle/when/request, both."""

VIEWS: Final = (beside, shadows, cells, verdicts, differing)


def _row(event: ShadowSet, fact: Fact) -> ShadowRow:
    return ShadowRow(event.bundle, event.name, event.version, fact.known_at, event.by)


@beside.on(ShadowSet)
def is_beside(event: ShadowSet, fact: Fact, rows: Rows[ShadowRow]) -> None:
    rows.put(NOW, _row(event, fact))


@beside.on(ShadowCleared)
def is_beside_no_more(_: ShadowCleared, __: Fact, rows: Rows[ShadowRow]) -> None:
    rows.delete(NOW)


@shadows.on(ShadowSet)
def was_set(event: ShadowSet, fact: Fact, rows: Rows[ShadowRow]) -> None:
    rows.put(event.bundle, _row(event, fact))
    before = rows.get(event.replaces) if event.replaces is not None else None
    if before is not None:
        rows.put(before.bundle, replace(before, cleared_at=fact.known_at))


@shadows.on(ShadowCleared)
def was_cleared(event: ShadowCleared, fact: Fact, rows: Rows[ShadowRow]) -> None:
    row = rows.get(event.bundle)
    if row is not None:
        why = event.reason or ""
        rows.put(
            event.bundle,
            replace(row, cleared_at=fact.known_at, cleared_because=why),
        )


@cells.on(ShadowVerdictGiven)
def counted(event: ShadowVerdictGiven, _: Fact, rows: Rows[CellRow]) -> None:
    was, now = event.given, event.verdict or ""
    key = f"{event.bundle}/{event.tier}/{event.action}/{was}/{now}"
    row = rows.get(key) or CellRow(event.tier, event.action, event.given, event.verdict)
    rows.put(key, replace(row, verdicts=row.verdicts + 1))


def _key(event: ShadowVerdictGiven, fact: Fact) -> str:
    return f"{event.bundle}/{stamp(fact.known_at)}/{event.request}"


@verdicts.on(ShadowVerdictGiven)
def kept(event: ShadowVerdictGiven, fact: Fact, rows: Rows[SaidRow]) -> None:
    rows.put(_key(event, fact), SaidRow(event, str(fact.id)))


@differing.on(ShadowVerdictGiven)
def differs(event: ShadowVerdictGiven, fact: Fact, rows: Rows[SaidRow]) -> None:
    if event.verdict != event.given:
        rows.put(_key(event, fact), SaidRow(event, str(fact.id)))


# --- the reactor ---------------------------------------------------------------------


@dataclass
class Shadow:
    """Asks the bundle that is beside. `clock` counts seconds, for its patience."""

    programs: Programs
    clock: Callable[[], float] = time.monotonic
    failures: dict[str, int] = field(default_factory=dict)

    def __call__(
        self, event: VerdictGiven, fact: Fact, read: Reader
    ) -> Iterator[Reaction]:
        row = read.get(beside, NOW)
        if row is None or row.bundle == event.bundle:
            return
        said = self.said(event, row.bundle, read)
        stream = stream_name("shadow", fact.tenant, event.request)
        yield Reaction(stream, SHADOW, RecordShadowVerdict(said=said))
        failures = self.failures.get(row.bundle, 0) + 1 if said.failed else 0
        self.failures[row.bundle] = failures
        if failures >= PATIENCE:
            stop = StopShadow(
                bundle=row.bundle,
                reason=f"it failed {failures} times in a row: {_line(said.failed)}",
            )
            self.failures.pop(row.bundle)
            yield Reaction(stream_name("shadowing", fact.tenant, NOW), SHADOWING, stop)

    def said(
        self, event: VerdictGiven, bundle: str, read: Reader
    ) -> ShadowVerdictGiven:
        began = self.clock()
        try:
            parts = self._asked(event, bundle, read)
        except Exception as error:  # noqa: BLE001  # whatever it is, the verdict stands
            log.warning("shadow %s failed on %s: %r", bundle, event.request, error)
            parts = {"failed": _line(f"{type(error).__name__}: {error}")}
        took = self.clock() - began
        if took > SLOW_S and "failed" not in parts:
            parts = {"failed": f"it took longer than {SLOW_S:g} s"}
        return ShadowVerdictGiven.model_validate(
            {
                "request": event.request,
                "action": event.action,
                "model": event.model,
                "environment": event.environment,
                "tier": event.tier,
                "in_force": event.bundle,
                "given": event.verdict,
                "bundle": bundle,
                **parts,
            }
        )

    def _asked(
        self, event: VerdictGiven, bundle: str, read: Reader
    ) -> dict[str, object]:
        force = stored(read, bundle, self.programs)
        answer = again(force.program, event, facts_of(event))
        return {
            "verdict": answer.verdict,
            "stopped_by": tuple(one.rule for one in answer.rules if one.denies),
            "owed": answer.owed,
            "reasons": answer.reasons,
        }


def _line(text: str) -> str:
    """One line of what somebody else's error says."""
    return "".join(c if c.isprintable() else " " for c in text)[:SAID]


def reactor(programs: Programs) -> Reactor:
    found, shadow = Reactor("policy.shadow"), Shadow(programs)

    @found.on(VerdictGiven)
    def asked(event: VerdictGiven, fact: Fact, read: Reader) -> Iterable[Reaction]:
        return shadow(event, fact, read)

    return found

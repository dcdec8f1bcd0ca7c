"""History's classifications under another rubric: who would have been of which tier.

What was stated of a model (its drivers' scores) is in every classification, so a rubric
is applied to it as it was stated. An override stands for as long as it was granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import Final

from modelkeep.errors import Invalid
from modelkeep.events.inventory import Drivers, ModelClassified, OverrideExpired
from modelkeep_services.inventory import rubric
from modelkeep_services.inventory.rubric import Rubric

SCORES: Final = range(1, 5)


@dataclass(frozen=True)
class Tiered:
    """A model's tier from `since` on, as it was and by the other rubric."""

    model: str
    since: datetime
    event: str
    was: int
    now: int
    overridden: bool
    drivers_were: Drivers
    drivers_are: Drivers
    until: datetime | None = None

    @property
    def moved(self) -> bool:
        return self.was != self.now

    def why(self) -> str:
        """What scores otherwise, or that the tiers' lines do."""
        names = ("exposure", "materiality", "complexity")
        said = [
            f"{name} {was} → {now}"
            for name in names
            if (was := getattr(self.drivers_were, name))
            != (now := getattr(self.drivers_are, name))
        ]
        here = ", ".join(f"{name} {getattr(self.drivers_are, name)}" for name in names)
        return ", ".join(said) if said else f"the lines moved: {here}"


Classified = tuple[ModelClassified | OverrideExpired, datetime, str]
"""An event, when it was known, and its id."""


def checked(found: Rubric) -> Rubric:
    """Raises Invalid for a rubric that leaves some score without a tier."""
    for materiality, complexity in product(SCORES, SCORES):
        if not any(
            materiality >= line.materiality and complexity >= line.complexity
            for line in found.tiers
        ):
            raise Invalid.field(
                "tiers",
                f"no line holds for materiality {materiality}, complexity {complexity}",
            )
    return found


def rescored(found: Rubric, stated: Drivers) -> Drivers:
    return rubric.drivers(
        found,
        use=stated.use,
        exposure_share=stated.exposure_share,
        purpose=stated.purpose,
        harm=stated.harm,
        method=stated.method,
        input_uncertainty=stated.input_uncertainty,
        opacity=stated.opacity,
        autonomy=stated.autonomy,
        black_box=stated.black_box,
        forced=stated.forced,
    )


def retiered(history: Iterable[Classified], found: Rubric) -> Iterator[Tiered]:
    """Every stretch of every model, in the order in which they ended."""
    open_: dict[str, Tiered] = {}
    for event, known_at, id_ in history:
        before = open_.get(event.model)
        if before is not None:
            yield replace(before, until=known_at)
        after = _after(event, known_at, id_, before, found)
        if after is not None:
            open_[event.model] = after
    yield from (open_[model] for model in sorted(open_))


def _after(
    event: ModelClassified | OverrideExpired,
    known_at: datetime,
    id_: str,
    before: Tiered | None,
    found: Rubric,
) -> Tiered | None:
    if isinstance(event, ModelClassified):
        scored = rescored(found, event.drivers)
        overridden = event.source == "override"
        now = event.tier if overridden else rubric.tier(found, scored)
        return Tiered(
            event.model,
            known_at,
            id_,
            event.tier,
            now,
            overridden,
            event.drivers,
            scored,
        )
    if before is None:
        return None
    return replace(
        before,
        since=known_at,
        event=id_,
        was=event.tier,
        now=rubric.tier(found, before.drivers_are),
        overridden=False,
    )

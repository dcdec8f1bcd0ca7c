"""How risky a model is: a versioned document, and the arithmetic it speaks of."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from pydantic import TypeAdapter

from modelkeep import yaml_document
from modelkeep.events.inventory import AlwaysTierOne, Drivers, ModelKind, Role
from modelkeep.events.types import Digest, Slug, Title

IN_FORCE: Final = "tier-rubric-v1.yaml"

LEVELS: Final = ("low", "moderate", "elevated", "high")
UNKNOWN_TIER: Final = 4


@dataclass(frozen=True)
class TierLine:
    """A tier, where materiality and complexity reach these."""

    tier: int
    materiality: int = 1
    complexity: int = 1


@dataclass(frozen=True)
class Rubric:
    """See the document, which says what each part is for."""

    name: str
    version: str
    exposure_steps: tuple[float, float, float]
    black_box_complexity: int
    tiers: tuple[TierLine, ...]
    always_tier_one: Mapping[AlwaysTierOne, str]
    override_days: int
    review_months: Mapping[int, int]
    compulsory_roles: Mapping[int, tuple[Role, ...]]
    evidence_owed: Mapping[ModelKind, tuple[Slug, ...]]
    residual: Mapping[str, int]
    digest: Digest = ""

    @property
    def title(self) -> Title:
        return f"{self.name} {self.version}"


def read(text: bytes) -> Rubric:
    """Raises Invalid for what is no document, and pydantic's ValidationError for one
    that is not a rubric.
    """
    digest = "sha256:" + hashlib.sha256(text).hexdigest()
    document = yaml_document.read("document", text)
    return TypeAdapter(Rubric).validate_python(document | {"digest": digest})


@cache
def in_force() -> Rubric:
    """The rubric this program was shipped with."""
    path = resources.files("modelkeep_services.inventory") / "documents" / IN_FORCE
    return read(path.read_bytes())


def exposure_score(rubric: Rubric, share: float) -> int:
    """1 to 4, of a use's share.

    >>> [exposure_score(in_force(), s) for s in (0.0009, 0.001, 0.0499, 0.05)]
    [1, 2, 3, 4]
    """
    return bisect_right(rubric.exposure_steps, share) + 1


def materiality(exposure: int, purpose: int, harm: int) -> int:
    """Score what would be lost: the second-highest, and harm less one at least.

    >>> materiality(4, 1, 1), materiality(4, 3, 1), materiality(1, 1, 4)
    (1, 3, 3)
    """
    return max(sorted((exposure, purpose, harm))[1], harm - 1)


def complexity(rubric: Rubric, scores: Sequence[int], *, black_box: bool) -> int:
    mean = math.ceil(sum(scores) / len(scores))
    return max(mean, rubric.black_box_complexity) if black_box else mean


def drivers(
    rubric: Rubric,
    *,
    use: Slug,
    exposure_share: float,
    purpose: int,
    harm: int,
    method: int,
    input_uncertainty: int,
    opacity: int,
    autonomy: int,
    black_box: bool,
    forced: tuple[AlwaysTierOne, ...],
) -> Drivers:
    """Score what was stated."""
    exposure = exposure_score(rubric, exposure_share)
    return Drivers(
        use=use,
        exposure_share=exposure_share,
        exposure=exposure,
        purpose=purpose,
        harm=harm,
        materiality=materiality(exposure, purpose, harm),
        method=method,
        input_uncertainty=input_uncertainty,
        opacity=opacity,
        autonomy=autonomy,
        complexity=complexity(
            rubric,
            (method, input_uncertainty, opacity, autonomy),
            black_box=black_box,
        ),
        black_box=black_box,
        forced=forced,
    )


def tier(rubric: Rubric, found: Drivers) -> int:
    if found.forced:
        return 1
    return next(
        line.tier
        for line in rubric.tiers
        if found.materiality >= line.materiality and found.complexity >= line.complexity
    )


@dataclass(frozen=True)
class Standing:
    """What residual risk looks at, beside the tier. `lapses` name controls that do not
    hold.
    """

    lapses: tuple[str, ...] = ()
    open_critical: int = 0
    open_high: int = 0
    overdue_reviews: int = 0


def residual(
    rubric: Rubric, inherent_tier: int, found: Standing
) -> tuple[str, tuple[str, ...]]:
    """Return a level and the reasons for it, one sentence a step.

    >>> residual(in_force(), 1, Standing())
    ('elevated', ('inherent tier 1', 'every control holds: -1'))
    """
    weights, level = rubric.residual, 5 - inherent_tier
    reasons = [f"inherent tier {inherent_tier}"]

    def step(key: str, why: str) -> None:
        nonlocal level
        level += weights[key]
        reasons.append(f"{why}: {weights[key]:+d}")

    if not found.lapses:
        step("controls_hold", "every control holds")
    else:
        reasons.extend(found.lapses)
    if found.open_critical:
        step("open_critical", f"{found.open_critical} critical findings open")
    elif found.open_high:
        step("open_high", f"{found.open_high} high findings open")
    if found.overdue_reviews:
        step("review_overdue", f"{found.overdue_reviews} reviews overdue")
    return LEVELS[min(max(level, 1), 4) - 1], tuple(reasons)

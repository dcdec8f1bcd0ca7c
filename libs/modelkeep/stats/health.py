"""The health index: one number for a live model, and why it is that number.

Four components score 1 to 100: 100 at nominal, 85 at the warning limit, 60 at the hard
limit, 1 at twice the hard limit's distance, linear between. The index is their weighted
geometric mean, H = 100 * prod (S_i / 100) ** w_i: a linear mean would let three good
components hide a dead one (OECD/JRC, "Handbook on Constructing Composite Indicators",
2008, section 1.6). No index is better coloured than its worst component.

Standard library only, and no constants: every limit is in a HealthDocument, which is a
policy document with a version. Numbers that statistics computed (a PSI and its limits,
a metric and its bound) come in as stored facts, so a replay gives the same index.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from modelkeep.errors import Invalid

FULL: Final = 100.0


class Colour(StrEnum):
    GREEN = "green"
    AMBER = "amber"
    RED = "red"
    NOT_RATED = "not rated"


class Mark(StrEnum):
    """What a reader must know before trusting a score."""

    IMMATURE = "immature"
    """Outcomes have not had time to arrive; a label-free estimate stands in, if any."""
    OVERDUE = "overdue"
    """Evidence that should be here is not."""
    UNMEASURED = "unmeasured"
    """Nothing is known; the other components carry the index."""
    BREACH = "breach"
    """A duty was missed, whatever the share."""
    UNAPPROVED = "unapproved"
    """A version serves that nobody approved."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a measurement is nominal, at its warning limit and at its hard limit.

    Either direction is good: an age grows worse, a coverage falls worse.
    """

    nominal: float
    warning: float
    hard: float


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the four components; they add up to 1. A component not owed weighs 0."""

    freshness: float = 0.20
    stability: float = 0.25
    outcomes: float = 0.35
    explainability: float = 0.20


@dataclass(frozen=True, slots=True)
class HealthDocument:
    """Everything that may be argued about; the defaults are the house's."""

    version: str
    weights: Weights = Weights()
    at_warning: float = 85.0
    at_hard: float = 60.0
    least: float = 1.0
    green_from: float = 85.0
    amber_from: float = 60.0
    freshness: Scale = Scale(nominal=0.0, warning=1.0, hard=2.0)
    """Age of an input in units of its SLA: late is amber, twice as late is red."""
    explainability: Scale = Scale(nominal=1.0, warning=0.95, hard=0.90)
    """Share of decisions with a valid explanation."""
    reason_codes: Scale = Scale(nominal=1.0, warning=0.95, hard=0.90)
    """Share of the decisions that owe reason codes by law, and have them."""
    breach_at_most: float = 60.0
    """The best score with a compulsory reason code missing, however few."""
    material_from: float = 0.5
    """A feature is material from this multiple of the even share of importance."""
    not_green_below: float = 0.60
    not_rated_below: float = 0.50
    """Both: share of the weight that was measured."""

    def __post_init__(self) -> None:
        parts = _weights(self.weights)
        if min(parts) < 0 or not math.isclose(math.fsum(parts), 1):
            raise Invalid.field("weights", f"{parts} do not add up to 1")
        if not 0 < self.least < self.at_hard < self.at_warning < FULL:
            raise Invalid.field("at_warning", "scores must fall from 100 to `least`")
        if not 0 <= self.material_from <= 1:
            raise Invalid.field("material_from", "beyond 1 no feature need be material")
        for name in ("freshness", "explainability", "reason_codes"):
            _check(name, getattr(self, name))


class Feed(NamedTuple):
    """A critical input. `age` and `sla` in business days (see `business_days`).

    `age` None: it was due and never came.
    """

    name: str
    age: float | None
    sla: float
    evidence: str


class FeatureDrift(NamedTuple):
    """A feature's PSI and the limits that its sample sizes allow (see `psi`).

    `importance` is on any scale, 0 or more.
    """

    name: str
    psi: float
    warning: float
    hard: float
    importance: float
    evidence: str


class Outcome(NamedTuple):
    """A performance metric against its band.

    `bound` is the favourable end of its 95 % interval: degradation counts only as far
    as that supports it. While outcomes are immature, `value` and `bound` are those of
    the label-free estimate, or None where there is none.
    """

    metric: str
    value: float | None
    bound: float | None
    scale: Scale
    evidence: str
    immature: bool = False
    overdue: bool = False


class Explanations(NamedTuple):
    """Counts of decisions; valid explanations are counted over all of them.

    `owing` of them owe reason codes by law, `missing` of those do not have them.
    """

    decisions: int
    valid: int
    owing: int
    missing: int
    evidence: str


class Evidence(NamedTuple):
    """All that is known of one model at one instant.

    `unapproved` refers to the evidence that an unapproved version serves.
    """

    feeds: Sequence[Feed] = ()
    drifts: Sequence[FeatureDrift] = ()
    outcomes: Sequence[Outcome] = ()
    explanations: Explanations | None = None
    unapproved: str | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """One of the four, explained. `score` is None when nothing was measured."""

    name: str
    weight: float
    cause: str
    evidence: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    score: float | None = None
    colour: Colour = Colour.NOT_RATED


@dataclass(frozen=True, slots=True)
class HealthIndex:
    """`value` is 0 to 100, None when not rated. Numbers are rounded to 4 decimals."""

    value: float | None
    colour: Colour
    worst: str
    cause: str
    evidence: tuple[str, ...]
    marks: tuple[Mark, ...]
    measured_weight: float
    components: tuple[Component, ...]
    document: str


def score(value: float, scale: Scale, document: HealthDocument) -> float:
    """Return 1 to 100, linear between the scale's points; better than nominal is 100.

    NaN scores the least: an unusable measurement is not a good one.

    >>> age = Scale(nominal=0, warning=1, hard=2)
    >>> [score(x, age, HealthDocument("d")) for x in (0, 0.5, 1, 1.5, 2, 4, 9)]
    [100.0, 92.5, 85.0, 72.5, 60.0, 1.0, 1.0]
    """
    _check("scale", scale)
    if math.isnan(value):
        return document.least
    sign = 1.0 if scale.hard > scale.nominal else -1.0
    distance = sign * (value - scale.nominal)
    warning = sign * (scale.warning - scale.nominal)
    hard = sign * (scale.hard - scale.nominal)
    points = (
        (0.0, FULL),
        (warning, document.at_warning),
        (hard, document.at_hard),
        (2 * hard, document.least),
    )
    if distance <= 0:
        return FULL
    for (x0, y0), (x1, y1) in pairwise(points):
        if distance <= x1:
            return y1 + (x1 - distance) / (x1 - x0) * (y0 - y1)
    return document.least


def freshness(feeds: Sequence[Feed], document: HealthDocument) -> Component:
    """Return the score of the worst critical input's age against its SLA."""
    name, weight = "data freshness", document.weights.freshness
    if not feeds:
        cause = "no critical input is declared"
        return Component(name, weight, cause, marks=(Mark.UNMEASURED,))
    rated = [(_feed_score(feed, document), feed) for feed in feeds]
    worst, feed = min(rated, key=lambda pair: (pair[0], pair[1].name))
    if feed.age is None:
        cause = f"{feed.name} was due and never came"
    else:
        cause = f"{feed.name} is {feed.age:.2f} business days old, SLA {feed.sla:g}"
    marks = (Mark.OVERDUE,) if any(feed.age is None for feed in feeds) else ()
    told = Component(name, weight, cause, (feed.evidence,), marks)
    return _scored(told, worst, document)


def stability(drifts: Sequence[FeatureDrift], document: HealthDocument) -> Component:
    """Return min(importance-weighted mean, worst material feature) of the scores.

    Without importances (all zero) every feature counts alike.
    """
    name, weight = "feature stability", document.weights.stability
    if not drifts:
        cause = "no feature was measured"
        return Component(name, weight, cause, marks=(Mark.UNMEASURED,))
    shares = _shares([drift.importance for drift in drifts])
    scores = [
        score(drift.psi, Scale(0.0, drift.warning, drift.hard), document)
        for drift in drifts
    ]
    mean = math.fsum(w * s for w, s in zip(shares, scores, strict=True))
    material = [
        (s, drift)
        for s, w, drift in zip(scores, shares, drifts, strict=True)
        if w * len(drifts) >= document.material_from
    ]
    worst, drift = min(material, key=lambda pair: (pair[0], pair[1].name))
    cause = (
        f"{drift.name} has PSI {drift.psi:.4f},"
        f" limits {drift.warning:.4f} and {drift.hard:.4f}"
    )
    if mean < worst:
        cause = f"{len(drifts)} features together; worst material: {cause}"
    told = Component(name, weight, cause, (drift.evidence,))
    return _scored(told, min(mean, worst), document)


def outcome_variance(
    outcomes: Sequence[Outcome], document: HealthDocument
) -> Component:
    """Return the score of the most degraded metric, as far as its bound supports it.

    Overdue evidence scores least. A metric without a value (immature and without a
    label-free estimate) says nothing, and is marked.
    """
    name, weight = "outcome variance", document.weights.outcomes
    marks = _marks(outcomes)
    rated = [
        (_outcome_score(outcome, document), outcome)
        for outcome in outcomes
        if outcome.overdue or None not in (outcome.value, outcome.bound)
    ]
    if not rated:
        immature = "outcomes are immature and nothing estimates them"
        return Component(
            name,
            weight,
            immature if marks else "no outcome was measured",
            tuple(outcome.evidence for outcome in outcomes),
            (*marks, Mark.UNMEASURED),
        )
    worst, outcome = min(rated, key=lambda pair: (pair[0], pair[1].metric))
    told = Component(name, weight, _tell(outcome), (outcome.evidence,), marks)
    return _scored(told, worst, document)


def explainability(counted: Explanations | None, document: HealthDocument) -> Component:
    """Return the coverage of explanations and, where law asks, of reason codes."""
    name, weight = "explainability coverage", document.weights.explainability
    if counted is None or counted.decisions == 0:
        return Component(name, weight, "no decision was made", marks=(Mark.UNMEASURED,))
    _check_counts(counted)
    share = counted.valid / counted.decisions
    value = score(share, document.explainability, document)
    cause = f"{counted.valid} of {counted.decisions} decisions have an explanation"
    legal = _legal_score(counted, document)
    if legal is not None and legal <= value:
        value = legal
        cause = (
            f"{counted.missing} of {counted.owing} decisions"
            " lack a compulsory reason code"
        )
    marks = (Mark.BREACH,) if counted.missing else ()
    told = Component(name, weight, cause, (counted.evidence,), marks)
    return _scored(told, value, document)


def health_index(known: Evidence, document: HealthDocument) -> HealthIndex:
    """Return the index, explained by the worst of its components."""
    return combine(
        document,
        (
            freshness(known.feeds, document),
            stability(known.drifts, document),
            outcome_variance(known.outcomes, document),
            explainability(known.explanations, document),
        ),
        unapproved=known.unapproved,
    )


def combine(
    document: HealthDocument,
    components: Sequence[Component],
    *,
    unapproved: str | None = None,
) -> HealthIndex:
    """Return the index of components that were scored one by one.

    Weights of unmeasured components are shared out among the measured ones.
    """
    # a component that is not owed (weight 0) neither helps nor harms
    counted = [c for c in components if c.weight > 0]
    scores = [(c, c.score) for c in counted if c.score is not None]
    measured = round(math.fsum(c.weight for c, _ in scores), 4)
    marks = _union(c.marks for c in counted)
    if unapproved is not None:
        return HealthIndex(
            value=0.0,
            colour=Colour.RED,
            worst="approval",
            cause="an unapproved version serves",
            evidence=(unapproved,),
            marks=(Mark.UNAPPROVED, *marks),
            measured_weight=measured,
            components=tuple(components),
            document=document.version,
        )
    worst = min(scores, key=lambda pair: (pair[1], pair[0].name), default=None)
    rated = worst is not None and measured >= document.not_rated_below
    value = _geometric_mean(scores) if rated else None
    return HealthIndex(
        value=value,
        colour=_index_colour(value, counted, measured, document),
        worst=worst[0].name if worst else "",
        cause=worst[0].cause if worst else "nothing was measured",
        evidence=worst[0].evidence if worst else (),
        marks=marks,
        measured_weight=measured,
        components=tuple(components),
        document=document.version,
    )


def colour_of(value: float, document: HealthDocument) -> Colour:
    if value >= document.green_from:
        return Colour.GREEN
    return Colour.AMBER if value >= document.amber_from else Colour.RED


_BEST_FIRST: Final = (Colour.GREEN, Colour.AMBER, Colour.RED)


def _index_colour(
    value: float | None,
    components: Sequence[Component],
    measured: float,
    document: HealthDocument,
) -> Colour:
    if value is None:
        return Colour.NOT_RATED
    found = [colour_of(value, document)]
    found += [c.colour for c in components if c.score is not None]
    marks = _union(c.marks for c in components)
    if Mark.IMMATURE in marks or measured < document.not_green_below:
        found.append(Colour.AMBER)
    return max(found, key=_BEST_FIRST.index)


def _geometric_mean(scores: Sequence[tuple[Component, float]]) -> float:
    total = math.fsum(component.weight for component, _ in scores)
    logs = math.fsum(
        component.weight / total * math.log(value / FULL) for component, value in scores
    )
    return round(FULL * math.exp(logs), 4)


def _feed_score(feed: Feed, document: HealthDocument) -> float:
    if not feed.sla > 0:
        raise Invalid.field("sla", f"{feed.name} has an SLA of {feed.sla} days")
    if feed.age is None:
        return document.least
    return score(feed.age / feed.sla, document.freshness, document)


def _legal_score(counted: Explanations, document: HealthDocument) -> float | None:
    """Return the score of the reason codes owed; None when none is missing."""
    if not counted.missing:
        return None
    share = 1 - counted.missing / counted.owing
    return min(score(share, document.reason_codes, document), document.breach_at_most)


def _outcome_score(outcome: Outcome, document: HealthDocument) -> float:
    if outcome.overdue or outcome.bound is None:
        return document.least
    return score(outcome.bound, outcome.scale, document)


def _tell(outcome: Outcome) -> str:
    if outcome.overdue:
        return f"outcomes for {outcome.metric} are overdue"
    told = "estimated without labels" if outcome.immature else "measured"
    return (
        f"{outcome.metric} is {outcome.value:.4f} ({told}; 95 % bound"
        f" {outcome.bound:.4f}), nominal {outcome.scale.nominal:g},"
        f" limits {outcome.scale.warning:g} and {outcome.scale.hard:g}"
    )


def _marks(outcomes: Iterable[Outcome]) -> tuple[Mark, ...]:
    marks = []
    for outcome in outcomes:
        if outcome.overdue:
            marks.append(Mark.OVERDUE)
        elif outcome.immature:
            marks.append(Mark.IMMATURE)
    return _union([marks])


def _union(many: Iterable[Iterable[Mark]]) -> tuple[Mark, ...]:
    """Return each mark once, in the order of their declaration."""
    found = {mark for marks in many for mark in marks}
    return tuple(mark for mark in Mark if mark in found)


def _scored(component: Component, score: float, document: HealthDocument) -> Component:
    # the published score decides the colour, so that both always agree
    score = round(score, 4)
    return replace(component, score=score, colour=colour_of(score, document))


def _shares(importances: Sequence[float]) -> list[float]:
    if not all(0 <= value < math.inf for value in importances):
        raise Invalid.field("importance", "must be 0 or more")
    total = math.fsum(importances)
    if total == 0:
        return [1 / len(importances)] * len(importances)
    return [value / total for value in importances]


def _weights(weights: Weights) -> tuple[float, ...]:
    return (
        weights.freshness,
        weights.stability,
        weights.outcomes,
        weights.explainability,
    )


def _check(name: str, scale: Scale) -> None:
    rising = scale.nominal < scale.warning < scale.hard
    falling = scale.nominal > scale.warning > scale.hard
    if not (rising or falling):
        raise Invalid.field(name, f"{scale} neither rises nor falls throughout")


def _check_counts(counted: Explanations) -> None:
    if not 0 <= counted.valid <= counted.decisions:
        raise Invalid.field("valid", "more explanations than decisions")
    if not 0 <= counted.missing <= counted.owing <= counted.decisions:
        raise Invalid.field("missing", "more reason codes missing than owed")

"""What insight notices: budgets agreed, and the moments a model crosses a line.

Stream: `insight-<tenant>.<model>`. A crossing is computed from everything known at the
event that caused it (`source`), for the moment `at`, by a versioned document that is
named with its digest.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from modelkeep.events.base import Event
from modelkeep.events.types import (
    Count,
    Finite,
    Instant,
    Money,
    Share,
    Slug,
    Text,
    Value,
)

EventId = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    ),
]
MetricName = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=100)
]
"""As monitoring spells it: a kind of bad event, or a performance metric."""

Evidence = Annotated[tuple[EventId, ...], Field(max_length=50)]

Band = Literal["green", "amber", "red", "not_rated"]
"""The colour of a health index."""

BudgetKind = Literal[
    "degradation", "false_positive_rate", "latency", "data_quality", "auc"
]
Period = Literal["month", "quarter"]
Spent = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""1 is all of it; more is possible."""


class Document(Value):
    """The rules by which something was computed: a version and what it said then."""

    version: Slug
    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class BudgetDefined(Event, name="insight.budget-defined"):
    """A rate `p0` is accepted, `p1` kept up for a whole period spends everything.

    Bad events are those that monitoring counts under `metric`; with a `band` they are
    the decisions of windows in which that performance metric is further than `band`
    behind its baseline. `expected_events` are foreseen in a period (UTC months or
    quarters, `periods` of them in a row); `period_end` is the first one's.
    `batch`: rules count windows, not hours. `slo` maps it to money: `worth` is what all
    of it stands for.
    """

    model: Slug
    budget: Slug
    kind: BudgetKind
    metric: MetricName
    p0: Share
    p1: Share
    expected_events: Count
    period: Period
    periods: Annotated[int, Field(ge=1, le=24)] = 1
    band: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    batch: bool = False
    period_end: Instant
    slo: Slug | None = None
    worth: Money | None = None
    reason: Text | None = None
    document: Document


class HealthBandChanged(Event, name="insight.health-band-changed"):
    """A model's health index took another colour. `component` is the worst of the four,
    `cause` says why in words; `index` is None when the model is not rated.
    """

    model: Slug
    from_band: Band | None = None
    to_band: Band
    index: Finite | None = None
    component: Annotated[str, StringConstraints(max_length=100)]
    cause: Text
    measured_weight: Share
    marks: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=50)], ...],
        Field(max_length=10),
    ] = ()
    evidence: Evidence = ()
    document: Document
    source: EventId
    at: Instant | None = None


class BudgetSlowed(Event, name="insight.budget-slowed"):
    """More is spent, even at its lower bound, than has elapsed of the period: no change
    without a person, until `BudgetEased`.
    """

    model: Slug
    budget: Slug
    period_start: Instant
    period_end: Instant
    spent: Spent
    spent_low: Spent
    elapsed: Share
    burn: Finite | None = None
    exhausted_at: Instant | None = None
    document: Document
    source: EventId
    at: Instant | None = None


class BudgetEased(Event, name="insight.budget-eased"):
    """What is spent no longer runs ahead of the period."""

    model: Slug
    budget: Slug
    period_start: Instant
    period_end: Instant
    spent: Spent
    spent_low: Spent
    elapsed: Share
    document: Document
    source: EventId
    at: Instant | None = None


class BudgetExhausted(Event, name="insight.budget-exhausted"):
    """Everything is spent. Said once a period, however the figures are restated.

    `provisional`: the part of it that outcomes still pending make.
    """

    model: Slug
    budget: Slug
    period_start: Instant
    period_end: Instant
    spent: Spent
    spent_low: Spent
    provisional: Finite = 0.0
    burn: Finite | None = None
    hard_stop: Literal["rollback", "throttle", "human"]
    evidence: Evidence = ()
    document: Document
    source: EventId
    at: Instant | None = None


class BudgetPeriodClosed(Event, name="insight.budget-period-closed"):
    """A period is over: what was spent of it, as known then. A new one begins."""

    model: Slug
    budget: Slug
    period_start: Instant
    period_end: Instant
    next_period_end: Instant
    spent: Spent
    spent_low: Spent
    provisional: Finite = 0.0
    document: Document
    source: EventId

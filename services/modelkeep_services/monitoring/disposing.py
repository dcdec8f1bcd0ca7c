"""What people did with a model's decisions, gathered from its days for a judgement."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from modelkeep.events.attention import AutonomyEvidence
from modelkeep.stats.wilson import wilson
from modelkeep.views import Reader
from modelkeep_services.monitoring import attention_views as attention
from modelkeep_services.monitoring import known, overrides, views
from modelkeep_services.monitoring.autonomy import RULES
from modelkeep_services.monitoring.causes import PEOPLE
from modelkeep_services.monitoring.commands import RaiseAlert
from modelkeep_services.monitoring.overrides import DAY, Found, Spans
from modelkeep_services.monitoring.rounding import DIGITS


def counted(
    model: str, start: datetime, end: datetime, read: Reader
) -> tuple[Counter[str], Counter[str]]:
    """Return dispositions by what was done, and overrides by reason, of the whole days
    (UTC) from that of `start` until before that of `end`.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    last = f"{model}/{end:%Y-%m-%d}"
    before = f"{model}/{start - DAY:%Y-%m-%d}"
    days = (end - start) // DAY + 2
    rows = read.scan(views.overrides, f"{model}/", after=before, limit=days)
    for key, row in rows:
        if key < last:
            counts.update(row.counts)
            reasons.update(row.reasons)
    return counts, reasons


def found_on(model: str, now: datetime, read: Reader) -> tuple[Found | None, Spans]:
    over = overrides.spans(now)
    recent, _ = counted(model, over.start, over.end, read)
    if recent.total() < overrides.RULES.least:
        return None, over
    before, _ = counted(model, over.reference, over.start, read)
    return overrides.judged(overrides.rate(recent), overrides.rate(before)), over


def alert_on(model: str, now: datetime, read: Reader) -> RaiseAlert | None:
    """Return the alert that the days before `now` call for, at most one a month."""
    found, over = found_on(model, now, read)
    if found is None:
        return None
    stamping = found.what == "rubber_stamping"
    reference = found.reference.value if found.reference else None
    before = None if reference is None else round(reference, DIGITS)
    limit = overrides.RULES.rubber_stamp_upper if stamping else before
    return RaiseAlert(
        model=model,
        kind="rubber_stamping" if stamping else "override_drift",
        vector="governance_lapse" if stamping else "concept_shift",
        severity="medium",
        metric="override_rate",
        value=round(found.rate.value or 0.0, DIGITS),
        threshold=limit or 0.0,
        baseline=before,
        n=found.rate.n,
        start=over.start,
        end=over.end,
        owner=known.owner(read, model),
        cause=overrides.told(found),
        occasion=f"{over.end:%Y-%m}",
    )


def evidence_of(model: str, now: datetime, read: Reader) -> AutonomyEvidence:
    """Gather what a level of autonomy would rest on. Dispositions are of the model,
    whatever the use: a disposition does not say it.
    """
    tally = read.get(views.tallies, model)
    tier = read.get(attention.tiers, model)
    start = now - timedelta(days=RULES.window_days)
    counts, _ = counted(model, start, now + DAY, read)
    n, overridden = counts.total(), counts["overridden"]
    budgets = [row for _, row in read.scan(attention.budgets, f"{model}/")]
    alerts = [row for _, row in read.scan(views.alerts, f"{model}/")]
    people = [a for a in alerts if a.kind in PEOPLE and a.status != "resolved"]
    sources = [row.source for row in budgets] + [row.source for row in people]
    return AutonomyEvidence(
        tier=None if tier is None else tier.tier,
        decisions=0 if tally is None else tally.rows - tally.quarantined,
        dispositions=n,
        overridden=overridden,
        override_rate=round(overridden / n, DIGITS) if n else None,
        override_upper=round(wilson(overridden, n).high, DIGITS) if n else None,
        drift=bool(people),
        budgets=len(budgets),
        strained=tuple(row.budget for row in budgets if row.strained)[:100],
        events=tuple(([] if tier is None else [tier.source]) + sources)[:50],
    )

"""A model's health at a moment: the evidence gathered, the index computed.

Everything comes from stored rows and the moment asked for, so that the same log gives
the same index for ever. What is looked at, and how it scores, is a versioned document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modelkeep.stats.business_days import business_days
from modelkeep.stats.health import (
    Evidence,
    Explanations,
    FeatureDrift,
    Feed,
    HealthIndex,
    Outcome,
    Scale,
    health_index,
)
from modelkeep.views import Reader
from modelkeep_services.insight.documents import HealthRules, Loaded, health_rules
from modelkeep_services.insight.views import inventory, monitoring
from modelkeep_services.insight.views.inventory import DeploymentRow, SloRow
from modelkeep_services.insight.views.monitoring import (
    Metric,
    MonitorRow,
    NewestRow,
    ServingRow,
    WindowRow,
    sortable,
)

HOURS_A_DAY: Final = 24.0
EXPLAINABILITY: Final = "explainability"
OFF: Final = frozenset({"suspended", "retired"})


@dataclass(frozen=True)
class Health:
    index: HealthIndex
    rules: Loaded[HealthRules]

    @property
    def band(self) -> str:
        """The colour as events and the wire spell it."""
        return self.index.colour.replace(" ", "_")


def health_of(
    read: Reader,
    model: str,
    now: datetime,
    rules: Loaded[HealthRules] | None = None,
) -> Health:
    """By the document in force, unless another is given."""
    rules = rules or health_rules()
    return Health(
        health_index(evidence_of(read, model, now, rules.says), rules.says.index), rules
    )


def evidence_of(
    read: Reader, model: str, now: datetime, rules: HealthRules
) -> Evidence:
    """Gather all that is known of the versions that serve."""
    live = live_deployments(read, model, rules)
    served = _served(read, model, rules)
    newest = _looked_at(read, model, live, rules)
    windows = [_window(read, row.window) for row in newest]
    return Evidence(
        feeds=_feeds(read, model, now, served, rules),
        drifts=_drifts(newest),
        outcomes=list(_outcomes(read, model, now, newest, rules)),
        explanations=_explanations(read, model, windows),
        unapproved=unapproved(read, model, now, live, served),
    )


def live_deployments(
    read: Reader, model: str, rules: HealthRules
) -> list[DeploymentRow]:
    """Return what serves somebody: a share of traffic outside the test beds."""
    known = read.get(inventory.models, model)
    if known is not None and known.lifecycle in OFF:
        return []
    return [
        row
        for _, row in read.scan(inventory.deployments, f"{model}/")
        if row.share > 0 and row.environment not in rules.ignored_environments
    ]


def _served(read: Reader, model: str, rules: HealthRules) -> list[ServingRow]:
    return [
        row
        for _, row in read.scan(monitoring.serving, f"{model}/")
        if row.environment not in rules.ignored_environments
    ]


def _looked_at(
    read: Reader, model: str, live: Sequence[DeploymentRow], rules: HealthRules
) -> list[NewestRow]:
    """Return the newest window of each live version, or of whatever decided last."""
    known = [
        row
        for _, row in read.scan(monitoring.newest, f"{model}/")
        if row.environment not in rules.ignored_environments
    ]
    places = {(row.environment, row.version) for row in live}
    chosen = [row for row in known if (row.environment, row.version) in places]
    if chosen or not known:
        return chosen
    return [max(known, key=lambda row: (row.end, row.environment, row.version))]


def _window(read: Reader, key: str) -> WindowRow:
    row = read.get(monitoring.windows, key)
    if row is None:
        raise AssertionError(f"window {key} is named by a row and is not there")
    return row


# --- data freshness ----------------------------------------------------------------


def _feeds(
    read: Reader,
    model: str,
    now: datetime,
    served: Sequence[ServingRow],
    rules: HealthRules,
) -> list[Feed]:
    monitor = read.get(monitoring.monitors, model)
    if monitor is None or not served:
        return []  # nothing is due before the first decision
    at = _looked_at_inputs(now, served, monitor)
    readings: dict[str, tuple[datetime, str]] = {}
    for _, row in read.scan(monitoring.feeds, f"{model}/"):
        if row.environment in rules.ignored_environments:
            continue
        known = readings.get(row.feed)
        # the environment that was fed last speaks for the feed
        if known is None or row.last_at > known[0]:
            readings[row.feed] = row.last_at, row.event
    return [
        _feed(name, hours, readings, at, monitor.event)
        for name, hours in monitor.feature_sla_hours.items()
    ]


def _looked_at_inputs(
    now: datetime, served: Sequence[ServingRow], monitor: MonitorRow
) -> datetime:
    """Return when inputs were last due: between the runs of a cadence they may rest."""
    last = max(row.last_at for row in served)
    if monitor.cadence_hours is None:
        return now
    next_run = last + timedelta(hours=monitor.cadence_hours + monitor.grace_hours)
    if now > next_run:
        return now
    return min(last, now)


def _feed(
    name: str,
    sla_hours: float,
    readings: Mapping[str, tuple[datetime, str]],
    at: datetime,
    declared_by: str,
) -> Feed:
    sla = sla_hours / HOURS_A_DAY
    if name not in readings:
        return Feed(name, None, sla, declared_by)
    last_at, event = readings[name]
    return Feed(name, business_days(last_at, at), sla, event)


# --- feature stability -------------------------------------------------------------


def _drifts(newest: Sequence[NewestRow]) -> list[FeatureDrift]:
    return [
        FeatureDrift(d.feature, d.psi, d.lo, d.hi, d.importance, row.event)
        for row in newest
        for d in row.drifts
        # limits that do not rise were configured so, and can score nothing
        if 0 < d.lo < d.hi
    ]


# --- outcome variance --------------------------------------------------------------


def _outcomes(
    read: Reader,
    model: str,
    now: datetime,
    newest: Sequence[NewestRow],
    rules: HealthRules,
) -> Iterator[Outcome]:
    slos = {row.metric: row for _, row in read.scan(inventory.slos, f"{model}/")}
    for row in newest:
        if row.measured is not None:
            window = _window(read, row.measured)
            yield from _judged(window, window.performance, slos, rules)
        waiting = _waiting(read, row)
        late = [w for w in waiting if _overdue(w, now, rules)]
        if late:
            yield _unmeasured(late[-1], overdue=True)
        elif row.measured is None and waiting:
            yield from _expected(waiting[-1], slos, rules)


def _waiting(read: Reader, newest: NewestRow) -> list[WindowRow]:
    """Return the version's windows since the one last measured, oldest first."""
    after = None
    if newest.measured_end is not None:
        after = f"{newest.model}/{sortable(newest.measured_end)}/\U0010ffff"
    return [
        row
        for _, row in read.scan(monitoring.windows, f"{newest.model}/", after=after)
        if (row.environment, row.version) == (newest.environment, newest.version)
        and row.rows
    ]


def _overdue(window: WindowRow, now: datetime, rules: HealthRules) -> bool:
    if window.matures_at is None:
        return False
    grace = timedelta(hours=rules.outcomes_grace_hours)
    come = window.outcomes + window.never
    return (
        window.matures_at + grace < now
        and come < rules.outcomes_due_share * window.rows
    )


def _unmeasured(window: WindowRow, *, overdue: bool) -> Outcome:
    scale = Scale(0.0, 1.0, 2.0)  # without a value no scale is read
    return Outcome(
        "performance",
        None,
        None,
        scale,
        window.event,
        immature=not overdue,
        overdue=overdue,
    )


def _expected(
    window: WindowRow, slos: Mapping[str, SloRow], rules: HealthRules
) -> Iterator[Outcome]:
    """Yield what is estimated of immature outcomes, or that nothing is."""
    found = list(_judged(window, window.estimated, slos, rules))
    yield from (outcome._replace(immature=True) for outcome in found)
    if not found:
        yield _unmeasured(window, overdue=False)


def _judged(
    window: WindowRow,
    metrics: Sequence[Metric],
    slos: Mapping[str, SloRow],
    rules: HealthRules,
) -> Iterator[Outcome]:
    for found in metrics:
        scale = _scale(found, slos, rules)
        if scale is None:
            continue
        metric = _unsigned(found) if found.metric == "calibration_gap" else found
        bound = metric.lower if scale.hard > scale.nominal else metric.upper
        yield Outcome(metric.metric, metric.value, bound, scale, window.event)


def _scale(
    found: Metric, slos: Mapping[str, SloRow], rules: HealthRules
) -> Scale | None:
    slo, band = slos.get(found.metric), rules.bands.get(found.metric)
    if slo is not None and _monotone(slo):
        return Scale(slo.nominal, slo.warning, slo.hard)
    if band is None:
        return None
    if found.metric == "calibration_gap":
        return band.scale(0.0)
    if found.baseline is None or (band.relative and not found.baseline):
        return None
    return band.scale(found.baseline)


def _monotone(slo: SloRow) -> bool:
    rises = slo.nominal < slo.warning < slo.hard
    return rises or slo.nominal > slo.warning > slo.hard


def _unsigned(gap: Metric) -> Metric:
    """A gap is as bad above as below: its distance from 0, as far as bounds show."""
    if gap.lower is None or gap.upper is None:
        return gap
    nearest = max(0.0, gap.lower, -gap.upper)
    return gap._replace(value=abs(gap.value), lower=nearest)


# --- explainability ----------------------------------------------------------------


def _explanations(
    read: Reader, model: str, windows: Sequence[WindowRow]
) -> Explanations | None:
    """Count the newest windows together; None while nobody owes explanations."""
    told = [w for w in windows if w.rows]
    if not told or not _owed(read, model, told):
        return None
    worst = max(told, key=lambda w: (w.reason_codes_missing, w.end, w.version))
    said = any(w.explanation_coverage is not None for w in told)
    rows = sum(w.rows for w in told)
    owing = min(rows, sum(w.reason_codes_owed for w in told))
    only_codes = not said and not _promised(read, model)
    return Explanations(
        decisions=rows,
        # where reason codes alone are owed, they are the explanation
        valid=rows if only_codes else min(rows, sum(w.explained for w in told)),
        owing=owing,
        missing=min(owing, sum(w.reason_codes_missing for w in told)),
        evidence=worst.event,
    )


def _owed(read: Reader, model: str, windows: Sequence[WindowRow]) -> bool:
    return (
        any(w.explanation_coverage is not None for w in windows)
        or any(w.reason_codes_owed for w in windows)
        or _promised(read, model)
    )


def _promised(read: Reader, model: str) -> bool:
    slas = read.scan(inventory.slas, f"{model}/")
    return any(row.kind == EXPLAINABILITY for _, row in slas)


# --- approval ----------------------------------------------------------------------


def unapproved(
    read: Reader,
    model: str,
    now: datetime,
    live: Sequence[DeploymentRow],
    served: Sequence[ServingRow],
) -> str | None:
    """Return the event that shows that a version serves which nobody approved."""
    for row in live:
        verdict = read.get(inventory.verdicts, f"{model}/{row.verdict}")
        if verdict is None or verdict.verdict != "allow":
            return row.event
        if verdict.revoked_event is not None:
            return verdict.revoked_event
        if verdict.digest != row.digest:
            return row.event
        if verdict.lapsed(row.since, now):
            return verdict.event
    return _strangers(live, served)


def _strangers(
    live: Sequence[DeploymentRow], served: Sequence[ServingRow]
) -> str | None:
    """Return the latest batch of an environment, if nobody deployed what decided it."""
    places = {(row.environment, row.version) for row in live}
    latest: dict[str, ServingRow] = {}
    for row in served:
        known = latest.get(row.environment)
        if known is None or row.last_at > known.last_at:
            latest[row.environment] = row
    for row in latest.values():
        if not row.deployed and (row.environment, row.version) not in places:
            return row.event
    return None

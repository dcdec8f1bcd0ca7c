"""Windows to the false-alarm detectors, and their alarms to alerts.

Each answer rests on monitoring's views as of the very window it answers, and where a
detector stands on its own stream: windows may close in quick succession, or while no
process reacts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from modelkeep.events.alarm_watch import (
    GroupTest,
    WatchAlarm,
    WatchStep,
    WatchStepped,
)
from modelkeep.events.false_alarms import WatchKind
from modelkeep.events.monitoring import AlertKind, WindowClosed, WindowRestated
from modelkeep.events.types import RiskVector, Severity
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.stats.profile import Baseline
from modelkeep.stats.seasons import Season
from modelkeep.views import Fact, Reader
from modelkeep_services.monitoring import known, views
from modelkeep_services.monitoring.alarm_eyes import (
    NO_SEASONS,
    WATCH,
    Asked,
    asked_of,
    cell_of,
    error_of_groups,
    eyes,
)
from modelkeep_services.monitoring.alarm_rules import fits
from modelkeep_services.monitoring.alarm_tests import group_tests, told_once, words
from modelkeep_services.monitoring.alarm_watch import Eye, StepWatch
from modelkeep_services.monitoring.commands import RaiseAlert
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.fairness_rules import about
from modelkeep_services.monitoring.rules import MATERIAL
from modelkeep_services.monitoring.seasonal import key_of
from modelkeep_services.monitoring.windows import parsed

watching = Reactor("monitoring.alarm-watch")


class Manner(NamedTuple):
    """How an alarm of a detector is told."""

    kind: AlertKind
    vector: RiskVector
    metric: str
    severity: Severity


MANNERS: Final[dict[WatchKind, Manner]] = {
    "features": Manner("feature_drift", "data_drift", "feature_evidence", "medium"),
    "prediction": Manner(
        "prediction_drift", "data_drift", "prediction_evidence", "high"
    ),
    "missing": Manner("missing_values", "data_drift", "missing_evidence", "medium"),
    "performance": Manner(
        "performance", "concept_shift", "performance_evidence", "high"
    ),
}


@watching.on(WindowClosed)
def window_closed(event: WindowClosed, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _stepping(event, event.profile, fact, read)


@watching.on(WindowRestated)
def window_restated(
    event: WindowRestated, fact: Fact, read: Reader
) -> Iterator[Reaction]:
    # Its rows were counted when it closed; what matures later is its outcomes.
    return _stepping(event, None, fact, read)


def _stepping(
    event: WindowClosed | WindowRestated,
    profile: str | None,
    fact: Fact,
    read: Reader,
) -> Iterator[Reaction]:
    monitor = known.monitor(read, event.model)
    budget, cadence = monitor.false_alarms, monitor.cadence_hours
    if budget is None or cadence is None:
        return
    reference = known.reference(read, event.model, event.version)
    if reference is None:
        return
    if not fits(len(reference.baseline.layout.features), budget):
        return
    season, seasons = _seasons(event, cadence, read)
    groups = bool(monitor.fairness)
    asked = asked_of(
        budget, cadence, _sharing(event, read), reference, seasons, groups=groups
    )
    seen: tuple[Eye, ...] = ()
    # not where it was counted beside another baseline, in other bins, nor in several
    # seasons
    if event.figures.baseline == reference.name and season is not None:
        seen = eyes(asked, profile, event.figures, season)
    tests = tuple(_tests(event, asked, read)) if groups else ()
    if not (seen or tests):
        return
    yield Reaction(
        stream_name("watch", fact.tenant, event.model),
        WATCH,
        StepWatch(
            model=event.model,
            version=event.version,
            environment=event.environment,
            window=event.window,
            start=event.start,
            end=event.end,
            cadence_hours=cadence,
            false_alarms=budget.false_alarms,
            period=budget.period,
            eyes=seen,
            tests=tests,
        ),
    )


def _tests(
    event: WindowClosed | WindowRestated, asked: Asked, read: Reader
) -> Iterator[GroupTest]:
    alpha, alike = error_of_groups(asked), asked.given.alike
    limits = known.limits(read, event.model)
    for test in group_tests(event.figures, limits, alpha, alike):
        if isinstance(event, WindowClosed) or test.metric == "equal_opportunity":
            yield test


def _seasons(
    event: WindowClosed | WindowRestated, cadence_hours: float, read: Reader
) -> tuple[str | None, Mapping[str, str]]:
    """Return a window's season and the baseline's; longer windows have none."""
    row = read.get(views.baselines, f"{event.model}/{event.version}")
    if row is None or not row.event.seasons or cadence_hours > 1:
        return "", NO_SEASONS
    season = Season(row.event.season.replace("_", "-"))
    return key_of(season, event.start, event.end), row.event.seasons


def _sharing(event: WindowClosed | WindowRestated, read: Reader) -> int:
    """Return how many versions and environments have traffic, this one included."""
    prefix = f"{event.model}/"
    live = {
        (key.removeprefix(prefix), environment)
        for key, row in read.scan(views.versions, prefix)
        for environment, share in row.shares.items()
        if share > 0
    }
    return len(live | {(event.version, event.environment)})


# --- alarms ------------------------------------------------------------------------


@watching.on(WatchStepped)
def alarmed(event: WatchStepped, fact: Fact, read: Reader) -> Iterator[Reaction]:
    for step in event.steps:
        if step.alarm is not None:
            yield Reaction(
                stream_name("monitor", fact.tenant, event.model),
                MONITOR,
                _raising(event, step, step.alarm, fact, read),
                part=f"/{step.monitor}",
            )
    for test in told_once(event.tests):
        yield Reaction(
            stream_name("monitor", fact.tenant, event.model),
            MONITOR,
            _of_group(event, test, fact, read),
            part=f"/{test.metric}/{test.column}={test.group}",
        )


def _of_group(
    event: WatchStepped, test: GroupTest, fact: Fact, read: Reader
) -> RaiseAlert:
    return RaiseAlert(
        model=event.model,
        version=event.version,
        environment=event.environment,
        kind="fairness",
        vector="fairness",
        severity="high",
        metric=test.metric,
        feature=about(test.column, test.group),
        value=test.value,
        threshold=test.limit,
        n=test.n,
        window=event.window,
        start=event.start,
        end=event.end,
        owner=known.owner(read, event.model),
        cause=(
            f"{words(test)}. Were the limit kept, chance would say so in at most one "
            f"window of {1 / test.error:,.0f}: such alarms are among the "
            f"{event.false_alarms:g} allowed a {event.period}"
        ),
        sources=(str(fact.id),),
        occasion=event.window,
    )


def _raising(
    event: WatchStepped, step: WatchStep, alarm: WatchAlarm, fact: Fact, read: Reader
) -> RaiseAlert:
    manner = MANNERS[step.monitor]
    key = f"{event.model}/{event.version}/{step.terms.baseline}"
    row = read.get(views.baselines, key)
    baseline = None if row is None else parsed(row.event.profile)
    of_inputs = step.monitor in {"features", "missing"}
    return RaiseAlert(
        model=event.model,
        version=event.version,
        environment=event.environment,
        kind=manner.kind,
        vector=manner.vector,
        severity=_severity(step, alarm, baseline),
        metric=manner.metric,
        feature=alarm.group if of_inputs else None,
        value=step.value,
        threshold=round(step.threshold, 4),
        baseline=alarm.edge,
        n=step.n,
        window=event.window,
        start=event.start,
        end=event.end,
        owner=known.owner(read, event.model),
        cause=_cause(event, step, alarm, baseline),
        sources=(str(fact.id),),
        thresholds=step.terms.budget,
        occasion=event.window,
    )


def _severity(
    step: WatchStep, alarm: WatchAlarm, baseline: Baseline | None
) -> Severity:
    if step.monitor != "features" or baseline is None:
        return MANNERS[step.monitor].severity
    names = [feature.name for feature in baseline.layout.features]
    weight = dict(zip(names, baseline.importance, strict=True))[alarm.group]
    return "high" if weight * len(names) >= MATERIAL else "medium"


def _cause(
    event: WatchStepped, step: WatchStep, alarm: WatchAlarm, baseline: Baseline | None
) -> str:
    most = "at most" if alarm.side == "above" else "at least"
    return (
        f"{_seen(step, alarm, baseline)}, where the baseline allows {most} "
        f"{alarm.edge:.2%}; so since {alarm.since:%Y-%m-%d %H:%M} UTC "
        f"({alarm.windows} windows). Evidence {step.value:.3g}, limit "
        f"{step.threshold:.3g}: were nothing wrong, it would be one of "
        f"{event.false_alarms:g} false alarms allowed a {event.period}, "
        f"{step.terms.false_alarms:.3g} of them for {step.monitor}"
    )


def _seen(step: WatchStep, alarm: WatchAlarm, baseline: Baseline | None) -> str:
    if step.monitor == "performance":
        return f"the mean {alarm.group} loss of {step.n} outcomes is {alarm.share:.2%}"
    if step.monitor == "missing":
        return f"{alarm.group} is missing in {alarm.share:.2%} of rows"
    where = f"in cell {alarm.cell}"
    if baseline is not None:
        where = cell_of(baseline.layout, alarm.group, alarm.cell)
    return f"{alarm.share:.2%} of rows have {alarm.group} {where}"


REACTORS: Final = (watching,)

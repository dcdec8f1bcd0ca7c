"""The KPIs, each with the events it counts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from modelkeep.views import Reader
from modelkeep_services.insight.documents import (
    KpiRules,
    health_rules,
    kpi_rules,
)
from modelkeep_services.insight.false_alarms import spendings
from modelkeep_services.insight.health import live_deployments
from modelkeep_services.insight.scorecard import unique
from modelkeep_services.insight.views import (
    attention,
    inventory,
    lineage,
    monitoring,
    policy,
)
from modelkeep_services.insight.views.inventory import (
    DeploymentRow,
    ModelRow,
    VersionRow,
)
from modelkeep_services.insight.views.monitoring import AlertRow

HOUR: Final = timedelta(hours=1)
CITED: Final = 1_000


@dataclass(frozen=True)
class Kpi:
    """`value` is a mean of `denominator` spans in hours, or numerator / denominator."""

    kpi: str
    title: str
    group: str
    value: float | None
    unit: str
    numerator: int
    denominator: int
    evidence: tuple[str, ...]
    counted: int
    rule: str
    assumed: int = 0
    """Of `denominator`, how many rest on an assumption that `rule` names."""


class Onset(NamedTuple):
    """Since when a drift was so. Established by an event, or assumed without one."""

    at: datetime
    event: str | None


class Live(NamedTuple):
    """A model that serves, with what serves."""

    model: ModelRow
    deployments: list[DeploymentRow]


def kpis(read: Reader, now: datetime, since: datetime | None = None) -> list[Kpi]:
    """Return all of them; `since` bounds what happened, not what is so now."""
    rules = kpi_rules().says
    known = [row for _, row in read.scan(monitoring.alerts)]
    # what happened after the moment asked for is not known there; this bounds the past
    alerts = [row for row in known if since is None or row.raised_at >= since]
    live = _live(read)
    return [
        _detection(read, alerts, rules),
        _complete(read, live, rules),
        _remediation(read, alerts, since),
        _governed(read, live, now, rules),
        *_precision(alerts),
        *_false_alarms(read, known, now),
    ]


def _live(read: Reader) -> list[Live]:
    rules = health_rules().says
    found = [
        Live(row, live_deployments(read, row.model, rules))
        for _, row in read.scan(inventory.models)
        if row.lifecycle != "retired"
    ]
    return [one for one in found if one.deployments]


def _hours(
    kpi: str,
    title: str,
    rule: str,
    spans: Sequence[timedelta],
    events: Sequence[str],
    *,
    assumed: int = 0,
) -> Kpi:
    mean = math.fsum(span / HOUR for span in spans) / len(spans) if spans else None
    cited = unique(events)
    return Kpi(
        kpi,
        title,
        "",
        None if mean is None else round(mean, 4),
        "hours",
        len(spans),
        len(spans),
        cited[:CITED],
        len(cited),
        rule,
        assumed,
    )


def _share(
    kpi: str,
    title: str,
    rule: str,
    counts: tuple[int, int],
    events: Sequence[str],
    *,
    group: str = "",
) -> Kpi:
    good, of = counts
    cited = unique(events)
    return Kpi(
        kpi,
        title,
        group,
        round(good / of, 4) if of else None,
        "share",
        good,
        of,
        cited[:CITED],
        len(cited),
        rule,
    )


def _detection(read: Reader, alerts: Sequence[AlertRow], rules: KpiRules) -> Kpi:
    """From the onset of a drift to its alert."""
    told = [
        (row, onset)
        for row in alerts
        if row.kind in rules.drift_kinds and row.true_alarm is not False
        if (onset := _onset(read, row)) is not None
    ]
    assumed = sum(1 for _, onset in told if onset.event is None)
    cited = [_ids(row.event, onset.event, *row.sources[:1]) for row, onset in told]
    return _hours(
        "time_to_detection",
        "Time to detection of drift",
        "mean hours from the onset of a drift to its alert; the onset is what a person "
        "or a restatement established, of the alert or of its incident; where nobody "
        "has, the start of the first window that shows it is assumed; false alarms "
        "excluded",
        [row.raised_at - onset.at for row, onset in told],
        [event for events in cited for event in events],
        assumed=assumed,
    )


def _onset(read: Reader, row: AlertRow) -> Onset | None:
    """The alert's own, or its incident's, or else its window's start."""
    key = f"{row.model}/{row.alert}"
    found = read.get(attention.onsets, key)
    if found is None:
        groups = read.scan(attention.grouped, f"{key}/", limit=1)
        found = read.get(attention.onsets, groups[0][1].incident) if groups else None
    if found is not None and found.onset <= row.raised_at:
        return Onset(found.onset, found.event)
    return None if row.start is None else Onset(row.start, None)


def _ids(*events: str | None) -> tuple[str, ...]:
    return tuple(event for event in events if event is not None)


def _complete(read: Reader, live: Sequence[Live], rules: KpiRules) -> Kpi:
    events: list[str] = []
    good = 0
    for one in live:
        found = [_papers(read, row, rules) for row in one.deployments]
        if all(complete for complete, _ in found):
            good += 1
        events += [event for _, cited in found for event in cited]
    return _share(
        "complete_lineage_and_card",
        "Models with complete lineage and a card",
        "of the models that serve: every live version has a model card and all of the "
        "lineage it owes",
        (good, len(live)),
        events,
    )


def _papers(
    read: Reader, row: DeploymentRow, rules: KpiRules
) -> tuple[bool, list[str]]:
    version: VersionRow | None = read.get(
        inventory.versions, f"{row.model}/{row.version}"
    )
    traced = read.get(lineage.completeness, f"{row.model}/{row.version}/{row.digest}")
    card = None if version is None else version.card_event
    complete = (
        card is not None and traced is not None and traced.share >= rules.lineage_share
    )
    cited = [row.event, *([card] if card else []), *([traced.event] if traced else [])]
    return complete, cited


def _remediation(
    read: Reader, alerts: Sequence[AlertRow], since: datetime | None
) -> Kpi:
    spans: list[timedelta] = []
    events: list[str] = []
    for row in alerts:
        if row.resolved_at is not None and row.true_alarm:
            spans.append(row.resolved_at - row.raised_at)
            events += [row.event, row.resolved_event or row.event]
    for _, finding in read.scan(inventory.findings):
        if finding.closed_at is None or (since and finding.raised_at < since):
            continue
        spans.append(finding.closed_at - finding.raised_at)
        events += [finding.event, finding.closed_event or finding.event]
    return _hours(
        "time_to_remediation",
        "Mean time to remediation",
        "mean hours from a true alarm or a finding to its resolution or closure",
        spans,
        events,
    )


def _governed(
    read: Reader, live: Sequence[Live], now: datetime, rules: KpiRules
) -> Kpi:
    risky = [one for one in live if one.model.tier in rules.high_risk_tiers]
    events: list[str] = []
    good = 0
    for one in risky:
        checks = [_held(read, one.model.model, role) for role in rules.governing_roles]
        checks += [_approved_by_people(read, row, now) for row in one.deployments]
        if all(found is not None for found in checks):
            good += 1
        events += [one.model.classified_event or one.model.event]
        events += [event for event in checks if event is not None]
    return _share(
        "human_governance",
        "High-risk models under human governance",
        "of the models in tiers 1 and 2 that serve: an owner and a validator are named "
        "and people approved every live version",
        (good, len(risky)),
        events,
    )


def _held(read: Reader, model: str, role: str) -> str | None:
    rows = read.scan(inventory.roles, f"{model}/{role}/", limit=1)
    return rows[0][1].event if rows else None


def _approved_by_people(read: Reader, row: DeploymentRow, now: datetime) -> str | None:
    verdict = read.get(inventory.verdicts, f"{row.model}/{row.verdict}")
    if verdict is None or verdict.revoked_event is not None:
        return None
    if verdict.lapsed(row.since, now):
        return None
    for _, request in read.scan(policy.requests, f"{row.model}/"):
        # what the inventory received names the event that settled the request
        if verdict.source in {request.settled_event, request.event}:
            return request.approvals[-1] if request.approvals else None
    return None


def _precision(alerts: Sequence[AlertRow]) -> Iterator[Kpi]:
    by_rule: dict[str, list[AlertRow]] = defaultdict(list)
    for row in alerts:
        if row.resolved_at is not None:
            by_rule[row.kind].append(row)
    for kind, rows in sorted(by_rule.items()):
        yield _share(
            "alert_precision",
            "Alert precision",
            "of the resolved alerts of this rule: true alarms",
            (sum(1 for row in rows if row.true_alarm), len(rows)),
            [row.resolved_event or row.event for row in rows],
            group=kind,
        )


def _false_alarms(
    read: Reader, known: Sequence[AlertRow], now: datetime
) -> Iterator[Kpi]:
    """A promise is by quarter, whatever stretch of time is asked for."""
    found = spendings(read, known, now)
    if found:
        yield _share(
            "within_false_alarms",
            "Models within their false alarms",
            "of the models that state how many false alarms a quarter may have: those "
            "with no more alerts of their detectors called false in this one",
            (sum(1 for one in found if one.within), len(found)),
            [
                event
                for one in found
                for event in (
                    one.row.event,
                    *(alert.resolved_event or alert.event for alert in one.false),
                )
            ],
        )

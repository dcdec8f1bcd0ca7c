"""Alerts and incidents: what was raised, who owns it, what it costs, how it ended."""

from __future__ import annotations

from markupsafe import Markup

from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.report.page import (
    Citations,
    Facts,
    Figure,
    Section,
    Table,
)
from modelkeep_services.insight.report.plots import Bar, timeline
from modelkeep_services.insight.report.words import (
    BARS_MOST,
    SEVERITIES,
    SMALL_MOST,
    day_of,
    is_open,
    kind_of,
    moment_of,
    money_of,
    severity_of,
    span_of,
)


def alerts_section(facts: Facts, cited: Citations) -> Section:
    alerts = sorted(facts.alerts, key=lambda one: moment_of(one.raised_at))
    graver = sorted(
        alerts,
        key=lambda one: (not is_open(one), -one.severity, -one.raised_at.seconds),
    )
    shown = sorted(graver[:BARS_MOST], key=lambda one: moment_of(one.raised_at))
    span = span_of(facts)
    bars = [
        Bar(
            row,
            moment_of(one.raised_at),
            moment_of(one.resolved_at) if not is_open(one) else facts.end,
            f"{kind_of(one)} {one.feature}: {one.cause}",
            SEVERITIES.get(one.severity, "c1"),
            f"{kind_of(one)} {one.feature}".strip(),
            is_open(one),
        )
        for row, one in enumerate(shown)
    ]
    rows = [
        [
            f"{moment_of(one.raised_at):%Y-%m-%d %H:%M}",
            severity_of(one.severity),
            Markup("<strong>{} {}</strong><br>{}").format(
                kind_of(one), one.feature, one.cause
            ),
            one.owner or "nobody",
            _cost(one),
            _ending(one),
            cited.refs([one.source, *one.sources[:1]]),
        ]
        for one in alerts
    ]
    still = sum(is_open(one) for one in alerts)
    more = len(alerts) - len(shown)
    figure = Figure(
        "Alerts, from raised to resolved",
        "Red is high or critical, amber medium, blue low. An arrow says that it is "
        "open still."
        + (
            f" {len(shown)} of {len(alerts)}: the open, the gravest, then the newest."
            if more
            else ""
        ),
        timeline(
            span,
            bars,
            [],
            f"{len(alerts)} alerts over time, of which {still} are open.",
        ),
    )
    return Section(
        "alerts",
        "Alerts",
        "Each with its owner, what an hour of it costs, and how it ended. Money is an "
        "assumption until recorded KPIs confirm it.",
        [figure] if alerts else [],
        [
            Table(
                (
                    "Raised",
                    "Severity",
                    "What and why",
                    "Owner",
                    "Money an hour",
                    "How it ended",
                    "Events",
                ),
                rows,
                frozenset({4}),
                "Every alert",
                open=len(rows) <= SMALL_MOST,
            )
        ],
        nothing="" if alerts else "No alert was raised.",
    )


def _cost(alert: monitoring_pb2.Alert) -> str:
    if not alert.HasField("money_per_hour"):
        return "not declared"
    basis = monitoring_pb2.MoneyBasis.Name(alert.money_basis).rpartition("_")[2].lower()
    return f"{money_of(alert.money_per_hour)} ({basis})"


def _ending(alert: monitoring_pb2.Alert) -> str:
    if not is_open(alert):
        word = "a true alarm" if alert.true_alarm else "a false alarm"
        return (
            f"resolved {day_of(moment_of(alert.resolved_at))} by "
            f"{alert.resolved_by.subject or 'the ledger'}, {word}: {alert.reason}"
        )
    if alert.status == monitoring_pb2.ALERT_STATUS_ACKNOWLEDGED:
        by = alert.acknowledged_by.subject
        word = f"acknowledged {day_of(moment_of(alert.acknowledged_at))} by {by}"
    else:
        word = "open, nobody has acknowledged it"
    late = ", overdue" if alert.overdue else f", due {day_of(moment_of(alert.due_at))}"
    return word + late


def incidents_section(facts: Facts, cited: Citations) -> Section:
    ordered = sorted(facts.incidents, key=lambda one: moment_of(one.opened_at))
    over = monitoring_pb2.ALERT_STATUS_RESOLVED
    bars = [
        Bar(
            row,
            moment_of(one.started_at),
            moment_of(one.resolved_at) if one.status == over else facts.end,
            f"{_cause(one)}, {one.alerts} alerts",
            SEVERITIES.get(one.severity, "c1"),
            _cause(one),
            one.status != over,
        )
        for row, one in enumerate(ordered[-BARS_MOST:])
    ]
    rows = [
        [
            f"{moment_of(one.started_at):%Y-%m-%d}",
            f"{moment_of(one.opened_at):%Y-%m-%d %H:%M}",
            severity_of(one.severity),
            _cause(one),
            f"{one.open_alerts} of {one.alerts}",
            ", ".join(one.models),
            one.owner or "nobody",
            " and ".join(money_of(money) for money in one.money_per_hour)
            or "not declared",
            f"resolved {day_of(moment_of(one.resolved_at))}: {one.reason}"
            if one.status == over
            else "open",
            cited.refs([one.source, *([one.onset.source] if one.onset.source else [])]),
        ]
        for one in ordered
    ]
    return Section(
        "incidents",
        "Incidents",
        "Alerts of one cause along lineage are one incident. A bar begins where things "
        "went wrong, as established later or as the first window shows it.",
        [
            Figure(
                "Incidents, from their start to their end",
                "Coloured by the gravest alert.",
                timeline(
                    span_of(facts), bars, [], f"{len(ordered)} incidents over time."
                ),
            )
        ]
        if ordered
        else [],
        [
            Table(
                (
                    "Began",
                    "Opened",
                    "Severity",
                    "Cause",
                    "Alerts open",
                    "Models",
                    "Owner",
                    "Money an hour",
                    "How it ended",
                    "Events",
                ),
                rows,
                frozenset({4, 7}),
                "Every incident",
                open=len(rows) <= SMALL_MOST,
            )
        ],
        nothing="" if ordered else "There was no incident.",
    )


def _cause(incident: monitoring_pb2.Incident) -> str:
    cause = incident.cause
    kind = monitoring_pb2.CauseKind.Name(cause.kind).removeprefix("CAUSE_KIND_")
    word = kind.lower().replace("_", " ")
    own = f" ({cause.family})" if cause.family else ""
    return f"{word} {cause.name or cause.node}{own}".strip()

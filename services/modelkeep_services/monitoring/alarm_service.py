"""The part of monitoring's table that is about false alarms: promised, spent, told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.events.false_alarms import METRICS, quarter_of
from modelkeep.events.monitoring import MonitorConfigured
from modelkeep.identity import ROLES
from modelkeep.service import Asked, read
from modelkeep.stats.alarm_budget import DETECTORS, Monitor
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.monitoring import alarm_views, findings_views, views
from modelkeep_services.monitoring.alarm_eyes import allotted
from modelkeep_services.monitoring.alarm_views import BILLION
from modelkeep_services.monitoring.asking import require_model
from modelkeep_services.monitoring.rounding import SHOWN


def tell_watches(
    answer: pb.GetMonitorResponse, configured: MonitorConfigured, reader: Reader
) -> None:
    """Say what a budget asks of each detector, and where those that began stand."""
    budget, cadence = configured.false_alarms, configured.cadence_hours
    if budget is None or cadence is None:
        return
    monitors = list(Monitor) if configured.fairness else list(DETECTORS)
    for one in allotted(budget, cadence, 1, monitors):
        said = {
            "monitor": one.monitor.value,
            "false_alarms": round(one.false_alarms, SHOWN),
            "windows": one.windows,
            "threshold": round(one.threshold, SHOWN),
        }
        fill(answer.allotments.add(), said)
    for _, row in reader.scan(alarm_views.watches, f"{configured.model}/"):
        fill(fill(answer.watches.add(), row.terms), _standing(row))


def _standing(row: alarm_views.WatchRow) -> dict[str, object]:
    return {
        "version": row.version,
        "environment": row.environment,
        "monitor": row.monitor,
        "threshold": row.threshold,
        "value": row.value,
        "counted": row.windows,
        "window": row.window,
        "begun": row.begun,
        "because": row.because,
        "alarms": row.alarms,
        "alarm": row.alarm,
        "alarm_window": row.alarm_window,
        "source": row.source,
    }


def get_false_alarms(
    request: pb.GetFalseAlarmsRequest, asked: Asked
) -> pb.GetFalseAlarmsResponse:
    prefix = f"{require_model(asked.read, request.model)}/" if request.model else ""
    told = _told(prefix, asked.read)
    return pb.GetFalseAlarmsResponse(
        quarters=[
            _quarter(row, told.get((row.model, row.quarter), Counter()))
            for _, row in asked.read.scan(alarm_views.watch_quarters, prefix)
        ],
        reviews=[
            _review(row) for _, row in asked.read.scan(findings_views.reviews, prefix)
        ],
    )


def _told(prefix: str, reader: Reader) -> dict[tuple[str, str], Counter[bool | None]]:
    """Count alerts of the detectors by what people said of them."""
    found: dict[tuple[str, str], Counter[bool | None]] = {}
    for row in _alerts(prefix, reader):
        key = row.model, quarter_of(row.start or row.raised_at)
        found.setdefault(key, Counter())[row.true_alarm] += 1
    return found


def _alerts(prefix: str, reader: Reader) -> Iterator[views.AlertRow]:
    for _, row in reader.scan(views.alerts, prefix):
        if row.metric in METRICS:
            yield row


def _quarter(
    row: alarm_views.QuarterRow, said: Counter[bool | None]
) -> pb.FalseAlarmQuarter:
    return fill(
        pb.FalseAlarmQuarter(),
        {
            "model": row.model,
            "quarter": row.quarter,
            "declared": row.declared,
            "expected": round(row.expected / BILLION, SHOWN),
            "steps": row.steps,
            "alarms": row.alarms,
            "raised": said.total(),
            "true_alarms": said[True],
            "false_alarms": said[False],
            "unresolved": said[None],
        },
    )


def _review(row: findings_views.ReviewRow) -> pb.FindingsReview:
    event = row.event
    found = [one for one in event.findings if one.discovery]
    answer = fill(
        pb.FindingsReview(),
        {
            "model": event.model,
            "version": event.version,
            "environment": event.environment,
            "start": event.start,
            "end": event.end,
            "rate": event.rate,
            "windows": event.windows,
            "baseline": event.baseline,
            "tested": len(event.findings),
            "reviewed_at": row.reviewed_at,
            "source": row.source,
        },
    )
    for one in sorted(found, key=lambda one: (-one.log_e, one.number)):
        fill(answer.discoveries.add(), one)
    return answer


READS: Final = (read("GetFalseAlarms", get_false_alarms, ROLES),)

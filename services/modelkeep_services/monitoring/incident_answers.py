"""An incident as a person sees it: its stream's word, joined with its alerts' and with
what lies downstream, at one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from modelkeep.events.types import Money
from modelkeep.views import Reader
from modelkeep_services.monitoring import attention_views as attention
from modelkeep_services.monitoring import views
from modelkeep_services.monitoring.attention_reactions import merged_into
from modelkeep_services.monitoring.causes import downstream, kind_of

SEVERITIES: Final = ("low", "medium", "high", "critical")
CITED: Final = 1_000


class Member(NamedTuple):
    """An alert, and the incident it was grouped in."""

    incident: str
    alert: views.AlertRow


@dataclass(frozen=True)
class Told:
    """What follows from the alerts of an incident and of its consequences.

    `started_at` is the established onset, or else where the first window that shows it
    begins.
    """

    severity: str
    vectors: tuple[str, ...]
    owner: str | None
    money_per_hour: tuple[Money, ...]
    money_assumed: bool
    models: tuple[str, ...]
    downstream_models: tuple[str, ...]
    consumers: tuple[str, ...]
    truncated: bool
    alerts: int
    open_alerts: int
    consequences: tuple[str, ...]
    started_at: datetime
    onset: attention.OnsetRow | None
    escalation_step: int


def members_of(incident: str, read: Reader) -> list[Member]:
    """Return its alerts, then those of its consequences."""
    found = []
    for one in (incident, *merged_into(incident, read)):
        for _, row in read.scan(attention.members, f"{one}/"):
            key = f"{row.alert.model}/{row.alert.alert}"
            alert = read.get(views.alerts, key)
            if alert is not None:
                found.append(Member(one, alert))
    return found


def pressing(row: attention.IncidentRow, read: Reader) -> tuple[int, int, str, str]:
    """Sorts the worst first: the open, then the most severe, then the oldest."""
    alerts = [one.alert for one in members_of(row.incident, read)]
    over = int(row.status == "resolved")
    worst = -SEVERITIES.index(_worst(alerts))
    return over, worst, row.opened_at.isoformat(), row.incident


def told(row: attention.IncidentRow, read: Reader) -> Told:
    members = members_of(row.incident, read)
    alerts = [one.alert for one in members]
    still = [alert for alert in alerts if alert.status != "resolved"]
    onset = read.get(attention.onsets, row.incident)
    models, consumers, truncated = _blast(row, read)
    return Told(
        severity=_worst(alerts),
        vectors=tuple(sorted({alert.vector for alert in alerts})),
        owner=row.cause.owner or _owner(alerts),
        money_per_hour=money(still),
        money_assumed=any(a.money_basis == "assumption" for a in still),
        models=tuple(sorted({alert.model for alert in alerts})),
        downstream_models=models,
        consumers=consumers,
        truncated=truncated,
        alerts=len(alerts),
        open_alerts=len(still),
        consequences=tuple(merged_into(row.incident, read)),
        started_at=_started(row, alerts) if onset is None else onset.onset,
        onset=onset,
        escalation_step=max((_step(alert, read) for alert in still), default=0),
    )


def money(alerts: Iterable[views.AlertRow]) -> tuple[Money, ...]:
    """Sum by currency. An SLO's hour is lost once, however many alerts name it: of one
    SLO's alerts the dearest counts.
    """
    dearest: dict[tuple[str, str, str], int] = {}
    for alert in alerts:
        cost = alert.money_per_hour
        if cost is not None:
            slo = (alert.model, alert.slo or alert.alert, cost.currency)
            dearest[slo] = max(dearest.get(slo, cost.minor), cost.minor)
    sums: dict[str, int] = {}
    for (_, _, currency), minor in dearest.items():
        sums[currency] = sums.get(currency, 0) + minor
    return tuple(Money(minor=sums[c], currency=c) for c in sorted(sums))


def _worst(alerts: Sequence[views.AlertRow]) -> str:
    return max((a.severity for a in alerts), key=SEVERITIES.index, default="low")


def _owner(alerts: Sequence[views.AlertRow]) -> str | None:
    """Of the most severe alert; of several, the first by model and alert."""
    owned = [alert for alert in alerts if alert.owner]
    owned.sort(key=lambda a: (-SEVERITIES.index(a.severity), a.model, a.alert))
    return owned[0].owner if owned else None


def _started(row: attention.IncidentRow, alerts: Sequence[views.AlertRow]) -> datetime:
    starts = [alert.start for alert in alerts if alert.start is not None]
    return min(starts, default=row.opened_at)


def _step(alert: views.AlertRow, read: Reader) -> int:
    row = read.get(attention.escalations, f"{alert.model}/{alert.alert}")
    return 0 if row is None else row.step


def _blast(
    row: attention.IncidentRow, read: Reader
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return the models and the consumers downstream of the cause, by name."""
    if row.cause.node is None:
        return (), (), False
    known = attention.Lineage(read)
    found, truncated = downstream([row.cause.node], known.below)
    names: dict[str, set[str]] = {"model_version": set(), "consumer": set()}
    for node in found:
        kind, origin = kind_of(node), known.origin(node)
        if kind in names:
            names[kind].add(node if origin is None else origin.name)
    models = {name.partition("/")[0] for name in names["model_version"]}
    consumers = sorted(names["consumer"])
    cut = truncated or len(models) > CITED or len(consumers) > CITED
    return tuple(sorted(models)[:CITED]), tuple(consumers[:CITED]), cut

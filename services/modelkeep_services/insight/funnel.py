"""The delivery funnel: registered, approved, live; days at each gate; what blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Final, NamedTuple

from modelkeep.views import Reader
from modelkeep_services.insight.documents import health_rules
from modelkeep_services.insight.scorecard import unique
from modelkeep_services.insight.views import inventory, policy
from modelkeep_services.insight.views.inventory import Live, VersionRow
from modelkeep_services.insight.views.policy import RequestRow

DAY: Final = timedelta(days=1)
MOST_BLOCKING: Final = 20
CITED: Final = 100


@dataclass(frozen=True)
class Delivery:
    """One version's way. `blocked_by`: what its latest question failed."""

    model: str
    version: str
    registered_at: datetime
    approved_at: datetime | None
    live_at: datetime | None
    blocked_by: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Gate:
    gate: str
    reached: int
    waiting: int
    median_days: float | None = None
    longest_wait_days: float | None = None


@dataclass(frozen=True)
class Blocking:
    rule: str
    times: int
    text: str
    evidence: tuple[str, ...]


class Funnel(NamedTuple):
    gates: list[Gate]
    blocking: list[Blocking]
    deliveries: list[Delivery]


def funnel(read: Reader, now: datetime, prefix: str = "") -> Funnel:
    """`prefix` is "" for all models, or `model/`."""
    asked: dict[tuple[str, str], list[RequestRow]] = defaultdict(list)
    requests = [row for _, row in read.scan(policy.requests, prefix)]
    for row in requests:
        if row.version is not None:
            asked[row.model, row.version].append(row)
    deliveries = [
        _delivery(row, asked[row.model, row.version])
        for _, row in read.scan(inventory.versions, prefix)
    ]
    return Funnel(_gates(deliveries, now), _blocking(requests), deliveries)


def _delivery(row: VersionRow, requests: Sequence[RequestRow]) -> Delivery:
    allowed = [
        (request.settled_at or request.given_at, request)
        for request in requests
        if request.verdict == "allow" and request.digest in {None, row.digest}
    ]
    first = min(allowed, key=lambda pair: (pair[0], pair[1].request), default=None)
    last = max(requests, key=lambda r: (r.given_at, r.request), default=None)
    live = _live(row)
    waiting = last is not None and live is None
    return Delivery(
        model=row.model,
        version=row.version,
        registered_at=row.registered_at,
        # nothing is live unapproved, whatever the order of two streams looked like
        approved_at=(live and live.at) if first is None else first[0],
        live_at=live and live.at,
        blocked_by=unique([b.rule for b in last.blocks]) if last and waiting else (),
        evidence=unique(
            [
                row.event,
                *(() if first is None else (first[1].settled_event or first[1].event,)),
                *(() if live is None else (live.event,)),
                *(() if last is None else (last.event,)),
            ]
        ),
    )


def _live(row: VersionRow) -> Live | None:
    """Return when somebody was first served by it."""
    ignored = health_rules().says.ignored_environments
    return min(
        (live for place, live in row.live.items() if place not in ignored),
        default=None,
    )


def _gates(deliveries: Sequence[Delivery], now: datetime) -> list[Gate]:
    approved = [d for d in deliveries if d.approved_at is not None]
    live = [d for d in deliveries if d.live_at is not None]
    return [
        Gate(
            "registered",
            len(deliveries),
            len(deliveries) - len(approved),
            _median(
                d.approved_at - d.registered_at
                for d in approved
                if d.approved_at is not None
            ),
            _longest(
                now - d.registered_at for d in deliveries if d.approved_at is None
            ),
        ),
        Gate(
            "approved",
            len(approved),
            len(approved) - len(live),
            _median(
                d.live_at - d.approved_at
                for d in live
                if d.live_at is not None and d.approved_at is not None
            ),
            _longest(
                now - d.approved_at
                for d in approved
                if d.live_at is None and d.approved_at is not None
            ),
        ),
        Gate("live", len(live), 0),
    ]


def _median(spans: Iterable[timedelta]) -> float | None:
    days = [max(0.0, span / DAY) for span in spans]
    return round(median(days), 4) if days else None


def _longest(spans: Iterable[timedelta]) -> float | None:
    days = [max(0.0, span / DAY) for span in spans]
    return round(max(days), 4) if days else None


def _blocking(requests: Sequence[RequestRow]) -> list[Blocking]:
    """Count the rules that forbade, of requests that were not allowed in the end."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for request in requests:
        if request.verdict != "allow":
            for block in dict.fromkeys(request.blocks):
                found[block.rule].append((request.event, block.text))
    ranked = sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        Blocking(
            rule,
            len(times),
            times[-1][1],
            unique([event for event, _ in times])[:CITED],
        )
        for rule, times in ranked[:MOST_BLOCKING]
    ]

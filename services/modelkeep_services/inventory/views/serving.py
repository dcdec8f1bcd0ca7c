"""What serves where, and the verdicts that allow it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from modelkeep.events import inventory as e
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class DeploymentRow:
    """`since` is when its share last changed."""

    model: str
    environment: str
    version: str
    digest: str
    share: float
    deployed_at: datetime
    since: datetime
    verdict_source: str
    event_id: str
    withdrawn: bool = False


deployments = View("deployments", DeploymentRow)
"""By `model/environment/version`."""


@deployments.on(e.Deployed)
def deployed(event: e.Deployed, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    rows.put(
        f"{event.model}/{event.environment}/{event.version}",
        DeploymentRow(
            event.model,
            event.environment,
            event.version,
            event.digest,
            event.share,
            fact.effective_at,
            fact.effective_at,
            event.verdict_source,
            str(fact.id),
        ),
    )


@deployments.on(e.TrafficSet)
def traffic_set(event: e.TrafficSet, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    key = f"{event.model}/{event.environment}/{event.version}"
    row = rows.get(key)
    if row is not None:
        verdict = event.verdict_source or row.verdict_source
        _share(rows, key, fact, replace(row, verdict_source=verdict), event.share)


@deployments.on(e.RolledBack)
def rolled_back(event: e.RolledBack, fact: Fact, rows: Rows[DeploymentRow]) -> None:
    place = f"{event.model}/{event.environment}"
    left = rows.get(f"{place}/{event.from_version}")
    if left is not None:
        gone = replace(left, withdrawn=True)
        _share(rows, f"{place}/{event.from_version}", fact, gone, 0.0)
    again = rows.get(f"{place}/{event.to_version}")
    if again is not None:
        _share(rows, f"{place}/{event.to_version}", fact, again, event.share)


def _share(
    rows: Rows[DeploymentRow], key: str, fact: Fact, row: DeploymentRow, share: float
) -> None:
    since, event_id = fact.effective_at, str(fact.id)
    rows.put(key, replace(row, share=share, since=since, event_id=event_id))


@dataclass(frozen=True)
class VerdictRow:
    """`revoked` says why it allows nothing any more."""

    model: str
    source: str
    request: str
    action: str
    version: str | None
    digest: str | None
    environment: str | None
    verdict: str
    conditions: tuple[str, ...]
    max_traffic_share: float | None
    expires_at: datetime | None
    event_id: str
    revoked: str = ""


verdicts = View("verdicts", VerdictRow)
"""By `model/source`."""


@verdicts.on(e.VerdictReceived)
def received(event: e.VerdictReceived, fact: Fact, rows: Rows[VerdictRow]) -> None:
    row = VerdictRow(**dict(event), event_id=str(fact.id))
    rows.put(f"{event.model}/{event.source}", row)


@verdicts.on(e.VerdictRevoked)
def revoked(event: e.VerdictRevoked, _: Fact, rows: Rows[VerdictRow]) -> None:
    _void(rows, event.model, event.verdicts, event.reason)


@verdicts.on(e.ChangeClassified)
def changed(event: e.ChangeClassified, _: Fact, rows: Rows[VerdictRow]) -> None:
    _void(rows, event.model, event.voids, f"material change {event.change}")


def _void(
    rows: Rows[VerdictRow], model: str, sources: tuple[str, ...], why: str
) -> None:
    for source in sources:
        row = rows.get(f"{model}/{source}")
        if row is not None and not row.revoked:
            rows.put(f"{model}/{source}", replace(row, revoked=why))

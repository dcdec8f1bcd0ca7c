"""SLAs, SLOs and KPIs as last said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelkeep.events import inventory as e
from modelkeep.events.types import Money, Person
from modelkeep.ledger import stamp
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class SlaRow:
    model: str
    sla: str
    kind: str
    terms: e.SlaTerms
    proposed_by: Person
    event_id: str
    accepted_by: Person | None = None
    accepted_at: datetime | None = None


slas = View("slas", SlaRow)
"""By `model/sla`."""


@slas.on(e.SlaProposed)
def proposed(event: e.SlaProposed, fact: Fact, rows: Rows[SlaRow]) -> None:
    row = SlaRow(**dict(event), event_id=str(fact.id))
    rows.put(f"{event.model}/{event.sla}", row)


@slas.on(e.SlaAccepted)
def accepted(event: e.SlaAccepted, fact: Fact, rows: Rows[SlaRow]) -> None:
    row = SlaRow(**dict(event), accepted_at=fact.effective_at, event_id=str(fact.id))
    rows.put(f"{event.model}/{event.sla}", row)


@dataclass(frozen=True)
class SloRow:
    model: str
    slo: str
    metric: str
    nominal: float
    warning: float
    hard: float
    direction: str
    money_per_hour: Money | None
    customers_per_hour: int | None
    kpi: str | None
    play: str | None
    critical_flow: str | None
    event_id: str


slos = View("slos", SloRow)
"""By `model/slo`."""


@slos.on(e.SloDefined)
def defined(event: e.SloDefined, fact: Fact, rows: Rows[SloRow]) -> None:
    row = SloRow(**dict(event), event_id=str(fact.id))
    rows.put(f"{event.model}/{event.slo}", row)


@dataclass(frozen=True)
class KpiRow:
    model: str
    kpi: str
    value: float
    unit: str | None
    period_start: datetime
    period_end: datetime
    event_id: str


kpis = View("kpis", KpiRow)
"""By `model/kpi/period start/period end`."""


@kpis.on(e.KpiRecorded)
def recorded(event: e.KpiRecorded, fact: Fact, rows: Rows[KpiRow]) -> None:
    period = f"{stamp(event.period_start)}/{stamp(event.period_end)}"
    row = KpiRow(**dict(event), event_id=str(fact.id))
    rows.put(f"{event.model}/{event.kpi}/{period}", row)

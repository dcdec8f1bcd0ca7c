"""SLAs, SLOs and KPIs as last said, and what KPIs say of the money an SLO declares."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime

from modelkeep.events import inventory as e
from modelkeep.events.monitoring import MoneyChecked
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


slas = View("slas", SlaRow, version=2)
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
class MoneyCheck:
    """What KPIs said last of money that an SLO declares: see MoneyChecked."""

    verdict: str
    because: str
    declared: Money
    observed: float | None
    lower: float | None
    upper: float | None
    tolerance: float
    periods_in_band: int
    periods_out_of_band: int
    left_out: int
    hours_beyond: float
    sources: tuple[str, ...]
    method: str
    event_id: str


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
    kpi_direction: str | None
    kpi_money: Money | None
    kpi_tolerance: float | None
    event_id: str
    money_check: MoneyCheck | None = None


slos = View("slos", SloRow, version=2)
"""By `model/slo`."""


@slos.on(e.SloDefined)
def defined(event: e.SloDefined, fact: Fact, rows: Rows[SloRow]) -> None:
    row = SloRow(**dict(event), event_id=str(fact.id))
    rows.put(f"{event.model}/{event.slo}", row)


@slos.on(MoneyChecked)
def checked(event: MoneyChecked, fact: Fact, rows: Rows[SloRow]) -> None:
    key = f"{event.model}/{event.slo}"
    row = rows.get(key)
    # What was declared may be another sum by now.
    if row is not None and row.event_id == event.slo_defined:
        said = {one.name: getattr(event, one.name) for one in fields(MoneyCheck)[:-1]}
        check = MoneyCheck(**said, event_id=str(fact.id))
        rows.put(key, replace(row, money_check=check))


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

"""What the board's page says: risk spent, debt owed, what changed, what to fear."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from modelkeep.events.insight import Document
from modelkeep.events.monitoring import MoneyChecked
from modelkeep.events.types import Money
from modelkeep.stats.budget import Line as BudgetLine
from modelkeep.stats.budget import RolledUp, roll_up
from modelkeep.views import Reader
from modelkeep_services.insight.documents import (
    budget_rules,
    health_rules,
    kpi_rules,
    queue_rules,
)
from modelkeep_services.insight.kpis import Kpi, kpis
from modelkeep_services.insight.remediation import Remediation, remediations
from modelkeep_services.insight.scorecard import Line, scorecard, unique
from modelkeep_services.insight.spending import Spending, spendings_of
from modelkeep_services.insight.views import crossings, debt, inventory, monitoring
from modelkeep_services.insight.views.evidence import EventRow, evidence

MICRO: Final = 1_000_000
TOP_RISKS: Final = 10
MOST_CHANGES: Final = 100
MOST_EVENTS: Final = 600
CITED: Final = 20
NO_LINE: Final = "no business line"
_UNBUDGETED: Final[tuple[RolledUp | None, ...]] = (None,)


@dataclass(frozen=True)
class Figure:
    label: str
    shown: str
    evidence: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class BusinessLine:
    """One currency of one business line. `share` and the appetite's are of budgets."""

    business_line: str
    models: int
    currency: str
    worth: Money | None
    spent: Money | None
    share: float | None
    worst_budget: str
    worst_spent: float
    unmapped: tuple[str, ...]
    appetite: str
    appetite_share: float | None
    within: bool | None
    red: int
    amber: int
    green: int
    not_rated: int
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Debt:
    kind: str
    open: int
    minutes: int
    carrying_micro: int
    money: tuple[Money, ...]
    evidence: tuple[str, ...]
    open_before: int
    carrying_micro_before: int


@dataclass(frozen=True)
class DeclaredMoney:
    """What an SLO says an hour beyond its hard limit costs, and what KPIs say of it."""

    model: str
    slo: str
    declared: Money
    basis: str
    evidence: tuple[str, ...]
    observed: Money | None = None
    lower: Money | None = None
    upper: Money | None = None
    because: str = ""


@dataclass(frozen=True)
class Change:
    at: datetime
    model: str
    direction: str
    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    at: datetime
    since: datetime
    headline: tuple[Figure, ...]
    business_lines: tuple[BusinessLine, ...]
    debt: tuple[Debt, ...]
    changes: tuple[Change, ...]
    top_risks: tuple[Remediation, ...]
    kpis: tuple[Kpi, ...]
    scorecard: tuple[Line, ...]
    events: tuple[EventRow, ...]
    documents: tuple[Document, ...]
    changes_left_out: int
    events_left_out: int
    declared: tuple[DeclaredMoney, ...]


def board(read: Reader, now: datetime, since: datetime) -> Board:
    """Compare `now` with what was known at `since`."""
    before = read.at(read.when(since))
    spendings = spendings_of(read, now)
    models = [row for _, row in read.scan(inventory.models)]
    lines = scorecard(read, now, models, spendings)
    business = _business_lines(read, lines, spendings)
    owed = _debt(read, now, before, since)
    queue = remediations(read, now, spendings)
    top = queue[:TOP_RISKS]
    changes = sorted(_changes(read, since, now), key=lambda c: (c.at, c.model, c.text))
    told = changes[-MOST_CHANGES:]
    measured = kpis(read, now, since)
    headline = _headline(lines, spendings, business, owed, queue)
    declared = tuple(_declared(read))
    cited = _cited(headline, business, owed, told, top, measured, lines, declared)
    rows = [row for id_ in cited if (row := read.get(evidence, id_)) is not None]
    return Board(
        at=now,
        since=since,
        headline=headline,
        business_lines=business,
        debt=owed,
        changes=tuple(reversed(told)),
        top_risks=tuple(top),
        kpis=tuple(measured),
        scorecard=tuple(lines),
        events=tuple(rows[:MOST_EVENTS]),
        documents=(
            health_rules().stamp,
            budget_rules().stamp,
            queue_rules().stamp,
            kpi_rules().stamp,
        ),
        changes_left_out=len(changes) - len(told),
        events_left_out=max(0, len(rows) - MOST_EVENTS),
        declared=declared,
    )


# --- the headline ------------------------------------------------------------------


def _headline(
    lines: Sequence[Line],
    spendings: Sequence[Spending],
    business: Sequence[BusinessLine],
    owed: Sequence[Debt],
    queue: Sequence[Remediation],
) -> tuple[Figure, ...]:
    serving = [line for line in lines if line.live_versions]
    bad = [line for line in serving if line.colour == "red"]
    over = [one for one in spendings if one.status.spent >= 1]
    alerts = [item for item in queue if item.kind == "alert"]
    late = [item for item in queue if item.overdue]
    points = sum(one.carrying_micro for one in owed) / MICRO
    return (
        Figure(
            "models serving",
            f"{len(serving)} of {len(lines)}",
            unique([line.evidence[0] for line in lines])[:CITED],
        ),
        Figure(
            "serving in red",
            str(len(bad)),
            unique([e for line in bad for e in line.evidence])[:CITED],
            ", ".join(line.model for line in bad[:3]),
        ),
        _spent(business),
        Figure(
            "budgets exhausted",
            f"{len(over)} of {len(spendings)}",
            unique(
                [e for one in over or spendings for e in _of_budget(one, 1)],
            )[:CITED],
        ),
        Figure(
            "open alerts",
            str(len(alerts)),
            unique([e for item in alerts for e in item.evidence])[:CITED],
            f"{len(late)} things overdue" if late else "",
        ),
        Figure(
            "carrying charge",
            f"{points:,.1f}",
            unique([e for one in owed for e in one.evidence])[:CITED],
            "risk points per 30 days",
        ),
    )


def _of_budget(one: Spending, windows: int) -> tuple[str, ...]:
    return (one.row.event, *one.evidence[:windows])


def _spent(business: Sequence[BusinessLine]) -> Figure:
    currencies = {one.currency for one in business if one.worth is not None}
    cited = unique([e for one in business for e in one.evidence])[:CITED]
    if len(currencies) == 1:
        spent = sum(one.spent.minor for one in business if one.spent is not None)
        worth = sum(one.worth.minor for one in business if one.worth is not None)
        return Figure(
            "risk spent",
            money(Money(minor=spent, currency=min(currencies))),
            cited,
            f"of {money(Money(minor=worth, currency=min(currencies)))}, assumed",
        )
    worst = max((one.worst_spent for one in business), default=None)
    return Figure(
        "most spent budget", "none" if worst is None else f"{worst:.0%}", cited
    )


def money(amount: Money) -> str:
    return f"{amount.minor / 100:,.0f} {amount.currency}"


# --- risk by business line ---------------------------------------------------------


def _business_lines(
    read: Reader, lines: Sequence[Line], spendings: Sequence[Spending]
) -> tuple[BusinessLine, ...]:
    of = {line.model: line.business_line or NO_LINE for line in lines}
    by_name: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_name[line.business_line or NO_LINE].append(line)
    rolled: dict[str, list[RolledUp]] = defaultdict(list)
    for one in roll_up(_budget_lines(of, spendings)):
        rolled[one.business_line].append(one)
    return tuple(
        _business_line(read, name, members, one, spendings)
        for name, members in sorted(by_name.items())
        for one in (rolled.get(name) or _UNBUDGETED)
    )


def _budget_lines(
    of: Mapping[str, str], spendings: Iterable[Spending]
) -> Iterator[BudgetLine]:
    for one in spendings:
        worth = one.row.worth
        yield BudgetLine(
            of.get(one.row.model, NO_LINE),
            f"{one.row.model}/{one.row.budget}",
            one.status.spent,
            None if worth is None else worth.minor,
            "" if worth is None else worth.currency,
        )


def _business_line(
    read: Reader,
    name: str,
    members: Sequence[Line],
    rolled: RolledUp | None,
    spendings: Sequence[Spending],
) -> BusinessLine:
    appetite = read.get(inventory.appetites, name)
    limit = None if appetite is None else appetite.share
    colours = Counter(line.colour for line in members if line.live_versions)
    mine = {line.model for line in members}
    spent = [one for one in spendings if one.row.model in mine]
    share = None
    if rolled is not None:
        # where nothing maps to money, the worst budget speaks
        share = rolled.worst_spent if rolled.share is None else rolled.share
    return BusinessLine(
        business_line=name,
        models=len(members),
        currency="" if rolled is None else rolled.currency,
        worth=_money(rolled, "worth"),
        spent=_money(rolled, "spent"),
        share=share,
        worst_budget="" if rolled is None else rolled.worst,
        worst_spent=0.0 if rolled is None else rolled.worst_spent,
        unmapped=() if rolled is None else rolled.unmapped,
        appetite="" if appetite is None else appetite.text,
        appetite_share=limit,
        within=None if limit is None or share is None else share <= limit,
        red=colours["red"],
        amber=colours["amber"],
        green=colours["green"],
        not_rated=colours["not_rated"],
        evidence=unique(
            [
                *([] if appetite is None else [appetite.event]),
                *(e for one in spent for e in _of_budget(one, 5)),
                *(line.evidence[0] for line in members),
            ]
        )[:CITED],
    )


def _money(rolled: RolledUp | None, what: str) -> Money | None:
    if rolled is None or not rolled.currency:
        return None
    minor = rolled.worth if what == "worth" else rolled.spent
    return Money(minor=minor, currency=rolled.currency)


# --- declared money ----------------------------------------------------------------


def _declared(read: Reader) -> Iterator[DeclaredMoney]:
    for _, row in read.scan(inventory.slos):
        if row.money_per_hour is None:
            continue
        found = DeclaredMoney(
            model=row.model,
            slo=row.slo,
            declared=row.money_per_hour,
            basis=row.basis,
            evidence=(row.event,),
        )
        yield found if row.checked is None else _compared(found, row.checked, row)


def _compared(
    found: DeclaredMoney, check: MoneyChecked, row: inventory.SloRow
) -> DeclaredMoney:
    cited = unique([row.checked_event or row.event, row.event, *check.sources])
    return replace(
        found,
        observed=_minor(check.observed, found.declared),
        lower=_minor(check.lower, found.declared),
        upper=_minor(check.upper, found.declared),
        because=check.because,
        evidence=cited[:CITED],
    )


def _minor(amount: float | None, like: Money) -> Money | None:
    if amount is None:
        return None
    return Money(minor=round(amount), currency=like.currency)


# --- debt --------------------------------------------------------------------------


def _debt(
    read: Reader, now: datetime, before: Reader, since: datetime
) -> tuple[Debt, ...]:
    rows = [row for _, row in read.scan(debt.liabilities) if row.open]
    past = [row for _, row in before.scan(debt.liabilities) if row.open]
    found = []
    for kind in sorted({row.kind for row in [*rows, *past]}):
        mine = [row for row in rows if row.kind == kind]
        theirs = [row for row in past if row.kind == kind]
        units: Counter[str] = Counter()
        for row in mine:
            units.update(row.owed)
        found.append(
            Debt(
                kind=kind,
                open=len(mine),
                minutes=units["minutes"],
                carrying_micro=sum(row.carrying(now) for row in mine),
                money=tuple(
                    Money(minor=amount, currency=unit)
                    for unit, amount in sorted(units.items())
                    if unit not in {"minutes", "points"} and amount
                ),
                evidence=tuple(row.event for row in mine)[:CITED],
                open_before=len(theirs),
                carrying_micro_before=sum(row.carrying(since) for row in theirs),
            )
        )
    return tuple(found)


# --- what changed ------------------------------------------------------------------


def _changes(read: Reader, since: datetime, now: datetime) -> Iterator[Change]:
    found = (
        *_lives(read),
        *_crossed(read),
        *_alert_changes(read),
        *_finding_changes(read),
    )
    return (change for change in found if since < change.at <= now)


def _lives(read: Reader) -> Iterator[Change]:
    for _, row in read.scan(inventory.models):
        text = f"{row.title} was registered"
        yield Change(row.registered_at, row.model, "news", text, (row.event,))
        if row.lifecycle_at is not None:
            direction = "worse" if row.lifecycle == "suspended" else "news"
            cited = row.lifecycle_event or row.event
            text = f"is now {row.lifecycle}"
            yield Change(row.lifecycle_at, row.model, direction, text, (cited,))
    for _, version in read.scan(inventory.versions):
        for place, live in version.live.items():
            text = f"version {version.version} went live in {place}"
            yield Change(live.at, version.model, "news", text, (live.event,))


def _crossed(read: Reader) -> Iterator[Change]:
    for _, row in read.scan(crossings.crossings):
        cited = unique([row.event, row.source, *row.evidence])[:CITED]
        yield Change(row.at, row.model, row.direction, row.text, cited)


def _finding_changes(read: Reader) -> Iterator[Change]:
    for _, row in read.scan(inventory.findings):
        text = f"finding ({row.severity}): {row.title}"
        yield Change(row.raised_at, row.model, "worse", text, (row.event,))
        if row.closed_at is not None:
            cited = row.closed_event or row.event
            text = f"finding closed: {row.title}"
            yield Change(row.closed_at, row.model, "better", text, (cited,))


def _alert_changes(read: Reader) -> Iterator[Change]:
    """Grave alerts one by one; the others are in the KPIs and the queue."""
    for _, row in read.scan(monitoring.alerts):
        if row.severity not in {"high", "critical"}:
            continue
        text = f"{row.severity} alert: {row.cause[:200]}"
        yield Change(row.raised_at, row.model, "worse", text, (row.event,))
        if row.resolved_at is not None:
            word = "" if row.true_alarm else " (a false alarm)"
            text = f"alert resolved{word}: {row.cause[:160]}"
            cited = row.resolved_event or row.event
            yield Change(row.resolved_at, row.model, "better", text, (cited,))


# --- the events behind it ----------------------------------------------------------


def _cited(*parts: object) -> tuple[str, ...]:
    """Return what every part cites, each id once, in the order of the page."""
    found: list[str] = []
    for part in parts:
        for item in part if isinstance(part, list | tuple) else ():
            found += list(getattr(item, "evidence", ()))[:CITED]
    return unique(found)

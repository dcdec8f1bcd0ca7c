"""What an hour beyond an SLO's limit cost, as a KPI tells, beside what was declared.

A KPI's period is in band when no hour of it was beyond the hard limit, out of band when
some were. Hours are those of closed windows: where several versions were measured at
once, an hour counts as far as their rows were beyond. A period that windows measured
too little of is left out, as are two that overlap and a unit that is not the latest's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from typing import Final, NamedTuple

from modelkeep.events.inventory import SloDefined
from modelkeep.events.types import Money, Share, Slug, Text, Value
from modelkeep.stats.hourly_cost import Cost, Period, hourly_cost, verdict
from modelkeep.views import Reader
from modelkeep_services.monitoring import views
from modelkeep_services.monitoring.commands import CheckMoney
from modelkeep_services.monitoring.rules import beyond, metrics_of

CITED: Final = 100
HOUR: Final = timedelta(hours=1)


class Rules(Value):
    document: Slug
    says: Text
    periods_in_band: int
    periods_out_of_band: int
    measured_share: Share
    tolerance: Share
    ignored_environments: frozenset[str]


_DOCUMENT: Final = (files(__package__) / "money.v1.json").read_bytes()
RULES: Final = Rules.model_validate_json(_DOCUMENT)
METHOD: Final = f"hourly-cost/1 {RULES.document} {sha256(_DOCUMENT).hexdigest()[:12]}"


class Span(NamedTuple):
    """[start, end) as windows measured it; `share` of its rows were beyond."""

    start: datetime
    end: datetime
    share: float
    sources: tuple[str, ...]


class Counted(NamedTuple):
    period: Period
    sources: tuple[str, ...]


def checks(
    read: Reader, model: str, start: datetime | None = None, end: datetime | None = None
) -> Iterator[CheckMoney]:
    """Check every SLO that says how; with a span, those with a KPI that it touches."""
    for _, slo in read.scan(views.slos, f"{model}/"):
        said = slo.event
        if said.kpi is None or said.kpi_money is None or said.money_per_hour is None:
            continue
        kpis = [row for _, row in read.scan(views.kpis, f"{model}/{said.kpi}/")]
        if any(_touches(row, start, end) for row in kpis):
            yield _check(read, slo, said.money_per_hour, kpis)


def _touches(row: views.KpiRow, start: datetime | None, end: datetime | None) -> bool:
    if start is None or end is None:
        return True
    return row.event.period_start < end and start < row.event.period_end


def _check(
    read: Reader, slo: views.SloRow, declared: Money, kpis: Sequence[views.KpiRow]
) -> CheckMoney:
    said = slo.event
    tolerance = RULES.tolerance if said.kpi_tolerance is None else said.kpi_tolerance
    counted = list(_counted(kpis, _spans(read, said), said))
    inside = sum(not one.period.beyond for one in counted)
    outside = len(counted) - inside
    cost = None
    if inside >= RULES.periods_in_band and outside >= RULES.periods_out_of_band:
        cost = hourly_cost([one.period for one in counted])
    return CheckMoney(
        model=said.model,
        slo=said.slo,
        kpi=said.kpi or "",
        verdict="not_yet" if cost is None else verdict(cost, declared.minor, tolerance),
        because=_because(cost, declared, tolerance, inside, outside),
        declared=declared,
        observed=cost and cost.observed,
        lower=cost and cost.lower,
        upper=cost and cost.upper,
        tolerance=tolerance,
        periods_in_band=inside,
        periods_out_of_band=outside,
        left_out=len(kpis) - len(counted),
        hours_beyond=sum(one.period.beyond for one in counted),
        slo_defined=slo.source,
        # The KPIs first: a window is found again by its time.
        sources=tuple([o.sources[0] for o in counted] + _windows_of(counted))[:CITED],
        method=METHOD,
    )


def _windows_of(counted: Sequence[Counted]) -> list[str]:
    return list(dict.fromkeys(w for one in counted for w in one.sources[1:]))


def _because(
    cost: Cost | None, declared: Money, tolerance: float, inside: int, outside: int
) -> str:
    if cost is None:
        return (
            f"{inside} of {RULES.periods_in_band} periods in band and {outside} of "
            f"{RULES.periods_out_of_band} out of band can be compared"
        )
    observed, lower, upper = (_shown(bound, declared) for bound in cost)
    return (
        f"{observed} an hour (95 % from {lower} to {upper}) over {outside} periods out "
        f"of band beside {inside} in band; {_shown(declared.minor, declared)} was "
        f"declared, give or take {tolerance:.0%}"
    )


def _shown(minor: float, like: Money) -> str:
    return f"{minor / 100:,.2f} {like.currency}"


def _counted(
    kpis: Sequence[views.KpiRow], spans: Sequence[Span], slo: SloDefined
) -> Iterator[Counted]:
    """Yield what can be compared, by time."""
    if slo.kpi_money is None or not kpis:
        return
    latest = max(kpis, key=lambda row: (row.event.period_end, row.event.period_start))
    sign = 1 if slo.kpi_direction == "falls" else -1
    done: datetime | None = None
    for row in sorted(kpis, key=lambda r: (r.event.period_start, r.event.period_end)):
        said = row.event
        if said.unit != latest.event.unit or (done and said.period_start < done):
            continue
        done = said.period_end
        hours = (said.period_end - said.period_start) / HOUR
        measured = gone = 0.0
        sources = [row.source]
        for span in spans:
            part = min(span.end, said.period_end) - max(span.start, said.period_start)
            if part > timedelta(0):
                measured += part / HOUR
                gone += span.share * (part / HOUR)
                sources += span.sources
        if measured >= RULES.measured_share * hours:
            worth = sign * said.value * slo.kpi_money.minor
            period = Period(worth, hours, min(gone, hours))
            yield Counted(period, tuple(sources))


def _spans(read: Reader, slo: SloDefined) -> list[Span]:
    """Return what the windows say of the SLO's metric; none overlaps an earlier one."""
    rows: dict[tuple[datetime, datetime], list[tuple[views.WindowRow, int, bool]]]
    rows = defaultdict(list)
    for _, window in read.scan(views.windows, f"{slo.model}/"):
        figure = metrics_of(window.figures).get(slo.metric)
        ignored = window.environment in RULES.ignored_environments
        if figure is not None and figure.n and not ignored:
            worse = beyond(slo.direction, figure.value, slo.hard)
            rows[window.start, window.end].append((window, figure.n, worse))
    found: list[Span] = []
    for (start, end), told in sorted(rows.items()):
        if found and start < found[-1].end:
            continue
        bad = sum(n for _, n, worse in told if worse)
        sources = tuple(window.source for window, _, worse in told if worse)
        found.append(Span(start, end, bad / sum(n for _, n, _ in told), sources))
    return found

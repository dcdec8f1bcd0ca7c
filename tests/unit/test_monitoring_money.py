"""Declared money beside KPIs: which periods are compared, and what is said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest

from modelkeep.decider import Command, Context, decider
from modelkeep.events.base import Event
from modelkeep.events.inventory import KpiRecorded, SloDefined
from modelkeep.events.monitoring import (
    LatencyFigure,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import Money
from modelkeep.ledger import Ledger, Order, stream_name
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing import actor
from modelkeep.views import Reader
from modelkeep.viewset import ViewSet
from modelkeep_services.monitoring import known, views
from modelkeep_services.monitoring.commands import CheckMoney
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.money import checks

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
SLOW, FAST = 300.0, 20.0


@dataclass
class World:
    """A ledger in which inventory may have said anything, and monitoring's views."""

    store: SqliteStore
    ledger: Ledger
    views: ViewSet
    stack: ExitStack = field(default_factory=ExitStack)
    said: Counter[str] = field(default_factory=Counter)

    def say(self, category: str, *events: Event) -> None:
        silent = decider(None, lambda *_: list(events), lambda *_: None)
        self._order(category, Order, silent, Command())

    def check(self) -> CheckMoney:
        [found] = checks(self.read(), "m")
        self._order("monitor", Order, MONITOR, found)
        return found

    def read(self) -> Reader:
        return self.stack.enter_context(self.views.reader("main"))

    def _order(self, category: str, order: Any, decides: Any, command: Command) -> None:
        self.said[category] += 1
        one = str(uuid5(NAMESPACE_OID, f"{category}/{self.said[category]}"))
        context = Context(actor("dana", "owner"), MONDAY, MONDAY, one)
        self.ledger._folds.clear()  # no fold is shared between deciders
        name = stream_name(category, "main", "m")
        self.ledger.execute(order(name, decides, command, context, one))
        self.views.catch_up()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        SqliteStore(tmp_path / "ledger.db") as store,
        Ledger(store) as ledger,
        ViewSet("monitoring", views.VIEWS, store, tmp_path / "views.db") as found,
        ExitStack() as stack,
    ):
        yield World(store, ledger, found, stack)


def slo(**changes: Any) -> SloDefined:
    said: dict[str, Any] = {
        "model": "m",
        "slo": "prompt",
        "metric": "latency_p95_ms",
        "nominal": 20.0,
        "warning": 100.0,
        "hard": 200.0,
        "direction": "rises",
        "money_per_hour": Money(minor=5_000, currency="EUR"),
        "kpi": "revenue",
        "kpi_direction": "falls",
        "kpi_money": Money(minor=100, currency="EUR"),
    }
    return SloDefined(**(said | changes))


def figures(p95: float, rows: int = 100) -> WindowFigures:
    latency = LatencyFigure(n=rows, p50=10, p95=p95, p99=p95 + 1)
    return WindowFigures(rows=rows, latency_ms=latency)


def window(day: int, p95: float, **changes: Any) -> WindowClosed:
    said: dict[str, Any] = {
        "model": "m",
        "version": "v1",
        "environment": "prod",
        "window": f"w-{day}-{p95:g}",
        "start": MONDAY + day * DAY,
        "end": MONDAY + (day + 1) * DAY,
        "figures": figures(p95),
        "method": "m-1",
    }
    return WindowClosed(**(said | changes))


def kpi(day: int, value: float, **changes: Any) -> KpiRecorded:
    said: dict[str, Any] = {
        "model": "m",
        "kpi": "revenue",
        "value": value,
        "period_start": MONDAY + day * DAY,
        "period_end": MONDAY + (day + 1) * DAY,
    }
    return KpiRecorded(**(said | changes))


def lived(world: World, slow: float, *, fast: float = 2_400.0) -> None:
    """Say four fast days and then four slow ones, each with its revenue."""
    for day in range(8):
        late = day >= 4
        wobble = 24.0 if day % 2 else -24.0
        world.say("monitor", window(day, SLOW if late else FAST))
        world.say("model", kpi(day, (slow if late else fast) + wobble))


def test_money_that_kpis_agree_with_is_confirmed_and_the_slo_says_so(
    world: World,
) -> None:
    world.say("model", slo())
    lived(world, slow=1_200.0)
    # 1,200 less a day of 24 slow hours is 50 an hour: as was declared.
    found = world.check()
    assert found.verdict == "confirmed"
    assert found.observed == pytest.approx(5_000)
    assert (found.periods_in_band, found.periods_out_of_band) == (4, 4)
    assert found.hours_beyond == 96
    [said] = known.slos(world.read(), "m")
    assert said.money_basis == "confirmed"
    assert said.money_check
    ids = {str(one.uuid) for one in world.store.read_all()}
    # Eight KPIs, and the four windows beyond the limit.
    assert len(found.sources) == 12
    assert {*found.sources, said.money_check, found.slo_defined} <= ids


def test_money_that_kpis_know_better_is_contradicted(world: World) -> None:
    world.say("model", slo())
    lived(world, slow=2_352.0)
    found = world.check()
    assert found.verdict == "contradicted"
    assert found.observed == pytest.approx(200)
    assert "2.00 EUR an hour" in found.because
    [said] = known.slos(world.read(), "m")
    assert said.money_basis == "contradicted"


def test_what_is_declared_anew_is_an_assumption_again(world: World) -> None:
    world.say("model", slo())
    lived(world, slow=1_200.0)
    world.check()
    world.say("model", slo(money_per_hour=Money(minor=20_000, currency="EUR")))
    [said] = known.slos(world.read(), "m")
    assert (said.money_basis, said.money_check) == ("assumption", None)
    assert world.check().verdict == "contradicted"


def test_a_kpi_that_rises_is_a_cost(world: World) -> None:
    calls = slo(kpi_direction="rises", kpi_money=Money(minor=1_000, currency="EUR"))
    world.say("model", calls)
    lived(world, slow=160.0, fast=40.0)
    # 120 calls of 10 euros more in 24 hours.
    assert world.check().observed == pytest.approx(5_000)


def test_too_few_periods_say_nothing_yet(world: World) -> None:
    world.say("model", slo())
    assert list(checks(world.read(), "m")) == []
    for day in range(5):
        world.say("monitor", window(day, SLOW if day > 2 else FAST))
        world.say("model", kpi(day, 1.0))
    found = world.check()
    assert (found.verdict, found.observed) == ("not_yet", None)
    assert found.because.startswith("3 of 3 periods in band and 2 of 3 out of band")
    [said] = known.slos(world.read(), "m")
    assert said.money_basis == "assumption"


def test_what_cannot_be_compared_is_left_out(world: World) -> None:
    world.say("model", slo())
    lived(world, slow=1_200.0)
    world.say("model", kpi(2, 5.0, period_end=MONDAY + 9 * DAY))  # overlaps
    world.say("model", kpi(20, 9_999.0))  # nobody measured that day
    world.say("monitor", window(2, SLOW, environment="staging", window="elsewhere"))
    found = world.check()
    assert (found.verdict, found.left_out) == ("confirmed", 2)
    world.say("model", kpi(21, 1.0, unit="dollars"))
    assert world.check().left_out == 11


def test_versions_measured_at_once_count_by_their_rows(world: World) -> None:
    world.say("model", slo())
    for day in range(8):
        late = day >= 4
        world.say("monitor", window(day, FAST, figures=figures(FAST, 300)))
        canary = {"version": "v2", "window": f"c-{day}"}
        world.say("monitor", window(day, SLOW if late else FAST, **canary))
        world.say("model", kpi(day, 2_400.0 - (300.0 if late else 0)))
    found = world.check()
    # A quarter of the rows was slow: six hours a day.
    assert found.hours_beyond == 24
    assert found.observed == pytest.approx(5_000)


def test_a_window_corrected_later_is_counted_as_it_stands(world: World) -> None:
    world.say("model", slo())
    lived(world, slow=1_200.0)
    first = window(3, FAST)
    corrected = dict(first) | {"figures": figures(SLOW), "restatement": 1}
    world.say("monitor", WindowRestated(**corrected))
    assert world.check().periods_out_of_band == 5


def test_only_a_kpi_that_a_window_touches_is_looked_at_again(world: World) -> None:
    world.say("model", slo())
    lived(world, slow=1_200.0)
    later = MONDAY + 30 * DAY
    assert list(checks(world.read(), "m", later, later + DAY)) == []
    assert len(list(checks(world.read(), "m", MONDAY, MONDAY + DAY))) == 1


def test_an_slo_that_says_no_kpi_is_not_checked(world: World) -> None:
    world.say("model", slo(kpi_money=None, kpi_direction=None))
    lived(world, slow=1_200.0)
    assert list(checks(world.read(), "m")) == []

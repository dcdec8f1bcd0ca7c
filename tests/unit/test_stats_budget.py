"""The risk budget spends, pages, forecasts and stops as the design says."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import Invalid
from modelkeep.stats.budget import (
    BATCH,
    CONTINUOUS,
    DAY,
    HOUR,
    MINUTE,
    Budget,
    BudgetDocument,
    HardStop,
    Line,
    Severity,
    Slot,
    burn,
    exhausted_at,
    firing,
    lengthened,
    may_change,
    roll_up,
    spent,
    spent_low,
    status,
    threshold,
    window_slot,
)
from modelkeep.stats.wilson import wilson

HOUSE = BudgetDocument("budget-1")
# 10,000 a day; 1 % bad is accepted, 2 % is the limit: 3,000 bad events to spend
MONTH = Budget(0.01, 0.02, 300_000, 0, 30 * DAY)


def steady(rate: float, until: int, *, per_hour: int = 600) -> list[Slot]:
    """Five-minute slots with exactly that rate of bad events."""
    n = per_hour // 12
    return [Slot(start, n, n * rate) for start in range(0, until, 5 * MINUTE)]


def test_at_the_limit_a_period_spends_exactly_everything() -> None:
    days = [Slot(day * DAY, 10_000, 200) for day in range(30)]
    assert spent(days, MONTH) == pytest.approx(1.0)
    assert burn(10_000, 200, MONTH) == pytest.approx(1.0)
    assert burn(10_000, 100, MONTH) == pytest.approx(0.0)
    assert burn(0, 0, MONTH) is None


def test_spent_is_never_negative_and_events_outside_the_period_are_free() -> None:
    assert spent([Slot(0, 10_000, 0)], MONTH) == 0.0
    outside = [Slot(-DAY, 1_000, 1_000), Slot(30 * DAY, 1_000, 1_000)]
    assert spent(outside, MONTH) == 0.0


@given(
    st.lists(
        st.builds(
            lambda day, bad: Slot(day * DAY, 100, bad / 3),
            st.integers(0, 29),
            st.integers(0, 300),
        ),
        max_size=20,
    ),
    st.randoms(use_true_random=False),
)
def test_spent_does_not_depend_on_the_order_of_slots(
    slots: list[Slot], chance: Random
) -> None:
    shuffled = chance.sample(slots, len(slots))
    assert spent(slots, MONTH) == spent(shuffled, MONTH)


def test_thresholds_yield_to_the_steepest_burn_possible() -> None:
    loose = Budget(0.001, 0.002, 300_000, 0, 30 * DAY)  # b_max = 999
    assert [threshold(r, loose, HOUSE) for r in CONTINUOUS] == [14.4, 6, 1]
    tight = Budget(0.10, 0.15, 300_000, 0, 30 * DAY)  # b_max = 18
    assert [threshold(r, tight, HOUSE) for r in BATCH] == pytest.approx([4.5, 2.25, 1])
    # b_max = 4: a page at 4 / 8 would ring while nothing is about to run out
    wide = Budget(0.20, 0.40, 300_000, 0, 30 * DAY)
    assert [threshold(r, wide, HOUSE) for r in CONTINUOUS] == [1, 1, 1]


def test_a_sudden_burn_pages_within_the_hour_and_a_slow_one_opens_a_ticket() -> None:
    now = 3 * DAY
    calm = steady(0.01, now - HOUR, per_hour=12_000)
    storm = [Slot(now - HOUR + i * 5 * MINUTE, 1_000, 300) for i in range(12)]
    fast = firing(calm + storm, MONTH, now, HOUSE)
    # 3,600 of 12,000 burn 29; over six hours 4.8: too little
    assert [(f.rule, f.severity) for f in fast] == [("fast", Severity.PAGE)]
    assert fast[0].long_burn == pytest.approx(29.0)
    creeping = firing(steady(0.022, now, per_hour=12_000), MONTH, now, HOUSE)
    assert [(f.rule, f.severity) for f in creeping] == [("creep", Severity.TICKET)]


def test_a_burn_that_has_stopped_does_not_page() -> None:
    now = 3 * DAY
    calm = steady(0.01, now - HOUR, per_hour=12_000)
    over = [Slot(now - HOUR + i * 5 * MINUTE, 1_000, 300) for i in range(11)]
    quiet = [Slot(now - 5 * MINUTE, 1_000, 10)]
    assert "fast" not in [
        f.rule for f in firing(calm + over + quiet, MONTH, now, HOUSE)
    ]


def test_low_volume_must_exceed_at_the_wilson_lower_bound() -> None:
    # 2 of 10 is a burn of 19, but the true rate may well be 5.7 %: a burn of 4.7
    few = [Slot(0, 10, 2)]
    fired = firing(few, MONTH, 5 * MINUTE, HOUSE)
    assert [f.rule for f in fired] == ["creep"]
    assert fired[0].long_burn_low == pytest.approx(
        (wilson(2, 10).low - 0.01) / 0.01, abs=1e-4
    )
    trusting = BudgetDocument("b", low_volume=0)
    assert "fast" in [f.rule for f in firing(few, MONTH, 5 * MINUTE, trusting)]


def test_an_empty_short_window_asks_the_latest_events_instead() -> None:
    # an hour's only decisions came 40 minutes ago, all of them bad
    slots = [Slot(HOUR - 40 * MINUTE, 50, 50)]
    assert "fast" in [f.rule for f in firing(slots, MONTH, HOUR, HOUSE)]
    assert firing([], MONTH, HOUR, HOUSE) == ()


def test_batch_models_look_at_their_last_1_3_and_9_runs() -> None:
    runs = Budget(0.01, 0.02, 300_000, 0, 30 * DAY, batch=True)
    good = [Slot(day * DAY, 10_000, 100) for day in range(9)]
    bad_run = Slot(9 * DAY, 10_000, 3_000)
    fired = firing([*good, bad_run], runs, 10 * DAY, HOUSE)
    assert [f.rule for f in fired] == ["fast", "slow", "creep"]
    assert [f.long_burn for f in fired] == pytest.approx([29, 29 / 3, 29 / 9], abs=1e-4)
    recovered = firing(
        [*good, bad_run, Slot(10 * DAY, 10_000, 100)], runs, 11 * DAY, HOUSE
    )
    assert [f.rule for f in recovered] == ["creep"]


def test_a_window_out_of_band_spends_its_decisions_but_is_one_trial() -> None:
    auc = Budget(0.05, 0.25, 10_000, 0, 30 * DAY)
    windows = [window_slot(day * DAY, 1_000, out_of_band=day == 3) for day in range(10)]
    # 1,000 of 10,000 decisions: (.10 - .05) / (.25 - .05)
    assert spent(windows, auc) == pytest.approx(0.25)
    # one window of ten proves little
    assert spent_low(windows, auc, HOUSE) == 0.0
    as_rows = [slot._replace(trials=None) for slot in windows]
    assert spent_low(as_rows, auc, HOUSE) > 0.2


def test_delayed_labels_burn_provisionally_until_they_are_corrected() -> None:
    waiting = [Slot(0, 1_000, 20, pending=9_000, pending_bad=360.0)]
    before = status(waiting, MONTH, DAY, HOUSE)
    assert (before.spent, before.confirmed) == (0.0933, 0.0033)
    assert before.provisional == pytest.approx(0.09)
    arrived = [Slot(0, 10_000, 110)]
    after = status(arrived, MONTH, DAY, HOUSE)
    assert (after.spent, after.provisional) == (0.0033, 0.0)


def test_provisional_alerts_say_so() -> None:
    waiting = [Slot(0, 0, 0, pending=1_000, pending_bad=500.0)]
    assert firing(waiting, MONTH, 5 * MINUTE, HOUSE)[0].provisional


def test_spending_ahead_of_time_stops_unattended_change_only() -> None:
    hasty = [Slot(0, 10_000, 400)]  # a tenth of the month's budget in a day
    state = status(hasty, MONTH, DAY, HOUSE)
    assert state.low > state.elapsed == 0.0333
    assert not may_change(state, attended=False, remedy=False).allowed
    assert may_change(state, attended=True, remedy=False).allowed
    modest = status([Slot(0, 10_000, 190)], MONTH, DAY, HOUSE)
    assert may_change(modest, attended=False, remedy=False).allowed


def test_an_exhausted_budget_stops_everything_but_its_remedy() -> None:
    ruined = status([Slot(0, 10_000, 4_000)], MONTH, DAY, HOUSE)
    assert (ruined.spent, ruined.hard_stop) == (1.3, HardStop.HUMAN)
    assert ruined.exhausted_at == DAY
    refused = may_change(ruined, attended=True, remedy=False)
    assert (refused.allowed, refused.rule) == (False, "budget.exhausted")
    assert may_change(ruined, attended=False, remedy=True).allowed


def test_the_forecast_goes_on_at_the_speed_of_the_last_three_days() -> None:
    # at a burn of 2, half a month; a tenth is gone after a day and a half
    slots = steady(0.03, 3 * DAY // 2, per_hour=12_000)
    budget = Budget(0.01, 0.02, 12_000 * 24 * 30, 0, 30 * DAY)
    assert exhausted_at(slots, budget, 3 * DAY // 2, HOUSE) == pytest.approx(15 * DAY)
    assert exhausted_at(steady(0.005, DAY), MONTH, DAY, HOUSE) is None
    assert exhausted_at([], MONTH, DAY, HOUSE) is None


def test_later_events_are_not_known_yet() -> None:
    slots = [Slot(0, 10_000, 100), Slot(2 * DAY, 10_000, 10_000)]
    assert status(slots, MONTH, DAY, HOUSE).spent == 0.0


def test_a_budget_of_too_few_events_gets_a_longer_period() -> None:
    assert lengthened(MONTH, HOUSE) is MONTH
    small = Budget(0.01, 0.03, 100, 0, 30 * DAY)  # two events a month
    longer = lengthened(small, HOUSE)
    assert longer.events == pytest.approx(10)
    assert longer.end == 150 * DAY


def test_budgets_roll_up_by_business_line_in_each_currency() -> None:
    lines = [
        Line("cards", "fpr", 0.5, 1_000_000, "EUR"),
        Line("cards", "latency", 1.2, 100_000, "EUR"),
        Line("cards", "auc", 2.0),
        Line("cards", "us-fpr", 0.1, 10_000, "USD"),
        Line("air", "late", 0.3),
    ]
    air, euro, dollar = roll_up(reversed(lines))
    assert (air.business_line, air.share, air.unmapped) == ("air", None, ("late",))
    assert (euro.spent, euro.worth, euro.share) == (620_000, 1_100_000, 0.5636)
    assert (euro.worst, euro.worst_spent, euro.unmapped) == ("auc", 2.0, ("auc",))
    assert (dollar.currency, dollar.spent) == ("USD", 1_000)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Budget(0.2, 0.1, 10, 0, 1),
        lambda: Budget(0.1, 0.2, 0, 0, 1),
        lambda: Budget(0.1, 0.2, 10, 1, 1),
        lambda: spent([Slot(0, 1, 2)], MONTH),
        lambda: spent([Slot(0, 1, float("nan"))], MONTH),
        lambda: wilson(3, 2),
        lambda: wilson(float("nan"), 2),
        lambda: wilson(1, float("inf")),
    ],
)
def test_nonsense_is_refused(bad: object) -> None:
    assert callable(bad)
    with pytest.raises(Invalid):
        bad()


def test_wilson_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for hits, trials in [(0, 1), (1, 1), (3, 17), (500, 1_000), (1, 100_000)]:
        theirs = stats.binomtest(hits, trials).proportion_ci(0.95, method="wilson")
        assert wilson(hits, trials) == pytest.approx(
            (theirs.low, theirs.high), abs=1e-9
        )


def test_health_and_budget_need_the_standard_library_alone() -> None:
    program = (
        "import sys; import modelkeep.stats.health, modelkeep.stats.budget;"
        "print(sorted({'numpy', 'scipy', 'pydantic', 'grpc'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"

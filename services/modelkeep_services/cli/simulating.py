"""`modelkeep simulate-alarms`: what a false-alarm budget costs, beside other rules.

Nothing is asked of a home: models are simulated, their baselines estimated, their
windows drawn. Whoever states a budget can see here what it costs in delay.
"""

from __future__ import annotations

from rich.text import Text

from modelkeep.stats.alarm_simulation import (
    BH,
    OURS,
    Delay,
    Quiet,
    Scenario,
    Simulated,
    run,
)
from modelkeep_services.cli import screen


def simulate(scenario: Scenario, *, as_json: bool) -> int:
    """Return the exit code: 1 when the budget was not kept."""
    with screen.progress("simulating windows") as tell:
        found = run(scenario, tell)
    if as_json:
        screen.say_json(record(scenario, found))
    else:
        _show(scenario, found)
    return 0 if kept(found) else 1


def kept(found: Simulated) -> bool:
    """Say whether alarms a window were no more than was promised."""
    ours = found.quiet_of(OURS)
    return ours.alarms <= found.budget.alpha * ours.windows


def record(scenario: Scenario, found: Simulated) -> dict[str, object]:
    return {
        "seed": scenario.seed,
        "document": scenario.document.version,
        "features": scenario.features,
        "rows_a_window": scenario.rows,
        "rows_a_baseline": scenario.rows * scenario.baseline_days,
        "swing": scenario.swing,
        "budget": found.budget._asdict() | {"threshold": found.budget.threshold},
        "false_discovery_rate": scenario.document.false_discovery_rate,
        "kept": kept(found),
        "without_drift": [
            one._asdict()
            | {
                "per_thousand": one.per_thousand,
                "per_thousand_upper": one.per_thousand_upper,
                "per_period": one.per_period,
                "loud_upper": one.loud_upper,
            }
            for one in found.quiet
        ],
        "with_drift": [one._asdict() for one in found.delays],
    }


def _show(scenario: Scenario, found: Simulated) -> None:
    budget, ours = found.budget, found.quiet_of(OURS)
    screen.line(
        f"{scenario.features} features, {scenario.rows:,} rows a window,"
        f" baselines of {scenario.rows * scenario.baseline_days:,} rows an hour of the"
        f" day, a daily swing of {scenario.swing:g} sigma, seed {scenario.seed}"
    )
    screen.line(
        f"budget of the features: {budget.false_alarms:g} false alarms in"
        f" {budget.windows:,} windows; alarm at evidence of {budget.threshold:,.0f}"
    )
    screen.line(
        "e-LOND's reviews: of what they call a change at most"
        f" {scenario.document.false_discovery_rate:.1%} is none, in expectation"
    )
    screen.heading(f"{ours.windows:,} windows without drift")
    screen.table(
        [
            "rule",
            "alarms",
            "per 1,000",
            "at most (95 %)",
            "per period",
            "quiet periods",
        ],
        [_quiet(one) for one in found.quiet],
    )
    for shift in scenario.shifts:
        screen.heading(f"one feature drifts by {shift:g} sigma")
        screen.table(
            [
                "rule",
                "found",
                "median delay",
                "named rightly",
                "onset off by",
                "false discoveries",
            ],
            [_delay(one) for one in found.delays if one.shift == shift],
        )
    less = found.quiet_of(BH).alarms / max(1, ours.alarms)
    more = "more than " if not ours.alarms else ""
    screen.heading("in short")
    screen.fact("kept", screen.word(str(kept(found)).lower()))
    screen.fact("beside BH", f"{more}{less:,.0f} times fewer false alarms")


def _quiet(one: Quiet) -> screen.Row:
    return [
        Text(one.rule, "bold" if one.rule == OURS else ""),
        f"{one.alarms:,}",
        f"{one.per_thousand:,.3f}",
        f"{one.per_thousand_upper:,.3f}",
        f"{one.per_period:,.2f}",
        f"{one.periods - one.loud} of {one.periods}",
    ]


def _delay(one: Delay) -> screen.Row:
    return [
        Text(one.rule, "bold" if one.rule == OURS else ""),
        f"{one.found} of {one.replicas}",
        "never" if one.median is None else f"{one.median:g} windows",
        "" if one.named is None else f"{one.named:.0%}",
        "" if one.onset is None else f"{one.onset:g} windows",
        "" if one.false is None else f"{one.false:.1%}",
    ]

"""Declared groups under a budget of false alarms: what a window's counts say of them.

Windows judge groups by 95 % intervals, which a group at its limit breaks in every
fortieth window. Under a budget the same limits are tested from the same counts at an
error that all tests of a period share (`certain_gap`), and the tests are counted. It is
a test a window: a window of few people says nothing, however many such there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelkeep.events.alarm_watch import GroupTest
from modelkeep.events.false_alarms import GroupMetric
from modelkeep.events.monitoring import (
    GroupFigure,
    GroupGap,
    Thresholds,
    WindowFigures,
)
from modelkeep.stats.certain_gap import Favour, are_apart, is_ratio_below


def group_tests(
    figures: WindowFigures, limits: Thresholds, alpha: float, alike: int
) -> Iterator[GroupTest]:
    """Test every limit of every group; `alpha` is the error of all of them together.

    What rests on outcomes is tested of mature windows alone.
    """
    asked = [
        (seen, seen.groups[0], group, metric, limit)
        for seen in figures.fairness
        for group in seen.groups[1:]
        for metric, limit in _limits(limits)
    ]
    for seen, reference, group, metric, limit in asked:
        found = _gap(group, metric)
        if found is None or found.value is None:
            continue  # too few people to tell of
        if metric == "equal_opportunity" and not figures.mature:
            continue
        error = alpha / len(asked)
        yield GroupTest(
            metric=metric,
            column=seen.column,
            group=group.group,
            reference=seen.reference,
            value=found.value,
            limit=_signed(metric, limit, found.value),
            n=found.n,
            error=error,
            loud=_is_loud(metric, group, reference, limit, error, alike),
        )


def _limits(limits: Thresholds) -> Iterator[tuple[GroupMetric, float]]:
    if limits.impact_ratio is not None:
        yield "adverse_impact_ratio", limits.impact_ratio
    if limits.parity_tolerance is not None:
        yield "parity_difference", limits.parity_tolerance
    if limits.opportunity_tolerance is not None:
        yield "equal_opportunity", limits.opportunity_tolerance


def _gap(group: GroupFigure, metric: GroupMetric) -> GroupGap | None:
    if metric == "adverse_impact_ratio":
        return group.impact
    return group.parity if metric == "parity_difference" else group.opportunity


def _signed(metric: GroupMetric, limit: float, value: float) -> float:
    return -limit if metric != "adverse_impact_ratio" and value < 0 else limit


def _is_loud(
    metric: GroupMetric,
    group: GroupFigure,
    reference: GroupFigure,
    limit: float,
    error: float,
    alike: int,
) -> bool:
    rates = Favour(group.favoured, group.n), Favour(reference.favoured, reference.n)
    if metric == "adverse_impact_ratio":
        return is_ratio_below(*rates, limit, error, alike)
    if metric == "parity_difference":
        return are_apart(*rates, limit, error, alike)
    return are_apart(
        Favour(group.qualified_favoured, group.qualified),
        Favour(reference.qualified_favoured, reference.qualified),
        limit,
        error,
        alike,
    )


def told_once(tests: tuple[GroupTest, ...]) -> Iterator[GroupTest]:
    """Yield what to call somebody for: two limits look at the same rates of favour, and
    the difference is silent where the ratio spoke.
    """
    loud = [test for test in tests if test.loud]
    by_ratio = {
        (test.column, test.group)
        for test in loud
        if test.metric == "adverse_impact_ratio"
    }
    for test in loud:
        told = (test.column, test.group) in by_ratio
        if not (told and test.metric == "parity_difference"):
            yield test


def words(test: GroupTest) -> str:
    """Say what was found."""
    people = f"{test.column} {test.group}"
    if test.metric == "adverse_impact_ratio":
        return (
            f"{people} get a favourable decision {test.value:.2f} times as often as "
            f"{test.reference}, limit {test.limit:g}"
        )
    of = "of those who merited it, " if test.metric == "equal_opportunity" else ""
    return (
        f"{of}{people} got a favourable decision {test.value:+.1%} from "
        f"{test.reference}, tolerance {abs(test.limit):.1%}"
    )

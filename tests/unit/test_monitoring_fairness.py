"""Groups in a window: counted by batch, judged by intervals, told of once."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from pydantic import ValidationError

from modelkeep.decisions.matrix import Column, Numbers, Words
from modelkeep.events.monitoring import (
    Fairness,
    FairnessFigure,
    Thresholds,
    WindowFigures,
)
from modelkeep.stats.fairness import Group
from modelkeep_services.monitoring.book import UNKNOWN
from modelkeep_services.monitoring.fairness import counted, figure, plus, spelled
from modelkeep_services.monitoring.fairness_rules import fairness_breaches

LIMITS = Thresholds()


def declared(favourable: Literal["yes", "no"] = "yes") -> Fairness:
    return Fairness(column="sex", reference="m", groups=("f",), favourable=favourable)


def test_a_favour_may_be_a_no() -> None:
    words = Words(np.array([0, 0, 1, 1, -1], np.int32), ("m", "f"))
    scores = np.array([0.9, 0.1, 0.9, 0.1, 0.1])
    outcomes = np.array([1, 0, 1, UNKNOWN, 0], np.uint8)
    men, women = counted(declared("yes"), spelled(words), scores, outcomes, 0.5)
    assert men == Group("m", 2, 1, 1, 1)
    assert women == Group("f", 2, 1, 1, 1)
    men, women = counted(declared("no"), spelled(words), scores, outcomes, 0.5)
    # of those whose outcome was no, the one woman's has not arrived
    assert men == Group("m", 2, 1, 1, 1)
    assert women == Group("f", 2, 1, 0, 0)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.array([1, 0, 1], np.uint8), ("false", "true")),
        (np.array([40, 7, 40], np.int64), ("7", "40")),
        (np.array([1.0, 0.5, 1.0]), ("0.5", "1")),
    ],
)
def test_numbers_are_groups_by_their_plain_text(
    values: np.ndarray[tuple[int], np.dtype[np.generic]], names: tuple[str, ...]
) -> None:
    column: Column = Numbers(values, np.array([True, True, False]))
    found = spelled(column)
    assert found.categories == names
    assert found.codes.tolist() == [1, 0, -1]


def test_batches_of_groups_add_up() -> None:
    one = (Group("m", 3, 2), Group("f", 1, 0))
    assert plus(one, one) == (Group("m", 6, 4), Group("f", 2, 0))


def window(men: Group, women: Group, *, mature: bool = True) -> WindowFigures:
    found = figure(declared(), (men, women), men.n + women.n + 5, LIMITS)
    return WindowFigures(rows=men.n + women.n + 5, mature=mature, fairness=(found,))


def judgements(found: FairnessFigure) -> list[str | None]:
    women = found.groups[1]
    gaps = (women.parity, women.opportunity, women.impact)
    return [None if gap is None else gap.judgement for gap in gaps]


def test_a_ratio_below_four_fifths_is_one_alert() -> None:
    figures = window(Group("m", 400, 200), Group("f", 400, 100))
    assert judgements(figures.fairness[0]) == ["breached", "unsure", "breached"]
    assert figures.fairness[0].undeclared == 5
    [breach] = fairness_breaches(figures, LIMITS)
    assert (breach.kind, breach.vector) == ("fairness", "fairness")
    assert (breach.metric, breach.feature) == ("adverse_impact_ratio", "sex=f")
    assert (breach.value, breach.threshold, breach.n) == (0.5, 0.8, 400)


def test_a_difference_speaks_where_the_ratio_does_not() -> None:
    figures = window(Group("m", 4_000, 3_800), Group("f", 4_000, 3_200))
    [breach] = fairness_breaches(figures, LIMITS)
    assert (breach.metric, breach.threshold) == ("parity_difference", -0.1)


def test_few_people_are_not_judged_and_not_told_of() -> None:
    figures = window(Group("m", 400, 200), Group("f", 29, 0))
    [_, women] = figures.fairness[0].groups
    assert women.impact is not None
    assert women.impact.value is None
    assert women.impact.upper is None
    assert judgements(figures.fairness[0]) == ["unsure", "unsure", "unsure"]
    assert not list(fairness_breaches(figures, LIMITS))


def test_opportunity_waits_until_outcomes_are_mature() -> None:
    groups = Group("m", 400, 200, 100, 90), Group("f", 400, 200, 100, 60)
    assert not list(fairness_breaches(window(*groups, mature=False), LIMITS))
    [breach] = fairness_breaches(window(*groups), LIMITS)
    assert breach.metric == "equal_opportunity"


def test_a_limit_that_is_none_judges_nothing() -> None:
    none = Thresholds(
        parity_tolerance=None, opportunity_tolerance=None, impact_ratio=None
    )
    found = figure(declared(), (Group("m", 400, 200), Group("f", 400, 1)), 800, none)
    assert judgements(found) == [None, None, None]
    figures = WindowFigures(rows=800, mature=True, fairness=(found,))
    assert not list(fairness_breaches(figures, none))


def test_a_group_is_declared_once() -> None:
    with pytest.raises(ValidationError, match="twice"):
        Fairness(column="sex", reference="m", groups=("m",), favourable="yes")

"""Strange categories and numbers beyond the range: when somebody is called, and why."""

from __future__ import annotations

import numpy as np
import pytest

from modelkeep.events.monitoring import FeatureFigure, Thresholds, WindowFigures
from modelkeep.stats.profile import Baseline
from modelkeep.stats.psi import PsiDocument
from modelkeep_services.monitoring import measures
from modelkeep_services.monitoring.causes import ABOUT_INPUTS
from modelkeep_services.monitoring.feature_figures import feature_figures
from modelkeep_services.monitoring.value_rules import value_breaches

LIMITS = Thresholds()
COLOURS = np.array(["red", "blue", "green"])


def window(
    n: int, *, strange: float = 0.0, far: float = 0.0, missing: float = 0.0
) -> WindowFigures:
    """`n` rows, of which a share has a colour, or an age, that nobody had before."""
    rng = np.random.default_rng(3)
    before = {
        "colour": COLOURS[rng.integers(0, 3, 5_000)],
        "age": rng.uniform(18, 99, 5_000),
    }
    baseline = Baseline.fit(before)
    by = measures.fit(baseline, before)
    assert by is not None
    colour = COLOURS[rng.integers(0, 3, n)].astype(object)
    colour[: round(strange * n)] = "mauve"
    age = rng.uniform(20, 97, n)
    age[: round(far * n)] = 999.0
    age[n - round(missing * n) :] = np.nan
    after = {"colour": colour, "age": age}
    profile = baseline.profile(after)
    counted = measures.count(by, profile, after)
    seen = measures.Measured.empty(by)
    seen.add(counted)
    found = feature_figures(baseline, profile, PsiDocument("a"), seen)
    return WindowFigures(rows=n, features=found)


def test_a_colour_that_nobody_had_before_is_told_with_its_name() -> None:
    [breach] = value_breaches(window(1_000, strange=0.05), LIMITS)
    assert (breach.kind, breach.feature) == ("unseen_categories", "colour")
    assert (breach.metric, breach.value) == ("unseen_share", 0.05)
    assert breach.threshold == pytest.approx(0.01, abs=0.003)
    assert "5.0% of colour are categories that the baseline does not keep" in (
        breach.cause
    )


def test_an_age_beyond_the_range_is_told_with_the_range() -> None:
    [breach] = value_breaches(window(1_000, far=0.03), LIMITS)
    assert (breach.kind, breach.feature) == ("range_drift", "age")
    assert (breach.metric, breach.value, breach.n) == ("beyond_share", 0.03, 1_000)
    assert "beyond the baseline's range of 18" in breach.cause
    assert "where its 5000 rows allow 0.1%" in breach.cause


def test_missing_ages_are_neither_beyond_the_range_nor_strange() -> None:
    assert not list(value_breaches(window(1_000, missing=0.5), LIMITS))


@pytest.mark.parametrize("n", [2, 20, 200])
def test_as_little_as_chance_explains_calls_nobody(n: int) -> None:
    assert not list(value_breaches(window(n), LIMITS))
    # a strange row or two in twenty may be chance, and a third of them is not
    assert not list(value_breaches(window(20, strange=0.1, far=0.1), LIMITS))
    assert len(list(value_breaches(window(20, strange=0.35, far=0.35), LIMITS))) == 2


def test_weeks_of_seven_rows_and_thirty_columns_call_nobody() -> None:
    """Each row has one chance in a hundred and fifty, in each column, of lying beyond a
    baseline of 300: in a year of weeks a column in fifty has one.
    """
    rng = np.random.default_rng(8)
    weeks = np.full(30, 0)
    told = 0
    for _ in range(200):
        before = np.sort(rng.normal(size=(30, 300)), axis=1)
        after = rng.normal(size=(30, 7))
        beyond = (after < before[:, :1]) | (after > before[:, -1:])
        features = tuple(
            FeatureFigure(
                feature=f"x{place}",
                n=7,
                beyond=count,
                beyond_share=count / 7,
                baseline_n=300,
            )
            for place, count in enumerate(beyond.sum(axis=1).tolist())
        )
        weeks += beyond.any(axis=1)
        told += bool(
            list(value_breaches(WindowFigures(rows=7, features=features), LIMITS))
        )
    assert weeks.sum() > 100, "it happens all the time"
    assert told <= 0.05 * 200


def test_a_rise_that_does_not_matter_calls_nobody() -> None:
    small = window(20_000, strange=0.008, far=0.008)
    assert not list(value_breaches(small, LIMITS))
    strict = Thresholds(unseen_rise=0.0, beyond_rise=0.0)
    assert {b.kind for b in value_breaches(small, strict)} == {
        "unseen_categories",
        "range_drift",
    }
    unsaid = Thresholds(unseen_rise=None, beyond_rise=None)
    assert not list(value_breaches(window(1_000, strange=0.5, far=0.5), unsaid))


def test_a_feature_that_was_told_of_is_not_told_of_again() -> None:
    both = window(1_000, strange=0.05, far=0.05)
    assert [b.feature for b in value_breaches(both, LIMITS, {"colour"})] == ["age"]


def test_figures_of_before_have_no_bounds_and_say_nothing() -> None:
    old = FeatureFigure(feature="x", n=10, unseen_share=1.0, beyond_share=1.0)
    assert not list(value_breaches(WindowFigures(rows=10, features=(old,)), LIMITS))


def test_the_cause_is_the_input_that_they_name() -> None:
    both = window(1_000, strange=0.05, far=0.05)
    assert {b.kind for b in value_breaches(both, LIMITS)} <= ABOUT_INPUTS

"""The health index says what the design says, and why."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import Invalid
from modelkeep.stats.business_days import business_days
from modelkeep.stats.health import (
    Colour,
    Evidence,
    Explanations,
    FeatureDrift,
    Feed,
    HealthDocument,
    HealthIndex,
    Mark,
    Outcome,
    Scale,
    Weights,
    health_index,
    score,
)

HOUSE = HealthDocument("health-1")
AUC = Scale(nominal=0.75, warning=0.72, hard=0.68)

FRESH = Feed("bureau", age=0.0, sla=1.0, evidence="feed-1")
STEADY = FeatureDrift("income", 0.0, 0.10, 0.25, importance=1, evidence="psi-1")
SHARP = Outcome("auc", 0.75, 0.76, AUC, "auc-1")
EXPLAINED = Explanations(1000, 1000, owing=200, missing=0, evidence="exp-1")
WELL = Evidence((FRESH,), (STEADY,), (SHARP,), EXPLAINED)


def index(known: Evidence) -> HealthIndex:
    return health_index(known, HOUSE)


def test_a_model_at_nominal_in_everything_scores_100() -> None:
    well = index(WELL)
    assert (well.value, well.colour, well.marks) == (100.0, Colour.GREEN, ())
    assert well.measured_weight == 1.0
    assert [c.score for c in well.components] == [100.0] * 4
    assert well.document == "health-1"


def test_the_index_is_the_weighted_geometric_mean() -> None:
    # a feed exactly at its SLA scores 85, a PSI at its hard limit 60
    known = WELL._replace(
        feeds=(FRESH._replace(age=1.0),), drifts=(STEADY._replace(psi=0.25),)
    )
    assert index(known).value == round(100 * 0.85**0.20 * 0.60**0.25, 4)


def test_no_index_is_better_coloured_than_its_worst_component() -> None:
    worse = index(WELL._replace(drifts=(STEADY._replace(psi=0.26),)))
    assert worse.value is not None
    assert worse.value > 85
    assert worse.colour is Colour.RED
    assert worse.worst == "feature stability"
    assert worse.cause == "income has PSI 0.2600, limits 0.1000 and 0.2500"
    assert worse.evidence == ("psi-1",)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.80, 100),
        (0.75, 100),
        (0.735, 92.5),
        (0.72, 85),
        (0.70, 72.5),
        (0.68, 60),
        (0.645, 30.5),
        (0.61, 1),
        (0.2, 1),
        (math.nan, 1),
        (-math.inf, 1),
    ],
)
def test_a_falling_metric_scores_linearly_between_its_limits(
    value: float, expected: float
) -> None:
    assert score(value, AUC, HOUSE) == pytest.approx(expected)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_worse_never_scores_better(one: float, other: float) -> None:
    age = Scale(nominal=0, warning=1, hard=2)
    low, high = sorted((one, other))
    assert 100 >= score(low, age, HOUSE) >= score(high, age, HOUSE) >= 1


# The design's worked examples.


def test_half_the_compulsory_reason_codes_missing_is_red() -> None:
    half = index(WELL._replace(explanations=EXPLAINED._replace(missing=100)))
    assert half.colour is Colour.RED
    assert half.worst == "explainability coverage"
    assert half.cause == "100 of 200 decisions lack a compulsory reason code"
    assert Mark.BREACH in half.marks


def test_a_new_12_month_default_model_is_amber_not_red_in_its_first_year() -> None:
    unborn = Outcome("auc", None, None, AUC, "cohort-1", immature=True)
    new = index(WELL._replace(outcomes=(unborn,)))
    assert (new.colour, new.measured_weight) == (Colour.AMBER, 0.65)
    assert Mark.IMMATURE in new.marks
    estimated = Outcome("auc", 0.75, 0.76, AUC, "cohort-1", immature=True)
    assert index(WELL._replace(outcomes=(estimated,))).colour is Colour.AMBER


def test_a_feed_that_rests_at_the_weekend_is_green_on_monday() -> None:
    friday = datetime(2013, 3, 1, 18, tzinfo=UTC)
    monday = datetime(2013, 3, 4, 9, tzinfo=UTC)
    feed = Feed("rates", business_days(friday, monday), 1.0, "feed-2")
    assert index(WELL._replace(feeds=(feed,))).colour is Colour.GREEN
    by_the_calendar = feed._replace(age=(monday - friday) / timedelta(days=1))
    assert index(WELL._replace(feeds=(by_the_calendar,))).colour is Colour.RED


def test_one_missing_compulsory_reason_code_is_a_breach_but_not_yet_red() -> None:
    owing = Explanations(10**6, 10**6, owing=10**6, missing=1, evidence="exp-2")
    one = index(WELL._replace(explanations=owing))
    assert (one.colour, one.marks) == (Colour.AMBER, (Mark.BREACH,))
    assert one.cause == "1 of 1000000 decisions lack a compulsory reason code"


def test_an_unapproved_version_makes_the_index_zero() -> None:
    caught = index(WELL._replace(unapproved="deployment-7"))
    assert (caught.value, caught.colour) == (0.0, Colour.RED)
    assert (caught.evidence, caught.marks) == (("deployment-7",), (Mark.UNAPPROVED,))
    assert [c.score for c in caught.components] == [100.0] * 4


def test_overdue_evidence_scores_1_and_is_red() -> None:
    late = Outcome("auc", None, None, AUC, "cohort-2", immature=True, overdue=True)
    outcome = index(WELL._replace(outcomes=(late,)))
    assert outcome.components[2].score == 1.0
    assert outcome.colour is Colour.RED
    assert outcome.cause == "outcomes for auc are overdue"
    feed = index(WELL._replace(feeds=(FRESH._replace(age=None),)))
    assert (feed.components[0].score, feed.colour) == (1.0, Colour.RED)
    assert Mark.OVERDUE in outcome.marks
    assert Mark.OVERDUE in feed.marks


def test_degradation_counts_only_as_far_as_its_bound_supports_it() -> None:
    # .60 looks terrible, but so few outcomes cannot tell it from .76
    few = Outcome("auc", 0.60, 0.76, AUC, "auc-2")
    assert index(WELL._replace(outcomes=(few,))).colour is Colour.GREEN
    many = Outcome("auc", 0.60, 0.61, AUC, "auc-3")
    assert index(WELL._replace(outcomes=(many,))).colour is Colour.RED


def test_the_most_degraded_metric_decides() -> None:
    brier = Outcome("brier", 0.21, 0.20, Scale(0.15, 0.18, 0.22), "brier-1")
    worst = index(WELL._replace(outcomes=(SHARP, brier)))
    assert worst.components[2].score == 72.5
    assert worst.evidence == ("brier-1",)
    assert worst.cause == (
        "brier is 0.2100 (measured; 95 % bound 0.2000),"
        " nominal 0.15, limits 0.18 and 0.22"
    )


def test_a_material_feature_cannot_hide_in_the_mean() -> None:
    quiet = [STEADY._replace(name=f"f{i}", importance=1) for i in range(20)]
    loud = STEADY._replace(name="loud", psi=0.6, importance=1)
    assert index(WELL._replace(drifts=(*quiet, loud))).components[1].score == 1.0
    # of no importance: the mean alone notices
    idle = loud._replace(importance=0)
    assert index(WELL._replace(drifts=(*quiet, idle))).components[1].score == 100.0


def test_without_importances_every_feature_counts_alike() -> None:
    two = (
        STEADY._replace(importance=0),
        STEADY._replace(name="age", psi=0.10, importance=0),
    )
    assert index(WELL._replace(drifts=two)).components[1].score == 85.0


def test_too_little_evidence_is_never_green_and_less_is_not_rated() -> None:
    # outcomes and freshness: .55 of the weight
    some = index(Evidence(feeds=(FRESH,), outcomes=(SHARP,)))
    assert (some.colour, some.value, some.measured_weight) == (
        Colour.AMBER,
        100.0,
        0.55,
    )
    little = index(Evidence(feeds=(FRESH,), drifts=(STEADY,)))
    assert (little.colour, little.value) == (Colour.NOT_RATED, None)
    nothing = index(Evidence())
    assert (nothing.colour, nothing.value) == (Colour.NOT_RATED, None)
    assert nothing.cause == "nothing was measured"


def test_a_component_that_is_not_owed_does_not_count() -> None:
    document = HealthDocument("tool-1", weights=Weights(0.3, 0.3, 0.4, 0.0))
    known = WELL._replace(explanations=None)
    tool = health_index(known, document)
    assert (tool.colour, tool.measured_weight, tool.marks) == (Colour.GREEN, 1.0, ())


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"weights": Weights(0.5, 0.5, 0.5, 0.5)}, "weights"),
        ({"freshness": Scale(0, 2, 1)}, "freshness"),
        ({"at_warning": 50.0}, "at_warning"),
        ({"material_from": 2.0}, "material_from"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(
    document: dict[str, float], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        HealthDocument("bad", **document)  # type: ignore[arg-type] # wrong on purpose
    assert refused.value.violations[0].field == field


@pytest.mark.parametrize(
    "known",
    [
        Evidence(explanations=EXPLAINED._replace(missing=300)),
        Evidence(explanations=EXPLAINED._replace(valid=1001)),
        Evidence(feeds=(FRESH._replace(sla=0),)),
        Evidence(drifts=(STEADY._replace(importance=math.nan),)),
    ],
)
def test_impossible_evidence_is_refused(known: Evidence) -> None:
    with pytest.raises(Invalid):
        index(known)


def test_holidays_are_not_business_days() -> None:
    eve = datetime(2013, 12, 24, 12, tzinfo=UTC)
    after = datetime(2013, 12, 26, 12, tzinfo=UTC)
    assert business_days(eve, after, {date(2013, 12, 25)}) == 1.0
    assert business_days(after, eve) == 0.0


def test_business_days_are_those_of_the_feeds_own_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    friday_evening = datetime(2013, 3, 1, 18, tzinfo=tokyo)
    # Sunday 15:00 UTC is Monday 00:00 in Tokyo
    assert business_days(friday_evening, datetime(2013, 3, 3, 15, tzinfo=UTC)) == 0.25
    with pytest.raises(Invalid):
        business_days(friday_evening.replace(tzinfo=None), friday_evening)

"""Reviews fall due, findings are answered by one and closed by another."""

from __future__ import annotations

import pytest
from tests.unit.inventory_words import (
    AUDITOR,
    DAY,
    ENGINEER,
    OFFICER,
    OWNER,
    REACTOR,
    SECOND_VALIDATOR,
    VALIDATOR,
    classify,
    days,
    fraud,
)

from modelkeep.errors import Invalid, NotFound
from modelkeep.events import inventory as e
from modelkeep.testing import actor
from modelkeep.testing.deciding import NOON, Past
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory.months import add_months

RAISE = c.RaiseFinding(
    model="fraud",
    finding="f-1",
    title="No challenger",
    severity="high",
    vector="governance_lapse",
    owner="olga",
    due_at=days(30),
)
RESPOND = c.RespondToFinding(model="fraud", finding="f-1", response="one is trained")
CLOSE = c.CloseFinding(model="fraud", finding="f-1", evidence="challenger of May")
ACCEPT = c.AcceptRisk(
    model="fraud", subject="f-1", until=days(60), reason="replaced by then"
)


def raised() -> Past:
    return fraud().when(RAISE, by=VALIDATOR).and_then()


def answered() -> Past:
    return raised().when(RESPOND, by=OWNER).and_then()


def test_a_finding_has_an_owner_a_severity_and_a_date() -> None:
    (said,) = fraud().when(RAISE, by=AUDITOR).events
    assert isinstance(said, e.FindingRaised)
    assert said.raised_by == AUDITOR.person
    raised().when(RAISE, by=VALIDATOR).then_refused("inventory.finding-once")


def test_a_finding_without_a_name_gets_one_from_its_request() -> None:
    unnamed = RAISE.model_copy(update={"finding": None})
    (said,) = fraud().when(unnamed, by=VALIDATOR, command_id="0192f0c1-2b3c-7").events
    assert isinstance(said, e.FindingRaised)
    assert said.finding == "finding-0192f0c1-2b3c"


def test_a_finding_is_due_in_the_future_and_about_a_known_version() -> None:
    past = RAISE.model_copy(update={"due_at": NOON})
    fraud().when(past, by=VALIDATOR).then_raises(Invalid)
    elsewhere = RAISE.model_copy(update={"version": "9"})
    fraud().when(elsewhere, by=VALIDATOR).then_raises(NotFound)


def test_a_validator_who_did_not_answer_closes_a_finding() -> None:
    past = answered().when(CLOSE, by=SECOND_VALIDATOR).and_then()
    past.when(CLOSE, by=VALIDATOR).then_refused("inventory.finding-open")
    past.when(RESPOND, by=OWNER).then_refused("inventory.finding-open")
    past.when(ACCEPT, by=OFFICER).then_refused("inventory.finding-open")


def test_who_answered_does_not_close() -> None:
    helper = actor("vera-2", "engineer", "validator")
    past = raised().when(RESPOND, by=helper).and_then()
    past.when(CLOSE, by=helper).then_refused("inventory.closure-independent")
    owner = actor("olga", "validator")
    past.when(CLOSE, by=owner).then_refused("inventory.closure-independent")


def test_who_raised_it_does_not_answer_it() -> None:
    two_hats = actor("vera", "validator", "engineer")
    raised().when(RESPOND, by=two_hats).then_refused("inventory.response-not-own")


def test_a_finding_nobody_answered_is_not_closed() -> None:
    raised().when(CLOSE, by=SECOND_VALIDATOR).then_refused("inventory.finding-answered")
    raised().when(
        CLOSE.model_copy(update={"finding": "f-9"}), by=VALIDATOR
    ).then_raises(NotFound)


def overdue(at: object) -> c.NoteFindingOverdue:
    return c.NoteFindingOverdue.model_validate(
        {"model": "fraud", "finding": "f-1", "instant": at}
    )


def test_a_finding_is_overdue_by_the_clock_once() -> None:
    raised().when(overdue(days(29)), by=REACTOR).then_nothing()
    past = raised().when(overdue(days(30)), by=REACTOR).and_then()
    past.when(overdue(days(31)), by=REACTOR).then_nothing()


def test_a_closed_finding_is_not_overdue() -> None:
    past = answered().when(CLOSE, by=SECOND_VALIDATOR).and_then()
    past.when(overdue(days(31)), by=REACTOR).then_nothing()


def test_an_accepted_risk_is_not_overdue_before_its_date() -> None:
    past = answered().when(ACCEPT, by=OFFICER).and_then()
    past.when(overdue(days(30)), by=REACTOR).then_nothing()
    (said,) = past.when(overdue(days(60)), by=REACTOR).events
    assert isinstance(said, e.FindingOverdue)
    assert said.due_at == days(60)


def test_who_must_answer_does_not_accept_the_risk() -> None:
    for person in ("olga",):
        own = actor(person, "risk_officer")
        raised().when(ACCEPT, by=own).then_refused("inventory.acceptance-independent")


@pytest.mark.parametrize("until", [days(0), days(367)])
def test_a_risk_is_accepted_for_a_year_at_most(until: object) -> None:
    command = c.AcceptRisk.model_validate({**dict(ACCEPT), "until": until})
    raised().when(command, by=OFFICER).then_raises(Invalid)


# --- reviews -----------------------------------------------------------------------


def complete(review: str = "periodic-1") -> c.CompleteReview:
    return c.CompleteReview(
        model="fraud", review=review, outcome="satisfactory", notes="no change"
    )


def classified() -> Past:
    return fraud().when(classify(), by=OWNER).and_then()


def test_a_periodic_review_schedules_the_next() -> None:
    done, following = classified().when(complete(), by=VALIDATOR, at=days(300)).events
    assert isinstance(done, e.ReviewCompleted)
    assert isinstance(following, e.ReviewScheduled)
    assert following.review == "periodic-2"
    assert following.due_at == add_months(days(300), 12)


def test_who_builds_does_not_review() -> None:
    own = actor("olga", "validator")
    classified().when(complete(), by=own).then_refused("inventory.review-independent")


def test_a_review_is_overdue_by_the_clock_once_and_may_still_be_held() -> None:
    due = add_months(NOON, 12)

    def note(instant: object) -> c.NoteReviewOverdue:
        return c.NoteReviewOverdue.model_validate(
            {"model": "fraud", "review": "periodic-1", "instant": instant}
        )

    classified().when(note(due - DAY), by=REACTOR).then_nothing()
    past = classified().when(note(due), by=REACTOR).and_then()
    past.when(note(due + DAY), by=REACTOR).then_nothing()
    past = past.when(complete(), by=VALIDATOR, at=due + DAY).and_then()
    past.when(complete(), by=VALIDATOR).then_refused("inventory.review-open")


SCHEDULE = c.ScheduleReview(
    model="fraud", review="after-outage", kind="event", due_at=days(14), reason="outage"
)


def test_a_review_may_be_called_for_at_any_time_and_moved() -> None:
    past = classified().when(SCHEDULE, by=OFFICER).and_then()
    past.when(SCHEDULE, by=OFFICER).then_nothing()
    later = SCHEDULE.model_copy(update={"due_at": days(20)})
    (moved,) = past.when(later, by=OFFICER).events
    assert isinstance(moved, e.ReviewScheduled)
    assert moved.previous_due_at == days(14)
    (done,) = past.when(complete("after-outage"), by=AUDITOR).events
    assert isinstance(done, e.ReviewCompleted)


def test_a_periodic_review_is_not_put_off() -> None:
    later = SCHEDULE.model_copy(
        update={"review": "periodic-1", "kind": "periodic", "due_at": days(400)}
    )
    classified().when(later, by=OWNER).then_refused("inventory.review-cadence")
    other = later.model_copy(update={"kind": "event", "due_at": days(3)})
    classified().when(other, by=OWNER).then_refused("inventory.review-kind")


def test_a_review_in_the_past_is_invalid_and_an_unknown_one_unknown() -> None:
    past = SCHEDULE.model_copy(update={"due_at": NOON})
    fraud().when(past, by=OFFICER).then_raises(Invalid)
    fraud().when(complete("never"), by=VALIDATOR).then_raises(NotFound)


# --- promises ----------------------------------------------------------------------

PROPOSE = c.ProposeSla(
    model="fraud",
    sla="reasons",
    kind="explainability",
    terms=e.SlaTerms(coverage=0.99, reason_codes=True),
)


def test_a_second_person_accepts_an_sla() -> None:
    past = fraud().when(PROPOSE, by=OWNER).and_then()
    past.when(PROPOSE, by=OWNER).then_nothing()
    accept = c.AcceptSla(model="fraud", sla="reasons")
    past.when(accept, by=OWNER).then_refused("inventory.sla-second-person")
    (said,) = past.when(accept, by=OFFICER).events
    assert isinstance(said, e.SlaAccepted)
    assert said.terms == PROPOSE.terms
    past.when(accept, by=OFFICER).and_then().when(accept, by=OFFICER).then_nothing()
    fraud().when(accept, by=OFFICER).then_raises(NotFound)
    other = PROPOSE.model_copy(update={"kind": "audit"})
    past.when(other, by=OWNER).then_refused("inventory.sla-kind")


def test_an_slos_limits_grow_worse_in_its_direction() -> None:
    said = {
        "model": "fraud",
        "slo": "fpr",
        "metric": "false-positive-rate",
        "nominal": 0.02,
        "warning": 0.03,
        "hard": 0.05,
        "direction": "rises",
    }
    slo = c.DefineSlo.model_validate(said)
    fraud().when(slo, by=OWNER).and_then().when(slo, by=ENGINEER).then_nothing()
    with pytest.raises(Invalid, match="warning"):
        c.DefineSlo.model_validate(said | {"direction": "falls"})
    with pytest.raises(Invalid, match="hard"):
        c.DefineSlo.model_validate(said | {"hard": 0.03})


def test_money_is_checked_when_all_that_takes_is_said() -> None:
    said: dict[str, object] = {
        "model": "fraud",
        "slo": "fpr",
        "metric": "false-positive-rate",
        "nominal": 0.02,
        "warning": 0.03,
        "hard": 0.05,
        "direction": "rises",
        "money_per_hour": {"minor": 100, "currency": "EUR"},
        "kpi": "complaints",
        "kpi_direction": "rises",
        "kpi_money": {"minor": 4_000, "currency": "EUR"},
        "kpi_tolerance": 0.25,
    }
    slo = c.DefineSlo.model_validate(said)
    [told] = fraud().when(slo, by=OWNER).events
    assert isinstance(told, e.SloDefined)
    assert (told.kpi_direction, told.kpi_tolerance) == ("rises", 0.25)
    wrong: dict[str, object] = {
        "kpi": None,
        "kpi_direction": None,
        "kpi_money": {"minor": 4_000, "currency": "USD"},
        "money_per_hour": None,
        "kpi_tolerance": 0.0,
    }
    for field, value in wrong.items():
        with pytest.raises(Invalid, match=field):
            c.DefineSlo.model_validate(said | {field: value})


def test_a_kpi_of_a_period_may_be_corrected() -> None:
    kpi = c.RecordKpi(
        model="fraud", kpi="loss", value=10.0, period_start=NOON, period_end=days(30)
    )
    past = fraud().when(kpi, by=OWNER).and_then()
    past.when(kpi, by=OWNER).then_nothing()
    past.when(kpi.model_copy(update={"value": 11.0}), by=OWNER).and_then()
    with pytest.raises(Invalid, match="period_end"):
        c.RecordKpi.model_validate({**dict(kpi), "period_end": NOON})

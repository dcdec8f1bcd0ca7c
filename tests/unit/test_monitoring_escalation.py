"""Who is called about an alert, and when: given events, when the clock moves, then."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError

from modelkeep.events.attention import AlertEscalated, EscalationEnded, EscalationHeld
from modelkeep.testing.deciding import NOON, Past, given
from modelkeep_services.monitoring.escalation import (
    ESCALATION,
    RULES,
    EndEscalation,
    Escalate,
    EscalationRules,
    HoldEscalation,
    PlanEscalation,
)

HOUR = timedelta(hours=1)
HOLD = HoldEscalation(model="m", alert="a")
END = EndEscalation(model="m", alert="a")


def planned() -> Past:
    """An alert with a hundred hours: steps at 25, 50, 100 and 200."""
    plan = PlanEscalation(
        model="m", alert="a", raised_at=NOON, due_at=NOON + 100 * HOUR
    )
    return given(ESCALATION).when(plan).and_then()


def at(hours: float) -> Escalate:
    holders = {"owner": "olga", "risk_officer": "rita"}
    return Escalate(model="m", alert="a", instant=_at(hours), holders=holders)


def _at(hours: float) -> datetime:
    return NOON + hours * HOUR


def test_an_alert_nobody_acknowledged_goes_up_step_by_step() -> None:
    past = planned()
    past.when(at(24.9)).then_nothing()
    for step, (hour, role, to, because, following) in enumerate(
        [
            (25, "owner", "olga", "unacknowledged", _at(50)),
            (50, "risk_officer", "rita", "unacknowledged", _at(100)),
            (100, "risk_officer", "rita", "unresolved", _at(200)),
            (200, "business_owner", None, "unresolved", None),
        ],
        1,
    ):
        past = past.when(at(hour)).then(
            AlertEscalated.model_validate(
                {
                    "model": "m",
                    "alert": "a",
                    "step": step,
                    "role": role,
                    "to": to,
                    "because": because,
                    "due_at": _at(hour),
                    "next_due_at": following,
                }
            )
        )
        past.when(at(hour)).then_nothing()


def test_a_clock_that_jumps_brings_every_step_once() -> None:
    outcome = planned().when(at(1_000))
    steps = [e.step for e in outcome.events if isinstance(e, AlertEscalated)]
    assert steps == [1, 2, 3, 4]
    outcome.and_then().when(at(2_000)).then_nothing()


def test_steps_that_wait_for_acknowledgement_fall_away_with_it() -> None:
    past = (
        planned()
        .when(HOLD)
        .then(
            EscalationHeld(
                model="m", alert="a", replaces_due_at=_at(25), next_due_at=_at(100)
            )
        )
    )
    past.when(HOLD).then_nothing()
    past.when(at(60)).then_nothing()
    [event] = past.when(at(100)).events
    assert isinstance(event, AlertEscalated)
    assert (event.step, event.because) == (3, "unresolved")


def test_a_resolved_alert_calls_nobody() -> None:
    past = (
        planned()
        .when(END)
        .then(EscalationEnded(model="m", alert="a", replaces_due_at=_at(25)))
    )
    past.when(at(1_000)).then_nothing()
    past.when(END).then_nothing()
    plan = PlanEscalation(model="m", alert="a", raised_at=NOON, due_at=_at(9))
    past.when(plan).then_nothing()


def test_a_document_whose_steps_are_not_in_order_is_refused() -> None:
    with pytest.raises(ValidationError, match="one after another"):
        EscalationRules(version="v", says="s", steps=RULES.steps[::-1])

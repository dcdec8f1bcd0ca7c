"""Since when something was wrong: given events, when somebody finds out, then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from modelkeep.events.attention import OnsetEstablished
from modelkeep.testing.deciding import NOON, actor, given
from modelkeep_services.monitoring.onsets import ONSET, EstablishOnset

DAY = timedelta(days=1)
MACHINE = actor("monitoring.onsets", "reactor", human=False)


def onset(days: int, basis: str = "person", **changes: Any) -> EstablishOnset:
    said = {
        "incident": "inc-a-1",
        "onset": NOON - days * DAY,
        "reason": "the vendor says so",
        "basis": basis,
        "detected_at": NOON,
    }
    return EstablishOnset.model_validate(said | changes)


def test_a_person_establishes_an_onset_with_reason_and_evidence() -> None:
    evidence = ("0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a",)
    [event] = given(ONSET).when(onset(3, evidence=evidence)).events
    assert isinstance(event, OnsetEstablished)
    assert (event.onset, event.basis) == (NOON - 3 * DAY, "person")
    assert event.evidence == evidence


def test_saying_it_again_changes_nothing_and_another_word_replaces_it() -> None:
    past = given(ONSET).when(onset(3)).and_then()
    past.when(onset(3)).then_nothing()
    [event] = past.when(onset(2)).events
    assert isinstance(event, OnsetEstablished)
    assert event.replaces == NOON - 3 * DAY


def test_nothing_begins_after_it_was_detected() -> None:
    given(ONSET).when(onset(-1)).then_refused("monitoring.onset-before-detection")


def test_a_program_does_not_speak_as_a_person() -> None:
    given(ONSET).when(onset(3), by=MACHINE).then_refused("monitoring.people-judge")


def test_restatements_only_move_it_back_and_never_over_a_persons_word() -> None:
    past = given(ONSET).when(onset(3, "restatement"), by=MACHINE).and_then()
    past.when(onset(2, "restatement"), by=MACHINE).then_nothing()
    past = past.when(onset(5, "restatement"), by=MACHINE).and_then()
    past = past.when(onset(4)).and_then()
    past.when(onset(9, "restatement"), by=MACHINE).then_nothing()


def test_it_is_of_an_incident_or_of_an_alert() -> None:
    for wrong in (
        {"model": "m", "alert": "a"},
        {"incident": None},
        {"incident": None, "model": "m"},
    ):
        with pytest.raises(ValidationError):
            onset(1, **wrong)
    assert onset(1, incident=None, model="m", alert="a").subject == "m.a"

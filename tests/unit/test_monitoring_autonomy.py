"""How far a model may decide alone: given events, when a command comes, then events."""

from __future__ import annotations

from typing import Any

import pytest

from modelkeep.errors import NotFound, Refused
from modelkeep.events.attention import (
    AutonomyEvidence,
    AutonomyLowered,
    AutonomyProposed,
    AutonomyRaised,
)
from modelkeep.testing.deciding import Past, actor, given
from modelkeep_services.monitoring.autonomy import (
    AUTONOMY,
    LEVELS,
    ApproveAutonomy,
    LimitAutonomy,
    LowerAutonomy,
    ProposeAutonomy,
    RejectAutonomy,
)

OLGA, RITA = actor("olga", "owner"), actor("rita", "risk_officer")
MACHINE = actor("monitoring.autonomy", "reactor", human=False)
EVENT = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
AMPLE = AutonomyEvidence(
    tier=3,
    decisions=50_000,
    dispositions=5_000,
    overridden=100,
    override_rate=0.02,
    override_upper=0.025,
    budgets=1,
)


def evidence(**changes: Any) -> AutonomyEvidence:
    return AMPLE.model_copy(update=changes)


def propose(level: str, found: AutonomyEvidence | None = AMPLE) -> ProposeAutonomy:
    said = {"model": "m", "level": level, "reason": "it earned it", "evidence": found}
    return ProposeAutonomy.model_validate(said)


def approve(found: AutonomyEvidence = AMPLE, number: int = 1) -> ApproveAutonomy:
    return ApproveAutonomy(model="m", proposal=f"any-{number}", evidence=found)


def standing(level: str) -> Past:
    """A model of tier 3 that rose so far."""
    past = given(AUTONOMY)
    for step in LEVELS[1 : LEVELS.index(level) + 1]:
        past = past.when(propose(step), by=OLGA).and_then()
    return past


def test_a_tier_3_model_rises_on_evidence_alone() -> None:
    proposed, raised = given(AUTONOMY).when(propose("advise"), by=OLGA).events
    assert isinstance(proposed, AutonomyProposed)
    assert isinstance(raised, AutonomyRaised)
    assert not proposed.needs_approval
    assert (raised.from_level, raised.to_level) == ("shadow", "advise")
    assert raised.approved_by is None


@pytest.mark.parametrize("tier", [1, 2, None])
def test_tiers_1_and_2_and_the_unclassified_always_pass_a_human(
    tier: int | None,
) -> None:
    found = evidence(tier=tier)
    outcome = given(AUTONOMY).when(propose("advise", found), by=OLGA)
    [proposed] = outcome.events
    assert isinstance(proposed, AutonomyProposed)
    assert proposed.needs_approval
    past = outcome.and_then()
    past.when(approve(found), by=OLGA).then_refused("monitoring.autonomy-four-eyes")
    past.when(approve(found), by=MACHINE).then_refused("monitoring.people-judge")
    [raised] = past.when(approve(found), by=RITA).events
    assert isinstance(raised, AutonomyRaised)
    assert raised.approved_by == RITA.person


def test_what_is_missing_is_named() -> None:
    found = evidence(
        decisions=9_999,
        dispositions=12,
        override_upper=0.3,
        drift=True,
        budgets=0,
        strained=("late",),
    )
    outcome = standing("confirm").when(propose("act", found), by=OLGA)
    outcome.then_refused("monitoring.autonomy-evidence")
    said = str(outcome.error)
    for missing in (
        "9,999 of 10,000 decisions",
        "12 of 1,000 dispositions in 90 days",
        "as many as 30.0%, at most 5.0% allowed",
        "alert on people's overrides is open",
        "0 of 1 risk budgets",
        "no budget left in late",
    ):
        assert missing in said


def test_a_model_rises_one_level_at_a_time() -> None:
    for level in ("shadow", "confirm", "act"):
        given(AUTONOMY).when(propose(level), by=OLGA).then_refused(
            "monitoring.autonomy-one-step"
        )


def test_nothing_rises_without_evidence_or_by_a_program() -> None:
    bare = given(AUTONOMY).when(propose("advise", None), by=OLGA)
    bare.then_refused("monitoring.autonomy-evidence")
    by_program = given(AUTONOMY).when(propose("advise"), by=MACHINE)
    by_program.then_refused("monitoring.people-judge")


def test_an_approval_looks_at_the_evidence_again() -> None:
    found = evidence(tier=1)
    past = given(AUTONOMY).when(propose("advise", found), by=OLGA).and_then()
    burned = evidence(tier=1, strained=("late",))
    past.when(approve(burned), by=RITA).then_refused("monitoring.autonomy-evidence")


def test_a_rejected_proposal_cannot_be_approved() -> None:
    found = evidence(tier=1)
    past = given(AUTONOMY).when(propose("advise", found), by=OLGA).and_then()
    past.when(propose("advise", found), by=OLGA).then_nothing()
    reject = RejectAutonomy(model="m", proposal="any-1", reason="not yet")
    past = past.when(reject, by=RITA).and_then()
    past.when(approve(found), by=RITA).then_raises(NotFound)
    past = past.when(propose("advise", found), by=OLGA).and_then()
    assert past.when(approve(found, 2), by=RITA).events


@pytest.mark.parametrize(
    ("because", "to"),
    [
        ("budget_slowed", "confirm"),
        ("budget_exhausted", "advise"),
        ("override_drift", "advise"),
    ],
)
def test_what_burns_lowers_a_model_at_once_and_once(because: str, to: str) -> None:
    command = LimitAutonomy.model_validate(
        {"model": "m", "because": because, "reason": "r", "source": EVENT}
    )
    outcome = standing("act").when(command, by=MACHINE)
    [lowered] = outcome.events
    assert isinstance(lowered, AutonomyLowered)
    assert (lowered.from_level, lowered.to_level) == ("act", to)
    assert lowered.source == EVENT
    outcome.and_then().when(command, by=MACHINE).then_nothing()
    given(AUTONOMY).when(command, by=MACHINE).then_nothing()


def test_a_person_lowers_at_once_and_never_raises_so() -> None:
    lower = LowerAutonomy(model="m", level="shadow", reason="an audit")
    [event] = standing("confirm").when(lower, by=OLGA).events
    assert isinstance(event, AutonomyLowered)
    assert (event.to_level, event.because) == ("shadow", "person")
    up = LowerAutonomy(model="m", level="act", reason="why not")
    outcome = standing("confirm").when(up, by=OLGA)
    outcome.then_refused("monitoring.autonomy-lower")
    assert isinstance(outcome.error, Refused)

"""What a model is said to be: registration, tier, overrides, people."""

from __future__ import annotations

import pytest
from tests.unit.inventory_words import (
    AUDITOR,
    OFFICER,
    OWNER,
    REGISTERED,
    VALIDATOR,
    classify,
    days,
    fraud,
)

from modelkeep.decider import Command
from modelkeep.errors import Invalid, NotFound
from modelkeep.events import inventory as e
from modelkeep.testing import actor
from modelkeep.testing.deciding import NOON, given
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory.commands import (
    AttachCard,
    AttachSignature,
    ModelCommand,
)
from modelkeep_services.inventory.domain import (
    ANSWERS,
    APPETITE,
    MODEL,
)
from modelkeep_services.inventory.months import add_months

REGISTER = c.RegisterModel(
    model="fraud", title="Fraud", kind="trained", purpose="stop fraud", owner="olga"
)


def test_every_command_has_an_answer() -> None:
    # A card is read before it is decided about.
    checked_first: set[type[ModelCommand]] = {AttachCard, AttachSignature}
    assert set(ModelCommand.__subclasses__()) - checked_first == set(ANSWERS)


def test_a_model_registers_with_five_fields_and_owes_what_its_kind_owes() -> None:
    owed = ("card", "lineage", "validation", "baseline", "performance")
    given(MODEL).when(REGISTER, by=OWNER).then(
        REGISTERED.model_copy(update={"evidence_owed": owed})
    )


@pytest.mark.parametrize(
    ("kind", "owed"),
    [
        ("rulebook", "test-cases"),
        ("spreadsheet", "recalculation"),
        ("vendor", "outcome-tests"),
        ("generative", "human-oversight"),
    ],
)
def test_each_kind_says_which_evidence_it_owes(kind: str, owed: str) -> None:
    vendor = {"name": "Acme", "product": "Score"}
    command = c.RegisterModel.model_validate(
        {**dict(REGISTER), "kind": kind, "vendor": vendor}
    )
    (said,) = given(MODEL).when(command, by=OWNER).events
    assert isinstance(said, e.ModelRegistered)
    assert owed in said.evidence_owed


def test_a_model_is_registered_once() -> None:
    fraud().when(REGISTER).then_refused("inventory.registered-once")


def test_a_vendors_model_names_its_vendor() -> None:
    with pytest.raises(Invalid, match="vendor: is compulsory"):
        c.RegisterModel.model_validate({**dict(REGISTER), "kind": "vendor"})


def test_a_boundary_that_counts_names_its_column() -> None:
    with pytest.raises(Invalid, match=r"boundaries\.0\.column"):
        c.SetBoundaries.model_validate(
            {
                "model": "fraud",
                "boundaries": [{"name": "a", "statement": "b", "minimum": 1.0}],
            }
        )


def test_nothing_happens_to_a_model_nobody_registered() -> None:
    given(MODEL).when(classify()).then_raises(NotFound)


def test_whether_it_is_a_model_is_a_recorded_decision() -> None:
    command = c.DecideScope(model="fraud", is_model=False, rationale="adds two cells")
    past = fraud().when(command, by=OFFICER).and_then()
    past.when(command, by=OFFICER).then_nothing()


def test_uses_and_boundaries_said_again_are_not_news() -> None:
    uses = c.ApproveUses(model="fraud", uses=("cards", "wires"))
    past = fraud().when(uses, by=OFFICER).and_then()
    past.when(c.ApproveUses(model="fraud", uses=("wires", "cards"))).then_nothing()
    past.when(c.SetBoundaries(model="fraud")).then_nothing()


def test_what_is_a_persons_to_decide_no_program_decides() -> None:
    program = actor("bot", "risk_officer", human=False)
    past = fraud().when(classify(), by=OWNER).and_then()
    past.when(OVERRIDE, by=program).then_refused("inventory.a-persons")


# --- the tier ----------------------------------------------------------------------


def test_a_tier_is_derived_with_its_drivers_and_a_review_is_scheduled() -> None:
    classified, review = fraud().when(classify(), by=OWNER).events
    assert isinstance(classified, e.ModelClassified)
    assert (classified.tier, classified.source) == (1, "derived")
    assert (classified.drivers.materiality, classified.drivers.complexity) == (4, 2)
    assert classified.drivers.use == "fraud"
    assert classified.rubric == "tier-rubric v1"
    assert isinstance(review, e.ReviewScheduled)
    assert review.due_at == add_months(NOON, 12)


def test_the_same_drivers_again_change_nothing() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    past.when(classify(), by=OFFICER, at=days(3)).then_nothing()


def test_another_tier_moves_the_review_to_its_cadence() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    classified, moved = past.when(classify(purpose=2), by=OWNER, at=days(30)).events
    assert isinstance(classified, e.ModelClassified)
    assert classified.tier == 3
    assert isinstance(moved, e.ReviewScheduled)
    assert (moved.due_at, moved.previous_due_at) == (
        add_months(NOON, 36),
        add_months(NOON, 12),
    )


def test_a_review_that_a_riskier_tier_makes_late_is_due_at_once() -> None:
    past = fraud().when(classify(purpose=1, exposure_share=0), by=OWNER).and_then()
    _, moved = past.when(classify(), by=OWNER, at=days(500)).events
    assert isinstance(moved, e.ReviewScheduled)
    assert moved.due_at == days(500)


OVERRIDE = c.OverrideTier(
    model="fraud", tier=3, reason="a pilot of ten cases", expires_at=days(90)
)


def test_an_override_has_a_reason_and_an_end_and_keeps_the_derived_tier() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    said, _ = past.when(OVERRIDE, by=OFFICER).events
    assert isinstance(said, e.ModelClassified)
    assert (said.tier, said.derived_tier, said.source) == (3, 1, "override")
    assert said.expires_at == days(90)


@pytest.mark.parametrize("end", [days(181), days(0), days(-1)])
def test_an_override_ends_within_180_days(end: object) -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    command = c.OverrideTier.model_validate({**dict(OVERRIDE), "expires_at": end})
    past.when(command, by=OFFICER).then_raises(Invalid)


def test_an_owner_does_not_override_their_own_tier() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    two_hats = actor("olga", "owner", "risk_officer")
    past.when(OVERRIDE, by=two_hats).then_refused("inventory.override-not-own")


def test_there_must_be_a_tier_to_override() -> None:
    fraud().when(OVERRIDE, by=OFFICER).then_refused("inventory.classified-first")


def test_recomputation_under_an_override_is_not_an_override() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    past = past.when(OVERRIDE, by=OFFICER).and_then()
    (said,) = past.when(classify(purpose=3), by=OWNER, at=days(10)).events
    assert isinstance(said, e.ModelClassified)
    assert (said.tier, said.derived_tier, said.source) == (3, 2, "override")
    assert said.reason == "a pilot of ten cases"
    assert said.expires_at == days(90)


def test_an_override_ends_by_the_clock_and_the_derived_tier_returns() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    past = past.when(OVERRIDE, by=OFFICER).and_then()
    early = c.ExpireOverride(model="fraud", expired_at=days(89))
    past.when(early, at=days(89)).then_nothing()
    due = c.ExpireOverride(model="fraud", expired_at=days(90))
    expired, _ = past.when(due, at=days(90)).events
    assert expired == e.OverrideExpired(
        model="fraud", tier=1, overridden_tier=3, expired_at=days(90)
    )
    past = past.when(due, at=days(90)).and_then()
    past.when(due, at=days(91)).then_nothing()


def test_after_its_end_an_override_no_longer_holds_a_recomputation() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    past = past.when(OVERRIDE, by=OFFICER).and_then()
    said, *_ = past.when(classify(purpose=3), by=OWNER, at=days(90)).events
    assert isinstance(said, e.ModelClassified)
    assert (said.tier, said.source, said.expires_at) == (2, "derived", None)


def test_models_of_one_use_follow_its_exposure() -> None:
    past = fraud().when(classify(use="cards", exposure_share=0.001), by=OWNER)
    follow = c.FollowExposure(
        model="fraud", use="cards", exposure_share=0.06, stated_for="aml"
    )
    said, _ = past.and_then().when(follow).events
    assert isinstance(said, e.ModelClassified)
    assert (said.drivers.exposure, said.tier, said.exposure_from) == (4, 1, "aml")
    elsewhere = follow.model_copy(update={"use": "wires"})
    past.and_then().when(elsewhere).then_nothing()


# --- people ------------------------------------------------------------------------


def assign(role: str, subject: str) -> c.AssignRole:
    return c.AssignRole.model_validate(
        {"model": "fraud", "role": role, "subject": subject}
    )


def vacate(role: str, subject: str) -> c.VacateRole:
    return c.VacateRole.model_validate(
        {"model": "fraud", "role": role, "subject": subject}
    )


def test_a_role_may_be_several_peoples() -> None:
    past = fraud().when(assign("engineer", "emil"), by=OWNER).and_then()
    past = past.when(assign("engineer", "ella"), by=OWNER).and_then()
    past.when(assign("engineer", "emil"), by=OWNER).then_nothing()
    past.when(vacate("engineer", "emil"), by=OWNER).and_then()


def test_an_owner_is_one_person() -> None:
    left, came = fraud().when(assign("owner", "otto"), by=OWNER).events
    assert isinstance(left, e.RoleVacated)
    assert isinstance(came, e.RoleAssigned)
    assert (left.subject, came.subject) == ("olga", "otto")


@pytest.mark.parametrize("role", ["validator", "risk_officer", "auditor"])
def test_nobody_challenges_what_they_own(role: str) -> None:
    fraud().when(assign(role, "olga"), by=OFFICER).then_refused("inventory.three-lines")


def test_a_validator_is_compulsory_in_tier_one_and_an_orphan_raises_an_alarm() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    for role, who in [
        ("engineer", "emil"),
        ("business_owner", "bea"),
        ("risk_officer", "rosa"),
        ("validator", "vera"),
    ]:
        past = past.when(assign(role, who), by=OWNER).and_then()
    _, alarm = past.when(vacate("validator", "vera"), by=OFFICER).events
    assert alarm == e.RolesOrphaned(model="fraud", missing=("validator",), tier=1)


def test_a_second_validator_keeps_the_role_filled() -> None:
    past = fraud().when(classify(), by=OWNER).and_then()
    past = past.when(assign("validator", "vera"), by=OWNER).and_then()
    past = past.when(assign("validator", "viktor"), by=OWNER).and_then()
    events = past.when(vacate("validator", "vera"), by=OFFICER).events
    assert [type(one) for one in events] == [e.RoleVacated]


def test_a_role_that_is_not_compulsory_may_be_empty() -> None:
    past = fraud().when(assign("auditor", "anna"), by=AUDITOR).and_then()
    events = past.when(vacate("auditor", "anna"), by=AUDITOR).events
    assert [type(one) for one in events] == [e.RoleVacated]


def test_nobody_leaves_a_role_they_do_not_hold() -> None:
    fraud().when(vacate("engineer", "emil"), by=OWNER).then_raises(NotFound)


# --- appetite ----------------------------------------------------------------------


def test_an_appetite_said_again_is_not_news() -> None:
    command: Command = c.SetAppetite(
        business_line="retail", text="half of the budgets", share=0.5
    )
    past = given(APPETITE).when(command, by=OFFICER).and_then()
    past.when(command, by=OFFICER).then_nothing()
    past.when(command, by=VALIDATOR).and_then()

"""Versions are immutable, validations independent, material changes void."""

from __future__ import annotations

import pytest
from tests.unit.inventory_words import (
    ENGINEER,
    OFFICER,
    OWNER,
    REACTOR,
    V1,
    V2,
    VALIDATOR,
    artifact,
    classify,
    days,
    deploy,
    digest,
    fraud,
    registered,
    verdict,
)

from modelkeep.errors import Invalid, NotFound
from modelkeep.events import inventory as e
from modelkeep.testing import actor
from modelkeep.testing.deciding import NOON
from modelkeep_services.inventory import commands as c


def register(of: str = "a", **said: object) -> c.RegisterVersion:
    return c.RegisterVersion.model_validate(
        {"model": "fraud", "version": "1", "artifacts": (artifact(of),), **said}
    )


def test_a_versions_digest_is_that_of_its_artifacts_in_any_order() -> None:
    one, two = artifact("a"), artifact("b")
    assert e.version_digest([one, two]) == e.version_digest([two, one])
    fraud().when(register(), by=ENGINEER).then(registered("1", "a"))


def test_a_version_is_immutable() -> None:
    past = fraud(registered("1", "a"))
    past.when(register("a"), by=ENGINEER).then_nothing()
    past.when(register("b"), by=ENGINEER).then_refused("inventory.version-immutable")


def test_a_digest_that_is_not_the_artifacts_is_invalid() -> None:
    fraud().when(register(digest=V2), by=ENGINEER).then_raises(Invalid)


def test_a_parent_must_be_known() -> None:
    fraud().when(register(parent="0"), by=ENGINEER).then_raises(NotFound)


# --- cards -------------------------------------------------------------------------


def attach(**said: object) -> c.AttachCheckedCard:
    values: dict[str, object] = {
        "model": "fraud",
        "version": "1",
        "digest": V1,
        "card_digest": digest("f"),
        "size": 100,
        "hashes": (digest("a"),),
    }
    return c.AttachCheckedCard.model_validate(values | said)


def test_a_card_travels_with_the_version_it_speaks_of() -> None:
    past = fraud(registered("1", "a")).when(attach(), by=ENGINEER).and_then()
    past.when(attach(), by=ENGINEER).then_nothing()


def test_a_card_of_other_artifacts_is_refused() -> None:
    past = fraud(registered("1", "a"))
    other = attach(hashes=(digest("b"),))
    past.when(other, by=ENGINEER).then_refused("inventory.card-of-version")
    past.when(attach(digest=V2)).then_refused("inventory.same-digest")


# --- validation --------------------------------------------------------------------


def validate(**said: object) -> c.RecordValidation:
    values: dict[str, object] = {
        "model": "fraud",
        "version": "1",
        "digest": V1,
        "outcome": "approved",
        "metrics": {"auc": 0.7},
    }
    return c.RecordValidation.model_validate(values | said)


def test_a_validator_validates_a_digest() -> None:
    (said,) = fraud(registered("1", "a")).when(validate(), by=VALIDATOR).events
    assert isinstance(said, e.ValidationRecorded)
    assert said.validator == VALIDATOR.person


@pytest.mark.parametrize("who", ["olga", "emil"])
def test_who_owns_or_registered_it_does_not_validate_it(who: str) -> None:
    past = fraud(registered("1", "a"))
    too_near = actor(who, "validator")
    past.when(validate(), by=too_near).then_refused("inventory.validator-independent")


def test_an_engineer_of_the_model_does_not_validate_it() -> None:
    engineer = e.RoleAssigned(
        model="fraud", role="engineer", subject="ella", issuer="tests"
    )
    past = fraud(registered("1", "a"), engineer)
    too_near = actor("ella", "validator")
    past.when(validate(), by=too_near).then_refused("inventory.validator-independent")


def test_another_digest_is_not_what_was_registered() -> None:
    past = fraud(registered("1", "a"))
    past.when(validate(digest=V2), by=VALIDATOR).then_refused("inventory.same-digest")
    past.when(validate(version="2"), by=VALIDATOR).then_raises(NotFound)


def test_a_conditional_outcome_has_conditions_and_an_end() -> None:
    with pytest.raises(Invalid, match="conditions"):
        validate(outcome="conditional", valid_until=days(30))
    with pytest.raises(Invalid, match="valid_until"):
        validate(outcome="conditional", conditions=("below 10k",))
    past = fraud(registered("1", "a"))
    over = validate(outcome="conditional", conditions=("x",), valid_until=NOON)
    past.when(over, by=VALIDATOR).then_raises(Invalid)


def test_limitations_name_the_monitor_that_watches_them() -> None:
    said = {"text": "unseen routes are guessed", "monitor": "new-categories"}
    command = validate(limitations=[said], assumptions=[{"text": "fares are paid"}])
    (event,) = fraud(registered("1", "a")).when(command, by=VALIDATOR).events
    assert isinstance(event, e.ValidationRecorded)
    assert event.limitations[0].monitor == "new-categories"


# --- verdicts ----------------------------------------------------------------------


def record_verdict(source: str = "v-1") -> c.RecordVerdict:
    return c.RecordVerdict.model_validate(dict(verdict(source)))


def test_a_verdict_is_copied_once() -> None:
    past = fraud().when(record_verdict(), by=REACTOR).then(verdict())
    past.when(record_verdict(), by=REACTOR).then_nothing()


def test_a_revocation_names_the_verdicts_of_its_request() -> None:
    past = fraud(verdict("v-1", request="r"), verdict("v-2", request="other"))
    command = c.RecordRevocation(
        model="fraud", request="r", reason="new finding", source="s"
    )
    (said,) = past.when(command, by=REACTOR).events
    assert isinstance(said, e.VerdictRevoked)
    assert said.verdicts == ("v-1",)
    past = past.when(command, by=REACTOR).and_then()
    past.when(command, by=REACTOR).then_nothing()


# --- changes -----------------------------------------------------------------------


def change(**said: object) -> c.ClassifyChange:
    values: dict[str, object] = {
        "model": "fraud",
        "change": "c-1",
        "version": "1",
        "kinds": ("recalibration",),
        "rationale": "daily drift of the base rate",
    }
    return c.ClassifyChange.model_validate(values | said)


ENVELOPE = e.EnvelopeApproved(
    model="fraud",
    envelope="daily",
    kinds=("recalibration",),
    limits="intercept within 0.2",
    until=days(30),
    approved_by=VALIDATOR.person,
)


def test_a_material_change_voids_what_was_approved() -> None:
    past = fraud(registered("1", "a"), verdict(), verdict("v-2", V2))
    (said,) = past.when(change(material=True), by=ENGINEER).events
    assert isinstance(said, e.ChangeClassified)
    assert said.voids == ("v-1",)
    past = past.when(change(material=True), by=ENGINEER).and_then()
    past.when(deploy(), by=ENGINEER).then_refused("inventory.verdict-in-force")


def test_a_change_inside_an_envelope_is_not_material() -> None:
    past = fraud(registered("1", "a"), ENVELOPE, verdict())
    (said,) = past.when(change(envelope="daily"), by=ENGINEER).events
    assert isinstance(said, e.ChangeClassified)
    assert not said.material
    past = past.when(change(envelope="daily"), by=ENGINEER).and_then()
    past.when(deploy(), by=ENGINEER).and_then()


def test_an_envelope_covers_its_kinds_until_its_end() -> None:
    past = fraud(registered("1", "a"), ENVELOPE)
    beyond = change(envelope="daily", kinds=("recalibration", "features"))
    past.when(beyond, by=ENGINEER).then_refused("inventory.envelope-covers")
    late = past.when(change(envelope="daily"), by=ENGINEER, at=days(30))
    late.then_refused("inventory.envelope-open")
    past.when(change(envelope="weekly"), by=ENGINEER).then_raises(NotFound)


def test_in_the_upper_tiers_builders_do_not_say_what_is_harmless() -> None:
    past = fraud(registered("1", "a")).when(classify(), by=OWNER).and_then()
    harmless = change(material=False)
    past.when(harmless, by=ENGINEER).then_refused("inventory.materiality-second-line")
    past.when(harmless, by=VALIDATOR).and_then()


def test_a_change_is_classified_once() -> None:
    past = fraud(registered("1", "a")).when(change(material=True)).and_then()
    past.when(change(material=True)).then_refused("inventory.change-once")


def test_a_change_says_whether_it_is_material_or_which_envelope_it_is_in() -> None:
    with pytest.raises(Invalid, match="material"):
        change()
    with pytest.raises(Invalid, match="material"):
        change(material=True, envelope="daily")


def test_an_envelope_is_approved_by_somebody_else_than_who_works_in_it() -> None:
    command = c.ApproveEnvelope.model_validate(
        ENVELOPE.model_dump(exclude={"approved_by"})
    )
    fraud().when(command, by=VALIDATOR).then(ENVELOPE)
    own = actor("olga", "owner", "risk_officer")
    fraud().when(command, by=own).then_refused("inventory.envelope-independent")
    fraud().when(command, by=OFFICER, at=days(31)).then_raises(Invalid)

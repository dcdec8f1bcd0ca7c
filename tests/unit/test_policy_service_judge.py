"""What a bundle says of some facts: exceptions, seats, and the same answer again."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.events.base import decode, encode
from modelkeep.events.policy import (
    Approval,
    Barred,
    Judgement,
    VerdictGiven,
    Waiver,
)
from modelkeep.events.types import Person
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.check import changed
from modelkeep.policy.defaults import baseline, text
from modelkeep.policy.facts import from_document
from modelkeep.policy.program import program_of
from modelkeep_services.policy.judge import Answer, judge
from modelkeep_services.policy.replay import differences, facts_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(baseline())


def facts(bundle: Bundle, name: str = "promote-tier-1", **changes: object) -> Facts:
    """A fixture of the packaged bundle; names use __ for dots, None takes away."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    kept = {key: value for key, value in named.items() if value is not None}
    gone = [key for key, value in named.items() if value is None]
    return from_document(changed(bundle.document.fixtures[name], kept, gone))


def answer(
    bundle: Bundle,
    given: Facts,
    *,
    waived: str = "",
    approvals: tuple[Approval, ...] = (),
    parties: tuple[Barred, ...] = (),
) -> Answer:
    waivers = (Waiver(exception="ex", rule=waived, until=LATER),) if waived else ()
    return judge(
        program_of(bundle),
        given,
        waivers=waivers,
        approvals=approvals,
        parties=parties,
        now=NOW,
    )


def approval(subject: str, *roles: str) -> Approval:
    who = Person(issuer="hr", subject=subject)
    return Approval(by=who, roles=roles, at=NOW - timedelta(days=1), request="r1")


PEOPLE = (
    approval("rob", "risk_officer"),
    approval("vera", "validator"),
    approval("ben", "business_owner"),
)


def test_what_people_owe_makes_a_verdict_pending(bundle: Bundle) -> None:
    said = answer(bundle, facts(bundle, approvals=None))
    assert said.verdict == "pending"
    assert [one.role for one in said.owed] == [
        "risk_officer",
        "validator",
        "business_owner",
    ]
    assert said.duties[0].max_age_s == 336 * 3600


def test_approvals_given_before_count_again(bundle: Bundle) -> None:
    assert answer(bundle, facts(bundle), approvals=PEOPLE).verdict == "allow"


def test_parties_fill_no_seat_whatever_the_bundle_says(bundle: Bundle) -> None:
    rob = Barred(person=Person(issuer="hr", subject="rob"), why="the owner")
    said = answer(bundle, facts(bundle), approvals=PEOPLE, parties=(rob,))
    assert said.verdict == "pending"
    assert [one.role for one in said.owed] == ["risk_officer"]


def test_a_denial_outweighs_what_is_owed(bundle: Bundle) -> None:
    said = answer(bundle, facts(bundle, version__card_present=False, approvals=None))
    assert said.verdict == "deny"
    assert "evidence/card" in said.reasons[0]


def test_an_exception_sets_one_rule_aside_and_says_so(bundle: Bundle) -> None:
    given = facts(bundle, version__card_present=False)
    said = answer(bundle, given, waived="evidence/card", approvals=PEOPLE)
    assert said.verdict == "allow"
    assert said.reasons[0].startswith("exception ex until 2026-03-31 sets aside")
    (rule,) = (one for one in said.rules if one.rule == "evidence/card")
    assert rule.waived_by == "ex"
    assert not rule.denies


def test_an_exception_for_missing_evidence_holds_too(bundle: Bundle) -> None:
    given = facts(bundle, evidence__lineage_complete=None)
    said = answer(bundle, given, waived="evidence/lineage", approvals=PEOPLE)
    assert said.verdict == "allow"


def test_an_exception_sets_no_other_rule_aside(bundle: Bundle) -> None:
    given = facts(bundle, version__card_present=False, evidence__performance=0.1)
    said = answer(bundle, given, waived="evidence/card", approvals=PEOPLE)
    assert said.verdict == "deny"
    assert any("performance/floor" in why for why in said.reasons)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"model__suspended": True}, "standing/suspended"),
        ({"actor__human": False}, "promote-access/engineer"),
        (
            {"evidence__validated_by__subject": "olga"},
            "separation-of-duties/validator-is-owner",
        ),
    ],
)
def test_no_exception_sets_aside_a_prohibition_or_a_permission(
    bundle: Bundle, change: dict[str, object], rule: str
) -> None:
    said = answer(
        bundle, facts(bundle, "promote-tier-1", **change), waived=rule, approvals=PEOPLE
    )
    assert said.verdict == "deny"


@pytest.mark.parametrize(
    "change",
    [{"action": "fly"}, {"action": None}, {"model__tier": None}, {"env": "moon"}],
)
def test_what_the_bundle_does_not_know_is_denied(
    bundle: Bundle, change: dict[str, object]
) -> None:
    said = answer(bundle, facts(bundle, "promote-tier-1", **change), approvals=PEOPLE)
    assert said.verdict == "deny"
    assert said.duties == ()


def test_a_stored_verdict_is_reproduced_from_its_own_bytes(bundle: Bundle) -> None:
    for name, waived in (("promote-tier-1", "evidence/card"), ("rollback", "")):
        given = facts(bundle, name)
        said = answer(bundle, given, waived=waived, approvals=PEOPLE)
        event = stored(said)
        again = answer(bundle, facts_of(event), waived=waived, approvals=PEOPLE)
        assert differences(event, again) == []


def test_another_fact_makes_a_difference_that_is_named(bundle: Bundle) -> None:
    event = stored(answer(bundle, facts(bundle), approvals=PEOPLE))
    again = answer(bundle, facts(bundle, evidence__performance=0.1))
    assert "verdict differs" in differences(event, again)
    assert "facts_digest differs" in differences(event, again)


def stored(said: Answer) -> VerdictGiven:
    judgement = Judgement.model_validate(
        {
            "action": "promote",
            "model": "credit",
            "bundle": DIGEST,
            "bundle_name": "baseline",
            "bundle_version": "1.0.0",
            "facts": b64encode(said.facts).decode(),
            "stood_at": 1,
            "requested_by": PEOPLE[0].by,
            "human": True,
            "expires_at": LATER,
            **said.said,
        }
    )
    event = VerdictGiven(**dict(judgement), request="r1")
    read = decode(event.event_name, event.event_version, encode(event))
    assert isinstance(read, VerdictGiven)
    return read


def test_a_change_asks_people_where_nothing_else_does() -> None:
    telecom = load_bundle(text("telecom"))
    given = facts(telecom, "promote-changed", approvals=None)
    said = answer(telecom, given)
    assert said.verdict == "pending"
    assert [(one.policy, one.role) for one in said.owed] == [
        ("changed", "business_owner")
    ]
    assert answer(telecom, given, approvals=PEOPLE).verdict == "allow"
    unchanged = facts(
        telecom, "promote-changed", approvals=None, version__material_change=False
    )
    said = answer(telecom, unchanged)
    assert (said.verdict, said.duties) == ("allow", ())


def test_whether_it_changed_must_be_known() -> None:
    telecom = load_bundle(text("telecom"))
    said = answer(
        telecom, facts(telecom, "promote-changed", version__material_change=None)
    )
    assert said.verdict == "deny"
    assert said.missing == ("version.material_change",)
    assert "whether approval is owed cannot be told" in said.reasons[0]


def test_no_exception_sets_an_invariant_aside() -> None:
    lending = load_bundle(text("retail-credit"))
    given = facts(lending, "promote-low", evidence__validated__adverse_impact_ratio=0.5)
    said = answer(lending, given, waived="fair-lending/adverse-impact")
    assert said.verdict == "deny"

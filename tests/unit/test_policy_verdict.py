"""What a verdict is and what it never is: no ALLOW without every fact it rests on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.errors import Invalid
from modelkeep.policy import facts
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.check import changed
from modelkeep.policy.defaults import baseline
from modelkeep.policy.program import program_of
from modelkeep.policy.quorum import Person, seat
from modelkeep.policy.verdict import Decision, Outcome, Verdict

BUNDLE = load_bundle(baseline())
FIXTURES = BUNDLE.document.fixtures
# With what only a warning reads, and with names that only people read.
PROMOTE = changed(
    FIXTURES["promote-tier-1"],
    {
        "evidence.sample_size": 1000,
        "evidence.features.0.name": "income",
        "evidence.features.1.name": "age",
    },
    (),
)


def ask(document: Mapping[str, object], bundle: Bundle = BUNDLE) -> Verdict:
    return program_of(bundle).evaluate(facts.from_document(document))


def leaves(node: object, at: str = "") -> Iterator[str]:
    """Every fact of a document, each list and each item of a list counted as one."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{at}.{key}" if at else key)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield f"{at}.{number}"
            if isinstance(value, dict):
                yield from leaves(value, f"{at}.{number}")
    if at and not at.rsplit(".", 1)[-1].isdecimal():
        yield at


DELETIONS = [
    (fixture, name)
    for fixture, document in FIXTURES.items()
    for name in leaves(document)
]


def value_of(node: object, name: str) -> object:
    for step in name.split("."):
        node = node[int(step)] if isinstance(node, list) else at(node, step)
    return node


def at(node: object, step: str) -> object:
    assert isinstance(node, dict)
    return node[step]


NUMBERS = [
    (fixture, name)
    for fixture, name in DELETIONS
    if isinstance(value_of(FIXTURES[fixture], name), float)
]


@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_good_fixture_is_allowed(fixture: str) -> None:
    verdict = ask(FIXTURES[fixture])
    assert verdict.decision is Decision.ALLOW
    assert all(why.startswith("warning: ") for why in verdict.reasons)
    assert verdict.missing == ()


@pytest.mark.parametrize(("fixture", "name"), DELETIONS)
def test_no_fact_can_be_deleted_and_leave_an_allow(fixture: str, name: str) -> None:
    verdict = ask(changed(FIXTURES[fixture], {}, [name]))
    assert verdict.decision is not Decision.ALLOW
    assert verdict.reasons


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", 1e300, -1e31])
@pytest.mark.parametrize(("fixture", "name"), NUMBERS)
def test_what_is_not_a_number_never_allows(
    fixture: str, name: str, bad: str | float
) -> None:
    verdict = ask(changed(FIXTURES[fixture], {name: bad}, ()))
    assert verdict.decision is Decision.DENY
    assert any(result.outcome is Outcome.ERROR for result in verdict.rules)


def test_no_facts_at_all_are_denied() -> None:
    assert ask({}).decision is Decision.DENY
    for action in [*BUNDLE.document.actions, "", "sudo", "promote\0"]:
        assert ask({"action": action}).decision is Decision.DENY


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"action": "obliterate"},
            "action 'obliterate' is not one that baseline knows",
        ),
        ({"env": "production"}, "env 'production' is not one that baseline knows"),
        ({"model.tier": 5}, "tier 5 is not one that baseline knows"),
        ({"model.tier": 0}, "tier 0 is not one that baseline knows"),
        ({"model.tier": -1}, "tier -1 is not one that baseline knows"),
    ],
)
def test_what_the_bundle_does_not_know_is_denied(
    change: dict[str, object], said: str
) -> None:
    verdict = ask(changed(PROMOTE, change, ()))
    assert verdict.decision is Decision.DENY
    assert verdict.reasons == (said,)


def test_a_denial_reads_like_a_sentence() -> None:
    verdict = ask(changed(PROMOTE, {"evidence.psi_max": 0.15}, ()))
    assert verdict.reasons == (
        (
            "drift/worst does not hold: evidence.psi_max = 0.15, "
            "limit < params.psi_max = 0.1"
        ),
    )
    assert verdict.blocking == ("drift/worst",)


def test_a_walk_names_the_items_that_broke_it() -> None:
    verdict = ask(changed(PROMOTE, {"evidence.features.1.psi": 0.4}, ()))
    assert verdict.reasons == (
        (
            "drift/features does not hold: evidence.features[1] age, psi 0.4 "
            "(2 items, all f: f.psi < params.feature_psi_max, "
            "params.feature_psi_max = 0.2)"
        ),
    )


def test_a_computed_operand_has_its_value() -> None:
    old = {"evidence.validated_at": "2025-12-01T12:00:00Z"}
    verdict = ask(changed(PROMOTE, old, ()))
    assert verdict.reasons == (
        (
            'validation/fresh does not hold: now - evidence.validated_at = "90d", '
            'limit < params.validation_max_age = "90d"'
        ),
    )


def test_missing_evidence_is_named() -> None:
    verdict = ask(changed(PROMOTE, {}, ["evidence.champion_performance"]))
    assert verdict.missing == ("evidence.champion_performance",)
    assert verdict.reasons == (
        (
            "performance/champion loses to the champion: "
            "evidence.champion_performance is missing"
        ),
    )


def test_a_pending_verdict_says_who_is_owed() -> None:
    verdict = ask(changed(PROMOTE, {}, ["approvals.1"]))
    assert verdict.decision is Decision.PENDING
    (owed,) = verdict.obligations
    assert (owed.role, owed.min, owed.missing) == ("validator", 1, 1)
    assert verdict.reasons == ("1 of 1 validator must still approve",)


def test_a_rejection_denies_until_it_is_taken_back() -> None:
    rejected = changed(PROMOTE, {"approvals.0.approved": False}, ())
    verdict = ask(rejected)
    assert verdict.decision is Decision.DENY
    assert verdict.reasons[0] == "risk_officer rob rejected it"
    approvals = rejected["approvals"]
    assert isinstance(approvals, list)
    later = {**approvals[0], "approved": True, "at": "2026-02-26T00:00:00Z"}
    assert (
        ask({**rejected, "approvals": [later, *approvals]}).decision is Decision.ALLOW
    )


def test_two_people_of_one_name_are_two_people() -> None:
    same = {"approvals.2.subject": "rob", "approvals.2.issuer": "partner"}
    verdict = ask(changed(PROMOTE, same, ()))
    assert verdict.decision is Decision.ALLOW


def test_a_verdict_is_plain_data_and_says_what_it_rests_on() -> None:
    given_facts = facts.from_document(PROMOTE)
    verdict = program_of(BUNDLE).evaluate(given_facts)
    plain = json.loads(json.dumps(verdict.as_dict(), allow_nan=False))
    assert plain["bundle_digest"] == BUNDLE.digest
    assert plain["facts_digest"] == facts.digest(verdict.facts)
    assert plain["params"]["psi_max"] == 0.1
    assert {rule["outcome"] for rule in plain["rules"]} >= {"TRUE", "FALSE", "SKIPPED"}
    assert [heard["role"] for heard in plain["approvals"]] == [
        "business_owner",
        "risk_officer",
        "validator",
    ]


def test_the_stored_facts_give_the_same_verdict_again() -> None:
    verdict = ask(FIXTURES["exception"])
    again = program_of(load_bundle(baseline())).evaluate(
        Facts.FromString(verdict.facts)
    )
    assert again.as_dict() == verdict.as_dict()
    assert again.facts == verdict.facts


def test_a_map_is_stored_in_one_order() -> None:
    metrics = {"auc": 0.7, "brier": 0.1, "ks": 0.4}
    digests = {
        ask(
            {
                **FIXTURES["suspend"],
                "evidence": {"metrics": {name: metrics[name] for name in order}},
            }
        ).facts_digest
        for order in permutations(metrics)
    }
    assert len(digests) == 1


def test_one_by_one_and_all_at_once_are_the_same_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = program_of(load_bundle(baseline()))
    asked = [facts.from_document(document) for document in FIXTURES.values()]
    together = [program.evaluate(each).as_dict() for each in asked]
    monkeypatch.setattr("modelkeep.policy.ruling.at_once", lambda *_: None)
    program.plans.clear()
    assert [program.evaluate(each).as_dict() for each in asked] == together


def test_threads_share_a_program() -> None:
    program = program_of(load_bundle(baseline()))
    asked = [facts.from_document(document) for document in FIXTURES.values()]
    expected = [program.evaluate(each).as_dict() for each in asked]
    wrong: list[object] = []

    def work() -> None:
        for _ in range(30):
            found = [program.evaluate(each).as_dict() for each in asked]
            if found != expected:
                wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "document",
    [
        {"actor": {"roles": ["r"] * 65}},
        {"approvals": [{}] * 65},
        {"approvals": [{"roles": ["r"] * 65}]},
        {"model": {"developers": [{}] * 65}},
        {"model": {"approved_uses": ["u"] * 65}},
        {"evidence": {"features": [{}] * 1_001}},
        {"evidence": {"metrics": {str(n): 0.1 for n in range(257)}}},
        {"model": {"id": "x" * 300_000}},
    ],
)
def test_facts_beyond_their_bounds_are_invalid(document: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        ask(document)


@pytest.mark.parametrize(
    "document",
    [
        {"nope": 1},
        {"model": {"tier": "one"}},
        {"model": {"tier": 1.5}},
        {"model": {"tier": 2**63}},
        {"now": "yesterday"},
        {"now": "10000-01-01T00:00:00Z"},
        {"actor": {"roles": "engineer"}},
        {"evidence": {"psi_max": "high"}},
        {"model": {"retired": "no"}},
    ],
)
def test_facts_of_another_shape_are_invalid(document: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        facts.from_document(document)


def test_a_time_outside_the_calendar_never_allows() -> None:
    given_facts = facts.from_document(FIXTURES["exception"])
    given_facts.exception.expires.seconds = 2**62
    verdict = program_of(BUNDLE).evaluate(given_facts)
    assert verdict.decision is Decision.DENY


def test_facts_at_their_bounds_are_decided() -> None:
    many = [{"name": f"f{n}", "psi": 0.01} for n in range(1_000)]
    document = changed(PROMOTE, {"version.feature_count": 1_000}, ())
    evidence = document["evidence"]
    assert isinstance(evidence, dict)
    evidence["features"] = many
    assert ask(document).decision is Decision.ALLOW


ROLES = ("risk_officer", "validator", "business_owner")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(ROLES), min_size=1, max_size=4),
    st.lists(st.frozensets(st.sampled_from(ROLES)), max_size=5),
)
def test_seats_are_filled_as_well_as_any_assignment_could(
    seats: list[str], roles: list[frozenset[str]]
) -> None:
    people = {Person("hr", f"p{n}"): held for n, held in enumerate(roles)}
    seating = seat(seats, people)
    padded = [*roles, *[frozenset[str]()] * len(seats)]
    best = max(
        sum(role in held for role, held in zip(seats, order, strict=False))
        for order in permutations(padded, len(seats))
    )
    assert len(seats) - len(seating.empty) == best == len(seating.seated)
    for person, role in seating.seated.items():
        assert role in people[person]


def test_whoever_approves_first_takes_no_seat_that_another_needs() -> None:
    both = {"approvals.0.roles": ["validator", "risk_officer"]}
    order = {"approvals.0.subject": "aaron"}
    verdict = ask(changed(PROMOTE, {**both, **order}, ()))
    assert verdict.decision is Decision.ALLOW

"""What can be asserted of a whole log, and each contrary that is planted in it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given as always
from hypothesis import strategies as st
from tests.unit.asserted import (
    BEA,
    BUNDLE,
    DANA,
    DIGEST,
    MODEL,
    OMAR,
    PROD,
    RITA,
    ROLES,
    T0,
    TIER_1,
    VERSION,
    VIK,
    Log,
    agreed,
    approval,
    approved,
    batch,
    deployed,
    duty,
    given,
    person,
    settled,
)

from modelkeep.events import inventory, policy
from modelkeep.events.base import known_events
from modelkeep.events.types import Person
from modelkeep.policy import quorum
from modelkeep.proof import fields, seats
from modelkeep.proof.__main__ import main
from modelkeep.proof.assertion import Asserting, Period, Scope, bound
from modelkeep.proof.assertions import TABLE, asked
from modelkeep.proof.errors import Malformed
from modelkeep.proof.evidence import Unusable
from modelkeep.proof.report import Asserted
from modelkeep.store.port import ANY
from modelkeep.store.sqlite import SqliteStore

QUORUM = "promotions-had-quorum"
CONTROL = "bundles-had-dual-control"
OTHER = f"sha256:{'e' * 64}"


def contrary(result: Asserted) -> str:
    """The one contrary that was planted."""
    assert (result.found, result.holds, result.unread) == (1, False, [])
    (only,) = result.contraries
    return only.text


def promotion(planted: Callable[[Log], str], **more: object) -> Asserted:
    """An honest promotion, and one by a verdict that was planted."""
    log = Log()
    log.add("model.fraud", deployed(agreed(log)))
    log.add("model.fraud", deployed(planted(log), **more))
    result = log.of(QUORUM)
    assert result.judged == 2
    assert result.how == {"by a quorum": 1}
    assert result.contraries[0].leaf == len(log.events) - 1
    return result


def test_a_promotion_that_three_people_agreed_on_had_its_quorum() -> None:
    log = Log()
    log.add("model.fraud", deployed(agreed(log)))
    result = log.of(QUORUM)
    assert (result.holds, result.judged, result.found) == (True, 1, 0)
    assert result.how == {"by a quorum": 1}


@pytest.mark.parametrize("missing", [RITA, VIK, BEA])
def test_a_seat_that_stayed_empty_is_named(missing: Person) -> None:
    people = [who for who in (RITA, VIK, BEA) if who != missing]
    said = contrary(promotion(lambda log: agreed(log, "r2", *people)))
    role = ROLES[missing.subject]
    assert said.endswith(
        "(model-main.fraud@1 inventory.deployed) names a verdict that lacked its"
        f" quorum: 1 of 3 seats stayed empty ({role})"
    )


def claimed(by: Person, roles: str, **more: object) -> Callable[[Log], str]:
    """Somebody settles with an approval that is said, beside two that were given."""

    def plant(log: Log) -> str:
        log.add("request.r2", given("r2", *TIER_1))
        two = [approval(who, log.now, "r2", ROLES[who.subject]) for who in (RITA, BEA)]
        for one in two:
            role = ROLES[one.by.subject]
            log.add("request.r2", approved(one), one.by, roles=role)
        third = approval(by, log.now, "r2", roles)
        if more:
            doer = more.pop("doer")
            assert isinstance(doer, Person)
            log.add("request.r2", approved(third, **more), doer, roles=roles)
        return log.add("request.r2", settled("r2", [*two, third]))

    return plant


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(claimed(VIK, "validator"), id="never given"),
        pytest.param(claimed(VIK, "validator", doer=DANA), id="others' credentials"),
        pytest.param(claimed(DANA, "validator", doer=DANA), id="the developer"),
        pytest.param(claimed(OMAR, "validator", doer=OMAR), id="the owner"),
        pytest.param(claimed(VIK, "engineer", doer=VIK), id="without the role"),
        pytest.param(
            claimed(VIK, "validator", doer=VIK, digest=OTHER), id="another digest"
        ),
        pytest.param(
            claimed(VIK, "validator", doer=VIK, environment="dev"), id="elsewhere"
        ),
        pytest.param(claimed(RITA, "risk_officer,validator"), id="one in two seats"),
    ],
)
def test_an_approval_counts_only_as_it_was_given(plant: Callable[[Log], str]) -> None:
    assert "1 of 3 seats stayed empty (validator)" in contrary(promotion(plant))


def test_an_approval_that_is_too_old_fills_no_seat() -> None:
    def plant(log: Log) -> str:
        agreed(log, "r2")
        log.now += timedelta(days=15)
        log.add("request.r3", given("r3", *TIER_1))
        old = [approval(w, T0, "r2", ROLES[w.subject]) for w in (RITA, VIK, BEA)]
        late = log.now + timedelta(days=9)
        return log.add("request.r3", settled("r3", old, expires_at=late))

    assert "3 of 3 seats stayed empty" in contrary(promotion(plant))


def test_an_approval_given_before_for_the_same_counts_again() -> None:
    log = Log()
    agreed(log, "r1")
    log.now += timedelta(days=3)
    log.add("request.r2", given("r2", *TIER_1, verdict="allow"))
    old = [approval(w, T0, "r1", ROLES[w.subject]) for w in (RITA, VIK, BEA)]
    log.add("model.fraud", deployed(log.add("request.r2", settled("r2", old))))
    assert log.of(QUORUM).how == {"by a quorum": 1}


def lend(log: Log, **more: object) -> policy.Lent:
    until = T0 + timedelta(days=2)
    said: dict[str, object] = {
        "delegation": "d1",
        "lender": VIK,
        "to": person("vera"),
        "role": "validator",
        "until": until,
        "reason": "away until Wednesday",
    }
    log.add(
        "delegation.d1",
        policy.Delegated.model_validate(said | more),
        VIK,
        roles="validator",
    )
    return policy.Lent(delegation="d1", lender=VIK, role="validator", until=until)


def by_a_stand_in(log: Log, lent: policy.Lent) -> None:
    vera = person("vera")
    log.add("request.r1", given("r1", *TIER_1))
    said = [approval(who, log.now, "r1", ROLES[who.subject]) for who in (RITA, BEA)]
    said.append(approval(vera, log.now, "r1", "engineer", lent=(lent,)))
    for one in said:
        roles = ",".join(one.roles)
        log.add("request.r1", approved(one), one.by, roles=roles)
    log.add("model.fraud", deployed(log.add("request.r1", settled("r1", said))))


def test_a_role_that_was_lent_fills_a_seat() -> None:
    log = Log()
    by_a_stand_in(log, lend(log))
    assert log.of(QUORUM).how == {"by a quorum": 1}


@pytest.mark.parametrize(
    ("more", "days"),
    [({"to": BEA}, 0), ({"lender": RITA}, 0), ({"role": "auditor"}, 0), ({}, 3)],
    ids=["to another", "by another", "another role", "until before"],
)
def test_a_role_that_was_not_lent_fills_none(
    more: dict[str, object], days: int
) -> None:
    log = Log()
    lent = lend(log, **more)
    log.now += timedelta(days=days)
    by_a_stand_in(log, lent)
    assert "(validator)" in contrary(log.of(QUORUM))


def test_a_role_that_was_taken_back_fills_none() -> None:
    log = Log()
    lent = lend(log)
    back = policy.DelegationRevoked(
        delegation="d1",
        lender=VIK,
        to=person("vera"),
        until=lent.until,
        by=VIK,
        reason="back again",
    )
    log.add("delegation.d1", back, VIK)
    by_a_stand_in(log, lent)
    assert "(validator)" in contrary(log.of(QUORUM))


def refused(log: Log) -> str:
    log.add("request.r2", given("r2", verdict="deny"))
    return log.add("request.r2", settled("r2", [], verdict="deny"))


def refused_then_allowed(log: Log) -> str:
    refused(log)
    return log.add("request.r2", settled("r2", []))


def glass(log: Log) -> str:
    log.add("request.r2", given("r2", *TIER_1))
    broke = policy.BrokeGlass(
        request="r2",
        action="promote",
        model=MODEL,
        digest=DIGEST,
        environment=PROD,
        by=DANA,
        second_approver=RITA,
        reason="the old one rejects everybody",
        until=T0 + timedelta(hours=4),
        review_due_at=T0 + timedelta(days=3),
    )
    log.add("request.r2", broke, RITA)
    return log.add("request.r2", settled("r2", [], break_glass=True))


def about_another(log: Log) -> str:
    log.add("request.r2", given("r2", digest=OTHER))
    return log.add("request.r2", settled("r2", [], digest=OTHER))


def to_set_traffic(log: Log) -> str:
    log.add("request.r2", given("r2", action="set_traffic"))
    return log.add("request.r2", settled("r2", [], action="set_traffic"))


def void(log: Log) -> str:
    source = agreed(log, "r2")
    gone = inventory.VerdictRevoked(
        model=MODEL, request="r2", reason="new card", verdicts=(source,), source="s"
    )
    log.add("model.fraud", gone)
    return source


def over(log: Log) -> str:
    source = agreed(log, "r2")
    log.now += timedelta(days=15)
    return source


def some_of_it(log: Log) -> str:
    log.add("request.r2", given("r2"))
    return log.add("request.r2", settled("r2", [], max_traffic_share=0.5))


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        (lambda _: "nowhere", "names no verdict that stands before it (nowhere)"),
        (refused, "was refused"),
        (refused_then_allowed, "had been refused before it was settled"),
        (
            lambda log: log.add("request.r2", settled("r2", [])),
            "was never given before it was settled",
        ),
        (glass, "had no quorum: the glass was broken by dana and rita"),
        (about_another, f"is about fraud {OTHER} in prod"),
        (to_set_traffic, "allows to set_traffic"),
        (void, "was void by then"),
        (over, "had ended on 2013-04-15"),
        (some_of_it, "allows a share of 0.5, not 1"),
    ],
)
def test_a_verdict_that_allows_nothing_is_named(
    plant: Callable[[Log], str], why: str
) -> None:
    log = Log()
    log.add("model.fraud", deployed(plant(log)))
    assert why in contrary(log.of(QUORUM))


def test_more_traffic_needs_a_verdict_and_less_does_not() -> None:
    log = Log()
    for share, before in ((0.2, 0.5), (0.9, 0.2)):
        log.add(
            "model.fraud",
            inventory.TrafficSet(
                model=MODEL,
                version=VERSION,
                digest=DIGEST,
                environment=PROD,
                share=share,
                previous_share=before,
                by=DANA,
            ),
        )
    assert "names no verdict" in contrary(log.of(QUORUM))


def test_back_to_what_was_allowed_once_needs_no_new_verdict() -> None:
    log = Log()
    source = agreed(log)
    log.add("model.fraud", deployed(source))
    log.now += timedelta(days=40)
    back = {
        "model": MODEL,
        "environment": PROD,
        "from_version": "v2",
        "from_digest": OTHER,
        "to_version": VERSION,
        "to_digest": DIGEST,
        "share": 1.0,
        "verdict_source": source,
        "reason": "worse",
        "by": DANA,
    }
    log.add("model.fraud", inventory.RolledBack.model_validate(back))
    assert log.of(QUORUM).holds
    wrong = inventory.RolledBack.model_validate(back | {"to_digest": OTHER})
    log.add("model.fraud", wrong)
    assert "is about fraud" in contrary(log.of(QUORUM))


def envelope(log: Log, *people: Person) -> policy.Covered:
    until = T0 + timedelta(days=9)
    terms = policy.EnvelopeTerms(model=MODEL, actions=("promote",), until=until, uses=3)
    proposed = policy.EnvelopeProposed(
        envelope="e1",
        terms=terms,
        digest=OTHER,
        tier=1,
        uses_said="00000000-0000-0000-0000-000000000001",
        duty=duty(*TIER_1),
        parties=(),
        reason="daily recalibration",
        by=DANA,
        due_at=until,
    )
    log.add("envelope.e1", proposed)
    said = [approval(who, log.now, "e1", ROLES[who.subject]) for who in people]
    for one in said:
        heard = policy.EnvelopeApproved(
            envelope="e1",
            model=MODEL,
            digest=OTHER,
            by=one.by,
            roles=one.roles,
            at=one.at,
        )
        log.add("envelope.e1", heard, one.by, roles=ROLES[one.by.subject])
    granted = policy.EnvelopeGranted(
        envelope="e1",
        model=MODEL,
        digest=OTHER,
        approvals=tuple(said),
        due_at=until,
        until=until,
    )
    log.add("envelope.e1", granted)
    return policy.Covered(envelope="e1", digest=OTHER, use=1, uses=3, until=until)


def enveloped(log: Log, covered: policy.Covered) -> Asserted:
    log.add("request.r1", given("r1", *TIER_1, verdict="allow", envelope=covered))
    source = log.add("request.r1", settled("r1", [], envelope=covered))
    log.add("model.fraud", deployed(source))
    return log.of(QUORUM)


def test_what_a_quorum_approved_in_advance_needs_no_other() -> None:
    log = Log()
    result = enveloped(log, envelope(log, RITA, VIK, BEA))
    assert result.how == {"under an envelope that a quorum granted": 1}


def test_an_envelope_needs_its_quorum_too() -> None:
    log = Log()
    said = contrary(enveloped(log, envelope(log, RITA, VIK)))
    assert "rests on the envelope e1, which lacked its quorum" in said


def test_an_envelope_that_is_void_or_over_covers_nothing() -> None:
    log = Log()
    covered = envelope(log, RITA, VIK, BEA)
    log.now += timedelta(days=10)
    assert "which had ended" in contrary(enveloped(log, covered))
    log = Log()
    covered = envelope(log, RITA, VIK, BEA)
    gone = policy.EnvelopeVoided(
        envelope="e1",
        model=MODEL,
        reason="new use",
        by=DANA,
        due_at=T0,
        until=covered.until,
    )
    log.add("envelope.e1", gone)
    assert "was void by then" in contrary(enveloped(log, covered))
    log = Log()
    assert "never proposed: e1" in contrary(enveloped(log, covered))


def test_the_scope_is_what_is_judged_and_nothing_before_it_is_forgotten() -> None:
    log = Log()
    source = agreed(log)
    log.now += timedelta(days=2)
    log.add("model.fraud", deployed(source))
    log.add("model.fraud", deployed("nowhere", environment="dev"))
    day = bound("2013-04-03")
    assert log.of(QUORUM, Scope(Period(day))).judged == 2
    assert log.of(QUORUM, Scope(Period(None, day))).judged == 0
    assert log.of(QUORUM, Scope(Period(len(log.events) - 1))).judged == 1
    prod = frozenset({PROD})
    assert log.of(QUORUM, Scope(environments=prod)).holds
    assert log.of(QUORUM, Scope(tiers=frozenset({2}))).found == 1  # of any tier
    assert log.of(QUORUM, Scope(tiers=frozenset({2}), environments=prod)).holds


def test_an_event_that_cannot_be_read_leaves_it_open() -> None:
    log = Log()
    log.add("model.fraud", deployed(agreed(log)))
    stream, last = log.events[-1]
    for spoiled in (
        last._replace(data=b"{}"),
        last._replace(data=b"["),
        last._replace(data=b'{"digest":7}'),
        last._replace(schema_version=2),
        last._replace(metadata=b"{}"),
    ):
        log.events[-1] = stream, spoiled
        result = log.of(QUORUM, Scope(Period(T0)))
        assert result.holds is None
        assert len(result.unread) == 1


# --- bundles


def proposed(log: Log, **more: object) -> None:
    said: dict[str, object] = {
        "bundle": BUNDLE,
        "name": "baseline",
        "version": "2",
        "text": "x",
        "author": DANA,
        "tests": 1,
    }
    log.add("bundle.baseline", policy.BundleProposed.model_validate(said | more))


def bundle_approved(log: Log, by: Person, *, doer: Person) -> None:
    roles = (ROLES.get(by.subject, "policy_author"),)
    event = policy.BundleApproved(bundle=BUNDLE, name="baseline", by=by, roles=roles)
    log.add("bundle.baseline", event, doer, roles=roles[0])


def activated(log: Log, **more: object) -> None:
    said: dict[str, object] = {
        "bundle": BUNDLE,
        "name": "baseline",
        "version": "2",
        "by": DANA,
    }
    log.add("bundle.baseline", policy.BundleActivated.model_validate(said | more))


def test_a_bundle_that_others_approved_had_dual_control() -> None:
    log = Log()
    proposed(log)
    bundle_approved(log, RITA, doer=RITA)
    activated(log)
    assert log.of(CONTROL).how == {"agreed on by others than the author": 1}


@pytest.mark.parametrize(
    ("approvals", "loosens", "why"),
    [
        ([], (), "was approved by nobody: 1 must"),
        ([(DANA, DANA)], (), "was approved by nobody"),
        ([(RITA, DANA)], (), "was approved by nobody"),
        ([(VIK, VIK)], (), "none of them a risk_officer"),
        (
            [(RITA, RITA)],
            ("tier 1",),
            "was approved by rita: 2 must because it loosens",
        ),
        ([(RITA, RITA), (RITA, RITA)], ("tier 1",), "was approved by rita: 2 must"),
    ],
)
def test_a_bundle_that_one_person_wanted_is_named(
    approvals: list[tuple[Person, Person]],
    loosens: tuple[str, ...],
    why: str,
) -> None:
    log = Log()
    proposed(log)
    for by, doer in approvals:
        bundle_approved(log, by, doer=doer)
    activated(log, loosens=loosens)
    assert why in contrary(log.of(CONTROL))


def test_a_bundle_that_nobody_proposed_is_named() -> None:
    log = Log()
    activated(log)
    assert "what nobody had proposed" in contrary(log.of(CONTROL))


def test_what_came_with_the_program_is_told_apart_and_only_as_the_first() -> None:
    log = Log()
    proposed(log, packaged=True)
    activated(log)
    assert log.of(CONTROL).how == {
        "came with the program, as the first of its ledger": 1
    }
    activated(log)
    assert "was approved by nobody" in contrary(log.of(CONTROL))


def brought_back(log: Log) -> None:
    proposed(log)
    bundle_approved(log, RITA, doer=RITA)
    activated(log)
    due = log.now + timedelta(hours=24)
    activated(log, emergency=True, reason="the new one denies all", second_due_at=due)


def confirm(log: Log, by: Person) -> None:
    due = T0 + timedelta(hours=24)
    event = policy.ReactivationConfirmed(
        bundle=BUNDLE, name="baseline", by=by, due_at=due
    )
    log.add("bundle.baseline", event, by)


def test_a_bundle_brought_back_by_one_is_confirmed_by_another_in_time() -> None:
    log = Log()
    brought_back(log)
    assert "brought back by dana and never confirmed" in contrary(log.of(CONTROL))
    confirm(log, DANA)
    assert "never confirmed" in contrary(log.of(CONTROL))
    confirm(log, RITA)
    assert log.of(CONTROL).how == {
        "agreed on by others than the author": 1,
        "brought back by one, confirmed by another in time": 1,
    }
    log = Log()
    brought_back(log)
    log.now += timedelta(hours=25)
    confirm(log, RITA)
    assert "was confirmed late" in contrary(log.of(CONTROL))


# --- the others


def test_a_verdict_by_a_bundle_that_was_never_in_force_is_named() -> None:
    log = Log()
    activated(log)
    log.add("request.r1", given("r1"))
    log.add("request.r2", given("r2", bundle=OTHER))
    said = contrary(log.of("verdicts-by-activated-bundles"))
    assert f"(request-main.r2@0 policy.verdict-given) is by {OTHER}" in said


@pytest.mark.parametrize(
    ("by", "doer", "why"),
    [
        (DANA, DANA, "is by dana, who is a developer"),
        (OMAR, OMAR, "is by omar, who is the owner"),
        (VIK, DANA, "says it is vik's and was made with dana's credentials"),
    ],
)
def test_whoever_approves_their_own_is_named(
    by: Person, doer: Person, why: str
) -> None:
    log = Log()
    agreed(log)
    one = approval(by, log.now, "r1", "validator")
    log.add("request.r1", approved(one), doer, roles="validator")
    result = log.of("nobody-approved-their-own")
    assert why in contrary(result)
    assert result.judged == 4


def test_decisions_of_a_version_that_was_never_deployed_are_named() -> None:
    log = Log()
    log.add("decisions.fraud", batch())
    log.add("model.fraud", deployed("x"))
    log.add("decisions.fraud", batch())
    said = contrary(log.of("batches-from-deployed-versions"))
    assert said.startswith("event 0 (decisions-main.fraud@0")
    assert said.endswith("is by v1, which was never deployed in prod")


# --- the table


def test_every_assertion_reads_shapes_that_exist() -> None:
    known = {name: kind.event_version for name, kind in known_events().items()}
    for one in TABLE.values():
        assert set(one.reads) == set(one(Scope()).answers())
        for name, version in one.reads.items():
            assert known[name] == version, f"{one.name} reads an old {name}"


def test_what_is_in_no_table_is_refused() -> None:
    with pytest.raises(Unusable, match="nothing-happened is no assertion"):
        asked(["nothing-happened"], Scope())
    assert [one.name for one in asked(["all"], Scope())] == list(TABLE)


@pytest.mark.parametrize("text", ["yesterday", "2013-13-01", "-1", "9999-12-31", ""])
def test_a_bound_is_a_day_a_time_or_a_number(text: str) -> None:
    with pytest.raises(Malformed, match="is no day"):
        bound(text, last=True)


@pytest.mark.parametrize(
    ("end", "time", "why"),
    [
        ("2013-04-30", "2013-05-01T00:00:00Z", None),
        ("2013-04-30", "2013-04-30T23:59:59Z", "was signed on 2013-04-30T23:59:59Z"),
        ("2013-04-30", None, "does not say when"),
        ("10", None, None),
        ("11", None, "ends at event 10, before 11"),
    ],
)
def test_a_period_is_whole_only_before_the_checkpoint(
    end: str, time: str | None, why: str | None
) -> None:
    scope = Scope(Period(None, bound(end, last=True)))
    told = Asserting(asked(["all"], scope), 10).finish(time)
    assert (why is None) == (not told.unbound)
    assert why is None or why in told.unbound[0]


HELD = st.frozensets(st.sampled_from("abcd"), max_size=3)


@always(st.lists(st.sampled_from("abcd"), max_size=6), st.lists(HELD, max_size=6))
def test_seats_are_filled_as_the_services_fill_them(
    roles: list[str], held: list[frozenset[str]]
) -> None:
    """Two programs that share nothing leave as many seats empty."""
    theirs = {quorum.Person("hr", f"{n}"): one for n, one in enumerate(held)}
    ours = {fields.Person("hr", f"{n}"): one for n, one in enumerate(held)}
    left = seats.empty(roles, ours)
    assert len(left) == len(quorum.seat(roles, theirs).empty)


# --- the command

SIGNED = "2013-05-01T00:00:00.000000Z"


@pytest.fixture
def log() -> Log:
    """Two promotions in April, the second agreed on by two people of three."""
    log = Log()
    log.add("model.fraud", deployed(agreed(log)))
    log.now += timedelta(days=10)
    log.add("model.fraud", deployed(agreed(log, "r2", RITA, BEA)))
    return log


def test_the_command_names_the_contrary(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = [*log.sign(tmp_path, time=SIGNED), "--assert", QUORUM, "--tier", "1"]
    assert main(checked) == 1
    out = capsys.readouterr().out
    assert "! NOT: no version was promoted that lacked its quorum" in out
    assert "1 of 2 promotions, from the first event to the checkpoint, tier 1" in out
    assert "event 10 (model-main.fraud@1 inventory.deployed) names a verdict" in out
    assert out.splitlines()[-1].startswith("DOES NOT HOLD")
    assert "the first 11 events are those that were signed" in out
    assert main([*checked, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "does not hold"
    (one,) = told["assertions"]["each"]
    assert (one["holds"], one["judged"], one["contraries"]) == (False, 2, 1)
    assert one["first_contraries"][0]["leaf"] == 10


def test_the_command_asserts_a_period_bound_to_the_checkpoint(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = [*log.sign(tmp_path, time=SIGNED), "--assert", QUORUM]
    assert main([*checked, "--from", "2013-04-01", "--to", "2013-04-10"]) == 0
    out = capsys.readouterr().out
    assert "+ no version was promoted that lacked its quorum" in out
    assert "1 promotions, from 2013-04-01T00:00:00Z to 2013-04-11T00:00:00Z" in out
    assert "of all 11 events of the kinds that could tell, none left out" in out
    assert "that people are who their credentials said they were" in out
    assert main([*checked, "--to", "2013-05-01"]) == 1
    assert main([*checked, "--from", "2013-04-20", "--to", "2013-05-01"]) == 2
    out = capsys.readouterr().out
    assert "not the whole period: the checkpoint was signed on 2013-05-01" in out


def test_nothing_is_asserted_of_a_log_that_was_tampered_with(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = [*log.sign(tmp_path, time=SIGNED), "--assert", QUORUM]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db, db:
        db.execute("drop trigger event_lasts")
        db.execute("delete from event where position = 100")  # the contrary
    assert main(checked) == 1
    out = capsys.readouterr().out
    assert "nothing: this is not the log that was signed" in out
    assert out.splitlines()[-1].startswith("TAMPERED")


def test_what_is_after_the_checkpoint_is_not_judged(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = log.events.pop()
    checked = [*log.sign(tmp_path, time=SIGNED), "--assert", QUORUM]
    with SqliteStore(tmp_path / "ledger.db") as store:
        store.append(late[0], [late[1]], expected=ANY)
    assert main(checked) == 0
    out = capsys.readouterr().out
    assert "1 promotions, from the first event to the checkpoint" in out
    assert "1 events after the checkpoint: nothing outside vouches for them" in out


@pytest.mark.parametrize(
    "more",
    [
        ["--assert", "nothing-happened"],
        ["--tier", "1"],
        ["--from", "2013-04-01"],
        ["--assert", QUORUM, "--from", "yesterday"],
    ],
)
def test_a_bad_question_is_told_in_one_line(
    log: Log, tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*log.sign(tmp_path, time=SIGNED), *more]) == 2
    told = capsys.readouterr().err
    assert told.startswith("modelkeep-verify: ")
    assert len(told.splitlines()) == 1

"""A verdict made the short way is the engine's own, word for word."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.compiled import built, compiled
from tests.unit.disturbed import FACTS, OWED, RULES, SCRATCH, disturbed

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.errors import Invalid
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.defaults import NAMES, baseline, text
from modelkeep.policy.explain import plain
from modelkeep.policy.facts import from_document, stored_form
from modelkeep.policy.program import OFTEN, Program, program_of
from modelkeep.policy.quick import Quick, stamp
from modelkeep.policy.verdict import Decision, Verdict

HEAD = ("action", 1, "env", "bundle", "digest", "descriptor", "engine", "facts", b"")
PEOPLE = ("ann", "ben", "olga", "vera", "rob", "")
ROLES = ("validator", "risk_officer", "business_owner", "nobody", "clinical_safety")
FLAT: Counter[Decision] = Counter()
"""What was answered from bytes."""
BUNDLES = {name: load_bundle(text(name)) for name in NAMES}


def said(verdict: Verdict) -> str:
    """As it is kept: 1, 1.0 and true are not the same, and neither are zeros."""
    return json.dumps(verdict.as_dict())


def same(program: Program, short: Quick, facts: Facts) -> str:
    """Both ways agree; say by which one it was answered, and how."""
    theirs = program.reference(facts, HEAD)
    ours = short.explain(facts, HEAD)
    if ours is not None:
        assert said(ours) == said(theirs)
        assert ours == theirs or "NaN" in said(ours)
    decided = short.decide(facts)
    assert decided in {None, theirs.decision}
    same_bytes(short, stored_form(facts), theirs)
    return f"{theirs.decision.name} {'engine' if ours is None else 'short'}"


def same_bytes(short: Quick, stored: bytes, theirs: Verdict) -> None:
    """So does what reads bytes, where it was built."""
    flat, decided = short.explain_bytes(stored, HEAD), short.decide_bytes(stored)
    if flat is not None:
        FLAT[theirs.decision] += 1
        assert said(flat) == said(theirs)
        assert flat == theirs or "NaN" in said(flat)
    assert decided in {None, theirs.decision}


def spoken(facts: Facts, random: Random) -> None:
    """Approvals by the right and the wrong people, some of them twice."""
    now = facts.now.seconds
    for _ in range(random.randint(0, 5)):
        one = facts.approvals.add()
        one.issuer.value = random.choice(("hr", "hr", "vendor"))
        one.subject.value = random.choice(PEOPLE)
        one.roles.extend(random.sample(ROLES, random.randint(0, 3)))
        digests = (facts.version.digest.value, facts.version.digest.value, "other")
        one.digest.value = random.choice(digests)
        one.at.seconds = now + random.choice((-100, -100, -200, 0, 1, -(10**7)))
        one.expires.seconds = now + random.choice((10_000, 10_000, 0, -1))
        one.approved.value = random.random() < 0.8
        one.conditional.value = random.random() < 0.2
        if random.random() < 0.5:
            one.max_traffic_share.value = random.choice((0.01, 1.0, float("nan")))
        if random.random() < 0.1:
            one.ClearField(random.choice(("at", "expires", "approved", "conditional")))


def asked(bundle: Bundle, seed: int, name: str) -> tuple[Program, Facts] | None:
    random, program = Random(seed), program_of(bundle)  # noqa: S311  # as drawn
    facts = from_document(bundle.document.fixtures[name])
    if random.random() < 0.5:
        if random.random() < 0.5:
            del facts.approvals[:]
        spoken(facts, random)
    if random.random() < 0.8:
        facts = disturbed(facts, random)
    return None if program.unknown(facts) is not None else (program, facts)


QUICK: dict[tuple[str, str, int, str], Quick] = {}


def quick(bundle: Bundle, program: Program, facts: Facts) -> Quick:
    key = (bundle.name, facts.action.value, facts.model.tier.value, facts.env.value)
    if not facts.HasField("env"):
        key = (*key[:3], "none")
    if key not in QUICK:
        QUICK[key] = Quick(bundle, program.planned(facts), built())
    return QUICK[key]


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_the_library_is_explained_alike_however_facts_are_disturbed(
    name: str, seed: int, data: st.DataObject
) -> None:
    bundle = BUNDLES[name]
    fixture = data.draw(st.sampled_from(sorted(bundle.document.fixtures)))
    found = asked(bundle, seed, fixture)
    if found is not None:
        program, facts = found
        same(program, quick(bundle, program, facts), facts)


def test_the_short_way_was_taken_for_every_decision() -> None:
    """Were it never taken, agreeing would be easy."""
    seen: Counter[str] = Counter()
    FLAT.clear()
    for name, bundle in BUNDLES.items():
        for n, fixture in enumerate(bundle.document.fixtures):
            for seed in (n, n + 1_000):
                if (found := asked(bundle, seed, fixture)) is not None:
                    program, facts = found
                    short = quick(bundle, program, facts)
                    seen[same(program, short, facts)] += 1
        assert seen.total() > 0, name
    for decision in Decision:
        assert seen[f"{decision.name} short"] > seen[f"{decision.name} engine"]
        if built() is not None:
            assert FLAT[decision] > seen[f"{decision.name} engine"]


@pytest.mark.parametrize("rule", RULES)
def test_each_kind_of_expression_is_explained_alike(rule: str) -> None:
    bundle = load_bundle(SCRATCH.replace("RULE", rule))
    program, random = program_of(bundle), Random(rule)  # noqa: S311  # the same each time
    whole = from_document(FACTS)
    short = Quick(bundle, program.planned(whole), built())
    for n in range(40):
        facts = disturbed(whole, random) if n else whole
        if program.unknown(facts) is None and facts.env == whole.env:
            same(program, short, facts)


def test_what_is_owed_on_a_condition_is_explained_alike() -> None:
    bundle = load_bundle(SCRATCH.replace("RULE", "env == 'prod'") + OWED)
    program, random = program_of(bundle), Random(7)  # noqa: S311  # the same each time
    whole = from_document(FACTS)
    whole.version.digest.value = "d"
    short = Quick(bundle, program.planned(whole), built())
    found = set()
    for _ in range(150):
        facts = disturbed(whole, random)
        spoken(facts, random)
        if random.random() < 0.5:
            facts.evidence.open_findings.high.value = 1
        if program.unknown(facts) is None and facts.env == whole.env:
            found.add(same(program, short, facts))
    assert {f"{one.name} short" for one in Decision} <= found


@given(
    seconds=st.integers(-62_135_596_800, 253_402_300_799),
    nanos=st.integers(0, 999_999_999),
    fine=st.sampled_from((1, 10**3, 10**6, 10**9)),
)
def test_a_moment_is_written_as_protobuf_writes_it(
    seconds: int, nanos: int, fine: int
) -> None:
    facts = Facts()
    facts.now.seconds, facts.now.nanos = seconds, nanos // fine * fine
    assert stamp(seconds * 10**9 + facts.now.nanos) == plain(facts.now)


def test_a_question_asked_often_is_answered_the_short_way() -> None:
    program = Program(load_bundle(baseline()))
    facts = from_document(program.document.fixtures["promote-tier-1"])
    stored = stored_form(facts)
    first = program.evaluate(facts)
    assert program.quick(facts) is None
    for _ in range(OFTEN):
        program.evaluate(facts)
    assert isinstance(program.quick(facts), Quick)
    assert program.evaluate(facts) == program.evaluate_bytes(stored) == first
    assert program.decide(stored) is first.decision


def test_bytes_are_answered_alike_with_a_decoder_and_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelkeep.policy.program.compiled", compiled)
    bundle, found = BUNDLES["retail-credit"], []
    for flat in (True, False):
        program = Program(bundle, flat=flat)
        assert (program.built is not None) is flat
        stored = [
            stored_form(from_document(document))
            for document in bundle.document.fixtures.values()
        ]
        for _ in range(OFTEN):
            for one in stored:
                program.evaluate_bytes(one)
        verdicts = [program.evaluate_bytes(one) for one in stored]
        found.append((verdicts, [program.decide(one) for one in stored]))
    assert found[0] == found[1]
    assert [one.decision for one in found[0][0]] == found[0][1]


def test_bytes_that_the_decoder_declines_are_answered_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelkeep.policy.program.compiled", compiled)
    program = Program(BUNDLES["baseline"])
    facts = from_document(program.document.fixtures["promote-tier-1"])
    for _ in range(OFTEN + 1):
        first = program.evaluate(facts)
    odd = stored_form(facts) + b"\xfa\x01\x00"  # a field that nobody knows
    verdict = program.evaluate_bytes(odd)
    assert verdict.rules == first.rules
    assert verdict.facts == Facts.FromString(odd).SerializeToString(deterministic=True)
    assert program.decide(odd) is first.decision
    with pytest.raises(Invalid, match="cannot be read"):
        program.decide(stored_form(facts)[:-1])


def test_bytes_in_another_order_are_kept_in_the_one_that_is_hashed() -> None:
    program = program_of(BUNDLES["baseline"])
    facts = from_document(program.document.fixtures["promote-tier-1"])
    model, rest = Facts(), Facts()
    model.model.CopyFrom(facts.model)
    rest.CopyFrom(facts)
    rest.ClearField("model")
    shuffled = rest.SerializeToString() + model.SerializeToString()
    assert shuffled != stored_form(facts)
    assert program.evaluate_bytes(shuffled) == program.evaluate(facts)


def test_what_are_no_facts_is_refused() -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        program_of(BUNDLES["baseline"]).decide(b"\xff\xff")


def test_bytes_with_too_many_items_are_refused() -> None:
    facts = from_document(BUNDLES["baseline"].document.fixtures["promote-tier-1"])
    facts.approvals[0].roles.extend(["validator"] * 65)
    with pytest.raises(Invalid, match="64 are allowed"):
        program_of(BUNDLES["baseline"]).evaluate_bytes(facts.SerializeToString())

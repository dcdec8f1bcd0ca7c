"""Rules written as Python say what the engine says, whatever the facts hold."""

from __future__ import annotations

from random import Random

import pytest
from tests.unit.compiled import built, compiled
from tests.unit.disturbed import FACTS, OWED, RULES, SCRATCH, disturbed

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.batch import Asking, Batch
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.defaults import NAMES, baseline, text
from modelkeep.policy.facts import from_document, stored_form
from modelkeep.policy.program import program_of
from modelkeep.policy.verdict import Decision, Outcome, Verdict

UNANSWERED = {Outcome.MISSING, Outcome.EMPTY, Outcome.ERROR}


@pytest.fixture(autouse=True)
def _with_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can be built, bytes are asked as well as messages."""
    monkeypatch.setattr("modelkeep.policy.program.compiled", built)


@pytest.fixture(scope="module", params=NAMES)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(text(request.param))


def asked(batch: Batch, facts: Facts) -> Asking:
    found = batch.asking(facts)
    assert found is not None
    return found


def beside(facts: Facts) -> tuple[int, str | None]:
    """What an answer from bytes says beside: approvals, and what artifacts are."""
    version = facts.version
    found = version.artifacts.value if version.HasField("artifacts") else None
    return len(facts.approvals), found


def same(asking: Asking, facts: Facts, told: Verdict) -> None:
    """What the batch says of facts is what the program says, one by one."""
    said = asking.ask(facts)
    flat = asking.ask_bytes(stored_form(facts))
    assert flat is None or flat == (said, *beside(facts))
    if said is None:
        untold = any("cannot be told" in why for why in told.reasons)
        assert untold or any(one.outcome in UNANSWERED for one in told.rules)
        return
    # A rejection is a person's, and no rule's.
    if not any("rejected it" in why for why in told.reasons):
        assert said.denied is (told.decision is Decision.DENY)
    for ours, theirs in zip(said.outcomes, told.rules, strict=True):
        if ours is Outcome.MISSING:
            assert theirs.outcome in UNANSWERED
        else:
            assert ours is theirs.outcome, theirs.id
    assert said.denying == {one.id for one in told.rules if one.denies}
    assert said.commands == told.commands
    assert len(said.escalating) == len(told.escalations)


def test_the_library_is_answered_alike_however_facts_are_disturbed(
    bundle: Bundle,
) -> None:
    random = Random(11)  # noqa: S311  # the same facts each time
    program, tried = program_of(bundle), 0
    batch = Batch(program)
    for document in bundle.document.fixtures.values():
        whole = from_document(document)
        for _ in range(12):
            facts = disturbed(whole, random)
            if program.unknown(facts) is not None:
                assert batch.asking(facts) is None
                continue
            tried += 1
            same(asked(batch, facts), facts, program.evaluate(facts))
    assert tried > 40


def test_fixtures_come_out_as_their_program_has_them(bundle: Bundle) -> None:
    program = program_of(bundle)
    batch = Batch(program)
    for document in bundle.document.fixtures.values():
        facts = from_document(document)
        same(asked(batch, facts), facts, program.evaluate(facts))


def test_what_is_owed_on_a_condition_comes_out_as_the_program_has_it() -> None:
    bundle = load_bundle(SCRATCH.replace("RULE", "env == 'prod'") + OWED)
    program, random = program_of(bundle), Random(5)  # noqa: S311  # the same each time
    batch, whole = Batch(program), from_document(FACTS)
    whole.version.digest.value = "d"
    facts, seen = whole, set()
    for _ in range(200):
        if program.unknown(facts) is None:
            told = program.evaluate(facts)
            same(asked(batch, facts), facts, told)
            said = asked(batch, facts).ask(facts)
            if said is not None and not said.denied:
                assert said.seats == sum(one.missing for one in told.obligations)
            seen.add(told.decision)
        facts = disturbed(whole, random)
        facts.evidence.open_findings.high.value += random.choice((0, 0, -2))
    assert seen == set(Decision)


@pytest.mark.parametrize("rule", RULES)
def test_each_kind_of_expression_is_answered_alike(rule: str) -> None:
    program = program_of(load_bundle(SCRATCH.replace("RULE", rule)))
    random = Random(rule)  # noqa: S311  # the same facts each time
    batch, whole = Batch(program), from_document(FACTS)
    for n in range(40):
        facts = disturbed(whole, random) if n else whole
        if program.unknown(facts) is None:
            same(asked(batch, facts), facts, program.evaluate(facts))


def test_an_environment_without_a_name_is_no_absent_one() -> None:
    bundle = load_bundle(baseline())
    batch = Batch(program_of(bundle))
    facts = from_document(bundle.document.fixtures["retrain-tier-1"])
    facts.ClearField("env")
    assert batch.asking(facts) is not None
    facts.env.value = ""
    assert batch.asking(facts) is None


def test_stored_facts_are_answered_without_reading_all_of_them() -> None:
    compiled()
    bundle = load_bundle(baseline())
    batch = Batch(program_of(bundle))
    for name in ("promote-tier-1", "retrain-tier-1"):  # with and without an env
        facts = from_document(bundle.document.fixtures[name])
        stored = stored_form(facts)
        assert batch.asking_bytes(stored) is None  # nobody asked for its like
        found = asked(batch, facts)
        assert batch.asking_bytes(stored) is found
        assert found.ask_bytes(stored) == (found.ask(facts), *beside(facts))
        assert found.ask_bytes(stored[:-1]) is None


def test_bytes_with_a_nameless_environment_are_not_those_without_one() -> None:
    compiled()
    bundle = load_bundle(baseline())
    batch = Batch(program_of(bundle))
    facts = from_document(bundle.document.fixtures["retrain-tier-1"])
    facts.ClearField("env")
    assert batch.asking(facts) is not None
    facts.env.value = ""
    assert batch.asking_bytes(stored_form(facts)) is None

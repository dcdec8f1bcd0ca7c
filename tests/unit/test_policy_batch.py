"""Rules written as Python say what the engine says, whatever the facts hold."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from random import Random

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import (
    BoolValue,
    DoubleValue,
    Int64Value,
    StringValue,
)

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.batch import Asking, Batch
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.defaults import NAMES, baseline, text
from modelkeep.policy.facts import from_document
from modelkeep.policy.verdict import Decision, Outcome, Verdict

UNANSWERED = {Outcome.MISSING, Outcome.EMPTY, Outcome.ERROR}

SCRATCH = """
apiVersion: modelkeep.policy/v1
kind: PolicyBundle
metadata: {name: scratch, version: 1.0.0, owner: me}
environments: [prod]
params:
  most: {type: int, default: 9}
  low: {type: double, default: 0.5}
  age: {type: duration, default: 10d}
  word: {type: string, default: auc}
quorum: {1: [], 2: [], 3: [], 4: []}
actions:
  promote: {all_of: [all]}
policies:
  - id: all
    kind: gate
    match: {action: [promote]}
    rules:
      - {id: rule, severity: block, assert: "RULE"}
"""


@pytest.fixture(scope="module", params=NAMES)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(text(request.param))


def asked(batch: Batch, facts: Facts) -> Asking:
    found = batch.asking(facts)
    assert found is not None
    return found


def same(asking: Asking, facts: Facts, told: Verdict) -> None:
    """What the batch says of facts is what the program says, one by one."""
    said = asking.ask(facts)
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


def messages(message: Message) -> Iterator[Message]:
    yield message
    for _, value in message.ListFields():
        if isinstance(value, Message):
            yield from messages(value)
        elif not isinstance(value, (str, bytes, int, float)) and hasattr(value, "add"):
            for one in value:
                yield from messages(one)


def disturbed(facts: Facts, random: Random) -> Facts:
    """Take something away, or put something odd in its place."""
    changed = copy.deepcopy(facts)
    for _ in range(random.randint(1, 3)):
        of = random.choice([m for m in messages(changed) if m.ListFields()])
        field, value = random.choice(of.ListFields())
        if not isinstance(value, Message) or random.random() < 0.4:
            if field.name != "value":
                of.ClearField(field.name)
            continue
        if isinstance(value, DoubleValue):
            odd = (math.nan, math.inf, -math.inf, 1e31, -1e31, 0.0, 0.1, 1.0, 1e30)
            value.value = random.choice(odd)
        elif isinstance(value, Int64Value):
            value.value = random.choice((0, 1, 2**63 - 1, -(2**63), 300))
        elif isinstance(value, StringValue):
            value.value = random.choice(("", "trained", "x\x00y", "é"))
        elif isinstance(value, BoolValue):
            value.value = not value.value
        elif isinstance(value, Timestamp):
            value.seconds += random.choice((-(10**9), 86_400, 10**9, 10**12))
            value.nanos = random.choice((0, 1, 999_999_999, 2_000_000_000, -1))
    return changed


def test_the_library_is_answered_alike_however_facts_are_disturbed(
    bundle: Bundle,
) -> None:
    random = Random(11)  # noqa: S311  # the same facts each time
    program, tried = bundle.compile(), 0
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
    program = bundle.compile()
    batch = Batch(program)
    for document in bundle.document.fixtures.values():
        facts = from_document(document)
        same(asked(batch, facts), facts, program.evaluate(facts))


OWED = """    obligations:
      when: "evidence.open_findings.high > 2"
      approvals: [{role: validator, min: 1}]
      excluding: [model.owner]
"""


def test_what_is_owed_on_a_condition_comes_out_as_the_program_has_it() -> None:
    bundle = load_bundle(SCRATCH.replace("RULE", "env == 'prod'") + OWED)
    program, random = bundle.compile(), Random(5)  # noqa: S311  # the same each time
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


FACTS = {
    "action": "promote",
    "env": "prod",
    "now": "2026-03-01T12:00:00Z",
    "model": {
        "id": "m",
        "tier": 1,
        "owner": {"issuer": "hr", "subject": "olga"},
        "developers": [{"issuer": "hr", "subject": "dev"}, {"subject": "eve"}],
        "approved_uses": ["lending", "pricing"],
    },
    "evidence": {
        "validated_at": "2026-02-25T12:00:00Z",
        "performance_metric": "auc",
        "performance": 0.75,
        "sample_size": 10,
        "features": [{"name": "a", "psi": 0.1}, {"name": "b", "psi": 0.3}],
        "metrics": {"auc": 0.75},
        "open_findings": {"critical": 0, "high": 3},
    },
}

RULES = (
    "evidence.sample_size + params.most >= 19",
    "evidence.sample_size - 11 < 0",
    "evidence.sample_size * 3 == 30",
    "-evidence.sample_size <= -10",
    "evidence.sample_size + 9223372036854775800 > 0",
    "evidence.sample_size / 3 == 3",
    "evidence.sample_size % 3 == 1",
    "(evidence.sample_size - 20) / 3 == -3",
    "evidence.performance / 2.0 >= 0.375",
    "evidence.performance * 2.0 - params.low > 0.9",
    "double(evidence.sample_size) > 9.5",
    "evidence.metrics['auc'] > params.low",
    "evidence.metrics['gini'] > params.low",
    "evidence.performance_metric == params.word",
    "evidence.performance_metric in ['auc', 'ks']",
    "evidence.sample_size in [1, 10]",
    "'lending' in model.approved_uses",
    "evidence.performance_metric.startsWith('au')",
    "evidence.performance_metric.endsWith('x')",
    "evidence.performance_metric.contains('u')",
    "evidence.performance_metric.matches('^a.c$')",
    "size(evidence.performance_metric) == 3",
    "size(evidence.features) == 2",
    "size(evidence.features.filter(f, f.psi > 0.2)) == 1",
    "evidence.features.all(f, f.psi < 0.25)",
    "evidence.features.exists(f, f.name == 'b' && f.psi > 0.25)",
    "evidence.features.exists_one(f, f.psi > 0.05)",
    "model.developers.exists(d, d.issuer == model.owner.issuer)",
    "model.developers.exists(d, d.subject == model.owner.subject)",
    "model.approved_uses.all(u, u != 'gambling')",
    "model.developers.all(d, model.approved_uses.exists(u, u != d.subject))",
    "now - evidence.validated_at < params.age",
    "now - evidence.validated_at < duration('95h')",
    "evidence.validated_at + duration('240h') > now",
    "now > timestamp('2026-01-01T00:00:00Z')",
    "now > timestamp('2026-03-01T11:59:59.999999999Z')",
    "now.getFullYear() == 2026",
    "evidence.performance > 0.5 ? evidence.sample_size > 5 : evidence.sample_size > 50",
    "!(env == 'dev') || evidence.sample_size > 50",
    "evidence.performance_metric == 'it\\\\'s' || env != 'x\\\\\\\\'",
    "model.owner.subject < 'omar'",
)


@pytest.mark.parametrize("rule", RULES)
def test_each_kind_of_expression_is_answered_alike(rule: str) -> None:
    program = load_bundle(SCRATCH.replace("RULE", rule)).compile()
    random = Random(rule)  # noqa: S311  # the same facts each time
    batch, whole = Batch(program), from_document(FACTS)
    for n in range(40):
        facts = disturbed(whole, random) if n else whole
        if program.unknown(facts) is None:
            same(asked(batch, facts), facts, program.evaluate(facts))


def test_an_environment_without_a_name_is_no_absent_one() -> None:
    bundle = load_bundle(baseline())
    batch = Batch(bundle.compile())
    facts = from_document(bundle.document.fixtures["retrain-tier-1"])
    facts.ClearField("env")
    assert batch.asking(facts) is not None
    facts.env.value = ""
    assert batch.asking(facts) is None

"""What the engine is asked to run, what it refuses, and how it reads what it ran."""

from __future__ import annotations

import pytest
from google.protobuf.wrappers_pb2 import DoubleValue

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import facts, lint, tree
from modelkeep.policy.engine import Engine, Failed, Rejected

PARAMS = {"psi_max": "double", "age": "duration", "name": "string", "n": "int"}
GOOD = {
    "evidence.psi_max < params.psi_max": "evidence.psi_max < params.psi_max",
    "now - evidence.validated_at < params.age": None,
    "now - evidence.validated_at < duration('2160h')": None,
    "now > timestamp('2026-01-01T00:00:00Z')": None,
    "now.getDayOfWeek() < 5": None,
    "evidence.features.all(f, f.psi < 0.25 && f.versioned)": None,
    "evidence.features.exists(f, f.name == params.name)": None,
    "evidence.features.exists_one(f, f.name == 'age')": None,
    "size(evidence.features.filter(f, f.psi > 0.2)) <= params.n": None,
    "size(evidence.features) >= version.feature_count": None,
    "size(model.id) <= 64": None,
    "'engineer' in actor.roles": None,
    "model.kind in ['trained', 'vendor']": None,
    "approvals.exists(a, 'validator' in a.roles)": None,
    "approvals.all(a, model.developers.all(d, d.subject != a.subject))": None,
    "evidence.metrics['brier'] < 0.2": None,
    "model.third_party ? evidence.psi_max < 0.1 : !model.retired": None,
    "(-evidence.psi_max * 2.0 + 1.0) / 3.0 < 3.0": None,
    "model.tier % 2 == 0 || double(model.tier) > 1.5": None,
    "model.id.startsWith('eu-') && !model.id.endsWith('-old')": None,
    "model.id.matches('^[a-z-]+$')": None,
    'model.id.contains("\\"")': None,
    "budget.exhausted == true": None,
}
HOSTILE = {
    # not an expression, or not of these facts
    "1 +": "Syntax error",
    "": "Syntax error",
    "evidence.psi_max < 0.1; true": "Syntax error",
    "nope": "undeclared",
    "evidence.nope > 1.0": "undefined field",
    "evidence.psi_max > 1": "no matching overload",
    "evidence.psi_max > '1'": "no matching overload",
    "model.id > 1": "no matching overload",
    "f(1)": "undeclared",
    "params.unknown > 1.0": "undeclared",
    "import os": "Syntax error",
    "__import__('os')": "undeclared",
    "evidence.psi_max = 0.1": "Syntax error",
    # not an answer
    "evidence.psi_max": "true or false",
    "null": "true or false",
    "evidence": "true or false",
    "'true'": "true or false",
    "[true]": "true or false",
    "evidence.features.map(f, f.psi)": "true or false",
    "1": "true or false",
    # fails open
    "has(evidence.psi_max)": "has()",
    "!has(evidence.psi_max) || evidence.psi_max < 0.1": "has()",
    "evidence.psi_max == null": "null",
    "evidence.psi_max != null": "null",
    "!(evidence.psi_max > 0.2)": "turn the comparison around",
    "!(model.retired || evidence.psi_max >= 0.2)": "turn the comparison around",
    "evidence.psi_max == 0.1": "compare doubles",
    "evidence.psi_max != 0.1": "compare doubles",
    "evidence.features[0].psi < 0.1": "map among the facts",
    "evidence.features[model.tier].psi < 0.1": "map among the facts",
    "evidence.psi_max < 1e31": "beyond any measure",
    "evidence.psi_max < 1.0 / 0.0": "never by zero",
    "evidence.psi_max / evidence.performance > 1.0": "by a constant",
    "model.tier / 0 == 1": "never by zero",
    "model.tier % model.tier == 0": "by a constant",
    "evidence.psi_max / 1e-300 > 1.0": "never by zero",
    "dyn(evidence.psi_max) == dyn('a')": "dyn is not for rules",
    "type(model.id) == string": "not for rules",
    "double('nan') < 1.0": "does not take",
    "double(model.id) < 1.0": "does not take",
    "int(model.id) == 1": "does not take",
    "string(model.tier) == '1'": "not for rules",
    "bytes(model.id) == b'a'": "not for rules",
    "bool(model.id)": "not for rules",
    "timestamp(model.id) < now": "takes a constant",
    "duration(model.id) > duration('1h')": "takes a constant",
    "now - evidence.validated_at < duration('90d')": "no value",
    "timestamp('yesterday') < now": "no value",
    "timestamp('2026-02-30T00:00:00Z') < now": "no value",
    "now.getHours('Europe/Nowhere') < 5": "UTC",
    "1u < 2u": "not for rules",
    # shadows
    "evidence.features.all(evidence, true)": "hides",
    "evidence.features.all(model, model.psi < 1.0)": "hides",
    "evidence.features.all(params, true)": "hides",
    "approvals.all(a, approvals.all(a, a.subject == 'x'))": "hides",
    # runs away
    "model.id + model.id == 'aa'": "numbers and times only",
    "evidence.features.map(f, f.psi) == [0.1]": "not for rules",
    "[1, 2, 3].all(n, n > 0)": "list among the facts",
    "[1, 2, 3].map(n, n * 2).all(n, n > 0)": "list among the facts",
    "evidence.features.map(f, f.name + f.name).all(n, n != '')": "list among the facts",
    "evidence.features.filter(f, true).all(f, f.psi < 1.0)": "list among the facts",
    "{'a': 1}['a'] == 1": "map among the facts",
    "{'a': 1} == {'a': 1}": "scalars only",
    "evidence.features == evidence.features": "scalars only",
    "model == model": "scalars only",
    "[1] + [2] == [1, 2]": "scalars only",
    "evidence.metrics == evidence.metrics": "scalars only",
    "evidence.metrics.all(k, k != '')": "list among the facts",
    "evidence.features.all(f, evidence.features.all(g, f.psi <= g.psi))": "steps",
    "approvals.all(a, approvals.all(b, approvals.all(c, a.at == b.at)))": "deeper",
    "evidence.features.all(f, f.name.matches('a*'))": "steps",
    "model.id.matches(model.kind)": "constant",
    "model.id.matches('(')": "regular expression",
    "model.id.matches('(a{1000}){1000}')": "regular expression",
    f"model.id.matches('{'a' * 201}')": "at most 200",
    f"model.id == '{'a' * 2000}'": "longer than",
    f"model.kind in [{', '.join(map(repr, range(65)))}]": "",
    "model.kind in ['a', model.id]": "constants only",
    "model.id in evidence.metrics": "list among the facts",
    " * ".join(["evidence.psi_max"] * 10) + " < 1.0": "at most 8 times",
    "(" * 300 + "true" + ")" * 300: "",
    "!" * 600 + "true": "",
    " && ".join(["true"] * 300): "",
    "modelkeep.api.policy.v1.Facts{} == modelkeep.api.policy.v1.Facts{}": "scalars",
    "modelkeep.api.policy.v1.Facts.Model{}.retired": "not a fact",
    "google.protobuf.BoolValue{value: true}": "made on the spot",
    "optional.of(1).hasValue()": "undeclared",
    "cel.bind(x, 1, x == 1)": "undeclared",
}  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(PARAMS)


@pytest.mark.parametrize("source", GOOD)
def test_an_honest_rule_compiles_and_reads_back_as_itself(
    engine: Engine, source: str
) -> None:
    rule = engine.rule(source)
    again = engine.rule(tree.written(rule.checked.root))
    assert tree.written(again.checked.root) == tree.written(rule.checked.root)
    assert set(again.paths) == set(rule.paths)
    assert set(again.lists) == set(rule.lists)


@pytest.mark.parametrize(("source", "why"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_a_hostile_rule_is_refused_and_the_process_lives(
    engine: Engine, source: str, why: str
) -> None:
    if source in BOUNDED:
        engine.rule(source)
        return
    with pytest.raises(Rejected) as rejected:
        engine.rule(source)
    assert why in str(rejected.value)
    for fault in rejected.value.faults:
        assert fault.line >= 1
        assert fault.column >= 1
        assert fault.caret.endswith("^")


# Odd, and harmless: they cost next to nothing.
BOUNDED = {"!" * 600 + "true"}


def test_a_complaint_points_at_its_cause(engine: Engine) -> None:
    with pytest.raises(Rejected) as rejected:
        engine.rule("model.retired ||\n  evidence.psi_mx < 0.1")
    (fault,) = rejected.value.faults
    assert (fault.line, fault.column) == (2, 11)
    assert str(fault).splitlines()[1:] == [
        " |   evidence.psi_mx < 0.1",
        " | ..........^",
    ]


def test_an_error_is_not_an_answer(engine: Engine) -> None:
    given = Facts()
    given.model.tier.value = 2**62
    bound = engine.bind(given, ["model"], {})
    assert isinstance(engine.rule("model.tier * 4 > 0").expression.holds(bound), Failed)


def test_absence_that_slips_past_a_guard_is_still_an_error(engine: Engine) -> None:
    rule = engine.rule("evidence.psi_max < params.psi_max")
    limit = {"params.psi_max": DoubleValue(value=0.1)}
    bound = engine.bind(Facts(), ["evidence"], limit)
    assert isinstance(rule.expression.holds(bound), Failed)


def test_text_is_compared_whole_beyond_a_nul(engine: Engine) -> None:
    given = Facts()
    given.actor.subject.value = "admin\0evil"
    bound = engine.bind(given, ["actor"], {})
    assert engine.rule("actor.subject == 'admin'").expression.holds(bound) is False


def test_a_condition_is_evaluated_often_without_harm(engine: Engine) -> None:
    rule = engine.rule("evidence.psi_max < 0.1").expression
    missing = engine.bind(Facts(), ["evidence"], {})
    for _ in range(12_000):
        assert isinstance(rule.holds(missing), Failed)


def test_every_list_of_the_schema_is_counted() -> None:
    given = Facts()
    given.approvals.add()
    counted = {name for name, _ in facts.lists(given)}
    assert counted == set(lists_of(Facts.DESCRIPTOR, ""))


def lists_of(message: object, base: str) -> list[str]:
    found = []
    for field in message.fields:  # type: ignore[attr-defined] # a Descriptor
        name = f"{base}{field.name}"
        if field.is_repeated:
            found.append(name)
        inner = field.message_type
        ours = inner is not None and inner.file.name.startswith("modelkeep")
        if ours and not inner.GetOptions().map_entry:
            found += lists_of(inner, f"{name}[]." if field.is_repeated else f"{name}.")
    return found


def test_the_arithmetic_of_a_rule_cannot_reach_infinity() -> None:
    largest = facts.LARGEST_DOUBLE
    assert largest ** (lint.MAX_PRODUCTS + 1) * lint.MAX_COST < float("inf")

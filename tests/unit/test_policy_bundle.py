"""A bundle is one checked document with one name for its content: its digest."""

from __future__ import annotations

import pytest

from modelkeep.errors import Invalid
from modelkeep.policy import facts
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.check import lint, run_tests
from modelkeep.policy.defaults import baseline
from modelkeep.policy.program import program_of

SMALL = """
apiVersion: modelkeep.policy/v1
kind: PolicyBundle
metadata: {name: small, version: 1.0.0, owner: office}
environments: [prod]
params:
  psi_max: {type: double, default: 0.2, tier: {1: 0.1}}
quorum: {1: [{role: risk_officer}], 3: []}
actions:
  promote: {all_of: [promote], require: [model.id, "model.developers[]"]}
policies:
- id: promote
  kind: gate
  match: {action: [promote]}
  rules:
  - {id: drift, assert: evidence.psi_max < params.psi_max}
fixtures:
  good: {action: promote, model: {id: m, tier: 3, developers: [{subject: d}]}, evidence: {psi_max: 0.1}}
tests:
- {name: good, facts: good, expect: ALLOW}
"""  # noqa: E501 - a document, as people write it

BROKEN = {
    "another api": ("modelkeep.policy/v1", "modelkeep.policy/v2", "apiVersion"),
    "another kind": ("kind: PolicyBundle", "kind: Policy", "kind"),
    "an unknown field": ("kind: gate", "kind: gate\n  speed: 9", "policies[0].speed"),
    "an unknown kind of policy": ("kind: gate", "kind: guess", "policies[0].kind"),
    "a version that is none": ("version: 1.0.0", "version: one", "metadata.version"),
    "a version that is a number": (
        "version: 1.0.0",
        "version: 1.0",
        "metadata.version",
    ),
    "a name that is none": ("name: small", "name: Small One", "metadata.name"),
    "no environments": ("environments: [prod]", "environments: []", "environments"),
    "an unknown type": ("type: double", "type: decimal", "params.psi_max.type"),
    "a default of another type": (
        "default: 0.2",
        "default: '0.2'",
        "params.psi_max.default",
    ),
    "a bool that would be a number": (
        "default: 0.2",
        "default: true",
        "params.psi_max.default",
    ),
    "a default beyond measure": (
        "default: 0.2",
        "default: 1.0e31",
        "params.psi_max.default",
    ),
    "a tier that is none": (
        "tier: {1: 0.1}",
        "tier: {9: 0.1}",
        "params.psi_max.tier.9",
    ),
    "a quorum of a tier that is none": ("3: []", "7: []", "quorum.7"),
    "a seat for nobody": ("role: risk_officer", "role: Risk", "quorum.1[0].role"),
    "a seat for too many": (
        "{role: risk_officer}",
        "{role: risk_officer, min: 99}",
        "quorum.1[0].min",
    ),
    "an unknown policy": ("all_of: [promote]", "all_of: [other]", "actions.promote"),
    "an action nothing decides": ("all_of: [promote]", "all_of: []", "actions.promote"),
    "an unknown path": ("model.id,", "model.name,", "actions.promote.require[0]"),
    "an unknown action": (
        "action: [promote]}",
        "action: [deploy]}",
        "policies[0].match",
    ),
    "no actions": ("action: [promote]}", "action: []}", "policies[0].match.action"),
    "an unknown tier": (
        "action: [promote]}",
        "action: [promote], tier: [2]}",
        "policies[0].match.tier[0]",
    ),
    "an unknown environment": (
        "action: [promote]}",
        "action: [promote], env: [mars]}",
        "policies[0].match.env[0]",
    ),
    "a rule without a condition": (
        "{id: drift, assert: evidence.psi_max < params.psi_max}",
        "{id: drift}",
        "policies[0].rules[0]",
    ),
    "a rule twice": (
        "  - {id: drift,",
        "  - {id: drift, assert: model.retired}\n  - {id: drift,",
        "policies[0].rules[1].id",
    ),
    "a rule that does not compile": (
        "params.psi_max}",
        "params.psi}",
        "policies[0].rules[0].assert",
    ),
    "a gate that triggers": (
        "kind: gate",
        "kind: gate\n  then: {command: Retrain}",
        "policies[0]",
    ),
    "a trigger that does nothing": ("kind: gate", "kind: trigger", "policies[0]"),
    "a forbid that asserts": ("kind: gate", "kind: forbid", "policies[0].rules[0]"),
    "obligations that hang on nothing known": (
        "kind: gate",
        "kind: gate\n  obligations: {approvals: by_tier, when: model.gone}",
        "policies[0].obligations.when",
    ),
    "a permit without rules": (
        "  rules:\n  - {id: drift, assert: evidence.psi_max < params.psi_max}\n",
        "",
        "policies[0]",
    ),
    "items of a list it does not read": (
        "{id: drift,",
        "{id: drift, min_items: {approvals: 1},",
        "policies[0].rules[0].min_items.approvals",
    ),
    "obligations bound to nothing": (
        "kind: gate",
        "kind: gate\n  obligations: {approvals: by_tier, bound_to: model.hash}",
        "policies[0].obligations.bound_to",
    ),
    "obligations bound to a number": (
        "kind: gate",
        "kind: gate\n  obligations: {approvals: by_tier, bound_to: model.tier}",
        "policies[0].obligations.bound_to",
    ),
    "obligations that exclude a thing": (
        "kind: gate",
        "kind: gate\n  obligations: {approvals: by_tier, excluding: [evidence]}",
        "policies[0].obligations.excluding[0]",
    ),
    "a span that is none": (
        "kind: gate",
        "kind: gate\n  obligations: {approvals: by_tier, max_age: soon}",
        "policies[0].obligations.max_age",
    ),
    "a test without a fixture": ("facts: good", "facts: bad", "tests[0].facts"),
    "a denial without a rule": ("expect: ALLOW", "expect: DENY", "tests[0]"),
    "a wait for nobody": ("expect: ALLOW", "expect: PENDING", "tests[0]"),
}


def test_the_baseline_loads_and_its_own_tests_agree() -> None:
    bundle = load_bundle(baseline())
    failed = [(t.name, t.wrong) for t in run_tests(bundle) if not t.passed]
    assert failed == []


def test_every_rule_of_the_baseline_is_seen_to_pass_to_fail_and_to_lack() -> None:
    assert lint(baseline()) == []


@pytest.mark.parametrize(("old", "new", "field"), BROKEN.values(), ids=BROKEN)
def test_a_broken_bundle_is_refused_where_it_is_broken(
    old: str, new: str, field: str
) -> None:
    assert old in SMALL
    with pytest.raises(Invalid) as refused:
        load_bundle(SMALL.replace(old, new, 1))
    fields = [violation.field for violation in refused.value.violations]
    assert any(found.startswith(field) for found in fields), fields
    for violation in refused.value.violations:
        assert violation.description.startswith("line ")


def test_every_fault_is_reported_at_once() -> None:
    broken = SMALL.replace("params.psi_max}", "params.psi}").replace("[other]", "[x]")
    broken = broken.replace("model.id,", "model.name,")
    with pytest.raises(Invalid) as refused:
        load_bundle(broken)
    assert len(refused.value.violations) == 2


def test_a_digest_is_of_the_content_and_not_of_its_layout() -> None:
    digest = load_bundle(SMALL).digest
    assert digest == load_bundle(f"# hello\n{SMALL}\n\n").digest
    assert digest == load_bundle(SMALL.replace("0.2,", "0.20,")).digest
    assert digest != load_bundle(SMALL.replace("0.2,", "0.21,")).digest
    assert digest.startswith("sha256:")


def test_a_tier_has_its_quorum_or_is_unknown() -> None:
    bundle = load_bundle(SMALL)
    assert [seats.role for seats in bundle.quorum(1)] == ["risk_officer"]
    assert bundle.quorum(3) == ()
    with pytest.raises(Invalid):
        bundle.quorum(2)


def test_a_failing_embedded_test_is_a_problem_with_its_verdict() -> None:
    text = SMALL.replace("evidence: {psi_max: 0.1}", "evidence: {psi_max: 0.2}")
    wrong = [problem.message for problem in lint(text) if problem.error]
    assert wrong == [
        (
            "good: expected ALLOW, got DENY: promote/drift does not hold: "
            "evidence.psi_max = 0.2, limit < params.psi_max = 0.2"
        )
    ]


def test_a_test_that_expects_the_wrong_rule_fails() -> None:
    text = SMALL + (
        "- {name: bad, facts: good, set: {evidence.psi_max: 0.9}, expect: DENY,"
        " because: [promote/other]}\n"
    )
    (wrong,) = [problem.message for problem in lint(text) if problem.error]
    assert "expected because ['promote/other'], got ['promote/drift']" in wrong


def test_a_rule_that_no_test_breaks_is_advised_against() -> None:
    advice = [problem.message for problem in lint(SMALL) if not problem.error]
    assert advice == ["no test shows promote/drift to fail, missing"]


OWED = SMALL.replace(
    "  rules:",
    "  obligations: {approvals: [{role: validator}], when: version.material_change,"
    " excluding: []}\n  rules:",
)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ({"digest": "d", "material_change": False}, "ALLOW"),
        ({"digest": "d", "material_change": True}, "PENDING"),
        ({"digest": "d"}, "DENY"),
    ],
)
def test_approval_is_owed_where_its_condition_holds(
    version: dict[str, object], said: str
) -> None:
    bundle = load_bundle(OWED)
    given = facts.from_document(
        {**bundle.document.fixtures["good"], "version": version}
    )
    verdict = program_of(bundle).evaluate(given)
    assert verdict.decision.value == said
    owed = program_of(bundle).duties(given)
    assert [one.policy for one in owed] == ([] if said == "ALLOW" else ["promote"])
    if said == "DENY":
        assert verdict.missing == ("version.material_change",)
        assert verdict.reasons[0] == (
            "promote: whether approval is owed cannot be told:"
            " version.material_change is missing"
        )


SERVING = SMALL.replace(
    "  rules:\n  - {id: drift,",
    "  references: [SS1/23 principle 4]\n  rules:\n"
    "  - {id: drift, references: [EU AI Act art. 15],",
)


def test_a_rule_serves_its_own_clauses_and_its_policys() -> None:
    bundle = load_bundle(SERVING)
    served = ("EU AI Act art. 15", "SS1/23 principle 4")
    assert bundle.references("promote", "drift") == served
    assert bundle.digest != load_bundle(SMALL).digest
    (tried,) = run_tests(bundle)
    (result,) = tried.verdict.rules
    assert result.references == served
    assert result.as_dict()["references"] == list(served)
    assert result.cited().endswith("(serves EU AI Act art. 15; SS1/23 principle 4)")


def test_a_rule_without_clauses_stands_out_among_others_with_some() -> None:
    more = "rules:\n  - {id: tiered, assert: model.tier <= 4}\n"
    said = [p for p in lint(SERVING.replace("rules:\n", more)) if "clause" in p.message]
    assert said == []  # its policy names one
    bare = SERVING.replace("  references: [SS1/23 principle 4]\n", "")
    (said_of,) = [
        p for p in lint(bare.replace("rules:\n", more)) if "clause" in p.message
    ]
    assert (said_of.path, said_of.error) == ("policies[0].rules[0]", False)
    assert not [p for p in lint(SMALL) if "clause" in p.message]

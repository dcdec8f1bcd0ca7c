"""Whatever is not called looser lets nothing through that was not let through."""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from typing import Any, Final

import pytest

from modelkeep.errors import Invalid
from modelkeep.policy import document
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.defaults import baseline
from modelkeep.policy.facts import from_document
from modelkeep.policy.loosening import loosened
from modelkeep.policy.program import program_of
from modelkeep.policy.verdict import Decision

STRICTNESS: Final = (Decision.ALLOW, Decision.PENDING, Decision.DENY)
FACTS: Final = 40


@cache
def source() -> dict[str, Any]:
    data: dict[str, Any] = dict(document.read(baseline()).data)
    return {**data, "tests": []}


@cache
def active() -> Bundle:
    return made(source())


def made(data: dict[str, Any]) -> Bundle:
    return load_bundle(json.dumps(data))


def edited(*path: str | int, to: object) -> Bundle:
    """The baseline with one thing in it replaced."""
    data = copy.deepcopy(source())
    at: Any = data
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = to
    return made(data)


def policy(name: str) -> int:
    return next(n for n, p in enumerate(source()["policies"]) if p["id"] == name)


def rule(name: str, rule_id: str) -> tuple[str | int, ...]:
    at = policy(name)
    rules = source()["policies"][at]["rules"]
    return (
        "policies",
        at,
        "rules",
        next(n for n, one in enumerate(rules) if one["id"] == rule_id),
    )


def said(new: Bundle) -> str:
    return "\n".join(map(str, loosened(active(), new)))


def test_a_bundle_does_not_loosen_itself() -> None:
    assert loosened(active(), active()) == ()


def test_a_stricter_threshold_does_not_loosen_and_a_laxer_one_does() -> None:
    assert not said(edited("params", "psi_max", "tier", "1", to=0.09))
    assert "rule drift/worst asserts less" in said(
        edited("params", "psi_max", "tier", "1", to=0.11)
    )
    assert not said(edited("params", "lineage_min", "tier", "2", to=0.85))
    assert "evidence/lineage" in said(
        edited("params", "lineage_min", "tier", "2", to=0.75)
    )


def test_what_only_tiers_3_and_4_see_loosens_nothing_that_two_must_agree_to() -> None:
    assert not said(edited("params", "lineage_min", "default", to=0.1))
    assert not said(edited("params", "performance_floor", "default", to=0.1))


def test_a_longer_exception_and_an_older_validation_loosen() -> None:
    longer = edited("params", "exception_max", "tier", "1", to="60d")
    assert "rule exception/short asserts less" in said(longer)
    assert not said(edited("params", "exception_max", "tier", "1", to="10d"))
    assert "validation/fresh" in said(
        edited("params", "validation_max_age", "tier", "2", to="200d")
    )


def test_a_parameter_inside_a_sum_cannot_be_judged_and_so_loosens() -> None:
    margin = edited("params", "performance_margin", "default", to=-0.1)
    assert "performance/champion" in said(margin)


def test_a_rule_that_is_gone_or_only_warns_loosens() -> None:
    lineage = rule("evidence", "lineage")
    gone = copy.deepcopy(source())
    del gone["policies"][lineage[1]]["rules"][lineage[3]]
    assert "rule evidence/lineage is gone" in said(made(gone))
    warns = {**source()["policies"][lineage[1]]["rules"][lineage[3]]}
    assert "only warns" in said(edited(*lineage, to={**warns, "severity": "warn"}))


@pytest.mark.parametrize(
    ("assertion", "looser"),
    [
        ("version.card_present", False),
        ("version.card_present && version.feature_count > 0", False),
        ("version.card_present || version.feature_count > 0", True),
        ("version.card_present == true", True),  # true of the same, and not shown
        ("version.feature_count > 0", True),
        ("!(!version.card_present)", True),
    ],
)
def test_a_rule_may_demand_more_and_not_something_else(
    assertion: str,
    looser: bool,  # noqa: FBT001  # a case
) -> None:
    new = edited(*rule("evidence", "card"), "assert", to=assertion)
    assert bool(said(new)) is looser


def test_a_prohibition_may_forbid_more() -> None:
    where = (*rule("standing", "retired"), "when")
    assert not said(edited(*where, to="model.retired || model.suspended"))
    assert "forbids less" in said(edited(*where, to="model.retired && model.suspended"))


def test_a_permit_may_let_fewer_pass() -> None:
    where = (*rule("promote-access", "owner"), "when")
    fewer = "actor.human && 'owner' in actor.roles && 'engineer' in actor.roles"
    assert not said(edited(*where, to=fewer))
    assert "lets more pass" in said(edited(*where, to="'owner' in actor.roles"))


def test_fewer_people_older_approvals_and_excluding_fewer_loosen() -> None:
    quorum = ("policies", policy("quorum"), "obligations")
    assert "asks for fewer people" in said(
        edited("quorum", "1", to=[{"role": "risk_officer"}, {"role": "validator"}])
    )
    more = [*source()["quorum"]["2"], {"role": "business_owner"}]
    assert not said(edited("quorum", "2", to=more))
    assert "takes older approvals" in said(edited(*quorum, "max_age", to="400h"))
    assert "lets more people approve" in said(
        edited(*quorum, "excluding", to=["actor", "model.owner"])
    )
    assert "bind" in said(edited(*quorum, "bound_to", to="model.id"))


def owed_when(*conditions: str | None) -> list[Bundle]:
    """The baseline with its quorum owed on each condition; None: always."""
    made_of = []
    for condition in conditions:
        owed = dict(source()["policies"][policy("quorum")]["obligations"])
        if condition is not None:
            owed["when"] = condition
        made_of.append(edited("policies", policy("quorum"), "obligations", to=owed))
    return made_of


def test_people_asked_in_some_cases_only_or_in_fewer_loosen() -> None:
    always, drifted, more, other = owed_when(
        None, "evidence.psi_max > 0.1", "evidence.psi_max > 0.05", "model.third_party"
    )
    (found, *_) = loosened(always, drifted)
    assert "policy quorum asks for people in some cases only" in str(found)
    assert loosened(drifted, more) == ()
    (found, *_) = loosened(more, drifted)
    assert "policy quorum asks for people in fewer cases" in str(found)
    (found, *_) = loosened(drifted, other)
    assert "in fewer cases, or in others" in str(found)
    # What could not be told denied; now it only waits for people.
    (found, *_) = loosened(drifted, always)
    assert "no longer denies where it cannot be told" in str(found)


def test_a_policy_that_matches_less_and_an_action_that_is_new_loosen() -> None:
    at = policy("drift")
    match = ("policies", at, "match")
    narrower = {"action": ["promote"], "env": ["prod"], "tier": [2, 3, 4]}
    assert "rule drift/worst is gone" in said(edited(*match, to=narrower))
    assert not said(edited(*match, to={"action": ["promote"]}))
    more = {**source()["actions"], "archive": {"all_of": ["retire-access"]}}
    data = {**copy.deepcopy(source()), "actions": more}
    data["policies"][policy("retire-access")]["match"]["action"].append("archive")
    assert "archive, tier 1: is a new action" in said(made(data))


def test_a_permit_that_lasts_longer_or_stays_open_loosens() -> None:
    def told(**permit: object) -> str:
        return said(edited("actions", "admit", "permit", to=permit))

    assert "its permit's lasts is longer" in told(lasts="1d")
    assert "goes on while nobody can be asked" in told(on_unreachable={"1": "open"})
    assert "permit" not in told(lasts="1m", refresh="30s", grace="1m")
    assert "goes on" not in told(on_unreachable={"3": "open"})


def test_what_is_no_longer_required_or_demanded_loosens() -> None:
    require = source()["actions"]["promote"]["require"]
    assert "no longer required" in said(
        edited("actions", "promote", "require", to=require[1:])
    )
    fewer = [p for p in source()["actions"]["promote"]["all_of"] if p != "evidence"]
    assert "policy evidence is no longer demanded" in said(
        edited("actions", "promote", "all_of", to=fewer)
    )


def test_an_invariant_may_not_become_a_gate() -> None:
    """An exception can set a gate's rule aside."""
    before = edited("policies", policy("evidence"), "kind", to="invariant")
    assert any("was of a invariant" in str(one) for one in loosened(before, active()))


def test_words_and_layout_loosen_nothing() -> None:
    assert not said(edited("metadata", "version", to="9.9.9"))
    assert not said(edited(*rule("evidence", "card"), "message", to="needs a card"))


# --- the property ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rounds", "seed"), [(8, 1), pytest.param(200, 2, marks=pytest.mark.slow)]
)
def test_what_is_not_looser_allows_nothing_that_was_not_allowed(
    rounds: int, seed: int
) -> None:
    """Random changes of the baseline against random changes of its fixtures."""
    chance = random.Random(seed)  # noqa: S311  # a seed, not a secret
    stricter = changes = 0
    for _ in range(rounds):
        data = copy.deepcopy(source())
        for _ in range(chance.randint(1, 3)):
            chance.choice(CHANGES)(data, chance)
        try:
            new = made(data)
        except Invalid:
            continue
        changes += 1
        if loosened(active(), new):
            continue
        stricter += 1
        for _ in range(FACTS):
            try:
                facts = from_document(question(chance))
            except Invalid:  # a chance value that no fact can have
                continue
            was = program_of(active()).evaluate(facts).decision
            now = program_of(new).evaluate(facts).decision
            assert STRICTNESS.index(now) >= STRICTNESS.index(was), (data, facts)
    # Otherwise it would prove nothing.
    assert stricter >= rounds // 10
    assert changes - stricter >= rounds // 10


def question(chance: random.Random) -> dict[str, Any]:
    """A fixture with a few facts gone or moved, in tier 1 or 2."""
    fixtures = list(source()["fixtures"].values())
    facts: dict[str, Any] = copy.deepcopy(chance.choice(fixtures))
    facts["model"]["tier"] = chance.choice((1, 2))
    for _ in range(chance.randint(0, 3)):
        places = [*leaves(facts)]
        at, key = chance.choice(places)
        if chance.random() < 0.2:
            del at[key]
        else:
            at[key] = moved(at[key], chance)
    return facts


def leaves(at: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = at.items() if isinstance(at, dict) else enumerate(at)
    for key, value in items:
        if isinstance(value, dict | list) and value:
            found += leaves(value)
        elif isinstance(at, dict):
            found.append((at, key))
    return found


def moved(value: Any, chance: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + chance.randint(-2, 2)
        case float():
            return value * chance.uniform(0.3, 2.5)
        case str() if value[:4].isdigit():
            return f"202{chance.randint(5, 6)}-0{chance.randint(1, 9)}-01T00:00:00Z"
        case str() if value.startswith("sha256"):
            return chance.choice(("sha256:aa", "sha256:bb", "sha256:cc"))
    return chance.choice((value, "owner", "trained", "prod", "dev", "olga", "operator"))


def change_param(data: dict[str, Any], chance: random.Random) -> None:
    param = chance.choice(list(data["params"].values()))
    tiers = param.setdefault("tier", {})
    tier = chance.choice(("1", "2"))
    now = tiers.get(tier, param["default"])
    factor = chance.choice((0.5, 0.9, 1.1, 2))
    if isinstance(now, str):
        tiers[tier] = f"{max(1, round(int(now[:-1]) * factor))}d"
    else:
        tiers[tier] = (
            type(now)(now * factor) if now else type(now)(chance.choice((-1, 1)))
        )


def change_quorum(data: dict[str, Any], chance: random.Random) -> None:
    seats = data["quorum"][chance.choice(("1", "2"))]
    if seats and chance.random() < 0.4:
        seats.pop()
    else:
        seats.append({"role": chance.choice(("validator", "auditor"))})


def change_rule(data: dict[str, Any], chance: random.Random) -> None:
    owner = chance.choice([p for p in data["policies"] if p.get("rules")])
    one = chance.choice(owner["rules"])
    name = "assert" if "assert" in one and chance.random() < 0.8 else "when"
    text = one.get(name)
    if text is None:
        return
    extra = chance.choice(("model.tier > 0", "model.tier > 1", "model.id != 'x'"))
    shapes = (f"({text}) && {extra}", f"({text}) || {extra}", f"!({text})", extra)
    one[name] = chance.choice(shapes)


def drop_rule(data: dict[str, Any], chance: random.Random) -> None:
    owner = chance.choice([p for p in data["policies"] if p.get("rules")])
    owner["rules"].pop(chance.randrange(len(owner["rules"])))


def add_rule(data: dict[str, Any], chance: random.Random) -> None:
    owner = chance.choice([p for p in data["policies"] if p.get("rules")])
    key = "assert" if owner["kind"] in {"gate", "invariant"} else "when"
    text = chance.choice(("model.tier > 1", "actor.human", "model.retired"))
    owner["rules"].append({"id": f"extra-{chance.randint(0, 99)}", key: text})


def soften_rule(data: dict[str, Any], chance: random.Random) -> None:
    gates = [p for p in data["policies"] if p["kind"] == "gate" and p.get("rules")]
    chance.choice(chance.choice(gates)["rules"])["severity"] = chance.choice(
        ("warn", "block")
    )


def change_match(data: dict[str, Any], chance: random.Random) -> None:
    match = chance.choice(data["policies"])["match"]
    if chance.random() < 0.5:
        match.pop(chance.choice(("tier", "env")), None)
    else:
        match["tier"] = chance.choice(([1], [2], [1, 2], [1, 2, 3, 4]))


def change_owed(data: dict[str, Any], chance: random.Random) -> None:
    owing = [p["obligations"] for p in data["policies"] if "obligations" in p]
    one = chance.choice(owing)
    if chance.random() < 0.5:
        one["max_age"] = chance.choice(("24h", "336h", "900h"))
    elif chance.random() < 0.4:
        one["when"] = chance.choice(
            ("version.material_change", "evidence.psi_max > 0.01", "model.third_party")
        )
    else:
        one["excluding"] = chance.choice(
            (["actor"], ["actor", "model.owner", "model.developers[]"],
             ["actor", "model.owner", "model.developers[]", "version.registered_by"])
        )  # fmt: skip


def change_action(data: dict[str, Any], chance: random.Random) -> None:
    action = chance.choice(list(data["actions"].values()))
    listed = action.get(chance.choice(("all_of", "require")))
    if listed and chance.random() < 0.5:
        listed.pop(chance.randrange(len(listed)))
    else:
        action.setdefault("require", []).append("model.kind")


CHANGES: Final = (
    change_param,
    change_param,
    change_quorum,
    change_rule,
    change_rule,
    drop_rule,
    add_rule,
    add_rule,
    soften_rule,
    change_match,
    change_owed,
    change_action,
)

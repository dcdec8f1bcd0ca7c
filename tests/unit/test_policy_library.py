"""The starter library: every bundle stands alone, and its tests notice what breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from modelkeep.errors import Invalid
from modelkeep.policy import defaults, facts
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.check import changed, lint
from modelkeep.policy.clauses import table
from modelkeep.policy.mutate import Score, mutants, score
from modelkeep.policy.program import Program, program_of
from modelkeep.policy.verdict import Decision

PAGE = Path(__file__).parents[2] / "docs" / "policy-library.md"
BEGIN, END = "<!-- table: begins -->\n", "<!-- table: ends -->"
EVERY = 23
"""Of so many mutants the fast suite tries one."""

KILLED = 0.95


@cache
def bundle(name: str) -> Bundle:
    return load_bundle(defaults.text(name))


@cache
def program(name: str) -> Program:
    """Conditions are asked one by one: each deletion leaves other facts to ask about,
    and a call for all that are left would be compiled for that one question.
    """
    made = bundle(name)
    return Program(made, program_of(made).halves, most_together=0)


def decided(name: str, document: Mapping[str, object]) -> Decision:
    return program(name).evaluate(facts.from_document(document)).decision


def every_fact(node: object, at: str = "") -> Iterator[str]:
    """Every scalar, every item of a list, every list and every message, by its path."""
    if at:
        yield at
    if isinstance(node, dict):
        for key, value in node.items():
            yield from every_fact(value, f"{at}.{key}" if at else str(key))
    if isinstance(node, list):
        for number, value in enumerate(node):
            yield from every_fact(value, f"{at}.{number}")


def doubles(node: object, at: str = "") -> Iterator[str]:
    if isinstance(node, float):
        yield at
    if isinstance(node, dict):
        for key, value in node.items():
            yield from doubles(value, f"{at}.{key}" if at else str(key))
    if isinstance(node, list):
        for number, value in enumerate(node):
            yield from doubles(value, f"{at}.{number}")


def fixtures(name: str) -> Mapping[str, Mapping[str, object]]:
    return bundle(name).document.fixtures


@pytest.mark.parametrize("name", defaults.NAMES)
def test_a_bundle_of_the_library_has_nothing_to_complain_of(name: str) -> None:
    assert lint(defaults.text(name)) == []
    assert bundle(name).name == name


def test_there_is_no_other_bundle_in_the_library() -> None:
    with pytest.raises(Invalid, match="nope is none of baseline, retail-credit"):
        defaults.text("nope")


@pytest.mark.parametrize("name", defaults.NAMES)
def test_every_action_has_a_fixture_that_is_allowed(name: str) -> None:
    allowed = {
        document["action"]
        for document in fixtures(name).values()
        if decided(name, document) is Decision.ALLOW
    }
    assert allowed == set(bundle(name).document.actions)
    assert len(fixtures(name)) >= len(allowed)


@pytest.mark.parametrize("name", defaults.NAMES)
def test_deleting_any_one_fact_of_any_fixture_never_yields_allow(name: str) -> None:
    """No exceptions: fixtures hold only what some rule that applies must read."""
    still = [
        f"{fixture} without {fact}"
        for fixture, document in fixtures(name).items()
        for fact in every_fact(document)
        if decided(name, changed(document, {}, [fact])) is Decision.ALLOW
    ]
    assert still == []


@pytest.mark.parametrize("name", defaults.NAMES)
def test_a_number_that_is_none_never_yields_allow(name: str) -> None:
    still = [
        f"{fixture} with {fact} {value}"
        for fixture, document in fixtures(name).items()
        for fact in doubles(document)
        for value in ("NaN", "Infinity", "-Infinity")
        if decided(name, changed(document, {fact: value}, ())) is Decision.ALLOW
    ]
    assert still == []
    assert any(list(doubles(document)) for document in fixtures(name).values())


def survivors(tried: Score) -> str:
    return "\n".join(str(one) for one in tried.survivors)


@pytest.mark.parametrize("name", defaults.NAMES)
def test_a_sample_of_mistakes_is_noticed(name: str) -> None:
    tried = score(bundle(name), every=EVERY)
    assert tried.tried >= 20
    assert tried.killed >= 0.9, survivors(tried)


@pytest.mark.slow
@pytest.mark.parametrize("name", defaults.NAMES)
def test_nineteen_of_twenty_mistakes_are_noticed(name: str) -> None:
    tried = score(bundle(name))
    assert tried.tried >= 400
    assert tried.killed >= KILLED, survivors(tried)


@pytest.mark.parametrize("name", defaults.NAMES)
def test_every_rule_and_parameter_has_a_mutant(name: str) -> None:
    document = bundle(name).document
    places = {one.place for one in mutants(bundle(name))}
    rules = {f"{p.id}/{r.id}" for p in document.policies for r in p.rules}
    assert rules <= places
    assert {f"params.{param}" for param in document.params} <= places
    assert {f"quorum.{tier}" for tier in document.quorum} <= places


def test_the_page_has_the_table_of_rules_and_clauses() -> None:
    """`python -m modelkeep.policy.clauses docs/policy-library.md` writes it anew."""
    page = PAGE.read_text(encoding="utf-8")
    (_, found) = page.split(BEGIN)
    assert found.split(END)[0] == table()

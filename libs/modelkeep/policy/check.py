"""Whether a bundle is fit to be proposed: it reads, and its own tests agree."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from modelkeep.errors import Invalid
from modelkeep.policy import facts
from modelkeep.policy.bundle import Bundle, Test, load_bundle
from modelkeep.policy.program import program_of
from modelkeep.policy.ruling import warns
from modelkeep.policy.verdict import Decision, Outcome, RuleResult, Verdict

GOOD = {"gate": Outcome.TRUE, "invariant": Outcome.TRUE, "forbid": Outcome.FALSE}
BAD = {Outcome.TRUE: Outcome.FALSE, Outcome.FALSE: Outcome.TRUE}
UNTOLD = {Outcome.MISSING, Outcome.EMPTY, Outcome.ERROR}


class Problem(NamedTuple):
    """`error` problems keep a bundle from being loaded; others are advice."""

    path: str
    message: str
    error: bool = True


class Tried(NamedTuple):
    """One embedded test and what was wrong with it; nothing when it passed."""

    name: str
    wrong: tuple[str, ...]
    verdict: Verdict

    @property
    def passed(self) -> bool:
        return not self.wrong


def lint(text: str) -> list[Problem]:
    """Give every problem of a document, its failing and absent tests included."""
    try:
        bundle = load_bundle(text)
    except Invalid as invalid:
        return [Problem(v.field, v.description) for v in invalid.violations]
    found = [*failures(bundle), *untested(bundle), *unused(bundle)]
    return [*found, *unreferenced(bundle)]


def run_tests(bundle: Bundle) -> list[Tried]:
    """Run the embedded tests, in their order; raise Invalid for facts that are none."""
    return [run_test(bundle, test) for test in bundle.document.tests]


def run_test(bundle: Bundle, test: Test) -> Tried:
    given = changed(bundle.document.fixtures[test.facts], test.set, test.unset)
    verdict = program_of(bundle).evaluate(facts.from_document(given))
    return Tried(test.name, tuple(disagreements(test, verdict)), verdict)


def disagreements(test: Test, verdict: Verdict) -> Iterator[str]:
    if verdict.decision is not Decision(test.expect):
        said = "; ".join(verdict.reasons)
        yield f"expected {test.expect}, got {verdict.decision.value}: {said}"
    seen = {
        "because": set(verdict.blocking),
        "missing": set(verdict.missing),
        "outstanding": {owed.role for owed in verdict.obligations},
        "commands": {command.command for command in verdict.commands},
        "warnings": {result.id for result in verdict.rules if warns(result)},
    }
    wanted = {
        "because": set(test.because),
        "missing": set(test.missing),
        "outstanding": set(test.outstanding),
        "commands": set(test.commands),
        "warnings": set(test.warnings),
    }
    for name, found in seen.items():
        if name in test.model_fields_set and wanted[name] != found:
            yield f"expected {name} {sorted(wanted[name])}, got {sorted(found)}"


def changed(
    fixture: Mapping[str, object], set_: Mapping[str, object], unset: Iterable[str]
) -> dict[str, object]:
    """Copy a fixture with some facts set and others taken away; raise Invalid."""
    copied = copy.deepcopy(dict(fixture))
    for name, value in set_.items():
        place(copied, name, value)
    for name in unset:
        remove(copied, name)
    return copied


def place(document: object, name: str, value: object) -> None:
    *steps, last = name.split(".")
    for step in steps:
        if isinstance(document, dict):
            document = document.setdefault(step, {})
        else:
            document = item(document, step, name)
    if isinstance(document, dict):
        document[last] = value
    elif isinstance(document, list):
        item(document, last, name)
        document[int(last)] = value


def remove(document: object, name: str) -> None:
    *steps, last = name.split(".")
    for step in steps:
        document = item(document, step, name)
    item(document, last, name)
    if isinstance(document, dict):
        del document[last]
    elif isinstance(document, list):
        del document[int(last)]


def item(document: object, step: str, name: str) -> object:
    if isinstance(document, dict) and step in document:
        found: object = document[step]
        return found
    if isinstance(document, list) and step.isdecimal() and int(step) < len(document):
        return document[int(step)]
    raise Invalid.field(name, f"the fixture has no {step}")


def failures(bundle: Bundle) -> Iterator[Problem]:
    for n, test in enumerate(bundle.document.tests):
        try:
            tried = run_test(bundle, test)
        except Invalid as invalid:
            yield Problem(f"tests[{n}]", f"{test.name}: {invalid}")
            continue
        for wrong in tried.wrong:
            yield Problem(f"tests[{n}]", f"{test.name}: {wrong}")


def untested(bundle: Bundle) -> Iterator[Problem]:
    """A rule is tested when it was seen to pass, to fail and to lack its evidence."""
    seen: dict[str, set[str]] = {}
    for test in bundle.document.tests:
        try:
            verdict = run_test(bundle, test).verdict
        except Invalid:
            continue
        for result in verdict.rules:
            seen.setdefault(result.id, set()).add(kind_of(result))
    for p, policy in enumerate(bundle.document.policies):
        for r, rule in enumerate(policy.rules):
            lacking = {"pass", "fail", "missing"} - seen.get(
                f"{policy.id}/{rule.id}", set()
            )
            if lacking:
                said = f"no test shows {policy.id}/{rule.id} to "
                yield Problem(
                    f"policies[{p}].rules[{r}]",
                    said + ", ".join(sorted(lacking)),
                    error=False,
                )


def kind_of(result: RuleResult) -> str:
    if result.outcome in UNTOLD:
        return "missing"
    good = GOOD.get(result.kind, Outcome.TRUE)
    return {good: "pass", BAD[good]: "fail"}.get(result.outcome, "skip")


def unused(bundle: Bundle) -> Iterator[Problem]:
    halves = [half for one in bundle.rules.values() for half in one.both]
    used = {name for half in halves for name in half.params}
    for name in bundle.document.params:
        if f"params.{name}" not in used:
            yield Problem(f"params.{name}", "no rule reads it", error=False)


def unreferenced(bundle: Bundle) -> Iterator[Problem]:
    """Where some rules say which clauses they serve, one that does not stands out."""
    places = [
        (f"policies[{p}].rules[{r}]", policy.id, rule.id)
        for p, policy in enumerate(bundle.document.policies)
        for r, rule in enumerate(policy.rules)
    ]
    silent = [one for one in places if not bundle.references(one[1], one[2])]
    if len(silent) < len(places):
        for path, policy, rule in silent:
            said = f"{policy}/{rule} names no clause, and others do"
            yield Problem(path, said, error=False)

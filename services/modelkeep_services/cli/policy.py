"""`modelkeep policy`: a bundle written, checked, tested, asked and compared, offline.

Exit 0: as wished; 1: it has errors, or a test fails, or the answer is no; 2: what was
asked cannot be done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from modelkeep.errors import AlreadyExists, Invalid
from modelkeep.policy import check, diff, document, facts
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.defaults import text
from modelkeep.policy.mutate import Score, score
from modelkeep.policy.program import program_of
from modelkeep.policy.schema import json_schema
from modelkeep.policy.verdict import Decision, RuleResult, Verdict
from modelkeep_services.cli import files, screen


def init(to: Path, name: str, *, force: bool) -> None:
    """Write a bundle of the library, to be made one's own."""
    begun = text(name)
    if to.exists() and not force:
        raise AlreadyExists(f"{to} is there already: name another, or --force")
    try:
        to.write_text(begun, encoding="utf-8")
    except OSError as wrong:
        raise Invalid.field("file", f"{to}: {wrong.strerror}") from None
    screen.line(f"{to}: edit it, then `modelkeep policy test {to}`")


def schema() -> None:
    screen.say_json(json_schema())


def lint(file: Path, *, strict: bool, as_json: bool) -> int:
    """Say every problem; `strict` takes advice for errors."""
    found = check.lint(read(file))
    bad = [one for one in found if one.error or strict]
    if as_json:
        screen.say_json({"problems": [one._asdict() for one in found]})
        return int(bool(bad))
    for one in found:
        style = "red" if one in bad else "yellow"
        said, *shown = one.message.split("\n")
        screen.point("✗" if one in bad else "!", style, f"{one.path}: {said}")
        for line in shown:
            screen.point(" ", "dim", line)
    advice = len(found) - len(bad)
    screen.line(f"{file.name}: {_count(len(bad), 'error')}, {advice} of advice")
    return int(bool(bad))


def test(file: Path, *, mutate: bool, as_json: bool) -> int:
    """Run a bundle's own tests. One without tests has not passed them.

    With `mutate` say also which small mistakes they would not notice.
    """
    bundle = loaded(file)
    tests = check.run_tests(bundle)
    failed = [one for one in tests if not one.passed]
    broken = _mutated(bundle) if mutate and not failed else None
    if as_json:
        answer: dict[str, object] = {
            "bundle": bundle.digest,
            "tests": len(tests),
            "failed": [{"name": o.name, "wrong": list(o.wrong)} for o in failed],
        }
        if broken is not None:
            survivors = [str(one) for one in broken.survivors]
            answer["mutants"] = {"tried": broken.tried, "survivors": survivors}
        screen.say_json(answer)
        return int(bool(failed) or not tests)
    for survivor in broken.survivors if broken is not None else ():
        screen.point("!", "yellow", f"no test notices {survivor}")
    if broken is not None:
        found = broken.tried - len(broken.survivors)
        screen.line(f"{found} of {broken.tried} mistakes are noticed")
    for one in failed:
        screen.point("✗", "red", f"{one.name}: {'; '.join(one.wrong)}")
    named = f"{bundle.name} {bundle.version}"
    said = f"{len(tests) - len(failed)} of {len(tests)} tests pass"
    screen.line(f"{named}: {said if tests else 'it has no tests'}")
    return int(bool(failed) or not tests)


def _mutated(bundle: Bundle) -> Score:
    with screen.progress("breaking it") as tell:
        return score(bundle, tell=tell)


def explain(
    file: Path,
    fixture: str | None,
    given: Path | None,
    changed: Sequence[str],
    without: Sequence[str],
    *,
    as_json: bool,
) -> int:
    """Ask a bundle of some facts, and say why it answers as it does."""
    bundle = loaded(file)
    said = check.changed(
        _facts(bundle, fixture, given), dict(map(_pair, changed)), without
    )
    verdict = program_of(bundle).evaluate(facts.from_document(said))
    if as_json:
        screen.say_json(verdict.as_dict())
    else:
        _tell(verdict)
    return int(verdict.decision is not Decision.ALLOW)


def compare(old: Path, new: Path, *, as_json: bool) -> int:
    """Say what changed between two bundles, part by part."""
    before, after = loaded(old), loaded(new)
    found = diff.changes(before, after)
    if as_json:
        screen.say_json(
            {
                "before": before.digest,
                "after": after.digest,
                "changes": [
                    {**one._asdict(), "place": ".".join(one.place)} for one in found
                ],
            }
        )
        return 0
    for one in found:
        screen.point("·", "dim", one.sentence())
    if before.digest == after.digest:
        screen.line("the same rules: nothing differs but comments and layout")
    else:
        screen.line(
            f"{_count(len(found), 'change')}: {screen.short(before.digest)} -> ",
            screen.short(after.digest),
        )
    return 0


def read(file: Path) -> str:
    return files.text("file", file, document.MAX_BYTES)


def loaded(file: Path) -> Bundle:
    return load_bundle(read(file))


def _facts(
    bundle: Bundle, fixture: str | None, given: Path | None
) -> dict[str, object]:
    if (fixture is None) == (given is None):
        raise Invalid.field("facts", "name a --fixture or a file of --facts: one")
    if given is not None:
        return cast("dict[str, object]", document.read(read(given)).data)
    found = bundle.document.fixtures.get(fixture or "")
    if found is None:
        known = ", ".join(bundle.document.fixtures) or "none"
        raise Invalid.field("fixture", f"there is no {fixture}; there are {known}")
    return dict(found)


def _pair(text: str) -> tuple[str, object]:
    """`model.tier=1`: the value is JSON, or else a text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Invalid.field("set", f"{text} is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _tell(verdict: Verdict) -> None:
    where = f" in {verdict.env}" if verdict.env else ""
    screen.line(
        screen.word(verdict.decision.value.lower()),
        f": {verdict.action or 'nothing'} in tier {verdict.tier}{where}, "
        f"says {verdict.bundle}",
    )
    for reason in verdict.reasons:
        screen.point("✗", "red", reason)
    for one in verdict.rules:
        if one.denies and one.references:
            screen.point("§", "dim", f"{one.id} serves {'; '.join(one.references)}")
    for command in verdict.commands:
        screen.point("→", "yellow", f"proposes {command.command} ({command.policy})")
    for one in verdict.rules:
        if check.kind_of(one) == "pass":
            screen.point("✓", "green", _seen(one))
        elif not one.denies and f"warning: {one.sentence()}" not in verdict.reasons:
            screen.point("·", "dim", f"asks nothing here: {_seen(one)}")


def _seen(one: RuleResult) -> str:
    """A rule's message says what is wrong; where nothing is, what it looked at."""
    seen = "; ".join(map(str, one.operands))
    return f"{one.id}: {seen}" if seen else one.id


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

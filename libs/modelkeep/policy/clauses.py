"""Which rules of the library serve which clauses, as a table for people.

    python -m modelkeep.policy.clauses docs/policy-library.md

writes the table into a page, between its marks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelkeep.errors import Invalid
from modelkeep.policy import defaults
from modelkeep.policy.bundle import Bundle, Policy, load_bundle

BEGINS: Final = "<!-- table: begins -->\n"
ENDS: Final = "<!-- table: ends -->"


def table() -> str:
    """Give every bundle of the library: its rules, what they say, whom they serve."""
    bundles = (load_bundle(defaults.text(name)) for name in defaults.NAMES)
    return "\n".join(line for bundle in bundles for line in section(bundle)) + "\n"


def section(bundle: Bundle) -> Iterator[str]:
    yield f"\n### {bundle.name}\n"
    yield "| rule | kind | what it asks | clauses |"
    yield "| --- | --- | --- | --- |"
    for policy in bundle.document.policies:
        for name, asks in asked(policy):
            served = "; ".join(bundle.references(policy.id, name))
            shown = f"`{policy.id}/{name}`" if name else f"`{policy.id}`"
            yield f"| {shown} | {policy.kind} | {asks} | {served} |"


def asked(policy: Policy) -> Iterator[tuple[str, str]]:
    """Give each rule's name and condition, and last what people owe."""
    for rule in policy.rules:
        condition = rule.assertion or rule.when or ""
        when = f" when {code(rule.when)}" if rule.assertion and rule.when else ""
        yield rule.id, code(condition) + when
    if policy.obligations is not None:
        owed = policy.obligations
        by_tier = isinstance(owed.approvals, str)
        seats = () if isinstance(owed.approvals, str) else owed.approvals
        people = ", ".join(f"{one.min} {one.role}" for one in seats)
        when = f" when {code(owed.when)}" if owed.when else ""
        yield "", f"approval {'by tier' if by_tier else f'of {people}'}{when}"


def code(expression: str | None) -> str:
    """Write an expression as code in a cell, on one line."""
    said = " ".join((expression or "").split()).replace("|", "\\|")
    return f"`{said}`"


def inserted(page: str) -> str:
    """Put the table between the marks; raise Invalid for a page without them."""
    before, begun, rest = page.partition(BEGINS)
    _, ended, after = rest.partition(ENDS)
    if not begun or not ended:
        raise Invalid.field("page", f"has no {BEGINS.strip()} and {ENDS}")
    return before + begun + table() + ended + after


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(inserted(place.read_text(encoding="utf-8")), encoding="utf-8")

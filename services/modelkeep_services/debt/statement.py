"""The statement: what was owed, what moved it, what is owed now. Sums of postings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from modelkeep_services.debt.liability import Liability
from modelkeep_services.debt.views import EntryRow, PostingRow

POINTS = "points"


@dataclass
class Line:
    """Of one group and unit: opening + incurred + accrued - cured - accepted = closing.

    `unposted` has accrued by the end and waits for the month's; `drag` was measured in
    the period. Both are beside the balance.
    """

    group: str
    unit: str
    opening: int = 0
    incurred: int = 0
    accrued: int = 0
    cured: int = 0
    accepted: int = 0
    closing: int = 0
    unposted: int = 0
    drag: int = 0

    def take(self, entry: EntryRow, *, before: bool) -> None:
        """Count an entry; one before the period is in the opening balance alone."""
        amount = entry.amount
        match entry.account:
            case "owed":
                self.closing += amount
                self.opening += amount if before else 0
            case "incurred" | "accrued" if not before:
                total = getattr(self, entry.account) - amount
                setattr(self, entry.account, total)
            case "cured" | "accepted" | "drag" if not before:
                total = getattr(self, entry.account) + amount
                setattr(self, entry.account, total)
            case _:
                pass


def statement(
    postings: Iterable[PostingRow],
    liabilities: Iterable[Liability],
    group_of: Callable[[str], str | None],
    start: datetime | None,
    end: datetime,
) -> list[Line]:
    """Postings after `start` up to and including `end`, whose liability has a group.

    `group_of` names the group of a liability; None leaves it out.
    """
    lines: dict[tuple[str, str], Line] = {}

    def line(group: str, unit: str) -> Line:
        return lines.setdefault((group, unit), Line(group, unit))

    for posting in postings:
        group = group_of(posting.liability)
        if group is None or posting.on > end:
            continue
        before = start is not None and posting.on <= start
        for entry in posting.entries:
            line(group, entry.unit).take(entry, before=before)
    for liability in liabilities:
        group = group_of(liability.liability)
        waiting = liability.unposted(end) if end > liability.upto else 0
        if group is not None and waiting:
            line(group, POINTS).unposted += waiting
    return [lines[key] for key in sorted(lines)]

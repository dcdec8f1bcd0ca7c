"""`modelkeep backtest`: what another bundle would have said of all that was asked.

It reads the ledger where it lies, beside whatever runs on it, and writes nothing there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from modelkeep.errors import Invalid, Unavailable
from modelkeep.events import load_all
from modelkeep.home import Home
from modelkeep.policy.program import program_of
from modelkeep.store import open_store
from modelkeep.store.port import Store
from modelkeep_services.cli import screen
from modelkeep_services.cli.moments import instant
from modelkeep_services.cli.policy import loaded
from modelkeep_services.policy import backtest_report as reports
from modelkeep_services.policy import history, replay
from modelkeep_services.policy.backtest import backtest
from modelkeep_services.policy.backtest_page import FIRST_ORDER, render
from modelkeep_services.policy.history import Period

SHOWN = 20


class Wanted(NamedTuple):
    """What to write, and where. No path: nothing."""

    html: Path | None = None
    json: Path | None = None
    as_json: bool = False


def period(
    first: str | None, last: str | None, models: list[str], actions: list[str]
) -> Period:
    start = None if first is None else instant("from", first, whole_day=False)
    end = None if last is None else instant("to", last, whole_day=True)
    if start is not None and end is not None and start >= end:
        raise Invalid.field("from", f"{first} is not before {last}")
    return Period(start, end, frozenset(models), frozenset(actions))


def run(
    home: Home,
    store_url: str | None,
    path: Path,
    asked: Period,
    minutes_per_approval: float | None,
    tenant: str,
    wanted: Wanted,
) -> None:
    """Raises Invalid for a document that is no bundle, naming line and column."""
    candidate = program_of(loaded(path))
    assumed = reports.Assumed(minutes_per_approval)
    for target in (wanted.html, wanted.json):
        if target is not None and not target.parent.is_dir():
            raise Invalid.field("out", f"there is no folder {target.parent}")
    with ledger(home, store_url) as store:
        known = history.around(store, tenant)
        with screen.progress("asking history") as tell:
            past = history.verdicts(store, tenant, asked, tell)
            report = backtest(candidate, past, known, asked, assumed)
    said = reports.document(report)
    digest = reports.digest(said)
    if wanted.json is not None:
        save(wanted.json, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    if wanted.html is not None:
        save(wanted.html, render(said, digest))
    if wanted.as_json:
        screen.say_json(said | {"report": digest})
    else:
        _show(report, digest)
        for target in (wanted.html, wanted.json):
            if target is not None:
                screen.line(f"written: {target}")


def exact(
    home: Home, store_url: str | None, asked: Period, tenant: str, *, as_json: bool
) -> int:
    """Ask every past question of its own bundle; 1 when an answer differs."""
    with ledger(home, store_url) as store:
        known = history.around(store, tenant)
        with screen.progress("replaying verdicts") as tell:
            past = history.whole_verdicts(store, tenant, asked, tell)
            found = replay.exact(past, known)
    if as_json:
        screen.say_json(
            {
                "verdicts": found.verdicts,
                "same": found.verdicts - len(found.differ),
                "differ": [one._asdict() for one in found.differ],
            }
        )
    else:
        for one in found.differ:
            screen.line(f"{one.request} (event {one.event}): {'; '.join(one.what)}")
        same = found.verdicts - len(found.differ)
        screen.line(
            f"{same:,} of {found.verdicts:,} verdicts come out exactly the same"
        )
    return 1 if found.differ else 0


@contextmanager
def ledger(home: Home, store_url: str | None) -> Iterator[Store]:
    """A ledger to read. Raises Unavailable where there is none: none is made."""
    load_all()
    path = Path(store_url) if store_url and "://" not in store_url else None
    missing = not home.ledger.exists() if store_url is None else False
    if missing or (path is not None and not path.exists()):
        raise Unavailable(f"no ledger in {path or home.root}")
    with open_store(store_url or str(home.ledger)) as store:
        yield store


def save(path: Path, text: str) -> None:
    """Whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


# --- on the screen -------------------------------------------------------------------


def _show(report: reports.Report, digest: str) -> None:
    screen.line(
        Text(f"{report.name} {report.version} on {report.verdicts:,} verdicts", "bold")
    )
    screen.line(f"  {FIRST_ORDER}")
    screen.line(
        f"  {report.flips:,} flip: {report.tightened:,} become stricter,"
        f" {report.loosened:,} looser; {report.not_evaluable:,} cannot be evaluated"
    )
    cells = [report.cells[key] for key in sorted(report.cells, key=str)]
    if cells:
        screen.heading("What each verdict was, and would have been")
        screen.table(
            ["tier", "action", "was", "would be", "verdicts", "for one"],
            [_cell(cell) for cell in cells],
        )
    _rules(report)
    _lacking(report)
    _costs(report)
    _idle(report)
    screen.line(f"  report {digest}")


def _cell(cell: reports.Cell) -> screen.Row:
    one = cell.exemplars[0] if cell.exemplars else None
    return [
        "-" if cell.tier is None else str(cell.tier),
        cell.action,
        screen.word(cell.was),
        screen.word(cell.now),
        f"{cell.count:,}",
        "" if one is None else f"{one.model} {one.request}: {one.says[0]}",
    ]


def _rules(report: reports.Report) -> None:
    stopping = [one for one in report.rules.values() if one.stops]
    rows: list[screen.Row] = [
        [one.rule, Text("would newly stop", "red"), f"{one.stops:,}", _for_one(one)]
        for one in sorted(stopping, key=lambda one: -one.stops)
    ]
    freed = sorted(report.freed.values(), key=lambda one: -one.frees)
    rows += [
        [
            one.rule,
            Text("would no longer stop", "green"),
            f"{one.frees:,}",
            _for_one(one),
        ]
        for one in freed
    ]
    if rows:
        screen.heading("By rule")
        screen.table(["rule", "", "verdicts", "for one"], rows[:SHOWN])


def _for_one(rule: reports.Rule) -> str:
    one = rule.exemplars[0] if rule.exemplars else None
    return "" if one is None else f"{one.model} {one.request}"


def _lacking(report: reports.Report) -> None:
    rows: list[screen.Row] = [
        [name, f"{count:,}"]
        for name, count in (report.lacking + report.unreadable).most_common(SHOWN)
    ]
    if rows:
        screen.heading("Not evaluable: history does not have")
        screen.table(["fact", "verdicts"], rows)


def _costs(report: reports.Report) -> None:
    screen.heading("Effects")
    changed = [
        *(("gained", name, n) for name, n in sorted(report.proposals_gained.items())),
        *(("lost", name, n) for name, n in sorted(report.proposals_lost.items())),
    ]
    for what, name, count in changed[:SHOWN]:
        screen.fact("proposals", f"{count:,} {what}: {name}")
    screen.fact(
        "escalations", f"{report.escalations_were:,} → {report.escalations_are:,}"
    )
    screen.fact(
        "approvals", f"{report.approvals_were:,} → {report.approvals_are:,} owed"
    )
    hours = report.hours()
    screen.fact(
        "hours",
        "not known: state --minutes-per-approval"
        if hours is None
        else f"{hours[0]:,.1f} → {hours[1]:,.1f}, at"
        f" {report.assumed.minutes_per_approval:g} minutes an approval (assumed)",
    )
    money = [f"{minor / 100:,.2f} {code}" for code, minor in report.money().items()]
    screen.fact(
        "money",
        f"an hour beyond limits costs {', '.join(money)} where verdicts flip"
        if money
        else "not known: no objective of these models has a price",
    )


def _idle(report: reports.Report) -> None:
    screen.heading("Rules that tell nothing apart")
    for title, names in (
        ("never asked", report.never_asked()),
        ("never fire", report.never_fired()),
        ("always fire", report.always_fired()),
    ):
        screen.fact(title, ", ".join(names) or "none")

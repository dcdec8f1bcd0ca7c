"""`modelkeep import csv`: register an inventory that lives in a spreadsheet.

Every problem is listed before anything is sent, and a table with a problem sends
nothing. A second run of the same table imports nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.text import Text

from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep_services.cli import screen
from modelkeep_services.cli.connect import connected
from modelkeep_services.inventory import importing
from modelkeep_services.inventory.importing import Imported, Plan, Problem

OWNER: Final = "owner"
NOTHING: Final = Imported(0, 0, ())
SHOWN: Final = 200
"""So many problems fit a screen; JSON has all."""


def run(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    table: Path,
    mapping: Path,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Return the exit code: 1 when a row is wrong, or was refused."""
    planned = importing.plan(table, importing.read_mapping(mapping))
    sends = not planned.problems and not dry_run
    done = _sent(home, builds, store_url, planned) if sends else NOTHING
    problems = (*planned.problems, *done.failures)
    if as_json:
        screen.say_json(
            {
                "rows": planned.rows,
                "requests": len(planned.requests),
                "written": done.written,
                "again": done.again,
                "problems": [one._asdict() for one in problems],
            }
        )
    else:
        _show(planned, done, problems, sends=sends)
    return 1 if problems else 0


def _sent(
    home: Home, builds: Mapping[str, Build], store_url: str | None, planned: Plan
) -> Imported:
    with (
        connected(
            home.make(),
            {"inventory": builds["inventory"]},
            OWNER,
            store_url=store_url,
            fresh=True,
        ) as there,
        screen.progress("importing") as tell,
    ):
        return importing.run(planned, there.channels["inventory"], there.metadata, tell)


def _show(
    planned: Plan, done: Imported, problems: Sequence[Problem], *, sends: bool
) -> None:
    rows = f"{planned.rows:,} rows, {len(planned.requests):,} requests"
    screen.line(f"{rows}, {len(problems):,} problems")
    if problems:
        screen.table(
            ["row", "column", "value", "problem"],
            [[str(p.row), p.column, p.value, p.reason] for p in problems[:SHOWN]],
        )
    if len(problems) > SHOWN:
        screen.line(f"and {len(problems) - SHOWN:,} more: --json has them all")
    if sends:
        screen.line(
            Text(f"{done.written:,} written", "bold"),
            f", {done.again:,} were there already",
        )
    else:
        screen.line("nothing was sent")

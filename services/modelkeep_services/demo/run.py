"""`modelkeep demo`: a real year on one ledger, and what to try next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from rich.console import Console

from modelkeep.home import Home
from modelkeep_services.demo import clinic, credit, ending, flights
from modelkeep_services.demo.cast import Cast, Desks
from modelkeep_services.demo.live import Live
from modelkeep_services.demo.portfolios import CLINIC, CREDIT, FLIGHTS
from modelkeep_services.demo.stage import ONE_PROCESS, Processes, Stage, stage
from modelkeep_services.demo.telling import Teller, telling
from modelkeep_services.demo.year import WARN_FROM, Year

SERVICES = (
    "inventory",
    "lineage",
    "policy",
    "monitoring",
    "debt",
    "insight",
    "audit",
)
OPENING = (
    "336,776 flights left New York in 2013. A model says which will arrive late; two "
    "small ones gate loans and order second readings of biopsies."
)


def run(
    home: Home,
    console: Console,
    *,
    victim: int | None = None,
    days: int | None = None,
    processes: Processes = ONE_PROCESS,
) -> None:
    """Play the year on a fresh home; `days` plays its first days only.

    Raises Unavailable when the home has a ledger already.
    """
    started = time.monotonic()
    console.print(OPENING)
    console.print(f"[dim]{credit.SAYS}; {clinic.SAYS}[/dim]")
    with stage(home, SERVICES, processes=processes) as on:
        year = played(on, console, days)
        # The last midnight opens a new quarter, with new budgets.
        eve = year.at() - timedelta(hours=6)
        ending.scorecard(console, year.desks, year.cast, eve)
        page = home.root / "board.html"
        ending.board(year.desks, year.cast, page, eve)
        decision = year.some_decision()
    said, report = ending.tamper(home, home.root / "tampered", victim)
    console.print(f"\n{said}; [bold]verify[/bold] says:")
    console.print(report.screen(), style="red", highlight=False)
    ending.clear(home.root / "tampered")
    console.print(
        f"\n{year.decided:,} decisions and {year.learned:,} outcomes through gRPC in "
        f"{time.monotonic() - started:.0f} s. The board's page: {page}"
    )
    _next(console, home, decision)


def played(on: Stage, console: Console, days: int | None = None) -> Year:
    """Play the story on a stage; the stage stays open."""
    with telling(console, 1 + (days or 275)) as tell:
        year = _year(on, tell)
        tell.step("models come under governance")
        year.prepare()
        for day in _first(year.days(), days):
            tell.step(f"{day.astype('datetime64[D]')}")
            year.live(day)
    return year


def _first(days: Sequence[np.datetime64], many: int | None) -> Sequence[np.datetime64]:
    return days if many is None else days[:many]


def _year(on: Stage, tell: Teller) -> Year:
    _, _, biopsies = clinic.load()
    return Year(
        on,
        Desks.on(on),
        Cast.on(on),
        tell,
        flights=Live(FLIGHTS, flights.load(), WARN_FROM),
        credit=Live(CREDIT, credit.load().arriving, credit.CUTOFF, reason_codes=True),
        clinic=Live(CLINIC, biopsies, clinic.CUTOFF),
    )


def _next(console: Console, home: Home, decision: str) -> None:
    flag = "" if home.root == Path.cwd() / ".modelkeep" else f" --home {home.root}"
    console.print("\nTry next:")
    for command in (
        f"modelkeep why {decision}{flag}",
        f"modelkeep why {decision} --rescore{flag}",
        f"modelkeep as-of 2013-07-01{flag}",
        f"modelkeep verify{flag}",
    ):
        console.print(f"  {command}", soft_wrap=True, highlight=False)

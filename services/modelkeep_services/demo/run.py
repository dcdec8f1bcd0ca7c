"""`modelkeep demo`: a real year on one ledger, and what to try next."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from modelkeep.home import Home
from modelkeep_services.demo import bank, clinic, credit, ending, flights
from modelkeep_services.demo.bank_year import CALL_FROM, BankYear, portfolio
from modelkeep_services.demo.cast import Cast, Desks
from modelkeep_services.demo.decisions import Decisions
from modelkeep_services.demo.live import Live
from modelkeep_services.demo.portfolios import CLINIC, CREDIT, FLIGHTS
from modelkeep_services.demo.stage import Stage, stage
from modelkeep_services.demo.story import Story
from modelkeep_services.demo.telling import Teller, telling
from modelkeep_services.demo.year import WARN_FROM, Year
from modelkeep_services.wiring import SERVICES

Make = Callable[[Stage, Teller], Story]
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
    bank_file: Path | None = None,
) -> None:
    """Play the year on a fresh home; `days` plays its first steps only.

    With `bank_file` the story is the user's own bank-marketing file. Raises Unavailable
    when the home has a ledger already, and Invalid for a file that is not that table.
    """
    started = time.monotonic()
    if bank_file is None:
        console.print(OPENING)
        console.print(f"[dim]{credit.SAYS}; {clinic.SAYS}[/dim]")
    else:
        bank.load(bank_file)  # before anything starts: it may not be that table
    with ThreadPoolExecutor(1) as pool:
        make = _made(bank_file, pool)
        story, page, decision, eve = _staged(home, console, days, make)
    said, report = ending.tamper(home, home.root / "tampered", victim)
    console.print(f"\n{said}; [bold]verify[/bold] says:")
    console.print(report.screen(), style="red", highlight=False)
    ending.clear(home.root / "tampered")
    console.print(
        f"\n{story.decided:,} decisions and {story.learned:,} outcomes through gRPC in "
        f"{time.monotonic() - started:.0f} s. The board's page: {page}"
    )
    opened = datetime.fromtimestamp(int(story.opens.astype(np.int64)) / 1000, tz=UTC)
    _next(console, home, decision, opened + (eve - opened) / 2)


def _staged(
    home: Home, console: Console, days: int | None, make: Make
) -> tuple[Story, Path, str, datetime]:
    """Return the story, the board's page, a decision to ask about, and its last eve."""
    with stage(home, SERVICES) as on:
        story = played(on, console, days, make)
        # The last midnight opens a new period, with new budgets.
        eve = story.at() - timedelta(hours=6)
        ending.scorecard(console, story.desks, story.cast, eve)
        page = home.root / "board.html"
        ending.board(story.desks, story.cast, page, eve)
        decision = story.some_decision()
        dossier = ending.dossier(home, story.desks, story.cast, decision)
        said = f"The dossier of decision {decision}, signed, is in {dossier}"
        console.print(said, soft_wrap=True, highlight=False)
        return story, page, decision, eve


def _made(bank_file: Path | None, pool: Executor) -> Make:
    if bank_file is not None:
        return partial(_bank, bank_file)
    # Read while the services start.
    return partial(_year, read=pool.submit(flights.load).result)


def _year(
    on: Stage, tell: Teller, read: Callable[[], Decisions] = flights.load
) -> Story:
    _, _, biopsies = clinic.load()
    return Year(
        on,
        Desks.on(on),
        Cast.on(on),
        tell,
        flights=Live(FLIGHTS, read(), WARN_FROM),
        credit=Live(CREDIT, credit.load().arriving, credit.CUTOFF, reason_codes=True),
        clinic=Live(CLINIC, biopsies, clinic.CUTOFF),
    )


def _bank(file: Path, on: Stage, tell: Teller) -> Story:
    plan = portfolio(hashlib.sha256(file.read_bytes()).hexdigest())
    calls = Live(plan, bank.load(file), CALL_FROM)
    return BankYear(on, Desks.on(on), Cast.on(on), tell, calls=calls)


def played(
    on: Stage,
    console: Console,
    days: int | None = None,
    make: Make = _year,
) -> Story:
    """Play a story on a stage; the stage stays open."""
    with telling(console) as tell:
        tell.begin("starting")
        story = make(on, tell)
        steps = story.steps()[:days]
        tell.begin("models come under governance", len(steps) + 1)
        story.prepare()
        for step in steps:
            tell.step(f"{step}")
            story.play(step)
        story.finish()
    return story


def _next(console: Console, home: Home, decision: str, then: datetime) -> None:
    flag = "" if home.root == Path.cwd() / ".modelkeep" else f" --home {home.root}"
    console.print("\nTry next:")
    for command in (
        f"modelkeep why {decision}{flag}",
        f"modelkeep why {decision} --rescore{flag}",
        f"modelkeep as-of {then:%Y-%m-%d}{flag}",
        f"modelkeep verify{flag}",
        f"modelkeep export --exam --out {home.root / 'exam.zip'}{flag}",
        f"modelkeep doctor{flag}",
    ):
        console.print(f"  {command}", soft_wrap=True, highlight=False)

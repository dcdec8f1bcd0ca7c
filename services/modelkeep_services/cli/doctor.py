"""`modelkeep doctor`: is this deployment well, and what is to be done where it is not.

Nothing is changed. The ledger is read as `verify` reads it, from a snapshot of the
file, so services may run meanwhile.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from modelkeep.errors import ModelkeepError
from modelkeep.home import Home
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import ProofError
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.survey import survey
from modelkeep.store.port import Recorded
from modelkeep.store.sqlite import SqliteStore
from modelkeep.views import AnyView
from modelkeep_services.cli import screen, status
from modelkeep_services.doctor import log
from modelkeep_services.doctor.finding import Finding, Verdict, fail, ok, warn
from modelkeep_services.doctor.keyring import keyring
from modelkeep_services.doctor.machine import machine
from modelkeep_services.doctor.objects import Named, objects
from modelkeep_services.doctor.views import views

MARKS: Final[Mapping[Verdict, tuple[str, str]]] = {
    "ok": ("ok  ", "green"),
    "warn": ("warn", "bold yellow"),
    "fail": ("FAIL", "bold red"),
}
VERIFY: Final = "run `modelkeep verify`; restore from a backup"


class Nothing(ModelkeepError):
    """There is no deployment to look at."""


def run(
    home: Home,
    views_of: Mapping[str, Callable[[], Sequence[AnyView]]],
    *,
    full: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Return the exit code: 1 when something fails or, if `strict`, is warned of.

    Raises Nothing when there is no home or no ledger in it.
    """
    if not home.ledger.is_file():
        raise Nothing(f"no ledger in {home.root}")
    findings = list(examined(home, views_of, full=full))
    counts = Counter(one.verdict for one in findings)
    if as_json:
        screen.say_json(
            {
                "home": str(home.root),
                "findings": [one._asdict() for one in findings],
                "counts": dict(counts),
            }
        )
    else:
        _show(home, findings, counts)
    return 1 if counts["fail"] or (strict and counts["warn"]) else 0


def examined(
    home: Home,
    views_of: Mapping[str, Callable[[], Sequence[AnyView]]],
    *,
    full: bool = False,
) -> Iterator[Finding]:
    try:
        with LedgerFile(home.ledger) as ledger:
            last = max(ledger.expected() - 1, 0)
            yield from machine(home.root, log.recorded_at(ledger, last))
            yield from keyring(home)
            yield log.settings(home.ledger)
            yield from _log(home, ledger, full=full)
    except ProofError as error:
        yield fail("log.file", str(error), VERIFY)
        return
    yield from _followers(home, views_of, full=full)


def _log(home: Home, ledger: LedgerFile, *, full: bool) -> Iterator[Finding]:
    published: Checkpoint | None = None
    unreadable = ""
    try:
        published = log.last_signed(home)
    except (ProofError, OSError) as error:
        unreadable = str(error)
    named = Named()
    sizes = [] if published is None else [published.size]
    with screen.progress("reading the log") as tell:
        found = survey(ledger, sizes=sizes, seen=named.see, progress=tell)
    yield from log.consistent(ledger, found)
    yield from log.fork_of(home)
    if unreadable:
        yield fail(
            "proof.root",
            f"the published checkpoint is none: {unreadable}",
            "look who wrote into the folder; `modelkeep checkpoint` publishes anew",
        )
    else:
        yield log.signer(home, found, published)
        yield log.root(found, published)
        yield log.tail(ledger, found, published, time.time())
    yield objects(home.decisions, named, whole=full)


def _followers(
    home: Home,
    views_of: Mapping[str, Callable[[], Sequence[AnyView]]],
    *,
    full: bool,
) -> Iterator[Finding]:
    yield from _running(home, list(views_of))
    try:
        with SqliteStore(home.ledger) as store:
            head = store.head()

            def beyond(after: int) -> Iterator[Recorded]:
                return store.read_all(after=after)

            for name, some in views_of.items():
                path = home.views(name)
                yield from views(name, some(), path, beyond, head, whole=full)
    except ModelkeepError as error:
        yield fail("views", f"the ledger cannot be opened: {error}", VERIFY)


def _running(home: Home, services: Sequence[str]) -> Iterator[Finding]:
    """What those that run say of themselves: only they know what halted."""
    try:
        followers = list(status.running(home, services))
    except (ModelkeepError, OSError) as error:
        yield warn(
            "services", f"one runs and does not answer: {error}", "look at its log"
        )
        return
    halted = [one for one in followers if one.halted]
    for one in halted:
        yield fail(
            "services",
            f"{one.name} halted: {one.halted}",
            "upgrade to code that reads the event, or restart; nothing was skipped",
        )
    if not halted:
        at_work = len(followers)
        said = f"{at_work} followers at work" if at_work else "none runs"
        yield ok("services", said)


def _show(home: Home, findings: Sequence[Finding], counts: Counter[Verdict]) -> None:
    screen.fact("home", str(home.root))
    for one in findings:
        mark, style = MARKS[one.verdict]
        screen.point(mark, style, f"{one.check}: {one.said}")
        if one.todo:
            screen.point("    ", "", f"-> {one.todo}")
    screen.line(
        f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed"
    )

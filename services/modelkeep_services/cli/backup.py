"""`modelkeep backup` and `modelkeep restore`: see docs/backup.md."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from modelkeep.home import Home
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import read_keys
from modelkeep_services.backup.restore import Outside, Restored, restore
from modelkeep_services.backup.take import take
from modelkeep_services.cli import screen
from modelkeep_services.cli.moments import moment
from modelkeep_services.cli.verify import Unverified

WARNING = (
    "this backup holds private keys: whoever reads it can be anybody here and sign for"
    " this ledger"
)


def back_up(home: Home, out: Path, *, keys: bool, as_json: bool) -> None:
    with screen.progress("copying the ledger") as tell:
        made = take(home, out, keys=keys, progress=tell)
    if as_json:
        screen.say_json(json.loads(made.encode()))
        return
    screen.fact("backup", str(out))
    screen.fact("ledger", made.origin)
    screen.fact("events", f"{made.events:,}, root {made.root[:16]}")
    size = sum(one.size for one in made.files)
    screen.fact("files", f"{len(made.files):,}, {size:,} bytes")
    if keys:
        screen.err.print(Text(f"modelkeep: {WARNING}", "bold yellow"), soft_wrap=True)
    else:
        screen.fact("keys", "not in it: keep them elsewhere (--keys takes them along)")


def bring_back(
    backup: Path,
    home: Home,
    until: str | None,
    checkpoint: Path | None,
    key: str | None,
    *,
    as_json: bool,
) -> None:
    try:
        keys = () if key is None else tuple(read_keys(key))
    except (ProofError, OSError) as error:
        raise Unverified(str(error)) from None
    with screen.progress("restoring") as tell:
        done = restore(
            backup,
            home,
            until=None if until is None else _until(until),
            outside=Outside(keys, checkpoint),
            progress=tell,
        )
    if as_json:
        screen.say_json(done._asdict())
    else:
        _show(home, done)


def _until(text: str) -> int | datetime | None:
    asked = moment(text)
    match asked.WhichOneof("moment"):
        case "position":
            return int(asked.position)
        case "time":
            return asked.time.ToDatetime(tzinfo=UTC)
    return 1 << 62


def _show(home: Home, done: Restored) -> None:
    screen.fact("home", str(home.root))
    screen.fact("ledger", done.origin)
    if done.fork_of:
        screen.fact("fork of", f"{done.fork_of}, up to position {done.position}")
    screen.fact("events", f"{done.events:,}")
    by = "a key that was given" if done.trusted else "the backup's own key"
    said = f"{done.signed:,}, by {by}" if done.signed else "none"
    screen.fact("signed", said)

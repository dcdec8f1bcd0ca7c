"""Whether the ledger file holds together, and is the one that was signed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelkeep.home import Home
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import Forked, ProofError
from modelkeep.proof.evidence import LATEST
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.note import SigningKey, parse
from modelkeep.proof.signer import Signer
from modelkeep.proof.survey import Survey
from modelkeep.store.sqlite_file import open_writer
from modelkeep_services.doctor.finding import Finding, fail, ok, warn

MARK: Final = "fork.json"
HEADER_BYTES: Final = 20
WAL: Final = 2
"""What a file's header says, twice, of a write-ahead log."""
FULL: Final = 2
TAIL_EVENTS: Final = 1_000
TAIL_S: Final = 60.0
OLD: Final = "the ledger is older than what was signed of it: a backup, restored?"
RECOVER: Final = (
    "bring the newest ledger back, or restore as a fork (modelkeep restore --until)"
)


def settings(ledger: Path) -> Finding:
    """How the file is written, and how this build would write it."""
    check = "log.settings"
    with ledger.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) == HEADER_BYTES and header[18:20] != bytes([WAL, WAL]):
        return fail(
            check,
            "the file is not in write-ahead mode: something else has written to it",
            "stop what writes to it; the next start puts it back",
        )
    with tempfile.TemporaryDirectory() as folder:
        db = open_writer(Path(folder, "ledger.db"))
        try:
            journal, synchronous = db.pragma("journal_mode"), db.pragma("synchronous")
            through = db.pragma("fullfsync")
        finally:
            db.close()
    said = f"journal_mode {journal}, synchronous {synchronous}, fullfsync {through}"
    if journal != "wal" or synchronous < FULL or not through:
        return fail(
            check,
            f"{said}: a power cut may cost acknowledged events",
            "use the SQLite that comes with apsw",
        )
    return ok(check, said)


def consistent(ledger: LedgerFile, found: Survey) -> Iterator[Finding]:
    kinds = found.counts
    gaps = kinds["version"] + kinds["position"]
    if gaps:
        yield fail(
            "log.contiguity", _named(found), "stop writing; restore from a backup"
        )
    else:
        yield ok(
            "log.contiguity",
            f"{found.events:,} events, {found.streams:,} streams, no gap in any",
        )
    if kinds.total() > gaps:
        yield fail(
            "log.content",
            _named(found),
            "stop writing, keep the file, run `modelkeep verify`",
        )
    else:
        yield ok("log.content", "every leaf is its event's, the tree is theirs")
    try:
        faults = ledger.faults(5)
    except ProofError as error:
        faults = [str(error)]
    if faults:
        yield fail(
            "log.file",
            f"SQLite finds: {'; '.join(faults)}",
            "stop writing; restore from a backup",
        )
    else:
        yield ok("log.file", "SQLite finds nothing wrong with the file")


def _named(found: Survey) -> str:
    more = found.counts.total() - len(found.faults)
    return "; ".join(found.faults) + (f"; and {more:,} more" if more else "")


def fork_of(home: Home) -> Iterator[Finding]:
    """Say so when this ledger was another's until some moment."""
    mark = home.root / MARK
    if not mark.is_file():
        return
    try:
        said = json.loads(mark.read_bytes())
        text = f"a fork of {said['of']}, from position {said['until']} on"
    except (ValueError, KeyError, TypeError, RecursionError):
        yield warn("log.fork", f"{mark} does not read", "ask who restored it")
    else:
        yield ok("log.fork", text)


def last_signed(home: Home) -> Checkpoint | None:
    """Read the newest published checkpoint, unverified; None where there is none.

    Raises ProofError when what is there is none.
    """
    path = home.published / LATEST
    if not path.is_file():
        return None
    return Checkpoint.parse(parse(path.read_bytes()).text)


def remembered(home: Home, origin: str) -> Checkpoint | None:
    """Return what the signer remembers; raises ProofError and OSError as it does."""
    key = home.keys / "checkpoint.key"
    if not key.is_file():
        return None
    signer = Signer(
        SigningKey.load(key),
        origin,
        state=home.keys / "checkpoint.state",
        published=home.published,
    )
    return signer.last()


def signer(home: Home, found: Survey, published: Checkpoint | None) -> Finding:
    """Hold the signer's memory against what was published and what the log holds."""
    check = "proof.signer"
    try:
        last = remembered(home, found.origin)
    except Forked as error:
        return fail(check, str(error), RECOVER)
    except (ProofError, OSError) as error:
        return fail(check, str(error), "restore keys/checkpoint.* as they were")
    if last is None:
        return _forgetful(check, published)
    if found.events < last.size:
        return fail(check, f"{found.events:,} of {last.size:,} signed: {OLD}", RECOVER)
    if published is None or published.size < last.size:
        return warn(
            check,
            f"{last.size:,} events were signed and not published",
            f"see that {home.published} is there and can be written to",
        )
    return ok(check, f"remembers what was published: {last.size:,} events")


def _forgetful(check: str, published: Checkpoint | None) -> Finding:
    if published is None:
        return warn(check, "nothing was ever signed", "run the audit service")
    return fail(
        check,
        f"{published.size:,} events were signed, and no signer here remembers",
        "restore keys/checkpoint.key and keys/checkpoint.state",
    )


def root(found: Survey, published: Checkpoint | None) -> Finding:
    """Hold the root, recomputed from the events, against the published one."""
    check = "proof.root"
    if published is None:
        return warn(check, "there is no checkpoint", "run the audit service")
    if published.origin != found.origin:
        return fail(
            check,
            f"the checkpoint is of {published.origin}, the ledger {found.origin}",
            "point MODELKEEP_CHECKPOINTS at this ledger's own folder",
        )
    if published.size > found.events:
        return fail(
            check, f"{found.events:,} of {published.size:,} signed: {OLD}", RECOVER
        )
    if found.roots.get(published.size) != published.root:
        return fail(
            check,
            f"the first {published.size:,} events are not those that were signed",
            "run `modelkeep verify`: it names what was changed",
        )
    return ok(check, f"the first {published.size:,} events are those that were signed")


def tail(
    ledger: LedgerFile, found: Survey, published: Checkpoint | None, now: float
) -> Finding:
    """How much is not signed yet: what nothing outside vouches for."""
    check = "proof.tail"
    signed = 0 if published is None else published.size
    left = max(0, found.events - signed)
    if not left:
        return ok(check, "everything is signed")
    since = recorded_at(ledger, signed)
    age = 0.0 if since is None else max(0.0, now - since / 1e6)
    said = f"{left:,} events are not signed, the oldest for {age:,.0f} s"
    if left > TAIL_EVENTS or age > TAIL_S:
        return warn(check, said, "run the audit service: it signs every second")
    return ok(check, said)


def recorded_at(ledger: LedgerFile, index: int) -> int | None:
    """Return the engine's stamp on an event, in microseconds since 1970."""
    try:
        stamp = ledger.glimpse(index).recorded_at
    except ProofError:
        return None
    return stamp if isinstance(stamp, int) else None

"""How fast a ledger is verified offline, on one core."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

from tests.bench.harness import Figure, Goal, Peer, in_turns

from modelkeep.proof.evidence import Evidence, gather
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.note import SigningKey
from modelkeep.proof.report import PROVEN
from modelkeep.proof.signer import Signer
from modelkeep.proof.verify import verify
from modelkeep.store.port import ANY, NewEvent
from modelkeep.store.sqlite import SqliteStore

EVENTS: Final = 200_000
ROUNDS: Final = 7
STREAMS: Final = 500
WRITERS: Final = 16
DATA: Final = b'{"model":"fraud","note":"' + b"x" * 373 + b'"}'
METADATA: Final = (
    b'{"append":"%08d","schema_version":"1","tenant":"' + b"y" * 100 + b'"}'
)
APPENDS_OF: Final = 10


def figures(folder: Path) -> Iterable[Figure]:
    """200,000 events of 550 bytes in appends of ten, all under a checkpoint: every hash
    recomputed.

    Beside it, what no verifier can do without: reading the rows, hashing each once.
    """
    path = folder / "proof.db"
    evidence = _ledger(path, folder)

    def prove() -> Iterable[float]:
        started = time.perf_counter()
        with LedgerFile(path) as ledger:
            report = verify(ledger, evidence)
        took = time.perf_counter() - started
        if report.exit_code != PROVEN or report.proven != EVENTS:
            raise AssertionError(report.screen())
        yield EVENTS / took

    def read() -> Iterable[float]:
        started = time.perf_counter()
        with LedgerFile(path) as ledger:
            for rows in ledger.events():
                for row in rows:
                    sha256(row[7] + row[8]).digest()
        yield EVENTS / (time.perf_counter() - started)

    proved, just_read = in_turns(ROUNDS, prove, read)
    yield Figure(
        "proof.verify",
        median(proved),
        "events/s",
        peer=Peer("reading and hashing once", median(just_read)),
        goal=Goal("value", ">=", 200_000),
    )


def _append(store: SqliteStore, number: int) -> None:
    """The events of one append share their metadata, and no two appends do."""
    around = METADATA % number
    events = [
        NewEvent(uuid4(), "bench.written", 1, DATA, around) for _ in range(APPENDS_OF)
    ]
    store.append(f"bench-proof.{number % STREAMS}", events, expected=ANY)


def _ledger(path: Path, folder: Path) -> Evidence:
    key = SigningKey.generate("bench.example/ledger")
    signer = Signer(
        key, key.name, state=folder / "signer", published=folder / "published"
    )
    with SqliteStore(path, origin=key.name) as store:
        with ThreadPoolExecutor(WRITERS) as pool:  # many appends a transaction
            for _ in pool.map(partial(_append, store), range(EVENTS // APPENDS_OF)):
                pass
        signer.sign(store.frozen_tree())
    return gather(folder / "published", [key.verifier])

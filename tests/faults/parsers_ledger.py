"""Ledger files that somebody has written to who may: byte by byte, and cell by cell.
Whoever does that knows SQLite, and no constraint binds them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from tests.faults.parser import KEY, Parser, json_of

from modelkeep.proof.assertion import Asserting, Scope
from modelkeep.proof.assertions import ALL, asked
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import Malformed, ProofError
from modelkeep.proof.evidence import Evidence, Unchecked
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.survey import survey
from modelkeep.proof.verify import check_file, verify
from modelkeep.proof.writers import Signable, sign_append
from modelkeep.store.port import ANY, NewEvent
from modelkeep.store.sqlite import SqliteStore

STREAMS: Final = 10
EACH: Final = 30
SIGNED: Final = 250
COLUMNS: Final[Mapping[str, str]] = {
    "event": "position sid version nid schema_version recorded_at id leaf data"
    " metadata",
    "stream": "sid name",
    "name": "nid name",
    "tree": "size frontier",
    "node": "level at hash",
    "ledger": "origin",
}
BINARY: Final = frozenset({"id", "leaf", "data", "metadata", "frontier", "hash"})


def ledger_parsers(folder: Path) -> Mapping[str, Parser]:
    good = folder / "good.db"
    note = _a_ledger(good)
    unbound, rows = _unbound(good), _changes()
    return {
        "ledger": Parser(
            partial(_ledger, folder / "read.db"), [good.read_bytes()], (ProofError,)
        ),
        "rows": Parser(
            partial(_rows, folder / "rows.db", unbound, note),
            rows,
            (ProofError,),
        ),
    }


def _changes() -> list[bytes]:
    """Table, column, row, and what is put there: of a binary column, in hex."""
    return [
        json.dumps([[table, column, 0, "7b7d"]]).encode()
        for table, columns in COLUMNS.items()
        for column in columns.split()
    ]


def _a_ledger(path: Path) -> bytes:
    """Return the note of a checkpoint of most of its events."""
    meta = b'{"known_at":"2013-04-01T00:00:00.000000Z","schema_version":"1"}'
    data = b'{"model":"fraud"}'
    with SqliteStore(path, origin=KEY.name) as store:
        for number in range(STREAMS):
            stream, first = f"fuzz-main.{number}", number * EACH
            some = [
                NewEvent(UUID(int=first + n), "inventory.suspended", 1, data, meta)
                for n in range(EACH)
            ]
            told = [Signable(new.id.bytes, *new[1:]) for new in some]
            signed = sign_append(KEY, stream, 0, told)
            some[-1] = some[-1]._replace(metadata=signed)
            store.append(stream, some, expected=ANY)
    with LedgerFile(path) as file:
        root = survey(file, sizes=[SIGNED]).roots[SIGNED]
    return KEY.sign_note(Checkpoint(KEY.name, SIGNED, root).encode())


def _unbound(good: Path) -> bytes:
    """The same ledger without its triggers and its types."""
    path = good.with_name("unbound.db")
    path.write_bytes(good.read_bytes())
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma journal_mode = delete")
        db.execute("pragma writable_schema = on")
        db.execute("delete from sqlite_master where type = 'trigger'")
        for rule in (("strict", ""), ("not null", ""), (", without", "without")):
            db.execute("update sqlite_master set sql = replace(sql, ?, ?)", rule)
        db.commit()
    return path.read_bytes()


def _ledger(path: Path, raw: bytes) -> None:
    for beside in path.parent.glob(f"{path.name}*"):
        beside.unlink()
    path.write_bytes(raw)
    with LedgerFile(path) as file:
        survey(file, sizes=[0, 100, 300])
        file.faults(5)


def _rows(path: Path, good: bytes, note: bytes, raw: bytes) -> None:
    found = json_of(raw, Malformed)
    path.write_bytes(good)
    with closing(sqlite3.connect(path)) as db:
        for one in found if isinstance(found, list) else []:
            _put(db, one)
        db.commit()
    checkpoint = Checkpoint.parse(note.decode().partition("\n\n")[0] + "\n")
    evidence = Evidence([Unchecked(checkpoint, note)], [KEY.verifier])
    watch = Asserting(asked([ALL], Scope()), SIGNED)
    with LedgerFile(path) as file:
        report = verify(file, evidence, writers=[KEY.verifier], watch=watch)
        check_file(file, report)
    json.dumps(report.json()).encode()
    report.screen().encode()


def _put(db: sqlite3.Connection, one: object) -> None:
    """Write one cell, if there is such a one; SQLite may refuse the value."""
    match one:
        case [str(table), str(column), int(row), value] if table in COLUMNS:
            if isinstance(value, str) and column in BINARY:
                with suppress(ValueError):
                    value = bytes.fromhex(value)
            columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
            if column not in columns:
                return
            first = columns[0]
            with suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):
                db.execute(
                    f"update {table} set {column} = ? where {first} ="  # noqa: S608
                    f" (select {first} from {table} limit 1 offset ?)",
                    (value, row),
                )

"""Thirteen things that somebody with every right on the machine could do to a ledger.

Each is done twice: naively, and with every hash in the file made to fit. What the
auditor holds lies elsewhere: a checkpoint, the log's key, the writers' keys.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from tests.attacks import (
    EVENTS,
    KEY,
    ORIGIN,
    SIGNED,
    WRITER,
    Attack,
    attack,
    delete,
    edit,
    insert,
    metadata,
    put,
    rehash,
    renumber,
    sql,
)

from modelkeep.proof import durable
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import Evidence, Unchecked, gather
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.merkle import root_of
from modelkeep.proof.note import SigningKey, VerifierKey
from modelkeep.proof.verify import verify
from modelkeep.proof.writers import Signable, sign_append
from modelkeep.store.port import ANY, NewEvent
from modelkeep.store.sqlite import SqliteStore

MALLORY: Final = SigningKey(WRITER.name, bytes([6]) * 32)
FORGED: Final = SigningKey(ORIGIN, bytes([7]) * 32)

Deed = Callable[[Path, bool], None]
"""Does it to the ledger in a folder; with every hash fitting, when asked."""


class Act(NamedTuple):
    """`tail`: it adds after the checkpoint, where only writers' keys can tell."""

    name: str
    do: Deed
    tail: bool = False


def by_sql(*attacks: Attack, cover: tuple[Attack, ...] = (rehash,)) -> Deed:
    def do(folder: Path, covered: bool) -> None:  # noqa: FBT001, one of two ways
        attack(folder, *attacks, *(cover if covered else ()))

    return do


def exchange(one: int, other: int) -> Attack:
    def do(db: sqlite3.Connection) -> None:
        for at, to in ((one * 10, -1), (other * 10, one * 10), (-1, other * 10)):
            db.execute("update event set position = ? where position = ?", (to, at))

    return do


def rename(index: int) -> Attack:
    def do(db: sqlite3.Connection) -> None:
        db.execute("insert into name values (99, 'inventory.retired')")
        put(index, "nid", 99)(db)

    return do


def append(signer: SigningKey | None) -> Attack:
    """Put an event of long ago behind the last one, signed by somebody or nobody."""

    def do(db: sqlite3.Connection) -> None:
        ((stream, version),) = db.execute(
            """
            select s.name, max(e.version) + 1 from event e join stream s using (sid)
            where s.sid = 1
            """
        ).fetchall()
        event = Signable(bytes(16), "inventory.model-registered", 1, b"{}", metadata(1))
        around = event.metadata
        if signer is not None:
            around = sign_append(signer, stream, version, [event])
        db.execute(
            """
            insert into event
            select max(position) + 10, 1, ?, 1, 1, 7, ?, ?, ?, ? from event
            """,
            (version, event.id, bytes(32), event.data, around),
        )

    return do


def old_backup(folder: Path, covered: bool) -> None:  # noqa: FBT001, one of two ways
    """Put last month's file back; and write on in it, so that it is as long again."""
    attack(
        folder,
        sql("delete from event where position >= 5000"),
        rehash,  # as the backup was, hashes and all
    )
    if covered:
        with SqliteStore(folder / "ledger.db") as store:
            for n in range(500, EVENTS):
                kind = "inventory.model-registered"
                event = NewEvent(UUID(int=9_000 + n), kind, 1, b"{}", metadata(n))
                store.append(f"model-acme.{n % 7}", [event], expected=ANY)


def own_checkpoint(folder: Path, covered: bool) -> None:  # noqa: FBT001, one of two
    """Rewrite an event, sign that history with a key of one's own, publish the key."""
    attack(folder, edit(300), *((rehash,) if covered else ()))
    signed = Checkpoint(ORIGIN, EVENTS, root_of(stored_leaves(folder)))
    with (folder / "published" / "checkpoints").open("ab") as file:
        file.write(FORGED.sign_note(signed.encode()))
    key = f"{FORGED.verifier}\n".encode()
    durable.replace(folder / "published" / "checkpoint.vkey", key)


def other_history(db: sqlite3.Connection) -> None:
    db.execute(
        "update event set data = cast('{\"n\":0}' as blob) where position > 2500"
    )


ACTS: Final = (
    Act("an event's data edited", by_sql(edit(300))),
    Act("who did it edited", by_sql(put(300, "metadata", metadata(9)))),
    Act("the last event signed deleted", by_sql(
        sql("delete from event where position >= 6890"))),
    Act("an event in the middle deleted", by_sql(
        delete(300), cover=(renumber, rehash))),
    Act("a back-dated event put in", by_sql(insert(300), cover=(renumber, rehash))),
    Act("a back-dated event appended", by_sql(append(None)), tail=True),
    Act("two events exchanged", by_sql(
        exchange(100, 200), cover=(renumber, rehash))),
    Act("a stream renamed", by_sql(
        sql("update stream set name = 'model-evil.0' where sid = 1"))),
    Act("an event's kind changed", by_sql(rename(300))),
    Act("an old backup put back", old_backup),
    Act("another history from there on", by_sql(other_history)),
    Act("a writer's signature forged, with a key put in the list", by_sql(
        append(MALLORY)), tail=True),
    Act("the log signed with a key put in its place", own_checkpoint),
)  # fmt: skip
"""And views, and the decision log's objects: see the tests."""


def stored_leaves(folder: Path) -> list[bytes]:
    with LedgerFile(folder / "ledger.db") as ledger:
        return list(ledger.stored_leaves())


def found_by_itself(folder: Path) -> bool:
    """Whether the file contradicts itself: all that a check of it alone can see."""
    leaves = stored_leaves(folder)
    own = Checkpoint(ORIGIN, len(leaves), root_of(leaves))
    evidence = Evidence(
        [Unchecked(own, FORGED.sign_note(own.encode()))], [FORGED.verifier]
    )
    with LedgerFile(folder / "ledger.db") as ledger:
        return bool(verify(ledger, evidence).counts)


def found_by(
    folder: Path, held: Path, *, writers: list[VerifierKey] | None = None
) -> bool:
    """Whether it is found by who holds one checkpoint, or the writers' keys too."""
    evidence = gather(held, [KEY.verifier])
    try:
        with LedgerFile(folder / "ledger.db") as ledger:
            return bool(verify(ledger, evidence, writers=writers).counts)
    except ProofError:
        return True


def copy_of(original: Path, folder: Path) -> Path:
    shutil.copytree(original, folder)
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        db.execute("pragma journal_mode = delete")
    return folder


TAIL: Final = EVENTS - SIGNED[-1]

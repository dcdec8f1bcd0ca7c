"""`modelkeep export --log`: a piece of the log as a file that proves itself.

What is written can be checked with `modelkeep-verify` and the log's public key, without
this home, its database or its services. One event is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from rich.text import Text

from modelkeep.errors import Corrupt, Invalid, NotFound, Unavailable
from modelkeep.home import Home
from modelkeep.proof import durable, export
from modelkeep.proof.assertion import bound
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import Malformed, ProofError
from modelkeep.proof.evidence import LATEST
from modelkeep.proof.merkle import root_at
from modelkeep.proof.note import MAX_NOTE_BYTES, parse
from modelkeep.store import open_store
from modelkeep.store.port import Recorded, Store
from modelkeep_services.audit.trees import BuiltTree, Tree, tree_of
from modelkeep_services.cli import screen

TOLD_EVERY: Final = 1_000


class Asked(NamedTuple):
    """Which events, and up to which checkpoint: the last published, when None."""

    out: Path
    since: str | None = None
    until: str | None = None
    checkpoint: Path | None = None


class Signed(NamedTuple):
    raw: bytes
    checkpoint: Checkpoint


def run(home: Home, store_url: str | None, asked: Asked, *, as_json: bool) -> None:
    """Raises Invalid, NotFound when nothing was signed or no event is in the range, and
    Corrupt when the log is not the one that was signed.
    """
    _say(asked.out, write(home, store_url, asked), as_json=as_json)


def write(home: Home, store_url: str | None, asked: Asked) -> export.Head:
    """Write the file that was asked for, and return its first line. Raises as `run`."""
    since = _bound("from", asked.since, last=False)
    until = _bound("to", asked.until, last=True)
    if asked.out.exists():
        raise Invalid.field("out", f"{asked.out} is there already")
    if store_url is None and not home.ledger.exists():
        raise Unavailable(f"no ledger in {home.root}")
    last = signed(asked.checkpoint or home.published / LATEST)
    with (
        open_store(store_url or str(home.ledger)) as store,
        tree(home, store) as grown,
    ):
        head = _head(store, grown, last, since, until)
        _write(asked.out, head, store)
    return head


def _bound(field: str, text: str | None, *, last: bool) -> int | datetime | None:
    try:
        return None if text is None else bound(text, last=last)
    except Malformed as error:
        raise Invalid.field(field, str(error)) from None


def signed(path: Path) -> Signed:
    """Read a note and its checkpoint, whoever signed it. Raises ModelkeepErrors."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_NOTE_BYTES + 1)
        return Signed(raw, Checkpoint.parse(parse(raw).text))
    except FileNotFoundError:
        raise NotFound("checkpoint", str(path)) from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from None
    except ProofError as error:
        raise Invalid.field("checkpoint", f"{path} is none: {error}") from None


@contextmanager
def tree(home: Home, store: Store) -> Iterator[Tree]:
    """An engine's own tree; or one built anew: the home's may be in another's hands."""
    named = home.root / "origin"
    if not named.exists():
        yield tree_of(home, store)
        return
    with TemporaryDirectory() as folder:
        yield BuiltTree(store, named.read_text(), Path(folder) / "leaves")


def _head(
    store: Store,
    grown: Tree,
    last: Signed,
    since: int | datetime | None,
    until: int | datetime | None,
) -> export.Head:
    raw, (origin, size, root, _) = last
    nodes = grown.frozen_tree()
    if origin != grown.origin:
        raise Invalid.field("checkpoint", f"it is of {origin}, not of {grown.origin}")
    if nodes.size < size or root_at(nodes, size) != root:
        raise Corrupt(f"{origin} is not the log that was signed at {size:,} events")
    first, end = _range(store, size, since, until)
    return export.head(origin, nodes, first, end, size, raw)


def _range(
    store: Store, size: int, since: int | datetime | None, until: int | datetime | None
) -> tuple[int, int]:
    """Turn bounds into numbers of events: of times, the first event known then."""
    first = since if isinstance(since, int) else 0
    end = until if isinstance(until, int) else size
    if isinstance(since, datetime) or isinstance(until, datetime):
        known = _known(store, size)
        if isinstance(since, datetime):
            first = next((n for n, at in known if at >= since), size)
            known = _known(store, size)
        if isinstance(until, datetime):
            end = next((n for n, at in known if at >= until), size)
    if end > size:
        raise Invalid.field("to", f"{size:,} events were signed, not {end:,}")
    if first >= end:
        raise NotFound("event", f"{first} to {end}")
    return first, end


def _known(store: Store, size: int) -> Iterator[tuple[int, datetime]]:
    for number, recorded in enumerate(islice(store.read_all(), size)):
        yield number, datetime.fromisoformat(recorded.meta["known_at"])


def _write(out: Path, head: export.Head, store: Store) -> None:
    """Write it beside its place first: what is there is whole."""
    part = out.with_name(out.name + ".part")
    try:
        with part.open("xb") as file, screen.progress("exporting") as tell:
            total = head.end - head.first
            written = export.write(file, head, _events(store, head, total, tell))
    except FileExistsError:
        raise Invalid.field("out", f"{part} is there already") from None
    except OSError as error:
        raise Unavailable(f"{out} cannot be written: {error.strerror}") from None
    if written != total:
        part.unlink()
        raise Corrupt(f"{written:,} events are there, {total:,} were signed")
    part.replace(out)
    durable.sync_folder(out.parent)


def _events(
    store: Store, head: export.Head, total: int, tell: screen.Tell
) -> Iterator[Recorded]:
    found = islice(store.read_all(), head.first, head.end)
    for done, recorded in enumerate(found):
        if done % TOLD_EVERY == 0:
            tell(done, total)
        yield recorded


def _say(out: Path, head: export.Head, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(
            {
                "out": str(out),
                "origin": head.origin,
                "first": head.first,
                "end": head.end,
                "size": head.size,
                "bytes": out.stat().st_size,
            }
        )
        return
    events = f"{head.end - head.first:,} of the {head.size:,} events that were signed"
    screen.line(Text("exported  ", "dim"), events)
    screen.line(Text("into      ", "dim"), f"{out} ({out.stat().st_size:,} bytes)")
    screen.line(Text("check it  ", "dim"), f"modelkeep-verify {out} --key KEY")

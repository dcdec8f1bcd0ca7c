"""`modelkeep store copy`: carry a ledger to another engine, its proofs with it."""

from __future__ import annotations

from pathlib import Path

from modelkeep.errors import Invalid, Unavailable
from modelkeep.store import open_store
from modelkeep.store.moving import carry
from modelkeep.store.port import Store
from modelkeep.store.ranked import RankedStore
from modelkeep_services.cli import screen


def run(source_url: str, target_url: str, *, as_json: bool) -> None:
    """Raises Corrupt when what was copied is not what the source's tree says."""
    if source_url == target_url:
        raise Invalid.field("to", "is the ledger to copy from")
    path = Path(source_url.removeprefix("sqlite:"))
    if "://" not in source_url and not path.is_file():
        raise Unavailable(f"no ledger in {path}")
    with (
        open_store(source_url) as source,
        open_store(target_url, origin=_ranked("from", source).origin) as target,
        screen.progress("copying") as tell,
    ):
        done = carry(_ranked("from", source), _ranked("to", target), tell)
        origin = _ranked("from", source).origin
    if as_json:
        screen.say_json(
            {
                "origin": origin,
                "written": done.written,
                "events": done.size,
                "root": done.root.hex(),
            }
        )
    else:
        screen.fact("ledger", origin)
        screen.fact("copied", f"{done.written:,} events; {done.size:,} are there now")
        screen.fact("root", f"{done.root.hex()} in both")


def _ranked(field: str, store: Store) -> RankedStore:
    if not isinstance(store, RankedStore):
        raise Invalid.field(field, "only SQLite and PostgreSQL keep a tree to compare")
    return store

"""Hold the ledger against what was signed of it, before anybody is answered from it.

A disk that said it had written, and had not, shows itself after a power cut: so does a
backup that was put back. After an unclean end all of the log is read; otherwise the
tree's root is compared, which takes a millisecond.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from modelkeep.errors import Corrupt
from modelkeep.home import Home
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import ProofError
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.merkle import root_at
from modelkeep.proof.survey import survey
from modelkeep.running import address_of
from modelkeep.store.sqlite import SqliteStore, wait_until_made
from modelkeep_services.doctor.log import last_signed

log = logging.getLogger(__name__)

HELP: Final = "nothing is served from it; ask `modelkeep doctor`, see docs/backup.md"


def hold(home: Home, services: Sequence[str]) -> None:
    """Raises Corrupt when the ledger in `home` does not hold together, or is not the
    one that was signed. A home without a ledger holds.
    """
    if not home.ledger.is_file():
        return
    try:
        # Services of a new home start together, and one of them makes its ledger.
        wait_until_made(home.ledger)
        signed = last_signed(home)
        if crashed(home, services):
            _read_all(home, signed)
        elif signed is not None:
            _compare(home, signed)
    except (ProofError, OSError) as error:
        raise Corrupt(f"{error}: {HELP}") from error


def crashed(home: Home, services: Sequence[str]) -> bool:
    """Whether whoever wrote last left a log behind, and nobody is at work now."""
    left = home.ledger.with_name(f"{home.ledger.name}-wal")
    if not left.is_file() or not left.stat().st_size:
        return False
    return all(address_of(home, name) is None for name in services)


def _read_all(home: Home, signed: Checkpoint | None) -> None:
    sizes = [] if signed is None else [signed.size]
    with LedgerFile(home.ledger) as file:
        found = survey(file, sizes=sizes)
        faults = [*found.faults, *file.faults(5)]
    if faults:
        raise Corrupt(f"{home.ledger} is damaged: {'; '.join(faults)}: {HELP}")
    if signed is not None:
        _same(signed, found.origin, found.events, found.roots.get(signed.size))
    log.info("read %d events after an unclean end: they are whole", found.events)


def _compare(home: Home, signed: Checkpoint) -> None:
    with SqliteStore(home.ledger) as store:
        tree = store.frozen_tree()
        root = root_at(tree, signed.size) if tree.size >= signed.size else None
        _same(signed, store.origin, tree.size, root)


def _same(signed: Checkpoint, origin: str, events: int, root: bytes | None) -> None:
    if signed.origin != origin:
        raise Corrupt(
            f"the checkpoints beside it are of {signed.origin}, not of {origin}: point"
            " MODELKEEP_CHECKPOINTS at this ledger's own folder"
        )
    if events < signed.size:
        raise Corrupt(
            f"{signed.size:,} events of {origin} were signed and {events:,} are there:"
            f" {HELP}"
        )
    if root != signed.root:
        raise Corrupt(f"{origin} is not the ledger that was signed: {HELP}")

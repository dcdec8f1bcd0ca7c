"""Whether the decision log's objects are there, as the events that name them say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelkeep.proof.ledger_file import LedgerFile, Row
from modelkeep_services.doctor.finding import Finding, fail, ok

NAMING: Final = frozenset({"monitoring.batch-recorded", "monitoring.outcomes-recorded"})
"""Events that name an object by its address and its digest."""
SAMPLE: Final = 50
"""The newest so many are read unless all are asked for."""
PIECE: Final = 1 << 20
SHOWN: Final = 3


@dataclass
class Named:
    """The objects that events speak of: address and digest, in the log's order."""

    digests: dict[str, str] = field(default_factory=dict)

    def see(self, ledger: LedgerFile, rows: Sequence[Row]) -> None:
        for _, _, _, nid, _, _, _, data, _ in rows:
            if ledger.names.get(nid) in NAMING:
                self._add(data)

    def _add(self, data: bytes) -> None:
        try:
            said = json.loads(data)
            self.digests[str(said["address"])] = str(said["file_digest"])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # no event of ours: whoever looks at the log says so


def objects(folder: Path, named: Named, *, whole: bool) -> Finding:
    """Every object must be there; the newest, or all of the `whole`, are read."""
    check = "objects.decisions"
    addresses = list(named.digests)
    missing = [one for one in addresses if not within(folder, one).is_file()]
    if missing:
        return fail(
            check,
            f"{len(missing):,} of {len(addresses):,} are gone: {_some(missing)}",
            "restore them from a backup: their rows cannot be had otherwise",
        )
    read = addresses if whole else addresses[-SAMPLE:]
    altered = [
        one for one in read if digest_of(within(folder, one)) != named.digests[one]
    ]
    if altered:
        return fail(
            check,
            f"{len(altered):,} are not what was recorded: {_some(altered)}",
            "restore them from a backup",
        )
    which = "each read" if len(read) == len(addresses) else f"{len(read)} read"
    return ok(check, f"{len(addresses):,} are there, {which}, as recorded")


def within(folder: Path, address: str) -> Path:
    """Return the file at an address; an address that leads out of `folder` is none."""
    path = folder / address
    if ".." in Path(address).parts or Path(address).is_absolute():
        return folder / "nowhere" / "to" / "be" / "found"
    return path


def digest_of(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")

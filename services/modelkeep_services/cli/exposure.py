"""What stands between the newest events and whoever could change them: read from files.

No service is asked: one that hangs would not say so. An event is as old as its engine's
stamp says.
"""

from __future__ import annotations

import time
from pathlib import Path

from modelkeep.home import Home
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import LATEST
from modelkeep.proof.note import parse
from modelkeep.proof.policy import Policy
from modelkeep.store.port import Store
from modelkeep_services.audit.tails import UNCOSIGNED, UNSIGNED, Tail
from modelkeep_services.audit.trees import length, recorded_at
from modelkeep_services.audit.witnesses import Cosigned, last_cosigned


def last_signed(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint, unverified: `modelkeep verify` does that."""
    try:
        return Checkpoint.parse(parse((folder / LATEST).read_bytes()).text)
    except (OSError, ProofError):
        return None


def cosigned(home: Home, policy: Policy | None) -> Cosigned | None:
    return None if policy is None else last_cosigned(home.published, policy)


def tails(
    home: Home, store: Store, policy: Policy | None, now: float | None = None
) -> list[Tail]:
    """Return the tails as they are on the disk; `now` is in seconds since 1970."""
    at = time.time() if now is None else now
    size = length(home, store)
    signed = last_signed(home.published)
    found = [
        _tail(home, store, UNSIGNED, size, 0 if signed is None else signed.size, at)
    ]
    if policy is not None:
        last = cosigned(home, policy)
        vouched = 0 if last is None else last.size
        found.append(_tail(home, store, UNCOSIGNED, size, vouched, at))
    return found


def _tail(
    home: Home, store: Store, kind: str, size: int, vouched: int, now: float
) -> Tail:
    events = max(size - vouched, 0)
    since = recorded_at(home, store, vouched) if events else None
    return Tail(kind, events, 0.0 if since is None else max(now - since, 0.0))

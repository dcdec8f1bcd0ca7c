"""`modelkeep notary`: the notary alone, beside services that run elsewhere.

On a machine of its own it keeps the signing key out of reach of whoever runs the
database. Over KurrentDB it builds the tree from `$all`, where positions have gaps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from modelkeep.errors import Refused, Unavailable
from modelkeep.home import Home
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.merkle import root_at
from modelkeep.running import claim
from modelkeep.store import open_store
from modelkeep.store.port import Store
from modelkeep_services.audit.notary import Notary
from modelkeep_services.audit.outside import Outside
from modelkeep_services.audit.signing import LOG_KEY
from modelkeep_services.audit.trees import BuiltTree, tree_of
from modelkeep_services.cli import screen


def run(
    home: Home, store_url: str, ready: Callable[[Notary], None], stop: threading.Event
) -> None:
    """Sign until told to stop. Raises Unavailable when the home's audit service runs
    already, and Invalid when the environment names what cannot be.
    """
    outside = Outside.configured(home)
    with claim(home, "audit"), open_store(store_url) as store:
        tree = tree_of(home, store)
        notary = Notary(home, tree, home.published, lambda: datetime.now(UTC), outside)
        notary.start()
        try:
            ready(notary)
            stop.wait()
        finally:
            notary.close()


def say_ready(notary: Notary) -> None:
    screen.fact("notary", notary.tree.origin)
    screen.fact("key", str(notary.key.verifier))
    screen.fact("published", str(notary.folder))


def check(home: Home, store_url: str, *, as_json: bool) -> int:
    """Read the whole log anew and hold it against the last checkpoint.

    Returns the exit code: 0 it is what was signed, 1 it is not. Raises Refused when
    nothing was signed.
    """
    try:
        signed = gather(home.published, read_keys(str(home.published / LOG_KEY))).top
    except (ProofError, OSError) as error:
        raise Refused("checkpoint.none", f"nothing to compare with: {error}") from None
    with open_store(store_url) as store:
        events, same = _compared(store, signed.origin, signed.size, signed.root)
    if as_json:
        screen.say_json({"events": events, "signed": signed.size, "same": same})
    else:
        told = "as signed" if same else "NOT what was signed"
        screen.fact("log", f"{events:,} events, the first {signed.size:,} are {told}")
    return 0 if same else 1


def _compared(store: Store, origin: str, size: int, root: bytes) -> tuple[int, bool]:
    with TemporaryDirectory() as folder:
        nodes = BuiltTree(store, origin, Path(folder) / "leaves").frozen_tree()
        if nodes.size < size:
            return nodes.size, False
        return nodes.size, root_at(nodes, size) == root


def required(store_url: str | None, home: Home) -> str:
    """Return the store to watch: the home's own ledger unless another is named."""
    if store_url is None and not home.ledger.exists():
        raise Unavailable(f"no ledger in {home.root}: name one with --store")
    return store_url or str(home.ledger)

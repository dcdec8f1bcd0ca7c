"""A server for lineage's bench; its views are kept beside it, as `modelkeep up` does.

Prints its port, serves until its input closes.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from modelkeep.home import Home
from modelkeep.node import Node
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.lineage.service import service
from modelkeep_services.wiring import projector


def main() -> None:
    home = Home(Path(sys.argv[1])).make()
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    beside = projector(home, str(home.ledger), ["lineage"])
    with (
        SqliteStore(home.ledger) as store,
        Node(home, store, [service], projector=beside) as node,
    ):
        node.serve("127.0.0.1:0", ready=_say, stop=stop)


def _say(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

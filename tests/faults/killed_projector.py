"""Follows a ledger with the jars' view and says how far it is, until killed.

With `once` it catches up, says each view's digest and ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.unit.jars import JARS

from modelkeep.store.sqlite import SqliteStore
from modelkeep.viewset import ViewSet


def main() -> None:
    ledger, file = Path(sys.argv[1]), Path(sys.argv[2])
    with SqliteStore(ledger) as store, ViewSet("jars", [JARS], store, file) as views:
        if sys.argv[3:] == ["once"]:
            views.catch_up()
            sys.stdout.write(f"{sorted(views.digests().items())}\n")
            return
        at = views.position
        views.start()
        while True:
            os.write(1, f"{at}\n".encode())
            at = views.wait_change(at, 10.0)


if __name__ == "__main__":
    main()

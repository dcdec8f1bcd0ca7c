"""Writes to a ledger from four threads and says what was acknowledged, until killed.

Each append's events carry a mark of their own, which one of how many each is, and each
acknowledgement is one line: stream, version, position, ids.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from itertools import count
from uuid import uuid4

from modelkeep.errors import WrongVersion
from modelkeep.store import open_store
from modelkeep.store.port import NewEvent, Store


def marked(many: int) -> list[NewEvent]:
    mark = uuid4().hex
    return [
        NewEvent(
            uuid4(),
            "faults.written",
            1,
            json.dumps({"mark": mark, "of": many, "pad": "x" * 300}).encode(),
            b'{"schema_version":"1"}',
        )
        for _ in range(many)
    ]


def write(store: Store, streams: tuple[str, ...]) -> None:
    for turn in count():
        stream = streams[turn % len(streams)]
        new = marked((1, 5, 9)[turn % 3])
        with suppress(WrongVersion):
            done = store.append(stream, new, expected=store.stream_version(stream))
            ids = ",".join(one.id.hex for one in new)
            line = f"{stream} {done.version} {done.position} {ids}\n"
            os.write(1, line.encode())


def main() -> None:
    store = open_store(sys.argv[1])
    for _ in range(4):
        streams = (f"mine-{uuid4().hex}.1", "shared-faults.1")
        threading.Thread(target=write, args=(store, streams)).start()


if __name__ == "__main__":
    main()

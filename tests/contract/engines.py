"""The engines that the contract suite runs against: add yours to the list.

An engine says how to start whatever lies behind it and gives a URL for `open_store`;
the suite opens that as often as it likes, at once, one after the other and from other
processes, and expects to find the same log each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from tests.doubles.kurrentdb import Double
from tests.servers import postgresql


@dataclass(frozen=True)
class Engine:
    """`fresh`: the log behind each URL begins empty. `skip`: why it cannot run here.
    `examples`: so many lives are led in the fast tests; otherwise 85 times as many, and
    twice as long.
    """

    name: str
    serve: Callable[[Path], AbstractContextManager[str]]
    fresh: bool = True
    skip: str = ""
    examples: int = 60


@contextmanager
def sqlite_file(folder: Path) -> Iterator[str]:
    yield f"sqlite:{folder / 'ledger.db'}"


@contextmanager
def postgresql_schema(_: Path) -> Iterator[str]:
    """A schema of its own, on a server that all tests of this process share."""
    yield postgresql.shared().uri(schema=f"ledger_{uuid4().hex[:16]}")


@contextmanager
def kurrentdb_double(_: Path) -> Iterator[str]:
    """Our own double of KurrentDB's protocol: it tests our side, not KurrentDB."""
    with Double() as double:
        yield double.uri


REAL_KURRENTDB = os.environ.get("MODELKEEP_KURRENTDB_URI", "")


@contextmanager
def real_kurrentdb(_: Path) -> Iterator[str]:
    yield REAL_KURRENTDB


ENGINES = [
    Engine("sqlite", sqlite_file),
    Engine("postgresql", postgresql_schema, skip=postgresql.absent(), examples=20),
    Engine("kurrentdb-double-our-side-only", kurrentdb_double),
    pytest.param(
        Engine(
            "kurrentdb",
            real_kurrentdb,
            fresh=False,
            skip=""
            if REAL_KURRENTDB
            else "no KurrentDB is reachable: make test-kurrentdb URI=...",
        ),
        marks=pytest.mark.kurrentdb,
    ),
]

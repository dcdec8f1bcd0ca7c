"""The engines that the contract suite runs against: add yours to the list.

An engine says how to start whatever lies behind it and gives a URL for `open_store`;
the suite opens that as often as it likes, at once, one after the other and from other
processes, and expects to find the same log each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Engine:
    """`fresh`: the log behind each URL begins empty. `skip`: why it cannot run here."""

    name: str
    serve: Callable[[Path], AbstractContextManager[str]]
    fresh: bool = True
    skip: str = ""


@contextmanager
def sqlite_file(folder: Path) -> Iterator[str]:
    yield f"sqlite:{folder / 'ledger.db'}"


ENGINES = [Engine("sqlite", sqlite_file)]

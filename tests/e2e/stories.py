"""Plays the first days of the demo's story, in one process or in seven."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

import apsw
from rich.console import Console

from modelkeep.home import Home
from modelkeep_services.demo.run import played
from modelkeep_services.demo.stage import ONE_PROCESS, Processes, stage
from modelkeep_services.wiring import SERVICES

ONE_EACH: Final[Processes] = tuple(("serve", name) for name in SERVICES)
SEALED: Final = re.compile(
    rb'\{"key_id":"[0-9a-f]+","nonce":"[^"]+","ciphertext":"[^"]+"\}'
)


class Played(NamedTuple):
    """A home at rest, and what its views were while it lived."""

    home: Home
    digests: dict[str, str]


def play(
    home: Home,
    days: int,
    *,
    processes: Processes = ONE_PROCESS,
    store: str | None = None,
) -> Played:
    with stage(home, SERVICES, processes=processes, store=store) as on:
        played(on, Console(file=StringIO()), days)
        return Played(home, on.digests())


class Row(NamedTuple):
    """A row of a view's history, what was sealed in it left out."""

    tenant: str
    key: str
    body: str


def rows(home: Home, view: str) -> list[Row]:
    """Every row that `service/view` ever had, in order."""
    service, _, name = view.partition("/")
    return list(_rows(home.views(service), name))


def _rows(path: Path, name: str) -> Iterator[Row]:
    with closing(apsw.Connection(str(path))) as db:
        found = db.execute(
            """
            select k.tenant, k.key, h.body from views v
            join keys k on k.vid = v.vid join history h on h.kid = k.kid
            where v.name = ? order by k.tenant, k.key, h.since
            """,
            (name,),
        )
        for tenant, key, body in found:
            yield Row(tenant, key, SEALED.sub(b'"sealed"', body or b"").decode())


def differing(one: Played, other: Played) -> list[str]:
    names = sorted(one.digests.keys() | other.digests.keys())
    return [name for name in names if one.digests.get(name) != other.digests.get(name)]


def shown(found: list[Row], others: list[Row]) -> str:
    """What two views do not share, for whoever reads a failure."""
    apart = sorted(set(found) ^ set(others))
    return json.dumps([one._asdict() for one in apart[:4]], indent=1)

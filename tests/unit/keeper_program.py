"""A process that keeps the jars' view for its parent; it cannot take black marbles."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.unit.jars import JarRow, MarblePut, jars_view

from modelkeep.apart import project
from modelkeep.home import Home
from modelkeep.store.sqlite import SqliteStore
from modelkeep.views import Fact, Rows, View


def wary() -> View[JarRow]:
    jars = jars_view()
    put = jars.applies.pop("tests.marble-put")

    @jars.on(MarblePut)
    def careful(event: MarblePut, fact: Fact, rows: Rows[JarRow]) -> None:
        if event.colour == "black":
            raise ValueError("a black marble")
        put(event, fact, rows)  # type: ignore[arg-type]  # the same rows

    return jars


if __name__ == "__main__":
    home, tells = Home(Path(sys.argv[1])), int(sys.argv[2])
    with SqliteStore(home.ledger) as store:
        project(home, store, {"jars": [wary()]}, tells)

"""A server for monitoring's and the SDK's benches: models, each under a contract.

Prints its port, serves until its input closes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from modelkeep.clock import SystemClock
from modelkeep.decider import Actor, Command, Context, Decider, decider
from modelkeep.events.base import Event
from modelkeep.events.inventory import (
    Artifact,
    Deployed,
    Drivers,
    ModelClassified,
    ModelRegistered,
    VersionRegistered,
)
from modelkeep.events.monitoring import ColumnContract
from modelkeep.events.types import Person
from modelkeep.home import Home
from modelkeep.ledger import Order, body_hash, stream_name
from modelkeep.node import Node
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.monitoring.commands import ChooseProof, RegisterContract
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.service import service

FEATURES: Final = tuple(f"f{at:02}" for at in range(25))
SHA: Final = "sha256:" + "a" * 64
OTHER_DRIVERS: Final = {"use", "exposure_share", "black_box", "forced"}
BENCH: Final = Person(issuer="bench", subject="bench")


BULK: Final = "bulk"
"""A model of tier 4 whose decisions are proven by columns."""


class Happen(Command):
    model: str


def seed(node: Node, model: str = "late") -> None:
    """Let the inventory have registered and deployed a model, under a contract."""
    events: tuple[Event, ...] = (
        ModelRegistered(
            model=model,
            title="Bench",
            kind="trained",
            purpose="p",
            owner="bench",
            owner_issuer="bench",
        ),
        VersionRegistered(
            model=model,
            version="v1",
            digest=SHA,
            artifacts=(Artifact(name="m", digest=SHA, media_type="x", size=1),),
            registered_by=BENCH,
        ),
        Deployed(
            model=model,
            version="v1",
            digest=SHA,
            environment="prod",
            share=1.0,
            verdict_source="0",
            by=BENCH,
        ),
    )
    contract = RegisterContract(
        model=model,
        contract="inputs",
        columns=tuple(
            ColumnContract(column=name, minimum=-1e6, maximum=1e6, max_null_rate=0.5)
            for name in FEATURES
        ),
        on_breach="mark",
    )
    _happen(node, stream_name("model", "main", model), *events)
    _order(node, stream_name("monitor", "main", model), MONITOR, contract)
    node.running["monitoring"].views.wait_for(node.store.head(), 10.0)


def seed_bulk(node: Node) -> None:
    """Let a second one be there too, of tier 4, and its proof chosen."""
    seed(node, BULK)
    scores = dict.fromkeys(Drivers.model_fields.keys() - OTHER_DRIVERS, 1)
    classified = ModelClassified(
        model=BULK,
        tier=4,
        derived_tier=4,
        source="derived",
        drivers=Drivers(use="bench", exposure_share=0.0, **scores),
        rubric="bench",
        rubric_digest=SHA,
        by=BENCH,
    )
    _happen(node, stream_name("model", "main", BULK), classified)
    chosen = ChooseProof(model=BULK, proof="columns", reason="bench", tier=4)
    _order(node, stream_name("monitor", "main", BULK), MONITOR, chosen)
    node.running["monitoring"].views.wait_for(node.store.head(), 10.0)


def _happen(node: Node, stream: str, *events: Event) -> None:
    happening = decider(None, lambda *_: events, lambda *_: None)
    _order(node, stream, happening, Happen(model="late"))


def _order(node: Node, stream: str, of: Decider, command: Command) -> None:
    now = SystemClock().now()
    actor = Actor("bench", "bench", frozenset(), "main")
    context = Context(actor, now, now, str(uuid4()))
    node.ledger.execute(Order(stream, of, command, context, body_hash(command)))


class Served(NamedTuple):
    """Where a bench's server answers, where its tokens are, and which process it is."""

    address: str
    home: Home
    pid: int

    def cpu_s(self) -> float:
        """Return the seconds that its threads computed so far, user and system (Linux:
        elsewhere 0).
        """
        try:
            told = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2]
        except FileNotFoundError:
            return 0.0
        user, system = told.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(home: Path) -> Iterator[Served]:
    """Run this module beside the bench."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.monitoring_server", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        address = f"127.0.0.1:{process.stdout.readline().strip()}"
        yield Served(address, Home(home), process.pid)


def main() -> None:
    home = Home(Path(sys.argv[1])).make()
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    with SqliteStore(home.ledger) as store, Node(home, store, [service]) as node:
        seed(node)
        seed_bulk(node)
        node.serve("127.0.0.1:0", ready=_say, stop=stop)


def _say(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

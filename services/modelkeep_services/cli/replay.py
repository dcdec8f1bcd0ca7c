"""`modelkeep replay`: drop every view, replay the log, and compare the digests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from rich.text import Text

from modelkeep.clock import clock_of
from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.identity import writer_key
from modelkeep.key_service import LocalKeys
from modelkeep.keystore import Keystore
from modelkeep.ledger import Ledger
from modelkeep.node import Build
from modelkeep.running import claim
from modelkeep.service import Host
from modelkeep.store import open_store
from modelkeep.store.port import Store
from modelkeep.viewset import ViewSet
from modelkeep_services.cli import screen

ADRIFT: Final = "edited"
"""Stands for the digest of a view whose current rows are not its history's last."""

Digests = Mapping[str, str]


def run(
    home: Home, builds: Mapping[str, Build], store_url: str | None, *, as_json: bool
) -> int:
    """Return the exit code: 1 when a view is not what the log makes of it.

    Raises Unavailable while a service of this home runs: it would be told otherwise
    than what it answers from.
    """
    if store_url is None and not home.ledger.exists():
        raise Unavailable(f"no ledger in {home.root}")
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    with ExitStack() as stack:
        for name in builds:
            stack.enter_context(claim(home, name))
        store = stack.enter_context(open_store(store_url or str(home.ledger)))
        host = stack.enter_context(_host(home, store))
        for name, build in builds.items():
            was, now = _replayed(host, name, build)
            before |= {f"{name}/{view}": digest for view, digest in was.items()}
            after |= {f"{name}/{view}": digest for view, digest in now.items()}
    if as_json:
        screen.say_json({"before": before, "after": after, "equal": before == after})
    else:
        _show(before, after)
    return 0 if before == after else 1


@contextmanager
def _host(home: Home, store: Store) -> Iterator[Host]:
    """What services are built with. A service may write when it first finds a ledger,
    its first bundle for one, so this ledger signs like any other.
    """
    with (
        Ledger(store, signer=writer_key(home.keys)) as ledger,
        Keystore(home.subjects, LocalKeys(home.epochs)) as keystore,
    ):
        yield Host(home, store, ledger, clock_of(home, store), keystore)


def _replayed(host: Host, name: str, build: Build) -> tuple[Digests, Digests]:
    service = build(host)
    try:
        path = host.home.views(name)
        with ViewSet(name, service.views, host.store, path) as views:
            views.catch_up()
            # a row that was changed beside its history is in no digest of that
            was = views.digests() | dict.fromkeys(views.adrift(), ADRIFT)
            total = host.store.head()
            with screen.progress(f"replaying {name}") as tell:
                views.rebuild(lambda done: tell(done, max(done, _events(total))))
            return was, views.digests()
    finally:
        service.closing()


def _events(head: int) -> int:
    """A guess at how many events there are: for showing progress only."""
    return head // 10 + 1


def _show(before: Digests, after: Digests) -> None:
    rows: list[screen.Row] = [
        [
            view,
            before.get(view, "-")[:16],
            after.get(view, "-")[:16],
            Text("equal", "green")
            if before.get(view) == after.get(view)
            else Text("DIFFERENT", "bold red"),
        ]
        for view in sorted(before.keys() | after.keys())
    ]
    screen.table(["view", "before", "after", ""], rows)
    same = sum(before.get(view) == after.get(view) for view in after)
    screen.line(Text(f"{same} of {len(rows)} views are byte for byte the same", "bold"))

"""`modelkeep attest`: sign what the views say, and check what was signed by replay.

To attest is to say: after so many events of this log, which a checkpoint was signed
for, these were the rows that screens and answers came from. To check is to replay the
same events here, with this program and nothing else of that machine, and compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import apsw
from rich.text import Text

from modelkeep import __version__, rowstore
from modelkeep.clock import clock_of
from modelkeep.errors import Corrupt, Unavailable
from modelkeep.home import Home
from modelkeep.keyring import Purpose, purpose_key
from modelkeep.ledger import stamp
from modelkeep.proof import attested, dsse, durable
from modelkeep.proof.attested import Attested
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import LATEST, read_keys
from modelkeep.proof.merkle import root_at
from modelkeep.running import address_of, claim
from modelkeep.store import open_store
from modelkeep.store.port import Store
from modelkeep.views import AnyView
from modelkeep.viewset import ViewSet, fingerprint
from modelkeep_services.cli import export_log, screen
from modelkeep_services.cli.verify import Unverified

VIEWS: Final = Purpose("modelkeep-views", "views.key", attested.KEYS)

Views = Mapping[str, Sequence[AnyView]]
"""Each service's views, by its name."""


class _Point(NamedTuple):
    """A place in a log: after so many events, the last at that position."""

    origin: str
    events: int
    root: bytes
    position: int


# --- attest ------------------------------------------------------------------------


def run(home: Home, views: Views, store_url: str | None, out: Path) -> None:
    """Write an attestation. Raises Unavailable while views are behind the checkpoint,
    and Corrupt when the log is not the one that was signed.
    """
    if store_url is None and not home.ledger.exists():
        raise Unavailable(f"no ledger in {home.root}")
    raw, (origin, size, root, _) = export_log.signed(home.published / LATEST)
    with open_store(store_url or str(home.ledger)) as store:
        point = _point(home, store, size)
        if (point.origin, point.root) != (origin, root):
            raise Corrupt(f"{origin} is not the log that was signed at {size:,} events")
        digests: dict[str, str] = {}
        with screen.progress("reading views") as tell:
            for done, (name, some) in enumerate(views.items()):
                tell(done, len(views))
                found = _served(home, name, some, store, point)
                digests |= {f"{name}/{view}": one for view, one in found.items()}
        said = Attested(
            origin,
            size,
            root,
            raw.decode(),
            digests,
            {name: fingerprint(some) for name, some in views.items()},
            __version__,
            stamp(clock_of(home, store).now()),
        )
    key = purpose_key(home, VIEWS)
    durable.replace(out, attested.seal(said, key))
    screen.line(
        Text("attested  ", "dim"), f"{len(digests)} views after {size:,} events"
    )
    screen.line(Text("into      ", "dim"), str(out))


def _served(
    home: Home, name: str, views: Sequence[AnyView], store: Store, point: _Point
) -> Mapping[str, str]:
    """Return the digests of the rows that a service answers from."""
    path = home.views(name)
    if address_of(home, name) is None:
        with (
            claim(home, name),
            ViewSet(name, views, store, path) as kept,
        ):
            kept.catch_up()
            _whole(name, kept.adrift())
            return kept.digests(bound=point.position)
    return _running(path, name, views, point)


def _running(
    path: Path, name: str, views: Sequence[AnyView], point: _Point
) -> Mapping[str, str]:
    """Read beside whoever keeps them."""
    try:
        with closing(rowstore.connect(path, readonly=True)) as rows:
            rows.execute("begin")
            if rowstore.fingerprint(rows) != fingerprint(views):
                raise Unavailable(f"{name} runs another version of its views")
            at = rowstore.position(rows)
            if at < point.position:
                raise Unavailable(f"the views of {name} are at {at}: ask again")
            _whole(name, rowstore.adrift(rows))
            return rowstore.digests(rows, bound=point.position)
    except apsw.Error as error:
        raise Unavailable(f"the views of {name} cannot be read: {error}") from error


def _whole(name: str, adrift: Sequence[str]) -> None:
    if adrift:
        raise Corrupt(f"the current rows of {name}/{adrift[0]} are not its history's")


def _point(home: Home, store: Store, events: int) -> _Point:
    """Return where a log stood after so many events; raises Corrupt if never."""
    with export_log.tree(home, store) as tree:
        nodes = tree.frozen_tree()
        if not 0 < events <= nodes.size:
            raise Corrupt(f"{events:,} events were signed, {nodes.size:,} are here")
        (last,) = islice(store.read_all(), events - 1, events)
        return _Point(tree.origin, events, root_at(nodes, events), last.position)


# --- check -------------------------------------------------------------------------


def check(
    home: Home,
    views: Callable[[str], Sequence[AnyView]],
    store_url: str | None,
    file: Path,
    key: str | None,
    *,
    as_json: bool,
) -> int:
    """Return the exit code: 0 each view is the same here, 1 one is not or the log is
    another. Raises Unverified when that cannot be told.
    """
    said = _read(home, file, key)
    if store_url is None and not home.ledger.exists():
        raise Unverified(f"no ledger in {home.root}")
    with open_store(store_url or str(home.ledger)) as store:
        wrong = None
        try:
            point = _point(home, store, said.events)
            if (point.origin, point.root) != (said.origin, said.root):
                wrong = f"this is not the log that was attested: {said.origin}"
        except Corrupt as error:
            wrong = str(error)
        here = {} if wrong else dict(_replayed(views, store, said, point))
    if as_json:
        screen.say_json(_told(said, here, wrong))
    else:
        _show(said, here, wrong)
    return 1 if wrong or dict(said.views) != here else 0


def _read(home: Home, file: Path, key: str | None) -> Attested:
    try:
        keys = read_keys(key or str(home.published / attested.KEYS))
        with file.open("rb") as opened:
            raw = opened.read(dsse.MAX_ENVELOPE_BYTES + 1)
        return attested.open_sealed(raw, keys)
    except (ProofError, OSError) as error:
        raise Unverified(f"{file}: {error}") from None


def _replayed(
    views: Callable[[str], Sequence[AnyView]],
    store: Store,
    said: Attested,
    point: _Point,
) -> Iterator[tuple[str, str]]:
    """Yield each view's digest as the log makes it here, into files of its own.

    Raises Unverified for a service whose views have another shape here.
    """
    for name, code in said.code.items():
        try:
            some = views(name)
        except ImportError:
            raise Unverified(f"there is no service {name} here") from None
        if fingerprint(some) != code:
            raise Unverified(
                f"the views of {name} have another shape in this version"
                f" ({__version__}; it was attested by {said.program})"
            )
        with (
            TemporaryDirectory() as folder,
            ViewSet(name, some, store, Path(folder) / "views.db") as fresh,
            screen.progress(f"replaying {name}") as tell,
        ):
            fresh.rebuild(partial(_tell, tell, said.events))
            for view, digest in fresh.digests(bound=point.position).items():
                yield f"{name}/{view}", digest


def _tell(tell: screen.Tell, expected: int, done: int) -> None:
    tell(done, max(done, expected))


def _told(
    said: Attested, here: Mapping[str, str], wrong: str | None
) -> dict[str, object]:
    return {
        "origin": said.origin,
        "events": said.events,
        "attested_at": said.attested_at,
        "signed_by": [str(key) for key in said.signed_by],
        "wrong": wrong,
        "attested": dict(said.views),
        "here": dict(here),
        "different": _different(said, here),
        "equal": not wrong and dict(said.views) == dict(here),
    }


def _different(said: Attested, here: Mapping[str, str]) -> list[str]:
    names = sorted(said.views.keys() | here.keys())
    return [name for name in names if said.views.get(name) != here.get(name)]


def _show(said: Attested, here: Mapping[str, str], wrong: str | None) -> None:
    who = ", ".join(key.name for key in said.signed_by)
    screen.line(
        f"{who} attested {len(said.views)} views after {said.events:,} events of"
        f" {said.origin}, on {said.attested_at}"
    )
    if wrong:
        screen.point("✗", "red", wrong)
        return
    different = _different(said, here)
    for name in different:
        screen.point(
            "✗",
            "red",
            f"{name} is different here: attested {said.views.get(name, '-')[:16]},"
            f" replayed {here.get(name, '-')[:16]}",
        )
    same = len(said.views) - sum(name in said.views for name in different)
    screen.line(
        Text(f"{same} of {len(said.views)} views come out of the log the same", "bold")
    )

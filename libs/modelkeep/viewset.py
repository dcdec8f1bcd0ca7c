"""What runs a service's views: it follows the store, applies, commits and answers."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

import apsw

from modelkeep import rowstore
from modelkeep.clock import CLOCK_STREAM
from modelkeep.errors import Late, Unavailable
from modelkeep.events.clock import Ticked
from modelkeep.ledger import stamp
from modelkeep.rowstore import Bound
from modelkeep.store.port import Recorded, Store
from modelkeep.views import NOW, AnyView, AsOf, Reader, View, fact

R = TypeVar("R")
log = logging.getLogger(__name__)

CACHED_ROWS: Final = 200_000
BATCH: Final = 5_000
POLL_S: Final = 0.5
MAX_REST_S: Final = 0.01


class Halt(NamedTuple):
    """A view met an event it cannot apply, and stopped there rather than skip it."""

    position: int
    event: str
    reason: str


class ViewSet:
    """All views of one service in one file. Start it, ask it, close it.

    `saw` is told of each tick's instant, before anyone is told of the position.
    """

    def __init__(
        self,
        name: str,
        views: Sequence[AnyView],
        store: Store,
        path: Path,
        *,
        saw: Callable[[datetime], None] = lambda _: None,
    ) -> None:
        self.name, self.store, self.path = name, store, path
        self._views = {view.name: view for view in views}
        self._fingerprint = _fingerprint(views)
        self._saw = saw
        self._moved = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.halt: Halt | None = None
        self._moved_at = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._pool = _Pool(path)
        self._file = self._open()

    def _open(self) -> _File:
        with contextlib.suppress(apsw.Error):
            if self.path.exists():
                connection = rowstore.connect(self.path)
                if rowstore.fingerprint(connection) == self._fingerprint:
                    return _File(connection, self._views)
                connection.close()
        _remove(self.path)
        return self._fresh(self.path)

    def _fresh(self, path: Path) -> _File:
        connection = rowstore.create(path, self._fingerprint, sorted(self._views))
        return _File(connection, self._views)

    def start(self) -> Self:
        """Follow the store from the checkpoint on, in a thread."""
        self._thread = threading.Thread(
            target=self._run, name=f"views-{self.name}", daemon=True
        )
        self._thread.start()
        return self

    @property
    def position(self) -> int:
        return self._file.position

    def _run(self) -> None:
        with self.store.subscribe(after=self._file.position) as following:
            while not self._closing.is_set() and self.halt is None:
                try:
                    batch = following.poll(POLL_S)
                except Unavailable:
                    if not self._closing.wait(POLL_S):
                        continue
                    return
                if batch.events or batch.position > self._file.position:
                    started = time.monotonic()
                    self._take(batch.events, batch.position)
                    # At most half of the time: under load this makes larger batches,
                    # and leaves the machine to those who write.
                    self._closing.wait(min(time.monotonic() - started, MAX_REST_S))

    def _take(self, events: Sequence[Recorded], position: int) -> None:
        for recorded in events:
            self.halt = self._file.apply(recorded)
            if self.halt is not None:
                log.error("the views of %s halted: %s", self.name, self.halt)
                break
        else:
            self._file.position = max(position, self._file.position)
        self._file.commit()
        for recorded in events:
            if recorded.stream == CLOCK_STREAM:
                ticked = fact(recorded).event
                if isinstance(ticked, Ticked):
                    self._saw(ticked.instant)
        self._moved_at = time.monotonic()
        with self._moved:
            self._moved.notify_all()

    def catch_up(self) -> None:
        """Apply everything the store holds now, in this thread. Not while started."""
        while events := list(
            self.store.read_all(after=self._file.position, limit=BATCH)
        ):
            self._take(events, events[-1].position)
            if self.halt is not None:
                raise Unavailable(f"the views of {self.name} halted: {self.halt}")

    def rebuild(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Replay the whole log into a fresh file and swap it in. Not while started.

        `progress` is told how many events were applied so far.
        """
        fresh = self.path.with_suffix(".rebuilding")
        _remove(fresh)
        file, done = self._fresh(fresh), 0
        for recorded in self.store.read_all():
            halt = file.apply(recorded)
            if halt is not None:
                file.close()
                raise Unavailable(f"the views of {self.name} cannot be rebuilt: {halt}")
            done += 1
            if done % BATCH == 0:
                file.commit()
                progress(done)
        file.commit()
        progress(done)
        file.close()
        self._file.close()
        self._pool.retire()
        _remove(self.path)
        fresh.replace(self.path)
        self._file = _File(rowstore.connect(self.path), self._views)

    def wait_for(self, position: int, timeout: float) -> None:
        """Return once everything at or before `position` is applied; else Late."""
        deadline = time.monotonic() + timeout
        with self._moved:
            while self._file.position < position:
                self._check_halt()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Late(
                        f"the views of {self.name} are at {self._file.position}, "
                        f"not yet at {position}"
                    )
                self._moved.wait(min(left, POLL_S))

    def wait_change(self, after: int, timeout: float) -> int:
        """Return the checkpoint, once it is beyond `after` or the time is over."""
        with self._moved:
            if self._file.position <= after and not self._closing.is_set():
                self._moved.wait(timeout)
            return self._file.position

    def _check_halt(self) -> None:
        if self.halt is not None:
            raise Unavailable(f"the views of {self.name} are halted: {self.halt}")

    @contextlib.contextmanager
    def reader(self, tenant: str, as_of: AsOf = NOW) -> Iterator[Reader]:
        """Read one consistent snapshot. Raises Unavailable now when halted, for the
        present only: the past before the halt is still known.
        """
        if as_of.bound is None:
            self._check_halt()
        with self._pool.borrow() as connection, connection:
            yield _Reader(self._file.vids, connection, tenant, as_of)

    def find(self, view: str) -> AnyView | None:
        return self._views.get(view)

    def first_keys(self, view: str) -> list[str]:
        """Return each tenant's first living key in a view."""
        with self._pool.borrow() as connection, connection:
            found = rowstore.first_keys(connection, self._file.vids[view])
        return found  # noqa: RET504  # apsw's __exit__ might swallow, says its type

    @property
    def lag_s(self) -> float:
        """Seconds since this was last at the head of the log; 0 when it is there."""
        if self._file.position >= self.store.head():
            return 0.0
        return time.monotonic() - self._moved_at

    def digests(self, *, history: bool = True) -> dict[str, str]:
        with self._pool.borrow() as connection, connection:
            found = rowstore.digests(connection, history=history)
        return found  # noqa: RET504  # apsw's __exit__ might swallow, says its type

    def close(self) -> None:
        self._closing.set()
        with self._moved:
            self._moved.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._pool.retire()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fingerprint(views: Sequence[AnyView]) -> str:
    """Name the code that made the rows: another version means another file."""
    said = ";".join(sorted(f"{v.name}:{v.version}:{sorted(v.applies)}" for v in views))
    return hashlib.sha256(f"{rowstore.SCHEMA}{said}".encode()).hexdigest()


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


class _Cell:
    """A key's interned id and current row, as cached."""

    __slots__ = ("body", "kid", "row")

    def __init__(self, kid: int | None, body: bytes | None, row: object | None) -> None:
        self.kid, self.body, self.row = kid, body, row


class _File:
    """The writing side: one transaction a batch, an overlay an event."""

    def __init__(self, connection: apsw.Connection, views: dict[str, AnyView]) -> None:
        self._connection = connection
        self.position = rowstore.position(connection)
        self.vids = rowstore.view_ids(connection)
        self._by_event: dict[str, list[tuple[AnyView, int]]] = {}
        for view in views.values():
            for event in view.applies:
                self._by_event.setdefault(event, []).append(
                    (view, self.vids[view.name])
                )
        self._cells: dict[tuple[int, str, str], _Cell] = {}
        self._touched: dict[tuple[int, str, str], _Cell] = {}
        self._past: list[tuple[_Cell, int, bytes | None]] = []
        self._times: list[tuple[str, int]] = []
        self._latest = self._known_at_max()

    def _known_at_max(self) -> str:
        found = self._connection.execute("select max(known_at) from times").get
        return str(found or "")

    def apply(self, recorded: Recorded) -> Halt | None:
        """Take one event into the open batch, or say why it cannot be taken."""
        handlers = self._by_event.get(recorded.name)
        try:
            if handlers:
                self._apply(recorded, handlers)
            known_at = _known_at(recorded)
        except Exception as error:
            log.exception("event %s cannot be applied", recorded.uuid)
            return Halt(recorded.position, recorded.name, f"{error}")
        if known_at > self._latest:
            self._latest = known_at
            self._times.append((known_at, recorded.position))
        self.position = recorded.position
        return None

    def _apply(self, recorded: Recorded, handlers: list[tuple[AnyView, int]]) -> None:
        seen = fact(recorded)
        overlays = []
        for view, vid in handlers:
            rows = _Overlay(self, view, vid, seen.tenant)
            view.applies[recorded.name](seen.event, seen, rows)
            overlays.append(rows)
        for rows in overlays:  # all of the event, or nothing of it
            self._keep(rows, recorded.position)

    def _keep(self, rows: _Overlay, position: int) -> None:
        for key, row in rows.changes.items():
            cell = self.cell(rows.vid, rows.tenant, key, rows.view)
            body = None if row is None else rows.view.dump(row)
            if body == cell.body:
                continue
            cell.body, cell.row = body, row
            self._touched[rows.vid, rows.tenant, key] = cell
            self._past.append((cell, position, body))

    def cell(self, vid: int, tenant: str, key: str, view: AnyView) -> _Cell:
        found = self._cells.get((vid, tenant, key))
        if found is None:
            found = _Cell(None, None, None)
            for kid, body in self._connection.execute(
                "select kid, body from keys where vid = ? and tenant = ? and key = ?",
                (vid, tenant, key),
            ):
                found = _Cell(kid, body, None if body is None else view.load(body))
            self._cells[vid, tenant, key] = found
        return found

    def commit(self) -> None:
        """Rows, history, times and checkpoint move together, or not at all."""
        connection = self._connection
        with connection:
            for (vid, tenant, key), cell in self._touched.items():
                if cell.kid is None:
                    connection.execute(
                        "insert into keys(vid, tenant, key, body) values(?, ?, ?, ?)",
                        (vid, tenant, key, cell.body),
                    )
                    cell.kid = connection.last_insert_rowid()
                else:
                    connection.execute(
                        "update keys set body = ? where kid = ?", (cell.body, cell.kid)
                    )
            connection.executemany(
                """
                insert into history values(?, ?, ?)
                on conflict do update set body = excluded.body
                """,
                [(cell.kid, since, body) for cell, since, body in self._past],
            )
            connection.executemany("insert into times values(?, ?)", self._times)
            connection.execute(
                "update meta set value = ? where name = 'position'", (self.position,)
            )
        self._touched.clear()
        self._past.clear()
        self._times.clear()
        if len(self._cells) > CACHED_ROWS:
            self._cells.clear()

    def close(self) -> None:
        self._connection.close()


def _known_at(recorded: Recorded) -> str:
    # Our own writers put it first; anybody else's JSON is parsed.
    metadata = recorded.metadata
    if metadata.startswith(b'{"known_at":"') and metadata[40:41] == b'"':
        return metadata[13:40].decode()
    return recorded.meta["known_at"]


class _Overlay:
    """What one event changes in one view, until all its views have had it."""

    def __init__(self, file: _File, view: AnyView, vid: int, tenant: str) -> None:
        self._file, self.view, self.vid, self.tenant = file, view, vid, tenant
        self.changes: dict[str, object | None] = {}

    def get(self, key: str) -> object | None:
        if key in self.changes:
            return self.changes[key]
        return self._file.cell(self.vid, self.tenant, key, self.view).row

    def put(self, key: str, row: object) -> None:
        self.changes[key] = row

    def delete(self, key: str) -> None:
        self.changes[key] = None


class _Reader:
    """See `modelkeep.views.Reader`."""

    def __init__(
        self,
        vids: dict[str, int],
        connection: apsw.Connection,
        tenant: str,
        as_of: AsOf,
    ) -> None:
        self.tenant = tenant
        self._vids = vids
        self._bound = Bound(connection, as_of.bound)

    def get(self, view: View[R], key: str) -> R | None:
        body = self._bound.body(self._vids[view.name], self.tenant, key)
        return None if body is None else view.load(body)

    def scan(
        self,
        view: View[R],
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, R]]:
        found: list[tuple[str, R]] = []
        vid = self._vids[view.name]
        for key, body in self._bound.bodies(vid, self.tenant, prefix, after):
            if limit is not None and len(found) >= limit:
                break
            found.append((key, view.load(body)))
        return found

    def history(self, view: View[R], key: str) -> list[tuple[int, R | None]]:
        past = self._bound.past(self._vids[view.name], self.tenant, key)
        return [(at, None if body is None else view.load(body)) for at, body in past]

    def changes(
        self, view: View[R], prefix: str = "", *, after: int, limit: int
    ) -> list[tuple[int, str, R | None]]:
        found: list[tuple[int, str, R | None]] = []
        vid = self._vids[view.name]
        for since, key, body in self._bound.changes(vid, self.tenant, prefix, after):
            if len(found) >= limit and since != found[-1][0]:
                break
            found.append((since, key, None if body is None else view.load(body)))
        return found

    def known_until(self) -> datetime | None:
        known_at = self._bound.known_until()
        return None if known_at is None else datetime.fromisoformat(known_at)

    def at(self, as_of: AsOf) -> Reader:
        return _Reader(self._vids, self._bound.connection, self.tenant, as_of)

    def when(self, instant: datetime) -> AsOf:
        beyond = self._bound.first_beyond(stamp(instant))
        return NOW if beyond is None else AsOf(beyond - 1)

    def other(self, tenant: str) -> Reader:
        as_of = AsOf(self._bound.bound)
        return _Reader(self._vids, self._bound.connection, tenant, as_of)

    def tenants(self, view: View[R]) -> list[str]:
        return self._bound.tenants(self._vids[view.name])


class _Pool:
    """Read connections, lent to one thread at a time, dropped when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[apsw.Connection] = []
        self._generation = 0

    @contextlib.contextmanager
    def borrow(self) -> Iterator[apsw.Connection]:
        with self._lock:
            generation = self._generation
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = rowstore.connect(self._path, readonly=True)
        try:
            yield connection
        finally:
            with self._lock:
                current = generation == self._generation
                if current:
                    self._idle.append(connection)
            if not current:
                connection.close()

    def retire(self) -> None:
        with self._lock:
            self._generation += 1
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

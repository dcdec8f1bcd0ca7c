"""What runs a service's views: it follows the store, applies, commits and answers."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Final, Self, TypeVar

import apsw

from modelkeep import rowstore
from modelkeep.clock import CLOCK_STREAM
from modelkeep.errors import Late, Unavailable
from modelkeep.events.clock import Ticked
from modelkeep.ledger import stamp
from modelkeep.rowstore import Bound
from modelkeep.store.port import START, Recorded, Store, Subscription
from modelkeep.viewfile import Halt, ViewFile
from modelkeep.views import NOW, AnyView, AsOf, Reader, View, fact

R = TypeVar("R")
_POSITION: Final = attrgetter("position")
log = logging.getLogger(__name__)

BATCH: Final = 5_000
REBUILD_BATCH: Final = 50_000
POLL_S: Final = 0.5
KEPT_LOOK_S: Final = 0.01
KEPT_S: Final = 10.0
"""What a process that is to end is given to end, by who writes without following."""
RESTS: Final = 4
MAX_REST_S: Final = 0.01
MAX_REST_BEHIND_S: Final = 0.1


class ViewSet:
    """All views of one service in one file. Start it, ask it, close it.

    `saw` is told of each tick's instant, before anyone is told of the position, and
    `moved` afterwards. Where another process keeps the file (`apart.py`) this is not
    started but told how far that one has come, and only answers.
    """

    def __init__(
        self,
        name: str,
        views: Sequence[AnyView],
        store: Store,
        path: Path,
        *,
        saw: Callable[[datetime], None] = lambda _: None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.store, self.path = name, store, path
        self._views = {view.name: view for view in views}
        self._fingerprint = fingerprint(views)
        self._saw, self._tell_moved = saw, moved
        self._moved = threading.Condition()
        self._closing = threading.Event()
        self._wanted = threading.Event()
        self.hurry: Callable[[], None] = self._wanted.set
        self._thread: threading.Thread | None = None
        self._following: Subscription | None = None
        self.halt: Halt | None = None
        self._moved_at = time.monotonic()
        self._keeping: contextlib.ExitStack | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._pool = _Pool(path)
        self._file = self._open()
        # What is committed: readers see no further, however far a batch has come.
        self._position = self._file.position

    def _open(self) -> ViewFile:
        with contextlib.suppress(apsw.Error):
            if self.path.exists():
                connection = rowstore.connect(self.path)
                if rowstore.fingerprint(connection) == self._fingerprint:
                    return ViewFile(connection, self._views)
                connection.close()
        _remove(self.path)
        return self._fresh(self.path)

    def _fresh(self, path: Path) -> ViewFile:
        connection = rowstore.create(path, self._fingerprint, sorted(self._views))
        return ViewFile(connection, self._views)

    def start(self) -> Self:
        """Follow the store from the checkpoint on, in a thread."""
        self._let_go()
        self._thread = threading.Thread(
            target=self._run, name=f"views-{self.name}", daemon=True
        )
        self._thread.start()
        return self

    @property
    def position(self) -> int:
        return self._position

    def _run(self) -> None:
        with kept(self.path, self._closing) as alone:
            if alone:
                self._follow()

    def _follow(self) -> None:
        self._open_again()
        with self.store.subscribe(after=self._file.position) as following:
            self._following = following
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
                    self._rest(time.monotonic() - started, batch.caught_up)

    def _open_again(self) -> None:
        # Whoever kept it before may have written after it was opened here.
        self._file.close()
        self._file = self._open()
        self._reach(self._file.position)

    def _keep(self) -> None:
        """Be who writes the file, from the first call until this is closed or started.
        A process whose parent was killed may be at it still, and ends soon.
        """
        if self._keeping is not None:
            return
        with contextlib.ExitStack() as lock:
            if not lock.enter_context(kept(self.path, self._closing, KEPT_S)):
                raise Unavailable(
                    f"the views of {self.name} are kept by another process"
                )
            self._open_again()
            self._keeping = lock.pop_all()

    def _let_go(self) -> None:
        if self._keeping is not None:
            self._keeping.close()
            self._keeping = None

    def _rest(self, worked: float, level: bool) -> None:  # noqa: FBT001  # as polled
        """Under load this makes larger batches, and leaves the machine to those who
        write. Whoever waits for rows ends it.
        """
        rest = worked * RESTS if level else worked
        self._wanted.wait(min(rest, MAX_REST_S if level else MAX_REST_BEHIND_S))
        self._wanted.clear()

    def _take(self, events: Sequence[Recorded], position: int) -> None:
        halt = None
        # An engine may deliver a batch in any order: the log's is the one that counts.
        for recorded in sorted(events, key=_POSITION):
            if recorded.position <= self._file.position:
                continue  # delivered again: it is in these rows already
            halt = self._file.apply(recorded)
            if halt is not None:
                log.error("the views of %s halted: %s", self.name, halt)
                break
        else:
            self._file.position = max(position, self._file.position)
        self._file.commit()
        self.halt = halt  # whoever hears of it finds what was known before it
        for recorded in events:
            if recorded.stream == CLOCK_STREAM:
                ticked = fact(recorded).event
                if isinstance(ticked, Ticked):
                    self._saw(ticked.instant)
        self._reach(self._file.position)

    def _reach(self, position: int) -> None:
        self._moved_at = time.monotonic()
        with self._moved:
            self._position = position
            self._moved.notify_all()
        self._tell_moved()

    def told(self, position: int, ticks: Sequence[datetime], halt: Halt | None) -> None:
        """Take what the process that keeps the file says of it."""
        for instant in ticks:
            self._saw(instant)
        self.halt = halt
        self._reach(position)

    def catch_up(self) -> None:
        """Apply everything the store holds now, in this thread. Not while started.

        Raises Unavailable when the views halt, and when another process keeps them.
        """
        self._keep()
        while events := list(
            self.store.read_all(after=self._file.position, limit=BATCH)
        ):
            self._take(events, events[-1].position)
            if self.halt is not None:
                raise Unavailable(f"the views of {self.name} halted: {self.halt}")

    def rebuild(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Replay the whole log into a fresh file and swap it in. Not while started.

        `progress` is told how many events were applied so far. Raises Unavailable as
        `catch_up` does.
        """
        self._keep()
        fresh = self.path.with_suffix(".rebuilding")
        _remove(fresh)
        file = self._fresh(fresh)
        file.hurry()
        with _no_cycles_sought():
            self._replay(file, progress)
        file.close()
        rowstore.settle(fresh)
        self._file.close()
        self._pool.retire()
        _remove(self.path)
        fresh.replace(self.path)
        self._file = ViewFile(rowstore.connect(self.path), self._views)
        self._position = self._file.position

    def _replay(self, file: ViewFile, progress: Callable[[int], None]) -> None:
        done = 0
        for recorded in self.store.read_all():
            halt = file.apply(recorded)
            if halt is not None:
                file.close()
                raise Unavailable(f"the views of {self.name} cannot be rebuilt: {halt}")
            done += 1
            if done % REBUILD_BATCH == 0:
                file.commit()
                progress(done)
        file.commit()
        progress(done)

    def wait_for(self, position: int, timeout: float) -> None:
        """Return once everything at or before `position` is applied; else Late."""
        deadline = time.monotonic() + timeout
        with self._moved:
            while self._position < position:
                self._check_halt()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Late(
                        f"the views of {self.name} are at {self._position}, "
                        f"not yet at {position}"
                    )
                self.hurry()
                self._moved.wait(min(left, POLL_S))

    def wait_change(self, after: int, timeout: float) -> int:
        """Return the checkpoint, once it is beyond `after` or the time is over."""
        with self._moved:
            self._moved.wait_for(
                lambda: self._position > after or self._closing.is_set(), timeout
            )
            return self._position

    def _check_halt(self, as_of: AsOf = NOW) -> None:
        halt = self.halt
        if halt and (as_of.bound is None or as_of.bound >= halt.position):
            raise Unavailable(f"the views of {self.name} are halted: {self.halt}")

    @contextlib.contextmanager
    def reader(self, tenant: str, as_of: AsOf = NOW) -> Iterator[Reader]:
        """Read one consistent snapshot. Raises Unavailable when halted, except of the
        past before the halt: that is still known.
        """
        self._check_halt(as_of)
        with self._pool.borrow() as connection, connection:
            yield _Reader(self._file.vids, connection, tenant, as_of)

    @contextlib.contextmanager
    def reader_of(
        self, tenant: str, moment: Callable[[Reader], AsOf]
    ) -> Iterator[Reader]:
        """`reader` as of a moment that must itself be read: a time, say."""
        with self.reader(tenant, AsOf(START)) as read:
            as_of = moment(read)
            self._check_halt(as_of)
            yield read.at(as_of)

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
        if self._position >= self.store.head():
            return 0.0
        return time.monotonic() - self._moved_at

    def digests(
        self, *, history: bool = True, bound: int | None = None
    ) -> dict[str, str]:
        with self._pool.borrow() as connection, connection:
            found = rowstore.digests(connection, history=history, bound=bound)
        return found  # noqa: RET504  # apsw's __exit__ might swallow, says its type

    def adrift(self) -> list[str]:
        """Return the views whose current rows are not what their history says."""
        with self._pool.borrow() as connection, connection:
            found = rowstore.adrift(connection)
        return found  # noqa: RET504  # apsw's __exit__ might swallow, says its type

    def leave(self) -> None:
        """Begin to stop, and wait for nothing: `close` does."""
        self._closing.set()
        self._wanted.set()
        if self._following is not None:
            self._following.close()  # it waits for news: half a second, say
        with self._moved:
            self._moved.notify_all()

    def close(self) -> None:
        self.leave()
        if self._thread is not None:
            self._thread.join()
        self._pool.retire()
        self._file.close()
        self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def kept(
    path: Path, closing: threading.Event, patience: float = math.inf
) -> Iterator[bool]:
    """Hold the right to write a view file, once whoever held it is gone; False when
    `closing` came first, or `patience` seconds were over.
    """
    over = time.monotonic() + patience
    with path.with_name(f"{path.name}-kept").open("ab") as lock:
        while not closing.is_set() and time.monotonic() < over:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                closing.wait(KEPT_LOOK_S)
            else:
                yield True
                return
        yield False


def fingerprint(views: Sequence[AnyView]) -> str:
    """Name the code that made the rows: another version means another file."""
    said = ";".join(sorted(f"{v.name}:{v.version}:{sorted(v.applies)}" for v in views))
    return hashlib.sha256(f"{rowstore.SCHEMA}{said}".encode()).hexdigest()


@contextlib.contextmanager
def _no_cycles_sought() -> Iterator[None]:
    # Rows have none, and a search among so many live ones costs a seventh of the time.
    sought = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if sought:
            gc.enable()


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


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

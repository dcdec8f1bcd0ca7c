"""The engine for KurrentDB and EventStoreDB 23.10+, through `kurrentdbclient`.

The log, its replication and its durability are the server's; this file holds the port's
promises over the client's habits:

- a list always goes out, never one event and never a generator: the client repeats a
  failed call with the same arguments, and a spent generator would append nothing;
- a forward read of the whole log begins *at* a position, the port's *after* it;
- filters are prefixes and are applied again here, since the server may send more, and
  the client's own default would hide domain events named `Result`;
- only positions that the server gave are ever sent back to it.

The ledger never deletes. A stream that an operator deleted or tombstoned is reported as
Corrupt where it can be seen: as a version that is missing.
"""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore, Condition, Event, Lock, Thread, current_thread
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import unquote

from modelkeep.errors import (
    Corrupt,
    Exhausted,
    Invalid,
    Late,
    ModelkeepError,
    TooLarge,
    Unavailable,
    WrongVersion,
)
from modelkeep.store.checks import STREAM_NAME, check_append
from modelkeep.store.port import (
    ANY,
    EXISTS,
    NO_STREAM,
    START,
    Appended,
    Batch,
    Filter,
    NewEvent,
    Recognised,
    Recorded,
    Subscription,
)

try:
    import kurrentdbclient as client
    from kurrentdbclient import exceptions as said
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "the KurrentDB engine needs kurrentdbclient: pip install"
        " 'modelkeep[eventstoredb]'",
        name=missing.name,
    ) from missing

if TYPE_CHECKING:
    from kurrentdbclient.common import AbstractCatchupSubscription, AbstractReadResponse

log = logging.getLogger(__name__)

STATES: Final = {
    NO_STREAM: client.StreamState.NO_STREAM,
    ANY: client.StreamState.ANY,
    EXISTS: client.StreamState.EXISTS,
}
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
NOWHERE: Final = 1 << 63  # unsigned on the wire: from here on it means "no position"
TOMBSTONE: Final = (1 << 63) - 1  # the version of the event that ends a stream for ever

# Until 25.0 it is an unknown error, from then on an invalid argument.
NO_SUCH_POSITION: Final = re.compile(r"(?i)invalid ?position")

# In flat JSON a quote within a string is escaped, so only the key itself can match.
SCHEMA_VERSION: Final = re.compile(rb'"schema_version"\s*:\s*"(\d{1,9})"')


class KurrentStore:
    """One connection, shared by all threads.

    `uri` is a connection string (`kurrentdb://…`, `esdb+discover://…`) with TLS and
    credentials in it. One field of its query is ours: with `Namespace=risk_`, every
    stream's stored name begins so, and nothing else in the database is seen. Several
    ledgers, and other applications, may share one database.

    `timeout` is in seconds, for each of at most two attempts of a call; a replay has
    none. `backlog` bounds the appends that `submit` holds. A filtered subscription that
    hears nothing asks every `probe_every` seconds how far the log has come. A broken
    subscription resumes by itself, and `poll` raises Unavailable when that has failed
    for `patience` seconds.
    """

    def __init__(
        self,
        uri: str,
        *,
        timeout: float = 10.0,
        workers: int = 8,
        backlog: int = 4096,
        probe_every: float = 0.1,
        patience: float = 30.0,
    ) -> None:
        uri, self.namespace = _without_namespace(uri)
        self.timeout = timeout
        self.probe_every, self.patience = probe_every, patience
        try:
            with translated("connecting"):
                self._client = client.KurrentDBClient(uri)
        except (ValueError, OSError):
            # The client's own message repeats the whole string, password included.
            raise Invalid.field(
                "uri", "not a connection string of KurrentDB, or a file it names is not"
            ) from None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="kurrent-append")
        self._room = BoundedSemaphore(backlog)
        self._closed, self._gone = Event(), Event()
        self._lock = Lock()
        self._subscriptions: set[KurrentSubscription] = set()
        self._heard: int | None = None  # the log is at least so long

    def append(
        self, stream: str, events: Sequence[NewEvent], *, expected: int
    ) -> Appended:
        self._check_open()
        return self._append(stream, events, expected)

    def _append(
        self, stream: str, events: Sequence[NewEvent], expected: int
    ) -> Appended:
        check_append(stream, events, expected)
        outgoing = [_outgoing(event) for event in events]
        heard = self.head() if self._heard is None else self._heard
        try:
            with translated(f"appending to {stream}"):
                position = self._client.append_to_stream(
                    self.namespace + stream,
                    events=outgoing,
                    current_version=STATES.get(expected, expected),
                    timeout=self.timeout,
                )
        except said.WrongCurrentVersionError as error:
            raise WrongVersion(stream, expected, _current(error)) from error
        at = Appended(position, expected + len(events))
        if expected in (ANY, EXISTS) or position >= NOWHERE:
            # The client tells the position only, and some servers not even that when
            # they recognise a retry.
            at = self._find(stream, events[-1].id.bytes)
        self._hear(at.position)
        # A retry has the position of the first append, and nobody says that it is one:
        # but what stands where the log had been when it was sent was not written by it.
        return Recognised(*at) if at.position <= heard or position >= NOWHERE else at

    def submit(
        self, stream: str, events: Sequence[NewEvent], *, expected: int
    ) -> Future[Appended]:
        if not self._room.acquire(blocking=False):
            return _failed(
                Exhausted(f"too many appends wait: {stream} is not among them")
            )
        try:
            future = self._pool.submit(self._submitted, stream, events, expected)
        except RuntimeError:
            self._room.release()
            return _failed(Unavailable("the store is closed"))
        future.add_done_callback(lambda _: self._room.release())
        return future

    def _submitted(
        self, stream: str, events: Sequence[NewEvent], expected: int
    ) -> Appended:
        if self._gone.is_set():
            raise Unavailable("the store closed while KurrentDB was away")
        try:
            return self._append(stream, events, expected)
        except Unavailable:
            if self._closed.is_set():
                self._gone.set()  # who closes shall not wait for each of the others
            raise

    def read_stream(
        self,
        stream: str,
        *,
        after: int = NO_STREAM,
        backwards: bool = False,
        limit: int | None = None,
    ) -> Iterator[Recorded]:
        self._check_open()
        if (
            not STREAM_NAME.fullmatch(stream)
            or limit == 0
            or (backwards and after == 0)
        ):
            return
        step = -1 if backwards else 1
        due = None if after == NO_STREAM and backwards else after + step
        with translated(f"reading {stream}"):
            events = self._client.read_stream(
                self.namespace + stream,
                stream_position=None if after == NO_STREAM else due,
                backwards=backwards,
                limit=2**63 - 1 if limit is None else limit,
            )
        try:
            for event in _drained(events, f"reading {stream}"):
                version = event.stream_position
                # Read backwards from beyond its end, a stream begins where it ends.
                if (
                    due is not None
                    and version != due
                    and not (backwards and version < due)
                ):
                    raise Corrupt(
                        f"{stream}: version {version} stands where {due} is due"
                    )
                due = version + step
                backwards = False
                yield self._recorded(event)
        except said.NotFoundError:
            return

    def read_all(
        self,
        *,
        after: int = START,
        limit: int | None = None,
        only: Filter | None = None,
    ) -> Iterator[Recorded]:
        self._check_open()
        left = limit
        if left == 0:
            return
        with translated("reading all"):
            events = self._select_all(only, after=after)
        for event in _drained(events, "reading all"):
            # Inclusive on the wire. No limit is sent: what is dropped here would count.
            if event.commit_position > after and self._admits(event, only):
                yield self._recorded(event)
                left = None if left is None else left - 1
                if left == 0:
                    return

    def stream_version(self, stream: str) -> int:
        last = next(self.read_stream(stream, backwards=True, limit=1), None)
        return NO_STREAM if last is None else last.version

    def head(self) -> int:
        self._check_open()
        with translated("reading the head"):
            events = self._select_all(None, backwards=True, timeout=self.timeout)
        for event in _drained(events, "reading the head"):
            if self._admits(event, None):
                self._hear(event.commit_position)
                return event.commit_position
        self._hear(START)
        return START

    def subscribe(
        self, *, after: int = START, only: Filter | None = None
    ) -> KurrentSubscription:
        self._check_open()
        subscription = KurrentSubscription(self, after, only)
        with self._lock:
            self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """Wait for what was submitted, then end every subscription."""
        self._closed.set()
        self._pool.shutdown(wait=True)
        with self._lock:
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.stop()
        self._client.close()  # frees a reader that still waits for its confirmation
        for subscription in subscriptions:
            subscription.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self, subscription: KurrentSubscription) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)

    def listen(self, after: int, only: Filter | None) -> AbstractCatchupSubscription:
        """Open the client's subscription: what `KurrentSubscription` reads from."""
        self._check_open()
        chosen = self._chosen(only)
        return self._client.subscribe_to_all(
            commit_position=None if after == START else after,
            filter_include=chosen.include,
            filter_exclude=chosen.exclude,
            filter_by_stream_name=chosen.by_stream,
            filter_by_prefix=chosen.by_prefix,
            include_checkpoints=True,
            include_caught_up=True,
        )

    def keep(self, event: client.RecordedEvent, only: Filter | None) -> Recorded | None:
        self._hear(event.commit_position)
        return self._recorded(event) if self._admits(event, only) else None

    def _hear(self, position: int) -> None:
        with self._lock:
            self._heard = max(position, START if self._heard is None else self._heard)

    def _select_all(
        self,
        only: Filter | None,
        *,
        after: int = START,
        backwards: bool = False,
        timeout: float | None = None,
    ) -> AbstractReadResponse:
        chosen = self._chosen(only)
        return self._client.read_all(
            commit_position=None if after == START else after,
            backwards=backwards,
            filter_include=chosen.include,
            filter_exclude=chosen.exclude,
            filter_by_stream_name=chosen.by_stream,
            filter_by_prefix=chosen.by_prefix,
            timeout=timeout,
        )

    def _chosen(self, only: Filter | None) -> _Chosen:
        """Say what the server may leave out; `_admits` has the last word."""
        if (
            only is not None
            and only.by == "name"
            and only.prefixes
            and all(only.prefixes)
        ):
            return _Chosen(include=only.prefixes, by_stream=False, by_prefix=True)
        starts = only.prefixes if only is not None and only.by == "stream" else ("",)
        streams = tuple(self.namespace + start for start in starts)
        if streams and all(streams):
            return _Chosen(include=streams, by_stream=True, by_prefix=True)
        return _Chosen(exclude=(r"\$.+",), by_stream=True, by_prefix=False)

    def _admits(self, event: client.RecordedEvent, only: Filter | None) -> bool:
        stream = event.stream_name
        return (
            stream.startswith(self.namespace)
            and not stream.startswith("$")
            and not event.type.startswith("$")
            and (only is None or only.admits(stream[len(self.namespace) :], event.type))
        )

    def _recorded(self, event: client.RecordedEvent) -> Recorded:
        at, version = event.recorded_at, SCHEMA_VERSION.search(event.metadata)
        return Recorded(
            position=event.commit_position,
            stream=event.stream_name[len(self.namespace) :],
            version=event.stream_position,
            id=event.id.bytes,
            name=event.type,
            # Another application's event, without one, is at its first.
            schema_version=int(version[1]) if version else 1,
            recorded_at=(at - EPOCH) // MICROSECOND if at else 0,
            data=event.data,
            metadata=event.metadata,
        )

    def _find(self, stream: str, event_id: bytes) -> Appended:
        """Find the latest of that id, with which an append was just acknowledged."""
        for event in self.read_stream(stream, backwards=True):
            if event.id == event_id:
                return Appended(event.position, event.version)
        raise Corrupt(f"{stream}: an acknowledged event is not in it")

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise Unavailable("the store is closed")


class KurrentSubscription(Subscription):
    """A thread reads the client's subscription into a bounded box; `poll` empties it.

    Events are handed over at once; that nothing newer exists is said after them, when
    the head of the log has been asked for. Versions within a stream must follow one
    another, which a filter by name cannot promise: there they must grow.
    """

    BOX_EVENTS: Final = 1024
    BOX_BYTES: Final = 8 << 20

    def __init__(self, store: KurrentStore, after: int, only: Filter | None) -> None:
        self._store, self._only = store, only
        by_name = only is not None and only.by == "name"
        self._versions = Versions(
            whole=not by_name,
            # Elsewhere in a shared database streams may have been truncated.
            from_zero=after == START and not by_name and bool(only or store.namespace),
        )
        self._changed = Condition()
        self._events: list[Recorded] = []
        self._bytes = 0
        self._position = after
        self._live = self._marked = False
        self._told = (after, False)
        self._failure: ModelkeepError | None = None
        self._closed = Event()
        self._source: AbstractCatchupSubscription | None = None
        self._thread = Thread(
            target=self._run, name="kurrent-subscription", daemon=True
        )
        self._thread.start()

    def poll(self, timeout: float) -> Batch:
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                self._marked = False
                if self._has_news():
                    return self._take()
                live = self._live
                # The caller knows that he is level, and only an event can change it.
                quiet = live and self._told == (self._position, True) and not self._only
            left = deadline - time.monotonic()
            level = live and (left <= 0 or not quiet) and self._is_level()
            with self._changed:
                if left <= 0 or (level and self._told != (self._position, True)):
                    return self._nothing(level=level)
                pause = left if quiet else min(left, self._store.probe_every)
                self._changed.wait_for(self._has_news_or_mark, pause)

    def stop(self) -> None:
        """Ask the reader to end, without waiting for it."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
            source = self._source
        if source is not None:
            source.stop()

    def close(self) -> None:
        self.stop()
        if self._thread is not current_thread():
            self._thread.join(self._store.timeout)
        self._store.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _has_news(self) -> bool:
        return bool(self._events or self._failure or self._closed.is_set())

    def _has_news_or_mark(self) -> bool:
        return self._marked or self._has_news()

    def _take(self) -> Batch:
        if self._closed.is_set():
            raise Unavailable("the subscription is closed")
        if self._failure and not self._events:
            raise self._failure
        events, self._events, self._bytes = self._events, [], 0
        self._changed.notify_all()
        self._told = self._position, False
        return Batch(events, self._position, caught_up=False)

    def _nothing(self, *, level: bool) -> Batch:
        if self._has_news():  # it came while the head was asked for
            return self._take()
        self._told = self._position, level
        return Batch((), self._position, level)

    def _is_level(self) -> bool:
        """Ask whether we are level with the log, whatever the server's marks say.

        They are as old as their arrival, and with a filter come once in 150 events
        while a reader of its own writes waits. The head is read first: if after it
        nothing matches beyond our position, all up to that head was filtered out.
        """
        with self._changed:
            position = self._position
        try:
            head, pending = self._store.head(), None
            if head > position and self._only is not None:
                found = self._store.read_all(after=position, only=self._only, limit=1)
                pending = next(found, None)
        except ModelkeepError:
            return False  # the reader meets the same trouble and will tell
        with self._changed:
            if head > position and (self._only is None or pending is not None):
                return False  # what was written is on its way to us
            self._position = max(self._position, head)
            return True

    def _run(self) -> None:
        broken: float | None = None
        pause = 0.1
        while not self._closed.is_set():
            try:
                with translated("subscribing"):
                    for event in self._opened():
                        self._hear(event)
                        broken, pause = None, 0.1
                raise Unavailable("subscribing: KurrentDB ended the subscription")
            except ModelkeepError as error:
                broken = broken or time.monotonic()
                overdue = time.monotonic() - broken > self._store.patience
                if overdue or not _passing(error):
                    self._fail(error)
                    return
                if not self._closed.is_set():
                    log.warning("the subscription resumes in %.1f s: %s", pause, error)
            except Exception as error:  # noqa: BLE001 - a silent reader is worse
                self._fail(Corrupt(f"subscribing: {error!r}"))
                return
            self._closed.wait(pause)
            pause = min(pause * 2, 5.0)

    def _opened(self) -> Iterator[client.RecordedEvent]:
        with self._changed:
            position = self._position
        with self._store.listen(position, self._only) as source:
            with self._changed:
                self._source = source
            if not self._closed.is_set():  # else `stop` came too early to see it
                yield from source

    def _hear(self, event: client.RecordedEvent) -> None:
        if event.is_checkpoint or event.is_caught_up:
            self._mark(event)
        else:
            if not event.stream_name.startswith("$"):
                self._versions.check(event.stream_name, event.stream_position)
            recorded = self._store.keep(event, self._only)
            if recorded is not None:
                self._put(recorded)

    def _mark(self, event: client.RecordedEvent) -> None:
        with self._changed:
            # Without a filter the last event says it all. 24.10 and 25.0 unpatched may
            # give the position of an event not yet seen, and betray it by a prepare
            # position that differs. Older ones send no position with the mark: 0.
            if self._only and event.commit_position == event.prepare_position:
                self._position = max(self._position, event.commit_position or START)
            self._live = self._live or event.is_caught_up
            self._marked = True
            self._changed.notify_all()

    def _put(self, event: Recorded) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._has_room() or self._closed.is_set())
            self._events.append(event)
            self._bytes += len(event.data) + len(event.metadata)
            self._position = max(self._position, event.position)
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return len(self._events) < self.BOX_EVENTS and self._bytes < self.BOX_BYTES

    def _fail(self, error: ModelkeepError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()


class Versions:
    """The last version of each stream heard recently, to notice one that is missing."""

    REMEMBERED: Final = 1 << 16

    def __init__(self, *, whole: bool, from_zero: bool) -> None:
        self._whole, self._from_zero = whole, from_zero
        self._last: OrderedDict[str, int] = OrderedDict()

    def check(self, stream: str, version: int) -> None:
        """Raise Corrupt when `version` does not follow the one before."""
        last = self._last.get(stream)
        if last is None and self._from_zero:
            last = NO_STREAM
        if (
            last is not None
            and version != last + 1
            and (self._whole or version <= last)
        ):
            raise Corrupt(f"{stream}: version {version} came after {last}")
        self._last[stream] = version
        self._last.move_to_end(stream)
        if len(self._last) > self.REMEMBERED:
            self._last.popitem(last=False)
            self._from_zero = False  # a forgotten stream is no longer a new one


class _Chosen(NamedTuple):
    by_stream: bool
    by_prefix: bool
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def _without_namespace(uri: str) -> tuple[str, str]:
    """Split off our own field, which the client would refuse."""
    address, _, query = uri.partition("?")
    fields = [field for field in query.split("&") if field]
    ours = [f for f in fields if f.lower().startswith("namespace=")]
    rest = "&".join(field for field in fields if field not in ours)
    namespace = unquote(ours[-1].partition("=")[2]) if ours else ""
    if namespace and not STREAM_NAME.fullmatch(namespace):
        raise Invalid.field("uri", f"{namespace[:64]!r} cannot begin a stream's name")
    return f"{address}?{rest}" if rest else address, namespace


def _outgoing(event: NewEvent) -> client.NewEvent:
    told = SCHEMA_VERSION.search(event.metadata)
    if told is None or int(told[1]) != event.schema_version:
        # It is kept nowhere else: what could not be read back is not written.
        raise Invalid.field(
            "events", f"metadata of {event.name} must repeat its schema_version"
        )
    return client.NewEvent(
        type=event.name, data=event.data, metadata=event.metadata, id=event.id
    )


def _current(error: said.WrongCurrentVersionError) -> int:
    actual = error.actual_version
    return actual if isinstance(actual, int) and actual < NOWHERE else NO_STREAM


def _failed(error: ModelkeepError) -> Future[Appended]:
    future: Future[Appended] = Future()
    future.set_exception(error)
    return future


def _drained(events: AbstractReadResponse, what: str) -> Iterator[client.RecordedEvent]:
    """Yield them all, cancelling the call when the reader has had enough."""
    with events, translated(what):
        yield from events


class _Denied(Unavailable):
    """Trying again will not help."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the client's errors into ours; wrong versions and unknown streams pass."""
    try:
        yield
    except (said.WrongCurrentVersionError, said.NotFoundError):
        raise
    except said.KurrentDBClientError as error:
        raise _told(error, what) from error
    except ValueError as error:
        if "closed" not in str(error):
            raise
        raise Unavailable(f"{what}: the connection is closed") from error


def _told(error: said.KurrentDBClientError, what: str) -> ModelkeepError:
    told: ModelkeepError
    match error:
        case said.DeadlineExceededError():
            told = Late(
                f"{what}: KurrentDB did not answer in time; retry with same ids"
            )
        case said.StreamIsDeletedError() | said.StreamTombstonedError():
            told = Corrupt(f"{what}: the stream was tombstoned in KurrentDB")
        case (
            said.MaximumAppendSizeExceededError()
            | said.RecordMaxSizeExceededError()
            | said.TransactionMaxSizeExceededError()
        ):
            told = TooLarge(f"{what}: beyond the server's own limit: {error}")
        case said.AccessDeniedError() | said.UnauthenticatedError():
            told = _Denied(f"{what}: KurrentDB refuses the credentials of its URI")
        case said.BadRequestError() | said.InvalidArgumentError():
            told = Invalid.field("events", f"{what}: {error}")
        case _ if NO_SUCH_POSITION.search(str(error)):
            told = Invalid.field("after", f"{what}: no such position in this log")
        case _:
            told = Unavailable(f"{what}: {type(error).__name__}: {str(error)[:300]}")
    return told


def _passing(error: ModelkeepError) -> bool:
    return isinstance(error, (Unavailable, Late)) and not isinstance(error, _Denied)

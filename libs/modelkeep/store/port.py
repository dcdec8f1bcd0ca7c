"""The port: what the ledger asks of an event store, and all it may ask.

Small on purpose: everything here can be honoured identically by an embedded file, a
replicated event store and a relational database. There is no delete: a ledger has none.
One contract suite (`tests/contract/test_store_contract.py`) holds every engine to it.

Positions belong to the engine: global, monotonic, sparse. Never compute one; compare
them, store them, hand them back. `after` is exclusive everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Final, Literal, NamedTuple, Protocol, Self, cast, runtime_checkable
from uuid import UUID

# Expected versions are KurrentDB's own integers. Versions are 0-based and gapless.
NO_STREAM: Final = -1
ANY: Final = -2
EXISTS: Final = -4

START: Final = -1
"""Before the first event: no engine hands out a negative position."""

MAX_APPEND_BYTES: Final = 1 << 20
"""Data and metadata of one append together; KurrentDB's default up to 25.0."""


class NewEvent(NamedTuple):
    """An event to be written. `data` and `metadata` are stored, and hashed, as given.

    `metadata` is a flat JSON object of strings. It repeats `schema_version` under that
    key: an engine with no column for it reads it from there.
    """

    id: UUID
    name: str
    schema_version: int
    data: bytes
    metadata: bytes


class Recorded(NamedTuple):
    """An event as stored. `recorded_at` is the engine's stamp in microseconds since
    1970 (UTC): evidence only, never an input of a decision, a view row or a leaf.
    """

    position: int
    stream: str
    version: int
    id: bytes
    name: str
    schema_version: int
    recorded_at: int
    data: bytes
    metadata: bytes

    @property
    def uuid(self) -> UUID:
        return UUID(bytes=self.id)

    @property
    def meta(self) -> dict[str, str]:
        """Parsed at each call: keep it when you need it twice."""
        return cast("dict[str, str]", json.loads(self.metadata))


class Filter(NamedTuple):
    """Keep the events whose stream, or name, begins with one of `prefixes`."""

    by: Literal["stream", "name"]
    prefixes: tuple[str, ...]

    def admits(self, stream: str, name: str) -> bool:
        return (stream if self.by == "stream" else name).startswith(self.prefixes)


class Appended(NamedTuple):
    """Where the last event of an append stands; the read-your-write token."""

    position: int
    version: int


class Recognised(Appended):
    """The same, of an append that had been made before: nothing was written now."""

    __slots__ = ()


class Batch(NamedTuple):
    """What a subscription delivers: some events, in order, and how far it has come.

    Everything at or before `position` was delivered or filtered out, so it may be
    stored as a checkpoint, in the same transaction as what was made of the events.
    `caught_up` says that nothing newer existed when this was read.
    """

    events: Sequence[Recorded]
    position: int
    caught_up: bool


class Subscription(Protocol):
    """Catch-up, then live. Belongs to one thread; `close` may come from any."""

    def poll(self, timeout: float) -> Batch:
        """Return at once when there is something; otherwise wait up to `timeout`
        seconds and return what came, perhaps nothing. Raises Unavailable when closed.
        """

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


@runtime_checkable
class Store(Protocol):
    """Synchronous and thread-safe. What returns from `append` survives power loss."""

    def append(
        self, stream: str, events: Sequence[NewEvent], *, expected: int
    ) -> Appended:
        """Write all of `events` or none, at the end of `stream`.

        With `expected` n or NO_STREAM: writes when the stream is at that version. When
        it is further on and *all* ids equal those stored from expected + 1 on, the
        first result is returned, as Recognised (a retry); partial overlap or other ids
        are WrongVersion.
        `expected` equal to the current version always writes, even a known id. ANY and
        EXISTS recognise a retry among the stream's recent events only.
        An engine whose server does not say which it was returns a mere Appended for
        what another process wrote so lately that it has not heard of it.

        Raises WrongVersion, TooLarge, DiskFull, Unavailable (outcome unknown), Invalid
        (no events, the same id twice in one append, or a bad stream name).
        """

    def submit(
        self, stream: str, events: Sequence[NewEvent], *, expected: int
    ) -> Future[Appended]:
        """`append` for callers who must not wait: the same, told through a future."""

    def read_stream(
        self,
        stream: str,
        *,
        after: int = NO_STREAM,
        backwards: bool = False,
        limit: int | None = None,
    ) -> Iterator[Recorded]:
        """Yield the events with versions beyond `after` (below it, backwards; from the
        end when `after` is NO_STREAM). A stream that does not exist has no events.
        """

    def read_all(
        self,
        *,
        after: int = START,
        limit: int | None = None,
        only: Filter | None = None,
    ) -> Iterator[Recorded]:
        """Yield events in global order, beyond position `after`."""

    def stream_version(self, stream: str) -> int:
        """Return the last version, NO_STREAM when there is none."""

    def head(self) -> int:
        """Return the position of the last event, START when there is none."""

    def subscribe(
        self, *, after: int = START, only: Filter | None = None
    ) -> Subscription: ...

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

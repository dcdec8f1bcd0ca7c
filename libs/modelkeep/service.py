"""What a service declares: its writes, its reads, its streams, its views, its reactors.

A service is a table. `rpc.py` turns each row into a method behind the same guard, and
refuses to start when a method of the proto has no row or a row has no method.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar, cast

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from modelkeep.api.common.v1.common_pb2 import AsOf
from modelkeep.clock import Clock
from modelkeep.decider import Actor, Command, Context, Decider
from modelkeep.home import Home
from modelkeep.keystore import Keystore
from modelkeep.ledger import Ledger, Order, Written
from modelkeep.reactor import Reactor
from modelkeep.store.port import START, Store
from modelkeep.views import AnyView, Reader
from modelkeep.viewset import ViewSet

C = TypeVar("C", bound=Command)
Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

CALLER: Final = "@caller"
"""Says of a personal field that it is the caller's own."""


class Personal(NamedTuple):
    """Of a personal field: the field that says whose it is, or CALLER; and what it is
    kept for, which decides how long (`privacy/documents/`).
    """

    whose: str
    purpose: str


@dataclass(frozen=True)
class Host:
    """What a process lends to the services it runs."""

    home: Home
    store: Store
    ledger: Ledger
    clock: Clock
    keystore: Keystore


class Target(NamedTuple):
    """The stream a command is for: `<category>-<tenant>.<key>`, the tenant added later.

    `key` is also the id the caller is told. A credential that is bound to some models
    is held to the key's first part, or to `model` where the key does not begin with
    one; where that is empty, only `prepare` can tell the model, and must.
    """

    category: str
    key: str
    model: str | None = None


@dataclass(frozen=True)
class Write:
    """An RPC that is a command: made by `write`."""

    rpc: str
    command: type[Command]
    decider: Decider
    target: Callable[[Command, Context], Target]
    roles: frozenset[str]
    sealed: Mapping[str, Personal]
    named: Sequence[str]
    prepare: Callable[[Command, Asked], Command] | None = None
    respond: Callable[[Message, Command, Asked], None] | None = None


def write(
    rpc: str,
    command: type[C],
    decider: Decider,
    target: Callable[[C, Context], Target],
    roles: frozenset[str],
    *,
    sealed: Mapping[str, Personal] | None = None,
    named: Sequence[str] = (),
    prepare: Callable[[C, Asked], Command] | None = None,
    respond: Callable[[A, C, Asked], None] | None = None,
) -> Write:
    """Declare an RPC that is a command. The request's fields are the command's.

    `sealed` says of each personal field (typed `Sealed` in the command, a string on the
    wire) whose it is and for what purpose it is kept.
    `named` are fields that name a person: what is hashed to know a retry has an HMAC of
    them, so that nobody can find the name by trying.
    `prepare` makes of what was asked the command that is decided, adding what only
    views and computation know: it runs in a thread, on views that have seen all that
    was acknowledged before. A retry is known by what was asked, not by what was added.
    `respond` is given the answer, the command as decided and views as of what was
    written, and fills what the answer says beside `written`.
    """
    to = cast("Callable[[Command, Context], Target]", target)
    adds = cast("Callable[[Command, Asked], Command] | None", prepare)
    tells = cast("Callable[[Message, Command, Asked], None] | None", respond)
    return Write(rpc, command, decider, to, roles, sealed or {}, named, adds, tells)


class Asked(NamedTuple):
    """What surrounds a query: who asks, when, and the views as of the moment asked.

    `position` is where the views of a `prepare` or a `respond` stand; `command_id` is
    that of the command they are about.
    """

    actor: Actor
    now: datetime
    read: Reader
    host: Host
    position: int = START
    command_id: str = ""


def asked_time(request: Message, asked: Asked) -> datetime:
    """Return the time at which functions of time are computed: now, or the moment asked
    for, if that is past. Of a position it is the latest known_at up to it.
    """
    as_of: AsOf | None = getattr(request, "as_of", None)
    if as_of is not None and as_of.HasField("time"):
        return min(as_of.time.ToDatetime(tzinfo=UTC), asked.now)
    if as_of is not None and as_of.HasField("position"):
        return min(asked.read.known_until() or asked.now, asked.now)
    return asked.now


@dataclass(frozen=True)
class Read:
    """An RPC that is a query: made by `read`."""

    rpc: str
    answer: Callable[[Message, Asked], Message]
    roles: frozenset[str]


def read(
    rpc: str, answer: Callable[[Q, Asked], Message], roles: frozenset[str]
) -> Read:
    """Declare an RPC that is a query. It runs in a thread and never writes.

    Requests carry `as_of` and `not_before` by convention; both are resolved before
    `answer` is called.
    """
    return Read(rpc, cast("Callable[[Message, Asked], Message]", answer), roles)


class Call(NamedTuple):
    """What surrounds a stream. `execute` writes in the caller's name.

    `views` is the service's own ViewSet, to wait on and to read from.
    """

    actor: Actor
    host: Host
    views: ViewSet
    now: Callable[[], datetime]
    execute: Callable[[Order], Written]


Serve = Callable[[AsyncIterator[Message], Call], AsyncIterator[Message]]


@dataclass(frozen=True)
class Stream:
    """An RPC with a stream in, or out, or both: made by `stream`."""

    rpc: str
    serve: Serve
    roles: frozenset[str]


def stream(
    rpc: str,
    serve: Callable[[AsyncIterator[Q], Call], AsyncIterator[A]],
    roles: frozenset[str],
) -> Stream:
    """Declare an RPC with streams. `requests` has one element for a server stream."""
    return Stream(rpc, cast("Serve", serve), roles)


@dataclass(frozen=True)
class Service:
    """`closing` is called when the process stops, before its store closes."""

    name: str
    descriptor: ServiceDescriptor
    writes: Sequence[Write] = ()
    reads: Sequence[Read] = ()
    streams: Sequence[Stream] = ()
    views: Sequence[AnyView] = ()
    reactors: Sequence[Reactor] = ()
    closing: Callable[[], None] = lambda: None

"""Event in, commands out, exactly once.

A reaction's commands carry ids derived from the event that caused them, so a redelivery
is answered, not repeated; the checkpoint is therefore only a saving of work, but it is
kept (`DIR/reactors/<service>.db`, not disposable): what a reaction once declined must
not be asked again of a later state. Reactors never run in a rebuild. A new one starts
at the head unless it declares otherwise.

A reactor reads its own service's views as of the very event it answers.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar, cast

import apsw

from modelkeep import rowstore
from modelkeep.clock import Clock
from modelkeep.decider import Actor, Command, Context, Decider
from modelkeep.errors import Conflict, Exhausted, Late, ModelkeepError, Unavailable
from modelkeep.events.base import Event
from modelkeep.ledger import Ledger, Order, body_hash, derived_command_id
from modelkeep.store.port import START, Filter, Recorded, Subscription
from modelkeep.viewfile import Halt
from modelkeep.views import AsOf, Fact, Reader, fact
from modelkeep.viewset import ViewSet

E = TypeVar("E", bound=Event)
_POSITION: Final = attrgetter("position")
log = logging.getLogger(__name__)

POLL_S: Final = 0.5
WAIT_S: Final = 30.0
ISSUER: Final = "modelkeep"


@dataclass(frozen=True)
class Reaction:
    """A command a reactor wants done, on `stream`.

    `tenant` is the cause's unless given (the clock has none of its own).
    `effective_at` is the cause's unless given. `part` tells apart several commands of
    one kind on one stream from one cause.
    """

    stream: str
    decider: Decider
    command: Command
    tenant: str | None = None
    effective_at: datetime | None = None
    part: str = ""


React = Callable[[Event, Fact, Reader], Iterable[Reaction]]


class Reactor:
    """Declared at module level, like a view. `name` is part of every id: never rename.

    overdue = Reactor("debt.overdue-reviews")

    @overdue.on(ReviewOverdue)
    def incur(event: ReviewOverdue, fact: Fact, read: Reader) -> Iterable[Reaction]: ...
    """

    def __init__(self, name: str, *, from_start: bool = False) -> None:
        self.name, self.from_start = name, from_start
        self.reacts: dict[str, React] = {}
        self._streams: dict[str, str] = {}

    def wants(self, event: str, stream: str) -> bool:
        return event in self.reacts and stream.startswith(self._streams[event])

    def on(
        self, event: type[E], *, streams: str = ""
    ) -> Callable[
        [Callable[[E, Fact, Reader], Iterable[Reaction]]],
        Callable[[E, Fact, Reader], Iterable[Reaction]],
    ]:
        """React to events on streams whose name begins with `streams`; to others not
        at all, and at no cost.
        """

        def register(
            react: Callable[[E, Fact, Reader], Iterable[Reaction]],
        ) -> Callable[[E, Fact, Reader], Iterable[Reaction]]:
            if event.event_name in self.reacts:
                raise TypeError(f"{self.name} reacts to {event.event_name} twice")
            self.reacts[event.event_name] = cast("React", react)
            self._streams[event.event_name] = streams
            return react

        return register


class Reacted(Protocol):
    """What others are told of a reaction that was refused."""

    def __call__(self, reactor: str, cause: Fact, error: ModelkeepError) -> None: ...


def _log_refusal(reactor: str, cause: Fact, error: ModelkeepError) -> None:
    log.info("%s: %s after %s", reactor, error, cause.id)


@dataclass
class ReactorSet:
    """All reactors of one service, in one thread, with one checkpoint each."""

    name: str
    reactors: Sequence[Reactor]
    ledger: Ledger
    views: ViewSet
    clock: Clock
    path: Path
    refused: Reacted = _log_refusal
    halt: Halt | None = None
    _position: int = START
    _moved: threading.Condition = field(default_factory=threading.Condition)
    _closing: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _following: Subscription | None = None

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = apsw.Connection(str(self.path))
        self._file.execute(
            """
            pragma journal_mode=wal; pragma synchronous=full;
            create table if not exists checkpoints(
              reactor text primary key, position integer not null
            ) without rowid
            """
        ).fetchall()
        head = self.ledger.store.head()
        with self._file:
            self._file.executemany(
                "insert or ignore into checkpoints values(?, ?)",
                [(r.name, START if r.from_start else head) for r in self.reactors],
            )
        self._checkpoints: dict[str, int] = dict(
            self._file.execute("select * from checkpoints")
        )
        mine = [self._checkpoints[r.name] for r in self.reactors]
        self._position = min(mine, default=head)

    @property
    def position(self) -> int:
        """Everything at or before it has been answered."""
        return self._position if self.reactors else self.views.position

    def wait_for(self, position: int, timeout: float) -> None:
        """Return once everything at or before `position` is answered; else Late."""
        if not self.reactors:
            return self.views.wait_for(position, timeout)
        deadline = time.monotonic() + timeout
        with self._moved:
            while self._position < position:
                if self.halt is not None:
                    raise Unavailable(
                        f"the reactors of {self.name} halted: {self.halt}"
                    )
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Late(f"the reactors of {self.name} are at {self._position}")
                self._moved.wait(min(left, POLL_S))
        return None

    def start(self) -> Self:
        if not self.reactors:
            return self
        self._thread = threading.Thread(
            target=self._run, name=f"reactors-{self.name}", daemon=True
        )
        self._thread.start()
        return self

    def _run(self) -> None:
        names = tuple(sorted({name for r in self.reactors for name in r.reacts}))
        store, only = self.ledger.store, Filter("name", names)
        with store.subscribe(after=self._position, only=only) as following:
            self._following = following
            while not self._closing.is_set():
                try:
                    batch = following.poll(POLL_S)
                    for recorded in sorted(batch.events, key=_POSITION):
                        self._insist(recorded)
                        if self._closing.is_set():
                            return
                    self._reach(batch.position, keep=bool(batch.events))
                except Unavailable as error:
                    if self._closing.is_set():
                        return
                    log.warning("reactors of %s wait: %s", self.name, error)
                    self._closing.wait(POLL_S)
                except Exception as error:
                    log.exception("the reactors of %s halted", self.name)
                    self._stop(Halt(self._position, type(error).__name__, f"{error}"))
                    return

    def _stop(self, halt: Halt) -> None:
        with self._moved:
            self.halt = halt
            self._moved.notify_all()

    def _insist(self, recorded: Recorded) -> None:
        # The next batch would pass over what was not answered in this one.
        while not self._closing.is_set():
            try:
                return self._answer(recorded)
            except Unavailable as error:
                log.warning("reactors of %s wait: %s", self.name, error)
                self._closing.wait(POLL_S)
        return None

    def _answer(self, recorded: Recorded) -> None:
        reactors = [
            r
            for r in self.reactors
            if r.wants(recorded.name, recorded.stream)
            and self._checkpoints[r.name] < recorded.position
        ]
        if not reactors:
            return
        cause = fact(recorded)
        self._wait_for_views(cause.position)
        for reactor in reactors:
            react = reactor.reacts[cause.event.event_name]
            with self.views.reader(cause.tenant, AsOf(cause.position)) as read:
                reactions = list(react(cause.event, cause, read))
            for reaction in reactions:
                self._order(reactor.name, cause, reaction)

    def _wait_for_views(self, position: int) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(Late):
                self.views.wait_for(position, POLL_S)
                return

    def _order(self, reactor: str, cause: Fact, reaction: Reaction) -> None:
        command = type(reaction.command).__name__ + reaction.part
        tenant = cause.tenant if reaction.tenant is None else reaction.tenant
        order = Order(
            stream=reaction.stream,
            decider=reaction.decider,
            command=reaction.command,
            context=Context(
                actor=Actor(
                    ISSUER, reactor, frozenset({"reactor"}), tenant, human=False
                ),
                now=max(self.clock.now(), cause.known_at),
                effective_at=reaction.effective_at or cause.effective_at,
                command_id=derived_command_id(
                    cause.id, reactor, reaction.stream, command
                ),
                cause=str(cause.id),
            ),
            body_hash=body_hash(reaction.command),
        )
        while not self._closing.is_set():
            try:
                self.ledger.execute(order)
            except (Conflict, Exhausted, Unavailable) as error:
                # Not answered yet: the same id is asked again until it is.
                log.warning("%s tries again: %s", reactor, error)
                self._closing.wait(POLL_S)
            except ModelkeepError as error:
                return self.refused(reactor, cause, error)
            else:
                return None
        return None

    def _reach(self, position: int, *, keep: bool) -> None:
        """Without `keep` nothing was answered, so nothing is lost by looking again."""
        if position <= self._position or self._closing.is_set():
            return
        if keep:
            self._keep(position)
        for reactor in self.reactors:
            name = reactor.name
            self._checkpoints[name] = max(self._checkpoints[name], position)
        with self._moved:
            self._position = position
            self._moved.notify_all()

    def _keep(self, position: int) -> None:
        with rowstore.transaction(self._file):
            self._file.executemany(
                "update checkpoints set position = max(position, ?) where reactor = ?",
                [(position, r.name) for r in self.reactors],
            )

    def leave(self) -> None:
        """Begin to stop, and wait for nothing: `close` does."""
        self._closing.set()
        if self._following is not None:
            self._following.close()  # it waits for news: half a second, say

    def close(self) -> None:
        self.leave()
        if self._thread is not None:
            self._thread.join()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

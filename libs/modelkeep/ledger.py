"""The only way to write: load a stream, decide, append; answer every command once.

A fold is a stream's state as its decider sees it, and beside it (not in the domain) the
ids of the commands that made it. A known id is answered with its first result before
`decide` runs. Folds are cached and never trusted blindly: whatever would be refused, or
change nothing, is decided again on a fold that was just caught up, and the append's
expected version catches the rest.

Commands on one stream take turns within a process, so only another process can make
one lose; it then reloads and decides again, at most `MAX_ATTEMPTS` times.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from hashlib import sha1
from typing import Final, NamedTuple, Self
from uuid import NAMESPACE_OID, UUID, uuid5

from modelkeep.decider import Actor, Command, Context, Decider
from modelkeep.errors import AlreadyExists, Conflict, ModelkeepError, WrongVersion
from modelkeep.events.base import Event, decode, encode
from modelkeep.proof.note import SigningKey
from modelkeep.proof.writers import Signable, sign_append
from modelkeep.store.port import (
    NO_STREAM,
    START,
    Appended,
    NewEvent,
    Recognised,
    Recorded,
    Store,
)

_json: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

MAX_ATTEMPTS: Final = 5
CACHED_FOLDS: Final = 8_192
EVENT_IDS: Final = uuid5(NAMESPACE_OID, "modelkeep.event")
COMMAND_IDS: Final = uuid5(NAMESPACE_OID, "modelkeep.command")


class Written(NamedTuple):
    """A command's one answer. `replayed`: it had been answered before. Not `changed`:
    there was nothing to do, and nothing was stored.
    """

    position: int
    revision: int
    replayed: bool = False
    changed: bool = True


@dataclass(frozen=True)
class Order:
    """A command on its way. `body_hash` tells two bodies of one id apart."""

    stream: str
    decider: Decider
    command: Command
    context: Context
    body_hash: str
    expected_revision: int | None = None


@dataclass
class Fold:
    """A stream as known so far."""

    state: object
    version: int = NO_STREAM
    position: int = START
    answers: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def take(
        self, recorded: Recorded, evolve: Callable[[object, Event], object]
    ) -> None:
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        self.state = evolve(self.state, event)
        self.version, self.position = recorded.version, recorded.position
        meta = recorded.meta
        if (command_id := meta.get("command_id")) is not None:
            self.remember(command_id, meta.get("body_hash", ""))

    def remember(self, command_id: str, body_hash: str) -> None:
        self.answers[command_id] = (body_hash, self.position, self.version)

    def answer(self, order: Order) -> Written | None:
        """Give the first result of a known command id, and refuse another body."""
        known = self.answers.get(order.context.command_id)
        if known is None:
            return None
        body_hash, position, version = known
        if body_hash != order.body_hash:
            raise AlreadyExists(
                f"request id {order.context.command_id} was used for another request"
            )
        return Written(position, version, replayed=True)


@dataclass(slots=True)
class _Job:
    order: Order
    future: Future[Written] = field(default_factory=Future)
    attempts: int = 0


class Ledger:
    """Thread-safe. `submit` never waits for the disk; `execute` does.

    `signer` is the writer's key: every append is signed once.
    """

    def __init__(self, store: Store, *, signer: SigningKey | None = None) -> None:
        self.store = store
        self._signer = signer
        self._folds: OrderedDict[str, Fold] = OrderedDict()
        # A lane is a stream with a command under way, and those waiting behind it.
        self._lanes: dict[str, deque[_Job]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="ledger")

    def execute(self, order: Order) -> Written:
        return self.submit(order).result()

    def submit(self, order: Order) -> Future[Written]:
        """Decide now, or when the commands before it on this stream are done.

        The future holds Written, or raises what `decide` raised, AlreadyExists,
        Conflict, or what the store raised (after Unavailable: retry the same id).
        """
        job = _Job(order)
        with self._lock:
            lane = self._lanes.get(order.stream)
            if lane is not None:
                lane.append(job)
                return job.future
            self._lanes[order.stream] = deque()
        self._attempt(job)
        return job.future

    def close(self) -> None:
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attempt(self, job: _Job) -> None:
        try:
            fold = self._fold(job.order)
            done, events = self._decide(job.order, fold)
            if done is not None:
                self._finish(job, done)
            else:
                self._append(job, fold, events)
        except BaseException as error:  # noqa: BLE001  # whoever waits must be told
            self._finish(job, error)

    def _decide(
        self, order: Order, fold: Fold
    ) -> tuple[Written | None, Sequence[Event]]:
        """Return an answer, or the events that would become one."""
        for last_look in (False, True):
            if (answer := fold.answer(order)) is not None:
                return answer, ()
            try:
                self._check_revision(order, fold)
                events = order.decider.decide(order.command, fold.state, order.context)
            except ModelkeepError:
                # The refusal may rest on a fold that the stream has outrun.
                if last_look or not self._catch_up(order, fold):
                    raise
                continue
            if events:
                return None, events
            if last_look or not self._catch_up(order, fold):
                return Written(fold.position, fold.version, changed=False), ()
        raise AssertionError("unreachable")

    @staticmethod
    def _check_revision(order: Order, fold: Fold) -> None:
        expected = order.expected_revision
        if expected is not None and expected != fold.version:
            raise Conflict(order.stream, expected, fold.version)

    def _append(self, job: _Job, fold: Fold, events: Sequence[Event]) -> None:
        order = job.order
        # Before it is written: an event its own stream cannot read must not exist.
        state = fold.state
        for event in events:
            state = order.decider.evolve(state, event)
        written = self.store.submit(
            order.stream,
            self._encode(order, events, fold.version),
            expected=fold.version,
        )
        written.add_done_callback(partial(self._appended, job, fold, state))

    def _appended(
        self,
        job: _Job,
        fold: Fold,
        state: object,
        written: Future[Appended],
    ) -> None:
        error = written.exception()
        if error is None and isinstance(told := written.result(), Recognised):
            # The fold had not heard of the command. What was decided now is not what is
            # stored, so whoever comes next reads that.
            self._forget(job.order.stream)
            self._finish(job, Written(*told, replayed=True))
        elif error is None:
            fold.state = state
            fold.position, fold.version = written.result()
            fold.remember(job.order.context.command_id, job.order.body_hash)
            self._finish(job, Written(fold.position, fold.version))
        elif isinstance(error, WrongVersion):
            self._pool.submit(self._again, job, fold)
        else:
            # What the store holds is now unknown, so the fold is too.
            self._forget(job.order.stream)
            self._finish(job, error)

    def _again(self, job: _Job, fold: Fold) -> None:
        order = job.order
        job.attempts += 1
        try:
            self._catch_up(order, fold)
            if fold.answer(order) is None and job.attempts >= MAX_ATTEMPTS:
                raise Conflict(order.stream, fold.version, fold.version)
        except BaseException as error:  # noqa: BLE001  # whoever waits must be told
            self._finish(job, error)
        else:
            self._attempt(job)

    def _finish(self, job: _Job, outcome: Written | BaseException) -> None:
        with self._lock:
            lane = self._lanes[job.order.stream]
            following = lane.popleft() if lane else None
            if following is None:
                del self._lanes[job.order.stream]
        if following is not None:
            self._pool.submit(self._attempt, following)
        if isinstance(outcome, Written):
            job.future.set_result(outcome)
        else:
            job.future.set_exception(outcome)

    def _fold(self, order: Order) -> Fold:
        """Return the stream as remembered; one that is not is taken to be new.

        A wrong guess costs one look: a refusal is decided again on the caught-up fold,
        and an append that expects no stream fails where there is one, or is recognised
        as what that one began with.
        """
        with self._lock:
            fold = self._folds.get(order.stream)
            if fold is not None:
                self._folds.move_to_end(order.stream)
                return fold
            fold = self._folds[order.stream] = Fold(order.decider.initial)
            while len(self._folds) > CACHED_FOLDS:
                self._folds.popitem(last=False)
        return fold

    def _catch_up(self, order: Order, fold: Fold) -> bool:
        """Read what others wrote since; say whether there was anything."""
        before = fold.version
        for recorded in self.store.read_stream(order.stream, after=fold.version):
            fold.take(recorded, order.decider.evolve)
        return fold.version != before

    def _forget(self, stream: str) -> None:
        with self._lock:
            self._folds.pop(stream, None)

    def _encode(
        self, order: Order, events: Sequence[Event], version: int
    ) -> list[NewEvent]:
        common = _metadata(order)
        # One object for all events of a schema version: what hashes it does so once.
        metadata = {
            schema: f'{common},"schema_version":"{schema}"}}'.encode()
            for schema in {event.event_version for event in events}
        }
        # The body's hash too: another body of the same id must not look like a retry.
        seed = f"{order.stream}/{order.context.command_id}/{order.body_hash}"
        name = sha1(EVENT_IDS.bytes + seed.encode(), usedforsecurity=False)
        new = [
            NewEvent(
                _event_id(name, index),
                event.event_name,
                event.event_version,
                encode(event),
                metadata[event.event_version],
            )
            for index, event in enumerate(events)
        ]
        if self._signer is not None:
            told = [Signable(one.id.bytes, *one[1:]) for one in new]
            signed = sign_append(self._signer, order.stream, version + 1, told)
            new[-1] = new[-1]._replace(metadata=signed)
        return new


def _event_id(name: hashlib._Hash, index: int) -> UUID:
    """UUIDv5 of EVENT_IDS and `<name>/<index>`: `uuid5` would hash the name again."""
    whole = name.copy()
    whole.update(b"/%d" % index)
    return UUID(bytes=whole.digest()[:16], version=5)


def _metadata(order: Order) -> str:
    """All but the end of a flat JSON object of strings. `known_at` comes first: readers
    that need it alone can slice.
    """
    context = order.context
    known_at = stamp(context.now)
    same = context.effective_at is context.now
    effective_at = known_at if same else stamp(context.effective_at)
    command_id = _json(context.command_id)
    cause = context.cause
    return (
        f'{{"known_at":"{known_at}","effective_at":"{effective_at}",'
        f"{_credentials(context.actor)},"
        f'"command_id":{command_id},"body_hash":{_json(order.body_hash)},'
        f'"$correlationId":{command_id}'
        + ("" if cause is None else f',"$causationId":{_json(cause)}')
    )


@lru_cache(maxsize=1_024)
def _credentials(actor: Actor) -> str:
    said = {
        "tenant": actor.tenant,
        "actor_issuer": actor.issuer,
        "actor_subject": actor.subject,
        "actor_roles": ",".join(sorted(actor.roles)),
    }
    return _json(said)[1:-1]


def stamp(instant: datetime) -> str:
    """Write a moment in 27 characters that sort as time does."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def stream_name(category: str, tenant: str, key: str) -> str:
    """`<category>-<tenant>.<id>`: KurrentDB reads a category up to the first hyphen.

    Without a key it is a stream of the whole ledger, such as `clock`.
    """
    return f"{category}-{tenant}.{key}" if key else category


def body_hash(command: Command) -> str:
    """SHA-256 of a command's own bytes: what tells a retry from a reused id."""
    # Without defaults: a field added later must not make an old retry look new.
    body = command.__pydantic_serializer__.to_json(command, exclude_defaults=True)
    return hashlib.sha256(type(command).__name__.encode() + b"\n" + body).hexdigest()


def derived_command_id(cause: UUID, reactor: str, stream: str, command: str) -> str:
    """Name the command that `cause` makes of `reactor`: a redelivery names it again."""
    return str(uuid5(COMMAND_IDS, f"{cause}/{reactor}/{stream}/{command}"))

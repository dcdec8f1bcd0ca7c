"""Observe: batches in, gathered into objects, an acknowledgement for each once durable.

What belongs together (one actor, one schema) is gathered for 200 ms of real time or
64k rows, whatever comes first; a `flush`, or the end of a stream, ends the wait.
Everything here runs on the event loop; arrays and disks are for threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decider import Actor
from modelkeep.decisions.rows import Proof, Schema
from modelkeep.errors import Forbidden, Invalid, NotFound, Refused
from modelkeep.events.monitoring import Reading, ServedView, ViewContract
from modelkeep.service import Call
from modelkeep.store.port import NO_STREAM
from modelkeep.wire import checked
from modelkeep_services.monitoring import columns, known
from modelkeep_services.monitoring.arrays import instant
from modelkeep_services.monitoring.book import BatchAnswer, Books
from modelkeep_services.monitoring.record import (
    Part,
    Ready,
    answered,
    part,
    ready,
    record,
)
from modelkeep_services.monitoring.skew import served_views
from modelkeep_services.monitoring.telemetry import telemetry

GATHER_S: Final = 0.2
GATHER_ROWS: Final = columns.MAX_ROWS
UNACKNOWLEDGED: Final = 64
"""Batches of one stream that may wait; beyond, the sender does."""
IN_MEMORY: Final = 256
"""Batches of all streams that may wait: at most 256 MiB."""
WAIT_S: Final = 5.0
MOST_VERSIONS: Final = 1_024
"""Of which what is known is remembered."""

Acks = asyncio.Queue["tuple[str, asyncio.Future[BatchAnswer], bool] | None"]


class Key(NamedTuple):
    """What may share an object."""

    actor: Actor
    schema: Schema
    quarantined: bool
    proof: Proof


@dataclass(eq=False)
class Group:
    call: Call
    parts: list[Part] = field(default_factory=list)
    told: list[asyncio.Future[BatchAnswer]] = field(default_factory=list)
    rows: int = 0
    timer: asyncio.TimerHandle | None = None


class Observer:
    """Shared by all streams of a process."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._groups: dict[Key, Group] = {}
        self._under_way: dict[tuple[str, str, str], asyncio.Future[BatchAnswer]] = {}
        # The last write under way of each tenant's model.
        self._writing: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._room: asyncio.Semaphore | None = None
        # What was known of a version, and how far the views were then.
        self._read_at: dict[tuple[str, str, str, str], tuple[int, known.Known]] = {}

    async def observe(
        self, requests: AsyncIterator[pb.ObserveRequest], call: Call
    ) -> AsyncIterator[pb.ObserveResponse]:
        await asyncio.to_thread(see_all, call)
        acks: Acks = asyncio.Queue()
        room = asyncio.Semaphore(UNACKNOWLEDGED)
        reading = asyncio.create_task(self._read(requests, call, acks, room))
        try:
            while (ack := await acks.get()) is not None:
                batch, told, replayed = ack
                yield _response(batch, await asyncio.shield(told), replayed=replayed)
                room.release()
            await reading
        finally:
            reading.cancel()

    async def _read(
        self,
        requests: AsyncIterator[pb.ObserveRequest],
        call: Call,
        acks: Acks,
        room: asyncio.Semaphore,
    ) -> None:
        mine: dict[Key, None] = {}
        try:
            async for request in requests:
                await room.acquire()
                given = await self._checked(request, call)
                if isinstance(given, Part):
                    key = Key(
                        call.actor,
                        given.rows.schema,
                        given.quarantined,
                        given.known.proof,
                    )
                    mine[key] = None
                    told = await self._gather(key, given, call)
                    acks.put_nowait((given.batch, told, False))
                else:
                    batch = columns.uuid_of("batch", request.batch)
                    acks.put_nowait((batch, _told(given), True))
                if request.flush:
                    self._write_all(mine)
        finally:
            # Also after a refusal: what came before it is acknowledged first.
            self._write_all(mine)
            acks.put_nowait(None)

    async def _checked(
        self, request: pb.ObserveRequest, call: Call
    ) -> Part | BatchAnswer:
        """Return a batch that is new, or the answer it had, be it on its way."""
        given = await asyncio.to_thread(self._check, request, call)
        while isinstance(given, Part):
            of = call.actor.tenant, given.rows.schema.model
            under_way = self._under_way.get((*of, given.batch))
            if under_way is not None:
                await asyncio.wait([under_way])
            elif given.batch not in self._books.of(*of).sent:
                break
            given = await asyncio.to_thread(self._check, request, call)
        return given

    def _check(self, request: pb.ObserveRequest, call: Call) -> Part | BatchAnswer:
        """Parse a batch in a thread; return its first answer if it had one."""
        batch = columns.uuid_of("batch", request.batch)
        rows = columns.decisions(request)
        schema = rows.schema
        within(call, schema.model)
        book = self._books.of(call.actor.tenant, schema.model)
        about, served = self._about(call, schema), _served(request)
        said: Mapping[str, ViewContract] = {}
        if served:
            with call.views.reader(call.actor.tenant) as read:
                said = served_views(read, served)
        given = part(
            batch,
            rows,
            about,
            _readings(request),
            served,
            said,
            telemetry(request, len(rows)),
        )
        # Who records holds the lock while the disk works, and meets what others wrote:
        # so here it is waited for only where there may be an answer.
        if book.version != NO_STREAM and batch not in book.sent:
            return given
        with book.lock:
            book.catch_up()
            before = answered(book, given)
        return given if before is None else before

    def _about(self, call: Call, schema: Schema) -> known.Known:
        """Return what is known of the version. It is read once for all batches that
        come before the views move: they would all be told the same. Views that halted
        tell nobody.
        """
        if call.views.halt is not None:
            return _known(call, schema)
        at = call.views.position
        of = call.actor.tenant, schema.model, schema.version, schema.environment
        read = self._read_at.get(of)
        if read is None or read[0] != at:
            if len(self._read_at) >= MOST_VERSIONS:
                self._read_at.clear()
            read = self._read_at[of] = at, _known(call, schema)
        return read[1]

    async def _gather(
        self, key: Key, given: Part, call: Call
    ) -> asyncio.Future[BatchAnswer]:
        if self._room is None:
            self._room = asyncio.Semaphore(IN_MEMORY)
        await self._room.acquire()
        group = self._groups.get(key)
        if group is not None and group.rows + len(given.rows) > GATHER_ROWS:
            self._write(key)
            group = None
        if group is None:
            loop = asyncio.get_running_loop()
            group = self._groups[key] = Group(call)
            group.timer = loop.call_later(GATHER_S, self._write, key)
        told: asyncio.Future[BatchAnswer] = asyncio.get_running_loop().create_future()
        told.add_done_callback(_heard)
        group.parts.append(given)
        group.told.append(told)
        group.rows += len(given.rows)
        self._under_way[call.actor.tenant, key.schema.model, given.batch] = told
        return told

    def _write_all(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._write(key)

    def _write(self, key: Key) -> None:
        group = self._groups.pop(key, None)
        if group is None:
            return
        if group.timer is not None:
            group.timer.cancel()
        of = key.actor.tenant, key.schema.model
        task = asyncio.ensure_future(
            self._record(key, group, after=self._writing.get(of))
        )
        self._writing[of] = task
        task.add_done_callback(partial(self._written, of))

    def _written(self, of: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._writing.get(of) is task:
            del self._writing[of]

    async def _record(
        self, key: Key, group: Group, *, after: asyncio.Task[None] | None
    ) -> None:
        tenant, model = key.actor.tenant, key.schema.model
        made = await asyncio.to_thread(_made, group)
        if after is not None:
            # Objects of one model are recorded in the order in which they filled up.
            await asyncio.wait([after])
        outcomes = await asyncio.to_thread(self._store, tenant, model, group, made)
        for given, told, outcome in zip(group.parts, group.told, outcomes, strict=True):
            self._under_way.pop((tenant, model, given.batch), None)
            if self._room is not None:
                self._room.release()
            if isinstance(outcome, BatchAnswer):
                told.set_result(outcome)
            else:
                told.set_exception(outcome)

    def _store(
        self, tenant: str, model: str, group: Group, made: Ready | Exception
    ) -> list[BatchAnswer | Exception]:
        """All together; each alone when one of them cannot be had."""
        if isinstance(made, Exception):
            return [made for _ in group.parts]
        book = self._books.of(tenant, model)
        try:
            record(book, group.call, made)
        except Refused as refusal:
            if len(group.parts) == 1:
                return [refusal]
            return [self._alone(tenant, model, group, one) for one in group.parts]
        except Exception as error:  # noqa: BLE001  # whoever waits must be told
            return [error for _ in group.parts]
        return [book.sent[one.batch] for one in group.parts]

    def _alone(
        self, tenant: str, model: str, group: Group, one: Part
    ) -> BatchAnswer | Exception:
        book = self._books.of(tenant, model)
        try:
            record(book, group.call, ready(group.call, [one]))
        except Exception as error:  # noqa: BLE001  # whoever waits must be told
            return error
        return book.sent[one.batch]


def _made(group: Group) -> Ready | Exception:
    try:
        return ready(group.call, group.parts)
    except Exception as error:  # noqa: BLE001  # whoever waits must be told
        return error


def see_all(call: Call) -> None:
    """Wait until this service's views have seen all that was acknowledged so far."""
    call.views.wait_for(call.host.store.head(), WAIT_S)


def within(call: Call, model: str) -> None:
    """Keep a serving credential to its own models."""
    if call.actor.models and model not in call.actor.models:
        raise Forbidden(f"{call.actor.subject} may not act on {model}")


def _known(call: Call, schema: Schema) -> known.Known:
    asked = schema.model, schema.version, schema.environment
    with call.views.reader(call.actor.tenant) as read:
        try:
            return known.of_version(read, *asked)
        except NotFound:
            pass
    # It may have been registered a moment ago.
    see_all(call)
    with call.views.reader(call.actor.tenant) as read:
        return known.of_version(read, *asked)


def _readings(request: pb.ObserveRequest) -> list[Reading]:
    found = []
    for reading in request.readings:
        if not 0 < len(reading.feed) <= columns.MAX_NAME:
            raise Invalid.field("readings.feed", "is not a name")
        if not columns.EARLIEST <= reading.last_at <= columns.LATEST:
            raise Invalid.field(
                "readings.last_at", "is not in microseconds between 1970 and 9999"
            )
        found.append(Reading(feed=reading.feed, last_at=instant(reading.last_at)))
    return found


def _served(request: pb.ObserveRequest) -> list[ServedView]:
    found = []
    for view in request.feature_views:
        if not columns.EARLIEST <= view.materialized_at <= columns.LATEST:
            raise Invalid.field(
                "feature_views.materialized_at",
                "is not in microseconds between 1970 and 9999",
            )
        given = {"node": view.node, "materialized_at": instant(view.materialized_at)}
        found.append(checked(ServedView, given))
    return found


def _told(answer: BatchAnswer) -> asyncio.Future[BatchAnswer]:
    told: asyncio.Future[BatchAnswer] = asyncio.get_running_loop().create_future()
    told.set_result(answer)
    return told


def _heard(told: asyncio.Future[BatchAnswer]) -> None:
    # A sender that went away leaves a refusal unheard; asyncio need not say so.
    if not told.cancelled():
        told.exception()


def _response(batch: str, answer: BatchAnswer, *, replayed: bool) -> pb.ObserveResponse:
    return pb.ObserveResponse(
        batch=batch,
        replayed=replayed,
        position=answer.position,
        object=answer.object,
        root=answer.root,
        first_row=answer.first_row,
        rows=answer.rows,
        breaches=answer.breaches,
        quarantined=answer.quarantined,
    )

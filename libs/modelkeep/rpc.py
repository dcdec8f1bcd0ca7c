"""gRPC around the services: one guard for every call, and errors said richly.

The guard, in this order: a deadline, who is asking, may they, then the call; its
duration is measured and a refusal is given its status. Nothing else stands between the
wire and a service's table (`service.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, NoReturn, TypeVar, cast
from uuid import UUID

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure
from google.rpc.status_pb2 import Status
from opentelemetry import propagate

from modelkeep import bounds, errors, telemetry, wire
from modelkeep.api.common.v1.common_pb2 import AsOf as AsOfMessage
from modelkeep.bridge import Bridge
from modelkeep.decider import Actor, Command, Context
from modelkeep.errors import (
    Exhausted,
    Forbidden,
    Invalid,
    ModelkeepError,
    Unauthenticated,
)
from modelkeep.identity import Gatekeeper, Identity, require
from modelkeep.ledger import Order, Written, body_hash, stream_name
from modelkeep.service import (
    CALLER,
    Asked,
    Call,
    Host,
    Read,
    Service,
    Stream,
    Write,
)
from modelkeep.views import NOW, AsOf, Reader
from modelkeep.viewset import ViewSet

E = TypeVar("E", bound=Exception)
log = logging.getLogger(__name__)

DOMAIN: Final = "modelkeep"
MAX_MESSAGE_BYTES: Final = 1 << 20
MAX_CALLS: Final = 1_024
"""Calls under way in a process. Health is not counted: it is asked in need."""
MAX_HELD: Final = 4_096
"""The same with those whose request has not come yet, and with health."""
MAX_DEADLINE_S: Final = 30.0
NOT_BEFORE_S: Final = 5.0
CENTURIES_S: Final = 1e9
MAX_PERSONAL: Final = 1_000
CANONICAL_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

STATUS: Final[dict[type[ModelkeepError], grpc.StatusCode]] = {
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Refused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.WrongVersion: grpc.StatusCode.ABORTED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DiskFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Late: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Corrupt: grpc.StatusCode.DATA_LOSS,
}

OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # or two servers share a port in silence
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", 256),
    # Beyond 1,000 calls that wait to be seen it would say CANCELLED to some; what is
    # too much is for the guard to say.
    ("grpc.server.max_pending_requests", 8_192),
    ("grpc.server.max_pending_requests_hard_limit", 16_384),
    ("grpc.compression_enabled_algorithms_bitset", 1),  # none: no bombs
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_connection_idle_ms", 300_000),
)

Context_ = grpc.aio.ServicerContext[Message, Message]
Handle = Callable[[Message, Identity, float], Awaitable[Message]]


@dataclass
class Rpc:
    """Builds the handlers of a process: `add` each service, then start the server."""

    gatekeeper: Gatekeeper
    executor: Executor
    bridge: Bridge = field(default_factory=Bridge)
    under_way: int = 0

    def handler(
        self, service: Service, host: Host, views: ViewSet
    ) -> grpc.GenericRpcHandler:
        """Make a service's methods. Raises TypeError when table and proto differ."""
        rows: list[Write | Read | Stream] = [*service.writes, *service.reads]
        table = {row.rpc: row for row in [*rows, *service.streams]}
        methods = {method.name: method for method in service.descriptor.methods}
        if table.keys() != methods.keys():
            raise TypeError(
                f"{service.descriptor.full_name}: the proto and the table differ in "
                f"{sorted(table.keys() ^ methods.keys())}"
            )
        return grpc.method_handlers_generic_handler(
            service.descriptor.full_name,
            {
                name: self._method(methods[name], row, host, views)
                for name, row in table.items()
            },
        )

    def _method(
        self,
        method: MethodDescriptor,
        row: Write | Read | Stream,
        host: Host,
        views: ViewSet,
    ) -> grpc.RpcMethodHandler[Message, Message]:
        asks = GetMessageClass(method.input_type)
        answers = GetMessageClass(method.output_type)
        match row:
            case Write():
                handle = partial(self._write, row, host, views, answers)
            case Read():
                handle = partial(self._read, row, host, views)
            case Stream():
                return self._stream(method, row, host, views, asks)
        return grpc.unary_unary_rpc_method_handler(
            self.unary(method.full_name, row.roles, handle),
            request_deserializer=_parser(asks),
            response_serializer=_serialize,
        )

    def unary(
        self, name: str, roles: frozenset[str], handle: Handle
    ) -> Callable[[Message, Context_], Awaitable[Message]]:
        """Put `handle` behind the guard."""
        attributes = {"rpc.system": "grpc", "rpc.method": name}

        async def behave(
            request: Message | ModelkeepError, context: Context_
        ) -> Message:
            started, code = time.perf_counter(), "OK"
            self.under_way += 1
            try:
                with _span(name, context):
                    self._refuse_a_flood()
                    if isinstance(request, ModelkeepError):
                        raise request
                    left = _deadline(context)
                    identity = await self._identify(context)
                    require(identity.actor, roles, name)
                    return await handle(request, identity, left)
            except ModelkeepError as error:
                code = status_of(error).name
                del request
                await _abort(context, _bare(error))
            except Exception as error:
                code = "INTERNAL"
                log.exception("%s failed", name)
                del request
                _bare(error)
                await _break(context, name)
            finally:
                self.under_way -= 1
                elapsed = time.perf_counter() - started
                telemetry.rpc_duration.record(
                    elapsed, {**attributes, "rpc.response.status_code": code}
                )

        return behave

    def _refuse_a_flood(self) -> None:
        if self.under_way > MAX_CALLS:
            raise Exhausted(f"{MAX_CALLS} calls are under way: ask again in a while")

    async def _identify(self, context: Context_) -> Identity:
        token = _bearer(context)
        identity = self.gatekeeper.recall(token)
        if identity is None:
            # Verification may fetch an issuer's keys: not on the event loop.
            loop = asyncio.get_running_loop()
            identity = await loop.run_in_executor(
                self.executor, self.gatekeeper.identify, token
            )
        return identity

    async def _write(
        self,
        row: Write,
        host: Host,
        views: ViewSet,
        answers: type[Message],
        request: Message,
        identity: Identity,
        left: float,
    ) -> Message:
        order, key = _order(row, host, request, identity.actor)
        if row.prepare is not None:
            loop = asyncio.get_running_loop()
            order = await loop.run_in_executor(
                self.executor, _prepare, row.prepare, host, views, order, left
            )
        answer = await _submit(self.bridge, host, answers, order, key)
        if row.respond is not None:
            await asyncio.get_running_loop().run_in_executor(
                self.executor, _respond, row.respond, host, views, order, answer
            )
        return answer

    async def _read(
        self,
        row: Read,
        host: Host,
        views: ViewSet,
        request: Message,
        identity: Identity,
        left: float,
    ) -> Message:
        bounds.check(request)

        def answer() -> Message:
            _wait(views, request, left)
            actor = identity.actor
            with views.reader_of(actor.tenant, partial(_as_of, request)) as read:
                return row.answer(request, Asked(actor, host.clock.now(), read, host))

        return await asyncio.get_running_loop().run_in_executor(self.executor, answer)

    def _stream(
        self,
        method: MethodDescriptor,
        row: Stream,
        host: Host,
        views: ViewSet,
        asks: type[Message],
    ) -> grpc.RpcMethodHandler[Message, Message]:
        name = method.full_name
        attributes = {"rpc.system": "grpc", "rpc.method": name}

        async def behave(
            requests: AsyncIterator[Message] | Message | ModelkeepError,
            context: Context_,
        ) -> AsyncIterator[Message]:
            started, code = time.perf_counter(), "OK"
            self.under_way += 1
            try:
                self._refuse_a_flood()
                identity = await self._identify(context)
                require(identity.actor, row.roles, name)
                call = Call(
                    identity.actor,
                    host,
                    views,
                    host.clock.now,
                    partial(_execute, host, identity.actor),
                )
                if isinstance(requests, ModelkeepError):
                    raise requests
                given = _one(requests) if isinstance(requests, Message) else requests
                given = _readable(given)
                async for message in _until(identity.expires, row.serve(given, call)):
                    yield message
            except TimeoutError:
                code = "UNAUTHENTICATED"
                await _abort(context, Unauthenticated("the token has expired"))
            except ModelkeepError as error:
                code = status_of(error).name
                await _abort(context, _bare(error))
            except Exception as error:
                code = "INTERNAL"
                log.exception("%s failed", name)
                _bare(error)
                await _break(context, name)
            finally:
                self.under_way -= 1
                elapsed = time.perf_counter() - started
                telemetry.rpc_duration.record(
                    elapsed, {**attributes, "rpc.response.status_code": code}
                )

        make = (
            grpc.stream_stream_rpc_method_handler
            if method.client_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make(
            behave,
            request_deserializer=_parser(asks),
            response_serializer=_serialize,
        )


def _parser(asks: type[Message]) -> Callable[[bytes], Message]:
    def parse(raw: bytes) -> Message | ModelkeepError:
        try:
            return asks.FromString(raw)
        except DecodeError:
            # Left to the guard to raise: from here gRPC would only say INTERNAL.
            return Invalid.field("request", f"is not a {asks.DESCRIPTOR.full_name}")

    return cast("Callable[[bytes], Message]", parse)


def status_of(error: ModelkeepError) -> grpc.StatusCode:
    """An error's own status, or that of the nearest above it in the tree."""
    known = (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return next(known, grpc.StatusCode.INTERNAL)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


async def _readable(
    requests: AsyncIterator[Message | ModelkeepError],
) -> AsyncIterator[Message]:
    async for request in requests:
        if isinstance(request, ModelkeepError):
            raise request
        yield request


async def _until(
    expires: float, messages: AsyncIterator[Message]
) -> AsyncIterator[Message]:
    """A stream ends, with TimeoutError, when the credential that opened it does."""
    while (left := expires - time.time()) > 0:
        try:
            # Around no `yield`: it would be gRPC that is cancelled while it sends.
            async with asyncio.timeout(left):
                message = await anext(messages)
        except StopAsyncIteration:
            return
        yield message
    raise TimeoutError


async def _one(request: Message) -> AsyncIterator[Message]:
    yield request


# --- writes ------------------------------------------------------------------------


def _prepare(
    prepare: Callable[[Command, Asked], Command],
    host: Host,
    views: ViewSet,
    order: Order,
    left: float,
) -> Order:
    head = host.store.head()
    views.wait_for(head, min(left, NOT_BEFORE_S))
    actor, now = order.context.actor, order.context.now
    with views.reader(actor.tenant, AsOf(head)) as read:
        asked = Asked(actor, now, read, host, head, order.context.command_id)
        command = prepare(order.command, asked)
    return replace(order, command=command)


def _respond(
    respond: Callable[[Message, Command, Asked], None],
    host: Host,
    views: ViewSet,
    order: Order,
    answer: Message,
) -> None:
    # As of the write itself, so that a retry is told what the first call was told.
    position: int = answer.written.position  # type: ignore[attr-defined]  # every write's answer has one
    views.wait_for(position, NOT_BEFORE_S)
    actor, now = order.context.actor, order.context.now
    with views.reader(actor.tenant, AsOf(position)) as read:
        respond(answer, order.command, Asked(actor, now, read, host, position))


async def _submit(
    bridge: Bridge, host: Host, answers: type[Message], order: Order, key: str
) -> Message:
    started = time.perf_counter()
    written = await bridge.cross(host.ledger.submit(order))
    telemetry.append_duration.record(time.perf_counter() - started)
    answer = answers()
    receipt = answer.written  # type: ignore[attr-defined]  # every write's answer has one
    receipt.position, receipt.revision = written.position, written.revision
    receipt.replayed, receipt.changed, receipt.id = (
        written.replayed,
        written.changed,
        key,
    )
    return answer


def _order(row: Write, host: Host, request: Message, actor: Actor) -> tuple[Order, str]:
    found = wire.values(request)
    envelope = {name: found.pop(name, None) for name in wire.ENVELOPE}
    command_id = _request_id(envelope["request_id"])
    plain = _seal(row, host, actor, found)
    command = wire.checked(row.command, found)
    now = host.clock.now()
    effective = cast("datetime | None", envelope["effective_at"]) or now
    context = Context(actor, now, effective, command_id)
    target = row.target(command, context)
    _bounded(actor, target.key if target.model is None else target.model)
    expected = cast("int | None", envelope["expected_revision"])
    return Order(
        stream_name(target.category, actor.tenant, target.key),
        row.decider,
        command,
        context,
        _by(actor, _sealed_hash(command, plain) if plain else body_hash(command)),
        expected,
    ), target.key


def _request_id(given: object) -> str:
    if isinstance(given, str) and CANONICAL_UUID.fullmatch(given):
        return given
    try:
        return str(UUID(str(given or "")))
    except ValueError:
        raise Invalid.field(
            "request_id", "must be a UUID, chosen by the caller"
        ) from None


def _bounded(actor: Actor, key: str) -> None:
    """Keep a serving credential to its own models."""
    if actor.models and key and key.split("/", maxsplit=1)[0] not in actor.models:
        raise Forbidden(f"{actor.subject} may not act on {key}")


def _seal(
    row: Write, host: Host, actor: Actor, found: dict[str, object]
) -> dict[str, str]:
    """Replace personal fields by their ciphertext; return their pseudonyms, and those
    of whoever is named.
    """
    names: dict[str, str] = {}
    for name, (whose, purpose) in row.sealed.items():
        subject = actor.subject if whose == CALLER else found.get(whose)
        text = found.get(name)
        if not isinstance(text, str) or not isinstance(subject, str):
            continue
        if len(text) > MAX_PERSONAL:
            raise Invalid.field(name, f"is longer than {MAX_PERSONAL} characters")
        found[name] = host.keystore.seal(actor.tenant, subject, purpose, name, text)
        names[name] = host.keystore.pseudonym(actor.tenant, subject, purpose, text)
    for name in row.named:
        if isinstance(said := found.get(name), str):
            names[name] = host.keystore.name_of(actor.tenant, said)
    return names


def _by(actor: Actor, said: str) -> str:
    """Who asked belongs to what was asked: another's use of an id is no retry."""
    return hashlib.sha256(
        f"{actor.issuer}\n{actor.subject}\n{said}".encode()
    ).hexdigest()


def _sealed_hash(command: Command, names: dict[str, str]) -> str:
    """Tell bodies apart although each sealing differs: by what was sealed."""
    body = command.model_dump(mode="json", exclude_defaults=True) | names
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _execute(host: Host, actor: Actor, order: Order) -> Written:
    if order.context.actor != actor:
        raise Forbidden("a stream writes in its caller's name only")
    return host.ledger.execute(order)


# --- reads -------------------------------------------------------------------------


def _wait(views: ViewSet, request: Message, left: float) -> None:
    not_before = getattr(request, "not_before", 0)
    if not_before:
        views.wait_for(not_before, min(left, NOT_BEFORE_S))


def _as_of(request: Message, read: Reader) -> AsOf:
    asked: AsOfMessage | None = getattr(request, "as_of", None)
    if asked is None:
        return NOW
    match asked.WhichOneof("moment"):
        case "position":
            if asked.position < 0:
                raise Invalid.field("as_of.position", "is negative")
            return AsOf(asked.position)
        case "time":
            try:
                return read.when(asked.time.ToDatetime(tzinfo=UTC))
            except (ValueError, OverflowError):
                raise Invalid.field("as_of.time", "is not a time") from None
    return NOW


# --- the guard's parts -------------------------------------------------------------


def _deadline(context: Context_) -> float:
    left = cast("float | None", context.time_remaining())
    if left is None or left > CENTURIES_S:  # gRPC says "none" in either way
        raise Invalid.field("deadline", "is compulsory: set a timeout on the call")
    return min(left, MAX_DEADLINE_S)


def _bearer(context: Context_) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer":
                return token.strip()
    raise Unauthenticated("no bearer token came with the call")


def _span(name: str, context: Context_) -> telemetry.Span:
    carrier = {
        key: value
        for key, value in context.invocation_metadata() or ()
        if key in {"traceparent", "tracestate"} and isinstance(value, str)
    }
    parent = propagate.extract(carrier) if carrier else None
    return telemetry.span(name, parent)


def _bare(error: E) -> E:
    """Let go of how an error came about. gRPC keeps it in a cycle, with every frame and
    the request in it: refused requests would add up until cycles are sought.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


async def _break(context: Context_, name: str) -> NoReturn:
    # What a mistake of ours says is for our log: gRPC would tell the caller.
    await context.abort(grpc.StatusCode.INTERNAL, f"{name} failed; the log says why")
    raise AssertionError("abort does not return")


async def _abort(context: Context_, error: ModelkeepError) -> NoReturn:
    code = status_of(error)
    status = Status(
        # Not by google.rpc.Code: kurrentdbclient carries that proto under another name,
        # and a process cannot hold both.
        code=code.value[0],
        message=str(error),
        details=[_packed(detail) for detail in _details(error)],
    )
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, str(error), trailing)
    raise AssertionError("abort does not return")


def _details(error: ModelkeepError) -> Iterable[Message]:
    match error:
        case Invalid():
            yield BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=v.field, description=v.description)
                    for v in error.violations
                ]
            )
        case errors.Conflict():
            yield ErrorInfo(
                reason="REVISION_CONFLICT",
                domain=DOMAIN,
                metadata={"current_revision": str(error.current)},
            )
        case errors.Refused():
            yield PreconditionFailure(
                violations=[
                    PreconditionFailure.Violation(
                        type=error.rule, subject=error.subject, description=str(error)
                    )
                ]
            )
        case _:
            yield ErrorInfo(reason=type(error).__name__.upper(), domain=DOMAIN)


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def descriptor(full_name: str) -> ServiceDescriptor:
    """Find a service in what the generated modules have registered."""
    return descriptor_pool.Default().FindServiceByName(full_name)

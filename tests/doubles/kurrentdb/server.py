"""The double's server: KurrentDB's Streams and Gossip services over its log.

It tests our side, not KurrentDB. It listens on loopback; the unmodified
`kurrentdbclient` talks to it. Built: Append, BatchAppend, Read in all its forms,
Delete, Tombstone and the gossip of one node. Not built: the second protocol, persistent
subscriptions, projections, link resolution.
"""

from __future__ import annotations

import base64
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Final, NoReturn, Self
from uuid import UUID, uuid4

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message
from kurrentdbclient.protos.v1 import (
    gossip_pb2,
    gossip_pb2_grpc,
    shared_pb2,
    status_pb2,
    streams_pb2,
    streams_pb2_grpc,
)
from tests.doubles.kurrentdb.log import (
    ANY,
    EXISTS,
    NO_STREAM,
    Decision,
    Log,
    Outcome,
    Proposed,
    Record,
)

MAX_RECORD: Final = 16 << 20
MAX_MESSAGE: Final = (16 << 20) - 10_000
Options = streams_pb2.ReadReq.Options


class Faults:
    """What goes wrong next. Counts say how many times; the rest lasts until undone."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.lost_answers = 0
        self.refused_calls = 0
        self.delay = 0.0
        self.delayed_answers = 0
        self.answers: list[Message] = []
        self.omitted: set[tuple[str, int]] = set()
        self.bare_marks = False
        self.early_marks = False
        self.forgetful = False
        self.muted = False
        self.broken, self.polite = 0, False

    def lose_answers(self, times: int) -> None:
        """Commit, then break the connection: the client cannot know."""
        self.lost_answers = times

    def refuse_calls(self, times: int) -> None:
        self.refused_calls = times

    def delay_answers(self, seconds: float, times: int) -> None:
        self.delay, self.delayed_answers = seconds, times

    def answer_with(self, *details: Message) -> None:
        """Answer the next appends with these errors, and write nothing."""
        self.answers = list(details)

    def omit(self, stream: str, number: int) -> None:
        """Let every subscription skip that event."""
        self.omitted.add((stream, number))

    def break_subscriptions(self, *, politely: bool = False) -> None:
        self.polite = politely
        self.broken += 1

    def mute(self) -> None:
        """Let subscriptions hear nothing new until `unmute`, as on a slow network."""
        self.muted = True

    def unmute(self) -> None:
        self.muted = False

    def strikes(self, counter: str) -> bool:
        with self._lock:
            left: int = getattr(self, counter)
            setattr(self, counter, max(left - 1, 0))
            return left > 0

    def next_answer(self) -> Message | None:
        with self._lock:
            return self.answers.pop(0) if self.answers else None


class Double:
    """A server with its log. `restart` keeps the log, as a disk would.

    `max_append` is the server's MaxAppendSize: 1 MiB until 25.0, then 256 MiB.
    `account` is a user and a password that calls must carry; with `tls`, a key and a
    certificate chain in PEM, the port speaks TLS.
    """

    def __init__(
        self,
        *,
        max_append: int = 256 << 20,
        remembered: int = 10_000,
        account: tuple[str, str] | None = None,
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.log, self.faults = Log(remembered), Faults()
        self.calls: Counter[str] = Counter()
        self.max_append, self.account, self._tls = max_append, account, tls
        self.port = 0
        self._start()

    @property
    def uri(self) -> str:
        return f"kurrentdb://127.0.0.1:{self.port}?Tls=false"

    def restart(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        self._server.stop(None).wait()
        with self.log.grown:
            self.log.grown.notify_all()
        self._threads.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        # A subscription keeps its thread for as long as it lasts.
        self._threads = ThreadPoolExecutor(128, thread_name_prefix="kurrentdb-double")
        self._server = grpc.server(
            self._threads, options=[("grpc.max_receive_message_length", MAX_MESSAGE)]
        )
        # Their generated code has no types.
        streams_pb2_grpc.add_StreamsServicer_to_server(  # type: ignore[no-untyped-call]
            Streams(self), self._server
        )
        gossip_pb2_grpc.add_GossipServicer_to_server(  # type: ignore[no-untyped-call]
            Gossip(self), self._server
        )
        address = f"127.0.0.1:{self.port}"
        if self._tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            credentials = grpc.ssl_server_credentials([self._tls])
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()


class Gossip(gossip_pb2_grpc.GossipServicer):
    def __init__(self, double: Double) -> None:
        self._double = double

    def Read(  # noqa: N802 - the protocol's name
        self, _request: shared_pb2.Empty, _context: grpc.ServicerContext
    ) -> gossip_pb2.ClusterInfo:
        node = gossip_pb2.MemberInfo(
            instance_id=shared_pb2.UUID(string=str(uuid4())),
            state=gossip_pb2.MemberInfo.VNodeState.Leader,
            is_alive=True,
            http_end_point=gossip_pb2.EndPoint(
                address="127.0.0.1", port=self._double.port
            ),
        )
        return gossip_pb2.ClusterInfo(members=[node])


class Streams(streams_pb2_grpc.StreamsServicer):
    def __init__(self, double: Double) -> None:
        self._double, self._log, self._faults = double, double.log, double.faults

    # Writing

    def BatchAppend(  # noqa: N802 - the protocol's name
        self,
        requests: Iterator[streams_pb2.BatchAppendReq],
        context: grpc.ServicerContext,
    ) -> Iterator[streams_pb2.BatchAppendResp]:
        self._admit(context, "BatchAppend")
        options: dict[str, streams_pb2.BatchAppendReq.Options] = {}
        pending: dict[str, list[Proposed]] = {}
        for request in requests:
            key = request.correlation_id.string
            if request.HasField("options"):
                options[key] = request.options
            pending.setdefault(key, []).extend(
                map(_proposed, request.proposed_messages)
            )
            if request.is_final:
                response = self._batch(options.pop(key), pending.pop(key))
                self._disturb(context)
                response.correlation_id.CopyFrom(request.correlation_id)
                yield response

    def _batch(
        self, options: streams_pb2.BatchAppendReq.Options, events: list[Proposed]
    ) -> streams_pb2.BatchAppendResp:
        error = self._faults.next_answer()
        if (
            error is None
            and sum(event.size for event in events) > self._double.max_append
        ):
            error = shared_pb2.MaximumAppendSizeExceeded(
                maxAppendSize=self._double.max_append
            )
        if error is None and any(event.size > MAX_RECORD for event in events):
            error = shared_pb2.BadRequest(message="a record is beyond its maximum size")
        if error is not None:
            return _refusal(error)
        stream = _name(options.stream_identifier)
        expected = _expected(
            options.WhichOneof("expected_stream_position"), options.stream_position
        )
        outcome = self._log.append(stream, expected, events)
        match outcome.decision:
            case Decision.DELETED:
                return _refusal(
                    shared_pb2.StreamDeleted(
                        stream_identifier=options.stream_identifier
                    )
                )
            case Decision.WRONG_VERSION:
                return _refusal(_wrong_version(expected, outcome.number))
        success = streams_pb2.BatchAppendResp.Success(current_revision=outcome.number)
        position = self._told_position(outcome)
        success.position.commit_position = position
        success.position.prepare_position = position
        return streams_pb2.BatchAppendResp(success=success)

    def Append(  # noqa: N802 - the protocol's name
        self, requests: Iterator[streams_pb2.AppendReq], context: grpc.ServicerContext
    ) -> streams_pb2.AppendResp:
        self._admit(context, "Append")
        options = next(requests).options
        events = [_proposed(request.proposed_message) for request in requests]
        if sum(event.size for event in events) > self._double.max_append:
            _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "Maximum Append Size")
        stream = _name(options.stream_identifier)
        expected = _expected(
            options.WhichOneof("expected_stream_revision"), options.revision
        )
        outcome = self._log.append(stream, expected, events)
        self._disturb(context)
        response = streams_pb2.AppendResp()
        match outcome.decision:
            case Decision.DELETED:
                _abort_deleted(context, stream)
            case Decision.WRONG_VERSION if outcome.number < 0:
                response.wrong_expected_version.current_no_stream.SetInParent()
            case Decision.WRONG_VERSION:
                response.wrong_expected_version.current_revision = outcome.number
            case _:
                response.success.current_revision = outcome.number
                position = self._told_position(outcome)
                response.success.position.commit_position = position
                response.success.position.prepare_position = position
        return response

    def Delete(  # noqa: N802 - the protocol's name
        self, request: streams_pb2.DeleteReq, context: grpc.ServicerContext
    ) -> streams_pb2.DeleteResp:
        stream = self._existing(request.options.stream_identifier, context)
        self._log.delete(stream)
        return streams_pb2.DeleteResp(no_position=shared_pb2.Empty())

    def Tombstone(  # noqa: N802 - the protocol's name
        self, request: streams_pb2.TombstoneReq, context: grpc.ServicerContext
    ) -> streams_pb2.TombstoneResp:
        stream = self._existing(request.options.stream_identifier, context)
        self._log.tombstone(stream)
        return streams_pb2.TombstoneResp(no_position=shared_pb2.Empty())

    # Reading

    def Read(  # noqa: N802 - the protocol's name
        self, request: streams_pb2.ReadReq, context: grpc.ServicerContext
    ) -> Iterator[streams_pb2.ReadResp]:
        self._admit(context, "Read")
        options = request.options
        if options.WhichOneof("count_option") == "subscription":
            yield from self._follow(options, context)
        elif options.WhichOneof("stream_option") == "stream":
            yield from self._read_stream(options, context)
        else:
            yield from self._read_all(options, context)

    def _read_stream(
        self, options: Options, context: grpc.ServicerContext
    ) -> Iterator[streams_pb2.ReadResp]:
        name = _name(options.stream.stream_identifier)
        if self._log.is_tombstoned(name):
            _abort_deleted(context, name)
        records = self._log.stream(name)
        if records is None:
            missing = streams_pb2.ReadResp.StreamNotFound(
                stream_identifier=options.stream.stream_identifier
            )
            yield streams_pb2.ReadResp(stream_not_found=missing)
            return
        start = options.stream.WhichOneof("revision_option")
        at = options.stream.revision
        if options.read_direction == Options.Backwards:
            records = [r for r in reversed(records) if start == "end" or r.number <= at]
        elif start == "end":
            records = []
        elif start == "revision":
            records = [r for r in records if r.number >= at]
        yield from map(_event, records[: options.count])

    def _read_all(
        self, options: Options, context: grpc.ServicerContext
    ) -> Iterator[streams_pb2.ReadResp]:
        start, at = self._start_of(options.all, context)
        records = self._log.all()
        if options.read_direction == Options.Backwards:
            records = [
                r for r in reversed(records) if start == "end" or r.position < at
            ]
        else:
            records = [r for r in records if start != "end" and r.position >= at]
        wanted = _wanted(options)
        sent = 0
        for record in records:
            if sent == options.count or not context.is_active():
                return
            if wanted(record):
                sent += 1
                yield _event(record)

    def _follow(
        self, options: Options, context: grpc.ServicerContext
    ) -> Iterator[streams_pb2.ReadResp]:
        """Confirm, catch up, say so, and go on for ever."""
        yield _confirmation()
        wanted, broken = _wanted(options), self._faults.broken
        position = self._following_from(options, context)
        filtered = options.WhichOneof("filter_option") == "filter"
        window = options.filter.max or 32
        interval = window * (options.filter.checkpointIntervalMultiplier or 1)
        considered, live = 0, False
        context.add_callback(self._wake)
        while context.is_active():
            if self._faults.broken != broken and self._faults.polite:
                return
            if self._faults.broken != broken:
                _abort(context, grpc.StatusCode.ABORTED, "Consumer too slow")
            records = [] if self._faults.muted else self._log.beyond(position, window)
            if not records and not live:
                live = True
                yield from self._caught_up(position, filtered=filtered)
            if not records:
                self._await_growth(position, context, broken)
            for record in records:
                position, considered = record.position, considered + 1
                if wanted(record) and (record.stream, record.number) not in (
                    self._faults.omitted
                ):
                    yield _event(record)
                if filtered and considered % interval == 0:
                    yield _checkpoint(position, position)

    def _following_from(self, options: Options, context: grpc.ServicerContext) -> int:
        if options.WhichOneof("stream_option") == "all":
            start, at = self._start_of(options.all, context)
            return self._log.end() if start == "end" else at
        if options.stream.WhichOneof("revision_option") == "revision":
            name, at = _name(options.stream.stream_identifier), options.stream.revision
            for record in self._log.stream(name) or ():
                if record.number == at:
                    return record.position
        ends = options.stream.WhichOneof("revision_option") == "end"
        return self._log.end() if ends else 0

    def _caught_up(
        self, position: int, *, filtered: bool
    ) -> Iterator[streams_pb2.ReadResp]:
        if self._faults.early_marks:  # 24.10 and 25.0, before they were patched
            yield _checkpoint(position + 137, position)
        elif filtered and position:
            yield _checkpoint(position, position)
        mark = streams_pb2.ReadResp.CaughtUp()
        mark.timestamp.GetCurrentTime()
        if position and not self._faults.bare_marks:
            mark.position.commit_position = position
            mark.position.prepare_position = position
        yield streams_pb2.ReadResp(caught_up=mark)

    def _await_growth(
        self, position: int, context: grpc.ServicerContext, broken: int
    ) -> None:
        with self._log.grown:
            self._log.grown.wait_for(
                lambda: (
                    (self._log.end() > position and not self._faults.muted)
                    or not context.is_active()
                    or self._faults.broken != broken
                ),
                timeout=0.5,
            )

    def _wake(self) -> None:
        with self._log.grown:
            self._log.grown.notify_all()

    def _start_of(
        self, options: Options.AllOptions, context: grpc.ServicerContext
    ) -> tuple[str, int]:
        start = options.WhichOneof("all_option") or "start"
        at = options.position.commit_position
        if start == "position" and not self._log.is_real(at):
            _abort(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                "Trying to read from an invalid position.",
            )
        return start, at

    def _existing(
        self, identifier: shared_pb2.StreamIdentifier, context: grpc.ServicerContext
    ) -> str:
        self._admit(context, "Delete")
        name = _name(identifier)
        if self._log.stream(name) is None:
            _abort(context, grpc.StatusCode.NOT_FOUND, f"Event stream '{name}'")
        return name

    def _admit(self, context: grpc.ServicerContext, call: str) -> None:
        self._double.calls[call] += 1
        if self._faults.strikes("refused_calls"):
            _abort(context, grpc.StatusCode.UNAVAILABLE, "Server Is Not Ready")
        if self._double.account is not None:
            pair = ":".join(self._double.account).encode()
            due = "Basic " + base64.b64encode(pair).decode()
            if ("authorization", due) not in _headers(context):
                _abort(
                    context, grpc.StatusCode.UNAUTHENTICATED, "Authentication Failed"
                )

    def _disturb(self, context: grpc.ServicerContext) -> None:
        """Between commit and answer."""
        if self._faults.strikes("delayed_answers"):
            time.sleep(self._faults.delay)
        if self._faults.strikes("lost_answers"):
            _abort(context, grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def _told_position(self, outcome: Outcome) -> int:
        if outcome.decision is Decision.IDEMPOTENT and self._faults.forgetful:
            return (1 << 64) - 1  # the server's -1: it did not find the old event
        return outcome.position


def _headers(context: grpc.ServicerContext) -> list[tuple[str, str]]:
    pairs = context.invocation_metadata()
    return [(k, v if isinstance(v, str) else v.decode()) for k, v in pairs]


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, why: str) -> NoReturn:
    context.abort(code, why)
    raise AssertionError  # abort does not return


def _abort_deleted(context: grpc.ServicerContext, stream: str) -> NoReturn:
    _abort(
        context,
        grpc.StatusCode.FAILED_PRECONDITION,
        f"Event stream '{stream}' is deleted.",
    )


def _name(identifier: shared_pb2.StreamIdentifier) -> str:
    return identifier.stream_name.decode()


def _expected(chosen: str | None, number: int) -> int:
    return {"no_stream": NO_STREAM, "any": ANY, "stream_exists": EXISTS}.get(
        chosen or "", number
    )


def _proposed(
    message: streams_pb2.BatchAppendReq.ProposedMessage
    | streams_pb2.AppendReq.ProposedMessage,
) -> Proposed:
    return Proposed(
        id=UUID(message.id.string),
        type=message.metadata["type"],
        data=message.data,
        metadata=message.custom_metadata,
        content_type=message.metadata["content-type"],
    )


def _refusal(details: Message) -> streams_pb2.BatchAppendResp:
    packed = any_pb2.Any()
    packed.Pack(details)
    name = details.DESCRIPTOR.name
    status = status_pb2.Status(message=name, details=packed)
    return streams_pb2.BatchAppendResp(error=status)


def _wrong_version(expected: int, current: int) -> shared_pb2.WrongExpectedVersion:
    error = shared_pb2.WrongExpectedVersion()
    if current < 0:
        error.current_no_stream.CopyFrom(empty_pb2.Empty())
    else:
        error.current_stream_revision = current
    if expected >= 0:
        error.expected_stream_position = expected
    return error


def _wanted(options: Options) -> Callable[[Record], bool]:
    if options.WhichOneof("stream_option") == "stream":
        name = _name(options.stream.stream_identifier)
        return lambda record: record.stream == name
    if options.WhichOneof("filter_option") != "filter":
        return lambda _: True
    by_stream = options.filter.WhichOneof("filter") == "stream_identifier"
    chosen = (
        options.filter.stream_identifier if by_stream else options.filter.event_type
    )
    pattern = re.compile(chosen.regex) if chosen.regex else None
    prefixes = tuple(chosen.prefix)

    def wanted(record: Record) -> bool:
        subject = record.stream if by_stream else record.event.type
        if pattern is not None:
            return pattern.search(subject) is not None
        return subject.startswith(prefixes)

    return wanted


def _event(record: Record) -> streams_pb2.ReadResp:
    event = streams_pb2.ReadResp.ReadEvent.RecordedEvent(
        id=shared_pb2.UUID(string=str(record.event.id)),
        stream_identifier=shared_pb2.StreamIdentifier(
            stream_name=record.stream.encode()
        ),
        stream_revision=record.number,
        prepare_position=record.position,
        commit_position=record.position,
        metadata={
            "type": record.event.type,
            "created": str(record.created),
            "content-type": record.event.content_type,
        },
        custom_metadata=record.event.metadata,
        data=record.event.data,
    )
    read = streams_pb2.ReadResp.ReadEvent(event=event, commit_position=record.position)
    return streams_pb2.ReadResp(event=read)


def _confirmation() -> streams_pb2.ReadResp:
    said = streams_pb2.ReadResp.SubscriptionConfirmation(subscription_id=str(uuid4()))
    return streams_pb2.ReadResp(confirmation=said)


def _checkpoint(commit: int, prepare: int) -> streams_pb2.ReadResp:
    mark = streams_pb2.ReadResp.Checkpoint(
        commit_position=commit, prepare_position=prepare
    )
    mark.timestamp.GetCurrentTime()
    return streams_pb2.ReadResp(checkpoint=mark)

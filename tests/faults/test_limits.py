"""Whatever is sent, memory is bounded, everybody is told no, and others are served."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final
from uuid import uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.faults.besieged import CALL_S, MIB, SERVICE, Besieged

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ROOM: Final = 32 * MIB
"""What an attack may cost the server."""
EMPTY_CHILDREN: Final = 500_000
DROPPED_S: Final = 10.0
TOLD: Final = {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
"""An answer, a refusal of ours, or one of HTTP/2's own (REFUSED_STREAM: not looked at,
ask again). CANCELLED would be none: nobody retries that.
"""
TAGS: Final = (b"\x0b", b"\x0c")  # a group's beginning and end, field 1


def code_of(
    server: Besieged, raw: bytes, method: str = "RegisterModel", **options: Any
) -> grpc.StatusCode:
    """Send bytes as a request; return the status it was refused with."""
    unbounded = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options=unbounded) as channel:
        call: Any = channel.unary_unary(f"{SERVICE}/{method}")
        with pytest.raises(grpc.RpcError) as refused:
            call(raw, timeout=300, metadata=server.metadata, **options)
    error: Any = refused.value
    found: grpc.StatusCode = error.code()
    return found


# --- what is too big ---------------------------------------------------------------


def bombed(server: Besieged, size: int) -> tuple[int, int]:
    """Send so many bytes, plain and packed; return what each cost the server."""
    bomb, cost = bytes(size), []
    for packing, told in (
        (grpc.Compression.NoCompression, {grpc.StatusCode.RESOURCE_EXHAUSTED}),
        (
            grpc.Compression.Gzip,
            {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED},
        ),
    ):
        server.relax()
        assert code_of(server, bomb, compression=packing) in told
        cost.append(server.grown())
    return cost[0], cost[1]


def test_a_bomb_plain_or_packed_is_refused_and_never_held(server: Besieged) -> None:
    plain, packed = bombed(server, 40 * MIB)
    assert max(plain, packed) <= ROOM


@pytest.mark.slow
def test_a_gigabyte_plain_or_packed_is_refused_and_never_held(
    server: Besieged,
) -> None:
    plain, packed = bombed(server, 1024 * MIB)
    print(f"1 GiB plain +{plain / MIB:.1f} MiB, gzip +{packed / MIB:.1f} MiB")  # noqa: T201
    assert max(plain, packed) <= ROOM


# --- what is too deep or too wide --------------------------------------------------


@pytest.mark.parametrize("depth", [101, 10_000])
def test_a_message_too_deep_is_refused(server: Besieged, depth: int) -> None:
    begin, end = TAGS
    nested = begin * depth + end * depth
    assert code_of(server, nested) is grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_a_hundred_deep_is_read(server: Besieged) -> None:
    """What it is refused for then is another reason: nothing in it is a request."""
    begin, end = TAGS
    with grpc.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary(f"{SERVICE}/RegisterModel")
        with pytest.raises(grpc.RpcError) as refused:
            call(begin * 99 + end * 99, timeout=CALL_S, metadata=server.metadata)
    error: Any = refused.value
    assert "request_id" in error.details()


def test_a_message_too_wide_is_refused_before_it_is_touched(server: Besieged) -> None:
    field = inv.RegisterVersionRequest.DESCRIPTOR.fields_by_name["artifacts"]
    child = bytes([*_varint(field.number << 3 | 2), 0])
    wide = child * EMPTY_CHILDREN
    wide += inv.RegisterVersionRequest(
        request_id=str(uuid4()), model="alive", version="v1"
    ).SerializeToString()
    assert len(wide) <= MIB
    server.relax()
    assert code_of(server, wide, "RegisterVersion") is grpc.StatusCode.INVALID_ARGUMENT
    first = server.grown()
    for _ in range(5):  # nothing adds up
        code_of(server, wide, "RegisterVersion")
    print(f"{EMPTY_CHILDREN:,} children: +{first / MIB:.1f} MiB")  # noqa: T201
    assert server.grown() <= first + ROOM
    assert first <= 3 * ROOM


def _varint(number: int) -> Iterator[int]:
    while number > 127:
        yield number & 127 | 128
        number >>= 7
    yield number


# --- who does not speak ------------------------------------------------------------


def mute(server: Besieged, many: int) -> list[socket.socket]:
    """Open sockets that say nothing, or half of what begins a conversation."""
    sockets = []
    for turn in range(many):
        one = socket.create_connection(server.host)
        if turn % 2:
            one.sendall(PREFACE[: turn % len(PREFACE)])
        sockets.append(one)
    return sockets


def dropped(sockets: list[socket.socket], patience_s: float) -> float:
    """Wait until the server has closed all; return the seconds that took."""
    started = time.monotonic()
    poll = select.poll()
    left = {one.fileno(): one for one in sockets}
    for number in left:
        poll.register(number, select.POLLIN | select.POLLHUP)
    while left:
        assert time.monotonic() - started < patience_s, f"{len(left)} are still open"
        for number, _ in poll.poll(200):
            if _closed(left[number]):
                poll.unregister(number)
                left.pop(number).close()
    return time.monotonic() - started


def _closed(one: socket.socket) -> bool:
    try:
        return not one.recv(4_096)  # it may say its settings first
    except ConnectionError:
        return True


def p99(server: Besieged, channel: grpc.Channel, calls: int) -> float:
    took = []
    for _ in range(calls):
        started = time.perf_counter()
        server.get(channel)
        took.append(time.perf_counter() - started)
    return sorted(took)[int(calls * 0.99)]


def test_sockets_that_say_nothing_are_dropped(server: Besieged) -> None:
    assert dropped(mute(server, 40), 60.0) > 0
    with grpc.insecure_channel(server.address) as channel:
        server.get(channel)


@pytest.mark.slow
def test_five_thousand_silent_sockets_are_dropped_in_ten_seconds(
    server: Besieged,
) -> None:
    with grpc.insecure_channel(server.address) as channel:
        p99(server, channel, 100)
        calm = p99(server, channel, 1_000)
        opened = time.monotonic()
        sockets = mute(server, 5_000)
        besieged_p99 = p99(server, channel, 500)
        dropped(sockets, DROPPED_S)
        took = time.monotonic() - opened
    said = f"dropped in {took:.1f} s; p99 {calm * 1e3:.1f} -> {besieged_p99 * 1e3:.1f}"
    print(f"{said} ms")  # noqa: T201
    assert took <= DROPPED_S
    assert besieged_p99 < 2 * calm + 0.01


# --- who asks too much -------------------------------------------------------------


async def flooded(server: Besieged, calls: int, channels: int) -> Counter[str]:
    """Ask so often at once, on several connections, while another asks for health."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    opened = [
        grpc.aio.insecure_channel(server.address, options=options)
        for _ in range(channels)
    ]
    stop = asyncio.Event()
    watching = asyncio.create_task(_health(server, stop))
    try:
        asked: list[Any] = [
            opened[number % channels].unary_unary(
                f"{SERVICE}/GetModel",
                request_serializer=inv.GetModelRequest.SerializeToString,
            )(
                inv.GetModelRequest(model="alive"),
                timeout=60,
                metadata=server.metadata,
            )
            for number in range(calls)
        ]
        codes = await asyncio.gather(*(one.code() for one in asked))
        stop.set()
        healthy = await watching
    finally:
        stop.set()
        for one in opened:
            await one.close()
    assert healthy > 0
    return Counter(code.name for code in codes)


async def _health(server: Besieged, stop: asyncio.Event) -> int:
    healthy = 0
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while not stop.is_set():
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            healthy += 1
            await asyncio.sleep(0.05)
    return healthy


def test_a_flood_is_answered_and_health_with_it(server: Besieged) -> None:
    server.relax()
    codes = asyncio.run(flooded(server, 600, 3))
    assert codes.total() == 600
    assert codes["OK"] > 0
    assert codes.keys() <= TOLD
    assert server.grown() <= 4 * ROOM


@pytest.mark.slow
def test_a_flood_of_ten_thousand_is_answered_and_health_with_it(
    server: Besieged,
) -> None:
    server.relax()
    codes = asyncio.run(flooded(server, 10_000, 16))
    print(f"{dict(codes)}, +{server.grown() / MIB:.1f} MiB")  # noqa: T201
    assert codes.total() == 10_000
    assert codes.keys() <= TOLD
    assert server.grown() <= 4 * ROOM


# --- who never finishes ------------------------------------------------------------


def held(channel: grpc.Channel, calls: int, release: threading.Event) -> list[Any]:
    """Begin calls and never send what they ask."""

    def nothing() -> Iterator[bytes]:
        release.wait(120)
        yield from ()

    call: Any = channel.stream_unary(f"{SERVICE}/GetModel")
    return [call.future(nothing()) for _ in range(calls)]


def hold_open(server: Besieged, channels: int, each: int) -> int:
    release, options = threading.Event(), [("grpc.use_local_subchannel_pool", 1)]
    server.relax()
    with ExitStack() as stack:
        stack.callback(release.set)
        for _ in range(channels):
            channel = stack.enter_context(
                grpc.insecure_channel(server.address, options=options)
            )
            held(channel, each, release)
        with grpc.insecure_channel(server.address) as channel:
            for turn in range(20):
                server.get(channel)
                InventoryServiceStub(channel).RegisterModel(
                    server.register(f"held-{channels}-{turn}"),
                    timeout=20,
                    metadata=server.metadata,
                )
        return server.grown()


def test_calls_that_never_say_what_they_ask_keep_nobody_else_out(
    server: Besieged,
) -> None:
    assert hold_open(server, 2, 60) <= 2 * ROOM


@pytest.mark.slow
def test_two_thousand_calls_that_never_say_what_they_ask_keep_nobody_else_out(
    server: Besieged,
) -> None:
    cost = hold_open(server, 10, 200)
    print(f"2,000 held calls: +{cost / MIB:.1f} MiB")  # noqa: T201
    assert cost <= 4 * ROOM

"""What an operator asks of any process: how far it is, what halted, move the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from modelkeep import __version__
from modelkeep.api.operations.v1 import operations_pb2 as pb
from modelkeep.clock import CLOCK, CLOCK_STREAM, ScenarioClock, Tick
from modelkeep.decider import Context
from modelkeep.errors import Invalid, Late, Refused, Unavailable
from modelkeep.identity import ROLES
from modelkeep.service import Asked, Host, Service, Target, read, write
from modelkeep.viewfile import Halt
from modelkeep.viewset import ViewSet

LONGEST_MS: Final = 1_000

SERVICE = pb.DESCRIPTOR.services_by_name["OperationsService"]


class Following(Protocol):
    """Views or reactors: something that is at a position."""

    @property
    def position(self) -> int: ...
    @property
    def halt(self) -> Halt | None: ...
    def wait_for(self, position: int, timeout: float) -> None: ...


class RunningService(Protocol):
    views: ViewSet

    @property
    def reactors(self) -> Following: ...


Running = Callable[[], Mapping[str, RunningService]]


def service(host: Host, running: Running) -> Service:
    def target(_: Tick, __: Context) -> Target:
        if not isinstance(host.clock, ScenarioClock):
            raise Refused("clock.scenario", "this ledger's clock is the machine's")
        return Target(CLOCK_STREAM, "")

    def status(request: pb.StatusRequest, asked: Asked) -> pb.StatusResponse:
        if request.level_within_ms > LONGEST_MS:
            raise Invalid.field("level_within_ms", f"is more than {LONGEST_MS}")
        until = time.monotonic() + request.level_within_ms / 1000
        head, followers = _look(host, running())
        while _behind(head, followers) and time.monotonic() < until:
            for _, one in _followers(running()):
                # Whoever halted, or is late, is said to be so below.
                with suppress(Unavailable, Late):
                    one.wait_for(head, until - time.monotonic())
            head, followers = _look(host, running())
        answer = pb.StatusResponse(
            head=head,
            version=__version__,
            origin=getattr(asked.host.store, "origin", ""),
            followers=followers,
        )
        answer.now.FromDatetime(host.clock.now())
        return answer

    def digests(request: pb.DigestsRequest, _: Asked) -> pb.DigestsResponse:
        return pb.DigestsResponse(
            digests={
                f"{name}/{view}": digest
                for name, one in running().items()
                for view, digest in one.views.digests(
                    history=not request.current_only
                ).items()
            }
        )

    return Service(
        name="operations",
        descriptor=SERVICE,
        writes=[write("Tick", Tick, CLOCK, target, frozenset({"operator"}))],
        reads=[
            read("Status", status, ROLES),
            read("Digests", digests, frozenset({"operator", "auditor"})),
        ],
    )


def _look(
    host: Host, running: Mapping[str, RunningService]
) -> tuple[int, list[pb.Follower]]:
    """Positions first: who was at a head read later had nothing to add before it."""
    followers = [
        pb.Follower(
            name=name,
            position=one.position,
            halted="" if one.halt is None else str(one.halt),
        )
        for name, one in _followers(running)
    ]
    return host.store.head(), followers


def _behind(head: int, followers: Sequence[pb.Follower]) -> bool:
    return any(one.position < head and not one.halted for one in followers)


def _followers(
    running: Mapping[str, RunningService],
) -> Iterator[tuple[str, Following]]:
    for name, one in running.items():
        yield f"{name}/views", one.views
        yield f"{name}/reactors", one.reactors

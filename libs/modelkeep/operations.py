"""What an operator asks of any process: how far it is, what halted, move the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from modelkeep import __version__
from modelkeep.api.operations.v1 import operations_pb2 as pb
from modelkeep.clock import CLOCK, CLOCK_STREAM, ScenarioClock, Tick
from modelkeep.decider import Context
from modelkeep.errors import Refused
from modelkeep.identity import ROLES
from modelkeep.service import Asked, Host, Service, Target, read, write
from modelkeep.viewfile import Halt
from modelkeep.viewset import ViewSet

SERVICE = pb.DESCRIPTOR.services_by_name["OperationsService"]


class Following(Protocol):
    """Views or reactors: something that is at a position."""

    @property
    def position(self) -> int: ...
    @property
    def halt(self) -> Halt | None: ...


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

    def status(_: pb.StatusRequest, asked: Asked) -> pb.StatusResponse:
        answer = pb.StatusResponse(
            head=asked.host.store.head(),
            version=__version__,
            origin=getattr(asked.host.store, "origin", ""),
        )
        answer.now.FromDatetime(asked.now)
        for name, following in _followers(running()):
            halted = "" if following.halt is None else str(following.halt)
            answer.followers.add(name=name, position=following.position, halted=halted)
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


def _followers(
    running: Mapping[str, RunningService],
) -> Iterator[tuple[str, Following]]:
    for name, one in running.items():
        yield f"{name}/views", one.views
        yield f"{name}/reactors", one.reactors

"""Where the demo plays: real processes, people with tokens, a clock moved by hand.

The clock moves only when everybody has come as far as the log: the SDK is flushed,
every view and every reaction has seen the head, and nothing more was appended. So
the same story gives the same ledger whether one process plays it or eight.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar
from uuid import UUID, uuid5

import grpc

from modelkeep import Client
from modelkeep.api.operations.v1 import operations_pb2 as pb
from modelkeep.api.operations.v1.operations_pb2_grpc import OperationsServiceStub
from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.running import address_of

S = TypeVar("S")

SCRIPT: Final = UUID("6f1d2c1e-6d3d-5f5e-9d0a-8b8f0a2f2013")
"""The root of every id the story uses: the same story, the same ids."""
START_S: Final = 60.0
LEVEL_S: Final = 60.0
CALL_S: Final = 30.0
STOP_S: Final = 15.0
WITHIN_MS: Final = 500
"""Between two looks: who looks more often keeps those back whom it waits for."""
SEND_S: Final = 0.02
"""The SDK may send while the story goes on: it waits at a tick, not at a row."""

Processes = Sequence[Sequence[str]]
"""The arguments of each `modelkeep` process to start."""
ONE_PROCESS: Final[Processes] = (("up", "--no-apart", "--listen", "127.0.0.1:0"),)
"""A story waits for every view at each step: views beside it would gain it nothing."""


class Answer(Protocol):
    """What a stub's method is, as far as the story cares."""

    def __call__(
        self, request: object, /, *, timeout: float, metadata: object
    ) -> object: ...


@dataclass
class Person:
    """Somebody with a token. Request ids are numbered by person, not drawn by lot."""

    subject: str
    roles: frozenset[str]
    token: str
    _asked: int = 0

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)

    def next_id(self) -> str:
        self._asked += 1
        return str(uuid5(SCRIPT, f"{self.subject}/{self._asked}"))


@dataclass
class Stage:
    """Services that answer, and the clock everybody shares."""

    home: Home
    channels: dict[str, grpc.Channel]
    issuer: LocalIssuer
    now: datetime | None = None
    people: dict[str, Person] = field(default_factory=dict)
    loggers: dict[str, Client] = field(default_factory=dict)
    """The SDK of each model, as the version that serves."""

    def stub(self, service: str, make: Callable[[grpc.Channel], S]) -> S:
        return make(self.channels[service])

    def address(self, service: str) -> str:
        address = address_of(self.home, service)
        if address is None:
            raise Unavailable(f"{service} of {self.home.root} does not run")
        return address

    def person(self, subject: str, *roles: str) -> Person:
        """Give somebody a token; the same person each time."""
        if subject not in self.people:
            token = self.issuer.issue(
                subject,
                frozenset(roles),
                lifetime=timedelta(days=1),
                machine=roles == ("serving",),
            )
            self.people[subject] = Person(subject, frozenset(roles), token)
        return self.people[subject]

    def logger(self, model: str, version: str) -> Client:
        """Return the SDK of the version that serves from now on, and end the last."""
        if (before := self.loggers.pop(model, None)) is not None:
            _all_through(model, before)
            before.close()
        self.loggers[model] = found = Client(
            self.address("monitoring"),
            model=model,
            version=version,
            token=self.person("serving", "serving").token,
            interval_s=SEND_S,
        )
        return found

    def flush(self) -> None:
        """Wait until all that was logged is durable. Raises Unavailable for a row that
        is not: a live caller would go on, a story would be another one.
        """
        for model, client in self.loggers.items():
            _all_through(model, client)

    def tick(self, instant: datetime) -> None:
        """Let everybody come level, move the clock, and let everybody come level."""
        operator = self.person("the-clock", "operator")
        self.flush()
        self.level()
        request = pb.TickRequest(request_id=str(uuid5(SCRIPT, f"tick/{instant}")))
        request.instant.FromDatetime(instant.astimezone(UTC))
        self._operations()[0].Tick(request, timeout=CALL_S, metadata=operator.metadata)
        self.now = instant
        self.level()

    def level(self) -> int:
        """Return the head, once everybody is there and nobody has anything to add."""
        deadline = time.monotonic() + LEVEL_S
        while time.monotonic() < deadline:
            head, behind = self._look()
            if not behind:
                return head
        raise Unavailable(f"not level after {LEVEL_S:.0f} s: {', '.join(behind)}")

    def _look(self) -> tuple[int, list[str]]:
        """Each process says how far its followers were, and then how far the log was.
        So where all of them were at the last head said, nobody had anything to add: an
        answer to something older would lie before that head.
        """
        request = pb.StatusRequest(level_within_ms=WITHIN_MS)
        metadata = self.person("the-clock", "operator").metadata
        found = [
            stub.Status(request, timeout=CALL_S, metadata=metadata)
            for stub in self._operations()
        ]
        head = max(status.head for status in found)
        followers = [one for status in found for one in status.followers]
        halted = [f"{one.name}: {one.halted}" for one in followers if one.halted]
        if halted:
            raise Unavailable(f"halted: {'; '.join(halted)}")
        return head, [one.name for one in followers if one.position < head]

    def digests(self, *, current_only: bool = False) -> dict[str, str]:
        """Every view's digest, over all processes."""
        metadata = self.person("the-clock", "operator").metadata
        request = pb.DigestsRequest(current_only=current_only)
        found: dict[str, str] = {}
        for stub in self._operations():
            found |= stub.Digests(request, timeout=CALL_S, metadata=metadata).digests
        return found

    def _operations(self) -> list[OperationsServiceStub]:
        channels = {id(channel): channel for channel in self.channels.values()}
        return [OperationsServiceStub(channel) for channel in channels.values()]


@contextmanager
def stage(
    home: Home,
    services: Sequence[str],
    *,
    processes: Processes = ONE_PROCESS,
    store: str | None = None,
) -> Iterator[Stage]:
    """Start the processes on a fresh home, and stop them in the end.

    Raises Unavailable when the home has a ledger already: a story is not retold over
    itself.
    """
    if home.ledger.exists():
        raise Unavailable(f"{home.root} has a ledger already: choose another --home")
    home.make()
    common = ["--scenario", "--home", str(home.root)]
    if store is not None:
        common += ["--store", store]
    with ExitStack() as stack:
        running = [
            stack.enter_context(_process([*arguments, *common]))
            for arguments in processes
        ]
        addresses = {name: _wait(home, name, running) for name in services}
        channels = {
            address: stack.enter_context(grpc.insecure_channel(address))
            for address in set(addresses.values())
        }
        on = Stage(
            home,
            {name: channels[address] for name, address in addresses.items()},
            LocalIssuer.open(home.keys),
        )
        try:
            yield on
            on.flush()
        finally:
            for client in on.loggers.values():
                client.close(timeout=0)
            # All at once: each would be waited for in turn.
            for process in running:
                process.terminate()


def _all_through(model: str, client: Client) -> None:
    done, stats = client.flush(CALL_S), client.stats
    if not done or stats.dropped or stats.refused:
        raise Unavailable(f"rows of {model} were not logged: {stats}")


@contextmanager
def _process(arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "modelkeep_services", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603  # our own program
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(home: Home, service: str, running: Sequence[subprocess.Popen[bytes]]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if (address := address_of(home, service)) is not None:
            return address
        if any(process.poll() is not None for process in running):
            raise Unavailable(f"a process ended before {service} answered")
        time.sleep(0.02)
    raise Unavailable(f"{service} did not answer within {START_S:.0f} s")

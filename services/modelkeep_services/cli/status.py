"""`modelkeep status`: how far a home is, what runs, what halted, what was signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

import grpc
from rich.text import Text

from modelkeep import rowstore
from modelkeep.api.operations.v1 import operations_pb2 as pb
from modelkeep.api.operations.v1.operations_pb2_grpc import OperationsServiceStub
from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.running import address_of
from modelkeep.store import open_store
from modelkeep_services.audit.outside import policy_of
from modelkeep_services.audit.tails import Tail
from modelkeep_services.audit.witnesses import Cosigned
from modelkeep_services.cli import exposure, screen
from modelkeep_services.cli.asking import refusal
from modelkeep_services.cli.connect import TIMEOUT_S

LATEST_S: Final = 253_402_300_799
"""The last second that a date can say: a witness may have said any."""


@dataclass(frozen=True)
class Follower:
    """Views or reactors. `address` is empty where nothing runs them now."""

    name: str
    position: int
    address: str = ""
    halted: str = ""


def run(
    home: Home, services: Sequence[str], store_url: str | None, *, as_json: bool
) -> int:
    """Return the exit code: 1 when something halted, or when a ledger that is signed
    has events that nothing vouches for and should by now.
    """
    if store_url is None and not home.ledger.exists():
        raise Unavailable(f"no ledger in {home.root}")
    with open_store(store_url or str(home.ledger)) as store:
        head, origin = store.head(), str(getattr(store, "origin", ""))
        policy = policy_of()
        tails = exposure.tails(home, store, policy)
    followers = [*running(home, services), *_resting(home, services)]
    signed = exposure.last_signed(home.published)
    cosigned = exposure.cosigned(home, policy)
    if as_json:
        screen.say_json(
            {
                "home": str(home.root),
                "origin": origin,
                "head": head,
                "followers": [asdict(one) for one in followers],
                "signed": None if signed is None else signed.size,
                "cosigned": None if cosigned is None else cosigned.size,
                "tails": [_told(tail) for tail in tails],
            }
        )
    else:
        _show(home, origin, head, followers, signed, cosigned, tails)
    exposed = signed is not None and any(tail.exposed for tail in tails)
    return 1 if exposed or any(one.halted for one in followers) else 0


def _told(tail: Tail) -> dict[str, object]:
    return tail._asdict() | {"exposed": tail.exposed}


def running(home: Home, services: Sequence[str]) -> Iterator[Follower]:
    addresses = {address_of(home, name) for name in services} - {None}
    for address in sorted(str(one) for one in addresses):
        for one in _status(home, address).followers:
            yield Follower(one.name, one.position, address, one.halted)


def _status(home: Home, address: str) -> pb.StatusResponse:
    token = (home.tokens / "operator.token").read_text().strip()
    with grpc.insecure_channel(address) as channel:
        try:
            return OperationsServiceStub(channel).Status(
                pb.StatusRequest(),
                timeout=TIMEOUT_S,
                metadata=(("authorization", f"Bearer {token}"),),
            )
        except grpc.RpcError as error:
            raise refusal(error) from None


def _resting(home: Home, services: Sequence[str]) -> Iterator[Follower]:
    for name in services:
        path = home.views(name)
        if address_of(home, name) is None and path.exists():
            connection = rowstore.connect(path, readonly=True)
            try:
                yield Follower(f"{name}/views", rowstore.position(connection))
            finally:
                connection.close()


def _show(
    home: Home,
    origin: str,
    head: int,
    followers: Sequence[Follower],
    signed: Checkpoint | None,
    cosigned: Cosigned | None,
    tails: Sequence[Tail],
) -> None:
    screen.fact("home", str(home.root))
    screen.fact("ledger", origin or "not named by its store")
    screen.fact("head", f"position {head}")
    when = "" if signed is None or signed.time is None else f", {signed.time}"
    said = "nothing yet" if signed is None else f"{signed.size:,} events{when}"
    screen.fact("signed", said)
    if cosigned is not None:
        at = screen.spelled(datetime.fromtimestamp(min(cosigned.time, LATEST_S), UTC))
        screen.fact("cosigned", f"{cosigned.size:,} events, {at}")
    for tail in tails:
        if tail.exposed:
            screen.fact("EXPOSED", Text(f"{tail}: nothing outside vouches", "bold red"))
        elif tail.events:
            screen.fact("tail", str(tail))
    rows: list[screen.Row] = [
        [
            one.name,
            str(one.position),
            one.address or "not running",
            _condition(one, head),
        ]
        for one in followers
    ]
    if rows:
        screen.table(["follower", "position", "where", ""], rows)


def _condition(one: Follower, head: int) -> Text:
    if one.halted:
        return Text(f"HALTED: {screen.clean(one.halted)}", "bold red")
    if one.position >= head:
        return Text("up to date", "green")
    return Text("behind", "yellow")

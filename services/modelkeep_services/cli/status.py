"""`modelkeep status`: how far a home is, what runs, what halted, what was signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import grpc
from rich.text import Text

from modelkeep import rowstore
from modelkeep.api.operations.v1 import operations_pb2 as pb
from modelkeep.api.operations.v1.operations_pb2_grpc import OperationsServiceStub
from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import LATEST
from modelkeep.proof.note import parse
from modelkeep.running import address_of
from modelkeep.store import open_store
from modelkeep_services.audit.notary import published
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import refusal
from modelkeep_services.cli.connect import TIMEOUT_S


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
    """Return the exit code: 1 when something halted."""
    if store_url is None and not home.ledger.exists():
        raise Unavailable(f"no ledger in {home.root}")
    with open_store(store_url or str(home.ledger)) as store:
        head, origin = store.head(), str(getattr(store, "origin", ""))
    followers = [*running(home, services), *_resting(home, services)]
    signed = _signed(home)
    if as_json:
        screen.say_json(
            {
                "home": str(home.root),
                "origin": origin,
                "head": head,
                "followers": [asdict(one) for one in followers],
                "signed": None if signed is None else signed.size,
            }
        )
    else:
        _show(home, origin, head, followers, signed)
    return 1 if any(one.halted for one in followers) else 0


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


def _signed(home: Home) -> Checkpoint | None:
    """Read the newest checkpoint, unverified: `modelkeep verify` does that."""
    try:
        return Checkpoint.parse(parse((published(home) / LATEST).read_bytes()).text)
    except (OSError, ProofError):
        return None


def _show(
    home: Home,
    origin: str,
    head: int,
    followers: Sequence[Follower],
    signed: Checkpoint | None,
) -> None:
    screen.fact("home", str(home.root))
    screen.fact("ledger", origin or "not named by its store")
    screen.fact("head", f"position {head}")
    when = "" if signed is None or signed.time is None else f", {signed.time}"
    said = "nothing yet" if signed is None else f"{signed.size:,} events{when}"
    screen.fact("signed", said)
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

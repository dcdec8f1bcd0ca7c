"""`modelkeep erase`: what is kept of people, and how it is forgotten.

Exit 0: done; 1: the services said no, or it is not done yet; 2: a wrong command line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NamedTuple
from uuid import UUID, uuid4

import typer

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.api.privacy.v1 import privacy_pb2 as pb
from modelkeep.api.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub
from modelkeep.errors import Invalid
from modelkeep.home import Home
from modelkeep.identity import ROLES
from modelkeep.service import Host, Service
from modelkeep_services.cli import erase_screens as screens
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import Asking
from modelkeep_services.cli.connect import connected
from modelkeep_services.cli.moments import instant
from modelkeep_services.commands.options import HomeOption, JsonOption, StoreOption

OFFICER: Final = "privacy_officer"
SECOND: Final = "risk_officer"
TOKEN: Final = "MODELKEEP_TOKEN"  # noqa: S105  # the variable's name
DESTROYED_S: Final = 30.0
LOOK_S: Final = 0.05
PAGE: Final = 1_000

BASES: Final = {
    name.removeprefix("BASIS_").lower().replace("_", "-"): number
    for name, number in pb.Basis.items()
    if name not in {"BASIS_UNSPECIFIED", "BASIS_RETENTION"}
}
STATUSES: Final = {
    name.removeprefix("ERASURE_STATUS_").lower(): number
    for name, number in pb.ErasureStatus.items()
    if number
}

RoleOption = Annotated[
    str, typer.Option("--role", help="whose token of the home to use, if none is given")
]
TokenOption = Annotated[
    str | None,
    typer.Option("--token", envvar=TOKEN, show_envvar=True, help="a JWT"),
]
RequestOption = Annotated[
    str, typer.Option("--request-id", help="a UUID: with it, a retry is one")
]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="stays in the log: it must not name anybody")
]


class Where(NamedTuple):
    """Whom to ask, and as whom."""

    home: Path | None
    store: str | None
    role: str
    token: str | None


app = typer.Typer(
    help="Erase what is kept of people: two persons, and no hold against it.",
    no_args_is_help=True,
)
holds = typer.Typer(help="What must not be erased for now.", no_args_is_help=True)
app.add_typer(holds, name="hold")


def _privacy(host: Host) -> Service:
    # Here: most commands need none of it.
    from modelkeep_services.privacy.service import service  # noqa: PLC0415

    return service(host)


@contextmanager
def reached(where: Where) -> Iterator[tuple[Asking, PrivacyServiceStub]]:
    if where.role not in ROLES:
        raise Invalid.field("role", f"there is no {where.role}")
    with (
        screen.progress("reading the log") as tell,
        connected(
            Home.find(where.home),
            {"privacy": _privacy},
            where.role,
            store_url=where.store,
            token=where.token,
            tell=tell,
        ) as there,
    ):
        yield Asking(there), there.stub("privacy", PrivacyServiceStub)


@app.command("request")
def request(
    subject: Annotated[str, typer.Argument(help="whose, as the keystore says")],
    basis: Annotated[str, typer.Option(help=", ".join(BASES))],
    reason: ReasonOption,
    *,
    purpose: Annotated[
        list[str] | None, typer.Option(help="only what was kept for this [all]")
    ] = None,
    request_id: RequestOption = "",
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Ask that what is kept of somebody be erased. Somebody else must approve."""
    if basis not in BASES:
        raise Invalid.field("basis", f"is one of {', '.join(BASES)}")
    asked = pb.RequestErasureRequest(
        request_id=_request_id(request_id),
        subject=subject,
        purposes=purpose or [],
        basis=BASES[basis],
        reason=reason,
    )
    with reached(Where(home, store, role, token)) as (ask, stub):
        screens.erasure(ask(stub.RequestErasure, asked).erasure, as_json=as_json)


@app.command("approve")
def approve(
    erasure: Annotated[str, typer.Argument(help="its id")],
    *,
    request_id: RequestOption = "",
    role: RoleOption = SECOND,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Agree, as a second person, and wait until the keys are destroyed."""
    asked = pb.ApproveErasureRequest(
        request_id=_request_id(request_id), erasure=erasure
    )
    with reached(Where(home, store, role, token)) as (ask, stub):
        written = ask(stub.ApproveErasure, asked).written
        found = _settled(ask, stub, erasure, written.position)
    screens.erasure(found, as_json=as_json)
    if found.status != pb.ERASURE_STATUS_DESTROYED:
        raise typer.Exit(1)


@app.command("reject")
def reject(
    erasure: Annotated[str, typer.Argument(help="its id")],
    reason: ReasonOption,
    *,
    request_id: RequestOption = "",
    role: RoleOption = SECOND,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Decline, or withdraw, a request that is open."""
    asked = pb.RejectErasureRequest(
        request_id=_request_id(request_id), erasure=erasure, reason=reason
    )
    with reached(Where(home, store, role, token)) as (ask, stub):
        screens.erasure(ask(stub.RejectErasure, asked).erasure, as_json=as_json)


@app.command("list")
def list_(
    *,
    status: Annotated[
        str | None, typer.Option(help=f"only {', '.join(STATUSES)}")
    ] = None,
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """List what was asked, and what became of it."""
    if status is not None and status not in STATUSES:
        raise Invalid.field("status", f"is one of {', '.join(STATUSES)}")
    asked = pb.ListErasuresRequest(page=Page(size=PAGE))
    asked.status = pb.ErasureStatus.ValueType(STATUSES.get(status or "", 0))
    with reached(Where(home, store, role, token)) as (ask, stub):
        answer = ask(stub.ListErasures, asked)
    screens.erasures(answer, as_json=as_json)


@app.command("show")
def show(
    *,
    subject: Annotated[str | None, typer.Option(help="whose")] = None,
    erasure: Annotated[str | None, typer.Option(help="of whom it was")] = None,
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Read what the log keeps of somebody, opened where its key lives."""
    asked = pb.ListPersonalRequest(page=Page(size=PAGE))
    if (subject is None) == (erasure is None):
        raise Invalid.field("subject", "say either --subject or --erasure")
    if subject is not None:
        asked.subject = subject
    elif erasure is not None:
        asked.erasure = erasure
    with reached(Where(home, store, role, token)) as (ask, stub):
        answer = pb.ListPersonalResponse()
        while True:
            one = ask(stub.ListPersonal, asked)
            answer.fields.extend(one.fields)
            if not one.next_token:
                break
            asked.page.token = one.next_token
    screens.fields(answer, as_json=as_json)


@app.command("due")
def due(
    *,
    by: Annotated[str | None, typer.Option(help="2030-06-30, or a time")] = None,
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """List what is past its retention period, or will be by a time."""
    asked = pb.ListDueRequest(page=Page(size=PAGE))
    if by is not None:
        asked.by.FromDatetime(instant("by", by, whole_day=True))
    with reached(Where(home, store, role, token)) as (ask, stub):
        answer = ask(stub.ListDue, asked)
    screens.due(answer, as_json=as_json)


@app.command("retention")
def retention(
    *,
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Say how long what is kept."""
    with reached(Where(home, store, role, token)) as (ask, stub):
        answer = ask(stub.GetRetention, pb.GetRetentionRequest())
    screens.retention(answer, as_json=as_json)


@app.command("keys")
def keys(
    *,
    turn: Annotated[bool, typer.Option("--turn", help="begin an epoch now")] = False,
    end_previous: Annotated[
        bool, typer.Option("--end-previous", help="and end all before it at once")
    ] = False,
    reason: ReasonOption = "",
    request_id: RequestOption = "",
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Show the epochs by which the keys are wrapped, or turn to a new one."""
    if (turn or end_previous) and not (turn and reason):
        raise Invalid.field("reason", "to turn the keys takes --turn and a reason")
    order = _request_id(request_id)
    asked = pb.TurnKeysRequest(
        request_id=order, reason=reason, end_previous=end_previous
    )
    with reached(Where(home, store, role, token)) as (ask, stub):
        answer = ask(stub.ListEpochs, pb.ListEpochsRequest())
        if turn:
            before = len(answer.epochs)
            replayed = ask(stub.TurnKeys, asked).written.replayed
            until = time.monotonic() + DESTROYED_S
            while time.monotonic() < until:
                answer = ask(stub.ListEpochs, pb.ListEpochsRequest())
                left = [one for one in answer.epochs if not one.HasField("ended")]
                turned = replayed or len(answer.epochs) > before
                if turned and (len(left) == 1 or not end_previous):
                    break
                time.sleep(LOOK_S)
    screens.epochs(answer, as_json=as_json)


@holds.command("place")
def place(
    hold: Annotated[str, typer.Argument(help="its name: you choose it")],
    matter: Annotated[str, typer.Option(help="who ordered it calls it so")],
    reason: ReasonOption,
    *,
    subject: Annotated[str | None, typer.Option(help="whose [everybody]")] = None,
    purpose: Annotated[
        list[str] | None, typer.Option(help="only what is kept for this [all]")
    ] = None,
    request_id: RequestOption = "",
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Forbid erasing, until the hold is released."""
    asked = pb.PlaceHoldRequest(
        request_id=_request_id(request_id),
        hold=hold,
        subject=subject or "",
        purposes=purpose or [],
        matter=matter,
        reason=reason,
    )
    with reached(Where(home, store, role, token)) as (ask, stub):
        answer = ask(stub.PlaceHold, asked)
    screens.done(f"hold {hold} stands", answer, as_json=as_json)


@holds.command("release")
def release(
    hold: Annotated[str, typer.Argument(help="its name")],
    reason: ReasonOption,
    *,
    request_id: RequestOption = "",
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Let erasing go on: what was held is put forward again by the clock."""
    asked = pb.ReleaseHoldRequest(
        request_id=_request_id(request_id), hold=hold, reason=reason
    )
    with reached(Where(home, store, role, token)) as (ask, stub):
        answer = ask(stub.ReleaseHold, asked)
    screens.done(f"hold {hold} is released", answer, as_json=as_json)


@holds.command("list")
def list_holds(
    *,
    released: Annotated[
        bool, typer.Option("--released", help="those that were released, too")
    ] = False,
    role: RoleOption = OFFICER,
    token: TokenOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """List what must not be erased."""
    asked = pb.ListHoldsRequest(page=Page(size=PAGE), released=released)
    with reached(Where(home, store, role, token)) as (ask, stub):
        answer = ask(stub.ListHolds, asked)
    screens.holds(answer, as_json=as_json)


def _request_id(given: str) -> str:
    try:
        return str(UUID(given)) if given else str(uuid4())
    except ValueError:
        raise Invalid.field("request-id", "must be a UUID") from None


def _settled(
    ask: Asking, stub: PrivacyServiceStub, erasure: str, position: int
) -> pb.Erasure:
    """Wait until what was approved is done, for a while."""
    asked = pb.GetErasureRequest(erasure=erasure, not_before=position)
    until = time.monotonic() + DESTROYED_S
    while True:
        found = ask(stub.GetErasure, asked).erasure
        waits = found.status == pb.ERASURE_STATUS_APPROVED
        if not waits or time.monotonic() >= until:
            return found
        time.sleep(LOOK_S)

"""The command `modelkeep` and all of its wiring: what runs, on what, and where."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from rich.console import Console

from modelkeep import __version__
from modelkeep.clock import clock_of
from modelkeep.errors import Invalid, ModelkeepError
from modelkeep.events import load_all
from modelkeep.home import Home
from modelkeep.identity import ROLES, LocalIssuer, OidcIssuer
from modelkeep.node import DEFAULT_ADDRESS, Build, Node, Tls
from modelkeep.service import Host, Service
from modelkeep.store import open_store

SERVICES: Final = (
    "inventory",
    "lineage",
    "policy",
    "monitoring",
    "debt",
    "insight",
    "audit",
)

app = typer.Typer(
    help="Bookkeeping for models: an event-sourced ledger of what runs and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
importing = typer.Typer(help="Bring an existing inventory in.", no_args_is_help=True)
app.add_typer(importing, name="import")

out = Console()
err = Console(stderr=True)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where everything lives [MODELKEEP_HOME, .modelkeep]"),
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="ledger file, or esdb://… / kurrentdb://…"),
]


def build(name: str) -> Build:
    """Name a service's factory; its module is imported when it is built."""

    def make(host: Host) -> Service:
        module = import_module(f"modelkeep_services.{name}.service")
        return cast("Callable[[Host], Service]", module.service)(host)

    return make


def builds(names: tuple[str, ...] = SERVICES) -> Mapping[str, Build]:
    return {name: build(name) for name in names}


@app.command()
def up(
    home: HomeOption = None,
    store: StoreOption = None,
    listen: Annotated[str, typer.Option(help="host:port")] = DEFAULT_ADDRESS,
    scenario: Annotated[bool, typer.Option(help="time moves by Tick alone")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="PEM: ask clients")] = None,
    oidc_issuer: Annotated[str | None, typer.Option(help="https://…")] = None,
    oidc_jwks: Annotated[str | None, typer.Option(help="https://… keys")] = None,
    oidc_audience: Annotated[str, typer.Option()] = "modelkeep",
) -> None:
    """Run all services in one process."""
    _run(
        SERVICES,
        home,
        store,
        listen,
        scenario,
        _tls(tls_cert, tls_key, tls_client_ca),
        _oidc(oidc_issuer, oidc_jwks, oidc_audience),
    )


@app.command()
def serve(
    services: Annotated[list[str], typer.Argument(help=", ".join(SERVICES))],
    home: HomeOption = None,
    store: StoreOption = None,
    listen: Annotated[str, typer.Option(help="host:port")] = "127.0.0.1:0",
    scenario: Annotated[bool, typer.Option(help="time moves by Tick alone")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="PEM: ask clients")] = None,
    oidc_issuer: Annotated[str | None, typer.Option(help="https://…")] = None,
    oidc_jwks: Annotated[str | None, typer.Option(help="https://… keys")] = None,
    oidc_audience: Annotated[str, typer.Option()] = "modelkeep",
) -> None:
    """Run some services; the others may run elsewhere on the same store."""
    unknown = sorted(set(services) - set(SERVICES))
    if unknown:
        raise Invalid.field("services", f"there is no {', '.join(unknown)}")
    _run(
        tuple(dict.fromkeys(services)),
        home,
        store,
        listen,
        scenario,
        _tls(tls_cert, tls_key, tls_client_ca),
        _oidc(oidc_issuer, oidc_jwks, oidc_audience),
    )


def _run(
    names: tuple[str, ...],
    home: Path | None,
    store_url: str | None,
    listen: str,
    scenario: bool,
    tls: Tls | None,
    issuers: list[OidcIssuer],
) -> None:
    load_all()
    place = Home.find(home).make()
    stop = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stop.set())
    with (
        open_store(store_url or str(place.ledger)) as store,
        Node(
            place,
            store,
            list(builds(names).values()),
            clock=clock_of(place, store, scenario=scenario),
            issuers=issuers,
            tls=tls,
        ) as node,
    ):
        node.serve(listen, ready=partial(_say_ready, names, listen, place), stop=stop)


def _say_ready(names: tuple[str, ...], listen: str, place: Home, port: int) -> None:
    host = listen.rpartition(":")[0]
    out.print(f"[bold]modelkeep {__version__}[/] {', '.join(names)} on {host}:{port}")
    out.print(f"ledger {place.ledger}, tokens in {place.tokens}", soft_wrap=True)


def _tls(cert: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        raise Invalid.field("tls", "a certificate and its key go together")
    ca = None if client_ca is None else client_ca.read_bytes()
    return Tls(key.read_bytes(), cert.read_bytes(), ca)


def _oidc(issuer: str | None, jwks: str | None, audience: str) -> list[OidcIssuer]:
    if issuer is None and jwks is None:
        return []
    if issuer is None or jwks is None or not jwks.startswith("https://"):
        raise Invalid.field("oidc", "an issuer and an https:// address of its keys")
    return [OidcIssuer(issuer, audience, jwks)]


@app.command()
def token(
    subject: Annotated[str, typer.Option(help="who: an opaque id")],
    role: Annotated[list[str], typer.Option(help=", ".join(sorted(ROLES)))],
    home: HomeOption = None,
    tenant: Annotated[str, typer.Option()] = "main",
    hours: Annotated[int, typer.Option(min=1, max=720)] = 12,
    machine: Annotated[bool, typer.Option(help="not a person")] = False,
) -> None:
    """Issue a local token for a person or a machine, with this home's key."""
    unknown = sorted(set(role) - ROLES)
    if unknown:
        raise Invalid.field("role", f"there is no {', '.join(unknown)}")
    issuer = LocalIssuer.open(Home.find(home).make().keys)
    typer.echo(
        issuer.issue(
            subject,
            frozenset(role),
            tenant=tenant,
            lifetime=timedelta(hours=hours),
            machine=machine,
        )
    )


@app.command()
def version() -> None:
    """Say which version this is."""
    typer.echo(__version__)


def main() -> None:
    """Exit 0 done, 1 refused or failed (said in one line), 2 a wrong command line."""
    try:
        app()
    except ModelkeepError as error:
        err.print(f"[red]modelkeep:[/] {error}", soft_wrap=True, highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()

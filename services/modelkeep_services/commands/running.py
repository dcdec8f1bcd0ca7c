"""Run services, and what they need to be run with."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from modelkeep import __version__
from modelkeep.apart import project as keep_views
from modelkeep.clock import clock_of
from modelkeep.errors import Invalid
from modelkeep.events import load_all
from modelkeep.home import Home
from modelkeep.identity import ROLES, LocalIssuer, OidcIssuer
from modelkeep.node import DEFAULT_ADDRESS, Node, Tls
from modelkeep.policy.defaults import text
from modelkeep.store import open_store, shown
from modelkeep_services.cli.screen import out
from modelkeep_services.commands.options import (
    HomeOption,
    PolicyOption,
    StoreOption,
)
from modelkeep_services.doctor.start import hold
from modelkeep_services.wiring import SERVICES, builds, projector, views

app = typer.Typer()


@app.command()
def up(
    home: HomeOption = None,
    store: StoreOption = None,
    policy: PolicyOption = None,
    listen: Annotated[str, typer.Option(help="host:port")] = DEFAULT_ADDRESS,
    scenario: Annotated[bool, typer.Option(help="time moves by Tick alone")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="PEM: ask clients")] = None,
    oidc_issuer: Annotated[str | None, typer.Option(help="https://…")] = None,
    oidc_jwks: Annotated[str | None, typer.Option(help="https://… keys")] = None,
    oidc_audience: Annotated[str, typer.Option()] = "modelkeep",
    apart: Annotated[bool, typer.Option(help="views in a process beside it")] = True,
) -> None:
    """Run all services in one process, and their views in another beside it."""
    _run(
        SERVICES,
        home,
        store,
        listen,
        scenario,
        _tls(tls_cert, tls_key, tls_client_ca),
        _oidc(oidc_issuer, oidc_jwks, oidc_audience),
        apart=apart,
        policy=policy,
    )


@app.command()
def serve(
    services: Annotated[list[str], typer.Argument(help=", ".join(SERVICES))],
    home: HomeOption = None,
    store: StoreOption = None,
    policy: PolicyOption = None,
    listen: Annotated[str, typer.Option(help="host:port")] = "127.0.0.1:0",
    scenario: Annotated[bool, typer.Option(help="time moves by Tick alone")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="PEM: ask clients")] = None,
    oidc_issuer: Annotated[str | None, typer.Option(help="https://…")] = None,
    oidc_jwks: Annotated[str | None, typer.Option(help="https://… keys")] = None,
    oidc_audience: Annotated[str, typer.Option()] = "modelkeep",
    apart: Annotated[
        bool, typer.Option(help="views in a process of their own")
    ] = False,
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
        apart=apart,
        policy=policy,
    )


def _run(
    names: tuple[str, ...],
    home: Path | None,
    store_url: str | None,
    listen: str,
    scenario: bool,
    tls: Tls | None,
    issuers: list[OidcIssuer],
    *,
    apart: bool,
    policy: str | None,
) -> None:
    if policy is not None:
        text(policy)  # Invalid before anything is opened
    load_all()
    place = Home.find(home).make()
    log = store_url or str(place.ledger)
    if store_url is None:
        hold(place, SERVICES)
    stop = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stop.set())
    with (
        open_store(log) as store,
        Node(
            place,
            store,
            list(builds(names, policy=policy, carries=True).values()),
            clock=clock_of(place, store, scenario=scenario),
            issuers=issuers,
            tls=tls,
            projector=projector(place, log, names) if apart else (),
        ) as node,
    ):
        node.serve(
            listen, ready=partial(_say_ready, names, listen, place, log), stop=stop
        )


@app.command(hidden=True)
def project(
    services: Annotated[list[str], typer.Argument()],
    tells: Annotated[int, typer.Option(help="the descriptor to write to")],
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Keep the views of some services for the process that answers."""
    # Its parent decides when it ends, whatever a terminal sends to both.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    load_all()
    place = Home.find(home)
    with open_store(store or str(place.ledger)) as log:
        keep_views(place, log, {name: views(name) for name in services}, tells)


def _say_ready(
    names: tuple[str, ...], listen: str, place: Home, log: str, port: int
) -> None:
    host = listen.rpartition(":")[0]
    out.print(f"[bold]modelkeep {__version__}[/] {', '.join(names)} on {host}:{port}")
    out.print(f"ledger {shown(log)}, tokens in {place.tokens}", soft_wrap=True)


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


@app.command("demo")
def demo_(
    home: HomeOption = None,
    tamper: Annotated[
        int | None, typer.Option(help="position of the event to tamper with in a copy")
    ] = None,
    bank: Annotated[
        Path | None, typer.Option(help="your copy of UCI's bank-additional-full.csv")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=275, help="only so many")
    ] = None,
) -> None:
    """Watch real models live a real year under governance (extra: demo)."""
    # Here: its packages are an extra's.
    from modelkeep_services.demo import run as demo  # noqa: PLC0415

    demo.run(Home.find(home), out, victim=tamper, days=days, bank_file=bank)


@app.command()
def version() -> None:
    """Say which version this is."""
    typer.echo(__version__)

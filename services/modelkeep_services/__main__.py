"""The command `modelkeep` and all of its wiring: what runs, on what, and where."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from rich.markup import escape

from modelkeep import __version__, witness
from modelkeep.apart import project as keep_views
from modelkeep.clock import clock_of
from modelkeep.errors import Invalid, ModelkeepError
from modelkeep.events import load_all
from modelkeep.home import Home
from modelkeep.identity import ROLES, LocalIssuer, OidcIssuer
from modelkeep.node import DEFAULT_ADDRESS, Build, Node, Tls
from modelkeep.policy.defaults import NAMES, text
from modelkeep.proof.assertions import TABLE, Question
from modelkeep.service import Host, Service
from modelkeep.store import open_store, shown
from modelkeep.views import AnyView
from modelkeep_services.cli import (
    as_of,
    asking,
    attest,
    backup,
    board,
    challenge,
    checkpoint,
    doctor,
    erase,
    export_log,
    false_alarms,
    gate,
    importing,
    replay,
    report,
    rotating,
    status,
    verify,
    why,
)
from modelkeep_services.cli.moments import instant
from modelkeep_services.cli.screen import err, out
from modelkeep_services.doctor.start import hold

SERVICES: Final = (
    "inventory",
    "lineage",
    "policy",
    "monitoring",
    "debt",
    "insight",
    "audit",
    "privacy",
)

NO_VERDICT: Final = (Invalid, verify.Unverified, doctor.Nothing)
"""Errors that say that there was nothing to answer: exit 2."""

app = typer.Typer(
    help="Bookkeeping for models: an event-sourced ledger of what runs and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
checkpoints = typer.Typer()
app.add_typer(checkpoints, name="checkpoint")

imports = typer.Typer(help="Bring an existing inventory in.", no_args_is_help=True)
app.add_typer(imports, name="import")

contracts = typer.Typer(help="Data against what was promised.", no_args_is_help=True)
app.add_typer(contracts, name="contract")

policies = typer.Typer(help="Rules as code, offline.", no_args_is_help=True)
app.add_typer(policies, name="policy")

reports = typer.Typer(help="Pages to read and to print.", no_args_is_help=True)
app.add_typer(reports, name="report")

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where everything lives [MODELKEEP_HOME, .modelkeep]"),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", help="ledger file, postgresql://…, or esdb://… / kurrentdb://…"
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        help=f"what a new ledger's rules are: {', '.join(NAMES)} [{NAMES[0]}]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="for programs")]


def build(name: str, **more: str | bool) -> Build:
    """Name a service's factory; its module is imported when it is built."""

    def make(host: Host) -> Service:
        module = import_module(f"modelkeep_services.{name}.service")
        return cast("Callable[..., Service]", module.service)(host, **more)

    return make


def builds(
    names: tuple[str, ...] = SERVICES,
    *,
    policy: str | None = None,
    carries: bool = False,
) -> Mapping[str, Build]:
    """`policy` names the bundle that a ledger without any begins with; `carries` says
    that checkpoints are taken to whom the environment names.
    """
    more: dict[str, dict[str, str | bool]] = {"audit": {"carries": carries}}
    if policy is not None:
        more["policy"] = {"starter": policy}
    return {name: build(name, **more.get(name, {})) for name in names}


def views(name: str) -> Sequence[AnyView]:
    """Return a service's views, without the service."""
    module = import_module(f"modelkeep_services.{name}.service")
    return cast("Sequence[AnyView]", module.VIEWS)


app.add_typer(erase.app, name="erase")


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


def projector(home: Home, log: str, names: Sequence[str]) -> list[str]:
    """Return the command that keeps views; the descriptor to tell is added to it."""
    where = ["--home", str(home.root), "--store", log]
    program = [sys.executable, "-m", "modelkeep_services", "project"]
    return [*program, *where, *names, "--tells"]


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


# --- questions: each is answered by a file in cli/ -----------------------------------


@app.command("why")
def why_(
    decision: Annotated[str, typer.Argument(help="a decision's UUID")],
    rescore: Annotated[bool, typer.Option(help="run the archived model again")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Say why a decision was made, and prove it. Exit 1 when a proof does not hold."""
    place = Home.find(home)
    with asking.audit(place, builds(), store) as ask:
        code = why.run(ask, place, decision, rescore=rescore, as_json=as_json)
    raise typer.Exit(code)


@app.command("dossier")
def dossier_(
    decision: Annotated[
        str | None, typer.Argument(help="a decision's UUID [or --reference]")
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="the signed file [dossier-UUID.json]")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="a page to read")] = None,
    pdf: Annotated[Path | None, typer.Option(help="paper (extra: pdf)")] = None,
    model: Annotated[str | None, typer.Option(help="whose --reference it is")] = None,
    reference: Annotated[str | None, typer.Option(help="the caller's own id")] = None,
    when: Annotated[
        str, typer.Option("--as-of", help="a day, a time, a position, or now")
    ] = "now",
    open_personal: Annotated[
        bool,
        typer.Option(help="open sealed personal fields; the file outlives erasure"),
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--from", help="make pages of this file; ask nobody")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="with --from: the log's public key, in a file")
    ] = None,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Write all that a decision rested on as one signed file. Exit 1: it is wrong."""
    from modelkeep_services.cli import dossier  # noqa: PLC0415  # reads three services

    place = Home.find(home)
    if source is not None:
        if decision is not None or reference is not None:
            raise Invalid.field("from", "a file says itself which decision it is of")
        wanted = dossier.Wanted(out_file, html, pdf)
        raise typer.Exit(dossier.again(place, key, source, wanted))
    named = dossier.Named(decision, model, reference)
    code = dossier.run(
        place,
        builds(),
        store,
        named,
        when,
        dossier.Wanted(out_file, html, pdf),
        open_personal=open_personal,
    )
    raise typer.Exit(code)


@app.command("as-of")
def as_of_(
    moment: Annotated[
        str, typer.Argument(help="2013-06-30, 2013-06-30T12:00, a position, or now")
    ],
    diff: Annotated[
        str | None, typer.Option(help="say also what changed by this moment")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Say what was true at a moment, as it was known then."""
    with asking.audit(Home.find(home), builds(), store) as ask:
        as_of.run(ask, moment, diff, as_json=as_json)


@checkpoints.callback(invoke_without_command=True)
def checkpoint_(
    context: typer.Context,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Sign now how far the log has come; or change the key that signs."""
    if context.invoked_subcommand is not None:
        return
    place = Home.find(home)
    with asking.audit(place, builds(), store) as ask:
        checkpoint.run(ask, place, as_json=as_json)


@checkpoints.command("rotate")
def checkpoint_rotate(
    compromised: Annotated[
        bool, typer.Option(help="others may have the old key: it leads nobody on")
    ] = False,
    writer: Annotated[
        bool, typer.Option(help="the key that signs appends, not checkpoints")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Sign with another key from now on; the old one names it its successor."""
    place = Home.find(home)
    if writer:
        if compromised:
            raise Invalid.field("compromised", "take its line out of writers.vkeys")
        rotating.run_writer(place, as_json=as_json)
        return
    rotating.run(place, compromised=compromised, as_json=as_json)


@app.command("witness")
def witness_(
    key: Annotated[Path, typer.Option(help="the witness's private key, a 0600 file")],
    logs: Annotated[
        list[str], typer.Option("--log", help="a ledger's public key, or a file")
    ],
    state: Annotated[Path, typer.Option(help="the folder it remembers in")],
    name: Annotated[
        str | None, typer.Option(help="make the key, if there is none, of this name")
    ] = None,
    listen: Annotated[str, typer.Option(help="host:port")] = witness.DEFAULT_ADDRESS,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM")] = None,
) -> None:
    """Cosign other ledgers' checkpoints (also: modelkeep-witness, on its own)."""
    given = [f"--key={key}", f"--state={state}", f"--listen={listen}"]
    given += [f"--log={one}" for one in logs]
    for flag, value in (("name", name), ("tls-cert", tls_cert), ("tls-key", tls_key)):
        given += [] if value is None else [f"--{flag}={value}"]
    raise typer.Exit(witness.main(given))


@app.command("notary")
def notary_(
    check: Annotated[
        bool,
        typer.Option(help="read the whole log, compare it with what was signed"),
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Sign beside services that run elsewhere. --check: exit 1 when tampered with."""
    from modelkeep_services.cli import sidecar  # noqa: PLC0415  # with its service

    load_all()
    place = Home.find(home)
    log = sidecar.required(store, place)
    if check:
        raise typer.Exit(sidecar.check(place, log, as_json=as_json))
    stop = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stop.set())
    sidecar.run(place.make(), log, sidecar.say_ready, stop)


@app.command("verify")
def verify_(
    ledger: Annotated[
        Path | None, typer.Option(help="a ledger file [the home's]")
    ] = None,
    signed: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="a file, or the folder they are in"),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="the log's public key, or a file with it")
    ] = None,
    witnesses: Annotated[
        Path | None,
        typer.Option(
            envvar="MODELKEEP_WITNESSES", help="a policy: whose cosignatures count"
        ),
    ] = None,
    timestamp_roots: Annotated[
        Path | None,
        typer.Option(
            envvar="MODELKEEP_TIMESTAMP_ROOTS", help="PEM: who vouches for time stamps"
        ),
    ] = None,
    asserted: Annotated[
        list[str] | None,
        typer.Option(
            "--assert", help=f"look for the contrary of: {', '.join(TABLE)}, all"
        ),
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="a day, a time or an event's number")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="likewise; a day is whole")
    ] = None,
    tier: Annotated[list[int] | None, typer.Option(help="of these alone")] = None,
    environment: Annotated[
        list[str] | None, typer.Option(help="in these alone")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Hold the ledger against what was signed. Exit 1: tampered with; 2: no verdict."""
    question = Question(asserted or (), first, last, tier or (), environment or ())
    code = verify.run(
        Home.find(home),
        ledger,
        signed,
        key,
        witnesses,
        timestamp_roots,
        question,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command("export")
def export_(
    out: Annotated[Path, typer.Option(help="the file to write; must not be there")],
    log: Annotated[
        bool, typer.Option("--log", help="events, with their proof, as JSON lines")
    ] = False,
    exam: Annotated[
        bool, typer.Option("--exam", help="what an examiner asks for, as an archive")
    ] = False,
    as_of_moment: Annotated[
        str, typer.Option("--as-of", help="of an exam: as `as-of` takes it")
    ] = "now",
    without_log: Annotated[
        bool, typer.Option("--without-log", help="of an exam: to send by mail")
    ] = False,
    first: Annotated[
        str | None, typer.Option("--from", help="a day, a time or an event's number")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="likewise; a day is whole [the last]")
    ] = None,
    signed: Annotated[
        Path | None, typer.Option("--checkpoint", help="the one to end at [the last]")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Write what anybody can check without this ledger: an exam pack, or the log."""
    if log == exam:
        raise Invalid.field("export", "say what to export: --exam or --log")
    if exam:
        from modelkeep_services.cli.exam import pack  # noqa: PLC0415  # many services

        if first or last or signed:
            raise Invalid.field("exam", "--from, --to and --checkpoint are for --log")
        wanted = pack.Wanted(out, as_of_moment, not without_log)
        pack.run(Home.find(home), builds(), store, wanted, as_json=as_json)
    else:
        asked = export_log.Asked(out, first, last, signed)
        export_log.run(Home.find(home), store, asked, as_json=as_json)


@app.command("replay")
def replay_(
    as_json: JsonOption = False, home: HomeOption = None, store: StoreOption = None
) -> None:
    """Drop all views, replay the log, compare. Exit 1 when a view differs."""
    load_all()
    raise typer.Exit(replay.run(Home.find(home), builds(), store, as_json=as_json))


@app.command("attest")
def attest_(
    out: Annotated[
        Path | None, typer.Option(help="sign what the views say, into this file")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--check", help="replay, and compare with this one")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="who may have signed it, or a file of such")
    ] = None,
    service: Annotated[
        list[str] | None, typer.Option(help="sign the views of these alone")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Sign the views' digests, or check such by replay. Exit 1 when a view differs."""
    load_all()
    if (out is None) == (file is None):
        raise Invalid.field("out", "name a file to write, or one to --check")
    unknown = sorted(set(service or ()) - set(SERVICES))
    if unknown:
        raise Invalid.field("service", f"there is no {', '.join(unknown)}")
    place = Home.find(home)
    known = {name: views(name) for name in service or SERVICES}
    if out is not None:
        attest.run(place, known, store, out)
    if file is not None:
        code = attest.check(place, views, store, file, key, as_json=as_json)
        raise typer.Exit(code)


@app.command("backtest")
def backtest_(
    bundle: Annotated[
        Path | None, typer.Argument(help="the candidate, in YAML; none with --exact")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="2013-06-30 or a time [the first]")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="2013-06-30 or a time [the last]")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="only of these")] = None,
    action: Annotated[list[str] | None, typer.Option(help="only to do these")] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes-per-approval", help="what you take one to cost"),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write a page to read")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", help="write it for programs")
    ] = None,
    exact: Annotated[
        bool, typer.Option(help="each verdict by its own bundle: all must be the same")
    ] = False,
    tenant: Annotated[str, typer.Option()] = "main",
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Ask another bundle all that was asked. With --exact, exit 1 on a difference."""
    from modelkeep_services.cli import backtest  # noqa: PLC0415  # compiles rules

    place = Home.find(home)
    asked = backtest.period(first, last, model or [], action or [])
    if exact:
        if bundle is not None:
            raise Invalid.field("bundle", "--exact asks each verdict's own bundle")
        code = backtest.exact(place, store, asked, tenant, as_json=as_json)
        raise typer.Exit(code)
    if bundle is None:
        raise Invalid.field("bundle", "name a file, or --exact")
    wanted = backtest.Wanted(html, json_file, as_json)
    backtest.run(place, store, bundle, asked, minutes, tenant, wanted)


@app.command("rescore")
def rescore_(
    rubric: Annotated[Path | None, typer.Option(help="a tier rubric, in YAML")] = None,
    health: Annotated[Path | None, typer.Option(help="a health document")] = None,
    debt: Annotated[Path | None, typer.Option(help="a rate card")] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="2013-06-30 or a time [the first]")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", "--as-of", help="2013-06-30 or a time [now]")
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.01, max=366, help="days from look to look at health")
    ] = 1.0,
    tenant: Annotated[str, typer.Option()] = "main",
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Score all history by another document, and say who moves. Writes nothing."""
    from modelkeep_services.cli import rescore  # noqa: PLC0415  # reads three services

    span = rescore.Span(
        None if first is None else instant("from", first, whole_day=False),
        None if last is None else instant("to", last, whole_day=True),
        timedelta(days=every),
    )
    asked = rescore.Documents(rubric, health, debt)
    rescore.run(Home.find(home), store, asked, span, tenant, as_json=as_json)


artifacts = typer.Typer(help="Model files, never opened.", no_args_is_help=True)
app.add_typer(artifacts, name="artifact")

SignatureOption = Annotated[
    Path, typer.Option("--signature", help="an OpenSSF model signature")
]


@artifacts.command("put")
def artifact_put(
    files: Annotated[list[Path], typer.Argument(help="to be kept, whole")],
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Keep files under their SHA-256, here or where MODELKEEP_ARTIFACTS says."""
    from modelkeep_services.cli import artifact  # noqa: PLC0415  # with its service

    artifact.put(Home.find(home), files, as_json=as_json)


@artifacts.command("show")
def artifact_show(
    what: Annotated[str, typer.Argument(help="a file, or the digest of one kept")],
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Say what a model file says of itself. Nothing of it is run or unpacked."""
    from modelkeep_services.cli import artifact  # noqa: PLC0415  # with its service

    artifact.show(Home.find(home), what, as_json=as_json)


@artifacts.command("get")
def artifact_get(
    digest: Annotated[str, typer.Argument(help="sha256:…")],
    to: Annotated[Path, typer.Option("--out", help="a new file")],
    home: HomeOption = None,
) -> None:
    """Copy what is kept under a digest, if it still is that."""
    from modelkeep_services.cli import artifact  # noqa: PLC0415  # with its service

    artifact.get(Home.find(home), digest, to)


@artifacts.command("check")
def artifact_check(
    digests: Annotated[list[str], typer.Argument(help="sha256:…")],
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Hash what is kept again. Exit 1 where it is no longer what it was."""
    from modelkeep_services.cli import artifact  # noqa: PLC0415  # with its service

    raise typer.Exit(artifact.check(Home.find(home), digests, as_json=as_json))


@artifacts.command("trust")
def artifact_trust(
    name: Annotated[str, typer.Argument(help="how verdicts shall name the publisher")],
    key: Annotated[Path, typer.Argument(help="the public key: PEM, P-256 to P-521")],
    home: HomeOption = None,
) -> None:
    """Let a publisher's signatures over model files count from here on."""
    from modelkeep_services.cli import artifact  # noqa: PLC0415  # with its service

    artifact.trust(Home.find(home), name, key)


@artifacts.command("verify")
def artifact_verify(
    folder: Annotated[Path, typer.Argument(help="the model's files")],
    signature: SignatureOption,
    key: Annotated[
        Path | None, typer.Option(help="the publisher's [all who are trusted]")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Hold a folder to its publisher's signature. Exit 1 where it is another."""
    from modelkeep_services.cli import artifact  # noqa: PLC0415  # with its service

    raise typer.Exit(
        artifact.verified(Home.find(home), folder, signature, key, as_json=as_json)
    )


@artifacts.command("attach")
def artifact_attach(
    model: Annotated[str, typer.Argument()],
    version: Annotated[str, typer.Argument()],
    signature: SignatureOption,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Record a publisher's signature with the version that it covers."""
    from modelkeep_services.cli import artifact  # noqa: PLC0415  # with its service

    place = Home.find(home)
    artifact.attach(place, builds(), store, model, version, signature)


shadows = typer.Typer(help="A bundle beside the one in force.", no_args_is_help=True)
app.add_typer(shadows, name="shadow")


@shadows.command("set")
def shadow_set(
    name: Annotated[str, typer.Argument(help="the bundle's name")],
    bundle: Annotated[str, typer.Argument(help="the digest of a proposed bundle")],
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """From here on ask this bundle too; nothing is done about its answers."""
    from modelkeep_services.cli import shadow  # noqa: PLC0415  # with its service

    shadow.change(Home.find(home), builds(), store, bundle, name)


@shadows.command("clear")
def shadow_clear(
    bundle: Annotated[str, typer.Argument(help="the digest of the one beside now")],
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Ask it no more."""
    from modelkeep_services.cli import shadow  # noqa: PLC0415  # with its service

    shadow.change(Home.find(home), builds(), store, bundle, None)


@shadows.command("show")
def shadow_show(
    bundle: Annotated[str, typer.Argument(help="its digest [the one beside now]")] = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Say what the shadow would have changed so far."""
    from modelkeep_services.cli import shadow  # noqa: PLC0415  # with its service

    shadow.show(Home.find(home), builds(), store, bundle, as_json=as_json)


@app.command("status")
def status_(
    as_json: JsonOption = False, home: HomeOption = None, store: StoreOption = None
) -> None:
    """Say how far a home is and what halted. Exit 1 when something did."""
    raise typer.Exit(status.run(Home.find(home), SERVICES, store, as_json=as_json))


@app.command("doctor")
def doctor_(
    full: Annotated[
        bool, typer.Option("--full", help="replay all, read every object")
    ] = False,
    strict: Annotated[bool, typer.Option(help="what is warned of fails")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Examine a deployment. Exit 1 when something fails, 2 when there is none."""
    load_all()
    looked_at = {name: partial(views, name) for name in SERVICES}
    code = doctor.run(
        Home.find(home), looked_at, full=full, strict=strict, as_json=as_json
    )
    raise typer.Exit(code)


@app.command("backup")
def backup_(
    to: Annotated[Path, typer.Option("--out", help="a new folder, or a file.tar")],
    keys: Annotated[
        bool, typer.Option("--keys", help="private keys too: guard it like them")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Copy a home, whole and verified, while it works."""
    backup.back_up(Home.find(home), to, keys=keys, as_json=as_json)


@app.command("restore")
def restore_(
    source: Annotated[Path, typer.Argument(help="the backup: a folder or file.tar")],
    home: Annotated[Path, typer.Option("--home", help="the new home: not there yet")],
    until: Annotated[
        str | None,
        typer.Option(help="a position, day or time: a fork that ends there"),
    ] = None,
    signed: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="checkpoints kept elsewhere: to hold it to"),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="the log's public key, or a file with it")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a home from a backup, verified before it is one. Exit 1 when it is not."""
    place = Home(home.absolute())
    backup.bring_back(source, place, until, signed, key, as_json=as_json)


@app.command("false-alarms")
def false_alarms_(
    model: Annotated[
        str | None, typer.Argument(help="its short name [all that have a budget]")
    ] = None,
    moment: Annotated[str, typer.Option("--as-of", help="as `as-of` takes it")] = "now",
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Say what false alarms cost and what reviews found. Exit 1 beyond a budget."""
    raise typer.Exit(
        false_alarms.run(
            Home.find(home), builds(), store, model, moment, as_json=as_json
        )
    )


@app.command("challenge")
def challenge_(
    moment: Annotated[str, typer.Option("--as-of", help="as `as-of` takes it")] = "now",
    threshold: Annotated[
        int, typer.Option(min=1, help="so many yes without a no are named")
    ] = 10,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Say who approves how fast, who never refuses, and who approves each other's."""
    challenge.run(Home.find(home), builds(), store, moment, threshold, as_json=as_json)


@app.command("simulate-alarms")
def simulate_alarms(
    document: Annotated[
        Path | None,
        typer.Option(
            help="YAML: your alarm budget [one false alarm a quarter]",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    quarters: Annotated[
        int, typer.Option(min=1, max=1_000, help="without drift, 2,208 windows each")
    ] = 50,
    models: Annotated[
        int, typer.Option(min=1, max=1_000, help="with drift, a shift each")
    ] = 200,
    rows: Annotated[int, typer.Option(min=10, max=1_000_000, help="a window")] = 1_000,
    baseline_days: Annotated[
        int, typer.Option(min=1, max=3_660, help="rows an hour's baseline, in days")
    ] = 91,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Say what a false-alarm budget costs in delay. Exit 1 when it was not kept."""
    # Here: no other command needs numpy.
    from modelkeep.stats.alarm_budget import AlarmDocument  # noqa: PLC0415
    from modelkeep.stats.alarm_simulation import Scenario  # noqa: PLC0415
    from modelkeep_services.cli import simulating  # noqa: PLC0415

    scenario = Scenario(
        seed=seed,
        replicas=quarters,
        drift_replicas=models,
        rows=rows,
        baseline_days=baseline_days,
        document=AlarmDocument("default")
        if document is None
        else AlarmDocument.from_yaml(document.read_text()),
    )
    raise typer.Exit(simulating.simulate(scenario, as_json=as_json))


@app.command("board")
def board_(
    to: Annotated[Path, typer.Option("--out", help="the HTML file to write")],
    moment: Annotated[str, typer.Option("--as-of", help="as `as-of` takes it")] = "now",
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Write the board's page: one HTML file whose numbers open their events."""
    board.run(Home.find(home), builds(), store, to, moment)


@reports.command("model")
def report_model(
    model: Annotated[str, typer.Argument(help="its short name")],
    to: Annotated[
        Path | None, typer.Option("--out", help="the HTML file to write [MODEL.html]")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="2013-06-30 or a time [first window]")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="2013-06-30 or a time [the moment]")
    ] = None,
    moment: Annotated[str, typer.Option("--as-of", help="as `as-of` takes it")] = "now",
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Write a model's report: one HTML file with plots, whose figures name events."""
    report.run(Home.find(home), builds(), store, model, to, (first, last), moment)


@contracts.command("check")
def contract_check(
    file: Annotated[Path, typer.Argument(help=".parquet or .csv")],
    document: Annotated[
        Path | None, typer.Option("--contract", help="an ODCS 3 document, in YAML")
    ] = None,
    table: Annotated[str | None, typer.Option(help="which of its tables")] = None,
    model: Annotated[
        str | None, typer.Option(help="by its contract; the verdict is recorded")
    ] = None,
    dataset: Annotated[str, typer.Option(help="the file's node in lineage")] = "",
    purpose: Annotated[str, typer.Option(help="training, scoring")] = "training",
    key: Annotated[str, typer.Option(help="the column that names rows")] = "",
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Check a file before anything learns from it; exit 1 where the contract broke."""
    if (document is None) == (model is None):
        raise Invalid.field("contract", "name a --contract or a --model: one of them")
    if purpose not in {"training", "scoring"}:
        raise Invalid.field("purpose", "is training or scoring")
    # Arrow takes two seconds to import: only this command waits for it.
    from modelkeep_services.cli import contract  # noqa: PLC0415

    if document is not None:
        kept = contract.local(file, document, table, key)
    else:
        kept = contract.recorded(
            Home.find(home),
            builds(),
            store,
            file,
            model or "",
            dataset,
            purpose,
            key,
        )
    raise typer.Exit(0 if kept else 1)


@app.command("gate")
def gate_(
    action: Annotated[str, typer.Argument(help="promote, deploy, set_traffic, …")],
    model: Annotated[str, typer.Option(help="its short name")],
    version: Annotated[str, typer.Option(help="of the model")] = "",
    env: Annotated[str, typer.Option(help="dev, staging, prod")] = "prod",
    use: Annotated[str, typer.Option(help="what it would be used for")] = "",
    share: Annotated[
        float | None, typer.Option(min=0, max=1, help="of the traffic")
    ] = None,
    digest: Annotated[str, typer.Option(help="what the version must be")] = "",
    target: Annotated[str, typer.Option(help="the version a rollback leads to")] = "",
    evidence: Annotated[
        Path | None,
        typer.Option(help="figures that the ledger cannot know: YAML, JSON"),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, max=86_400, help="seconds, for approvals")
    ] = 0.0,
    signed: Annotated[
        Path | None, typer.Option("--out", help="write the verdict, signed (DSSE)")
    ] = None,
    request_id: Annotated[
        str, typer.Option(help="a UUID: asked again with it, it is the same question")
    ] = "",
    role: Annotated[
        str, typer.Option(help="whose token of the home to use, if none is given")
    ] = "engineer",
    credential: Annotated[
        str | None,
        typer.Option("--token", envvar=gate.TOKEN, show_envvar=True, help="a JWT"),
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="host:port, instead of the home's service")
    ] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM: who vouches for it")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Ask whether an action may be done. Exit 0 allow, 1 deny, 3 pending, 4 unknown."""
    asked = gate.Gate(
        action,
        model,
        version,
        env,
        use,
        digest,
        target,
        share,
        evidence,
        request_id,
        wait,
        signed,
    )
    if role not in ROLES:
        raise Invalid.field("role", f"there is no {role}")
    place = Home.find(home)
    try:
        with gate.reached(
            place, builds(), store, role, credential, server, tls_ca
        ) as ask:
            # A scenario's time is moved by hand.
            now = None if place.scenario.exists() else datetime.now(UTC)
            code = gate.run(ask, asked, now, as_json=as_json)
    except Invalid:
        raise
    except ModelkeepError as error:
        err.print(f"[red]modelkeep:[/] {escape(gate.unknown(error))}", soft_wrap=True)
        code = gate.UNKNOWN
    raise typer.Exit(code)


# --- policy: the engine takes a while to import, and only these commands wait for it --


@policies.command("init")
def policy_init(
    file: Annotated[Path, typer.Argument(help="the YAML file to write")],
    name: Annotated[
        str, typer.Option("--from", help=f"of the library: {', '.join(NAMES)}")
    ] = NAMES[0],
    force: Annotated[bool, typer.Option(help="write over what is there")] = False,
) -> None:
    """Write a bundle of the library, to be made your own."""
    from modelkeep_services.cli import policy  # noqa: PLC0415

    policy.init(file, name, force=force)


@policies.command("schema")
def policy_schema() -> None:
    """Print the format's JSON Schema, for editors."""
    from modelkeep_services.cli import policy  # noqa: PLC0415

    policy.schema()


@policies.command("lint")
def policy_lint(
    file: Annotated[Path, typer.Argument(help="a bundle's YAML")],
    strict: Annotated[bool, typer.Option(help="advice counts as errors")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say everything that is wrong with a bundle, with lines and carets."""
    from modelkeep_services.cli import policy  # noqa: PLC0415

    raise typer.Exit(policy.lint(file, strict=strict, as_json=as_json))


@policies.command("test")
def policy_test(
    file: Annotated[Path, typer.Argument(help="a bundle's YAML")],
    mutate: Annotated[
        bool, typer.Option("--mutate", help="say which mistakes no test would notice")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a bundle's own tests. Exit 1 when one fails, or when there are none."""
    from modelkeep_services.cli import policy  # noqa: PLC0415

    raise typer.Exit(policy.test(file, mutate=mutate, as_json=as_json))


@policies.command("explain")
def policy_explain(
    file: Annotated[Path, typer.Argument(help="a bundle's YAML")],
    fixture: Annotated[str | None, typer.Option(help="facts of the bundle")] = None,
    facts: Annotated[Path | None, typer.Option(help="facts in YAML or JSON")] = None,
    changed: Annotated[
        list[str] | None, typer.Option("--set", help="evidence.psi_max=0.3")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--unset", help="evidence.psi_max")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a bundle of some facts, and say why it answers so. Exit 1 unless ALLOW."""
    from modelkeep_services.cli import policy  # noqa: PLC0415

    raise typer.Exit(
        policy.explain(
            file, fixture, facts, changed or [], without or [], as_json=as_json
        )
    )


@policies.command("diff")
def policy_diff(
    old: Annotated[Path, typer.Argument(help="a bundle's YAML")],
    new: Annotated[Path, typer.Argument(help="a bundle's YAML")],
    as_json: JsonOption = False,
) -> None:
    """Say what changed between two bundles, rule by rule."""
    from modelkeep_services.cli import policy  # noqa: PLC0415

    raise typer.Exit(policy.compare(old, new, as_json=as_json))


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


@imports.command("csv")
def import_csv(
    table: Annotated[
        Path,
        typer.Argument(help="one row a model", exists=True, dir_okay=False),
    ],
    mapping: Annotated[
        Path,
        typer.Option(
            "--map", help="YAML: which column is what", exists=True, dir_okay=False
        ),
    ],
    dry_run: Annotated[bool, typer.Option(help="only list the problems")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Register a list of models. Exit 1, and nothing written, when a row is wrong."""
    place = Home.find(home)
    code = importing.run(
        place, builds(), store, table, mapping, dry_run=dry_run, as_json=as_json
    )
    raise typer.Exit(code)


stores = typer.Typer(help="Where the ledger is kept.", no_args_is_help=True)
app.add_typer(stores, name="store")


@stores.command("copy")
def store_copy(
    source: Annotated[str, typer.Option("--from", help="as --store takes it")],
    target: Annotated[str, typer.Option("--to", help="a new one, or a copy begun")],
    as_json: JsonOption = False,
) -> None:
    """Carry a ledger to another engine, proofs and all. Exit 1 when it was damaged."""
    from modelkeep_services.cli import store_copy as copying  # noqa: PLC0415

    copying.run(source, target, as_json=as_json)


@app.command()
def version() -> None:
    """Say which version this is."""
    typer.echo(__version__)


def main() -> None:
    """Exit 0 done, 1 refused or failed (said in one line), 2 a wrong command line."""
    try:
        app()
    except ModelkeepError as error:
        err.print(f"[red]modelkeep:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2 if isinstance(error, NO_VERDICT) else 1)


if __name__ == "__main__":
    main()

"""What is signed, checked, exported and replayed."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from modelkeep import witness
from modelkeep.errors import Invalid
from modelkeep.events import load_all
from modelkeep.home import Home
from modelkeep.proof.assertions import TABLE, Question
from modelkeep_services.cli import (
    asking,
    attest,
    checkpoint,
    export_log,
    replay,
    rotating,
    verify,
)
from modelkeep_services.commands.options import (
    HomeOption,
    JsonOption,
    StoreOption,
)
from modelkeep_services.wiring import SERVICES, builds, views

app = typer.Typer()

checkpoints = typer.Typer()
app.add_typer(checkpoints, name="checkpoint")


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

"""Questions to a ledger: each is answered by a file in `cli/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelkeep.errors import Invalid
from modelkeep.home import Home
from modelkeep_services.cli import (
    as_of,
    asking,
    board,
    challenge,
    false_alarms,
    report,
    status,
    why,
)
from modelkeep_services.commands.options import (
    HomeOption,
    JsonOption,
    StoreOption,
)
from modelkeep_services.wiring import SERVICES, builds

app = typer.Typer()

reports = typer.Typer(help="Pages to read and to print.", no_args_is_help=True)
app.add_typer(reports, name="report")


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


@app.command("status")
def status_(
    as_json: JsonOption = False, home: HomeOption = None, store: StoreOption = None
) -> None:
    """Say how far a home is and what halted. Exit 1 when something did."""
    raise typer.Exit(status.run(Home.find(home), SERVICES, store, as_json=as_json))


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

"""Policy: written, tried on history, asked in a pipeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from modelkeep.errors import Invalid, ModelkeepError
from modelkeep.home import Home
from modelkeep.identity import ROLES
from modelkeep.policy.defaults import NAMES
from modelkeep_services.cli import (
    gate,
)
from modelkeep_services.cli.moments import instant
from modelkeep_services.cli.screen import err
from modelkeep_services.commands.options import (
    HomeOption,
    JsonOption,
    StoreOption,
)
from modelkeep_services.wiring import builds

app = typer.Typer()

policies = typer.Typer(help="Rules as code, offline.", no_args_is_help=True)
app.add_typer(policies, name="policy")

shadows = typer.Typer(help="A bundle beside the one in force.", no_args_is_help=True)
app.add_typer(shadows, name="shadow")


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

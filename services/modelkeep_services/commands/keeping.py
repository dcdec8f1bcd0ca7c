"""What comes in, is kept, copied and examined."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from modelkeep.errors import Invalid
from modelkeep.events import load_all
from modelkeep.home import Home
from modelkeep_services.cli import (
    backup,
    doctor,
    importing,
)
from modelkeep_services.commands.options import (
    HomeOption,
    JsonOption,
    StoreOption,
)
from modelkeep_services.wiring import SERVICES, builds, views

app = typer.Typer()

artifacts = typer.Typer(help="Model files, never opened.", no_args_is_help=True)
app.add_typer(artifacts, name="artifact")

imports = typer.Typer(help="Bring an existing inventory in.", no_args_is_help=True)
app.add_typer(imports, name="import")

contracts = typer.Typer(help="Data against what was promised.", no_args_is_help=True)
app.add_typer(contracts, name="contract")

stores = typer.Typer(help="Where the ledger is kept.", no_args_is_help=True)
app.add_typer(stores, name="store")


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


@stores.command("copy")
def store_copy(
    source: Annotated[str, typer.Option("--from", help="as --store takes it")],
    target: Annotated[str, typer.Option("--to", help="a new one, or a copy begun")],
    as_json: JsonOption = False,
) -> None:
    """Carry a ledger to another engine, proofs and all. Exit 1 when it was damaged."""
    from modelkeep_services.cli import store_copy as copying  # noqa: PLC0415

    copying.run(source, target, as_json=as_json)


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

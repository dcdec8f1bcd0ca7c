"""Options that most commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelkeep.policy.defaults import NAMES

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

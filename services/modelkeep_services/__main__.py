"""The command `modelkeep`: what it does is in `commands/`, its services in `wiring`."""

from __future__ import annotations

import sys
from typing import Final

import typer
from rich.markup import escape

from modelkeep.errors import Invalid, ModelkeepError
from modelkeep_services.cli import (
    doctor,
    erase,
    verify,
)
from modelkeep_services.cli.screen import err
from modelkeep_services.commands import keeping, proofs, questions, rules, running

NO_VERDICT: Final = (Invalid, verify.Unverified, doctor.Nothing)
"""Errors that say that there was nothing to answer: exit 2."""

app = typer.Typer(
    help="Bookkeeping for models: an event-sourced ledger of what runs and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for part in (running, questions, proofs, rules, keeping):
    app.add_typer(part.app)
app.add_typer(erase.app, name="erase")


def main() -> None:
    """Exit 0 done, 1 refused or failed (said in one line), 2 a wrong command line."""
    try:
        app()
    except ModelkeepError as error:
        err.print(f"[red]modelkeep:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2 if isinstance(error, NO_VERDICT) else 1)


if __name__ == "__main__":
    main()

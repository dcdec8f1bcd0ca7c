"""How the command speaks: tables for people, JSON for machines, one line for errors.

Nothing that comes from the ledger is markup, and nothing in it is obeyed by a terminal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeAlias

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

NAME_WIDTH: Final = 13
PATIENCE_S: Final = 1.0
"""What takes longer shows how far it is."""

Cell: TypeAlias = "str | Text"
Row: TypeAlias = "Sequence[Cell]"
Tell: TypeAlias = "Callable[[int, int], None]"
"""Told how much is done, of how much."""

STYLES: Final = {
    "active": "green",
    "green": "green",
    "allow": "green",
    "approved": "green",
    "true": "green",
    "amber": "yellow",
    "medium": "yellow",
    "pending": "yellow",
    "slowed": "yellow",
    "acknowledged": "yellow",
    "suspended": "yellow",
    "red": "red",
    "high": "red",
    "critical": "bold red",
    "deny": "red",
    "false": "red",
    "missing": "red",
    "error": "red",
    "exhausted": "red",
    "overdue": "red",
    "rejected": "red",
    "open": "red",
}


def clean(text: str) -> str:
    """Leave nothing in it that a terminal obeys."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def word(text: str) -> Text:
    """A status, in its colour."""
    return Text(clean(text), STYLES.get(text, ""))


def line(*parts: Cell) -> None:
    whole = Text()
    for part in parts:
        whole.append_text(part if isinstance(part, Text) else Text(clean(part)))
    out.print(whole, soft_wrap=not out.is_terminal)


def heading(text: str) -> None:
    out.print()
    out.print(Text(clean(text), "bold"))


def fact(name: str, *parts: Cell) -> None:
    """One name and what is said of it, which stays in a column of its own."""
    _beside(Text(f"  {clean(name):<{NAME_WIDTH}}", "dim"), parts)


def point(mark: str, style: str, *parts: Cell) -> None:
    """One of several things to say, behind a mark."""
    _beside(Text(f"  {mark} ", style), parts)


def _beside(left: Text, parts: Sequence[Cell]) -> None:
    said = Text.assemble(*(p if isinstance(p, Text) else clean(p) for p in parts))
    if not out.is_terminal:
        out.print(Text.assemble(left, said), soft_wrap=True)
        return
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(left, said)
    out.print(grid)


def table(columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows, each cell folded to what the terminal has room for."""
    made = Table(box=SIMPLE_HEAD if out.is_terminal else None, pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold", header_style="dim")
    for row in rows:
        made.add_row(*(c if isinstance(c, Text) else Text(clean(c)) for c in row))
    out.print(made)


def say_json(found: Message | dict[str, object]) -> None:
    plain = (
        MessageToDict(found, preserving_proto_field_name=True)
        if isinstance(found, Message)
        else found
    )
    print(json.dumps(plain, indent=2, ensure_ascii=False))  # noqa: T201  # for programs


def day(moment: Timestamp) -> str:
    return moment.ToDatetime(tzinfo=UTC).strftime("%Y-%m-%d")


def instant(moment: Timestamp) -> str:
    return spelled(moment.ToDatetime(tzinfo=UTC))


def spelled(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def short(digest: str) -> str:
    """Enough of a digest to recognise it."""
    kind, colon, plain = digest.rpartition(":")
    return f"{kind}{colon}{plain[:12]}"


@contextmanager
def progress(what: str) -> Iterator[Tell]:
    """Show a bar to a person who has waited a second; nothing to a machine."""
    if not err.is_terminal:
        yield lambda _done, _total: None
        return
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )
    started, task = time.monotonic(), bar.add_task(what, total=1)

    def tell(done: int, total: int) -> None:
        if not bar.live.is_started:
            if time.monotonic() - started < PATIENCE_S:
                return
            bar.start()
        bar.update(task, completed=done, total=max(total, 1))

    try:
        yield tell
    finally:
        bar.stop()


@contextmanager
def waiting() -> Iterator[None]:
    """Show a person that an answer is on its way."""
    if not err.is_terminal:
        yield
        return
    with err.status("looking it up"):
        yield

"""What the viewer is told, as it happens: dated lines above a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

Tone = Literal["plain", "good", "warn", "bad"]
_STYLES: dict[Tone, str] = {
    "plain": "",
    "good": "green",
    "warn": "yellow",
    "bad": "red",
}


@dataclass
class Teller:
    """Says each thing once. `told` keeps the lines for the end."""

    console: Console
    progress: Progress
    task: TaskID
    told: list[str]

    def say(self, at: datetime | None, text: str, tone: Tone = "plain") -> None:
        when = f"{at:%d %b}" if at is not None else "      "
        line = f"{when}  {text}"
        self.told.append(line)
        self.progress.console.print(line, style=_STYLES[tone], highlight=False)

    def begin(self, what: str, steps: int | None = None) -> None:
        self.progress.update(self.task, description=what, total=steps)

    def step(self, what: str) -> None:
        self.progress.update(self.task, advance=1, description=what)


@contextmanager
def telling(console: Console) -> Iterator[Teller]:
    with Progress(
        TextColumn("{task.description:28}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=None)
        yield Teller(console, progress, task, [])

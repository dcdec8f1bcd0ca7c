"""The events that figures cite: each in a line, by its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from modelkeep.events.base import Event
from modelkeep.views import AnyView, Fact, Rows, View

MAX_WORDS: Final = 6
MAX_CHARS: Final = 80
UNTOLD: Final = frozenset({"source", "method", "facts_digest", "descriptor", "engine"})


@dataclass(frozen=True)
class EventRow:
    id: str
    name: str
    stream: str
    version: int
    known_at: datetime
    effective_at: datetime
    model: str
    says: str


evidence = View("evidence", EventRow)
"""By event id."""


def listen(views: Sequence[AnyView], events: Sequence[type[Event]]) -> None:
    """Keep a line of every event that some view applies."""
    applied = {name for view in views for name in view.applies}
    for event in events:
        if event.event_name in applied:
            evidence.on(event)(_keep)


def _keep(event: Event, fact: Fact, rows: Rows[EventRow]) -> None:
    rows.put(
        str(fact.id),
        EventRow(
            str(fact.id),
            event.event_name,
            fact.stream,
            fact.version,
            fact.known_at,
            fact.effective_at,
            str(getattr(event, "model", "")),
            says(event),
        ),
    )


def says(event: Event) -> str:
    """Return an event's first plain fields, shortened: enough to recognise it."""
    told = (
        f"{name} {_short(value)}"
        for name in type(event).model_fields
        if name not in UNTOLD and (value := getattr(event, name)) is not None
        if isinstance(value, str | int | float | datetime) and value != ""
        if not str(value).startswith("sha256:")
    )
    return "; ".join(islice(told, MAX_WORDS))


def _short(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"

"""What reviews found, by model and period, and how far each version was reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modelkeep.events.findings import FindingsReviewed
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class ReviewRow:
    event: FindingsReviewed
    reviewed_at: datetime
    source: str


reviews = View("findings", ReviewRow)
"""By `model/start/version/environment`: in the order of time."""


@reviews.on(FindingsReviewed)
def reviewed(event: FindingsReviewed, fact: Fact, rows: Rows[ReviewRow]) -> None:
    key = f"{event.model}/{event.start:%Y-%m-%d}/{event.version}/{event.environment}"
    rows.put(key, ReviewRow(event, fact.known_at, str(fact.id)))


@dataclass(frozen=True)
class ThroughRow:
    """The end of the last period that was reviewed of any version."""

    end: datetime


through = View("reviewed_through", ThroughRow)
"""By model."""


@through.on(FindingsReviewed)
def moved(event: FindingsReviewed, _: Fact, rows: Rows[ThroughRow]) -> None:
    known = rows.get(event.model)
    end = event.end if known is None else max(known.end, event.end)
    rows.put(event.model, ThroughRow(end))


VIEWS: Final = (reviews, through)

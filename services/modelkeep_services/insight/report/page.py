"""A model's report as one static HTML file: plots, the tables under them, the events.

No script, no request: it prints, it reads without colour and in the dark, and it works
from a disk in thirty years. Every figure leads to the event it rests on, at the end of
the page. What is drawn is in `sections`, how in `plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Final, NamedTuple

from jinja2 import Template
from markupsafe import Markup

from modelkeep import __version__
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.api.inventory.v1 import inventory_pb2
from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep.static_page import template

MAX_CITED: Final = 4_000


class Standing(NamedTuple):
    """Health and budgets as they stood at a moment, as known then."""

    at: datetime
    health: pb.Health
    budgets: Sequence[pb.Budget]


class Serving(NamedTuple):
    """Which versions served from a moment on, and the event that made it so."""

    at: datetime
    event: str
    deployments: Sequence[inventory_pb2.Deployment]


class Disposed(NamedTuple):
    """What people did with decisions in a part of the period."""

    start: datetime
    end: datetime
    rate: monitoring_pb2.GetOverrideRateResponse


@dataclass(frozen=True)
class Facts:
    """Everything a report is made of, as known at `at`. Windows are those that end in
    [start, end], oldest first; `compared` is the newest version's baseline beside its
    windows of the period, `unmatched` says why there is none.
    """

    model: inventory_pb2.Model
    at: datetime
    position: str
    start: datetime
    end: datetime
    environment: str
    standings: Sequence[Standing]
    crossings: Sequence[pb.Crossing] = ()
    windows: Sequence[monitoring_pb2.Window] = ()
    alerts: Sequence[monitoring_pb2.Alert] = ()
    incidents: Sequence[monitoring_pb2.Incident] = ()
    versions: Sequence[inventory_pb2.Version] = ()
    serving: Sequence[Serving] = ()
    disposed: Sequence[Disposed] = ()
    compared: monitoring_pb2.CompareResponse | None = None
    unmatched: str = ""
    false_alarms: monitoring_pb2.GetFalseAlarmsResponse | None = None
    left_out: Sequence[str] = ()


@dataclass
class Citations:
    """Numbers of events, in the order in which the page first speaks of them."""

    numbers: dict[str, int] = field(default_factory=dict)

    def refs(self, ids: Sequence[str], most: int = 3) -> Markup:
        """Return small numbers that lead to the events."""
        found = []
        for one in [one for one in ids if one][:most]:
            if one not in self.numbers and len(self.numbers) >= MAX_CITED:
                continue
            number = self.numbers.setdefault(one, len(self.numbers) + 1)
            found.append(
                Markup('<a class="ref" href="#e{0}" title="event {1}">{0}</a>').format(
                    number, one
                )
            )
        return Markup(" ").join(found)


Cell = str | Markup


@dataclass(frozen=True)
class Table:
    """`numeric` are the places of columns that align right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    title: str = ""
    open: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot with what it shows in words; `key` names its lines: (style, word)."""

    title: str
    says: str
    plot: Markup
    key: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Section:
    """`small` figures stand beside each other."""

    id: str
    title: str
    says: str
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    small: bool = False
    nothing: str = ""


@dataclass(frozen=True)
class Headline:
    label: str
    shown: str
    note: str = ""
    style: str = ""
    refs: str = ""


@dataclass(frozen=True)
class Page:
    title: str
    lede: str
    headlines: Sequence[Headline]
    sections: Sequence[Section]
    cited: Citations
    documents: Sequence[pb.Document] = ()


def render(
    page: Page, events: Sequence[pb.EventSummary], *, checkpoint: str = ""
) -> str:
    """Return a whole HTML page. `events` are those that `page.cited` numbers, as far as
    known; `checkpoint` is the signed note that the page stands on.
    """
    known = {event.id: event for event in events}
    return _template().render(
        page=page,
        cited=[
            (number, one, known.get(one)) for one, number in page.cited.numbers.items()
        ],
        checkpoint=checkpoint,
        version=__version__,
    )


@cache
def _template() -> Template:
    filters = {"moment": lambda value: f"{value.ToDatetime(tzinfo=UTC):%Y-%m-%d %H:%M}"}
    return template("modelkeep_services.insight", "report.html.j2", filters)

"""The board's page as one static HTML file: no script, no request, every number opens.

Each figure is a link to the events it rests on, further down the same page. It prints,
it reads without colour, and it works from a disk in thirty years.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

from jinja2 import Template
from markupsafe import Markup

from modelkeep import __version__
from modelkeep.api.common.v1 import common_pb2
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.static_page import template

MICRO: Final = 1_000_000
MOST_LINKS: Final = 8
HOURS_A_DAY: Final = 24
MANY_DAYS: Final = 2
NEWEST: Final = 12
"""Changes a reader sees at once; the others unfold."""
COLOURS: Final = {
    pb.COLOUR_GREEN: ("green", "●"),
    pb.COLOUR_AMBER: ("amber", "▲"),
    pb.COLOUR_RED: ("red", "■"),
    pb.COLOUR_NOT_RATED: ("not rated", "○"),
}
DIRECTIONS: Final = {"better": "▲", "worse": "▼", "news": "·"}


@dataclass(frozen=True)
class Cited:
    """An event on the page: its number there, and what the log says of it."""

    number: int
    event: pb.EventSummary


def render(
    board: pb.GetBoardResponse,
    *,
    title: str = "Models under governance",
    checkpoint: str = "",
) -> str:
    """Return a whole HTML page. `checkpoint` is the signed note the page stands on."""
    cited = {
        event.id: Cited(number, event) for number, event in enumerate(board.events, 1)
    }
    return _template().render(
        board=board,
        cited=cited.values(),
        newest=NEWEST,
        refs=lambda ids, most=MOST_LINKS: _refs(ids, cited, most),
        opens=lambda text, ids: _opens(text, ids, cited),
        title=title,
        checkpoint=checkpoint,
        version=__version__,
    )


@cache
def _template() -> Template:
    filters: Mapping[str, Callable[..., object]] = {
        "day": _day,
        "moment": _moment,
        "percent": _percent,
        "points": _points,
        "money": _money,
        "hours": _hours,
        "span": _span,
        "colour": lambda value: COLOURS.get(value, COLOURS[pb.COLOUR_NOT_RATED])[0],
        "sign": lambda value: COLOURS.get(value, COLOURS[pb.COLOUR_NOT_RATED])[1],
        "arrow": lambda word: DIRECTIONS.get(word, "·"),
        "severity": lambda value: common_pb2.Severity.Name(value)[9:].lower(),
        "words": lambda text: text.replace("_", " "),
    }
    return template("modelkeep_services.insight", "board.html.j2", filters)


# --- links -------------------------------------------------------------------------


def _known(ids: Sequence[str], cited: dict[str, Cited]) -> Iterator[Cited]:
    return (cited[one] for one in ids if one in cited)


def _opens(text: object, ids: Sequence[str], cited: dict[str, Cited]) -> Markup:
    """Make a number open what it rests on: a list, in place, and from there the log."""
    known = list(_known(ids, cited))
    if not known:
        return Markup("<span>{}</span>").format(text)
    items = Markup("").join(
        Markup('<li><a href="#e{n}">{name}</a> <i>{at}</i> {says}</li>').format(
            n=one.number,
            name=one.event.name,
            at=_moment(one.event.known_at),
            says=one.event.says,
        )
        for one in known[:MOST_LINKS]
    )
    more = len(ids) - min(len(known), MOST_LINKS)
    rest = (
        Markup('<li class="more">and {} more</li>').format(more)
        if more > 0
        else Markup("")
    )
    return Markup("<details><summary>{}</summary><ol>{}{}</ol></details>").format(
        text, items, rest
    )


def _refs(ids: Sequence[str], cited: dict[str, Cited], most: int) -> Markup:
    """Return small numbers that lead to the events."""
    known = list(_known(ids, cited))[:most]
    return Markup(" ").join(
        Markup('<a class="ref" href="#e{n}" title="{name}">{n}</a>').format(
            n=one.number, name=one.event.name
        )
        for one in known
    )


# --- words -------------------------------------------------------------------------


def _instant(value: object) -> datetime:
    return value.ToDatetime(tzinfo=UTC)  # type: ignore[attr-defined,no-any-return]  # a Timestamp


def _day(value: object) -> str:
    return f"{_instant(value):%-d %b %Y}"


def _moment(value: object) -> str:
    return f"{_instant(value):%Y-%m-%d %H:%M}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _points(micro: int) -> str:
    return f"{micro / MICRO:,.1f}"


def _money(value: common_pb2.Money) -> str:
    return f"{value.minor / 100:,.0f} {value.currency}"


def _hours(minutes: int) -> str:
    return f"{minutes / 60:,.0f} h"


def _span(hours: float) -> str:
    return (
        f"{hours:.1f} h" if hours < 2 * HOURS_A_DAY else f"{hours / HOURS_A_DAY:.1f} d"
    )

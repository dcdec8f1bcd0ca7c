"""Plots as inline SVG: drawn here, stretched by the page, read without a script.

The drawing is stretched to whatever width there is, so lines keep their thickness
(`non-scaling-stroke`), a dot is a stroke of no length with round ends, and every word
is HTML beside the drawing: type keeps its size on a telephone and on paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup, escape

WIDE: Final = 1_000.0
"""Units of a drawing, across and down."""
FEW: Final = 7
DAYS_A_YEAR: Final = 365
TICKS: Final = (
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=2),
    timedelta(days=7),
    timedelta(days=14),
)
ROOT_TICKS: Final = (0.0, 0.1, 0.25, 1.0, 2.0, 5.0, 10.0, 20.0)
APART: Final = 150.0
"""Units between two words beside an axis."""
MONTHS: Final = (1, 2, 3, 6, 12, 24, 60)


# --- scales ------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """Time from left to right."""

    start: datetime
    end: datetime

    def at(self, when: datetime) -> float:
        """Return a place from 0 to WIDE; what lies outside is put at the edge."""
        whole = max((self.end - self.start).total_seconds(), 1.0)
        share = (when - self.start).total_seconds() / whole
        return WIDE * min(1.0, max(0.0, share))

    def ticks(self) -> list[tuple[float, str]]:
        """Return where and what to write below: round moments, at most about FEW."""
        length = self.end - self.start
        for step in TICKS:
            if length / step <= FEW:
                return [(self.at(one), _spelled(one, step)) for one in self._each(step)]
        months = length.days / 30.4
        every = next((one for one in MONTHS if months / one <= FEW + 1), MONTHS[-1])
        form = "%b" if length.days < DAYS_A_YEAR else "%b %Y"
        return [(self.at(one), f"{one:{form}}") for one in self._firsts(every)]

    def _each(self, step: timedelta) -> Iterator[datetime]:
        # weeks begin on Mondays: the first of 1970's was the fifth of January
        zero = datetime(1970, 1, 5, tzinfo=UTC)
        one = zero + math.ceil((self.start - zero) / step) * step
        while one <= self.end:
            yield one
            one += step

    def _firsts(self, step: int) -> Iterator[datetime]:
        month = self.start.year * 12 + self.start.month - 1
        month += -month % step
        while True:
            one = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
            if one > self.end:
                return
            if one >= self.start:
                yield one
            month += step


def _spelled(one: datetime, step: timedelta) -> str:
    if step < timedelta(days=1):
        return f"{one:%H:%M}" if one.hour or one.minute else f"{one:%-d %b}"
    return f"{one:%-d %b}"


@dataclass(frozen=True)
class Axis:
    """Values from the bottom to the top, and how they are written.

    `root` draws the square root of values from 0 on: a limit stays in sight below what
    went far beyond it.
    """

    low: float
    high: float
    unit: str = ""
    root: bool = False

    @classmethod
    def around(
        cls,
        values: Iterable[float | None],
        unit: str = "",
        *,
        low: float | None = None,
        high: float | None = None,
    ) -> Axis:
        """Fit to values, on round ends; `low` and `high` hold an end where it is."""
        known = [one for one in values if one is not None and math.isfinite(one)]
        least = min(known, default=0.0) if low is None else low
        most = max(known, default=1.0) if high is None else high
        if most <= least:
            most = least + (abs(least) or 1.0) * 0.5
        step = _round_step((most - least) / 4)
        if low is None:
            least = math.floor(least / step) * step
        if high is None:
            most = math.ceil(most / step - 1e-9) * step
        return cls(least, most, unit)

    @classmethod
    def even(cls, values: Iterable[float], unit: str = "") -> Axis:
        """Fit to differences: 0 in the middle, a round end on either side."""
        reach = max((abs(one) for one in values), default=0.0)
        step = _round_step(reach or 1.0)
        return cls(-step, step, unit)

    def at(self, value: float) -> float:
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return WIDE * (1 - (math.sqrt(share) if self.root else share))

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        if self.root:
            return self._root_ticks()
        step = _round_step((self.high - self.low) / (most - 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [
            (self.at(n * step), self.spell(n * step, step))
            for n in range(first, last + 1)
        ]

    def _root_ticks(self) -> list[tuple[float, str]]:
        found: list[tuple[float, str]] = []
        for value in ROOT_TICKS:
            at = self.at(value)
            if value <= self.high and (not found or found[-1][0] - at >= APART):
                found.append((at, f"{value:g}"))
        return found

    def spell(self, value: float, step: float | None = None) -> str:
        if self.unit == "%":
            digits = 0 if step is None or step >= 0.01 else 1  # noqa: PLR2004 - a per cent
            return f"{100 * value:.{digits}f} %"
        places = 0 if step is None else max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:,.{places}f}{self.unit}"


def _round_step(least: float) -> float:
    """Return 1, 2 or 5 times a power of ten that is at least so much."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= least * (1 - 1e-9))


# --- what is drawn -----------------------------------------------------------------


@dataclass(frozen=True)
class Dot:
    """A value at a moment. `bounds` is drawn as a whisker; `hollow` says that it is not
    to be trusted like the others; `says` is read out and shown where one points.
    """

    when: datetime
    value: float
    says: str = ""
    bounds: tuple[float, float] | None = None
    hollow: bool = False
    style: str = ""


@dataclass(frozen=True)
class Line:
    """Dots joined; None breaks the line. `steps` keeps each value until the next."""

    dots: Sequence[Dot | None]
    style: str = "c1"
    steps: bool = False
    marked: bool = True


@dataclass(frozen=True)
class Level:
    """A value across the whole width, or a limit that moves: dots joined by a line."""

    value: float
    style: str = "limit"
    says: str = ""


@dataclass(frozen=True)
class Area:
    """What lies between two values, all along."""

    low: float
    high: float
    style: str = "base"


@dataclass(frozen=True)
class Mark:
    """A moment that changed something: a line from the bottom to the top."""

    when: datetime
    says: str
    style: str = "news"


@dataclass(frozen=True)
class Bar:
    """Something that lasted. `row` counts from the top; `left_open` has no end yet."""

    row: int
    start: datetime
    end: datetime
    says: str
    style: str = "c1"
    label: str = ""
    still: bool = False
    link: str = ""


Layer = Line | Level | Area | Mark


def chart(
    span: Span, axis: Axis, layers: Sequence[Layer], says: str, *, size: str = "tall"
) -> Markup:
    """Draw layers over time, later ones above. `says` is read out instead of it."""
    drawn = Markup("").join(_layer(span, axis, one) for one in layers)
    few = {"tall": 5, "small": 3}.get(size, 5)
    return _framed(drawn, says, size, axis.ticks(few), span.ticks())


def columns(
    heights: Sequence[tuple[str, Sequence[float]]],
    axis: Axis,
    ends: Sequence[tuple[float, str]],
    says: str,
) -> Markup:
    """Draw histograms over the same cells, the first filled and others as outlines.

    `heights` are (style, share of each cell); `ends` are shares of the width and what
    is written there.
    """
    parts = []
    for place, (style, shares) in enumerate(heights):
        outline = _stairs(axis, shares)
        kind = "fill" if place == 0 else "line"
        close = f"L{WIDE:g} {WIDE:g}L0 {WIDE:g}Z" if place == 0 else ""
        parts.append(
            Markup('<path class="{} {}" d="{}"/>').format(kind, style, outline + close)
        )
    below = [(WIDE * share, text) for share, text in ends]
    return _framed(Markup("").join(parts), says, "tall", axis.ticks(), below)


def _stairs(axis: Axis, shares: Sequence[float]) -> str:
    wide = WIDE / max(len(shares), 1)
    points = []
    for cell, share in enumerate(shares):
        y = _n(axis.at(share))
        points.append(f"{_n(cell * wide)} {y}L{_n((cell + 1) * wide)} {y}")
    return "M" + "L".join(points) if points else ""


def timeline(
    span: Span, bars: Sequence[Bar], marks: Sequence[Mark], says: str
) -> Markup:
    """Draw what lasted, a row each, with its name above its bar."""
    rows = max((bar.row for bar in bars), default=0) + 1
    ticks = span.ticks()
    grid = Markup("").join(
        Markup('<i class="grid" style="left:{}%"></i>').format(_n(x / 10))
        for x, _ in ticks
    )
    lines = Markup("").join(
        Markup('<i class="at {}" style="left:{}%" title="{}"></i>').format(
            one.style, _n(span.at(one.when) / 10), one.says
        )
        for one in marks
    )
    drawn = Markup("").join(_bar(span, bar) for bar in bars)
    below = Markup("").join(_below(x, text, n) for n, (x, text) in enumerate(ticks))
    return Markup(
        '<div class="timeline" role="img" aria-label="{}"><div class="rows" '
        'style="--rows:{}">{}{}{}</div><div class="xs">{}</div></div>'
    ).format(says, rows, grid, lines, drawn, below)


def _bar(span: Span, bar: Bar) -> Markup:
    left, right = span.at(bar.start) / 10, span.at(bar.end) / 10
    side = "left" if left <= 45 else "right"  # noqa: PLR2004 - room for its name
    place = f"left:{_n(left)}%" if side == "left" else f"right:{_n(100 - right)}%"
    name = (
        Markup('<a href="{}">{}</a>').format(bar.link, bar.label)
        if bar.link
        else escape(bar.label)
    )
    return Markup(
        '<span class="name" style="--row:{};{}">{}</span>'
        '<b class="{}{}" style="--row:{};left:{}%;width:{}%" title="{}"></b>'
    ).format(
        bar.row,
        place,
        name,
        bar.style,
        " still" if bar.still else "",
        bar.row,
        _n(left),
        _n(max(0.3, right - left)),
        bar.says,
    )


def _framed(
    drawn: Markup,
    says: str,
    size: str,
    ys: Sequence[tuple[float, str]],
    xs: Sequence[tuple[float, str]],
) -> Markup:
    grid = "".join(f"M0 {_n(y)}H{WIDE:g}" for y, _ in ys)
    beside = Markup("").join(
        Markup('<span style="top:{}%">{}</span>').format(_n(y / 10), text)
        for y, text in ys
    )
    below = Markup("").join(_below(x, text, n) for n, (x, text) in enumerate(xs))
    return Markup(
        '<div class="plot {}"><div class="ys" aria-hidden="true">{}</div>'
        '<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" '
        'aria-label="{}"><path class="grid" d="{}"/>{}</svg>'
        '<div class="xs" aria-hidden="true">{}</div></div>'
    ).format(size, beside, says, grid, drawn, below)


def _below(x: float, text: str, number: int) -> Markup:
    edge = "first" if x < 40 else "last" if x > 940 else "mid"  # noqa: PLR2004 - where a word would stick out
    every = " odd" if number % 2 else ""
    return Markup('<span class="{}{}" style="left:{}%">{}</span>').format(
        edge, every, _n(x / 10), text
    )


def _layer(span: Span, axis: Axis, layer: Layer) -> Markup:
    if isinstance(layer, Area):
        top, bottom = axis.at(layer.high), axis.at(layer.low)
        return Markup(
            '<rect class="area {}" x="0" width="1000" y="{}" height="{}"/>'
        ).format(layer.style, _n(top), _n(max(bottom - top, 0.0)))
    if isinstance(layer, Level):
        return Markup('<path class="level {}" d="M0 {}H1000">{}</path>').format(
            layer.style, _n(axis.at(layer.value)), _title(layer.says)
        )
    if isinstance(layer, Mark):
        return Markup('<path class="mark {}" d="M{} 0V1000">{}</path>').format(
            layer.style, _n(span.at(layer.when)), _title(layer.says)
        )
    return _line(span, axis, layer)


def _line(span: Span, axis: Axis, line: Line) -> Markup:
    known = [dot for dot in line.dots if dot is not None]
    parts = [
        Markup('<path class="line {}" d="{}"/>').format(
            line.style, "".join(_joined(span, axis, line))
        )
    ]
    whiskers = "".join(
        f"M{_n(span.at(dot.when))} {_n(axis.at(dot.bounds[0]))}"
        f"V{_n(axis.at(dot.bounds[1]))}"
        for dot in known
        if dot.bounds is not None
    )
    if whiskers:
        parts.insert(
            0, Markup('<path class="whisker {}" d="{}"/>').format(line.style, whiskers)
        )
    if line.marked:
        parts += [_dot(span, axis, dot, line.style) for dot in known]
    return Markup("").join(parts)


def _joined(span: Span, axis: Axis, line: Line) -> Iterator[str]:
    pen = "M"
    for dot in line.dots:
        if dot is None:
            pen = "M"
            continue
        x, y = _n(span.at(dot.when)), _n(axis.at(dot.value))
        if line.steps and pen == "L":
            yield f"H{x}V{y}"
        else:
            yield f"{pen}{x} {y}"
        pen = "L"


def _dot(span: Span, axis: Axis, dot: Dot, style: str) -> Markup:
    at = f"M{_n(span.at(dot.when))} {_n(axis.at(dot.value))}h0"
    hole = Markup('<path class="hole" d="{}"/>').format(at) if dot.hollow else ""
    return Markup('<g class="dot {}">{}<path d="{}"/>{}</g>').format(
        dot.style or style, _title(dot.says), at, hole
    )


def _title(says: str) -> Markup:
    return Markup("<title>{}</title>").format(says) if says else Markup("")


def _n(value: float) -> str:
    """A tenth of a unit is a tenth of a pixel, about."""
    return f"{value:.1f}".rstrip("0").rstrip(".")

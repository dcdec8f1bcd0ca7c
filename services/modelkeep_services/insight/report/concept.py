"""Labels, concept and columns together: what moves where parts look as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.report.page import (
    Cell,
    Citations,
    Facts,
    Figure,
    Section,
    Table,
)
from modelkeep_services.insight.report.plots import Axis, Dot, Level, Line, chart
from modelkeep_services.insight.report.words import (
    Windows,
    day_of,
    moment_of,
    span_of,
    split,
    takeovers,
    window_cells,
)

COLUMNS_TOLD = 3


class Moved(NamedTuple):
    value: float
    lower: float
    upper: float
    n: int


Read = Callable[[monitoring_pb2.WindowFigures], Moved]


def concept_section(facts: Facts, cited: Citations) -> Section:
    windows = [one for one in facts.windows if one.figures.HasField("label_drift")]
    parted = [one for one in windows if one.figures.HasField("concept_drift")]
    figures = []
    if windows:
        title = "Share that came true, less the baseline's"
        figures.append(_figure(facts, title, windows, _label))
    if parted:
        title = "At the same scores, less the baseline's"
        figures.append(_figure(facts, title, parted, _concept))
    return Section(
        "concept",
        "Labels and concept",
        "Of mature outcomes, how much more or less often they came true than the "
        "baseline's, with 95 % intervals. That change is parted in two: other cases "
        "came (mix), or the same scores came to mean something else (rate): only the "
        "latter is another concept.",
        figures,
        [_whole(facts, cited), _by_window(windows, cited)],
        small=True,
        nothing=""
        if windows
        else "No window has mature outcomes beside a baseline with outcomes.",
    )


def _label(figures: monitoring_pb2.WindowFigures) -> Moved:
    one = figures.label_drift
    return Moved(one.difference, one.lower, one.upper, one.n)


def _concept(figures: monitoring_pb2.WindowFigures) -> Moved:
    one = figures.concept_drift
    return Moved(one.rate, one.lower, one.upper, one.n)


def _figure(facts: Facts, title: str, windows: Windows, read: Read) -> Figure:
    dots = [_dot(one, read(one.figures)) for one in windows]
    ends = [end for dot in dots for end in dot.bounds or ()]
    last = read(windows[-1].figures)
    word = "beyond chance" if not last.lower <= 0 <= last.upper else "within chance"
    return Figure(
        title,
        f"Last {last.value:+.1%} ({last.lower:+.1%} to {last.upper:+.1%}), {word}.",
        chart(
            span_of(facts),
            Axis.even(ends, "%"),
            [
                *takeovers(windows),
                Level(0.0, "base", "as in the baseline"),
                Line(split(windows, dots), "c1"),
            ],
            f"{title}, in {len(windows)} windows, last {last.value:+.1%}.",
            size="small",
        ),
    )


def _dot(window: monitoring_pb2.Window, moved: Moved) -> Dot:
    at = moment_of(window.end)
    return Dot(
        at,
        moved.value,
        f"{day_of(at)}: {moved.value:+.1%} of {moved.n:,}",
        (moved.lower, moved.upper),
    )


def _bounded(moved: Moved) -> str:
    return f"{moved.value:+.2%} ({moved.lower:+.2%} to {moved.upper:+.2%})"


def _whole(facts: Facts, cited: Citations) -> Table:
    compared = facts.compared
    rows: list[Sequence[Cell]] = []
    if compared is not None and compared.HasField("label_drift"):
        label, concept = compared.label_drift, compared.concept_drift
        rows.append(
            [
                f"{label.share:.2%} of {label.n:,}",
                f"{label.baseline_share:.2%} of {label.baseline_n:,}",
                _bounded(Moved(label.difference, label.lower, label.upper, label.n)),
                f"{concept.mix:+.2%}",
                _bounded(Moved(concept.rate, concept.lower, concept.upper, concept.n)),
                f"{concept.covered:.1%}",
                cited.refs([*compared.before.sources, *compared.after.sources[-1:]]),
            ]
        )
    return Table(
        (
            "Came true",
            "In the baseline",
            "Difference",
            "Of it mix",
            "Of it rate",
            "Rows in known cells",
            "Events",
        ),
        rows,
        frozenset(range(6)),
        "The whole period",
        open=True,
    )


def _by_window(windows: Windows, cited: Citations) -> Table:
    rows = [
        [
            *window_cells(one),
            f"{one.figures.label_drift.share:.2%}",
            _bounded(_label(one.figures)),
            f"{one.figures.concept_drift.mix:+.2%}"
            if one.figures.HasField("concept_drift")
            else "",
            _bounded(_concept(one.figures))
            if one.figures.HasField("concept_drift")
            else "",
            _chance(one.figures.concept_drift.p)
            if one.figures.HasField("concept_drift")
            else "",
            cited.refs([one.source]),
        ]
        for one in windows
    ]
    return Table(
        (
            "From",
            "Until",
            "Version",
            "Came true",
            "Less the baseline's",
            "Mix",
            "Rate",
            "Chance of the rates",
            "Event",
        ),
        rows,
        frozenset(range(3, 8)),
        "Labels and concept by window",
    )


def _chance(p: float) -> str:
    return "below 0.000001" if p == 0 else f"{p:.4f}"


# --- columns together --------------------------------------------------------------


def together_section(facts: Facts, cited: Citations) -> Section:
    windows = [one for one in facts.windows if one.figures.HasField("misfit")]
    return Section(
        "together",
        "Columns together",
        "How far rows lie from what the baseline's columns had in common: the mean "
        "square in variances of a column, with the 95 % interval of its change; the "
        "dashed line is the baseline's own. It rises where columns part that used to "
        "move together, though each looks as it did.",
        [_misfit_figure(facts, windows)] if windows else [],
        [_misfit_table(windows, cited)],
        small=True,
        nothing=""
        if windows
        else "Not counted: the monitor states no limit on it (misfit_rise).",
    )


def _misfit_figure(facts: Facts, windows: Windows) -> Figure:
    found = [one.figures.misfit for one in windows]
    dots = [
        Dot(
            moment_of(window.end),
            one.error,
            f"{day_of(moment_of(window.end))}: {one.error:.3f} of {one.n:,}",
            (one.baseline_error + one.lower, one.baseline_error + one.upper),
        )
        for window, one in zip(windows, found, strict=True)
    ]
    base = [
        Dot(moment_of(window.end), one.baseline_error)
        for window, one in zip(windows, found, strict=True)
    ]
    ends = [end for dot in dots for end in dot.bounds or ()]
    last = found[-1]
    return Figure(
        "Misfit",
        f"Last {last.error:.3f}, baseline {last.baseline_error:.3f}; most in "
        f"{_columns(last)}.",
        chart(
            span_of(facts),
            Axis.around([*ends, *(one.baseline_error for one in found)]),
            [
                *takeovers(windows),
                Line(split(windows, base), "base", marked=False),
                Line(split(windows, dots), "c1"),
            ],
            f"Misfit in {len(windows)} windows, last {last.error:.3f}.",
            size="small",
        ),
    )


def _misfit_table(windows: Windows, cited: Citations) -> Table:
    rows = [
        [
            *window_cells(one),
            f"{one.figures.misfit.error:.4f}",
            f"{one.figures.misfit.baseline_error:.4f}",
            f"{one.figures.misfit.lower:+.4f} to {one.figures.misfit.upper:+.4f}",
            _columns(one.figures.misfit),
            cited.refs([one.source]),
        ]
        for one in windows
    ]
    return Table(
        (
            "From",
            "Until",
            "Version",
            "Misfit",
            "Baseline",
            "Change between",
            "Most in",
            "Event",
        ),
        rows,
        frozenset({3, 4, 5}),
        "Misfit by window",
    )


def _columns(misfit: monitoring_pb2.MisfitFigure) -> str:
    worst = sorted(misfit.by_column.items(), key=lambda one: (-abs(one[1]), one[0]))
    told = [f"{name} {part:+.3f}" for name, part in worst[:COLUMNS_TOLD]]
    return ", ".join(told) or "no column"

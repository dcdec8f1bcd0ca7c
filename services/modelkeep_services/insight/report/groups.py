"""Declared groups beside their reference, window by window and over the period."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

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
    SMALL_MOST,
    day_of,
    moment_of,
    span_of,
    split,
    takeovers,
    window_cells,
)

HIGHEST: Final = 2.0
"""Ratios are drawn up to here: the upper bound of a small group has no end."""
JUDGED: Final[Mapping[int, tuple[str, str]]] = {
    monitoring_pb2.JUDGED_HOLDS: ("green", "● holds"),
    monitoring_pb2.JUDGED_BREACHED: ("red", "■ breached"),
    monitoring_pb2.JUDGED_UNSURE: ("grey", "○ not enough to say"),
}


class Seen(NamedTuple):
    window: monitoring_pb2.Window
    figure: monitoring_pb2.FairnessFigure
    group: monitoring_pb2.GroupFigure


def fairness_section(facts: Facts, cited: Citations) -> Section:
    found: dict[tuple[str, str, str], list[Seen]] = defaultdict(list)
    for window in facts.windows:
        for figure in window.figures.fairness:
            for group in figure.groups[1:]:
                key = figure.column, group.group, figure.reference
                found[key].append(Seen(window, figure, group))
    drawn = {
        key: [one for one in each if one.group.impact.HasField("value")]
        for key, each in found.items()
    }
    ranked = sorted(
        (key for key, each in drawn.items() if each),
        key=lambda key: (min(one.group.impact.value for one in drawn[key]), key),
    )
    return Section(
        "fairness",
        "Groups of people",
        "How often each declared group gets a favourable decision, over the rate of "
        "its reference, with its 95 % interval: the adverse-impact ratio, at 1 where "
        "both are alike. Red is a breach of the limit by the whole interval. Below 30 "
        "people on either side nothing is told.",
        [_figure(facts, key, drawn[key]) for key in ranked[:SMALL_MOST]],
        [_whole(facts, cited), _by_window(facts, cited)],
        small=True,
        nothing="" if found else "No groups are declared.",
    )


def _figure(facts: Facts, key: tuple[str, str, str], each: Sequence[Seen]) -> Figure:
    column, group, reference = key
    dots = [_dot(one) for one in each]
    windows = [one.window for one in each]
    ends = [end for dot in dots for end in (dot.bounds or (dot.value, dot.value))]
    axis = Axis.around([*(min(end, HIGHEST) for end in ends), 1.0], low=0.0)
    last = each[-1].group
    _, word = JUDGED.get(last.impact.judgement, ("", "○ no limit"))
    return Figure(
        f"{column} {group}",
        f"Last {last.impact.value:.2f} times as often as {reference}: "
        f"{word[2:]}; {last.n:,} people.",
        chart(
            span_of(facts),
            axis,
            [
                *takeovers(windows),
                Level(1.0, "base", "alike"),
                Line(split(windows, dots), "c1"),
            ],
            f"Adverse-impact ratio of {column} {group} to {reference} in {len(each)} "
            f"windows, last {last.impact.value:.2f}.",
            size="small",
        ),
    )


def _dot(one: Seen) -> Dot:
    ratio, breached = one.group.impact, monitoring_pb2.JUDGED_BREACHED
    bounds = None
    if ratio.HasField("lower"):
        upper = min(ratio.upper, HIGHEST) if ratio.HasField("upper") else HIGHEST
        bounds = min(ratio.lower, HIGHEST), upper
    at = moment_of(one.window.end)
    return Dot(
        at,
        min(ratio.value, HIGHEST),
        f"{day_of(at)}: {ratio.value:.2f}, {one.group.favoured:,} of {one.group.n:,}",
        bounds,
        style="red" if ratio.judgement == breached else "c1",
    )


HEADS: Final = (
    "Group",
    "Favoured",
    "Ratio",
    "Limit on it",
    "Difference",
    "Limit on it",
    "Difference where merited",
    "Limit on it",
)


def _whole(facts: Facts, cited: Citations) -> Table:
    compared = facts.compared
    rows: list[Sequence[Cell]] = []
    if compared is not None:
        refs = cited.refs(compared.after.sources[-1:])
        rows = [
            [*_cells(figure, group), refs]
            for figure in compared.after.fairness
            for group in figure.groups
        ]
    windows = 0 if compared is None else len(compared.after.windows)
    return Table(
        (*HEADS, "Event"),
        rows,
        frozenset({1, 2, 4, 6}),
        f"The whole period, people of {windows} windows added up",
        open=True,
    )


def _by_window(facts: Facts, cited: Citations) -> Table:
    rows = [
        [*window_cells(one), *_cells(figure, group), cited.refs([one.source])]
        for one in facts.windows
        for figure in one.figures.fairness
        for group in figure.groups
    ]
    return Table(
        ("From", "Until", "Version", *HEADS, "Event"),
        rows,
        frozenset({4, 5, 7, 9}),
        "Groups by window",
    )


def _cells(
    figure: monitoring_pb2.FairnessFigure, group: monitoring_pb2.GroupFigure
) -> list[Cell]:
    name = f"{figure.column} {group.group}"
    if group.group == figure.reference:
        name = f"{name} (reference)"
    share = f"{group.favoured / group.n:.1%} of {group.n:,}" if group.n else "none"
    found: list[Cell] = [name, share]
    for gap, form in (
        (group.impact, ".2f"),
        (group.parity, "+.1%"),
        (group.opportunity, "+.1%"),
    ):
        found += [_gap(gap, form), _judged(gap)]
    return found


def _gap(gap: monitoring_pb2.GroupGap, form: str) -> str:
    if not gap.HasField("value"):
        return ""
    if not (gap.HasField("lower") and gap.HasField("upper")):
        return f"{gap.value:{form}}"
    return f"{gap.value:{form}} ({gap.lower:{form}} to {gap.upper:{form}})"


def _judged(gap: monitoring_pb2.GroupGap) -> Cell:
    if gap.judgement not in JUDGED:
        return ""
    return Markup('<span class="colour {}">{}</span>').format(*JUDGED[gap.judgement])

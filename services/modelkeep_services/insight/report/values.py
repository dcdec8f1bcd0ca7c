"""Categories that the baseline does not keep, and values beyond its range."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.report.page import (
    Citations,
    Facts,
    Figure,
    Section,
    Table,
)
from modelkeep_services.insight.report.plots import Axis, Dot, Line, chart
from modelkeep_services.insight.report.words import (
    SMALL_MOST,
    day_of,
    moment_of,
    span_of,
    split,
    takeovers,
)


class Strange(NamedTuple):
    """A share of rows, its lower bound, and what the baseline allows."""

    window: monitoring_pb2.Window
    share: float
    lower: float
    allowed: float
    rows: int
    risen: bool
    about: str


def values_section(facts: Facts, cited: Citations) -> Section:
    found: dict[tuple[str, str], list[Strange]] = defaultdict(list)
    for window in facts.windows:
        for one in window.figures.features:
            if one.HasField("unseen_share"):
                found[one.feature, "unseen categories"].append(_unseen(window, one))
            if one.HasField("beyond_share"):
                found[one.feature, "beyond the range"].append(_beyond(window, one))
    some = {key: each for key, each in found.items() if any(s.rows for s in each)}
    ranked = sorted(
        some, key=lambda key: (-max(s.lower - s.allowed for s in some[key]), key)
    )
    return Section(
        "values",
        "Strange values",
        "Rows whose category the baseline does not keep, and rows beyond its range; "
        "the dashed line is what chance alone would show. A whisker begins at the 95 % "
        "lower bound; red is where chance is excluded. Features without such rows are "
        "left out.",
        [_figure(facts, key, some[key]) for key in ranked[:SMALL_MOST]],
        [_table(ranked, some, cited)],
        small=True,
        nothing=""
        if some
        else "No row had a value that the baseline does not know, as far as counted.",
    )


def _unseen(
    window: monitoring_pb2.Window, one: monitoring_pb2.FeatureFigure
) -> Strange:
    return Strange(
        window,
        one.unseen_share,
        one.unseen_lower,
        one.baseline_unseen_upper,
        one.unseen,
        one.unseen_risen,
        ", ".join(one.unseen_examples),
    )


def _beyond(
    window: monitoring_pb2.Window, one: monitoring_pb2.FeatureFigure
) -> Strange:
    return Strange(
        window,
        one.beyond_share,
        one.beyond_lower,
        one.beyond_by_chance,
        one.beyond,
        one.beyond_left,
        f"{one.low:g} to {one.high:g}",
    )


def _figure(facts: Facts, key: tuple[str, str], each: list[Strange]) -> Figure:
    feature, kind = key
    windows = [one.window for one in each]
    dots = [
        Dot(
            moment_of(one.window.end),
            one.share,
            f"{day_of(moment_of(one.window.end))}: {one.rows:,} rows, {one.share:.2%}",
            (min(one.lower, one.share), one.share),
            style="red" if one.risen else "c1",
        )
        for one in each
    ]
    allowed = [Dot(moment_of(one.window.end), one.allowed) for one in each]
    last = each[-1]
    return Figure(
        f"{feature}: {kind}",
        f"Last {last.share:.2%}, chance {last.allowed:.2%}"
        f"{f'; {last.about}' if last.about else ''}.",
        chart(
            span_of(facts),
            Axis.around([*(1.1 * one.share for one in each), 0.01], "%", low=0.0),
            [
                *takeovers(windows),
                Line(split(windows, allowed), "base", marked=False),
                Line(split(windows, dots), "c1"),
            ],
            f"{feature}, {kind} in {len(each)} windows, last {last.share:.2%}.",
            size="small",
        ),
    )


def _table(
    ranked: list[tuple[str, str]],
    some: dict[tuple[str, str], list[Strange]],
    cited: Citations,
) -> Table:
    rows = []
    for key in ranked:
        each = some[key]
        worst, last = max(each, key=lambda one: one.lower - one.allowed), each[-1]
        rows.append(
            [
                *key,
                f"{last.share:.2%}",
                f"{worst.share:.2%} (from {worst.lower:.2%})",
                f"{worst.allowed:.2%}",
                f"{worst.rows:,}",
                worst.about,
                day_of(moment_of(worst.window.end)),
                str(sum(one.risen for one in each)),
                cited.refs([worst.window.source, last.window.source], 2),
            ]
        )
    return Table(
        (
            "Feature",
            "Rows that are",
            "Last",
            "Worst",
            "By chance",
            "Rows",
            "Examples, or the range",
            "Window until",
            "Windows beyond chance",
            "Events",
        ),
        rows,
        frozenset({2, 3, 4, 5, 8}),
        "Every feature with strange values",
    )

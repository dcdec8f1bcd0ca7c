"""Drift and missing values of features, window by window."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.report.page import (
    Citations,
    Facts,
    Figure,
    Section,
    Table,
)
from modelkeep_services.insight.report.plots import Axis, Dot, Layer, Line, chart
from modelkeep_services.insight.report.words import (
    SMALL_MOST,
    Windows,
    bounded,
    day_of,
    moment_of,
    span_of,
    split,
    takeovers,
    verdict_of,
)

Features = Sequence[tuple[monitoring_pb2.Window, monitoring_pb2.FeatureFigure]]


def _by_feature(
    windows: Windows,
) -> dict[str, list[tuple[monitoring_pb2.Window, monitoring_pb2.FeatureFigure]]]:
    found: dict[
        str, list[tuple[monitoring_pb2.Window, monitoring_pb2.FeatureFigure]]
    ] = defaultdict(list)
    for window in windows:
        for figure in window.figures.features:
            found[figure.feature].append((window, figure))
    return found


def drift_section(facts: Facts, cited: Citations) -> Section:
    found = _by_feature(facts.windows)
    drifted = {
        name: [(w, f) for w, f in each if f.HasField("psi")]
        for name, each in found.items()
    }
    ranked = sorted(
        (name for name, each in drifted.items() if each),
        key=lambda name: -max(f.psi / f.hi for _, f in drifted[name]),
    )
    figures = [
        _drift_figure(facts, name, drifted[name]) for name in ranked[:SMALL_MOST]
    ]
    rows = []
    for name in ranked:
        window, worst = max(drifted[name], key=lambda one: one[1].psi / one[1].hi)
        last_window, last = drifted[name][-1]
        beyond = sum(f.psi > f.hi for _, f in drifted[name])
        warned = sum(f.lo < f.psi <= f.hi for _, f in drifted[name])
        rows.append(
            [
                name,
                f"{last.importance:.1%}",
                f"{last.psi:.3f}",
                f"{last.lo:.2f} / {last.hi:.2f}",
                *_distances(last),
                f"{worst.psi:.3f}",
                f"{worst.lo:.2f} / {worst.hi:.2f}",
                day_of(moment_of(window.end)),
                f"{warned} / {beyond}",
                cited.refs([window.source, last_window.source], 2),
            ]
        )
    more = len(ranked) - len(figures)
    return Section(
        "drift",
        "Drift of features",
        "PSI against the baseline, window by window, those that went furthest beyond "
        "their hard limit first. The limits allow for the size of each window: where a "
        "window is small, chance alone shows more, and they widen. Dotted is the "
        "warning limit, dashed the hard one; the scale is that of square roots."
        + (f" {more} more are in the table." if more > 0 else ""),
        figures,
        [
            Table(
                (
                    "Feature",
                    "Importance",
                    "Last PSI",
                    "Limits",
                    "Jensen-Shannon",
                    "KS, between",
                    "Wasserstein (sd)",
                    "Chi-square p",
                    "Effect (V)",
                    "Worst PSI",
                    "Limits",
                    "Window until",
                    "Windows warned / beyond",
                    "Events",
                ),
                rows,
                frozenset({*range(1, 11), 12}),
                "Every feature",
            )
        ],
        small=True,
        nothing="" if ranked else "No window has a baseline to be compared with.",
    )


def _distances(one: monitoring_pb2.FeatureFigure) -> list[str]:
    """Spell the last window's other distances, none where it has none."""
    chance = "below 0.000001" if one.chi_square_p == 0 else f"{one.chi_square_p:.4f}"
    return [
        f"{one.js:.3f} (chance {one.js_by_chance:.3f})" if one.HasField("js") else "",
        f"{one.ks:.3f} and {one.ks_most:.3f}" if one.HasField("ks") else "",
        f"{one.wasserstein:.3f}" if one.HasField("wasserstein") else "",
        chance if one.HasField("chi_square_p") else "",
        f"{one.chi_square_effect:.3f}" if one.HasField("chi_square_effect") else "",
    ]


def _drift_figure(facts: Facts, name: str, each: Features) -> Figure:
    middle = statistics.median(f.hi for _, f in each)
    top = 1.08 * max(middle, *(f.psi for _, f in each))
    axis = Axis(0.0, top, root=True)
    dots = [
        Dot(
            moment_of(w.end),
            f.psi,
            f"{day_of(moment_of(w.end))}: PSI {f.psi:.3f}, limits {f.lo:.2f} and "
            f"{f.hi:.2f}, {f.n:,} rows",
            style="red" if f.psi > f.hi else "amber" if f.psi > f.lo else "c1",
        )
        for w, f in each
    ]
    windows = [w for w, _ in each]
    limits: list[Layer] = [
        Line([Dot(moment_of(w.end), f.lo) for w, f in each], "lo", marked=False),
        Line([Dot(moment_of(w.end), f.hi) for w, f in each], "hi", marked=False),
    ]
    _, last = each[-1]
    return Figure(
        name,
        f"Last {last.psi:.3f}, {verdict_of(last.psi, last.lo, last.hi)}; "
        f"weighs {last.importance:.0%}.",
        chart(
            span_of(facts),
            axis,
            [*takeovers(windows), *limits, Line(split(windows, dots), "c1")],
            f"PSI of {name} in {len(each)} windows, last {last.psi:.3f}, limits "
            f"{last.lo:.2f} and {last.hi:.2f}.",
            size="small",
        ),
    )


def missing_section(facts: Facts, cited: Citations) -> Section:
    found = {
        name: each
        for name, each in _by_feature(facts.windows).items()
        if any(f.missing_rate > 0 or f.baseline_missing_rate > 0 for _, f in each)
    }

    def rise(name: str) -> float:
        return max(f.missing_lower - f.baseline_missing_rate for _, f in found[name])

    ranked = sorted(found, key=lambda name: -rise(name))
    rows = []
    for name in ranked:
        window, worst = max(found[name], key=lambda one: one[1].missing_rate)
        rows.append(
            [
                name,
                f"{worst.baseline_missing_rate:.2%}",
                f"{found[name][-1][1].missing_rate:.2%}",
                bounded(worst.missing_rate, worst.missing_lower, worst.missing_upper),
                day_of(moment_of(window.end)),
                cited.refs([window.source]),
            ]
        )
    return Section(
        "missing",
        "Missing values",
        "The share of each feature that was not there, with its 95 % interval; the "
        "dashed line is the baseline's. Features that were never missing are left out.",
        [_missing_figure(facts, name, found[name]) for name in ranked[:SMALL_MOST]],
        [
            Table(
                ("Feature", "Baseline", "Last", "Worst", "Window until", "Event"),
                rows,
                frozenset({1, 2, 3}),
                "Every feature with missing values",
            )
        ],
        small=True,
        nothing="" if ranked else "Nothing was missing, in the baseline or since.",
    )


def _before(each: Features) -> list[Dot | None]:
    dots = [Dot(moment_of(w.end), f.baseline_missing_rate) for w, f in each]
    return split([w for w, _ in each], dots)


def _missing_figure(facts: Facts, name: str, each: Features) -> Figure:
    dots = [
        Dot(
            moment_of(w.end),
            f.missing_rate,
            f"{day_of(moment_of(w.end))}: {f.missing_rate:.2%} missing",
            (f.missing_lower, f.missing_upper),
        )
        for w, f in each
    ]
    _, last = each[-1]
    axis = Axis.around([f.missing_rate * 1.1 for _, f in each] + [0.01], "%", low=0.0)
    return Figure(
        name,
        f"Last {last.missing_rate:.2%}, baseline {last.baseline_missing_rate:.2%}.",
        chart(
            span_of(facts),
            axis,
            [
                Line(_before(each), "base", marked=False),
                Line(split([w for w, _ in each], dots), "c1"),
            ],
            f"Missing values of {name}, last {last.missing_rate:.2%}.",
            size="small",
        ),
    )

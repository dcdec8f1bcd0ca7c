"""Performance by window with its intervals, and scores beside the baseline's."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.report.health import HUNDRED
from modelkeep_services.insight.report.page import (
    Cell,
    Citations,
    Facts,
    Figure,
    Section,
    Table,
)
from modelkeep_services.insight.report.plots import (
    Axis,
    Dot,
    Layer,
    Line,
    chart,
    columns,
)
from modelkeep_services.insight.report.words import (
    Windows,
    day_of,
    moment_of,
    span_of,
    split,
    takeovers,
    verdict_of,
    window_cells,
)

METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "auc": ("AUC", ""),
    "calibration_gap": ("Calibration gap", ""),
    "brier": ("Brier score", ""),
    "accuracy": ("Accuracy", "%"),
    "false_positive_rate": ("False-positive rate", "%"),
    "recall": ("Recall", "%"),
    "precision": ("Precision", "%"),
    "base_rate": ("Base rate", "%"),
    "calibration_error": ("Calibration error", ""),
    "rmse": ("RMSE", ""),
    "mae": ("MAE", ""),
    "mean_error": ("Mean error", ""),
}
SIGNED: Final = frozenset({"calibration_gap", "mean_error"})
"""Metrics that may be below zero."""
LEAST_ROOM: Final = 0.25
DRAWN_METRICS: Final = 6


def performance_section(facts: Facts, cited: Citations) -> Section:
    names = [
        name
        for name in METRICS
        if any(_metric(one, name) or _promised(one, name) for one in facts.windows)
    ]
    figures = [_metric_figure(facts, name) for name in names[:DRAWN_METRICS]]
    rows = [
        [
            *window_cells(one),
            f"{one.figures.outcomes:,}",
            f"{one.figures.pending:,}",
            "yes" if one.figures.mature else "not yet",
            *(_metric_cell(one, name) for name in names),
            str(one.restatements or ""),
            cited.refs([one.source]),
        ]
        for one in facts.windows
        if one.figures.performance
    ]
    promised = [one for one in facts.windows if one.figures.HasField("estimated")]
    heads = ("Outcomes", "Pending", "Mature", *(METRICS[n][0] for n in names))
    return Section(
        "performance",
        "Performance by window",
        "Over the outcomes that have arrived, each with its 95 % interval. A hollow "
        "dot is a window whose outcomes have not had their time: it is biased and not "
        "to be read as a trend. Dashed is the baseline of the version that served; "
        "where another takes over the lines break, at a vertical one. Orange is what "
        "the scores of an immature window promise of all its rows: an estimate that "
        "cannot see another concept, and is gone once the outcomes are there."
        + _unestimated(facts),
        figures,
        [
            Table(
                ("From", "Until", "Version", *heads, "Restated", "Event"),
                rows,
                frozenset(range(3, 6 + len(names) + 1)),
                "Performance by window",
            ),
            _whole_table(facts, cited),
            _promised_table(promised, names, cited),
        ],
        small=True,
        nothing="" if names else "No outcome has arrived for a window of this period.",
    )


def _unestimated(facts: Facts) -> str:
    """Say why nothing stands in for outcomes that are not there yet."""
    why = {one.figures.unestimated for one in facts.windows} - {""}
    return "".join(f" Nothing is estimated before: {one}." for one in sorted(why))


def _metric_figure(facts: Facts, name: str) -> Figure:
    title, unit = METRICS[name]
    dots = [_metric_dot(one, name, unit) for one in facts.windows]
    known = [dot for dot in dots if dot is not None]
    base = [_baseline_dot(one, name) for one in facts.windows]
    # one wild interval of a tiny window would leave no room for the others
    ends = [end for dot in known for end in (dot.bounds or (dot.value, dot.value))]
    hopes = [_promised_dot(one, name, unit) for one in facts.windows]
    values = [dot.value for dot in [*known, *base, *hopes] if dot is not None]
    room = max(2.5 * (max(values) - min(values)), LEAST_ROOM)
    centre = statistics.median(values)
    ends = [min(max(end, centre - room), centre + room) for end in ends]
    axis = Axis.around([*ends, *values], unit)
    if name not in SIGNED and axis.low < 0:
        axis = Axis(0.0, axis.high, unit)
    layers: list[Layer] = [
        *takeovers(facts.windows),
        Line(split(facts.windows, base), "base", marked=False),
        Line(split(facts.windows, hopes), "c2"),
        Line(split(facts.windows, dots), "c1"),
    ]
    awaited = [dot for dot in hopes if dot is not None]
    last = known[-1] if known else awaited[-1]
    return Figure(
        title,
        f"{'Last' if known else 'Promised'} {axis.spell(last.value, 0.001)}"
        + (f", baseline {axis.spell(base[-1].value, 0.001)}" if base[-1] else "")
        + (
            f"; scores promise {axis.spell(awaited[-1].value, 0.001)}"
            if known and awaited
            else ""
        )
        + ".",
        chart(
            span_of(facts),
            axis,
            layers,
            f"{title} in {len(known)} windows, promised in {len(awaited)}, last "
            f"{axis.spell(last.value, 0.001)}.",
            size="small",
        ),
    )


def _metric(
    window: monitoring_pb2.Window, name: str
) -> monitoring_pb2.PerformanceFigure | None:
    return next((m for m in window.figures.performance if m.metric == name), None)


def _promised(
    window: monitoring_pb2.Window, name: str
) -> monitoring_pb2.PerformanceFigure | None:
    figures = window.figures.estimated.figures
    return next((one for one in figures if one.metric == name), None)


def _promised_dot(window: monitoring_pb2.Window, name: str, unit: str) -> Dot | None:
    found = _promised(window, name)
    if found is None:
        return None
    bounded = found.HasField("lower") and found.HasField("upper")
    scale = HUNDRED if unit == "%" else 1.0
    return Dot(
        moment_of(window.end),
        found.value,
        f"{day_of(moment_of(window.end))}: {scale * found.value:.3f}{unit} promised of "
        f"{found.n:,}",
        (found.lower, found.upper) if bounded else None,
        hollow=True,
    )


def _promised_table(windows: Windows, names: Sequence[str], cited: Citations) -> Table:
    rows = [
        [
            *window_cells(one),
            f"{one.figures.estimated.n:,}",
            *(_spelled(_promised(one, name)) for name in names),
            cited.refs([one.source]),
        ]
        for one in windows
    ]
    caveat = windows[-1].figures.estimated.caveat if windows else ""
    return Table(
        ("From", "Until", "Version", "Rows", *(METRICS[n][0] for n in names), "Event"),
        rows,
        frozenset(range(3, 4 + len(names))),
        f"Promised by scores, of windows that are immature: {caveat}",
    )


def _whole_table(facts: Facts, cited: Citations) -> Table:
    """The period as one, beside the baseline and beside what its scores promise."""
    compared = facts.compared
    rows: list[Sequence[Cell]] = []
    if compared is not None:
        promised = {one.metric: one for one in compared.after.estimated.figures}
        refs = cited.refs([*compared.before.sources, *compared.after.sources[-1:]])
        rows = [
            [
                METRICS[one.metric][0],
                _side(one.before) if one.HasField("before") else "",
                _side(one.after) if one.HasField("after") else "",
                _difference(one),
                _spelled(promised.get(one.metric)),
                refs,
            ]
            for one in compared.performance
            if one.metric in METRICS
        ]
    pending = 0 if compared is None else compared.after.immature
    title = "The whole period beside its baseline"
    if pending:
        title += f"; {pending} of its windows are immature"
    return Table(
        ("Metric", "Baseline", "Measured", "Difference", "Scores promise", "Events"),
        rows,
        frozenset({1, 2, 3, 4}),
        title,
        open=True,
    )


def _side(one: monitoring_pb2.MetricSide) -> str:
    if not (one.HasField("lower") and one.HasField("upper")):
        return f"{one.value:.3f}"
    return f"{one.value:.3f} ({one.lower:.3f} to {one.upper:.3f})"


def _difference(one: monitoring_pb2.MetricComparison) -> str:
    if not one.HasField("difference"):
        return ""
    if not (one.HasField("lower") and one.HasField("upper")):
        return f"{one.difference:+.3f}"
    return f"{one.difference:+.3f} ({one.lower:+.3f} to {one.upper:+.3f})"


def _metric_dot(window: monitoring_pb2.Window, name: str, unit: str) -> Dot | None:
    found = _metric(window, name)
    if found is None:
        return None
    bounds = None
    if found.HasField("lower") and found.HasField("upper"):
        bounds = found.lower, found.upper
    word = "" if window.figures.mature else " (immature)"
    scale = HUNDRED if unit == "%" else 1.0
    says = (
        f"{day_of(moment_of(window.end))}: {scale * found.value:.3f}{unit} of "
        f"{found.n:,}"
    )
    return Dot(
        moment_of(window.end),
        found.value,
        says + word,
        bounds,
        hollow=not window.figures.mature,
    )


def _baseline_dot(window: monitoring_pb2.Window, name: str) -> Dot | None:
    found = _metric(window, name)
    if found is None or not found.HasField("baseline"):
        return None
    return Dot(moment_of(window.end), found.baseline)


def _metric_cell(window: monitoring_pb2.Window, name: str) -> str:
    return _spelled(_metric(window, name))


def _spelled(found: monitoring_pb2.PerformanceFigure | None) -> str:
    if found is None:
        return ""
    if not found.HasField("lower"):
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.lower:.3f} to {found.upper:.3f})"


def scores_section(facts: Facts, cited: Citations) -> Section:
    section = "scores", "Scores beside the baseline"
    compared = facts.compared
    if compared is None or compared.scores.not_comparable:
        why = facts.unmatched or (compared.scores.not_comparable if compared else "")
        return Section(*section, "", nothing=f"Not compared: {why or 'no scores'}.")
    scores = compared.scores
    before = [n / max(sum(scores.before), 1) for n in scores.before]
    after = [n / max(sum(scores.after), 1) for n in scores.after]
    axis = Axis.around([*before, *after], "%", low=0.0)
    wide = (scores.high - scores.low) / len(before)
    ends = [
        (n / 4, f"{scores.low + n / 4 * (scores.high - scores.low):g}")
        for n in range(5)
    ]
    verdict = verdict_of(scores.psi, scores.lo, scores.hi)
    gap = scores.kolmogorov_smirnov
    return Section(
        *section,
        f"Version {compared.after.version}: the shares of scores in 64 equal cells, "
        f"{sum(scores.before):,} of baseline {compared.before.baseline} and "
        f"{sum(scores.after):,} of the period.",
        [
            Figure(
                "Distribution of scores",
                f"PSI {scores.psi:.3f}, {verdict} (limits {scores.lo:.2f} and "
                f"{scores.hi:.2f}); Jensen-Shannon {scores.jensen_shannon:.3f}; "
                f"Kolmogorov-Smirnov between {gap.distance:.3f} and {gap.most:.3f}.",
                columns(
                    [("base", before), ("c1", after)],
                    axis,
                    ends,
                    f"Scores of the period beside the baseline; PSI {scores.psi:.3f}.",
                ),
                (("base fill", "baseline"), ("c1", "this period")),
            )
        ],
        [
            Table(
                (
                    "From",
                    "Until",
                    "Baseline",
                    "Baseline share",
                    "Period",
                    "Period share",
                ),
                [
                    [
                        f"{scores.low + n * wide:.4f}",
                        f"{scores.low + (n + 1) * wide:.4f}",
                        f"{was:,}",
                        f"{before[n]:.2%}",
                        f"{now:,}",
                        f"{after[n]:.2%}",
                    ]
                    for n, (was, now) in enumerate(
                        zip(scores.before, scores.after, strict=True)
                    )
                    if was or now
                ],
                frozenset(range(6)),
                "Rows by score",
            ),
            _compared_table(compared, cited),
        ],
    )


def _compared_table(
    compared: monitoring_pb2.CompareResponse, cited: Citations
) -> Table:
    rows = [
        [
            one.feature,
            f"{one.psi:.4f}" if one.HasField("psi") else "",
            f"{one.lo:.2f} / {one.hi:.2f}" if one.HasField("psi") else "",
            f"{one.jensen_shannon:.4f}" if one.HasField("jensen_shannon") else "",
            f"{one.kolmogorov_smirnov.distance:.4f}"
            if one.HasField("kolmogorov_smirnov")
            else "",
            f"{one.chi_square.effect:.4f}" if one.HasField("chi_square") else "",
            f"{one.fine.wasserstein:.4f}" if one.fine.HasField("wasserstein") else "",
            f"{one.missing_before.value:.2%} / {one.missing_after.value:.2%}",
            f"{one.unseen_after.value:.2%}" if one.HasField("unseen_after") else "",
            f"{one.fine.beyond_share.value:.2%} of {one.fine.low:g} to "
            f"{one.fine.high:g}"
            if one.fine.HasField("beyond")
            else "",
            one.not_comparable,
        ]
        for one in sorted(compared.features, key=lambda one: -one.psi)
    ]
    title = (
        f"Every distance over the whole period, from {len(compared.after.windows)} "
        "windows added up"
    )
    if rows:
        rows[0][-1] = Markup("{} {}").format(
            rows[0][-1],
            cited.refs([*compared.before.sources, *compared.after.sources[-1:]]),
        )
    return Table(
        (
            "Feature",
            "PSI",
            "Limits",
            "Jensen-Shannon",
            "KS of bins",
            "Effect (V)",
            "Wasserstein (sd), at most",
            "Missing before / now",
            "Unseen",
            "Beyond the range",
            "Not compared because",
        ),
        rows,
        frozenset(range(1, 10)),
        title,
    )

"""The sections of a model's report: facts in, plots and tables out."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from markupsafe import Markup

from modelkeep.api.common.v1 import common_pb2
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.plots import (
    Area,
    Axis,
    Bar,
    Dot,
    Layer,
    Level,
    Line,
    Mark,
    Span,
    chart,
    columns,
    timeline,
)
from modelkeep_services.insight.report import (
    Citations,
    Facts,
    Figure,
    Headline,
    Page,
    Section,
    Table,
)

SMALL_MOST: Final = 12
BARS_MOST: Final = 40
GREEN, AMBER, RED = 85.0, 60.0, 0.0
HUNDRED: Final = 100.0
STYLES: Final = ("c1", "c2", "c3", "c4", "c5")
COLOURS: Final = {
    pb.COLOUR_GREEN: ("green", "● green"),
    pb.COLOUR_AMBER: ("amber", "▲ amber"),
    pb.COLOUR_RED: ("red", "■ red"),
}
SEVERITIES: Final = {4: "red", 3: "red", 2: "amber", 1: "c1"}
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
}
DRAWN_METRICS: Final = 6
Windows = Sequence[monitoring_pb2.Window]


def page_of(facts: Facts) -> Page:
    cited = Citations()
    headlines = list(_headlines(facts, cited))
    made = [
        _health(facts, cited),
        _performance(facts, cited),
        _scores(facts, cited),
        _drift(facts, cited),
        _missing(facts, cited),
        _operations(facts, cited),
        _alerts(facts, cited),
        _incidents(facts, cited),
        _budgets(facts, cited),
        _versions(facts, cited),
        _people(facts, cited),
        _contracts(facts, cited),
    ]
    last = facts.standings[-1] if facts.standings else None
    documents = {
        one.document.version: one.document
        for one in ([last.health, *last.budgets] if last else ())
        if one.document.version
    }
    return Page(
        title=facts.model.title,
        lede=_lede(facts),
        headlines=headlines,
        sections=made,
        cited=cited,
        documents=list(documents.values()),
    )


def _lede(facts: Facts) -> str:
    owner = facts.model.owner or "nobody"
    tier = f"tier {facts.model.tier}" if facts.model.HasField("tier") else "no tier"
    aside = (
        f" Windows of {', '.join(facts.left_out)} are not shown."
        if facts.left_out
        else ""
    )
    return (
        f"{facts.model.model}, {tier}, owned by {owner}. From {_day(facts.start)} to "
        f"{_day(facts.end)} in {facts.environment}; as known on "
        f"{facts.at:%-d %b %Y, %H:%M} UTC, {facts.position}.{aside}"
    )


# --- at a glance -------------------------------------------------------------------


def _headlines(facts: Facts, cited: Citations) -> Iterator[Headline]:
    if facts.standings:
        health = facts.standings[-1].health
        style, word = COLOURS.get(health.colour, ("grey", "○ not rated"))
        index = f"{health.index:.1f} " if health.HasField("index") else ""
        refs = cited.refs(health.evidence)
        yield Headline("Health", f"{index}{word}", health.cause, style, refs)
    if facts.serving:
        now = [one for one in facts.serving[-1].deployments if one.share > 0]
        words = ", ".join(f"{one.version} {one.share:.0%}" for one in now)
        yield Headline(
            "Serving",
            words or "nothing",
            ", ".join(sorted({one.environment for one in now})),
            refs=cited.refs([facts.serving[-1].event]),
        )
    rows = sum(one.figures.rows for one in facts.windows)
    outcomes = sum(one.figures.outcomes for one in facts.windows)
    yield Headline(
        "Decisions",
        f"{rows:,}",
        f"in {len(facts.windows)} windows",
        refs=cited.refs([one.source for one in facts.windows[-1:]]),
    )
    share = f"{outcomes / rows:.0%} of decisions" if rows else ""
    yield Headline("Outcomes known", f"{outcomes:,}", share)
    still = [one for one in facts.alerts if _is_open(one)]
    yield Headline(
        "Alerts open",
        f"{len(still)} of {len(facts.alerts)}",
        _money_said(still) or "no money is declared for them",
        "red" if still else "",
        cited.refs([one.source for one in still]),
    )
    budgets = facts.standings[-1].budgets if facts.standings else ()
    if budgets:
        worst = max(budgets, key=lambda one: one.spent)
        yield Headline(
            "Budget most spent",
            f"{worst.spent:.0%}",
            worst.budget,
            "red" if worst.spent >= 1 else "",
            cited.refs([worst.defined_by, *worst.evidence[:1]]),
        )
    count = sum(_people_of(one.rate) for one in facts.disposed)
    if count:
        changed = sum(one.rate.overridden for one in facts.disposed)
        yield Headline(
            "Overridden by people", f"{changed / count:.1%}", f"of {count:,} looked at"
        )


def _money_said(alerts: Iterable[monitoring_pb2.Alert]) -> str:
    """What open alerts cost an hour; each service level counts once."""
    levels = {
        (one.model, one.slo): one.money_per_hour
        for one in alerts
        if one.HasField("money_per_hour")
    }
    total: Counter[str] = Counter()
    for money in levels.values():
        total[money.currency] += money.minor
    told = " and ".join(f"{n / 100:,.0f} {c}" for c, n in sorted(total.items()))
    return f"{told} an hour" if told else ""


# --- health ------------------------------------------------------------------------


def _health(facts: Facts, cited: Citations) -> Section:
    section = "health", "Health over time"
    if not facts.standings:
        return Section(*section, "", nothing="Health was not looked at.")
    span, axis = _span(facts), Axis(0, HUNDRED)
    bands: list[Layer] = [
        Area(GREEN, HUNDRED, "green"),
        Area(AMBER, GREEN, "amber"),
        Area(RED, AMBER, "red"),
    ]
    marks = [
        Mark(_when(one.at), one.text, _way(one))
        for one in facts.crossings
        if one.what == "health-band-changed" and _inside(facts, _when(one.at))
    ]
    index = Line(
        [_health_dot(one.at, one.health) for one in facts.standings], "ink", steps=True
    )
    last = facts.standings[-1].health
    figures = [
        Figure(
            "Health index",
            "Green from 85, red below 60, and never better coloured than the worst "
            "component. A vertical line is a change of colour that the ledger "
            "recorded.",
            chart(
                span,
                axis,
                [*bands, *marks, index],
                f"Health index over time, now {_index(last)}; {len(marks)} changes of "
                "colour.",
            ),
        )
    ]
    figures += [
        Figure(
            part.name.replace("_", " ").capitalize(),
            f"Weight {part.weight:.0%}. {part.cause}",
            chart(
                span,
                axis,
                [*bands, Line(_component(facts, part.name), "ink", steps=True)],
                f"{part.name} over time, now {_score(part)}.",
                size="small",
            ),
        )
        for part in last.components
    ]
    crossed = [
        [
            f"{_when(one.at):%Y-%m-%d %H:%M}",
            one.text,
            cited.refs([one.event_id, one.source, *one.evidence]),
        ]
        for one in facts.crossings
    ]
    parts = [
        [
            part.name.replace("_", " "),
            f"{part.weight:.0%}",
            _score(part),
            _coloured(part.colour),
            part.cause,
            ", ".join(part.marks),
            cited.refs(part.evidence),
        ]
        for part in last.components
    ]
    return Section(
        *section,
        "One number and its four components, each as it was known at that moment. "
        "Health is not stored: it is computed from what the ledger knew.",
        figures,
        [
            Table(
                ("Component", "Weight", "Score", "", "Why", "Marks", "Events"),
                parts,
                frozenset({1, 2}),
                "The four components now",
                open=True,
            ),
            Table(("When", "What was crossed", "Events"), crossed, title="Crossings"),
            Table(
                ("As of", "Index", "", "Worst", "Why", "Events"),
                [
                    [
                        f"{one.at:%Y-%m-%d %H:%M}",
                        _index(one.health),
                        _coloured(one.health.colour),
                        one.health.worst.replace("_", " "),
                        one.health.cause,
                        cited.refs(one.health.evidence, 2),
                    ]
                    for one in facts.standings
                ],
                frozenset({1}),
                "The index at each moment",
            ),
        ],
    )


def _health_dot(at: datetime, health: pb.Health) -> Dot | None:
    if not health.HasField("index"):
        return None
    style, word = COLOURS.get(health.colour, ("grey", "not rated"))
    says = f"{at:%-d %b %Y}: {health.index:.1f} {word}. {health.cause}"
    return Dot(at, health.index, says, hollow="immature" in health.marks, style=style)


def _component(facts: Facts, name: str) -> list[Dot | None]:
    found: list[Dot | None] = []
    for one in facts.standings:
        part = next((p for p in one.health.components if p.name == name), None)
        if part is None or not part.HasField("score"):
            found.append(None)
            continue
        style = COLOURS.get(part.colour, ("grey", ""))[0]
        says = f"{one.at:%-d %b %Y}: {part.score:.1f}. {part.cause}"
        hollow = "immature" in part.marks
        found.append(Dot(one.at, part.score, says, hollow=hollow, style=style))
    return found


def _way(crossing: pb.Crossing) -> str:
    # the text is ours: "health green → amber (71.0): ..."
    after = crossing.text.partition("→")[2].split(maxsplit=1)
    return after[0] if after and after[0] in {"green", "amber", "red"} else "news"


# --- performance -------------------------------------------------------------------


def _performance(facts: Facts, cited: Citations) -> Section:
    names = [
        name
        for name in METRICS
        if any(_metric(one, name) is not None for one in facts.windows)
    ]
    figures = [_metric_figure(facts, name) for name in names[:DRAWN_METRICS]]
    rows = [
        [
            *_window_cells(one),
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
    heads = ("Outcomes", "Pending", "Mature", *(METRICS[n][0] for n in names))
    return Section(
        "performance",
        "Performance by window",
        "Over the outcomes that have arrived, each with its 95 % interval. A hollow "
        "dot is a window whose outcomes have not had their time: it is biased and not "
        "to be read as a trend. The shaded band is the baseline's own interval; where "
        "another version takes over the line breaks, at a vertical one.",
        figures,
        [
            Table(
                ("From", "Until", "Version", *heads, "Restated", "Event"),
                rows,
                frozenset(range(3, 6 + len(names) + 1)),
                "Performance by window",
            )
        ],
        small=True,
        nothing="" if names else "No outcome has arrived for a window of this period.",
    )


def _metric_figure(facts: Facts, name: str) -> Figure:
    title, unit = METRICS[name]
    dots = [_metric_dot(one, name, unit) for one in facts.windows]
    known = [dot for dot in dots if dot is not None]
    base = _baseline_of(facts.windows, name)
    # one wild interval of a tiny window would leave no room for the others
    ends = [end for dot in known for end in (dot.bounds or (dot.value, dot.value))]
    values = [dot.value for dot in known]
    room = 2.5 * max(max(values) - min(values), 1e-3)
    centre = statistics.median(values)
    ends = [min(max(end, centre - room), centre + room) for end in ends]
    low = None if name == "calibration_gap" else max(0.0, min(ends, default=0.0))
    axis = Axis.around([*ends, *values, *(base or ())], unit)
    if low is not None and axis.low < 0:
        axis = Axis(0.0, axis.high, unit)
    layers: list[Layer] = []
    if base is not None:
        value, lower, upper = base
        if lower is not None and upper is not None:
            layers.append(Area(lower, upper, "base"))
        layers.append(Level(value, "base", f"baseline {axis.spell(value, 0.001)}"))
    layers += _takeovers(facts.windows)
    layers.append(Line(_split(facts.windows, dots), "c1"))
    last = known[-1]
    return Figure(
        title,
        f"Last {axis.spell(last.value, 0.001)}"
        + (f", baseline {axis.spell(base[0], 0.001)}" if base else "")
        + ".",
        chart(
            _span(facts),
            axis,
            layers,
            f"{title} in {len(known)} windows, last {axis.spell(last.value, 0.001)}.",
            size="small",
        ),
    )


def _metric(
    window: monitoring_pb2.Window, name: str
) -> monitoring_pb2.PerformanceFigure | None:
    return next((m for m in window.figures.performance if m.metric == name), None)


def _metric_dot(window: monitoring_pb2.Window, name: str, unit: str) -> Dot | None:
    found = _metric(window, name)
    if found is None:
        return None
    bounds = None
    if found.HasField("lower") and found.HasField("upper"):
        bounds = found.lower, found.upper
    word = "" if window.figures.mature else " (immature)"
    scale = HUNDRED if unit == "%" else 1.0
    says = f"{_day(_when(window.end))}: {scale * found.value:.3f}{unit} of {found.n:,}"
    return Dot(
        _when(window.end),
        found.value,
        says + word,
        bounds,
        hollow=not window.figures.mature,
    )


def _baseline_of(
    windows: Windows, name: str
) -> tuple[float, float | None, float | None] | None:
    for one in reversed(windows):
        found = _metric(one, name)
        if found is not None and found.HasField("baseline"):
            bounded = found.HasField("baseline_lower")
            return (
                found.baseline,
                found.baseline_lower if bounded else None,
                found.baseline_upper if bounded else None,
            )
    return None


def _metric_cell(window: monitoring_pb2.Window, name: str) -> str:
    found = _metric(window, name)
    if found is None:
        return ""
    if not found.HasField("lower"):
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.lower:.3f} to {found.upper:.3f})"


# --- scores ------------------------------------------------------------------------


def _scores(facts: Facts, cited: Citations) -> Section:
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
    verdict = _verdict(scores.psi, scores.lo, scores.hi)
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
            f"{one.missing_before.value:.2%} / {one.missing_after.value:.2%}",
            f"{one.unseen_after.value:.2%}" if one.HasField("unseen_after") else "",
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
            "Missing before / now",
            "Unseen",
            "Not compared because",
        ),
        rows,
        frozenset(range(1, 8)),
        title,
    )


# --- drift -------------------------------------------------------------------------


def _drift(facts: Facts, cited: Citations) -> Section:
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
                f"{worst.psi:.3f}",
                f"{worst.lo:.2f} / {worst.hi:.2f}",
                _day(_when(window.end)),
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
                    "Worst PSI",
                    "Limits",
                    "Window until",
                    "Windows warned / beyond",
                    "Events",
                ),
                rows,
                frozenset({1, 2, 3, 4, 5, 7}),
                "Every feature",
            )
        ],
        small=True,
        nothing="" if ranked else "No window has a baseline to be compared with.",
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


def _drift_figure(facts: Facts, name: str, each: Features) -> Figure:
    middle = statistics.median(f.hi for _, f in each)
    top = 1.08 * max(middle, *(f.psi for _, f in each))
    axis = Axis(0.0, top, root=True)
    dots = [
        Dot(
            _when(w.end),
            f.psi,
            f"{_day(_when(w.end))}: PSI {f.psi:.3f}, limits {f.lo:.2f} and {f.hi:.2f}, "
            f"{f.n:,} rows",
            style="red" if f.psi > f.hi else "amber" if f.psi > f.lo else "c1",
        )
        for w, f in each
    ]
    windows = [w for w, _ in each]
    limits: list[Layer] = [
        Line([Dot(_when(w.end), f.lo) for w, f in each], "lo", marked=False),
        Line([Dot(_when(w.end), f.hi) for w, f in each], "hi", marked=False),
    ]
    _, last = each[-1]
    return Figure(
        name,
        f"Last {last.psi:.3f}, {_verdict(last.psi, last.lo, last.hi)}; "
        f"weighs {last.importance:.0%}.",
        chart(
            _span(facts),
            axis,
            [*_takeovers(windows), *limits, Line(_split(windows, dots), "c1")],
            f"PSI of {name} in {len(each)} windows, last {last.psi:.3f}, limits "
            f"{last.lo:.2f} and {last.hi:.2f}.",
            size="small",
        ),
    )


def _verdict(psi: float, lo: float, hi: float) -> str:
    if psi > hi:
        return "beyond the hard limit"
    return "beyond the warning limit" if psi > lo else "within its limits"


# --- missing -----------------------------------------------------------------------


def _missing(facts: Facts, cited: Citations) -> Section:
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
                _bounded(worst.missing_rate, worst.missing_lower, worst.missing_upper),
                _day(_when(window.end)),
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


def _missing_figure(facts: Facts, name: str, each: Features) -> Figure:
    dots = [
        Dot(
            _when(w.end),
            f.missing_rate,
            f"{_day(_when(w.end))}: {f.missing_rate:.2%} missing",
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
            _span(facts),
            axis,
            [
                Level(last.baseline_missing_rate, "base", "baseline"),
                Line(_split([w for w, _ in each], dots), "c1"),
            ],
            f"Missing values of {name}, last {last.missing_rate:.2%}.",
            size="small",
        ),
    )


# --- latency and explanations ------------------------------------------------------


def _operations(facts: Facts, cited: Citations) -> Section:
    timed = [one for one in facts.windows if one.figures.HasField("latency_ms")]
    told = [
        one for one in facts.windows if one.figures.HasField("explanation_coverage")
    ]
    figures = []
    if timed:
        axis = Axis.around(
            [one.figures.latency_ms.p99 for one in timed], " ms", low=0.0
        )
        lines = [
            Line(
                _split(
                    timed,
                    [
                        Dot(
                            _when(one.end),
                            getattr(one.figures.latency_ms, word),
                            f"{_day(_when(one.end))}: {word} "
                            f"{getattr(one.figures.latency_ms, word):.3g} ms",
                        )
                        for one in timed
                    ],
                ),
                style,
            )
            for word, style in (("p99", "c3"), ("p95", "c2"), ("p50", "c1"))
        ]
        last = timed[-1].figures.latency_ms
        figures.append(
            Figure(
                "Latency",
                f"Last median {last.p50:.3g} ms, 95th percentile {last.p95:.3g} ms, "
                f"99th {last.p99:.3g} ms.",
                chart(
                    _span(facts),
                    axis,
                    lines,
                    f"Latency in {len(timed)} windows, last 95th percentile "
                    f"{last.p95:.3g} milliseconds.",
                    size="small",
                ),
                (("c1", "median"), ("c2", "95 %"), ("c3", "99 %")),
            )
        )
    if told:
        dots = [
            Dot(
                _when(one.end),
                one.figures.explanation_coverage,
                f"{_day(_when(one.end))}: {one.figures.explanation_coverage:.1%}",
            )
            for one in told
        ]
        figures.append(
            Figure(
                "Explanations",
                f"Last {told[-1].figures.explanation_coverage:.1%} of decisions have a "
                "valid explanation.",
                chart(
                    _span(facts),
                    Axis(0.0, 1.0, "%"),
                    [Line(_split(told, dots), "c1")],
                    "Explanation coverage over time, last "
                    f"{told[-1].figures.explanation_coverage:.1%}.",
                    size="small",
                ),
            )
        )
    rows = [
        [
            *_window_cells(one),
            f"{one.figures.rows:,}",
            *(
                f"{getattr(one.figures.latency_ms, word):.3g}"
                if one.figures.HasField("latency_ms")
                else ""
                for word in ("p50", "p95", "p99")
            ),
            f"{one.figures.explanation_coverage:.1%}"
            if one.figures.HasField("explanation_coverage")
            else "",
            f"{one.figures.reason_codes_missing:,} of {one.figures.reason_codes_owed:,}"
            if one.figures.reason_codes_owed
            else "",
            cited.refs([one.source]),
        ]
        for one in facts.windows
    ]
    return Section(
        "operations",
        "Latency and explanations",
        "How fast decisions came, and how many could be explained.",
        figures,
        [
            Table(
                (
                    "From",
                    "Until",
                    "Version",
                    "Decisions",
                    "Median ms",
                    "95 % ms",
                    "99 % ms",
                    "Explained",
                    "Reason codes missing",
                    "Event",
                ),
                rows,
                frozenset(range(3, 9)),
                "Every window",
            )
        ],
        small=True,
        nothing="" if figures else "Neither latency nor explanations were measured.",
    )


# --- alerts and incidents ----------------------------------------------------------


def _alerts(facts: Facts, cited: Citations) -> Section:
    alerts = sorted(facts.alerts, key=lambda one: _when(one.raised_at))
    shown = sorted(
        sorted(alerts, key=lambda one: (-one.severity, _when(one.raised_at)))[
            :BARS_MOST
        ],
        key=lambda one: _when(one.raised_at),
    )
    span = _span(facts)
    bars = [
        Bar(
            row,
            _when(one.raised_at),
            _when(one.resolved_at) if not _is_open(one) else facts.end,
            f"{_kind(one)} {one.feature}: {one.cause}",
            SEVERITIES.get(one.severity, "c1"),
            f"{_kind(one)} {one.feature}".strip(),
            _is_open(one),
        )
        for row, one in enumerate(shown)
    ]
    rows = [
        [
            f"{_when(one.raised_at):%Y-%m-%d %H:%M}",
            _severity(one.severity),
            Markup("<strong>{} {}</strong><br>{}").format(
                _kind(one), one.feature, one.cause
            ),
            one.owner or "nobody",
            _cost(one),
            _ending(one),
            cited.refs([one.source, *one.sources[:1]]),
        ]
        for one in alerts
    ]
    still = sum(_is_open(one) for one in alerts)
    more = len(alerts) - len(shown)
    figure = Figure(
        "Alerts, from raised to resolved",
        "Red is high or critical, amber medium, blue low. An arrow says that it is "
        "open still."
        + (f" The {len(shown)} gravest of {len(alerts)}." if more else ""),
        timeline(
            span,
            bars,
            [],
            f"{len(alerts)} alerts over time, of which {still} are open.",
        ),
    )
    return Section(
        "alerts",
        "Alerts",
        "Each with its owner, what an hour of it costs, and how it ended. Money is an "
        "assumption until recorded KPIs confirm it.",
        [figure] if alerts else [],
        [
            Table(
                (
                    "Raised",
                    "Severity",
                    "What and why",
                    "Owner",
                    "Money an hour",
                    "How it ended",
                    "Events",
                ),
                rows,
                frozenset({4}),
                "Every alert",
                open=len(rows) <= SMALL_MOST,
            )
        ],
        nothing="" if alerts else "No alert was raised.",
    )


def _cost(alert: monitoring_pb2.Alert) -> str:
    if not alert.HasField("money_per_hour"):
        return "not declared"
    basis = monitoring_pb2.MoneyBasis.Name(alert.money_basis).rpartition("_")[2].lower()
    return f"{_money(alert.money_per_hour)} ({basis})"


def _ending(alert: monitoring_pb2.Alert) -> str:
    if not _is_open(alert):
        word = "a true alarm" if alert.true_alarm else "a false alarm"
        return (
            f"resolved {_day(_when(alert.resolved_at))} by "
            f"{alert.resolved_by.subject or 'the ledger'}, {word}: {alert.reason}"
        )
    if alert.status == monitoring_pb2.ALERT_STATUS_ACKNOWLEDGED:
        by = alert.acknowledged_by.subject
        word = f"acknowledged {_day(_when(alert.acknowledged_at))} by {by}"
    else:
        word = "open, nobody has acknowledged it"
    late = ", overdue" if alert.overdue else f", due {_day(_when(alert.due_at))}"
    return word + late


def _incidents(facts: Facts, cited: Citations) -> Section:
    ordered = sorted(facts.incidents, key=lambda one: _when(one.opened_at))
    over = monitoring_pb2.ALERT_STATUS_RESOLVED
    bars = [
        Bar(
            row,
            _when(one.started_at),
            _when(one.resolved_at) if one.status == over else facts.end,
            f"{_cause(one)}, {one.alerts} alerts",
            SEVERITIES.get(one.severity, "c1"),
            _cause(one),
            one.status != over,
        )
        for row, one in enumerate(ordered[-BARS_MOST:])
    ]
    rows = [
        [
            f"{_when(one.started_at):%Y-%m-%d}",
            f"{_when(one.opened_at):%Y-%m-%d %H:%M}",
            _severity(one.severity),
            _cause(one),
            f"{one.open_alerts} of {one.alerts}",
            ", ".join(one.models),
            one.owner or "nobody",
            " and ".join(_money(money) for money in one.money_per_hour)
            or "not declared",
            f"resolved {_day(_when(one.resolved_at))}: {one.reason}"
            if one.status == over
            else "open",
            cited.refs([one.source, *([one.onset.source] if one.onset.source else [])]),
        ]
        for one in ordered
    ]
    return Section(
        "incidents",
        "Incidents",
        "Alerts of one cause along lineage are one incident. A bar begins where things "
        "went wrong, as established later or as the first window shows it.",
        [
            Figure(
                "Incidents, from their start to their end",
                "Coloured by the gravest alert.",
                timeline(
                    _span(facts), bars, [], f"{len(ordered)} incidents over time."
                ),
            )
        ]
        if ordered
        else [],
        [
            Table(
                (
                    "Began",
                    "Opened",
                    "Severity",
                    "Cause",
                    "Alerts open",
                    "Models",
                    "Owner",
                    "Money an hour",
                    "How it ended",
                    "Events",
                ),
                rows,
                frozenset({4, 7}),
                "Every incident",
                open=len(rows) <= SMALL_MOST,
            )
        ],
        nothing="" if ordered else "There was no incident.",
    )


def _cause(incident: monitoring_pb2.Incident) -> str:
    cause = incident.cause
    kind = monitoring_pb2.CauseKind.Name(cause.kind).removeprefix("CAUSE_KIND_")
    word = kind.lower().replace("_", " ")
    own = f" ({cause.family})" if cause.family else ""
    return f"{word} {cause.name or cause.node}{own}".strip()


# --- budgets -----------------------------------------------------------------------


def _budgets(facts: Facts, cited: Citations) -> Section:
    section = "budgets", "Risk budgets"
    names = sorted({b.budget for one in facts.standings for b in one.budgets})
    if not names:
        return Section(*section, "", nothing="No budget was agreed.")
    span = _span(facts)
    every = [b.spent for one in facts.standings for b in one.budgets]
    axis = Axis.around([*(min(one, 2.0) for one in every), 1.05], "%", low=0.0)
    figures = []
    for name in names:
        dots: list[Dot | None] = []
        for one in facts.standings:
            found = next((b for b in one.budgets if b.budget == name), None)
            dots.append(
                None
                if found is None
                else Dot(
                    one.at,
                    found.spent,
                    f"{_day(one.at)}: {found.spent:.0%} spent, {found.elapsed:.0%} of "
                    "the period gone",
                    style="red" if found.spent >= 1 else "c1",
                )
            )
        last = next(dot for dot in reversed(dots) if dot is not None)
        figures.append(
            Figure(
                name,
                f"{last.value:.0%} spent. It begins anew with each period.",
                chart(
                    span,
                    axis,
                    [Level(1.0, "hi", "all of it"), Line(dots, "c1")],
                    f"Budget {name} over time, now {last.value:.0%} spent.",
                    size="small",
                ),
            )
        )
    rows = [
        [
            b.budget,
            b.metric,
            f"{b.p0:.2%} / {b.p1:.2%}",
            f"{_day(_when(b.period_start))} to {_day(_when(b.period_end))}",
            f"{b.spent:.0%} (at least {b.spent_low:.0%})",
            f"{b.elapsed:.0%}",
            f"{b.bad:,} of {b.events:,}",
            f"{b.pending:,}",
            _money(b.worth) if b.HasField("worth") else "not in money",
            "; ".join(f"{one.severity}: {one.rule}" for one in b.firing)
            or b.unattended.reason,
            cited.refs([b.defined_by, *b.evidence[:2]]),
        ]
        for b in facts.standings[-1].budgets
    ]
    crossed = [
        [
            f"{_when(one.at):%Y-%m-%d %H:%M}",
            one.text,
            cited.refs([one.event_id, one.source]),
        ]
        for one in facts.crossings
        if one.budget
    ]
    return Section(
        *section,
        "How much of each agreed budget of bad events is spent, as known at each "
        "moment; late outcomes correct it.",
        figures,
        [
            Table(
                (
                    "Budget",
                    "Metric",
                    "Accepted / limit",
                    "Period",
                    "Spent",
                    "Elapsed",
                    "Bad events",
                    "Pending",
                    "Worth",
                    "Says",
                    "Events",
                ),
                rows,
                frozenset({4, 5, 6, 7, 8}),
                "Budgets now",
                open=True,
            ),
            Table(("When", "What was crossed", "Events"), crossed, title="Crossings"),
        ],
        small=True,
    )


# --- versions, people, contracts ---------------------------------------------------


def _versions(facts: Facts, cited: Citations) -> Section:
    spells = list(_spells(facts))
    places = {key: row for row, key in enumerate(dict.fromkeys(s[0] for s in spells))}
    bars = [
        Bar(
            places[key],
            start,
            end,
            f"{key[0]} in {key[1]}: {share:.0%} from {_day(start)} to {_day(end)}",
            "c1" if share >= 1 else "c2",
            f"{key[0]} in {key[1]}" if first else "",
            end >= facts.end,
        )
        for key, start, end, share, first in spells
    ]
    rows = [
        [
            f"{one.at:%Y-%m-%d %H:%M}",
            ", ".join(
                f"{d.version} in {d.environment} {d.share:.0%}"
                for d in one.deployments
                if d.share > 0
            )
            or "nothing serves",
            cited.refs([one.event]),
        ]
        for one in facts.serving
    ]
    known = [
        [
            one.version,
            _day(_when(one.registered_at)),
            one.registered_by.subject,
            one.digest[7:19],
            one.parent,
            one.validation.outcome or "not validated",
            cited.refs([one.event_id, one.validation.event_id]),
        ]
        for one in facts.versions
    ]
    return Section(
        "versions",
        "Versions deployed",
        "Which version served where, and since when.",
        [
            Figure(
                "Versions in service",
                "Blue is all of the traffic, orange a part of it.",
                timeline(_span(facts), bars, [], f"{len(places)} versions in service."),
            )
        ]
        if bars
        else [],
        [
            Table(("When", "Who serves from then on", "Event"), rows, title="Changes"),
            Table(
                (
                    "Version",
                    "Registered",
                    "By",
                    "Digest",
                    "Parent",
                    "Validation",
                    "Events",
                ),
                known,
                title="Versions",
            ),
        ],
        nothing="" if bars else "No version served in this period.",
    )


Spell = tuple[tuple[str, str], datetime, datetime, float, bool]


def _spells(facts: Facts) -> Iterator[Spell]:
    """Return how long each version kept a share, and whether it is its first spell."""
    seen: set[tuple[str, str]] = set()
    for place, one in enumerate(facts.serving):
        later = facts.serving[place + 1 :]
        until = later[0].at if later else facts.end
        start, end = max(one.at, facts.start), min(until, facts.end)
        if start >= end:
            continue
        for each in one.deployments:
            if each.share > 0:
                key = each.version, each.environment
                yield key, start, end, each.share, key not in seen
                seen.add(key)


def _people(facts: Facts, _: Citations) -> Section:
    told = [one for one in facts.disposed if _people_of(one.rate)]
    dots: list[Dot | None] = [
        Dot(
            one.start + (one.end - one.start) / 2,
            one.rate.rate,
            f"{one.start:%b %Y}: {one.rate.rate:.1%} of {_people_of(one.rate):,}",
            (one.rate.lower, one.rate.upper),
        )
        for one in told
    ]
    known = [dot for dot in dots if dot is not None]
    figure = Figure(
        "Share of decisions that people overrode",
        "By month, with its 95 % interval.",
        chart(
            _span(facts),
            Axis.around([*(dot.value * 1.2 for dot in known), 0.05], "%", low=0.0),
            [Line(dots, "c1")],
            f"Override rate in {len(told)} months.",
        ),
    )
    reasons: Counter[str] = Counter()
    for one in told:
        reasons.update({each.reason: each.count for each in one.rate.reasons})
    return Section(
        "people",
        "What people did",
        "Dispositions of decisions: accepted, overridden, escalated. Counted from "
        f"every disposition in the model's own stream, {facts.position}.",
        [figure] if told else [],
        [
            Table(
                ("Month", "Accepted", "Overridden", "Escalated", "Override rate"),
                [
                    [
                        f"{one.start:%b %Y}",
                        f"{one.rate.accepted:,}",
                        f"{one.rate.overridden:,}",
                        f"{one.rate.escalated:,}",
                        _bounded(one.rate.rate, one.rate.lower, one.rate.upper),
                    ]
                    for one in told
                ],
                frozenset({1, 2, 3, 4}),
                "By month",
            ),
            Table(
                ("Reason for overriding", "Times"),
                [[reason, f"{n:,}"] for reason, n in reasons.most_common(20)],
                frozenset({1}),
                "Reasons",
            ),
        ],
        nothing="" if told else "Nobody recorded what was done with a decision.",
    )


def _contracts(facts: Facts, cited: Citations) -> Section:
    total: Counter[str] = Counter()
    for one in facts.windows:
        total.update(one.figures.breaches)
    top = [rule for rule, _ in total.most_common(len(STYLES))]
    lines = [
        Line(
            [
                Dot(
                    _when(one.end),
                    float(one.figures.breaches.get(rule, 0)),
                    f"{_day(_when(one.end))}: {one.figures.breaches[rule]:,} of {rule}"
                    if rule in one.figures.breaches
                    else "",
                )
                for one in facts.windows
            ],
            style,
            marked=False,
        )
        for rule, style in zip(top, STYLES, strict=False)
    ]
    highest = max(
        (n for w in facts.windows for n in w.figures.breaches.values()), default=1
    )
    aside = sum(one.figures.quarantined for one in facts.windows)
    rows = [
        [
            *_window_cells(one),
            rule,
            f"{n:,}",
            f"{one.figures.quarantined:,}",
            cited.refs([one.source, *one.figures.sources[:1]]),
        ]
        for one in facts.windows
        for rule, n in sorted(one.figures.breaches.items())
    ]
    return Section(
        "contracts",
        "Broken data contracts",
        f"Rows that broke a promise, by column and rule. {aside:,} rows were set aside "
        "and counted in no window.",
        [
            Figure(
                "Rows that broke the contract",
                "The most frequent rules.",
                chart(
                    _span(facts),
                    Axis.around([float(highest)], low=0.0),
                    lines,
                    f"Contract breaches over time; {sum(total.values())} rows in all.",
                ),
                [(style, rule) for rule, style in zip(top, STYLES, strict=False)],
            )
        ]
        if top
        else [],
        [
            Table(
                ("From", "Until", "Version", "Rule", "Rows", "Set aside", "Events"),
                rows,
                frozenset({4, 5}),
                "Breaches by window",
            )
        ],
        nothing="" if top else "No batch broke a contract.",
    )


# --- words -------------------------------------------------------------------------


def _span(facts: Facts) -> Span:
    return Span(facts.start, facts.end)


def _inside(facts: Facts, when: datetime) -> bool:
    return facts.start <= when <= facts.end


def _split(windows: Windows, dots: Sequence[Dot | None]) -> list[Dot | None]:
    """Break a line where another version takes over, or where a window is lacking."""
    found: list[Dot | None] = []
    before = ""
    for window, dot in zip(windows, dots, strict=True):
        if found and window.version != before:
            found.append(None)
        before = window.version
        if dot is not None:
            found.append(dot)
    return found


def _takeovers(windows: Windows) -> list[Mark]:
    """Mark where a version decides for the first time, after the first."""
    first: dict[str, datetime] = {}
    for one in windows:
        first.setdefault(one.version, _when(one.start))
    return [Mark(at, f"{name} takes over") for name, at in list(first.items())[1:]]


def _window_cells(window: monitoring_pb2.Window) -> list[str]:
    start, end = _when(window.start), _when(window.end)
    whole = all(not (one.hour or one.minute or one.second) for one in (start, end))
    form = "%Y-%m-%d" if whole else "%Y-%m-%d %H:%M"
    return [f"{start:{form}}", f"{end:{form}}", window.version]


def _when(value: Timestamp) -> datetime:
    return value.ToDatetime(tzinfo=UTC)


def _day(value: datetime) -> str:
    return f"{value:%-d %b %Y}"


def _bounded(value: float, lower: float, upper: float) -> str:
    return f"{value:.2%} ({lower:.2%} to {upper:.2%})"


def _money(value: common_pb2.Money) -> str:
    return f"{value.minor / 100:,.0f} {value.currency}"


def _index(health: pb.Health) -> str:
    return f"{health.index:.1f}" if health.HasField("index") else "not rated"


def _score(part: pb.Component) -> str:
    return f"{part.score:.1f}" if part.HasField("score") else "not measured"


def _coloured(colour: int) -> Markup:
    style, word = COLOURS.get(colour, ("grey", "○ not rated"))
    return Markup('<span class="colour {}">{}</span>').format(style, word)


def _severity(value: int) -> Markup:
    word = common_pb2.Severity.Name(value).removeprefix("SEVERITY_").lower()
    style = {"low": "grey", "medium": "amber"}.get(word, "red")
    return Markup('<span class="colour {}">{}</span>').format(style, word)


def _kind(alert: monitoring_pb2.Alert) -> str:
    name = monitoring_pb2.AlertKind.Name(alert.kind).removeprefix("ALERT_KIND_")
    return name.lower().replace("_", " ")


def _is_open(alert: monitoring_pb2.Alert) -> bool:
    return alert.status != monitoring_pb2.ALERT_STATUS_RESOLVED


def _people_of(rate: monitoring_pb2.GetOverrideRateResponse) -> int:
    return rate.accepted + rate.overridden + rate.escalated

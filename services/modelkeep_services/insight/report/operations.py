"""Latency and explanations, versions in service, people, and broken contracts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from modelkeep.api.inventory.v1 import inventory_pb2
from modelkeep_services.insight.report.page import (
    Citations,
    Facts,
    Figure,
    Section,
    Table,
)
from modelkeep_services.insight.report.plots import (
    Axis,
    Bar,
    Dot,
    Line,
    chart,
    timeline,
)
from modelkeep_services.insight.report.words import (
    STYLES,
    bounded,
    day_of,
    looked_at,
    moment_of,
    span_of,
    split,
    window_cells,
)

Spell = tuple[tuple[str, str], datetime, datetime, float, bool]


def operations_section(facts: Facts, cited: Citations) -> Section:
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
                split(
                    timed,
                    [
                        Dot(
                            moment_of(one.end),
                            getattr(one.figures.latency_ms, word),
                            f"{day_of(moment_of(one.end))}: {word} "
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
                    span_of(facts),
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
                moment_of(one.end),
                one.figures.explanation_coverage,
                f"{day_of(moment_of(one.end))}: {one.figures.explanation_coverage:.1%}",
            )
            for one in told
        ]
        figures.append(
            Figure(
                "Explanations",
                f"Last {told[-1].figures.explanation_coverage:.1%} of decisions have a "
                "valid explanation.",
                chart(
                    span_of(facts),
                    Axis(0.0, 1.0, "%"),
                    [Line(split(told, dots), "c1")],
                    "Explanation coverage over time, last "
                    f"{told[-1].figures.explanation_coverage:.1%}.",
                    size="small",
                ),
            )
        )
    rows = [
        [
            *window_cells(one),
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


def versions_section(facts: Facts, cited: Citations) -> Section:
    spells = list(_spells(facts))
    places = {key: row for row, key in enumerate(dict.fromkeys(s[0] for s in spells))}
    bars = [
        Bar(
            places[key],
            start,
            end,
            f"{key[0]} in {key[1]}: {share:.0%} from {day_of(start)} to {day_of(end)}",
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
            day_of(moment_of(one.registered_at)),
            one.registered_by.subject,
            one.digest[7:19],
            one.parent,
            _validated(one.validation.outcome),
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
                timeline(
                    span_of(facts), bars, [], f"{len(places)} versions in service."
                ),
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


def _validated(outcome: inventory_pb2.ValidationOutcome.ValueType) -> str:
    if not outcome:
        return "not validated"
    name = inventory_pb2.ValidationOutcome.Name(outcome)
    return name.removeprefix("VALIDATION_OUTCOME_").lower().replace("_", " ")


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


def people_section(facts: Facts, _: Citations) -> Section:
    told = [one for one in facts.disposed if looked_at(one.rate)]
    dots: list[Dot | None] = [
        Dot(
            one.start + (one.end - one.start) / 2,
            one.rate.rate,
            f"{one.start:%b %Y}: {one.rate.rate:.1%} of {looked_at(one.rate):,}",
            (one.rate.lower, one.rate.upper),
        )
        for one in told
    ]
    known = [dot for dot in dots if dot is not None]
    figure = Figure(
        "Share of decisions that people overrode",
        "By month, with its 95 % interval.",
        chart(
            span_of(facts),
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
                        bounded(one.rate.rate, one.rate.lower, one.rate.upper),
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


def contracts_section(facts: Facts, cited: Citations) -> Section:
    total: Counter[str] = Counter()
    for one in facts.windows:
        total.update(one.figures.breaches)
    top = [rule for rule, _ in total.most_common(len(STYLES))]
    lines = [
        Line(
            [
                Dot(
                    moment_of(one.end),
                    float(one.figures.breaches.get(rule, 0)),
                    rule,
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
            *window_cells(one),
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
                    span_of(facts),
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

"""Health over time, its components and crossings, and the budgets beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep_services.insight.report.page import (
    Citations,
    Facts,
    Figure,
    Section,
    Table,
)
from modelkeep_services.insight.report.plots import (
    Area,
    Axis,
    Dot,
    Layer,
    Level,
    Line,
    Mark,
    chart,
)
from modelkeep_services.insight.report.words import (
    COLOURS,
    coloured,
    day_of,
    index_of,
    is_inside,
    moment_of,
    money_of,
    score_of,
    span_of,
)

GREEN, AMBER, RED = 85.0, 60.0, 0.0
HUNDRED: Final = 100.0


def health_section(facts: Facts, cited: Citations) -> Section:
    section = "health", "Health over time"
    if not facts.standings:
        return Section(*section, "", nothing="Health was not looked at.")
    span, axis = span_of(facts), Axis(0, HUNDRED)
    bands: list[Layer] = [
        Area(GREEN, HUNDRED, "green"),
        Area(AMBER, GREEN, "amber"),
        Area(RED, AMBER, "red"),
    ]
    marks = [
        Mark(moment_of(one.at), one.text, _way(one))
        for one in facts.crossings
        if one.what == "health-band-changed" and is_inside(facts, moment_of(one.at))
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
                f"Health index over time, now {index_of(last)}; {len(marks)} changes "
                "of colour.",
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
                f"{part.name} over time, now {score_of(part)}.",
                size="small",
            ),
        )
        for part in last.components
    ]
    crossed = [
        [
            f"{moment_of(one.at):%Y-%m-%d %H:%M}",
            one.text,
            cited.refs([one.event_id, one.source, *one.evidence]),
        ]
        for one in facts.crossings
    ]
    parts = [
        [
            part.name.replace("_", " "),
            f"{part.weight:.0%}",
            score_of(part),
            coloured(part.colour),
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
                        index_of(one.health),
                        coloured(one.health.colour),
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


def budgets_section(facts: Facts, cited: Citations) -> Section:
    section = "budgets", "Risk budgets"
    names = sorted({b.budget for one in facts.standings for b in one.budgets})
    if not names:
        return Section(*section, "", nothing="No budget was agreed.")
    span = span_of(facts)
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
                    f"{day_of(one.at)}: {found.spent:.0%} spent, {found.elapsed:.0%} "
                    "of the period gone",
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
            f"{day_of(moment_of(b.period_start))} to {day_of(moment_of(b.period_end))}",
            f"{b.spent:.0%} (at least {b.spent_low:.0%})",
            f"{b.elapsed:.0%}",
            f"{b.bad:,} of {b.events:,}",
            f"{b.pending:,}",
            money_of(b.worth) if b.HasField("worth") else "not in money",
            "; ".join(f"{one.severity}: {one.rule}" for one in b.firing)
            or b.unattended.reason,
            cited.refs([b.defined_by, *b.evidence[:2]]),
        ]
        for b in facts.standings[-1].budgets
    ]
    crossed = [
        [
            f"{moment_of(one.at):%Y-%m-%d %H:%M}",
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

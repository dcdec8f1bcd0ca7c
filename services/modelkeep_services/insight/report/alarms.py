"""The budget of false alarms, and what reviews of whole periods found."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.report.page import (
    Cell,
    Citations,
    Facts,
    Section,
    Table,
)
from modelkeep_services.insight.report.words import day_of, moment_of


def alarms_section(facts: Facts, cited: Citations) -> Section:
    said = facts.false_alarms
    reviews = (
        [] if said is None else [one for one in said.reviews if _is_in(facts, one)]
    )
    return Section(
        "alarms",
        "False alarms and findings",
        "What the owner allows a quarter, what the windows counted so far can have "
        "cost in expectation, and what people said of the alerts. When a period is "
        "over it is reviewed: of all that reviews of this model call a discovery, the "
        "expected share that is none is at most the rate, whatever depends on what.",
        (),
        [
            Table(
                (
                    "Quarter",
                    "Allowed",
                    "Expected so far",
                    "Alerts",
                    "True",
                    "False",
                    "Not yet said",
                ),
                [_quarter(one) for one in (() if said is None else said.quarters)],
                frozenset(range(1, 7)),
                "The budget by quarter",
                open=True,
            ),
            Table(
                (
                    "Period",
                    "Version",
                    "Tested",
                    "Discoveries",
                    "Rate",
                    "Strongest",
                    "Event",
                ),
                [_review(one, cited) for one in reviews],
                frozenset({2, 3, 4}),
                "Reviews",
                open=True,
            ),
            Table(
                (
                    "Period",
                    "Version",
                    "Discovery",
                    "As",
                    "Rows",
                    "Evidence (log e)",
                    "Asked",
                    "Event",
                ),
                [
                    [*_of(one), *_discovery(found), cited.refs([one.source])]
                    for one in reviews
                    for found in one.discoveries
                ],
                frozenset({4, 5, 6}),
                "Every discovery",
            ),
        ],
        nothing=""
        if said is not None and said.quarters
        else "No budget of false alarms is declared, or no window was counted by it.",
    )


def _is_in(facts: Facts, one: monitoring_pb2.FindingsReview) -> bool:
    if one.environment != facts.environment:
        return False
    return moment_of(one.start) < facts.end and moment_of(one.end) > facts.start


def _quarter(one: monitoring_pb2.FalseAlarmQuarter) -> Sequence[Cell]:
    return [
        one.quarter,
        f"{one.declared:g}",
        f"{one.expected:.3f}",
        str(one.raised),
        str(one.true_alarms),
        str(one.false_alarms),
        str(one.unresolved),
    ]


def _of(one: monitoring_pb2.FindingsReview) -> list[Cell]:
    period = f"{day_of(moment_of(one.start))} to {day_of(moment_of(one.end))}"
    return [period, one.version]


def _review(one: monitoring_pb2.FindingsReview, cited: Citations) -> Sequence[Cell]:
    strongest = ", ".join(found.group for found in one.discoveries[:3])
    return [
        *_of(one),
        f"{one.tested:,}",
        f"{len(one.discoveries):,}",
        f"{one.rate:.1%}",
        strongest,
        cited.refs([one.source]),
    ]


def _discovery(one: monitoring_pb2.Discovery) -> list[Cell]:
    kind = monitoring_pb2.WatchKind.Name(one.monitor).removeprefix("WATCH_KIND_")
    return [
        one.group,
        kind.lower(),
        f"{one.n:,}",
        f"{one.log_e:,.1f}",
        f"{-math.log(one.level):.1f}",
    ]

"""`modelkeep false-alarms`: what was allowed and spent, and what reviews found."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.text import Text

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import AUDITOR, Asking
from modelkeep_services.cli.connect import connected
from modelkeep_services.cli.moments import moment

SHOWN = 20
"""Discoveries of a review; JSON has them all."""


def run(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    model: str | None,
    when: str,
    *,
    as_json: bool,
) -> int:
    """Return the exit code: 1 when more was spent than allowed."""
    needed = {"monitoring": builds["monitoring"], "audit": builds["audit"]}
    with (
        screen.progress("reading the log") as tell,
        connected(home, needed, AUDITOR, store_url=store_url, tell=tell) as there,
    ):
        asking = Asking(there)
        stub = there.stub("monitoring", MonitoringServiceStub)
        request = pb.GetFalseAlarmsRequest(as_of=moment(when), model=model or "")
        answer = asking(stub.GetFalseAlarms, request)
    if as_json:
        screen.say_json(answer)
    else:
        _show(answer)
    return 0 if all(_is_kept(one) for one in answer.quarters) else 1


def _is_kept(one: pb.FalseAlarmQuarter) -> bool:
    return one.false_alarms <= one.declared


def _show(answer: pb.GetFalseAlarmsResponse) -> None:
    if not answer.quarters:
        screen.line("no model has a budget of false alarms whose windows were counted")
        return
    screen.table(
        ["model", "quarter", "allowed", "expected", "alerts", "true", "false", "open"],
        [_quarter(one) for one in answer.quarters],
    )
    for review in answer.reviews:
        _review(review)


def _quarter(one: pb.FalseAlarmQuarter) -> screen.Row:
    return [
        one.model,
        one.quarter,
        f"{one.declared:g}",
        f"{one.expected:.3f}",
        str(one.raised),
        str(one.true_alarms),
        Text(str(one.false_alarms), "" if _is_kept(one) else "bold red"),
        str(one.unresolved),
    ]


def _review(one: pb.FindingsReview) -> None:
    screen.heading(
        f"{one.model} {one.version} in {one.environment}, {screen.day(one.start)} to "
        f"{screen.day(one.end)}"
    )
    screen.line(
        f"{len(one.discoveries)} of {one.tested} hypotheses are discoveries, over "
        f"{one.windows} windows; of all that this model's reviews call a change at "
        f"most {one.rate:.1%} is none, in expectation"
    )
    if one.discoveries:
        screen.table(
            ["discovery", "as", "rows", "evidence (log e)", "asked", "hypothesis"],
            [_discovery(found) for found in one.discoveries[:SHOWN]],
        )
    if len(one.discoveries) > SHOWN:
        screen.line(f"and {len(one.discoveries) - SHOWN} more, in --json")


def _discovery(one: pb.Discovery) -> screen.Row:
    kind = pb.WatchKind.Name(one.monitor).removeprefix("WATCH_KIND_").lower()
    return [
        one.group,
        kind,
        f"{one.n:,}",
        f"{one.log_e:,.1f}",
        f"{-math.log(one.level):.1f}",
        f"{one.number:,}",
    ]

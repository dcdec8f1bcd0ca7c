"""`modelkeep as-of`: everything that was true at a moment, on one screen."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import Asking
from modelkeep_services.cli.moments import moment

CHANGES = 60
"""So many changes fit a screen; JSON has all."""


def run(asking: Asking, when: str, against: str | None, *, as_json: bool) -> None:
    request = pb.AsOfRequest(as_of=moment(when))
    if against is not None:
        request.against.CopyFrom(moment(against))
        request.against.SetInParent()
    answer = asking(asking.audit.AsOf, request)
    if as_json:
        screen.say_json(answer)
    else:
        _show(answer)


def _show(answer: pb.AsOfResponse) -> None:
    screen.line(Text(f"As of {_when(answer.moment)}", "bold"))
    screen.line("  ", _summary(answer))
    _models(answer)
    _alerts(answer.alerts)
    _findings(answer.findings)
    _liabilities(answer.liabilities)
    _exceptions(answer.exceptions)
    _budgets(answer.budgets)
    _bundles(answer.bundles)
    _lineage(answer)
    if answer.HasField("against"):
        _changes(answer)


def _when(moment: pb.Moment) -> str:
    known = screen.instant(moment.time) if moment.HasField("time") else ""
    at = f"position {moment.position}" if moment.HasField("position") else "the latest"
    return f"{known} ({at})" if known else at


def _summary(answer: pb.AsOfResponse) -> str:
    counts = answer.counts
    said = [
        many(counts["models"], "model"),
        many(counts["versions"], "version"),
        many(len(answer.deployments), "deployment"),
        f"{len(answer.alerts):,} of {many(counts['alerts'], 'alert')} open",
        f"{len(answer.findings):,} of {many(counts['findings'], 'finding')} open",
        f"{len(answer.liabilities):,} of {many(counts['liabilities'], 'debt')} owed",
    ]
    return ", ".join(said)


def many(count: int, what: str) -> str:
    """Count things in words.

    >>> many(1, "model"), many(1200, "alert")
    ('1 model', '1,200 alerts')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _models(answer: pb.AsOfResponse) -> None:
    if not answer.models:
        screen.line("  no model was known yet")
        return
    health = {one.model: one for one in answer.health}
    live: dict[str, list[str]] = {}
    for one in answer.deployments:
        share = "" if one.share == 1 else f" {one.share:.0%}"
        live.setdefault(one.model, []).append(
            f"{one.version} in {one.environment}{share}"
        )
    screen.heading("Models")
    screen.table(
        ["model", "tier", "status", "owner", "health", "deployed"],
        [
            [
                one.model,
                f"{one.tier}{'*' if one.tier_source == 'override' else ''}"
                if one.HasField("tier")
                else "-",
                screen.word(one.status),
                one.owner,
                _health(health.get(one.model)),
                ", ".join(live.get(one.model, [])) or "-",
            ]
            for one in answer.models
        ],
    )


def _health(found: pb.Health | None) -> Text:
    if found is None:
        return Text("-")
    said = screen.word(found.band)
    if found.HasField("index"):
        said.append(f" {found.index:.0f}")
    return said


def _alerts(alerts: Iterable[pb.Alert]) -> None:
    rows: list[screen.Row] = [
        [
            one.model,
            screen.word(one.severity),
            one.kind,
            one.cause,
            one.owner or "nobody",
            screen.day(one.due_at),
        ]
        for one in alerts
    ]
    _section(
        "Open alerts", ["model", "severity", "kind", "cause", "owner", "due"], rows
    )


def _findings(findings: Iterable[pb.Finding]) -> None:
    rows: list[screen.Row] = [
        [
            one.model,
            one.finding,
            screen.word(one.severity),
            one.title,
            one.owner,
            screen.day(one.due_at) if one.HasField("due_at") else "-",
        ]
        for one in findings
    ]
    _section(
        "Open findings", ["model", "finding", "severity", "title", "owner", "due"], rows
    )


def _liabilities(liabilities: Iterable[pb.Liability]) -> None:
    rows: list[screen.Row] = [
        [
            one.model,
            screen.word(one.severity),
            one.kind,
            one.title,
            f"{one.minutes / 60:,.1f} h",
            screen.word(one.status),
        ]
        for one in liabilities
    ]
    _section("Debts", ["model", "severity", "kind", "title", "to cure", "status"], rows)


def _exceptions(exceptions: Iterable[pb.PolicyException]) -> None:
    rows: list[screen.Row] = [
        [one.model, one.rule, one.reason, one.owner.subject, screen.day(one.until)]
        for one in exceptions
    ]
    _section("Exceptions in force", ["model", "rule", "reason", "owner", "until"], rows)


def _budgets(budgets: Iterable[pb.Budget]) -> None:
    rows: list[screen.Row] = [
        [
            one.model,
            one.budget,
            screen.word(one.status),
            f"{one.spent:.0%}" if one.HasField("spent") else "-",
        ]
        for one in budgets
    ]
    _section(
        "Risk budgets (at their last crossing)",
        ["model", "budget", "status", "spent"],
        rows,
    )


def _bundles(bundles: Iterable[pb.Bundle]) -> None:
    active = [one for one in bundles if one.status == "active"]
    for one in active:
        screen.heading("Rules in force")
        screen.line(f"  {one.name} {one.version}, {screen.short(one.bundle)}")


def _lineage(answer: pb.AsOfResponse) -> None:
    nodes = {kind: n for kind, n in sorted(answer.lineage.items()) if n}
    if nodes:
        screen.heading("Lineage")
        screen.line("  ", ", ".join(f"{n:,} {kind}" for kind, n in nodes.items()))


def _changes(answer: pb.AsOfResponse) -> None:
    screen.heading(f"Changed by {_when(answer.against)}")
    if not answer.changes:
        screen.line("  nothing")
        return
    screen.table(
        ["what", "key", "field", "before", "after"], changes(answer.changes[:CHANGES])
    )
    more = len(answer.changes) - CHANGES
    if more > 0:
        screen.line(f"  and {more:,} more: --json has them all")


def changes(found: Iterable[pb.Change]) -> list[screen.Row]:
    return [
        [
            one.kind,
            one.key,
            one.field,
            Text(screen.clean(one.before) or "-", "dim"),
            one.after or "-",
        ]
        for one in found
    ]


def _section(title: str, columns: list[str], rows: list[screen.Row]) -> None:
    if rows:
        screen.heading(title)
        screen.table(columns, rows)

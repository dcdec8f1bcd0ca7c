"""At a glance: what a reader of a report should know before any plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.report.page import Citations, Facts, Headline
from modelkeep_services.insight.report.words import (
    COLOURS,
    day_of,
    is_open,
    looked_at,
)


def lede(facts: Facts) -> str:
    owner = facts.model.owner or "nobody"
    tier = f"tier {facts.model.tier}" if facts.model.HasField("tier") else "no tier"
    aside = (
        f" Windows of {', '.join(facts.left_out)} are not shown."
        if facts.left_out
        else ""
    )
    return (
        f"{facts.model.model}, {tier}, owned by {owner}. From {day_of(facts.start)} to "
        f"{day_of(facts.end)} in {facts.environment}; as known on "
        f"{facts.at:%-d %b %Y, %H:%M} UTC, {facts.position}.{aside}"
    )


def headlines(facts: Facts, cited: Citations) -> Iterator[Headline]:
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
    still = [one for one in facts.alerts if is_open(one)]
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
    count = sum(looked_at(one.rate) for one in facts.disposed)
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

"""What stood around a decision at one moment, as claims, each by its events.

A claim copies nothing of them: what a reader sees is read from the events themselves.
`derived` is what no single event says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeVar

from modelkeep.events.lineage import version_node
from modelkeep.ledger import stamp
from modelkeep.views import Reader, View
from modelkeep_services.audit import budgets
from modelkeep_services.audit.known import insight, inventory, lineage, policy
from modelkeep_services.audit.known import monitoring as watched

MOST_EVENTS: Final = 40
"""Of one claim: the first, and the last of the others."""
MOST_VERDICTS: Final = 5
MOST_NODES: Final = 100
MOST_SINCE: Final = 40
"""Alerts, and findings, that came and went after the decision."""
MOST_EVIDENCE: Final = 100

NOBODY: Final = "00000000-0000-4000-8000-000000000000"


class Sourced(Protocol):
    @property
    def event_id(self) -> str: ...


R = TypeVar("R", bound=Sourced)


@dataclass(frozen=True)
class Claim:
    kind: str
    key: str
    events: tuple[str, ...]
    derived: Mapping[str, object] = field(default_factory=dict)

    def plain(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "key": self.key,
            "events": list(self.events),
            "derived": dict(self.derived),
        }


class Place(NamedTuple):
    """Which version decided, where, for what, and when."""

    model: str
    version: str
    environment: str
    use: str
    at: datetime


@dataclass
class Stood:
    """Everything claimed of a moment; `left_out` is what is more than a file holds."""

    time: datetime
    claims: list[Claim]
    left_out: list[str]

    def of(self, kind: str) -> list[Claim]:
        return [one for one in self.claims if one.kind == kind]

    def plain(self) -> dict[str, object]:
        return {
            "time": stamp(self.time),
            "claims": [one.plain() for one in self.claims],
        }


def stood(
    read: Reader, time: datetime, place: Place, then: Stood | None = None
) -> Stood:
    """Return what stood at a moment. With `then`, which was before it, also what came
    and went in between.
    """
    found = Stood(time, [], [])
    found.claims += _build(read, place, found.left_out)
    found.claims += _let_through(read, place, then)
    found.claims += _watched(read, place, time)
    found.claims += _alerts(read, place, then, found.left_out)
    found.claims += _findings(read, place, then, found.left_out)
    if then is not None:
        found.claims += _afterwards(read, place)
    return found


def told(read: Reader, view: View[R], key: str) -> tuple[str, ...]:
    """Return the events that made a row what it is, oldest first."""
    rows = [row for _, row in read.history(view, key) if row is not None]
    return _few(dict.fromkeys(row.event_id for row in rows))


def _few(ids: Mapping[str, None] | Sequence[str]) -> tuple[str, ...]:
    listed = [one for one in ids if one and one != NOBODY]
    if len(listed) > MOST_EVENTS:
        return (listed[0], *listed[1 - MOST_EVENTS :])
    return tuple(listed)


# --- what it is --------------------------------------------------------------------


def _build(read: Reader, place: Place, left_out: list[str]) -> Iterator[Claim]:
    if read.get(inventory.models, place.model) is not None:
        yield Claim("model", place.model, told(read, inventory.models, place.model))
    version = inventory.version_of(read, place.model, place.version)
    if version is None:
        return
    key = f"{place.model}/{place.version}"
    yield Claim("version", key, (version.event_id,))
    if version.card_event:
        yield Claim("card", key, (version.card_event,))
    for _, said in read.scan(inventory.validations, f"{key}/"):
        yield Claim("validation", said.event_id, (said.event_id,))
    node = version_node(place.model, place.version, version.digest)
    for name, row in read.scan(lineage.manifests, f"{node}/"):
        manifest = name.removeprefix(f"{node}/")
        yield Claim("manifest", manifest, (row.event_id,))
    above = lineage.upstream(read, place.model, place.version, version.digest)
    for one in above[:MOST_NODES]:
        events = (one.node.event_id, one.link)
        yield Claim("lineage", one.node.node, events, {"distance": one.distance})
    if len(above) > MOST_NODES:
        left_out.append(
            f"{len(above) - MOST_NODES} nodes of the lineage, the furthest: its nearest"
            f" {MOST_NODES} are here"
        )


# --- what let it through -----------------------------------------------------------


def _let_through(read: Reader, place: Place, then: Stood | None) -> Iterator[Claim]:
    key = f"{place.model}/{place.environment}/{place.version}"
    deployment = read.get(inventory.deployments, key)
    source = ""
    if deployment is not None:
        source = deployment.verdict_source
        yield Claim("deployment", key, (deployment.event_id,))
    every = policy.verdicts_of(read, place.model, place.version)
    let = [one for one in every if source and source in {one.event_id, one.settled_by}]
    others = [one for one in every if one not in let]
    for verdict in [*others[-MOST_VERDICTS + len(let) :], *let]:
        yield _verdict(verdict, let_it_serve=verdict in let)
    for one in let:
        yield from _evidence(one)
        yield from _bundle(read, one)
    known = {one.key for one in then.of("exception")} if then is not None else set()
    for name, row in read.scan(policy.exceptions):
        if row.model == place.model and (row.status == "in force" or name in known):
            ids = _few([*told(read, policy.exceptions, name), row.ended_by])
            yield Claim("exception", name, ids, {"status": row.status})
    for use in dict.fromkeys((place.use, "")):
        autonomy = read.get(watched.autonomy, f"{place.model}/{use}")
        if autonomy is not None:
            events = (autonomy.event_id,)
            yield Claim("autonomy", f"{place.model}/{use}", events)


def _verdict(row: policy.VerdictRow, *, let_it_serve: bool) -> Claim:
    people = [one.event_id for one in row.approvals]
    ids = [row.event_id, *people, row.settled_by, row.revoked_by]
    derived = {"let_it_serve": True} if let_it_serve else {}
    return Claim("verdict", row.request, _few(ids), derived)


def _evidence(row: policy.VerdictRow) -> Iterator[Claim]:
    for one in row.evidence[:MOST_EVIDENCE]:
        yield Claim("evidence", one, (one,))


def _bundle(read: Reader, row: policy.VerdictRow) -> Iterator[Claim]:
    key = f"{row.bundle_name}/{row.bundle}"
    if read.get(policy.bundles, key) is not None:
        yield Claim("bundle", key, told(read, policy.bundles, key))


# --- how it did --------------------------------------------------------------------


def _watched(read: Reader, place: Place, time: datetime) -> Iterator[Claim]:
    baseline = read.get(watched.baselines, f"{place.model}/{place.version}")
    if baseline is not None:
        yield Claim("baseline", baseline.baseline, (baseline.event_id,))
    window = watched.last_window(read, place.model, place.version, place.environment)
    if window is not None:
        yield Claim("window", window.window, (window.event_id,))
    health = read.get(insight.health, place.model)
    if health is not None:
        yield Claim("health", place.model, (health.event_id,))
    for budget in budgets.standings(read, place.model, time):
        key = f"{budget.model}/{budget.budget}"
        yield Claim("budget", key, told(read, insight.budgets, key), _counted(budget))


def _counted(budget: budgets.Standing) -> dict[str, object]:
    found: dict[str, object] = {
        "status": budget.status,
        "spent": budget.spent,
        "bad_events": budget.bad_events,
        "events": budget.events,
        "period_start": stamp(budget.period_start),
        "period_end": stamp(budget.period_end),
    }
    return {name: value for name, value in found.items() if value is not None}


def _alerts(
    read: Reader, place: Place, then: Stood | None, left_out: list[str]
) -> Iterator[Claim]:
    """Yield what is open; after `then` also what was open then, or came since."""
    known = {one.key for one in then.of("alert")} if then is not None else set()
    since: list[Claim] = []
    for key, row in read.scan(watched.alerts, f"{place.model}/"):
        ids = _few(dict.fromkeys((row.event_id, row.last_event)))
        claim = Claim("alert", key, ids, {"status": row.status})
        if row.status != "resolved" or key in known:
            yield claim
        elif then is not None and row.raised_at >= place.at:
            since.append(claim)
    yield from _newest(since, "alerts", left_out)


def _findings(
    read: Reader, place: Place, then: Stood | None, left_out: list[str]
) -> Iterator[Claim]:
    known = {one.key for one in then.of("finding")} if then is not None else set()
    bound = None if then is None else read.when(place.at)
    since: list[Claim] = []
    for key, row in read.scan(inventory.findings, f"{place.model}/"):
        ids = told(read, inventory.findings, key)
        claim = Claim("finding", key, ids, {"status": row.status})
        if row.status != "closed" or key in known:
            yield claim
        elif bound is not None and read.at(bound).get(inventory.findings, key) is None:
            since.append(claim)
    yield from _newest(since, "findings", left_out)


def _newest(since: list[Claim], what: str, left_out: list[str]) -> list[Claim]:
    more = len(since) - MOST_SINCE
    if more > 0:
        left_out.append(f"{more} {what} that came and went after the decision")
    return since[-MOST_SINCE:]


# --- what is only known afterwards --------------------------------------------------


def _afterwards(read: Reader, place: Place) -> Iterator[Claim]:
    """Yield what serves there now, and the window that the decision was counted in with
    every restatement.
    """
    for key, row in read.scan(
        inventory.deployments, f"{place.model}/{place.environment}/"
    ):
        if row.version != place.version:
            yield Claim("deployment", key, (row.event_id,))
    prefix = f"{place.model}/{place.version}/{place.environment}/"
    after = f"{prefix}{stamp(place.at)}"
    for key, window in read.scan(watched.windows, prefix, after=after):
        if window.start <= place.at < window.end:
            ids = told(read, watched.windows, key)
            yield Claim("window", window.window, ids, {"holds_the_decision": True})

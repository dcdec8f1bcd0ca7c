"""The facts of one question, gathered from what policy has seen, each with its event.

What the ledger knows is never overruled by who asks; what only they can know is taken
from the request, and marked as stated.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.decider import Actor
from modelkeep.errors import NotFound, Refused
from modelkeep.events.policy import Approval, Barred, ChangeSize, Stated, Waiver
from modelkeep.events.types import Person
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.policy import seen, views
from modelkeep_services.policy.domain import seats
from modelkeep_services.policy.domain.request import ADMIT, SET_TRAFFIC, Evaluate

VERDICT_LASTS: Final = timedelta(days=30)
"""How long evidence is good for: an ALLOW that rests on nothing shorter ends then."""

FOR_EVER: Final = timedelta(days=3_650)
RECENT: Final = timedelta(days=30)
OUTCOMES: Final = {
    "approved": "passed",
    "conditional": "passed_with_conditions",
    "rejected": "failed",
}
AUTONOMY: Final = {"shadow": 0, "advise": 0, "confirm": 1, "act": 3}
"""0 suggests, unseen or seen; 1 acts once a person confirms; 3 acts."""

OVERSIGHT: Final = {"override_drift", "rubber_stamping"}
MAX_LISTED: Final = 64
MAX_METRICS: Final = 256
MAX_CITED: Final = 400


@dataclass
class Gathered:
    """What is known of one question. Dicts become Facts; an absent key is missing."""

    ask: Evaluate
    actor: Actor
    now: datetime
    read: Reader
    model: seen.ModelRow
    version: seen.VersionRow | None
    expires_at: datetime
    said: dict[str, dict[str, object]] = field(default_factory=dict)
    cited: dict[str, None] = field(default_factory=dict)
    stated: list[Stated] = field(default_factory=list)

    def cite(self, *sources: str | None) -> None:
        self.cited.update({one: None for one in sources if one is not None})

    def state(self, fact: str, value: object) -> object:
        """Take a fact from the request, and say so."""
        if value is not None:
            sources = self.ask.evidence.sources
            self.stated.append(Stated(fact=fact, sources=sources))
            self.cite(*sources)
        return value

    @property
    def key(self) -> str:
        return f"{self.ask.model}/{self.ask.version}"

    @property
    def digest(self) -> str | None:
        return self.version.digest if self.version is not None else None

    def holders(self, role: str) -> list[seen.Holder]:
        return [one for one in self.model.holders if one.role == role]

    def facts(self, heard: Iterable[Approval]) -> Facts:
        """All of it as rules see it, with what people have said already."""
        top: dict[str, object] = {
            "action": self.ask.action,
            "env": self.ask.environment,
            "now": self.now,
            "approvals": as_facts(heard, self.digest, parties(self)),
            **self.said,
        }
        return fill(Facts(), top)


def gather(ask: Evaluate, actor: Actor, now: datetime, read: Reader) -> Gathered:
    """Raises NotFound for an unknown model or version, Refused for a digest that is not
    the version's.
    """
    model = read.get(seen.models, ask.model)
    if model is None:
        raise NotFound("model", ask.model)
    version = _version(ask, read)
    known = Gathered(ask, actor, now, read, model, version, now + VERDICT_LASTS)
    about_people(known)
    about_model(known)
    about_version(known)
    about_validation(known)
    about_performance(known)
    about_telemetry(known)
    about_contracts(known)
    about_promises(known)
    about_findings(known)
    about_serving(known)
    about_budgets(known)
    about_retraining(known)
    return known


def _version(ask: Evaluate, read: Reader) -> seen.VersionRow | None:
    if ask.version is None:
        return None
    row = read.get(seen.versions, f"{ask.model}/{ask.version}")
    if row is None:
        raise NotFound("version", f"{ask.model}/{ask.version}")
    if ask.digest is not None and ask.digest != row.digest:
        raise Refused(
            "policy.stale-digest",
            f"version {ask.version} of {ask.model} is {row.digest}, not {ask.digest}",
            subject=ask.model,
        )
    return row


# --- who ---------------------------------------------------------------------------


def about_people(known: Gathered) -> None:
    actor = known.actor
    known.said["actor"] = {
        "issuer": actor.issuer,
        "subject": actor.subject,
        "roles": sorted(actor.roles)[:MAX_LISTED],
        "human": actor.human,
    }


def parties(known: Gathered) -> tuple[Barred, ...]:
    """Who wrote, own or ask for it: none of them may approve it."""
    found = {known.actor.person: "the requester"}
    if known.version is not None:
        found.setdefault(known.version.registered_by, "who registered the version")
    found |= {one.person: one.why for one in model_parties(known.model)}
    return tuple(Barred(person=who, why=why) for who, why in found.items())


def model_parties(model: seen.ModelRow) -> tuple[Barred, ...]:
    """Who own and make a model."""
    names = {"owner": "the owner", "engineer": "a developer"}
    return tuple(
        Barred(person=one.person, why=names[one.role])
        for one in model.holders
        if one.role in names
    )


def approvals(known: Gathered) -> tuple[Approval, ...]:
    """Each person's last word on this digest, action and environment."""
    ask, last = known.ask, dict[Person, Approval]()
    for _, row in known.read.scan(views.words, f"{ask.model}/"):
        about = (row.digest, row.action, row.environment)
        if about != (known.digest, ask.action, ask.environment):
            continue
        # A request that was denied is not revoked by what voids its approvals.
        since = seen.voids_after(known.model, row.changed_by)
        if any(void.digest in {None, known.digest} for void in since):
            continue
        for one in row.approvals:
            before = last.get(one.by)
            if before is None or (one.at, not one.approved) >= (
                before.at,
                not before.approved,
            ):
                last[one.by] = one
    found = sorted(last.values(), key=lambda one: (one.at, one.by.subject))
    return tuple(found[-MAX_LISTED:])


def as_facts(
    said: Iterable[Approval], digest: str | None, out: Iterable[Barred] = ()
) -> list[dict[str, object]]:
    """A person's roles are those they speak in: their own, and those lent to them."""
    said = list(said)
    roles = seats.voices(said, {one.person: one.why for one in out})
    return [
        {
            "issuer": one.by.issuer,
            "subject": one.by.subject,
            "roles": sorted(roles[one.by])[:MAX_LISTED],
            "digest": digest,
            "at": one.at,
            "expires": one.expires_at or one.at + FOR_EVER,
            "approved": one.approved,
            "conditional": one.max_traffic_share is not None,
            "max_traffic_share": one.max_traffic_share,
        }
        for one in said
    ]


def waivers(known: Gathered) -> tuple[Waiver, ...]:
    """The rules set aside for this model now."""
    return tuple(
        Waiver(exception=row.exception, rule=row.rule, until=row.until)
        for _, row in known.read.scan(views.exceptions_of, f"{known.ask.model}/")
        if row.status == "granted" and known.now < row.until
    )[:MAX_LISTED]


# --- what --------------------------------------------------------------------------


def about_model(known: Gathered) -> None:
    model, ask = known.model, known.ask
    owners, engineers = known.holders("owner"), known.holders("engineer")
    # The one asked for first: a long list is cut, and must not lose it.
    uses = sorted(model.uses, key=lambda use: (use != ask.use, use))
    reviews = [row for _, row in known.read.scan(seen.reviews, f"{ask.model}/")]
    known.said["model"] = {
        "id": ask.model,
        "tier": model.tier,
        "kind": model.kind,
        "owner": owners[-1].person if owners else None,
        "developers": [one.person for one in engineers[-MAX_LISTED:]],
        "third_party": model.vendor is not None or model.kind == "vendor",
        "vendor": model.vendor,
        "lifecycle": model.standing,
        "suspended": model.standing == "suspended",
        "retired": model.standing == "retired",
        "approved_uses": uses[:MAX_LISTED],
        "requested_use": ask.use,
        "product": model.product,
        "review_due_at": min((row.due_at for row in reviews), default=None),
        "autonomy": _autonomy(known),
    }
    known.cite(*(row.source for row in reviews))
    known.cite(model.registered, model.uses_said, model.classified)
    known.cite(model.standing_said)
    known.cite(*(one.source for one in (*owners, *engineers)))


def _autonomy(known: Gathered) -> int | None:
    """How far it may decide alone in the use asked for: shadow until it was raised."""
    if known.ask.use is None:
        return None
    row = known.read.get(seen.autonomy, f"{known.ask.model}/{known.ask.use}")
    if row is None:
        return 0
    known.cite(row.source)
    return AUTONOMY[row.level]


def about_version(known: Gathered) -> None:
    row = known.version
    if row is None:
        return
    base = known.read.get(seen.baselines, known.key)
    count = row.feature_count
    if count is None and base is not None:
        count = base.features
        known.cite(base.source)
    if count is None:
        stated = known.ask.evidence.feature_count
        known.state("version.feature_count", stated)
        count = stated
    known.said["version"] = {
        "id": row.version,
        "digest": row.digest,
        "card_present": row.card is not None,
        "card_digest": row.card_digest,
        "registered_by": row.registered_by,
        "registered_at": row.registered_at,
        "feature_count": count,
        "material_change": row.material_change is not None,
        "signed_by": sorted({one.publisher for one in row.signatures})[:MAX_LISTED],
    }
    known.cite(row.registered, row.card, row.material_change)
    known.cite(*(one.source for one in row.signatures))
    traced = known.read.get(seen.lineage, known.key)
    if traced is not None and traced.digest == row.digest:
        known.said.setdefault("evidence", {})["lineage_complete"] = traced.share
        known.cite(traced.source)


def about_validation(known: Gathered) -> None:
    done = known.version.validation if known.version is not None else None
    if done is None or (done.valid_until or known.expires_at) <= known.now:
        return
    known.said.setdefault("evidence", {}).update(
        validated_at=done.at,
        validated_by=done.validator,
        validation_outcome=OUTCOMES[done.outcome],
        validated_digest=done.digest,
        validated=done.metrics,
    )
    known.cite(done.source)
    if done.valid_until is not None:
        known.expires_at = min(known.expires_at, done.valid_until)


# --- how well ----------------------------------------------------------------------


def about_performance(known: Gathered) -> None:
    """A validator's figures first, then live windows, then what is stated."""
    ask, evidence = known.ask.evidence, known.said.setdefault("evidence", {})
    metric = ask.performance_metric
    evidence["performance_metric"] = metric
    champion = _champion(known)
    if known.ask.environment is not None:
        evidence["has_champion"] = champion is not None
    found = _validated(known, metric) or _measured(known, known.ask.version, metric)
    if found is None and ask.performance is not None:
        known.state("evidence.performance", ask.performance)
        known.state("evidence.sample_size", ask.sample_size)
        found = ask.performance, ask.sample_size
    found = found or _baseline(known, metric)
    if found is not None:
        evidence["performance"], evidence["sample_size"] = found
    rival = _validated(known, f"champion_{metric}")
    if rival is None and ask.champion_performance is not None:
        known.state("evidence.champion_performance", ask.champion_performance)
        rival = ask.champion_performance, None
    if rival is None and champion is not None:
        rival = _measured(known, champion.version, metric)
    if rival is not None:
        evidence["champion_performance"] = rival[0]
    evidence["metrics"] = _metrics(known)


Measured = tuple[float, int | None]


def _champion(known: Gathered) -> seen.Serving | None:
    """Who else holds the place that is asked for, with most of its traffic."""
    place = known.read.get(seen.places, f"{known.ask.model}/{known.ask.environment}")
    if place is None:
        return None
    others = [one for one in place.serving if one.version != known.ask.version]
    known.cite(*(one.source for one in others))
    return max(others, key=lambda one: (one.share, one.version), default=None)


def _validated(known: Gathered, metric: str) -> Measured | None:
    done = known.version.validation if known.version is not None else None
    if done is None or metric not in done.metrics:
        return None
    known.cite(done.source)
    size = done.metrics.get("sample_size")
    return done.metrics[metric], int(size) if size is not None else None


def _measured(known: Gathered, version: str | None, metric: str) -> Measured | None:
    key = f"{known.ask.model}/{version}/{known.ask.environment}"
    window = known.read.get(seen.windows, key)
    found = _figure(window.performance, metric) if window is not None else None
    if window is not None and found is not None:
        known.cite(window.measured)
    return found


def _baseline(known: Gathered, metric: str) -> Measured | None:
    base = known.read.get(seen.baselines, known.key)
    found = _figure(base.performance, metric) if base is not None else None
    if base is not None and found is not None:
        known.cite(base.source)
    return found


def _figure(figures: Iterable[seen.Figure], metric: str) -> Measured | None:
    return next(((f.value, f.n) for f in figures if f.metric == metric), None)


def _metrics(known: Gathered) -> dict[str, float]:
    """Further figures by name: a validator's, what is stated, and open alerts."""
    open_alerts = known.read.scan(seen.alerts, f"{known.ask.model}/")
    known.cite(*(row.source for _, row in open_alerts[:20]))
    unsound = sum(row.kind in OVERSIGHT for _, row in open_alerts)
    known.said.setdefault("evidence", {})["oversight_alerts"] = unsound
    found = {"open_alerts": float(len(open_alerts))}
    for severity in ("critical", "high"):
        count = sum(row.severity == severity for _, row in open_alerts)
        found[f"open_alerts_{severity}"] = float(count)
    done = known.version.validation if known.version is not None else None
    known_metrics: Mapping[str, float] = done.metrics if done is not None else {}
    for name, value in sorted(known.ask.evidence.metrics.items()):
        if name not in known_metrics and name not in found:
            known.state(f"evidence.metrics['{name}']"[:300], value)
            found[name] = value
    found |= known_metrics
    return dict(sorted(found.items())[:MAX_METRICS])


def about_telemetry(known: Gathered) -> None:
    """The version's own windows where it is asked for, else elsewhere, else stated."""
    ask, evidence = known.ask, known.said.setdefault("evidence", {})
    window = known.read.get(seen.windows, f"{known.key}/{ask.environment}")
    if window is None and ask.version is not None:
        elsewhere = [row for _, row in known.read.scan(seen.windows, f"{known.key}/")]
        window = max(elsewhere, key=lambda row: (row.end, row.source), default=None)
    if window is not None:
        evidence["contract_breaches"] = window.breaches
        evidence["explained_share"] = window.explained
        evidence |= _counted(window)
        known.cite(window.source)
    if window is not None and window.features:
        moved: Iterable[object] = window.features
        scores = [one.psi for one in window.features]
    else:
        features = ask.evidence.features
        moved, scores = features, [one.psi for one in features]
        if features:
            known.state("evidence.features", features)
            known.state("evidence.psi_max", features)
    known_scores = [one for one in scores if one is not None]
    evidence["features"] = list(moved)
    # The worst of all: one that could not be measured leaves it unknown.
    if known_scores and len(known_scores) == len(scores):
        evidence["psi_max"] = max(known_scores)
    if evidence.get("explained_share") is None:
        stated = ask.evidence.explained_share
        evidence["explained_share"] = known.state("evidence.explained_share", stated)
    rated = known.read.get(seen.health, ask.model)
    if rated is not None and rated.index is not None:
        evidence["health_index"] = rated.index
        known.cite(rated.source)


def _counted(window: seen.WindowRow) -> dict[str, object]:
    """What the window counted; of groups only where some are compared."""
    found: dict[str, object] = {
        "decisions": window.rows,
        "reason_codes_owed": window.reason_codes_owed,
        "reason_codes_missing": window.reason_codes_missing,
        "out_of_bounds": window.out_of_bounds,
        "unapproved_use": window.unapproved_use,
        "undeployed": window.undeployed,
        "explanation_p95_ms": window.explanation_p95_ms,
    }
    if window.groups is not None:
        found["groups_compared"] = window.groups.compared
        found["groups_breached"] = window.groups.breached
        found["groups_unsure"] = window.groups.unsure
        found["impact_ratio_min"] = window.groups.worst
    return found


def about_contracts(known: Gathered) -> None:
    """Every contract must keep bad batches out for the model to be said to."""
    rows = [row for _, row in known.read.scan(seen.contracts, f"{known.ask.model}/")]
    known.cite(*(row.source for row in rows))
    evidence = known.said.setdefault("evidence", {})
    evidence["contract_registered"] = bool(rows)
    if rows:
        evidence["contract_quarantines"] = all(row.quarantines for row in rows)


def about_promises(known: Gathered) -> None:
    """The strictest of what was accepted; what nobody promised is absent."""
    rows = [row for _, row in known.read.scan(seen.promises, f"{known.ask.model}/")]
    known.cite(*(row.source for row in rows))
    explain = [row for row in rows if row.kind == "explainability"]
    times = [row.explanation_p95_ms for row in explain]
    hours = [row.response_hours for row in rows if row.kind == "audit"]
    known.said["promises"] = {
        "explained_share": max((row.coverage for row in explain), default=None),
        "explanation_p95_ms": min((t for t in times if t is not None), default=None),
        "reason_codes": any(row.reason_codes for row in explain) if explain else None,
        "audit_response_hours": min((h for h in hours if h is not None), default=None),
    }


def about_findings(known: Gathered) -> None:
    overdue = 0
    count = {"critical": 0, "high": 0, "medium": 0, "low": 0}
    for _, row in known.read.scan(seen.findings, f"{known.ask.model}/"):
        if row.accepted_until is None or row.accepted_until <= known.now:
            count[row.severity] += 1
            overdue += row.due_at is not None and row.due_at < known.now
            known.cite(row.source)
    evidence = known.said.setdefault("evidence", {})
    evidence["open_findings"], evidence["findings_overdue"] = count, overdue


# --- where -------------------------------------------------------------------------


def about_serving(known: Gathered) -> None:
    ask, read = known.ask, known.read
    rows = [row for _, row in read.scan(seen.places, f"{ask.model}/")]
    here = read.get(seen.places, f"{ask.model}/{ask.environment}")
    serving = here.serving if here is not None else ()
    main = max(serving, key=lambda one: (one.share, one.version), default=None)
    if ask.environment is None:
        share = sum(sorted(one.share for row in rows for one in row.serving))
    else:
        mine = [one for one in serving if ask.version in {None, one.version}]
        share = sum(sorted(one.share for one in mine))
    known.cite(*(one.source for one in serving))
    deployment: dict[str, object] = {
        "traffic_share": ask.traffic_share,
        "current_traffic_share": round(share, 9),
        "current_digest": main.digest if main is not None else None,
        "verdict_digest": _promoted(known, known.digest),
    }
    if ask.target_version is not None:
        target = read.get(seen.versions, f"{ask.model}/{ask.target_version}")
        if target is None:
            raise NotFound("version", f"{ask.model}/{ask.target_version}")
        known.cite(target.registered)
        deployment["target_digest"] = target.digest
        approved = _promoted(known, target.digest) is not None
        before = here is not None and target.digest in here.before
        deployment["target_approved"] = approved or before
    known.said["deployment"] = deployment


def _promoted(known: Gathered, digest: str | None) -> str | None:
    """The digest, if a verdict that still holds let it into this environment."""
    if digest is None:
        return None
    for _, row in known.read.scan(views.live, f"{known.ask.model}/"):
        place = (row.action, row.digest, row.environment)
        if not row.allowed or place != ("promote", digest, known.ask.environment):
            continue
        ends = row.expires_at
        if known.ask.action == ADMIT:
            # A verdict's expiry says until when it may be used to deploy.
            ends = lapses(known.read, row.request)
            known.expires_at = min(known.expires_at, ends or known.expires_at)
        if ends is None or known.now < ends:
            known.cite(row.source)
            return digest
    return None


def lapses(read: Reader, request: str) -> datetime | None:
    """When what was let in must stop serving: with the glass that was broken, with a
    condition of an approval or with an exception; None where nothing of it lapses.
    """
    row = read.get(views.requests, request)
    given = read.get(views.verdicts, request)
    if row is None or given is None or row.break_glass:
        return row.expires_at if row is not None else None
    heard = [one.approval for one in row.heard if one.approval.approved]
    ends = [one.expires_at for one in heard if one.expires_at is not None]
    return min([*ends, *(one.until for one in given.waivers)], default=None)


def ceiling(known: Gathered) -> float | None:
    """The most traffic that the approvals of this digest allow here; None: no limit.

    A conditional approval that has ended leaves none to grow by. Only for those who
    do not ask for the approval itself.
    """
    if known.ask.action not in {"deploy", SET_TRAFFIC} or known.digest is None:
        return None
    prefix = f"{known.ask.model}/{known.digest}/{known.ask.environment}/"
    rows = [row for _, row in known.read.scan(views.limits, prefix)]
    good = [
        row.share
        for row in rows
        if not row.revoked and (row.expires_at is None or known.now < row.expires_at)
    ]
    if good:
        return max(good) if max(good) < 1 else None
    return 0.0 if any(row.conditional for row in rows) else None


def size(known: Gathered) -> ChangeSize | None:
    """How much this version changes, against the one that serves there now."""
    if known.version is None:
        return None
    rival = _champion(known)
    mine = known.read.get(seen.baselines, known.key)
    evidence = known.said.get("evidence", {})
    now, before = evidence.get("performance"), evidence.get("champion_performance")
    count = known.said.get("version", {}).get("feature_count")
    changed = None
    if rival is not None and mine is not None:
        theirs = known.read.get(seen.baselines, f"{known.ask.model}/{rival.version}")
        if theirs is not None:
            changed = len(set(mine.names) ^ set(theirs.names))
    better = None
    if isinstance(now, float) and isinstance(before, float):
        better = round(now - before, 4)
    return ChangeSize(
        features=count if isinstance(count, int) else None,
        features_changed=changed,
        performance_change=better,
    )


# --- how much is left --------------------------------------------------------------


def about_budgets(known: Gathered) -> None:
    """The worst of the model's budgets; without one nothing is known."""
    rows = [row for _, row in known.read.scan(seen.budgets, f"{known.ask.model}/")]
    if not rows:
        return
    known.cite(*(row.source for row in rows))
    spent = [(_running(row, known.now), row) for row in rows]
    ahead = max(spent, key=lambda pair: pair[0][0] - pair[0][1])[0]
    known.said["budget"] = {
        "spent_lower": ahead[0],
        "elapsed": ahead[1],
        "exhausted": any(row.exhausted and _current(row, known.now) for row in rows),
        "remedies_cause": known.state(
            "budget.remedies_cause", known.ask.remedies_cause
        ),
    }


def _current(row: seen.BudgetRow, now: datetime) -> bool:
    return row.period_end is not None and now < row.period_end


def _running(row: seen.BudgetRow, now: datetime) -> tuple[float, float]:
    """Share spent at least, and share of the period gone by."""
    if _current(row, now):
        spent, start, end = row.spent_low, row.period_start, row.period_end
    else:
        spent, (start, end) = 0.0, _period(row, now)
    if start is None or end is None:
        return spent, 0.0
    return spent, round(min(1.0, max(0.0, (now - start) / (end - start))), 4)


def _period(row: seen.BudgetRow, now: datetime) -> tuple[datetime, datetime]:
    """The period that is running now: they follow each other without a gap."""
    count = 0
    while _later(row.first_end, count) <= now:
        count += row.months
    return _later(row.first_end, count - row.months), _later(row.first_end, count)


def _later(instant: datetime, months: int) -> datetime:
    """The same day and time so many months later, or that month's last day."""
    year, month = divmod(instant.year * 12 + instant.month - 1 + months, 12)
    day = min(instant.day, monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def about_retraining(known: Gathered) -> None:
    stated, builds = known.ask.retraining, known.model.builds
    recent = [one for one in builds if known.now - RECENT < one <= known.now]
    known.said["retraining"] = {
        "runs_30d": len(recent),
        "last_at": builds[-1] if builds else None,
        **{
            name: known.state(f"retraining.{name}", getattr(stated, name))
            for name in (
                "unattended",
                "challenger_performance",
                "champion_performance",
            )
        },
    }


def cited(known: Gathered) -> tuple[str, ...]:
    return tuple(known.cited)[:MAX_CITED]

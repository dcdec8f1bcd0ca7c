"""The part of monitoring's table that is about attending to alerts: incidents, onsets,
precision and overrides, autonomy.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final, TypeVar

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import NotFound, Refused
from modelkeep.identity import FIRST_LINE, ROLES, SECOND_LINE
from modelkeep.pages import page_of
from modelkeep.paging import page
from modelkeep.service import Asked, Target, read, write
from modelkeep.stats.wilson import wilson
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.monitoring import attention_views as attention
from modelkeep_services.monitoring import autonomy, disposing, overrides, views
from modelkeep_services.monitoring.asking import require_model
from modelkeep_services.monitoring.columns import slug_of
from modelkeep_services.monitoring.incident_answers import (
    CITED,
    members_of,
    pressing,
    told,
)
from modelkeep_services.monitoring.incidents import (
    INCIDENT,
    AcknowledgeIncident,
    ResolveIncident,
    cause_stream,
)
from modelkeep_services.monitoring.onsets import ONSET, EstablishOnset
from modelkeep_services.monitoring.rounding import SHOWN
from modelkeep_services.monitoring.wire_values import instant

WATCHERS: Final = FIRST_LINE | SECOND_LINE
APPROVERS: Final = frozenset({"risk_officer", "validator"})

A = TypeVar("A", autonomy.ProposeAutonomy, autonomy.ApproveAutonomy)
U = TypeVar(
    "U",
    autonomy.ProposeAutonomy,
    autonomy.ApproveAutonomy,
    autonomy.RejectAutonomy,
    autonomy.LowerAutonomy,
)

# --- incidents ---------------------------------------------------------------------


def incident_stream(
    command: AcknowledgeIncident | ResolveIncident, _: Context
) -> Target:
    return Target("incident", cause_stream(command.incident))


def list_incidents(
    request: pb.ListIncidentsRequest, asked: Asked
) -> pb.ListIncidentsResponse:
    model = require_model(asked.read, request.model) if request.model else ""

    def keep(row: attention.IncidentRow) -> bool:
        if not request.include_merged and _is_told_elsewhere(row, asked.read):
            return False
        if request.open_only and row.status == "resolved":
            return False
        return not model or _touches(row.incident, model, asked.read)

    found = [row for _, row in asked.read.scan(attention.incidents) if keep(row)]
    found.sort(key=lambda row: pressing(row, asked.read))
    rows, token = page_of(found, request.page)
    return pb.ListIncidentsResponse(
        incidents=[_incident(row, asked.read) for row in rows], next_token=token
    )


def _is_told_elsewhere(row: attention.IncidentRow, reader: Reader) -> bool:
    """A consequence is told with its cause, unless that is over and it is not."""
    if row.merged_into is None:
        return False
    into = reader.get(attention.incidents, row.merged_into)
    return into is None or into.status != "resolved" or row.status == "resolved"


def _touches(incident: str, model: str, reader: Reader) -> bool:
    return any(one.alert.model == model for one in members_of(incident, reader))


def get_incident(
    request: pb.GetIncidentRequest, asked: Asked
) -> pb.GetIncidentResponse:
    row = asked.read.get(attention.incidents, slug_of("incident", request.incident))
    if row is None:
        raise NotFound("incident", request.incident)
    answer = pb.GetIncidentResponse(incident=_incident(row, asked.read))
    for one in members_of(row.incident, asked.read)[:CITED]:
        shown = fill(answer.alerts.add(), one.alert)
        if one.incident != row.incident:
            shown.consequence = one.incident
    return answer


def _incident(row: attention.IncidentRow, reader: Reader) -> pb.Incident:
    return fill(fill(pb.Incident(), row), told(row, reader))


# --- alerts, with what was done about them -----------------------------------------


def alert_message(row: views.AlertRow, reader: Reader) -> pb.Alert:
    """Return an alert with its incident, its escalation and since when it was so."""
    key = f"{row.model}/{row.alert}"
    said = fill(pb.Alert(), row)
    escalation = reader.get(attention.escalations, key)
    if escalation is not None and escalation.steps:
        fill(said.escalation, escalation)
    membership = attention.incident_of(row.model, row.alert, reader)
    if membership is not None:
        said.incident = membership.incident
    onset = reader.get(attention.onsets, key)
    return said if onset is None else fill(said, {"onset": onset})


def get_alert_precision(
    request: pb.GetAlertPrecisionRequest, asked: Asked
) -> pb.GetAlertPrecisionResponse:
    prefix = f"{require_model(asked.read, request.model)}/" if request.model else ""
    counts: dict[tuple[str, str], Counter[bool | None]] = {}
    for _, row in asked.read.scan(views.alerts, prefix):
        quarter = _quarter(row.raised_at) if request.by_quarter else ""
        counts.setdefault((row.kind, quarter), Counter())[row.true_alarm] += 1
    return pb.GetAlertPrecisionResponse(
        rules=[_precision(*key, counts[key]) for key in sorted(counts)]
    )


def _quarter(at: datetime) -> str:
    return f"{at.year}Q{(at.month + 2) // 3}"


def _precision(kind: str, quarter: str, said: Counter[bool | None]) -> pb.RulePrecision:
    judged = said[True] + said[False]
    low, high = wilson(said[True], judged)
    found = {
        "kind": kind,
        "quarter": quarter,
        "raised": said.total(),
        "true_alarms": said[True],
        "false_alarms": said[False],
        "unresolved": said[None],
        "precision": round(said[True] / judged, SHOWN) if judged else None,
        "lower": round(low, SHOWN) if judged else None,
        "upper": round(high, SHOWN) if judged else None,
    }
    return fill(pb.RulePrecision(), found)


# --- since when --------------------------------------------------------------------


def onset_stream(command: EstablishOnset, _: Context) -> Target:
    return Target("onset", command.subject)


def detected(command: EstablishOnset, asked: Asked) -> EstablishOnset:
    """Add when the first alert was raised. Raises NotFound for what nobody knows."""
    if command.incident is not None:
        if asked.read.get(attention.incidents, command.incident) is None:
            raise NotFound("incident", command.incident)
        alerts = [one.alert for one in members_of(command.incident, asked.read)]
    else:
        key = f"{command.model}/{command.alert}"
        row = asked.read.get(views.alerts, key)
        if row is None:
            raise NotFound("alert", key)
        alerts = [row]
    first = min((row.raised_at for row in alerts), default=asked.now)
    return command.model_copy(update={"detected_at": first})


# --- overrides ---------------------------------------------------------------------


def get_override_rate(
    request: pb.GetOverrideRateRequest, asked: Asked
) -> pb.GetOverrideRateResponse:
    model = require_model(asked.read, request.model)
    start, end = instant("start", request, "start"), instant("end", request, "end")
    first = f"{model}/{start:%Y-%m-%d}" if start else ""
    last = f"{model}/{end:%Y-%m-%d}" if end else f"{model}/~"
    total: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for key, row in asked.read.scan(views.overrides, f"{model}/"):
        if first <= key < last:
            total.update(row.counts)
            reasons.update(row.reasons)
    now = overrides.rate(total)
    answer = fill(
        pb.GetOverrideRateResponse(),
        {
            "accepted": total["accepted"],
            "overridden": now.overridden,
            "escalated": total["escalated"],
            "rate": _rounded(now.value),
            "lower": _rounded(now.bounds.low) if now.n else None,
            "upper": _rounded(now.bounds.high) if now.n else None,
            "document": overrides.DOCUMENT,
        },
    )
    for reason, count in overrides.shown(reasons):
        answer.reasons.add(reason=reason, count=count)
    return answer if start is None else _compared(answer, now, model, start, asked.read)


def _compared(
    answer: pb.GetOverrideRateResponse,
    now: overrides.Rate,
    model: str,
    start: datetime,
    reader: Reader,
) -> pb.GetOverrideRateResponse:
    since = start - overrides.RULES.reference_days * overrides.DAY
    before = overrides.rate(disposing.counted(model, since, start, reader)[0])
    change = overrides.change(now, before)
    found = overrides.judged(now, before)
    said = {
        "reference_n": before.n,
        "reference_overridden": before.overridden,
        "reference_rate": _rounded(before.value),
        "reference_lower": _rounded(before.bounds.low) if before.n else None,
        "reference_upper": _rounded(before.bounds.high) if before.n else None,
        "change": None if change is None else _rounded(change.value),
        "change_lower": None if change is None else _rounded(change.low),
        "change_upper": None if change is None else _rounded(change.high),
        "finding": None if found is None else found.what,
    }
    return fill(answer, said)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, SHOWN)


# --- autonomy ----------------------------------------------------------------------


def autonomy_stream(command: autonomy.AutonomyCommand, _: Context) -> Target:
    return Target("autonomy", command.model)


def use_of(command: U, asked: Asked) -> U:
    """Raises NotFound for a model, Refused for a use that was not approved."""
    model = require_model(asked.read, command.model)
    row = asked.read.get(views.models, model)
    uses = () if row is None else row.uses
    if command.use != autonomy.ANY_USE and command.use not in uses:
        raise Refused(
            "monitoring.use-approved",
            f"{command.use} is not an approved use of {model}",
            subject=model,
        )
    return command


def evidenced(command: A, asked: Asked) -> A:
    use_of(command, asked)
    evidence = disposing.evidence_of(command.model, asked.now, asked.read)
    return command.model_copy(update={"evidence": evidence})


def proposed(
    answer: pb.ProposeAutonomyResponse,
    command: autonomy.ProposeAutonomy,
    asked: Asked,
) -> None:
    row = asked.read.get(attention.autonomies, f"{command.model}/{command.use}")
    if row is not None:
        fill(answer.autonomy, row)


def list_autonomy(
    request: pb.ListAutonomyRequest, asked: Asked
) -> pb.ListAutonomyResponse:
    prefix = f"{require_model(asked.read, request.model)}/" if request.model else ""
    rows, token = page(asked.read, attention.autonomies, request.page, prefix)
    return pb.ListAutonomyResponse(
        autonomy=[fill(pb.Autonomy(), row) for _, row in rows], next_token=token
    )


# --- the table ---------------------------------------------------------------------

_INCIDENT = (INCIDENT, incident_stream)
_AUTONOMY = (autonomy.AUTONOMY, autonomy_stream)

WRITES = [
    write("AcknowledgeIncident", AcknowledgeIncident, *_INCIDENT, WATCHERS),
    write("ResolveIncident", ResolveIncident, *_INCIDENT, WATCHERS),
    write(
        "EstablishOnset",
        EstablishOnset,
        ONSET,
        onset_stream,
        WATCHERS,
        prepare=detected,
    ),
    write(
        "ProposeAutonomy",
        autonomy.ProposeAutonomy,
        *_AUTONOMY,
        WATCHERS,
        prepare=evidenced,
        respond=proposed,
    ),
    write(
        "ApproveAutonomy",
        autonomy.ApproveAutonomy,
        *_AUTONOMY,
        APPROVERS,
        prepare=evidenced,
    ),
    write(
        "RejectAutonomy",
        autonomy.RejectAutonomy,
        *_AUTONOMY,
        APPROVERS,
        prepare=use_of,
    ),
    write(
        "LowerAutonomy",
        autonomy.LowerAutonomy,
        *_AUTONOMY,
        WATCHERS,
        prepare=use_of,
    ),
]
READS = [
    read("ListIncidents", list_incidents, ROLES),
    read("GetIncident", get_incident, ROLES),
    read("GetAlertPrecision", get_alert_precision, ROLES),
    read("GetOverrideRate", get_override_rate, ROLES),
    read("ListAutonomy", list_autonomy, ROLES),
]

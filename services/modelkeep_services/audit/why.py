"""Why a decision was made: the whole chain, as it stood then and as it stands now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.errors import Invalid, NotFound
from modelkeep.objects import artifacts_of
from modelkeep.service import Asked, asked_time
from modelkeep.views import AsOf
from modelkeep.wire import fill
from modelkeep_services.audit import decision_log, events, moments
from modelkeep_services.audit.as_of import differences
from modelkeep_services.audit.decision_log import Logged
from modelkeep_services.audit.known import inventory
from modelkeep_services.audit.known.monitoring import dispositions
from modelkeep_services.audit.notary import Notary
from modelkeep_services.audit.rescoring import rescore
from modelkeep_services.audit.standing import standing

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def why(notary: Notary, request: pb.WhyRequest, asked: Asked) -> pb.WhyResponse:
    """Raises Invalid for what is no UUID, NotFound for a decision nobody logged."""
    decision = _uuid(request.decision)
    logged = decision_log.find(asked.read, asked.host.home.decisions, decision)
    if logged is None:
        raise NotFound("decision", str(decision))
    decided = EPOCH + timedelta(microseconds=logged.row.at)
    now = moments.moment_of(asked, request.as_of)
    then = moments.earlier(asked.read.when(decided), now)
    answer = pb.WhyResponse(decision=_decision(asked, logged, decided))
    _prove(answer, notary, asked, logged)
    _stand(answer, asked, logged, then, decided)
    place = logged.schema.model, logged.schema.version, logged.schema.environment
    answer.now.CopyFrom(standing(asked.read, asked_time(request, asked), *place))
    answer.now.moment.CopyFrom(moments.told(asked, request.as_of, now))
    answer.changes.extend(
        differences(asked.read.at(then), asked.read, logged.schema.model)
    )
    answer.gaps.extend(_gaps(answer, logged))
    if request.rescore:
        answer.rescore.CopyFrom(_rescored(asked, logged))
    return answer


def _uuid(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise Invalid.field("decision", "must be a UUID") from None


def _decision(asked: Asked, logged: Logged, decided: datetime) -> pb.Decision:
    schema, row = logged.schema, logged.row
    told = pb.Decision(
        decision=str(UUID(bytes=row.id)),
        model=schema.model,
        version=schema.version,
        environment=schema.environment,
        use=schema.use,
        score=row.score,
        latency_ms=row.latency_ms,
        explained=row.explained,
        reason_codes=row.reason_codes,
        reference=row.reference or "",
    )
    told.at.FromDatetime(decided)
    for (name, dtype), value in zip(schema.columns, row.values, strict=True):
        cell = told.features.add(name=name, dtype=dtype)
        match value:
            case bool():
                cell.truth = value
            case int():
                cell.integer = value
            case float():
                cell.number = value
            case str():
                cell.text = value
    _outcome(told, asked, decided)
    return told


def _outcome(told: pb.Decision, asked: Asked, decided: datetime) -> None:
    found = decision_log.outcome(
        asked.read,
        asked.host.home.decisions,
        told.model,
        UUID(told.decision),
        decided,
    )
    if found is not None:
        if found.number is None:
            told.outcome = found.outcome
        else:
            told.outcome_value = found.number
        told.outcome_known_at.FromDatetime(found.at)
    said = asked.read.get(dispositions, f"{told.model}/{told.decision}")
    if said is not None:
        told.disposition, told.disposition_reason = said.disposition, said.reason
        fill(told.disposition_by, said.by)


def _prove(
    answer: pb.WhyResponse, notary: Notary, asked: Asked, logged: Logged
) -> None:
    recorded = events.find(asked, logged.batch.event_id)
    answer.proof.CopyFrom(
        pb.RowProof(
            row=logged.encoded,
            row_schema=logged.schema.to_json().decode(),
            index=logged.place,
            rows=logged.rows,
            proof=logged.proof,
            root=bytes.fromhex(logged.batch.root.removeprefix("sha256:")),
            found_root=logged.found_root,
            not_proven=logged.not_proven,
            batch=logged.batch.batch,
            event=events.told(recorded),
        )
    )
    answer.proof.inclusion.CopyFrom(events.include(notary, recorded))


def _stand(
    answer: pb.WhyResponse,
    asked: Asked,
    logged: Logged,
    then: AsOf,
    decided: datetime,
) -> None:
    schema = logged.schema
    place = schema.model, schema.version, schema.environment
    answer.then.CopyFrom(standing(asked.read.at(then), decided, *place))
    if then.bound is not None:
        answer.then.moment.position = then.bound
    answer.then.moment.time.FromDatetime(decided)


def _gaps(answer: pb.WhyResponse, logged: Logged) -> Iterator[str]:
    then, schema = answer.then, logged.schema
    version = f"{schema.model}/{schema.version}"
    if not logged.intact:
        yield (
            f"the rows of batch {logged.batch.batch} are not those that were recorded:"
            " the object was changed"
        )
    if logged.not_proven:
        yield logged.not_proven
    if not then.HasField("version"):
        yield f"the ledger did not know version {version} when it decided"
    if not then.HasField("deployment"):
        yield f"{version} was not deployed in {schema.environment} when it decided"
    if not any(verdict.verdict == "allow" for verdict in then.verdicts):
        yield f"no rule had allowed {version} when it decided"
    if not then.lineage:
        yield f"nothing was recorded of where {version} came from"
    if not then.HasField("health"):
        yield f"the health of {schema.model} was not known yet"


def _rescored(asked: Asked, logged: Logged) -> pb.Rescore:
    schema = logged.schema
    version = inventory.version_of(asked.read, schema.model, schema.version)
    artifacts = () if version is None else version.artifacts
    return rescore(artifacts_of(asked.host.home), artifacts, logged)

"""What the inventory is asked, and how its rows answer."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.errors import Invalid, NotFound, Violation
from modelkeep.objects import artifacts_of
from modelkeep.paging import page
from modelkeep.service import Asked, asked_time
from modelkeep.views import View
from modelkeep.wire import fill, values
from modelkeep_services.inventory import rubric, views
from modelkeep_services.inventory.cards import load_card
from modelkeep_services.inventory.effective import Looks, retold
from modelkeep_services.inventory.views.challenges import FindingRow, ReviewRow
from modelkeep_services.inventory.views.facts import FactRow, last_revision
from modelkeep_services.inventory.views.models import ModelRow, UseRow
from modelkeep_services.inventory.views.serving import DeploymentRow

R = TypeVar("R")
M = TypeVar("M", bound=Message)

DEFAULT_SIZE: Final = 100
MAX_SIZE: Final = 1_000
FUTURE: Final = datetime(9999, 1, 1, tzinfo=UTC)


def _said(request: Message, *names: str) -> None:
    """Raises Invalid for each of these fields that is empty."""
    empty = [name for name in names if not getattr(request, name)]
    if empty:
        raise Invalid(*(Violation(name, "is compulsory") for name in empty))


# --- models ------------------------------------------------------------------------


def get_model(request: pb.GetModelRequest, asked: Asked) -> pb.GetModelResponse:
    _said(request, "model")
    look = _look(request, asked, request.model)
    row = look.get(views.models, request.model)
    if row is None:
        raise NotFound("model", request.model)
    prefix = f"{request.model}/"
    roles = [role for _, role in look.scan(views.roles, prefix)]
    reviews = [one for _, one in look.scan(views.reviews, prefix)]
    findings = [one for _, one in look.scan(views.findings, prefix)]
    missing = _role_gaps(row, [role.role for role in roles])
    answer = pb.GetModelResponse(
        model=_model(row),
        roles=[fill(pb.RoleHolder(), role) for role in roles],
        deployments=_filled(pb.Deployment, look.scan(views.deployments, prefix)),
        versions=_filled(pb.Version, look.scan(views.versions, prefix)),
        reviews=[fill(pb.Review(), one) for one in reviews if not _over(one)],
    )
    answer.model.revision = last_revision(asked.read, request.model)
    fill(answer, {"role_gaps": missing})
    fill(answer.findings, _counts(findings, _moment(request, asked)))
    if row.tier is not None:
        standing = _standing(row, look, missing, reviews, findings)
        level, reasons = rubric.residual(rubric.in_force(), row.tier, standing)
        said = {"residual_risk": level, "residual_reasons": reasons}
        fill(answer, {"inherent_tier": row.tier, **said})
    return answer


def list_models(request: pb.ListModelsRequest, asked: Asked) -> pb.ListModelsResponse:
    wanted = values(request)
    tier, owner = wanted.get("tier"), wanted.get("owner")
    line, lifecycle = wanted.get("business_line"), wanted.get("lifecycle")

    def kept(row: ModelRow) -> bool:
        return (
            tier in {None, row.tier}
            and owner in {None, row.owner}
            and line in {None, row.business_line}
            and lifecycle in {None, row.lifecycle}
        )

    look = _look(request, asked)
    rows, token = _page_of(look, views.models, request.page, kept)
    return pb.ListModelsResponse(
        models=[_model(row) for _, row in rows], next_token=token
    )


def _look(
    request: pb.GetModelRequest | pb.ListModelsRequest, asked: Asked, model: str = ""
) -> Looks:
    """The views as of what was known; or that knowledge retold up to a moment."""
    if not request.HasField("effective_at"):
        return asked.read
    return retold(asked.read, _instant(request.effective_at), model)


def _instant(stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid.field("effective_at", "is not a time") from None


def _moment(request: pb.GetModelRequest, asked: Asked) -> datetime:
    if request.HasField("effective_at"):
        return _instant(request.effective_at)
    return asked_time(request, asked)


def _model(row: ModelRow) -> pb.Model:
    return fill(fill(pb.Model(), row), {"lifecycle": row.lifecycle})


def _role_gaps(row: ModelRow, held: list[str]) -> list[str]:
    must = rubric.in_force().compulsory_roles[row.tier or rubric.UNKNOWN_TIER]
    return [role for role in must if role not in held]


def _over(review: ReviewRow) -> bool:
    return review.status in {"completed", "cancelled"}


def _counts(findings: list[FindingRow], now: datetime) -> dict[str, int]:
    counts = dict.fromkeys(
        ("critical", "high", "medium", "low", "overdue", "accepted"), 0
    )
    for one in findings:
        if one.status == "closed":
            continue
        counts[one.severity] += 1
        counts["overdue"] += one.overdue
        counts["accepted"] += _accepted(one, now)
    return counts


def _accepted(finding: FindingRow, now: datetime) -> bool:
    return finding.accepted_until is not None and now < finding.accepted_until


def _standing(
    row: ModelRow,
    look: Looks,
    missing: list[str],
    reviews: list[ReviewRow],
    findings: list[FindingRow],
) -> rubric.Standing:
    """Accepted findings weigh as open ones: to live with a risk does not remove it."""
    lapses = [f"nobody is {role.replace('_', ' ')}" for role in missing]
    for place, share in row.shares.items():
        environment, version = place.split("/")
        built = look.get(views.versions, f"{row.model}/{version}")
        if share <= 0 or built is None:
            continue
        where = f"{version}, serving in {environment},"
        if built.card_digest is None:
            lapses.append(f"{where} has no card")
        valid = built.validation
        if valid is None or valid.void or valid.outcome == "rejected":
            lapses.append(f"{where} is not validated")
    if not row.versions:
        lapses.append("no version is registered")
    open_ones = [one.severity for one in findings if one.status != "closed"]
    return rubric.Standing(
        tuple(lapses),
        open_ones.count("critical"),
        open_ones.count("high"),
        sum(one.status == "overdue" for one in reviews),
    )


# --- a page of rows ----------------------------------------------------------------


def _filled(kind: Callable[[], M], rows: list[tuple[str, R]]) -> list[M]:
    return [fill(kind(), row) for _, row in rows]


def _page_of(
    look: Looks,
    view: View[R],
    asked: Page,
    kept: Callable[[R], bool],
    prefix: str = "",
) -> tuple[list[tuple[str, R]], str]:
    """A page of the rows that are kept, and the token of the next."""
    size = asked.size or DEFAULT_SIZE
    found: list[tuple[str, R]] = []
    part, token = page(look, view, Page(size=size, token=asked.token), prefix)  # type: ignore[arg-type]  # it scans, and no more
    while True:
        found += [(key, row) for key, row in part if kept(row)]
        if len(found) > size:
            last = urlsafe_b64encode(found[size - 1][0].encode()).decode()
            return found[:size], last
        if not token:
            return found, ""
        part, token = page(look, view, Page(size=MAX_SIZE, token=token), prefix)  # type: ignore[arg-type]  # it scans, and no more


def _of_model(read: Looks, model: str) -> str:
    """The prefix of a model's keys. Raises NotFound; an empty id is any model's."""
    if not model:
        return ""
    if read.get(views.models, model) is None:
        raise NotFound("model", model)
    return f"{model}/"


def _listed(
    request: Message,
    asked: Asked,
    view: View[R],
    answer: M,
    field: str,
    kept: Callable[[R], bool] = lambda _: True,
    prefix: str | None = None,
) -> M:
    wanted: str = request.model  # type: ignore[attr-defined]  # every list here may name one
    if prefix is None:
        prefix = _of_model(asked.read, wanted)
    rows, token = _page_of(asked.read, view, request.page, kept, prefix)  # type: ignore[attr-defined]  # and has a page
    answer.next_token = token  # type: ignore[attr-defined]  # as its answer has a token
    into = getattr(answer, field)
    for _, row in rows:
        _fill_row(into.add(), row)
    return answer


def _fill_row(message: Message, row: object) -> None:
    fill(message, row)
    if isinstance(row, FindingRow):
        fill(message, {"status": row.status})


def list_versions(
    request: pb.ListVersionsRequest, asked: Asked
) -> pb.ListVersionsResponse:
    return _listed(
        request, asked, views.versions, pb.ListVersionsResponse(), "versions"
    )


def list_deployments(
    request: pb.ListDeploymentsRequest, asked: Asked
) -> pb.ListDeploymentsResponse:
    def kept(row: DeploymentRow) -> bool:
        return request.environment in {"", row.environment}

    answer = pb.ListDeploymentsResponse()
    return _listed(request, asked, views.deployments, answer, "deployments", kept)


def list_verdicts(
    request: pb.ListVerdictsRequest, asked: Asked
) -> pb.ListVerdictsResponse:
    return _listed(
        request, asked, views.verdicts, pb.ListVerdictsResponse(), "verdicts"
    )


def list_findings(
    request: pb.ListFindingsRequest, asked: Asked
) -> pb.ListFindingsResponse:
    status = values(request).get("status")

    def kept(row: FindingRow) -> bool:
        return status in {None, row.status}

    answer = pb.ListFindingsResponse()
    return _listed(request, asked, views.findings, answer, "findings", kept)


def list_reviews(
    request: pb.ListReviewsRequest, asked: Asked
) -> pb.ListReviewsResponse:
    status = values(request).get("status")

    def kept(row: ReviewRow) -> bool:
        return status in {None, row.status}

    answer = pb.ListReviewsResponse()
    return _listed(request, asked, views.reviews, answer, "reviews", kept)


def list_slas(request: pb.ListSlasRequest, asked: Asked) -> pb.ListSlasResponse:
    return _listed(request, asked, views.slas, pb.ListSlasResponse(), "slas")


def list_slos(request: pb.ListSlosRequest, asked: Asked) -> pb.ListSlosResponse:
    return _listed(request, asked, views.slos, pb.ListSlosResponse(), "slos")


def list_kpis(request: pb.ListKpisRequest, asked: Asked) -> pb.ListKpisResponse:
    return _listed(request, asked, views.kpis, pb.ListKpisResponse(), "kpis")


def list_roles(request: pb.ListRolesRequest, asked: Asked) -> pb.ListRolesResponse:
    return _listed(request, asked, views.roles, pb.ListRolesResponse(), "roles")


def list_uses(request: pb.ListUsesRequest, asked: Asked) -> pb.ListUsesResponse:
    def kept(row: UseRow) -> bool:
        return not row.way_back

    prefix = f"{request.use}/" if request.use else ""
    rows, token = _page_of(asked.read, views.uses, request.page, kept, prefix)
    return pb.ListUsesResponse(uses=_filled(pb.Use, rows), next_token=token)


def list_history(
    request: pb.ListHistoryRequest, asked: Asked
) -> pb.ListHistoryResponse:
    _said(request, "model")
    prefix = _of_model(asked.read, request.model)
    rows, token = page(asked.read, views.facts, request.page, prefix)
    return pb.ListHistoryResponse(
        facts=[_fact(row) for _, row in rows], next_token=token
    )


def _fact(row: FactRow) -> pb.Fact:
    message = pb.Fact(event_id=str(row.event_id))
    return fill(message, {**vars(row), "event_id": str(row.event_id)})


# --- one thing ---------------------------------------------------------------------


def get_version(request: pb.GetVersionRequest, asked: Asked) -> pb.GetVersionResponse:
    _said(request, "model", "version")
    key = f"{request.model}/{request.version}"
    row = asked.read.get(views.versions, key)
    if row is None:
        raise NotFound("version", key)
    prefix = f"{request.model}/"
    deployed = asked.read.scan(views.deployments, prefix)
    verdicts = asked.read.scan(views.verdicts, prefix)
    return pb.GetVersionResponse(
        version=fill(pb.Version(), row),
        deployments=[
            fill(pb.Deployment(), one)
            for _, one in deployed
            if one.version == request.version
        ],
        verdicts=[
            fill(pb.Verdict(), one) for _, one in verdicts if one.digest == row.digest
        ],
        changes=_filled(pb.Change, asked.read.scan(views.changes, f"{key}/")),
    )


def get_card(request: pb.GetCardRequest, asked: Asked) -> pb.GetCardResponse:
    _said(request, "model", "version")
    key = f"{request.model}/{request.version}"
    row = asked.read.get(views.versions, key)
    if row is None:
        raise NotFound("version", key)
    if row.card_digest is None:
        raise NotFound("card", key)
    card = load_card(artifacts_of(asked.host.home), row.card_digest)
    return pb.GetCardResponse(card=card, card_digest=row.card_digest)


def get_appetite(
    request: pb.GetAppetiteRequest, asked: Asked
) -> pb.GetAppetiteResponse:
    _said(request, "business_line")
    row = asked.read.get(views.appetites, request.business_line)
    if row is None:
        raise NotFound("appetite", request.business_line)
    return pb.GetAppetiteResponse(appetite=fill(pb.Appetite(), row))


# --- what serves -------------------------------------------------------------------


def resolve(request: pb.ResolveRequest, asked: Asked) -> pb.ResolveResponse:
    _said(request, "model", "environment")
    row = asked.read.get(views.models, request.model)
    if row is None:
        raise NotFound("model", request.model)
    here = [
        one
        for _, one in asked.read.scan(
            views.deployments, f"{request.model}/{request.environment}/"
        )
        if one.share > 0
    ]
    wanted = [one for one in here if request.version in {"", one.version}]
    reason = _why_not(row, request, asked, wanted)
    answer = pb.ResolveResponse(
        serving=[fill(pb.Deployment(), one) for one in here],
        may_serve=not reason,
        reason=reason,
    )
    return fill(answer, {"lifecycle": row.lifecycle})


def _why_not(
    row: ModelRow,
    request: pb.ResolveRequest,
    asked: Asked,
    wanted: list[DeploymentRow],
) -> str:
    if row.lifecycle in {"retired", "suspended"}:
        return f"model {row.model} is {row.lifecycle}: {row.reason}"
    if not wanted:
        what = f"version {request.version}" if request.version else "no version"
        said = "does not serve" if request.version else "serves"
        return f"{what} {said} in {request.environment}"
    for one in wanted:
        why = _void(one, asked)
        if why:
            return f"version {one.version}: {why}"
    return ""


def _void(one: DeploymentRow, asked: Asked) -> str:
    """Say why what allowed a deployment does so no more."""
    verdict = asked.read.get(views.verdicts, f"{one.model}/{one.verdict_source}")
    if verdict is not None and verdict.revoked:
        return f"its verdict is revoked: {verdict.revoked}"
    built = asked.read.get(views.versions, f"{one.model}/{one.version}")
    valid = None if built is None else built.validation
    if (
        valid is not None
        and valid.outcome == "conditional"
        and valid.valid_until is not None
        and asked.now >= valid.valid_until
    ):
        return "its conditional validation has run out"
    return ""

"""Policy's table: request to command, row to response."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from typing import Final

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Late, NotFound, Refused
from modelkeep.events.policy import Judgement, VerdictGiven
from modelkeep.events.types import Person
from modelkeep.identity import (
    DEFAULT_TENANT,
    FIRST_LINE,
    ROLES,
    SECOND_LINE,
)
from modelkeep.paging import page
from modelkeep.proof.note import SigningKey
from modelkeep.service import (
    CALLER,
    Asked,
    Host,
    Read,
    Service,
    Target,
    Write,
    read,
    write,
)
from modelkeep_services.policy import (
    admission,
    answers,
    evidence,
    seen,
    shadow,
    trials,
    views,
    wording,
)
from modelkeep_services.policy.asks import OfBundle, OfModel, OfPerson, OfRequest, asks
from modelkeep_services.policy.domain import bundle, exception, request, seats
from modelkeep_services.policy.in_force import Programs, check, in_force, install
from modelkeep_services.policy.judge import judge, waivable
from modelkeep_services.policy.reactions import REACTORS
from modelkeep_services.policy.replay import replay
from modelkeep_services.policy.signing import signed_verdict, signing_key

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["PolicyService"]

AUTHORS: Final = frozenset({"policy_author", "risk_officer"})
ASKERS: Final = FIRST_LINE | frozenset({"operator", "risk_officer"})
APPROVERS: Final = FIRST_LINE | SECOND_LINE
"""Whom the quorum asks for is the bundle's to say, and who may not the stream's."""
GLASS: Final = FIRST_LINE | frozenset({"risk_officer", "operator"})
OFFICERS: Final = frozenset({"risk_officer", "validator"})


# --- streams -----------------------------------------------------------------------


def bundle_stream(
    command: bundle.ProposeBundle | bundle.ApproveBundle | bundle.ActivateBundle,
    _: Context,
) -> Target:
    return Target("bundle", command.name)


def new_request(_: request.Evaluate, context: Context) -> Target:
    return Target("request", context.command_id)


OnRequest = (
    request.RequestApproval
    | request.Approve
    | request.ApproveWithConditions
    | request.Reject
    | request.RevokeVerdict
    | request.BreakGlass
    | request.ConfirmBreakGlass
    | request.ReviewBreakGlass
)


def request_stream(command: OnRequest, _: Context) -> Target:
    return Target("request", command.request)


def exception_stream(
    command: exception.GrantException
    | exception.ApproveException
    | exception.WithdrawException,
    _: Context,
) -> Target:
    return Target("exception", command.exception)


# --- what is computed before it is decided -----------------------------------------


def tested(command: bundle.ProposeBundle, _: Asked) -> bundle.ProposeBundle:
    checked = check(command.name, command.text)
    return command.model_copy(update={"checked": checked})


def beside(command: bundle.ActivateBundle, asked: Asked) -> bundle.ActivateBundle:
    """Read it once more: one that this program cannot read must not be put in force."""
    row = asked.read.get(views.texts, command.bundle)
    if row is not None:
        check(row.name, row.text)
    active = views.active(asked.read)
    current = active.bundle if active is not None else None
    return command.model_copy(update={"current": current})


def judged(
    programs: Programs, command: request.Evaluate, asked: Asked
) -> request.Evaluate:
    """Gather the facts, ask the bundle in force, and put its answer in the command."""
    if command.not_before > asked.position:
        raise Late(f"policy has seen up to {asked.position}, not {command.not_before}")
    known = evidence.gather(command, asked.actor, asked.now, asked.read)
    force = in_force(asked.read, asked.host, programs)
    heard, parties = evidence.approvals(known), evidence.parties(known)
    waivers = evidence.waivers(known)
    answer = judge(
        force.program,
        known.facts(heard),
        waivers=waivers,
        approvals=heard,
        parties=parties,
        now=asked.now,
    )
    voids = known.model.voids
    said: dict[str, object] = {
        "action": command.action,
        "model": command.model,
        "version": command.version,
        "digest": known.digest,
        "environment": command.environment,
        "traffic_share": command.traffic_share,
        "tier": known.model.tier,
        "bundle": force.digest,
        "bundle_name": force.name,
        "bundle_version": force.version,
        "facts": b64encode(answer.facts).decode(),
        "stood_at": asked.position,
        "parties": parties,
        "approvals": tuple(one for one in heard if one.approved),
        "waivers": waivers,
        "stated": tuple(known.stated),
        "evidence": evidence.cited(known),
        "changed_by": voids[-1].source if voids else None,
        "requested_by": asked.actor.person,
        "human": asked.actor.human,
        "expires_at": known.expires_at,
        **answer.said,
    }
    judgement = Judgement.model_validate(said)
    return command.model_copy(update={"judgement": judgement})


def weighed(
    programs: Programs, command: exception.GrantException, asked: Asked
) -> exception.GrantException:
    """Add what the ledger knows; only a blocking rule of a gate can be set aside."""
    model = asked.read.get(seen.models, command.model)
    if model is None:
        raise NotFound("model", command.model)
    force = in_force(asked.read, asked.host, programs)
    rules = {
        f"{policy.id}/{rule.id}": waivable(policy.kind, rule.severity)
        for policy in force.program.policies()
        for rule in policy.rules
    }
    if not rules.get(command.rule):
        raise Refused(
            "policy.rule-waivable",
            f"{command.rule} is no blocking rule of a gate in {force.name}",
            subject=command.rule,
        )
    known = {
        # One whose tier nobody knows is treated as the riskiest.
        "tier": model.tier or 1,
        "parties": evidence.model_parties(model),
    }
    return command.model_copy(update=known)


# --- what an answer says beside `written` ------------------------------------------

Answered = (
    pb.EvaluateResponse
    | pb.RequestApprovalResponse
    | pb.ApproveResponse
    | pb.ApproveWithConditionsResponse
    | pb.RejectResponse
    | pb.RevokeVerdictResponse
    | pb.ConfirmBreakGlassResponse
)


def tell_verdict(
    answer: Answered, _: request.Evaluate | OnRequest, asked: Asked
) -> None:
    row = asked.read.get(views.requests, answer.written.id)
    if row is not None:
        answer.verdict.CopyFrom(answers.verdict(row, asked))


def tell_bundle(
    answer: pb.ProposeBundleResponse, command: bundle.ProposeBundle, asked: Asked
) -> None:
    checked = command.checked
    row = asked.read.get(views.bundles, checked.bundle) if checked else None
    if row is not None:
        answer.bundle.CopyFrom(answers.bundle(row, _active(asked)))


def tell_exception(
    answer: pb.GrantExceptionResponse | pb.ApproveExceptionResponse,
    command: exception.GrantException | exception.ApproveException,
    asked: Asked,
) -> None:
    row = asked.read.get(views.exceptions, command.exception)
    if row is not None:
        answer.exception.CopyFrom(answers.exception(row))


def _active(asked: Asked) -> str | None:
    active = views.active(asked.read)
    return active.bundle if active is not None else None


# --- queries -----------------------------------------------------------------------


def get_bundle(asking: pb.GetBundleRequest, asked: Asked) -> pb.GetBundleResponse:
    digest = asking.bundle or _active(asked) or ""
    row, text = (
        asked.read.get(views.bundles, digest),
        asked.read.get(views.texts, digest),
    )
    if row is None or text is None:
        raise NotFound("bundle", asking.bundle or "in force")
    found = answers.bundle(row, _active(asked))
    return pb.GetBundleResponse(bundle=found, text=text.text)


def list_bundles(asking: pb.ListBundlesRequest, asked: Asked) -> pb.ListBundlesResponse:
    rows, token = page(asked.read, views.bundles, asking.page)
    active = _active(asked)
    return pb.ListBundlesResponse(
        bundles=[answers.bundle(row, active) for _, row in rows], next_token=token
    )


def found(key: str, asked: Asked) -> tuple[views.RequestRow, VerdictGiven]:
    row = asked.read.get(views.requests, key)
    given = asked.read.get(views.verdicts, key)
    if row is None or given is None:
        raise NotFound("request", key)
    return row, given


def get_verdict(asking: pb.GetVerdictRequest, asked: Asked) -> pb.GetVerdictResponse:
    row, given = found(asking.request, asked)
    return pb.GetVerdictResponse(
        verdict=answers.verdict(row, asked), grounds=answers.grounds(given)
    )


def list_verdicts(
    asking: pb.ListVerdictsRequest, asked: Asked
) -> pb.ListVerdictsResponse:
    prefix = f"{asking.model}/" if asking.model else ""
    rows, token = page(asked.read, views.of_model, asking.page, prefix)
    wanted = [one.request for _, one in rows if asking.action in {"", one.action}]
    return pb.ListVerdictsResponse(
        verdicts=[answers.verdict(found(one, asked)[0], asked) for one in wanted],
        next_token=token,
    )


def list_requests(
    asking: pb.ListRequestsRequest, asked: Asked
) -> pb.ListRequestsResponse:
    rows, token = page(asked.read, views.waiting, asking.page)
    waiting = [found(row.request, asked) for _, row in rows]
    return pb.ListRequestsResponse(
        requests=[
            answers.verdict(row, asked)
            for row, given in waiting
            if waits_for(asking, row, given)
        ],
        next_token=token,
    )


def waits_for(
    asking: pb.ListRequestsRequest, row: views.RequestRow, given: VerdictGiven
) -> bool:
    roles = {one.role for one in row.owed}
    if asking.role and asking.role not in roles:
        return False
    if not asking.HasField("person"):
        return True
    person = Person.model_construct(
        issuer=asking.person.issuer, subject=asking.person.subject
    )
    if any(one.approval.by == person for one in row.heard):
        return False
    can = {asking.role} if asking.role else roles
    return seats.why_not(person, can, given.duties, given.parties) is None


def explain(asking: pb.ExplainRequest, asked: Asked) -> pb.ExplainResponse:
    return pb.ExplainResponse(text=wording.explain(*found(asking.request, asked)))


def replay_verdict(
    programs: Programs, asking: pb.ReplayVerdictRequest, asked: Asked
) -> pb.ReplayVerdictResponse:
    _, given = found(asking.request, asked)
    return replay(given, asked.read, programs)


def sign_verdict(
    key: SigningKey, asking: pb.SignVerdictRequest, asked: Asked
) -> pb.SignVerdictResponse:
    row, given = found(asking.request, asked)
    return pb.SignVerdictResponse(envelope=signed_verdict(key, row, given, asked))


def list_exceptions(
    asking: pb.ListExceptionsRequest, asked: Asked
) -> pb.ListExceptionsResponse:
    prefix = f"{asking.model}/" if asking.model else ""
    rows, token = page(asked.read, views.exceptions_of, asking.page, prefix)
    return pb.ListExceptionsResponse(
        exceptions=[answers.exception(row) for _, row in rows], next_token=token
    )


# --- the table ---------------------------------------------------------------------


def writes(programs: Programs, key: SigningKey) -> list[Write]:
    return [
        *admission.writes(partial(judged, programs), programs, key),
        write(
            "ProposeBundle",
            bundle.ProposeBundle,
            bundle.BUNDLE,
            bundle_stream,
            AUTHORS,
            prepare=tested,
            respond=tell_bundle,
        ),
        write(
            "ApproveBundle",
            bundle.ApproveBundle,
            bundle.BUNDLE,
            bundle_stream,
            SECOND_LINE,
        ),
        write(
            "ActivateBundle",
            bundle.ActivateBundle,
            bundle.BUNDLE,
            bundle_stream,
            AUTHORS,
            prepare=beside,
        ),
        write(
            "Evaluate",
            request.Evaluate,
            request.REQUEST,
            new_request,
            ASKERS,
            prepare=partial(judged, programs),
            respond=tell_verdict,
        ),
        write(
            "RequestApproval",
            request.RequestApproval,
            request.REQUEST,
            request_stream,
            ASKERS,
            respond=tell_verdict,
        ),
        write(
            "Approve",
            request.Approve,
            request.REQUEST,
            request_stream,
            APPROVERS,
            sealed={"comment": CALLER},
            respond=tell_verdict,
        ),
        write(
            "ApproveWithConditions",
            request.ApproveWithConditions,
            request.REQUEST,
            request_stream,
            APPROVERS,
            sealed={"comment": CALLER},
            respond=tell_verdict,
        ),
        write(
            "Reject",
            request.Reject,
            request.REQUEST,
            request_stream,
            APPROVERS,
            respond=tell_verdict,
        ),
        write(
            "RevokeVerdict",
            request.RevokeVerdict,
            request.REQUEST,
            request_stream,
            OFFICERS,
            respond=tell_verdict,
        ),
        *glass(),
        *exceptions(programs),
        *trials.writes(programs),
    ]


def glass() -> list[Write]:
    return [
        write("BreakGlass", request.BreakGlass, request.REQUEST, request_stream, GLASS),
        write(
            "ConfirmBreakGlass",
            request.ConfirmBreakGlass,
            request.REQUEST,
            request_stream,
            OFFICERS,
            respond=tell_verdict,
        ),
        write(
            "ReviewBreakGlass",
            request.ReviewBreakGlass,
            request.REQUEST,
            request_stream,
            OFFICERS,
        ),
    ]


def exceptions(programs: Programs) -> list[Write]:
    return [
        write(
            "GrantException",
            exception.GrantException,
            exception.EXCEPTION,
            exception_stream,
            OFFICERS,
            prepare=partial(weighed, programs),
            respond=tell_exception,
        ),
        write(
            "ApproveException",
            exception.ApproveException,
            exception.EXCEPTION,
            exception_stream,
            OFFICERS,
            respond=tell_exception,
        ),
        write(
            "WithdrawException",
            exception.WithdrawException,
            exception.EXCEPTION,
            exception_stream,
            OFFICERS,
        ),
    ]


def reads(programs: Programs, key: SigningKey) -> list[Read]:
    again = partial(replay_verdict, programs)
    return [
        read("SignVerdict", asks(OfRequest, partial(sign_verdict, key)), ROLES),
        read("GetBundle", asks(OfBundle, get_bundle), ROLES),
        read("ListBundles", list_bundles, ROLES),
        read("GetVerdict", asks(OfRequest, get_verdict), ROLES),
        read("ListVerdicts", asks(OfModel, list_verdicts), ROLES),
        read("ListRequests", asks(OfPerson, list_requests), ROLES),
        read("Explain", asks(OfRequest, explain), ROLES),
        read("ReplayVerdict", asks(OfRequest, again), ROLES),
        read("ListExceptions", asks(OfModel, list_exceptions), ROLES),
        *trials.reads(),
    ]


VIEWS: Final = (*views.VIEWS, *seen.VIEWS, *shadow.VIEWS)


def service(host: Host) -> Service:
    programs, key = Programs(), signing_key(host.home)
    install(host, DEFAULT_TENANT)
    return Service(
        name="policy",
        descriptor=DESCRIPTOR,
        writes=writes(programs, key),
        reads=reads(programs, key),
        views=VIEWS,
        reactors=(*REACTORS, shadow.reactor(programs)),
    )

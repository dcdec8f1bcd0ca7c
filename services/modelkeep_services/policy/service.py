"""Policy's table: request to command, row to response."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from typing import Final

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Late, NotFound, Refused
from modelkeep.events.policy import Judgement, Lent, VerdictGiven
from modelkeep.events.types import Person
from modelkeep.identity import (
    DEFAULT_TENANT,
    FIRST_LINE,
    ROLES,
    SECOND_LINE,
)
from modelkeep.objects import artifacts_of
from modelkeep.paging import page
from modelkeep.proof.note import SigningKey
from modelkeep.service import (
    CALLER,
    Asked,
    Host,
    Personal,
    Read,
    Service,
    Target,
    Write,
    asked_time,
    read,
    write,
)
from modelkeep_services.policy import (
    admission,
    answers,
    challenge,
    envelopes,
    evidence,
    seen,
    shadow,
    trials,
    views,
    views_ahead,
    wording,
)
from modelkeep_services.policy.asks import (
    OfBundle,
    OfChallenge,
    OfModel,
    OfPerson,
    OfRequest,
    asks,
)
from modelkeep_services.policy.domain import (
    bundle,
    delegation,
    envelope,
    exception,
    request,
    seats,
)
from modelkeep_services.policy.in_force import (
    STARTER,
    Programs,
    check,
    compared,
    failure,
    in_force,
    install,
)
from modelkeep_services.policy.judge import covered, judge, waivable
from modelkeep_services.policy.reactions import REACTORS
from modelkeep_services.policy.replay import replay
from modelkeep_services.policy.signing import signed_verdict, signing_key
from modelkeep_services.policy.stored_artifacts import CHECKED_FOR, Rechecks

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["PolicyService"]

AUTHORS: Final = frozenset({"policy_author", "risk_officer"})
ASKERS: Final = FIRST_LINE | frozenset({"operator", "risk_officer"})
APPROVERS: Final = FIRST_LINE | SECOND_LINE
"""Whom the quorum asks for is the bundle's to say, and who may not the stream's."""
GLASS: Final = FIRST_LINE | frozenset({"risk_officer", "operator"})
OFFICERS: Final = frozenset({"risk_officer", "validator"})
EMERGENCY: Final = frozenset({"risk_officer"})
LINES: Final = (FIRST_LINE, SECOND_LINE)


# --- streams -----------------------------------------------------------------------


def bundle_stream(
    command: bundle.ProposeBundle
    | bundle.ApproveBundle
    | bundle.ActivateBundle
    | bundle.ReactivateBundle
    | bundle.ConfirmReactivation,
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


def delegation_stream(
    command: delegation.Delegate | delegation.RevokeDelegation, _: Context
) -> Target:
    return Target("delegation", command.delegation)


def envelope_stream(
    command: envelope.ProposeEnvelope
    | envelope.ApproveEnvelope
    | envelope.WithdrawEnvelope,
    _: Context,
) -> Target:
    return Target("envelope", command.envelope)


# --- what is computed before it is decided -----------------------------------------


def tested(command: bundle.ProposeBundle, asked: Asked) -> bundle.ProposeBundle:
    checked = check(command.name, command.text)
    beside = compared(asked.read, command.text, asked.position)
    return command.model_copy(update={"checked": checked, "beside": beside})


def beside(
    command: bundle.ActivateBundle | bundle.ReactivateBundle, asked: Asked
) -> bundle.ActivateBundle | bundle.ReactivateBundle:
    """Read it once more: one that this program cannot read is not put in force."""
    row = asked.read.get(views.texts, command.bundle)
    if row is None:
        return command
    why = failure(row.name, command.bundle, row.text)
    standing = compared(asked.read, row.text, asked.position)
    said = standing.model_copy(update={"failure": why})
    return command.model_copy(update={"beside": said})


Spoken = request.Approve | request.ApproveWithConditions | request.Reject


def spoken(command: Spoken, asked: Asked) -> Spoken:
    """Add the roles that were lent to who speaks, of what the request is about."""
    row = asked.read.get(views.requests, command.request)
    if row is None:
        return command
    lent = lent_to(asked, row.model, row.action)
    return command.model_copy(update={"lent": lent})


def agreed(command: envelope.ApproveEnvelope, asked: Asked) -> envelope.ApproveEnvelope:
    """Roles that were lent for each of the actions that the envelope covers."""
    row = asked.read.get(views_ahead.envelopes, command.envelope)
    if row is None:
        return command
    each = [set(lent_to(asked, row.terms.model, one)) for one in row.terms.actions]
    lent = sorted(set.intersection(*each), key=lambda one: one.delegation)
    return command.model_copy(update={"lent": tuple(lent)})


def lent_to(asked: Asked, model: str, action: str) -> tuple[Lent, ...]:
    """Roles of one line of defence are not lent into another."""
    known = asked.read.get(seen.models, model)
    line = known.business_line if known is not None else None
    actor = asked.actor
    found = views_ahead.lent_roles(
        asked.read, actor.person, model, line, action, asked.now
    )
    return tuple(
        one
        for one in found
        if any(one.role in peers and actor.roles & peers for peers in LINES)
    )


def judged(
    programs: Programs, rechecks: Rechecks, command: request.Evaluate, asked: Asked
) -> request.Evaluate:
    """Gather the facts, ask the bundle in force, and put its answer in the command."""
    if command.not_before > asked.position:
        raise Late(f"policy has seen up to {asked.position}, not {command.not_before}")
    known = evidence.gather(command, asked.actor, asked.now, asked.read)
    if known.version is not None and command.action in CHECKED_FOR:
        objects = artifacts_of(asked.host.home)
        digests = known.version.artifacts
        known.said["version"]["artifacts"] = rechecks.state(
            objects, digests, command.action
        )
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
    envelope = None
    if answer.verdict == "pending":
        envelope = envelopes.cover(command, known, asked)
    if envelope is not None:
        answer = covered(answer, envelope)
    voids = known.model.voids
    standing = views.standing(asked.read)
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
        "envelope": envelope,
        "size": evidence.size(known),
        "ceiling": evidence.ceiling(known),
        "bundle_since": standing[0] if standing is not None else None,
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


def envelope_weighed(
    programs: Programs, command: envelope.ProposeEnvelope, asked: Asked
) -> envelope.ProposeEnvelope:
    force = in_force(asked.read, asked.host, programs)
    return envelopes.weighed(force.program, command, asked)


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
        answer.bundle.CopyFrom(answers.bundle(row, _active(asked), asked.read))


def tell_activation(
    answer: pb.ActivateBundleResponse | pb.ReactivateBundleResponse,
    command: bundle.ActivateBundle | bundle.ReactivateBundle,
    asked: Asked,
) -> None:
    row = asked.read.get(views.bundles, command.bundle)
    if row is not None:
        answer.bundle.CopyFrom(answers.bundle(row, _active(asked), asked.read))
        answer.failure = row.failure


def tell_confirmation(
    answer: pb.ConfirmReactivationResponse,
    command: bundle.ConfirmReactivation,
    asked: Asked,
) -> None:
    row = asked.read.get(views.bundles, command.bundle)
    if row is not None:
        answer.bundle.CopyFrom(answers.bundle(row, _active(asked), asked.read))


def tell_delegation(
    answer: pb.DelegateResponse | pb.RevokeDelegationResponse,
    command: delegation.Delegate | delegation.RevokeDelegation,
    asked: Asked,
) -> None:
    row = asked.read.get(views_ahead.delegations, command.delegation)
    if row is not None:
        answer.delegation.CopyFrom(answers.delegation(row, asked.now))


def tell_envelope(
    answer: pb.ProposeEnvelopeResponse
    | pb.ApproveEnvelopeResponse
    | pb.WithdrawEnvelopeResponse,
    command: envelope.ProposeEnvelope
    | envelope.ApproveEnvelope
    | envelope.WithdrawEnvelope,
    asked: Asked,
) -> None:
    row = asked.read.get(views_ahead.envelopes, command.envelope)
    if row is not None:
        answer.envelope.CopyFrom(answers.envelope(row))


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
    found = answers.bundle(row, _active(asked), asked.read)
    return pb.GetBundleResponse(bundle=found, text=text.text)


def list_bundles(asking: pb.ListBundlesRequest, asked: Asked) -> pb.ListBundlesResponse:
    rows, token = page(asked.read, views.bundles, asking.page)
    active = _active(asked)
    return pb.ListBundlesResponse(
        bundles=[answers.bundle(row, active, asked.read) for _, row in rows],
        next_token=token,
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
    view = views.late if asking.overdue else views.waiting
    rows, token = page(asked.read, view, asking.page)
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


def list_delegations(
    asking: pb.ListDelegationsRequest, asked: Asked
) -> pb.ListDelegationsResponse:
    rows, token = page(asked.read, views_ahead.delegations, asking.page)
    now = asked_time(asking, asked)
    who = (asking.person.issuer, asking.person.subject)
    return pb.ListDelegationsResponse(
        delegations=[
            answers.delegation(row, now)
            for _, row in rows
            if not asking.HasField("person")
            or who in {(p.issuer, p.subject) for p in (row.lender, row.to)}
        ],
        next_token=token,
    )


def list_envelopes(
    asking: pb.ListEnvelopesRequest, asked: Asked
) -> pb.ListEnvelopesResponse:
    prefix = f"{asking.model}/" if asking.model else ""
    rows, token = page(asked.read, views_ahead.envelopes_of, asking.page, prefix)
    found = [asked.read.get(views_ahead.envelopes, row.envelope) for _, row in rows]
    return pb.ListEnvelopesResponse(
        envelopes=[answers.envelope(row) for row in found if row is not None],
        next_token=token,
    )


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
    asks_rules = partial(judged, programs, Rechecks())
    return [
        *admission.writes(asks_rules, programs, key),
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
            respond=tell_activation,
        ),
        write(
            "ReactivateBundle",
            bundle.ReactivateBundle,
            bundle.BUNDLE,
            bundle_stream,
            EMERGENCY,
            prepare=beside,
            respond=tell_activation,
        ),
        write(
            "ConfirmReactivation",
            bundle.ConfirmReactivation,
            bundle.BUNDLE,
            bundle_stream,
            OFFICERS,
            respond=tell_confirmation,
        ),
        write(
            "Evaluate",
            request.Evaluate,
            request.REQUEST,
            new_request,
            ASKERS,
            prepare=asks_rules,
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
            sealed={"comment": Personal(CALLER, "approval")},
            prepare=spoken,
            respond=tell_verdict,
        ),
        write(
            "ApproveWithConditions",
            request.ApproveWithConditions,
            request.REQUEST,
            request_stream,
            APPROVERS,
            sealed={"comment": Personal(CALLER, "approval")},
            prepare=spoken,
            respond=tell_verdict,
        ),
        write(
            "Reject",
            request.Reject,
            request.REQUEST,
            request_stream,
            APPROVERS,
            prepare=spoken,
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
        *delegations(),
        *in_advance(programs),
        *trials.writes(programs),
    ]


def delegations() -> list[Write]:
    return [
        write(
            "Delegate",
            delegation.Delegate,
            delegation.DELEGATION,
            delegation_stream,
            APPROVERS,
            respond=tell_delegation,
        ),
        write(
            "RevokeDelegation",
            delegation.RevokeDelegation,
            delegation.DELEGATION,
            delegation_stream,
            APPROVERS,
            respond=tell_delegation,
        ),
    ]


def in_advance(programs: Programs) -> list[Write]:
    return [
        write(
            "ProposeEnvelope",
            envelope.ProposeEnvelope,
            envelope.ENVELOPE,
            envelope_stream,
            ASKERS,
            prepare=partial(envelope_weighed, programs),
            respond=tell_envelope,
        ),
        write(
            "ApproveEnvelope",
            envelope.ApproveEnvelope,
            envelope.ENVELOPE,
            envelope_stream,
            APPROVERS,
            prepare=agreed,
            respond=tell_envelope,
        ),
        write(
            "WithdrawEnvelope",
            envelope.WithdrawEnvelope,
            envelope.ENVELOPE,
            envelope_stream,
            ASKERS,
            respond=tell_envelope,
        ),
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
        read("ListDelegations", asks(OfPerson, list_delegations), ROLES),
        read("ListEnvelopes", asks(OfModel, list_envelopes), ROLES),
        read("GetChallenge", asks(OfChallenge, challenge.get_challenge), ROLES),
        *trials.reads(),
    ]


VIEWS: Final = (
    *views.VIEWS,
    *views_ahead.VIEWS,
    *challenge.VIEWS,
    *seen.VIEWS,
    *shadow.VIEWS,
)


def service(host: Host, starter: str | None = None) -> Service:
    """`starter` names, in the library, what a tenant without any bundle begins with.

    Raises Refused for one that the ledger's own tenant has not begun with.
    """
    programs, key = Programs(starter or STARTER), signing_key(host.home)
    install(host, DEFAULT_TENANT, starter or STARTER, insist=starter is not None)
    return Service(
        name="policy",
        descriptor=DESCRIPTOR,
        writes=writes(programs, key),
        reads=reads(programs, key),
        views=VIEWS,
        reactors=(*REACTORS, shadow.reactor(programs)),
    )

"""Admission: whether a process may serve a version, and whether it still may.

Asking is a verdict like any other (`admit` is an action of the bundle), and an ALLOW
comes with a signed permit for some minutes. Renewing asks the same question of the
rules in force: the same answer is not recorded again, another one revokes the verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Forbidden, NotFound
from modelkeep.events.policy import VerdictGiven
from modelkeep.identity import MACHINES
from modelkeep.policy.bundle import Permit
from modelkeep.proof.note import SigningKey
from modelkeep.service import Asked, Target, Write, write
from modelkeep_services.policy import answers, seen, views
from modelkeep_services.policy.domain.request import (
    ADMIT,
    REQUEST,
    Admit,
    Evaluate,
    RenewPermit,
)
from modelkeep_services.policy.in_force import Programs, stored
from modelkeep_services.policy.signing import signed_permit, unexpired, use_of

ADMITTED: Final = MACHINES | frozenset({"operator"})

Judge = Callable[[Evaluate, Asked], Evaluate]
"""Adds the judgement of the bundle in force to a question."""


def writes(judged: Judge, programs: Programs, key: SigningKey) -> list[Write]:
    return [
        write(
            "Admit",
            Admit,
            REQUEST,
            new_request,
            ADMITTED,
            prepare=partial(weighed, judged),
            respond=partial(tell_admitted, programs, key),
        ),
        write(
            "RenewPermit",
            RenewPermit,
            REQUEST,
            renewed_stream,
            ADMITTED,
            prepare=partial(weighed_again, judged),
            respond=partial(tell_renewed, programs, key),
        ),
    ]


def new_request(command: Admit, context: Context) -> Target:
    return Target("request", context.command_id, command.model)


def renewed_stream(command: RenewPermit, _: Context) -> Target:
    return Target("request", command.request, "")


# --- before it is decided ----------------------------------------------------------


def weighed(judged: Judge, command: Admit, asked: Asked) -> Evaluate:
    if command.traffic_share is None:
        share = served(command, asked)
        command = command.model_copy(update={"traffic_share": share})
    return judged(command, asked)


def served(command: Admit, asked: Asked) -> float:
    """The share of traffic that the ledger gives a version where it would serve."""
    place = asked.read.get(seen.places, f"{command.model}/{command.environment}")
    serving = place.serving if place is not None else ()
    shares = sorted(one.share for one in serving if one.version == command.version)
    return round(sum(shares), 9)


def weighed_again(judged: Judge, command: RenewPermit, asked: Asked) -> RenewPermit:
    """Ask what was asked then; what was no admission is left for `decide` to refuse."""
    given = asked.read.get(views.verdicts, command.request)
    if given is None or given.action != ADMIT:
        return command
    within(asked, given.model)
    question = Admit.model_validate(
        {
            "model": given.model,
            "version": given.version,
            "digest": given.digest,
            "environment": given.environment,
            "use": use_of(given) or None,
            "traffic_share": given.traffic_share,
        }
    )
    judgement = judged(question, asked).judgement
    return command.model_copy(update={"judgement": judgement})


def within(asked: Asked, model: str) -> None:
    """Keep a serving credential to its own models."""
    if asked.actor.models and model not in asked.actor.models:
        raise Forbidden(f"{asked.actor.subject} may not act on {model}")


# --- what is answered --------------------------------------------------------------


def tell_admitted(
    programs: Programs,
    key: SigningKey,
    answer: pb.AdmitResponse,
    command: Admit,
    asked: Asked,
) -> None:
    row, given = _found(answer.written.id, asked)
    answer.verdict.CopyFrom(answers.verdict(row, asked))
    # A retry is told what was said first, which may have ended: it must renew.
    if row.status == "allowed" and not answer.written.replayed:
        terms = _terms(programs, given, asked)
        answer.permit = signed_permit(key, row, given, terms, command.nonce, asked)


def tell_renewed(
    programs: Programs,
    key: SigningKey,
    answer: pb.RenewPermitResponse,
    command: RenewPermit,
    asked: Asked,
) -> None:
    row, given = _found(command.request, asked)
    answer.verdict.CopyFrom(answers.verdict(row, asked))
    judged = command.judgement
    if row.status != "allowed" or judged is None:
        return
    answer.ask_again = judged.bundle != given.bundle or not unexpired(row, asked.now)
    if judged.verdict == "allow" and not answer.ask_again:
        terms = _terms(programs, given, asked)
        answer.permit = signed_permit(key, row, given, terms, command.nonce, asked)


def _found(request: str, asked: Asked) -> tuple[views.RequestRow, VerdictGiven]:
    row = asked.read.get(views.requests, request)
    given = asked.read.get(views.verdicts, request)
    if row is None or given is None:
        raise NotFound("request", request)
    return row, given


def _terms(programs: Programs, given: VerdictGiven, asked: Asked) -> Permit:
    """How long a permit lasts and what when nobody answers: the deciding bundle's."""
    document = stored(asked.read, given.bundle, programs).program.document
    return document.actions[ADMIT].permit

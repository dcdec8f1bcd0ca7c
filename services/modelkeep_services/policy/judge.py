"""What a bundle says of some facts, as it is stored: the same facts, the same answer.

The bundle denies or does not; exceptions set aside the rules they name; what is then
owed by people makes it pending. Nothing else is looked at, so that a stored question
can be asked again for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import cast

from pydantic import JsonValue

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.events.policy import (
    Approval,
    Barred,
    Covered,
    Duty,
    Outcome,
    Owed,
    Proposal,
    RuleSaid,
    Seats,
    Verdict,
    Waiver,
)
from modelkeep.events.types import Person
from modelkeep.policy import approvals as counting
from modelkeep.policy import verdict as library
from modelkeep.policy.program import Program
from modelkeep.policy.ruling import warns
from modelkeep_services.policy.domain import seats
from modelkeep_services.policy.stored_artifacts import CHANGED

WAIVABLE = {
    library.Outcome.FALSE,
    library.Outcome.MISSING,
    library.Outcome.EMPTY,
}
LONGEST = 4_000


@dataclass(frozen=True)
class Answer:
    """The parts of a judgement that follow from bundle, facts and people alone."""

    verdict: Verdict
    rules: tuple[RuleSaid, ...]
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    params: dict[str, JsonValue]
    owed: tuple[Owed, ...]
    duties: tuple[Duty, ...]
    proposals: tuple[Proposal, ...]
    escalations: tuple[str, ...]
    engine: str
    descriptor: str
    facts_digest: str
    facts: bytes

    @property
    def said(self) -> dict[str, object]:
        """All of it but the facts, by the names of a judgement's fields."""
        names = (one.name for one in fields(self) if one.name != "facts")
        return {name: getattr(self, name) for name in names}


def judge(
    program: Program,
    facts: Facts,
    *,
    waivers: Sequence[Waiver],
    approvals: Sequence[Approval],
    parties: Sequence[Barred],
    now: datetime,
    envelope: Covered | None = None,
) -> Answer:
    """Give the answer; with an envelope, no approvals are owed. Nothing else changes:
    an envelope allows nothing that a rule denies.
    """
    answer = _judge(program, facts, waivers, approvals, parties, now)
    return covered(answer, envelope) if envelope is not None else answer


def covered(answer: Answer, envelope: Covered) -> Answer:
    """What is pending, with nothing owed: the change was approved in advance."""
    if answer.verdict != "pending":
        return answer
    said = (
        f"envelope {envelope.envelope} covers it until {envelope.until:%Y-%m-%d}, "
        f"use {envelope.use} of {envelope.uses}: no approvals are owed"
    )
    others = answer.reasons[len(answer.owed) :]
    return replace(answer, verdict="allow", owed=(), reasons=(said, *others))


def _judge(
    program: Program,
    facts: Facts,
    waivers: Sequence[Waiver],
    approvals: Sequence[Approval],
    parties: Sequence[Barred],
    now: datetime,
) -> Answer:
    said = program.evaluate(facts)
    waived = dict(_waived(said.rules, {one.rule: one for one in waivers}))
    duties = _duties(program, facts)
    owed = seats.owed(duties, parties, approvals, now)
    warnings = [f"warning: {one.sentence()}" for one in said.rules if warns(one)]
    # The bundle's own words: why not, then who is owed, then warnings.
    ends = len(said.reasons) - len(said.obligations) - len(warnings)
    set_aside = {rule.sentence() for rule in said.rules if rule.id in waived}
    denials = [*_broken(facts)]
    denials += [why for why in said.reasons[:ends] if why not in set_aside]
    verdict: Verdict = "deny" if denials else "pending" if owed else "allow"
    return Answer(
        verdict=verdict,
        rules=tuple(_rule(one, waived.get(one.id)) for one in said.rules),
        reasons=tuple(
            why[:LONGEST]
            for why in (
                *denials,
                *(f"{o.count} of {o.of} {o.role} must still approve" for o in owed),
                *(_aside(one, waived) for one in said.rules if one.id in waived),
                *warnings,
            )
        ),
        missing=said.missing,
        params=dict(said.params),
        owed=owed,
        duties=duties,
        proposals=tuple(_proposal(one) for one in said.commands),
        escalations=said.escalations,
        engine=said.engine,
        descriptor=said.descriptor_digest,
        facts=said.facts,
        facts_digest=said.facts_digest,
    )


def _broken(facts: Facts) -> Iterator[str]:
    """What no bundle may allow and no exception sets aside."""
    if facts.version.artifacts.value == CHANGED:
        yield "a stored artifact is no longer what its digest says: it was changed"


def _waived(
    rules: Sequence[library.RuleResult], waivers: Mapping[str, Waiver]
) -> Iterator[tuple[str, Waiver]]:
    """Only what a gate asks for can be set aside: no prohibition, no permission."""
    for one in rules:
        waiver = waivers.get(one.id)
        open_to_it = waivable(one.kind, one.severity) and one.outcome in WAIVABLE
        if waiver is not None and one.denies and open_to_it:
            yield one.id, waiver


def waivable(kind: str, severity: str) -> bool:
    return kind == "gate" and severity == "block"


def _aside(rule: library.RuleResult, waived: Mapping[str, Waiver]) -> str:
    waiver = waived[rule.id]
    until = f"{waiver.until:%Y-%m-%d}"
    return f"exception {waiver.exception} until {until} sets aside: {rule.sentence()}"


def _rule(one: library.RuleResult, waiver: Waiver | None) -> RuleSaid:
    operands = [cast("dict[str, JsonValue]", o.as_dict()) for o in one.operands]
    return RuleSaid(
        rule=one.id,
        policy=one.policy,
        kind=one.kind,
        severity=one.severity,
        outcome=cast("Outcome", one.outcome.value.lower()),
        denies=one.denies and waiver is None,
        operands=tuple(operands[:100]),
        missing=one.missing,
        text=one.sentence()[:LONGEST],
        waived_by=waiver.exception if waiver is not None else None,
    )


def _proposal(one: library.Command) -> Proposal:
    return Proposal(
        rule=f"{one.policy}/{one.rule}",
        command=one.command,
        to=one.to,
        budget_max=one.budget_max,
        budget_s=one.budget_seconds,
    )


def _duties(program: Program, facts: Facts) -> tuple[Duty, ...]:
    """What people owe in this action, tier and environment, whatever the rules say."""
    return tuple(_duty(one, facts) for one in program.duties(facts) if one.seats)


def _duty(one: counting.Duty, facts: Facts) -> Duty:
    out, _ = counting.barred(one, facts)
    return Duty(
        policy=one.policy,
        seats=tuple(Seats(role=seat.role, count=seat.min) for seat in one.seats),
        max_age_s=one.max_age,
        barred=tuple(
            Barred(person=Person(issuer=who.issuer, subject=who.subject), why=why)
            for who, why in out.items()
            if who.issuer and who.subject
        ),
    )

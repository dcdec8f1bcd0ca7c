"""No version was promoted that lacked its quorum.

A deployment, more traffic or a rollback names the verdict that allowed it. That verdict
must be an ALLOW for this very model, digest, environment and action, in force; and the
people whom the bundle asked for must have approved, which is decided here again: each
approval must be an event of its own, made with that person's credentials on that
digest; nobody fills two seats, none is filled by whoever wrote, owns or asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final, NamedTuple, TypeAlias

from modelkeep.proof import seats
from modelkeep.proof.assertion import Assertion, Told
from modelkeep.proof.errors import Malformed
from modelkeep.proof.fields import Fields, Person

DEPLOYS: Final = frozenset({"promote", "deploy"})
SETS_TRAFFIC: Final = frozenset({"set_traffic"})
_PROMOTES: Final = DEPLOYS | SETS_TRAFFIC

_CENTURY_S: Final = 100 * 365 * 86_400
_MOST_SEATS: Final = 500

BY_QUORUM: Final = "by a quorum"
BY_ENVELOPE: Final = "under an envelope that a quorum granted"
BY_NOBODY: Final = "of which the bundle asks nobody"


class _Lent(NamedTuple):
    delegation: str
    lender: Person
    role: str
    until: datetime


class _Approval(NamedTuple):
    """An approval, as it is counted or as it was given."""

    by: Person
    roles: frozenset[str]
    at: datetime
    request: str
    expires_at: datetime | None
    lent: tuple[_Lent, ...]


_Approvals: TypeAlias = dict[_Approval, _Approval]
"""Approvals as they were given, and as they count: with what was lent then alone."""


class _Duty(NamedTuple):
    roles: Sequence[str]
    max_age: timedelta
    barred: frozenset[Person]


class _Subject(NamedTuple):
    """What a verdict is about, and an approval is for."""

    action: str
    model: str
    digest: str | None
    environment: str | None


@dataclass
class _Request:
    subject: _Subject
    verdict: str
    duties: Sequence[_Duty]
    settled: bool = False
    glass: tuple[Person, Person] | None = None
    approvals: _Approvals = field(default_factory=dict)


@dataclass(frozen=True)
class _Settled:
    """`lacks` says why it could not allow anything; `how` what it rests on."""

    subject: _Subject
    tier: float | None
    expires_at: datetime | None
    max_share: float | None
    lacks: str | None
    how: str


@dataclass
class _Envelope:
    model: str
    digest: str
    duty: _Duty
    until: datetime
    approvals: _Approvals = field(default_factory=dict)
    lacks: str | None = "was never granted"


class PromotionsHadQuorum(Assertion):
    name: ClassVar = "promotions-had-quorum"
    claim: ClassVar = "no version was promoted that lacked its quorum"
    things: ClassVar = "promotions"
    reads: ClassVar[Mapping[str, int]] = dict.fromkeys(
        (
            "inventory.change-classified",
            "inventory.deployed",
            "inventory.rolled-back",
            "inventory.traffic-set",
            "inventory.verdict-revoked",
            "policy.approved",
            "policy.broke-glass",
            "policy.delegated",
            "policy.delegation-expired",
            "policy.delegation-revoked",
            "policy.envelope-approved",
            "policy.envelope-expired",
            "policy.envelope-granted",
            "policy.envelope-proposed",
            "policy.envelope-voided",
            "policy.verdict-given",
            "policy.verdict-settled",
        ),
        1,
    )

    def answers(self) -> Mapping[str, Callable[[Told], None]]:
        self._requests: dict[tuple[str, str], _Request] = {}
        self._settled: dict[tuple[str, str], _Settled] = {}
        self._envelopes: dict[tuple[str, str], _Envelope] = {}
        self._delegated: dict[tuple[str, str], _Lent] = {}
        self._lent_to: dict[tuple[str, str], Person] = {}
        self._void: dict[tuple[str, str], set[str]] = {}
        return {
            "inventory.change-classified": self._changed,
            "inventory.deployed": self._deployed,
            "inventory.rolled-back": self._rolled_back,
            "inventory.traffic-set": self._traffic_set,
            "inventory.verdict-revoked": self._voided,
            "policy.approved": self._approved,
            "policy.broke-glass": self._broke_glass,
            "policy.delegated": self._lend,
            "policy.delegation-expired": self._return,
            "policy.delegation-revoked": self._return,
            "policy.envelope-approved": self._envelope_approved,
            "policy.envelope-expired": self._envelope_ended,
            "policy.envelope-granted": self._envelope_granted,
            "policy.envelope-proposed": self._envelope_proposed,
            "policy.envelope-voided": self._envelope_ended,
            "policy.verdict-given": self._given,
            "policy.verdict-settled": self._settle,
        }

    # --- what was asked and answered ------------------------------------------------

    def _given(self, told: Told) -> None:
        data = told.data
        subject = _subject(data)
        if subject.action not in _PROMOTES:
            return
        parties = frozenset(one.person("person") for one in data.many("parties"))
        self._requests[told.tenant, data.text("request")] = _Request(
            subject,
            data.text("verdict"),
            [_duty(one, parties) for one in data.many("duties")],
        )

    def _approved(self, told: Told) -> None:
        """Count it for whose credentials it was made with, whatever it says."""
        data = told.data
        request = self._requests.get((told.tenant, data.text("request")))
        mine = data.person("by") == told.actor and _roles(data) == told.roles
        if request is None or not mine:
            return
        if _subject(data) == request.subject:
            self._count(told, request.approvals, _approval(data))

    def _broke_glass(self, told: Told) -> None:
        request = self._requests.get((told.tenant, told.data.text("request")))
        if request is not None:
            by, second = (told.data.person(one) for one in ("by", "second_approver"))
            request.glass = by, second

    def _settle(self, told: Told) -> None:
        data = told.data
        subject = _subject(data)
        if subject.action not in _PROMOTES:
            return
        request = self._requests.get((told.tenant, data.text("request")))
        lacks, how = self._basis(told, subject, request)
        if request is not None:
            request.settled = True
        tier = None if data.share("tier") is None else data.number("tier")
        self._settled[told.tenant, told.id] = _Settled(
            subject,
            tier,
            data.end("expires_at"),
            data.share("max_traffic_share"),
            lacks,
            how,
        )

    def _basis(
        self, told: Told, subject: _Subject, request: _Request | None
    ) -> tuple[str | None, str]:
        """Return why a verdict could not allow anything, and what it rests on."""
        data = told.data
        if data.text("verdict") != "allow":
            return "was refused", ""
        if request is None or request.subject != subject:
            return "was never given before it was settled", ""
        if data.flag("break_glass"):
            who = " and ".join(map(str, request.glass or ("nobody",)))
            return f"had no quorum: the glass was broken by {who}", ""
        if request.settled or request.verdict not in {"allow", "pending"}:
            return "had been refused before it was settled as allowed", ""
        return self._approval(told, request)

    def _approval(self, told: Told, request: _Request) -> tuple[str | None, str]:
        subject = request.subject
        if (covered := told.data.part("envelope")) is not None:
            return self._enveloped(told, subject.model, covered), BY_ENVELOPE
        if not any(duty.roles for duty in request.duties):
            return None, BY_NOBODY
        backed = [
            self._given_for(told.tenant, one.request, subject).get(one)
            for one in map(_approval, told.data.many("approvals"))
        ]
        return self._lacking(told, request.duties, backed), BY_QUORUM

    def _given_for(self, tenant: str, request: str, subject: _Subject) -> _Approvals:
        """Return the approvals that were given in a request, if it is about that."""
        found = self._requests.get((tenant, request))
        return found.approvals if found and found.subject == subject else {}

    def _lacking(
        self, told: Told, duties: Sequence[_Duty], given: Sequence[_Approval | None]
    ) -> str | None:
        """Say which seats stay empty; who was never heard, None, fills none."""
        approvals = [one for one in given if one is not None]
        for duty in duties:
            left = seats.empty(duty.roles, self._voices(told, duty, approvals))
            if left:
                named = ", ".join(sorted(set(left)))
                return (
                    f"lacked its quorum: {len(left)} of {len(duty.roles)} seats"
                    f" stayed empty ({named})"
                )
        return None

    def _voices(
        self, told: Told, duty: _Duty, approvals: Sequence[_Approval]
    ) -> Mapping[Person, frozenset[str]]:
        """Return who counts, in the roles they speak in: their own, and those that
        others lent them. Nobody is made two: a lender who speaks speaks alone, and of
        two who speak for one lender the first does.
        """
        now = told.known_at
        counted = [
            one
            for one in approvals
            if one.by not in duty.barred and _holds(one, duty.max_age, now)
        ]
        heard = {one.by for one in counted}
        found: dict[Person, frozenset[str]] = {}
        for one in sorted(counted, key=lambda a: (a.at, a.by)):
            lent = [by for by in one.lent if by.lender not in heard | duty.barred]
            heard |= {by.lender for by in lent}
            found[one.by] = one.roles | {by.role for by in lent}
        return found

    # --- roles that others hold ------------------------------------------------------

    def _lend(self, told: Told) -> None:
        data = told.data
        key = told.tenant, data.text("delegation")
        mine = data.person("lender") == told.actor
        if mine and data.text("role") in told.roles:
            self._delegated[key] = _lent(data)
            self._lent_to[key] = data.person("to")

    def _return(self, told: Told) -> None:
        self._delegated.pop((told.tenant, told.data.text("delegation")), None)

    def _count(self, told: Told, approvals: _Approvals, given: _Approval) -> None:
        """Keep an approval with those roles alone that were lent when it was given."""
        lent = tuple(
            by
            for by in given.lent
            if self._delegated.get((told.tenant, by.delegation)) == by
            and self._lent_to[told.tenant, by.delegation] == given.by
            and given.at < by.until
        )
        approvals[given] = given._replace(lent=lent)

    # --- what was approved in advance ------------------------------------------------

    def _envelope_proposed(self, told: Told) -> None:
        data = told.data
        terms = data.inner("terms")
        parties = frozenset(one.person("person") for one in data.many("parties"))
        duty = _duty(data.inner("duty"), parties)
        self._envelopes[told.tenant, data.text("envelope")] = _Envelope(
            terms.text("model"), data.text("digest"), duty, terms.moment("until")
        )

    def _envelope_approved(self, told: Told) -> None:
        data = told.data
        known = self._envelopes.get((told.tenant, data.text("envelope")))
        mine = data.person("by") == told.actor and _roles(data) == told.roles
        if known is not None and mine and data.text("digest") == known.digest:
            given = _approval(data, request=data.text("envelope"))
            self._count(told, known.approvals, given)

    def _envelope_granted(self, told: Told) -> None:
        known = self._envelopes.get((told.tenant, told.data.text("envelope")))
        if known is not None:
            given = map(_approval, told.data.many("approvals"))
            backed = [known.approvals.get(one) for one in given]
            known.lacks = self._lacking(told, [known.duty], backed)

    def _envelope_ended(self, told: Told) -> None:
        known = self._envelopes.get((told.tenant, told.data.text("envelope")))
        if known is not None:
            known.lacks = "was void by then"

    def _enveloped(self, told: Told, model: str, covered: Fields) -> str | None:
        name = covered.text("envelope")
        known = self._envelopes.get((told.tenant, name))
        if known is None or (known.model, known.digest) != (
            model,
            covered.text("digest"),
        ):
            return f"rests on an envelope that was never proposed: {name}"
        if known.lacks is not None:
            return f"rests on the envelope {name}, which {known.lacks}"
        if told.known_at >= known.until:
            return f"rests on the envelope {name}, which had ended"
        return None

    # --- what was done by it ---------------------------------------------------------

    def _voided(self, told: Told) -> None:
        self._void_of(told).update(told.data.words("verdicts"))

    def _changed(self, told: Told) -> None:
        self._void_of(told).update(told.data.words("voids"))

    def _void_of(self, told: Told) -> set[str]:
        key = told.tenant, told.data.text("model")
        return self._void.setdefault(key, set())

    def _deployed(self, told: Told) -> None:
        data = told.data
        self._promoted(told, data.text("digest"), data.share("share"), DEPLOYS)

    def _traffic_set(self, told: Told) -> None:
        data = told.data
        share = data.number("share")
        if share > data.number("previous_share"):
            self._promoted(told, data.text("digest"), share, SETS_TRAFFIC)

    def _rolled_back(self, told: Told) -> None:
        """Back to what was allowed once: its verdict may have ended, not be void."""
        self._promoted(told, told.data.text("to_digest"), None, _PROMOTES)

    def _promoted(
        self, told: Told, digest: str, share: float | None, actions: frozenset[str]
    ) -> None:
        source = told.data.word("verdict_source")
        settled = self._settled.get((told.tenant, source or ""))
        wanted = self.scope.in_environment(told.data.text("environment"))
        tier = None if settled is None else settled.tier
        if not (wanted and self.scope.of_tier(tier) and self.scope.period.holds(told)):
            return
        if settled is None:
            self.judge(told, f"names no verdict that stands before it ({source})")
            return
        wrong = next(self._wrong(told, settled, digest, share, actions), None)
        self.judge(
            told,
            None if wrong is None else f"names a verdict that {wrong}",
            settled.how,
        )

    def _wrong(
        self,
        told: Told,
        settled: _Settled,
        digest: str,
        share: float | None,
        actions: frozenset[str],
    ) -> Iterator[str]:
        data, about = told.data, settled.subject
        if settled.lacks is not None:
            yield settled.lacks
        if about.action not in actions:
            yield f"allows to {about.action}"
        found = about.model, about.digest, about.environment
        if found != (data.text("model"), digest, data.text("environment")):
            yield f"is about {about.model} {about.digest} in {about.environment}"
        if data.text("verdict_source") in self._void_of(told):
            yield "was void by then"
        if share is None:
            return
        if settled.expires_at is not None and told.known_at >= settled.expires_at:
            yield f"had ended on {settled.expires_at}"
        if settled.max_share is not None and share > settled.max_share:
            yield f"allows a share of {settled.max_share:g}, not {share:g}"


def _subject(data: Fields) -> _Subject:
    return _Subject(
        data.text("action"),
        data.text("model"),
        data.word("digest"),
        data.word("environment"),
    )


def _holds(one: _Approval, max_age: timedelta, now: datetime) -> bool:
    # A difference of times never leaves the calendar; a sum may.
    young = now - one.at < max_age
    ends = one.expires_at
    return young and (max_age > timedelta() if ends is None else now < ends)


def _duty(data: Fields, parties: frozenset[Person]) -> _Duty:
    seats = [(seat.text("role"), seat.count("count")) for seat in data.many("seats")]
    if sum(count for _, count in seats) > _MOST_SEATS:
        raise Malformed(f"more than {_MOST_SEATS} seats")
    roles = [role for role, count in seats for _ in range(count)]
    barred = {one.person("person") for one in data.many("barred")}
    age = timedelta(seconds=min(data.count("max_age_s"), _CENTURY_S))
    return _Duty(roles, age, parties | barred)


def _approval(data: Fields, *, request: str | None = None) -> _Approval:
    return _Approval(
        data.person("by"),
        _roles(data),
        data.moment("at"),
        data.text("request") if request is None else request,
        data.end("expires_at"),
        tuple(map(_lent, data.many("lent"))),
    )


def _roles(data: Fields) -> frozenset[str]:
    return frozenset(data.words("roles"))


def _lent(data: Fields) -> _Lent:
    return _Lent(
        data.text("delegation"),
        data.person("lender"),
        data.text("role"),
        data.moment("until"),
    )

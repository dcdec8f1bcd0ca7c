"""Which seats are still empty: distinct people, in time, and never their own judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from modelkeep.events.policy import Approval, Barred, Duty, Lent, Owed
from modelkeep.events.types import Person
from modelkeep.policy import quorum


def owed(
    duties: Sequence[Duty],
    parties: Sequence[Barred],
    approvals: Sequence[Approval],
    now: datetime,
) -> tuple[Owed, ...]:
    """Fill each duty's seats with whoever may fill them; return what stays empty."""
    return tuple(one for duty in duties for one in _owed(duty, parties, approvals, now))


def _owed(
    duty: Duty,
    parties: Sequence[Barred],
    approvals: Sequence[Approval],
    now: datetime,
) -> Iterable[Owed]:
    counted = [one for one in approvals if counts(one, duty, parties, now)]
    people = {
        quorum.Person(who.issuer, who.subject): roles
        for who, roles in voices(counted, barred(duty, parties)).items()
    }
    seats = [seat.role for seat in duty.seats for _ in range(seat.count)]
    empty = list(quorum.seat(seats, people).empty)
    for role in dict.fromkeys(seats):
        if missing := empty.count(role):
            yield Owed(
                policy=duty.policy, role=role, count=missing, of=seats.count(role)
            )


def voices(
    approvals: Sequence[Approval], out: Mapping[Person, str]
) -> Mapping[Person, frozenset[str]]:
    """Each person with the roles they speak in: their own, and those lent to them.

    Nobody is made two: who lends a role and speaks too speaks alone, and of two who
    speak for one lender the first does. Who is barred lends nothing.
    """
    heard = {one.by for one in approvals}
    found: dict[Person, frozenset[str]] = {}
    for one in sorted(approvals, key=lambda a: (a.at, a.by.issuer, a.by.subject)):
        free = [by for by in one.lent if by.lender not in out]
        lent = [by for by in free if by.lender not in heard]
        heard |= {by.lender for by in lent}
        found[one.by] = frozenset(one.roles) | {by.role for by in lent}
    return found


def counts(
    approval: Approval, duty: Duty, parties: Sequence[Barred], now: datetime
) -> bool:
    apart = approval.by not in barred(duty, parties)
    return apart and approval.approved and now < good_until(approval, duty)


def counting(
    duties: Sequence[Duty],
    parties: Sequence[Barred],
    approvals: Sequence[Approval],
    now: datetime,
) -> tuple[Approval, ...]:
    """Keep the approvals that could fill a seat of any duty."""
    return tuple(
        one for one in approvals if any(counts(one, d, parties, now) for d in duties)
    )


def barred(duty: Duty, parties: Sequence[Barred]) -> Mapping[Person, str]:
    """Who may fill no seat of a duty, and as what."""
    return {one.person: one.why for one in (*duty.barred, *parties)}


def good_until(approval: Approval, duty: Duty) -> datetime:
    oldest = approval.at + timedelta(seconds=duty.max_age_s)
    return min(oldest, approval.expires_at or oldest)


def wanted(duties: Sequence[Duty]) -> frozenset[str]:
    return frozenset(seat.role for duty in duties for seat in duty.seats)


def why_not(
    person: Person,
    roles: Iterable[str],
    duties: Sequence[Duty],
    parties: Sequence[Barred],
    lent: Sequence[Lent] = (),
) -> str | None:
    """Say why a person can fill no seat at all; None when there is one."""
    who = {one.person: one.why for one in parties}
    if person in who:
        return f"is {who[person]}"
    reason = "holds no role that is asked for"
    for duty in duties:
        asked, out = {seat.role for seat in duty.seats}, barred(duty, parties)
        speaks = [one for one in lent if one.role in asked]
        if person in out and (speaks or asked & set(roles)):
            reason = f"is {out[person]}"
            continue
        if asked & set(roles) or any(one.lender not in out for one in speaks):
            return None
        for one in speaks:
            reason = f"is there for {one.lender.subject}, who is {out[one.lender]}"
    return reason


def last_words(approvals: Sequence[Approval], word: Approval) -> tuple[Approval, ...]:
    """One word a person: the latest."""
    return (*(one for one in approvals if one.by != word.by), word)

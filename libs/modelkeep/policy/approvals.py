"""Which approvals count, and which seats they leave empty.

An approval counts for one digest, while it is neither expired nor older than the
policy allows, within its conditions, and never from somebody who wrote, owns or asks
for the thing. What is not stated does not count. The last word of a person counts;
a rejection by somebody whose role is asked for denies.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import facts
from modelkeep.policy.bundle import Obligations, Seats, seconds
from modelkeep.policy.facts import LARGEST_DOUBLE, Path
from modelkeep.policy.quorum import Person, seating

REJECTED = "rejected it"
IDLE = "fills no empty seat"
Pair = tuple[str, str]
"""A person's issuer and subject: the same key as a `Person`, and made sooner."""
Word = tuple[str, str, str, tuple[str, ...]]
"""A person, why their last word does not count, and the roles they hold."""
NANOS = 10**9
new = tuple.__new__  # a NamedTuple's own takes twice as long
VOICE = (
    "issuer", "subject", "roles", "digest", "at", "expires", "approved", "conditional",
    "max_traffic_share",
)  # fmt: skip
Voice = tuple[
    str | None, str | None, tuple[str, ...], str | None, int | None, int | None,
    bool | None, bool | None, float | None,
]  # fmt: skip
"""One approval, by VOICE: None is not stated, moments are nanoseconds since 1970."""


class Hearing(NamedTuple):
    """What is known of approvals: when it is, in nanoseconds since 1970, the share of
    traffic that is asked for, and what people said.
    """

    now: int | None
    share: float | None
    voices: Sequence[Voice]


@dataclass(frozen=True)
class Duty:
    """One policy's obligations, read once."""

    policy: str
    seats: tuple[Seats, ...]
    max_age: int
    bound_to: Path
    excluding: tuple[tuple[Path, Path], ...]

    @cached_property
    def flat(self) -> tuple[str, ...]:
        """A role a seat."""
        return tuple(one.role for one in self.seats for _ in range(one.min))

    @cached_property
    def roles(self) -> frozenset[str]:
        return frozenset(self.flat)

    @cached_property
    def known(self) -> dict[tuple[str, ...], tuple[Owed, ...]]:
        """What was found to be owed, by the seats that were empty."""
        return {}


class Owed(NamedTuple):
    """`missing` of the `min` people in `role` are still to approve."""

    policy: str
    role: str
    min: int
    missing: int

    def sentence(self) -> str:
        return f"{self.missing} of {self.min} {self.role} must still approve"

    def as_dict(self) -> dict[str, object]:
        return {
            "policy": self.policy,
            "role": self.role,
            "min": self.min,
            "missing": self.missing,
        }


class Heard(NamedTuple):
    """One approval and what became of it: the role it fills, or why it fills none."""

    policy: str
    issuer: str
    subject: str
    role: str
    why: str

    def as_dict(self) -> dict[str, object]:
        return {
            "policy": self.policy,
            "issuer": self.issuer,
            "subject": self.subject,
            "role": self.role,
            "why": self.why,
        }


class Count(NamedTuple):
    owed: tuple[Owed, ...]
    heard: tuple[Heard, ...]
    rejected: tuple[Heard, ...] = ()
    missing: tuple[str, ...] = ()


def duty(policy: str, owed: Obligations, quorum: Sequence[Seats]) -> Duty:
    by_tier = owed.approvals == "by_tier"
    seats = quorum if by_tier or isinstance(owed.approvals, str) else owed.approvals
    people = tuple(
        (facts.path(f"{who}.issuer"), facts.path(f"{who}.subject"))
        for who in owed.excluding
    )
    age = seconds(owed.max_age)
    return Duty(policy, tuple(seats), age, facts.path(owed.bound_to), people)


def hearing(given: Facts) -> Hearing:
    known = given.HasField("now") and facts.is_moment(given.now)
    share = given.deployment
    return Hearing(
        given.now.seconds * NANOS + given.now.nanos if known else None,
        share.traffic_share.value if share.HasField("traffic_share") else None,
        [voice(one) for one in given.approvals],
    )


def voice(one: Facts.Approval) -> Voice:
    """Read an approval; asking for presence costs as much as reading does, so only
    what could be a default is asked for.
    """
    issuer, subject, digest = one.issuer.value, one.subject.value, one.digest.value
    approved, conditional = one.approved.value, one.conditional.value
    stated = one.HasField
    return (
        issuer if issuer or stated("issuer") else None,
        subject if subject or stated("subject") else None,
        tuple(one.roles),
        digest if digest or stated("digest") else None,
        dated(one.at) if stated("at") else None,
        dated(one.expires) if stated("expires") else None,
        approved if approved or stated("approved") else None,
        conditional if conditional or stated("conditional") else None,
        one.max_traffic_share.value if stated("max_traffic_share") else None,
    )


def dated(at: Timestamp) -> int:
    """In nanoseconds; what is no fraction of a second is none."""
    nanos = at.nanos
    return at.seconds * NANOS + (nanos if 0 <= nanos < NANOS else 0)


def count(duty: Duty, given: Facts) -> Count:
    """Seat the people whose approval counts; without seats nothing is owed."""
    if not duty.seats:
        return Count((), ())
    digest = duty.bound_to.read(given)
    excluded, missing = barred(duty, given)
    if not isinstance(digest, str):
        missing = (duty.bound_to.text, *missing)
    if missing:
        return Count(tuple(owing(duty, duty.flat)), (), missing=missing)
    return tally(duty, hearing(given), str(digest), excluded)


def tally(
    duty: Duty, heard: Hearing, digest: str, excluded: Mapping[Person, str]
) -> Count:
    """Count for a digest, where it is known who may not approve, and as what."""
    told = undisputed(duty, heard, digest, excluded)
    if told is not None:
        return told
    words = spoken(duty, heard, digest, excluded)
    counted = tuple([held for _, _, why, held in words if not why])
    seats = seating(duty.flat, counted)
    owed = owed_for(duty, seats.empty) if seats.empty else ()
    return Count(owed, *set_aside(duty, words, seats.roles))


def undisputed(
    duty: Duty, heard: Hearing, digest: str, excluded: Container[Pair]
) -> Count | None:
    """The count where every word counts, which is so of most; None for all others."""
    now, _, voices = heard
    if now is None:
        return None
    asked, (oldest, after) = duty.roles, bounds(duty, now)
    held: dict[Pair, tuple[str, ...]] = {}
    for voice in voices:
        issuer, subject, roles, own, at, expires, approved, conditional, _ = voice
        if (
            own != digest
            or at is None or not oldest <= at < after
            or expires is None or expires < after
            or not approved or conditional is not False
            or not issuer or not subject
            or asked.isdisjoint(roles)
        ):  # fmt: skip
            return None
        who = issuer, subject
        if who in excluded:
            return None
        held[who] = roles
    if len(held) < len(voices):
        return None
    people = sorted(held) if len(held) > 1 else held
    seats = seating(duty.flat, tuple([held[who] for who in people]))
    policy, heard_of = duty.policy, []
    for (issuer, subject), role in zip(people, seats.roles, strict=True):
        why = "" if role else IDLE
        heard_of.append(new(Heard, (policy, issuer, subject, role, why)))
    owed = owed_for(duty, seats.empty) if seats.empty else ()
    return new(Count, (owed, tuple(heard_of), (), ()))


def set_aside(
    duty: Duty, words: Sequence[Word], seated: Sequence[str]
) -> tuple[tuple[Heard, ...], tuple[Heard, ...]]:
    """What was heard, and who rejected it, where some words do not count."""
    told, rejected = [], []
    roles, policy = iter(seated), duty.policy
    for issuer, subject, why, held in words:
        if not why:
            role = next(roles)
            idle = "" if role else IDLE
            told.append(new(Heard, (policy, issuer, subject, role, idle)))
        elif why == REJECTED:
            wanted = min(duty.roles.intersection(held))
            rejected.append(Heard(policy, issuer, subject, wanted, REJECTED))
        else:
            told.append(new(Heard, (policy, issuer, subject, "", why)))
    return tuple(told), tuple(rejected)


def settled(  # noqa: C901 - each reason why a word does not count
    duty: Duty, heard: Hearing, digest: str, excluded: Container[Pair]
) -> bool | None:
    """Whether every seat is filled; None where somebody rejected it."""
    now, share, voices = heard
    if now is None:
        return not duty.flat  # nothing can be dated
    asked = duty.roles
    oldest, after = bounds(duty, now)
    counted = []
    for voice in last(voices):
        issuer, subject, roles, own, at, expires, approved, conditional, most = voice
        if own != digest or issuer is None or subject is None:
            continue
        if at is None or not oldest <= at < after:
            continue
        if expires is None or expires < after or approved is None:
            continue
        if conditional is None:
            continue
        if conditional and approved and beyond_condition(most, share):
            continue
        if asked.isdisjoint(roles):
            continue
        if not approved:
            return None
        if (issuer, subject) not in excluded:
            counted.append(roles)
    return not seating(duty.flat, tuple(counted)).empty


def spoken(
    duty: Duty, heard: Hearing, digest: str, excluded: Mapping[Person, str]
) -> list[Word]:
    now, share, voices = heard
    asked = duty.roles
    within = None if now is None else bounds(duty, now)
    found: list[Word] = []
    for said in ordered(voices):
        who, roles = person(said), said[2]
        why = discounted(said, digest, within, share)
        if not why:
            if asked.isdisjoint(roles):
                why = "holds no role that is asked for"
            elif not said[6]:
                why = REJECTED
            elif who in excluded:
                why = f"is {excluded[Person(*who)]}"
        found.append((*who, why, roles))
    return found


def bounds(duty: Duty, now: int) -> tuple[int, int]:
    """The earliest approval that is not too old, and what is after now: both in whole
    seconds, as an age and an expiry are told.
    """
    second = now // NANOS
    return (second - duty.max_age) * NANOS, (second + 1) * NANOS


def owed_for(duty: Duty, empty: tuple[str, ...]) -> tuple[Owed, ...]:
    """What is owed while these seats are empty; few patterns of them occur."""
    found = duty.known.get(empty)
    if found is None:
        found = duty.known[empty] = tuple(owing(duty, empty))
    return found


def owing(duty: Duty, empty: Sequence[str]) -> Iterator[Owed]:
    least: dict[str, int] = {}
    for seats in duty.seats:
        least[seats.role] = least.get(seats.role, 0) + seats.min
    for role, number in least.items():
        if (missing := empty.count(role)) > 0:
            yield Owed(duty.policy, role, number, missing)


def barred(duty: Duty, given: Facts) -> tuple[dict[Person, str], tuple[str, ...]]:
    """Who may not approve and as what; and what it would take to know that."""
    people: dict[Person, str] = {}
    missing: list[str] = []
    for issuer, subject in duty.excluding:
        issuers, subjects = listed(issuer.read(given)), listed(subject.read(given))
        for path, values in ((issuer, issuers), (subject, subjects)):
            if not values or not all(isinstance(value, str) for value in values):
                missing.append(path.text)
        who = issuer.text.removesuffix(".issuer").removesuffix("[]")
        for pair in zip(issuers, subjects, strict=False):
            people.setdefault(Person(str(pair[0]), str(pair[1])), who)
    return people, tuple(missing)


def listed(value: facts.Value) -> list[facts.Value]:
    return value if isinstance(value, list) else [value]


def person(said: Voice) -> Pair:
    return said[0] or "", said[1] or ""


def ordered(voices: Sequence[Voice]) -> Sequence[Voice]:
    """Last words by person."""
    if len(voices) < 2 or not distinct(voices):  # noqa: PLR2004
        return sorted(last(voices), key=person)
    return sorted(voices)  # of distinct people nothing else is compared


def distinct(voices: Sequence[Voice]) -> bool:
    """Whether everybody is named, and spoke once."""
    people = {(one[0], one[1]) for one in voices if one[0] and one[1]}
    return len(people) == len(voices)


def last(voices: Sequence[Voice]) -> Sequence[Voice]:
    """Each person's latest complete word; of two at once, the rejection."""
    if distinct(voices):
        return voices
    latest: dict[Pair, Voice] = {}
    for said in voices:
        who = person(said)
        if who in latest and rank(latest[who]) > rank(said):
            continue
        latest[who] = said
    return [*latest.values()]


def rank(said: Voice) -> tuple[int, bool]:
    at, approved = said[4], said[6]
    return at or 0, not approved


def discounted(
    said: Voice, digest: str, within: tuple[int, int] | None, share: float | None
) -> str:
    """Say why an approval does not count; empty when it does. `within` are the bounds
    of its time, None where nothing can be dated.
    """
    issuer, subject, _, own, at, expires, approved, conditional, most = said
    if (
        issuer is None or subject is None or own is None or at is None
        or expires is None or approved is None or conditional is None
    ):  # fmt: skip
        gap = said.index(None)
        return f"does not state {VOICE[gap]}"
    if own != digest:
        return "is for another digest"
    if within is None:
        return "cannot be dated: now is missing"
    if (late := untimely(at, expires, *within)) != "":
        return late
    return beyond_condition(most, share) if conditional and approved else ""


def untimely(at: int, expires: int, oldest: int, after: int) -> str:
    if at >= after:
        return "is dated after now"
    if expires < after:
        return "has expired"
    return "is too old" if at < oldest else ""


def beyond_condition(most: float | None, asked: float | None) -> str:
    if most is None:
        return "is conditional and does not state its condition"
    if asked is None:
        return "is conditional and deployment.traffic_share is missing"
    if not 0 <= asked <= most <= LARGEST_DOUBLE:
        return f"is for a traffic share up to {most:g}"
    return ""

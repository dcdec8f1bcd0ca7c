"""Which approvals count, and which seats they leave empty.

An approval counts for one digest, while it is neither expired nor older than the
policy allows, within its conditions, and never from somebody who wrote, owns or asks
for the thing. What is not stated does not count. The last word of a person counts;
a rejection by somebody whose role is asked for denies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import facts
from modelkeep.policy.bundle import Obligations, Seats, seconds
from modelkeep.policy.facts import LARGEST_DOUBLE, Path
from modelkeep.policy.quorum import Person, seating

REJECTED = "rejected it"
Pair = tuple[str, str]
"""A person's issuer and subject: the same key as a `Person`, and made sooner."""
Word = tuple[Pair, str, tuple[str, ...]]
"""A person, why their last word does not count, and the roles they hold."""
PERSON = itemgetter(0)
NEEDED = ("issuer", "subject", "digest", "at", "expires", "approved", "conditional")


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
    return tally(duty, given, str(digest), excluded)


def tally(
    duty: Duty, given: Facts, digest: str, excluded: Mapping[Person, str]
) -> Count:
    """Count for a digest, where it is known who may not approve, and as what."""
    words = spoken(duty, given, digest, excluded)
    counted = tuple([held for _, why, held in words if not why])
    seats = seating(duty.flat, counted)
    roles = iter(seats.roles)
    policy = duty.policy
    heard, rejected = [], []
    for (issuer, subject), why, held in words:
        if why == REJECTED:
            wanted = min(duty.roles.intersection(held))
            rejected.append(Heard(policy, issuer, subject, wanted, REJECTED))
        elif why:
            heard.append(Heard(policy, issuer, subject, "", why))
        else:
            role = next(roles)
            idle = "" if role else "fills no empty seat"
            heard.append(Heard(policy, issuer, subject, role, idle))
    owed = tuple(owing(duty, seats.empty)) if seats.empty else ()
    return Count(owed, tuple(heard), tuple(rejected))


def settled(
    duty: Duty, given: Facts, digest: str, excluded: Mapping[Person, str]
) -> bool | None:
    """Whether every seat is filled; None where somebody rejected it."""
    words = spoken(duty, given, digest, excluded)
    if REJECTED in [why for _, why, _ in words]:
        return None
    counted = tuple([held for _, why, held in words if not why])
    return not seating(duty.flat, counted).empty


def spoken(
    duty: Duty, given: Facts, digest: str, excluded: Mapping[Person, str]
) -> list[Word]:
    known = given.HasField("now") and facts.is_moment(given.now)
    now = given.now.seconds if known else None
    asked, oldest = duty.roles, 0 if now is None else now - duty.max_age
    found: list[Word] = []
    for person, approval in last_words(given):
        at, expires = approval.at.seconds, approval.expires.seconds
        roles = tuple(approval.roles)
        # Most are as they should be, and not nothing: then nothing else need be asked.
        if (
            now is not None
            and oldest <= at <= now < expires
            and at and expires and person[0] and person[1]
            and approval.approved.value
            and approval.digest.value == digest != ""
            and not approval.conditional.value
            and approval.HasField("conditional")
            and person not in excluded
            and not asked.isdisjoint(roles)
        ):  # fmt: skip
            found.append((person, "", roles))
            continue
        why = discounted(approval, given, duty, now, digest)
        if not why and asked.isdisjoint(roles):
            why = "holds no role that is asked for"
        elif not why and not approval.approved.value:
            why = REJECTED
        elif not why and person in excluded:
            why = f"is {excluded[Person(*person)]}"
        found.append((person, why, roles))
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


def last_words(given: Facts) -> list[tuple[Pair, Facts.Approval]]:
    """Each person's latest complete word; of two at once, the rejection."""
    words = [((one.issuer.value, one.subject.value), one) for one in given.approvals]
    latest = dict(words)
    if len(latest) < len(words):
        latest.clear()
        for person, approval in words:
            if person in latest and rank(latest[person]) > rank(approval):
                continue
            latest[person] = approval
        words = [*latest.items()]
    words.sort(key=PERSON)
    return words


def rank(approval: Facts.Approval) -> tuple[int, int, bool]:
    return approval.at.seconds, approval.at.nanos, not approval.approved.value


def discounted(  # noqa: PLR0911 - one answer for each reason
    approval: Facts.Approval, given: Facts, duty: Duty, now: int | None, digest: str
) -> str:
    """Say why an approval does not count; empty when it does."""
    stated, own = approval.HasField, approval.digest.value
    at, expires = approval.at.seconds, approval.expires.seconds
    approved, conditional = approval.approved.value, approval.conditional.value
    for name in NEEDED:
        if not stated(name):  # type: ignore[arg-type] # names of NEEDED
            return f"does not state {name}"
    if own != digest:
        return "is for another digest"
    if now is None:
        return "cannot be dated: now is missing"
    if at > now:
        return "is dated after now"
    if expires <= now:
        return "has expired"
    if now - at > duty.max_age:
        return "is too old"
    if not (conditional and approved):
        return ""
    return beyond_condition(approval, given)


def beyond_condition(approval: Facts.Approval, given: Facts) -> str:
    if not approval.HasField("max_traffic_share"):
        return "is conditional and does not state its condition"
    if not given.deployment.HasField("traffic_share"):
        return "is conditional and deployment.traffic_share is missing"
    asked = given.deployment.traffic_share.value
    most = approval.max_traffic_share.value
    if not 0 <= asked <= most <= LARGEST_DOUBLE:
        return f"is for a traffic share up to {most:g}"
    return ""

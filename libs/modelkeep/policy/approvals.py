"""Which approvals count, and which seats they leave empty.

An approval counts for one digest, while it is neither expired nor older than the
policy allows, within its conditions, and never from somebody who wrote, owns or asks
for the thing. What is not stated does not count. The last word of a person counts;
a rejection by somebody whose role is asked for denies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import Message

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy import facts
from modelkeep.policy.bundle import Obligations, Seats, seconds
from modelkeep.policy.facts import LARGEST_DOUBLE, Path
from modelkeep.policy.quorum import Person, Seating, seat

NOW = facts.path("now")
REJECTED = "rejected it"
NEEDED = ("issuer", "subject", "digest", "at", "expires", "approved", "conditional")


@dataclass(frozen=True)
class Duty:
    """One policy's obligations, read once."""

    policy: str
    seats: tuple[Seats, ...]
    max_age: int
    bound_to: Path
    excluding: tuple[tuple[Path, Path], ...]


@dataclass(frozen=True)
class Owed:
    """`missing` of the `min` people in `role` are still to approve."""

    policy: str
    role: str
    min: int
    missing: int

    def as_dict(self) -> dict[str, object]:
        return {
            "policy": self.policy,
            "role": self.role,
            "min": self.min,
            "missing": self.missing,
        }


@dataclass(frozen=True)
class Heard:
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


@dataclass(frozen=True)
class Count:
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
        return Count(tuple(owing(duty, flat(duty))), (), missing=missing)
    heard = [
        hear(duty, person, approval, given, str(digest), excluded)
        for person, approval in last_words(given)
    ]
    counted = {
        Person(one.issuer, one.subject): frozenset(approval.roles)
        for one, (_, approval) in zip(heard, last_words(given), strict=True)
        if not one.why
    }
    seating = seat(flat(duty), counted)
    return Count(
        tuple(owing(duty, list(seating.empty))),
        tuple(seated(one, seating) for one in heard if one.why != REJECTED),
        tuple(one for one in heard if one.why == REJECTED),
    )


def hear(
    duty: Duty,
    person: Person,
    approval: Facts.Approval,
    given: Facts,
    digest: str,
    excluded: Mapping[Person, str],
) -> Heard:
    """Say why an approval does not count, or that it is a rejection that does."""
    why = discounted(approval, given, duty, digest)
    wanted = sorted(set(approval.roles) & set(flat(duty)))
    if not why and not wanted:
        why = "holds no role that is asked for"
    elif not why and not approval.approved.value:
        return Heard(duty.policy, *person, wanted[0], REJECTED)
    elif not why and person in excluded:
        why = f"is {excluded[person]}"
    return Heard(duty.policy, *person, "", why)


def seated(one: Heard, seating: Seating) -> Heard:
    if one.why:
        return one
    role = seating.seated.get(Person(one.issuer, one.subject), "")
    return replace(one, role=role, why="" if role else "fills no empty seat")


def flat(duty: Duty) -> list[str]:
    return [seats.role for seats in duty.seats for _ in range(seats.min)]


def owing(duty: Duty, empty: list[str]) -> Iterator[Owed]:
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


def last_words(given: Facts) -> Iterator[tuple[Person, Facts.Approval]]:
    """Each person's latest complete word; of two at once, the rejection."""
    latest: dict[Person, Facts.Approval] = {}
    for approval in given.approvals:
        person = Person(approval.issuer.value, approval.subject.value)
        before = latest.get(person)
        if before is None or rank(approval) >= rank(before):
            latest[person] = approval
    yield from sorted(latest.items(), key=lambda pair: pair[0])


def rank(approval: Facts.Approval) -> tuple[int, int, bool]:
    return approval.at.seconds, approval.at.nanos, not approval.approved.value


def discounted(approval: Facts.Approval, given: Facts, duty: Duty, digest: str) -> str:
    """Say why an approval does not count; empty when it does."""
    for name in NEEDED:
        if not approval.HasField(name):  # type: ignore[arg-type] # names of NEEDED
            return f"does not state {name}"
    if approval.digest.value != digest:
        return "is for another digest"
    if not isinstance(NOW.read(given), Message):
        return "cannot be dated: now is missing"
    now = given.now.seconds
    problems = {
        "is dated after now": approval.at.seconds > now,
        "has expired": approval.expires.seconds <= now,
        "is too old": now - approval.at.seconds > duty.max_age,
    }
    said = next((why for why, true in problems.items() if true), "")
    if said or not (approval.approved.value and approval.conditional.value):
        return said
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

"""Who fills which seat: distinct people assigned to roles, as many as can be.

One person counts once, whatever roles they hold. Taking the first seat that fits can
leave a seat empty that another assignment would fill, so seats are filled along
augmenting paths (Kuhn's method for bipartite matching; 10.1002/nav.3800020109).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Person(NamedTuple):
    """Neither half is anybody alone: two issuers may know a `kim` each."""

    issuer: str
    subject: str


class Seating(NamedTuple):
    seated: Mapping[Person, str]
    empty: Sequence[str]


def seat(seats: Sequence[str], people: Mapping[Person, frozenset[str]]) -> Seating:
    """Fill the seats; a seat once filled stays filled, so earlier seats come first.

    >>> ann, bob = Person("hr", "ann"), Person("hr", "bob")
    >>> both = frozenset({"validator", "risk_officer"})
    >>> seating = seat(
    ...     ["validator", "risk_officer"], {ann: both, bob: frozenset({"validator"})}
    ... )
    >>> seating.seated[ann], seating.seated[bob], seating.empty
    ('risk_officer', 'validator', [])
    """
    order = sorted(people)
    taken: dict[Person, int] = {}

    def place(number: int, asked: set[Person]) -> bool:
        for person in order:
            if seats[number] not in people[person] or person in asked:
                continue
            asked.add(person)
            if person not in taken or place(taken[person], asked):
                taken[person] = number
                return True
        return False

    empty = [seats[n] for n in range(len(seats)) if not place(n, set())]
    return Seating({person: seats[n] for person, n in taken.items()}, empty)

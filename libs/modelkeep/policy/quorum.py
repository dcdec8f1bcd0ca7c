"""Who fills which seat: distinct people assigned to roles, as many as can be.

One person counts once, whatever roles they hold. Taking the first seat that fits can
leave a seat empty that another assignment would fill, so seats are filled along
augmenting paths (Kuhn's method for bipartite matching; 10.1002/nav.3800020109).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple


class Person(NamedTuple):
    """Neither half is anybody alone: two issuers may know a `kim` each."""

    issuer: str
    subject: str


class Places(NamedTuple):
    """The role that each fills, empty for none; and the seats that are left."""

    roles: tuple[str, ...]
    empty: tuple[str, ...]


@lru_cache(maxsize=1_024)
def seating(seats: tuple[str, ...], held: tuple[tuple[str, ...], ...]) -> Places:
    """Fill the seats from people in order, by the roles that each holds.

    Who they are changes nothing, and few patterns of roles occur.
    """
    people = {Person("", f"{n:03}"): frozenset(one) for n, one in enumerate(held)}
    found = seat(seats, people)
    roles = tuple(found.seated.get(person, "") for person in people)
    return Places(roles, tuple(found.empty))


class Seating(NamedTuple):
    seated: Mapping[Person, str]
    empty: Sequence[str]


def seat(seats: Sequence[str], people: Mapping[Person, Collection[str]]) -> Seating:
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

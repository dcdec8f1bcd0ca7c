"""Whether distinct people fill all the seats that were asked for.

The ledger's own services decide this where approvals are given; here it is decided
again by other code, from what the log holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from modelkeep.proof.fields import Person


def empty(
    seats: Sequence[str], people: Mapping[Person, Collection[str]]
) -> Sequence[str]:
    """Return the roles of the seats that no assignment of people to seats fills.

    Each person takes one seat at most, of a role they hold. Whoever sits may move to
    another seat of theirs for somebody who has only this one.

    >>> ann, bob = Person("hr", "ann"), Person("hr", "bob")
    >>> empty(["validator", "owner"], {ann: {"validator", "owner"}, bob: {"owner"}})
    []
    >>> empty(["validator", "owner"], {ann: {"validator", "owner"}})
    ['owner']
    """
    sits: dict[int, Person] = {}

    def find(person: Person, passed: set[int]) -> bool:
        for number, role in enumerate(seats):
            if role in people[person] and number not in passed:
                passed.add(number)
                if number not in sits or find(sits[number], passed):
                    sits[number] = person
                    return True
        return False

    for person in sorted(people):
        find(person, set())
    return [role for number, role in enumerate(seats) if number not in sits]

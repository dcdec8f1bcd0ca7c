"""What a query may say: checked as strictly as a command, each field by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.message import Message

from modelkeep.events.policy import Word
from modelkeep.events.types import Count, Digest, Instant, Person, Slug, Value
from modelkeep.service import Asked
from modelkeep.wire import parse

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

ENVELOPE: Final = frozenset({"as_of", "not_before", "page"})


class OfRequest(Value):
    request: Slug


class OfBundle(Value):
    bundle: Digest | None = None


class OfModel(Value):
    model: Slug | None = None
    action: Word | None = None


class OfPerson(Value):
    role: Word | None = None
    person: Person | None = None
    overdue: bool = False


class OfChallenge(Value):
    since: Instant | None = None
    until: Instant | None = None
    threshold: Count = 0


def asks(what: type[Value], answer: Callable[[Q, Asked], A]) -> Callable[[Q, Asked], A]:
    """Refuse a query that is not one of `what`, naming the field."""

    def checked(request: Q, asked: Asked) -> A:
        parse(what, request, skip=ENVELOPE)
        return answer(request, asked)

    return checked

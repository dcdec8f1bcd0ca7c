"""Every way in which Modelkeep says no, in one tree.

    ModelkeepError
    ├── Invalid            the request is malformed: a field is named
    ├── Unauthenticated    nobody vouches for the caller
    ├── Forbidden          the caller may not do this
    ├── NotFound           no such thing, for this caller
    ├── AlreadyExists      this request id was used for another body
    ├── Refused            understood, permitted, and against a rule
    ├── Conflict           somebody else wrote first
    │   └── WrongVersion   said by a store: the stream is at another version
    ├── Exhausted          a bound was reached
    │   ├── TooLarge       an append or a message beyond its limit
    │   └── DiskFull       the store cannot take more until space is freed
    ├── Late               the deadline passed first
    ├── Unavailable        a dependency does not answer; the outcome may be unknown
    └── Corrupt            what is stored is not what was written

A message names the thing and its state: "model fraud is retired". `rpc.py` gives each
its gRPC status, and a test proves that none is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class ModelkeepError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""


class Violation(NamedTuple):
    """One field and what is wrong with it; `field` is a dotted path of the request."""

    field: str
    description: str


class Invalid(ModelkeepError):
    def __init__(self, *violations: Violation) -> None:
        self.violations: Sequence[Violation] = violations
        super().__init__(
            "; ".join(f"{v.field}: {v.description}" for v in violations) or "invalid"
        )

    @classmethod
    def field(cls, field: str, description: str) -> Invalid:
        return cls(Violation(field, description))


class Unauthenticated(ModelkeepError):
    pass


class Forbidden(ModelkeepError):
    pass


class NotFound(ModelkeepError):
    def __init__(self, kind: str, key: str) -> None:
        self.kind, self.key = kind, key
        super().__init__(f"no {kind} {key}")


class AlreadyExists(ModelkeepError):
    pass


class Refused(ModelkeepError):
    """`rule` is a stable dotted name; `subject` is what the rule was applied to."""

    def __init__(self, rule: str, message: str, *, subject: str = "") -> None:
        self.rule, self.subject = rule, subject
        super().__init__(message)


class Conflict(ModelkeepError):
    """`current` is the stream's version now: reload, look, decide again."""

    def __init__(self, stream: str, expected: int, current: int) -> None:
        self.stream, self.expected, self.current = stream, expected, current
        super().__init__(f"{stream} is at version {current}, not {expected}")


class WrongVersion(Conflict):
    pass


class Exhausted(ModelkeepError):
    pass


class TooLarge(Exhausted):
    pass


class DiskFull(Exhausted):
    pass


class Late(ModelkeepError):
    pass


class Unavailable(ModelkeepError):
    """Nothing is known of the outcome: retry with the same ids."""


class Corrupt(ModelkeepError):
    pass

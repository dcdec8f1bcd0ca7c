"""Single values of messages that no table reads: times, numbers, whole commands."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TypeVar, cast

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.decider import Command
from modelkeep.errors import Invalid, Violation
from modelkeep.wire import checked

C = TypeVar("C", bound=Command)


def instant(field: str, message: Message, name: str) -> datetime | None:
    """Return a Timestamp field, None when absent. Raises Invalid."""
    if not message.HasField(name):
        return None
    try:
        return cast("Timestamp", getattr(message, name)).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid.field(field, "is not a time between years 1 and 9999") from None


def finite(field: str, value: float) -> float:
    if not math.isfinite(value):
        raise Invalid.field(field, f"{value} is not finite")
    return value


def command(kind: type[C], prefix: str, **found: object) -> C:
    """Check `found` as a command; what is wrong is named below `prefix`."""
    try:
        return checked(kind, found)
    except Invalid as error:
        raise Invalid(
            *(Violation(f"{prefix}.{v.field}", v.description) for v in error.violations)
        ) from None

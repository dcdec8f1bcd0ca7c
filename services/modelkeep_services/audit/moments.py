"""Moments: the two ways in which a caller names one, and how one is told."""

from __future__ import annotations

from datetime import UTC

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.api.common.v1.common_pb2 import AsOf as AsOfMessage
from modelkeep.errors import Invalid
from modelkeep.service import Asked
from modelkeep.views import NOW, AsOf


def moment_of(asked: Asked, given: AsOfMessage, field: str = "as_of") -> AsOf:
    """Raises Invalid for a position or a time that is none."""
    match given.WhichOneof("moment"):
        case "position":
            if given.position < 0:
                raise Invalid.field(f"{field}.position", "is negative")
            return AsOf(given.position)
        case "time":
            try:
                return asked.read.when(given.time.ToDatetime(tzinfo=UTC))
            except (ValueError, OverflowError):
                raise Invalid.field(f"{field}.time", "is not a time") from None
    return NOW


def earlier(then: AsOf, now: AsOf) -> AsOf:
    """Nothing counts as known then that was not known by the moment asked about."""
    if then.bound is None or now.bound is None:
        return then if now.bound is None else now
    return AsOf(min(then.bound, now.bound))


def told(asked: Asked, given: AsOfMessage, as_of: AsOf) -> pb.Moment:
    """Say which moment was meant. A time stays the time that was asked for."""
    moment = pb.Moment()
    if as_of.bound is not None:
        moment.position = as_of.bound
    if given.WhichOneof("moment") == "time":
        moment.time.CopyFrom(given.time)
        return moment
    known = asked.now if as_of.bound is None else asked.read.at(as_of).known_until()
    if known is not None:
        moment.time.FromDatetime(known)
    return moment

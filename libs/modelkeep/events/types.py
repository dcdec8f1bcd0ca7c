"""The words events and commands are made of: bounded, printable, finite, in UTC.

A bound here is a bound everywhere: the same types check a request at the door.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is UTC:
        return instant
    try:
        return instant.astimezone(UTC)
    except OverflowError:  # the first and the last day, east and west of it
        raise ValueError("is not a time between years 1 and 9999, in UTC") from None


Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A moment, always in UTC."""

Slug = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)
]
"""A name that stands in stream names and URLs."""

Title = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=200)
]
"""One printable line."""

Text = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+$", max_length=4_000
    ),
]
"""Prose: line breaks and tabs, no other control characters."""

Subject = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f\s]+$", max_length=200)
]
"""An opaque id of a person or a machine, as their identity provider says it."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A part of a whole, 0 to 1."""

Count = Annotated[int, Field(ge=0, lt=2**53)]
Minor = Annotated[int, Field(gt=-(2**63), lt=2**63)]
"""Money in minor units (cents): never a float."""

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217."""

Tier = Annotated[int, Field(ge=1, le=4)]
"""1 is the riskiest."""


RiskVector = Literal[
    "data_drift",
    "concept_shift",
    "operational_regression",
    "governance_lapse",
    "fairness",
]
"""What kind of trouble: the same word on every alert, finding and debt."""

Severity = Literal["low", "medium", "high", "critical"]


class Value(BaseModel):
    """A part of an event or a command: frozen, and nothing that was not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Money(Value):
    minor: Minor
    currency: Currency


class Person(Value):
    """Who, to the ledger: the pair no identity provider reuses."""

    issuer: Subject
    subject: Subject


class Sealed(Value):
    """A personal field: AES-256-GCM under a key kept outside the ledger.

    All parts are base64. Erasure destroys the key `key_id`; what is hashed and proven
    is this ciphertext, so proofs survive it.
    """

    key_id: Annotated[str, StringConstraints(max_length=64)]
    nonce: Annotated[str, StringConstraints(max_length=24)]
    ciphertext: Annotated[str, StringConstraints(max_length=8_192)]

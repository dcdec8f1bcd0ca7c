"""What was asked to be forgotten, by whom, what forbade it, and what is gone.

No event here says whose: `about` is an HMAC under a salt that the keystore keeps, and
a key's id is random.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from modelkeep.events.base import Event
from modelkeep.events.types import Count, Instant, Person, Slug, Text, Title, Value

Basis = Literal[
    "no_longer_needed",
    "consent_withdrawn",
    "objection",
    "unlawful",
    "legal_obligation",
    "retention",
]
"""GDPR, article 17 (1); `retention` is the clock's own proposal."""

Purpose = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]*$", max_length=40)]
"""What a personal field is kept for; empty of a key that was for all purposes."""

KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
About = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A subject, as an HMAC."""

EpochName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9/._-]+$", max_length=64)
]


class NamedKey(Value):
    key_id: KeyId
    purpose: Purpose


Keys = Annotated[tuple[NamedKey, ...], Field(min_length=1, max_length=100)]


class ErasureRequested(Event, name="privacy.erasure-requested"):
    """`document` is the retention document by which the clock proposed it."""

    erasure: Slug
    about: About | None = None
    subject_keys: Keys
    basis: Basis
    reason: Text
    by: Person
    until: Instant
    document: Slug | None = None


class ErasureApproved(Event, name="privacy.erasure-approved"):
    """From here on no hold can stop it."""

    erasure: Slug
    subject_keys: Keys
    by: Person
    until: Instant


class ErasureRejected(Event, name="privacy.erasure-rejected"):
    erasure: Slug
    subject_keys: Keys
    by: Person
    reason: Text
    until: Instant


class ErasureExpired(Event, name="privacy.erasure-expired"):
    """Nobody decided until then."""

    erasure: Slug
    subject_keys: Keys
    until: Instant


class ErasureStopped(Event, name="privacy.erasure-stopped"):
    """It was approved, but the hold had come first in the log; no key was touched."""

    erasure: Slug
    subject_keys: Keys
    hold: Slug


class SubjectKeyDestroyed(Event, name="privacy.subject-key-destroyed"):
    """No copy of the key is in the keystore; what it sealed reads `[erased]`."""

    erasure: Slug
    key_id: KeyId
    purpose: Purpose


class HoldPlaced(Event, name="privacy.hold-placed"):
    """Without `about` for everybody; without `purposes` for all of them."""

    hold: Slug
    about: About | None = None
    purposes: Annotated[tuple[Purpose, ...], Field(max_length=20)] = ()
    matter: Title
    reason: Text
    by: Person


class HoldReleased(Event, name="privacy.hold-released"):
    hold: Slug
    by: Person
    reason: Text


class RetentionSwept(Event, name="privacy.retention-swept"):
    """What fell due was looked at; `proposed` keys were put forward to be destroyed."""

    due_at: Instant
    document: Slug
    proposed: Count


class KeysTurnOrdered(Event, name="privacy.keys-turn-ordered"):
    """`end_previous`: what was wrapped before is to be useless at once."""

    order: Slug
    by: Person
    reason: Text
    end_previous: bool


class KeysTurned(Event, name="privacy.keys-turned"):
    """Every key is wrapped anew, in `epoch`; the keys of `ended` are destroyed."""

    order: Slug
    epoch: EpochName
    ended: Annotated[tuple[EpochName, ...], Field(max_length=1_000)] = ()

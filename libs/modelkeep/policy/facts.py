"""The facts: how a path reaches one, what is missing, how large they may be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import TypeAlias, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.errors import Invalid

MAX_BYTES = 256 * 1024
MAX_ITEMS = 1_000
# Declared, so that the cost of a rule is known before any fact is seen.
FEWER_ITEMS = {
    "actor.roles": 64,
    "approvals": 64,
    "approvals[].roles": 64,
    "evidence.metrics": 256,
    "evidence.validated": 256,
    "model.approved_uses": 64,
    "model.developers": 64,
    "version.signed_by": 64,
}
FEWEST_ITEMS = min(FEWER_ITEMS.values())
# Beyond any measure; so small that no rule's arithmetic can reach infinity.
LARGEST_DOUBLE = 1e30
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
EVERY_LIST = attrgetter(
    "approvals",
    "actor.roles",
    "evidence.features",
    "evidence.metrics",
    "evidence.validated",
    "model.approved_uses",
    "model.developers",
    "version.signed_by",
)
MAP_KEY = re.compile(r"['\"]([A-Za-z0-9_-]{1,64})['\"]\]")

DESCRIPTOR_DIGEST = (
    "sha256:" + hashlib.sha256(Facts.DESCRIPTOR.file.serialized_pb).hexdigest()
)


class Kind(Enum):
    """What stands at the end of a path."""

    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    TIMESTAMP = "timestamp"
    MESSAGE = "message"
    LIST = "list"
    MAP = "map"


PLAIN = (Kind.BOOL, Kind.INT, Kind.DOUBLE, Kind.STRING)


class Gap(Enum):
    """Why there is no value: it is absent, or NaN, infinite, or out of the calendar."""

    MISSING = "missing"
    UNUSABLE = "unusable"


Value: TypeAlias = "bool | int | float | str | Message | Gap | list[Value]"

LEAVES = {
    "google.protobuf.BoolValue": Kind.BOOL,
    "google.protobuf.DoubleValue": Kind.DOUBLE,
    "google.protobuf.Int64Value": Kind.INT,
    "google.protobuf.StringValue": Kind.STRING,
    "google.protobuf.Timestamp": Kind.TIMESTAMP,
}


@dataclass(frozen=True)
class Hop:
    """One step; `each` follows every item of a list, `key` picks one of a map."""

    field: str
    each: bool = False
    key: str | None = None


@dataclass(frozen=True)
class Path:
    """`evidence.psi_max`, `evidence.features[].psi`, `evidence.metrics['auc']`."""

    text: str
    hops: tuple[Hop, ...]
    kind: Kind
    direct: tuple[str, ...] = ()  # the fields' names, if there are no lists or keys

    def read(self, facts: Facts) -> Value:
        """Give the value, or the values where the path passes through a list."""
        if self.kind not in PLAIN or not self.direct:
            return follow(facts, self.hops, self.kind)
        # Most paths are fields of fields, and read on every evaluation.
        at: Message = facts
        for name in self.direct:
            if not at.HasField(name):
                return Gap.MISSING
            at = getattr(at, name)
        value: Value = at.value  # type: ignore[attr-defined] # a wrapper has one
        return finite(value) if self.kind is Kind.DOUBLE else value


def follow(message: Message, hops: tuple[Hop, ...], kind: Kind) -> Value:  # noqa: PLR0911 - one answer for each kind
    for n, hop in enumerate(hops):
        if hop.each:
            items = getattr(message, hop.field)
            rest = hops[n + 1 :]
            return [follow(item, rest, kind) for item in items] if rest else list(items)
        if hop.key is not None:
            named = getattr(message, hop.field)
            return finite(named[hop.key]) if hop.key in named else Gap.MISSING
        if kind is Kind.LIST and n == len(hops) - 1:
            return list(getattr(message, hop.field))
        if not message.HasField(hop.field):
            return Gap.MISSING
        message = getattr(message, hop.field)
    if kind is Kind.TIMESTAMP:
        return message if is_moment(message) else Gap.UNUSABLE
    if kind is Kind.MESSAGE:
        return message
    value: Value = message.value  # type: ignore[attr-defined] # a wrapper has one
    return finite(value) if kind is Kind.DOUBLE else value


def finite(value: Value) -> Value:
    if isinstance(value, float) and not abs(value) <= LARGEST_DOUBLE:
        return Gap.UNUSABLE
    return value


def is_moment(message: Message) -> bool:
    """Whether a Timestamp lies in the years 1 to 9999, as its format demands."""
    stamp = cast("Timestamp", message)
    return FIRST_SECOND <= stamp.seconds <= LAST_SECOND and 0 <= stamp.nanos < 10**9


def gap(value: Value) -> Gap | None:
    """Give the first gap in a value, if there is one."""
    if isinstance(value, Gap):
        return value
    if isinstance(value, list):
        return next((found for item in value if (found := gap(item))), None)
    return None


def path(text: str) -> Path:
    """Raise KeyError, saying which step is not there, when the schema has no such."""
    hops: list[Hop] = []
    at: Descriptor | None = Facts.DESCRIPTOR
    kind = Kind.MESSAGE
    for step in text.split("."):
        name, _, suffix = step.partition("[")
        field = at.fields_by_name.get(name) if at is not None else None
        if field is None:
            raise KeyError(f"{text}: there is no {name!r}")
        hop, kind, at = enter(field, suffix, text)
        hops.append(hop)
    plain = not any(hop.each or hop.key is not None for hop in hops)
    direct = tuple(hop.field for hop in hops) if plain else ()
    return Path(text, tuple(hops), kind, direct)


def enter(
    field: FieldDescriptor, suffix: str, text: str
) -> tuple[Hop, Kind, Descriptor | None]:
    target = field.message_type
    if target is not None and target.GetOptions().map_entry:
        if not suffix:
            return Hop(field.name), Kind.MAP, None
        if (key := MAP_KEY.fullmatch(suffix)) is None:
            raise KeyError(f"{text}: a key is letters, digits, - and _ in quotes")
        return Hop(field.name, key=key[1]), Kind.DOUBLE, None
    if field.is_repeated:
        if suffix == "]":
            kind = Kind.STRING if target is None else Kind.MESSAGE
            return Hop(field.name, each=True), kind, target
        return Hop(field.name), Kind.LIST, None
    if suffix:
        raise KeyError(f"{text}: {field.name!r} is not a list")
    leaf = LEAVES.get(target.full_name) if target is not None else None
    return Hop(field.name), leaf or Kind.MESSAGE, None if leaf else target


def most_items(text: str) -> int:
    """How many a list or map may hold, by its path without the last []."""
    return FEWER_ITEMS.get(text, MAX_ITEMS)


def bounded(facts: Facts) -> Facts:
    """Raise Invalid for facts that are larger than what rules were costed for."""
    if (size := facts.ByteSize()) > MAX_BYTES:
        raise Invalid.field("facts", f"are {size} bytes; {MAX_BYTES} are allowed")
    return _counted(facts)


def from_bytes(stored: bytes) -> Facts:
    """Read facts as they are kept; raise Invalid for others, and for oversize ones."""
    if (size := len(stored)) > MAX_BYTES:
        raise Invalid.field("facts", f"are {size} bytes; {MAX_BYTES} are allowed")
    try:
        facts = Facts.FromString(stored)
    except DecodeError:
        raise Invalid.field("facts", "cannot be read") from None
    # An item takes two bytes at least: so few hold no list that is too long.
    return facts if size < 2 * FEWEST_ITEMS else _counted(facts)


def _counted(facts: Facts) -> Facts:
    if few(facts):
        return facts
    for name, items in lists(facts):
        if len(items) > most_items(name):
            raise Invalid.field(
                name, f"has {len(items)} items; {most_items(name)} are allowed"
            )
    return facts


def few(facts: Facts) -> bool:
    """Whether no list is longer than the shortest allowed, which is so of most."""
    if max(map(len, EVERY_LIST(facts))) > FEWEST_ITEMS:
        return False
    return max([len(one.roles) for one in facts.approvals], default=0) <= FEWEST_ITEMS


def lists(facts: Facts) -> list[tuple[str, Sized]]:
    evidence, model, approvals = facts.evidence, facts.model, facts.approvals
    return [
        ("actor.roles", facts.actor.roles),
        ("approvals", approvals),
        ("evidence.features", evidence.features),
        ("evidence.metrics", evidence.metrics),
        ("evidence.validated", evidence.validated),
        ("model.approved_uses", model.approved_uses),
        ("model.developers", model.developers),
        ("version.signed_by", facts.version.signed_by),
        *[("approvals[].roles", approval.roles) for approval in approvals],
    ]


def from_document(document: Mapping[str, object]) -> Facts:
    """Read facts from plain data, as JSON would carry them; raise Invalid.

    >>> from_document({"model": {"tier": 1}}).model.tier.value
    1
    """
    try:
        return json_format.ParseDict(dict(document), Facts())
    except (json_format.ParseError, ValueError, TypeError) as refused:
        raise Invalid.field("facts", str(refused)) from None


def to_document(facts: Facts) -> dict[str, object]:
    return dict(json_format.MessageToDict(facts, preserving_proto_field_name=True))


def digest(stored: bytes) -> str:
    return "sha256:" + hashlib.sha256(stored).hexdigest()


def stored_form(facts: Facts) -> bytes:
    """Give the bytes that are hashed and kept; maps are in key order."""
    return facts.SerializeToString(deterministic=True)

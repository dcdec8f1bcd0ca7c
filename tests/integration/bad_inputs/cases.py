"""Bad inputs made from good ones, by the descriptors: no RPC is forgotten.

A service's module (`bad_inputs/<service>.py`) says what a good request is:

    SERVICE = "inventory"            the service's name, and
    NEEDS = ("inventory",)           which services must run for it
    DESCRIPTOR                       its ServiceDescriptor
    def prepare(served) -> None      make the world the good requests speak of
    GOOD: Sequence[Good]             one for every RPC
    MORE: Sequence[Bad] = ()         what no descriptor knows, a stale digest for one
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

INVALID: Final = frozenset({grpc.StatusCode.INVALID_ARGUMENT})
ABSENT: Final = frozenset(
    {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION}
)
TOO_LONG: Final = "x" * 500_000
ENVELOPE: Final = ("request_id", "expected_revision", "effective_at")


@dataclass(frozen=True)
class Good:
    """A request that would be answered. `about` names the field that says which thing
    it is about: another value there is unknown, and another tenant's too. `required`
    are the fields it cannot do without.
    """

    rpc: str
    request: Message
    roles: tuple[str, ...]
    about: str = ""
    required: tuple[str, ...] = ()
    subject: str = ""


@dataclass(frozen=True)
class Bad:
    """A request that must be refused, how, and which field must be named."""

    rpc: str
    what: str
    request: Message
    roles: tuple[str, ...]
    codes: frozenset[grpc.StatusCode]
    field: str = ""
    tenant: str = "main"
    subject: str = ""


def bad_ones(good: Good) -> Iterator[Bad]:
    yield from _missing(good)
    yield from _unknown(good)
    for field in good.request.DESCRIPTOR.fields:
        if field.is_repeated:
            continue
        yield from _of_field(good, cast("FieldDescriptor", field))


def _bad(
    good: Good,
    what: str,
    request: Message,
    codes: frozenset[grpc.StatusCode],
    field: str = "",
    tenant: str = "main",
) -> Bad:
    return Bad(good.rpc, what, request, good.roles, codes, field, tenant, good.subject)


def _missing(good: Good) -> Iterator[Bad]:
    for name in good.required:
        request = copy.deepcopy(good.request)
        request.ClearField(name)
        yield _bad(good, f"{name} missing", request, INVALID, name)


def _unknown(good: Good) -> Iterator[Bad]:
    if not good.about:
        return
    request = copy.deepcopy(good.request)
    setattr(request, good.about, _stranger(getattr(request, good.about)))
    yield _bad(good, f"unknown {good.about}", request, ABSENT)
    yield _bad(
        good, "another tenant's", copy.deepcopy(good.request), ABSENT, tenant="other"
    )


def _stranger(known: str) -> str:
    """Another value of the same form: a digest stays a digest, an id an id."""
    kind, colon, digits = known.rpartition(":")
    table = str.maketrans("0123456789abcdef", "123456789abcdef0")
    swapped = kind + colon + digits.translate(table)
    return swapped if any(c.isdigit() for c in known) else "no-such-thing"


def _of_field(good: Good, field: FieldDescriptor) -> Iterator[Bad]:
    name = field.name
    if name in ENVELOPE and name != "request_id":
        return
    if name == "request_id":
        request = copy.deepcopy(good.request)
        request.request_id = "not-a-uuid"  # type: ignore[attr-defined]  # every write has one
        yield _bad(good, "request_id is no UUID", request, INVALID, name)
    elif field.enum_type is not None:
        yield from _set(good, field, 9_999, "unknown enum")
    elif field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            request = copy.deepcopy(good.request)
            getattr(request, name).seconds = 10**15
            yield _bad(good, f"{name} in no year", request, INVALID, name)
    elif field.type == FieldDescriptor.TYPE_STRING:
        yield from _set(good, field, TOO_LONG, "too long")
    elif field.type in {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT}:
        yield from _set(good, field, float("nan"), "NaN")
        yield from _set(good, field, float("inf"), "infinite")


def _set(good: Good, field: FieldDescriptor, value: object, what: str) -> Iterator[Bad]:
    request = copy.deepcopy(good.request)
    setattr(request, field.name, value)
    yield _bad(good, f"{field.name} {what}", request, INVALID, field.name)

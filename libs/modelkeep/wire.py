"""Messages to plain values and back, by their descriptors: no RPC does it by hand.

A request becomes a dict of Python values whose keys are its field names, and pydantic
checks that dict as a command. Absent is absent: an empty string, an unset message and
an UNSPECIFIED enum are left out, so a required field that is missing is named as such.
Enum values are spelled as in the log: `TIER_SOURCE_DERIVED` is "derived".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ValidationError

from modelkeep.errors import Invalid, Violation

M = TypeVar("M", bound=Message)
B = TypeVar("B", bound=BaseModel)

ENVELOPE = frozenset({"request_id", "expected_revision", "effective_at"})
"""What every write carries beside its command."""

NAMED = 10
"""Fields named in one refusal, at most: it travels in a header."""

_TIMESTAMP = Timestamp.DESCRIPTOR.full_name
_DURATION = Duration.DESCRIPTOR.full_name


def values(
    message: Message, *, skip: frozenset[str] = frozenset()
) -> dict[str, object]:
    """Read a message. Raises Invalid, naming the field, for an unknown enum value or an
    impossible time.
    """
    readers, zeros = _readers(message.DESCRIPTOR)
    found = {name: zero for name, zero in zeros if name not in skip}
    for field, value in message.ListFields():
        name, read = readers[field.number]
        if name not in skip:
            found[name] = value if read is None else read(value)
    return found


def parse(model: type[B], message: Message, *, skip: frozenset[str] = ENVELOPE) -> B:
    """Check a request as `model`. Raises Invalid with every field that is wrong."""
    return checked(model, values(message, skip=skip))


def checked(model: type[B], found: Mapping[str, object]) -> B:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise Invalid(
            *(
                Violation(".".join(str(part) for part in e["loc"]), e["msg"])
                for e in error.errors(include_url=False, include_input=False)[:NAMED]
            )
        ) from None


def fill(message: M, found: object) -> M:
    """Write a row (a dataclass, a model or a mapping) into a message, field by field.

    Keys that the message does not have are not for this caller and are left out.
    """
    descriptor = message.DESCRIPTOR
    for name, value in _items(found):
        field = descriptor.fields_by_name.get(name)
        if field is not None and value is not None:
            _set(message, cast("FieldDescriptor", field), value)
    return message


def _items(found: object) -> Iterable[tuple[str, object]]:
    if isinstance(found, Mapping):
        return found.items()
    if isinstance(found, BaseModel):
        return [(name, getattr(found, name)) for name in type(found).model_fields]
    if is_dataclass(found):
        return [(f.name, getattr(found, f.name)) for f in fields(found)]
    if isinstance(found, tuple) and hasattr(found, "_asdict"):
        return found._asdict().items()  # type: ignore[no-any-return]  # a named tuple
    raise TypeError(f"{type(found).__name__} has no fields")


def _set(message: Message, field: FieldDescriptor, value: object) -> None:
    if _is_map(field):
        target = getattr(message, field.name)
        value_field = _map_value(field)
        for key, item in _items(value):
            if value_field.message_type is None:
                target[key] = _scalar(value_field, item)
            else:
                _copy(target[key], item)
    elif field.is_repeated:
        target = getattr(message, field.name)
        for item in value:  # type: ignore[attr-defined]  # a repeated field takes a sequence
            if field.message_type is None:
                target.append(_scalar(field, item))
            else:
                _copy(target.add(), item)
    elif field.message_type is not None:
        target = getattr(message, field.name)
        target.SetInParent()
        _copy(target, value)
    else:
        setattr(message, field.name, _scalar(field, value))


def _copy(target: Message, value: object) -> None:
    if isinstance(target, Timestamp):
        target.FromDatetime(value)  # type: ignore[arg-type]  # a row's instant
    elif isinstance(target, Duration):
        target.FromTimedelta(value)  # type: ignore[arg-type]  # a row's span
    elif isinstance(value, Message):
        target.CopyFrom(value)
    elif target.DESCRIPTOR.full_name.startswith("google.protobuf.") and hasattr(
        target, "value"
    ):
        target.value = value
    else:
        fill(target, value)


def _scalar(field: FieldDescriptor, value: object) -> object:
    if field.enum_type is not None and isinstance(value, str):
        return _enum_numbers(field.enum_type)[value]
    return value


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def _map_value(field: FieldDescriptor) -> FieldDescriptor:
    entry = cast("Descriptor", field.message_type)
    return entry.fields_by_name["value"]


def _enum_prefix(enum: EnumDescriptor) -> str:
    words = "".join(f"_{c}" if c.isupper() else c for c in enum.name).strip("_")
    return words.upper() + "_"


@cache
def _enum_words(enum: EnumDescriptor) -> dict[int, str]:
    prefix = _enum_prefix(enum)
    return {v.number: v.name.removeprefix(prefix).lower() for v in enum.values}


@cache
def _enum_numbers(enum: EnumDescriptor) -> dict[str, int]:
    return {word: number for number, word in _enum_words(enum).items()}


# --- reading -----------------------------------------------------------------------

Read = Callable[[object], object]


@cache
def _readers(
    descriptor: Descriptor,
) -> tuple[dict[int, tuple[str, Read | None]], tuple[tuple[str, object], ...]]:
    """By number, each field's name and how it is read (None: as it is); and the zeros
    and falses, which say something though the wire does not carry them.
    """
    zeros = tuple(
        (field.name, field.default_value)
        for field in descriptor.fields
        if not field.has_presence and not field.is_repeated and _counts(field)
    )
    readers = {
        field.number: (field.name, _reader(field)) for field in descriptor.fields
    }
    return readers, zeros


def _counts(field: FieldDescriptor) -> bool:
    return field.enum_type is None and not isinstance(field.default_value, str | bytes)


def _reader(field: FieldDescriptor) -> Read | None:
    if _is_map(field):
        one = _one(_map_value(field), field.name) or _as_it_is
        return lambda found: {k: one(found[k]) for k in found}  # type: ignore[attr-defined,index]  # a map container
    read = _one(field, field.name)
    if not field.is_repeated:
        return read
    if read is None:
        return cast("Read", tuple)
    return lambda found: tuple(map(read, found))  # type: ignore[call-overload]  # likewise


def _as_it_is(value: object) -> object:
    return value


def _one(field: FieldDescriptor, name: str) -> Read | None:
    if field.enum_type is not None:
        return _enum_reader(field.enum_type, name)
    if field.message_type is None:
        return None
    kind = field.message_type.full_name
    if kind == _TIMESTAMP:
        return lambda value: _instant(name, value)
    if kind == _DURATION:
        return lambda value: _span(name, value)
    if kind.startswith("google.protobuf.") and kind.endswith("Value"):
        return lambda value: value.value  # type: ignore[attr-defined]  # a wrapper
    return lambda value: _within(name, cast("Message", value))


def _enum_reader(enum: EnumDescriptor, name: str) -> Read:
    words = _enum_words(enum)

    def read(value: object) -> object:
        word = words.get(value) if isinstance(value, int) else None
        if word is None or value == 0:
            raise Invalid.field(name, f"{value} is not one of its values")
        return word

    return read


def _within(name: str, message: Message) -> dict[str, object]:
    try:
        return values(message)
    except Invalid as error:
        named = (Violation(f"{name}.{at}", said) for at, said in error.violations)
        raise Invalid(*named) from None


def _instant(name: str, value: object) -> datetime:
    try:
        return value.ToDatetime(tzinfo=UTC)  # type: ignore[attr-defined,no-any-return]  # a Timestamp
    except (ValueError, OverflowError):
        raise Invalid.field(name, "is not a time between years 1 and 9999") from None


def _span(name: str, value: object) -> timedelta:
    try:
        return value.ToTimedelta()  # type: ignore[attr-defined,no-any-return]  # a Duration
    except (ValueError, OverflowError):
        raise Invalid.field(name, "is not a duration") from None

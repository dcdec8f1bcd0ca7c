"""Messages to plain values and back, by their descriptors: no RPC does it by hand.

A request becomes a dict of Python values whose keys are its field names, and pydantic
checks that dict as a command. Absent is absent: an empty string, an unset message and
an UNSPECIFIED enum are left out, so a required field that is missing is named as such.
Enum values are spelled as in the log: `TIER_SOURCE_DERIVED` is "derived".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ValidationError

from modelkeep.bounds import MAX_LISTED
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
    if isinstance(found, Mapping):
        writers = _writers(message.DESCRIPTOR)
        for name, value in found.items():
            if value is not None and name in writers:
                writers[name](message, value)
        return message
    for name, write in _fits(cast("Hashable", type(found)), message.DESCRIPTOR):
        value = getattr(found, name)
        if value is not None:
            write(message, value)
    return message


Write = Callable[[Message, object], None]


@cache
def _fits(row: Hashable, descriptor: Descriptor) -> tuple[tuple[str, Write], ...]:
    """The fields that a row and a message have in common, and how each is written."""
    writers = _writers(descriptor)
    return tuple(
        (name, writers[name]) for name in _names(cast("type", row)) if name in writers
    )


def _names(row: type) -> Iterable[str]:
    if issubclass(row, BaseModel):
        return row.model_fields
    if is_dataclass(row):
        return [field.name for field in fields(row)]
    if issubclass(row, tuple) and hasattr(row, "_fields"):
        return cast("tuple[str, ...]", row._fields)  # a named tuple
    raise TypeError(f"{row.__name__} has no fields")


@cache
def _writers(descriptor: Descriptor) -> dict[str, Write]:
    return {field.name: _writer(field) for field in descriptor.fields}


def _writer(field: FieldDescriptor) -> Write:
    name = field.name
    if _is_map(field):
        return _map_writer(name, _map_value(field))
    if field.message_type is None:
        return _scalar_writer(field)
    copy = _copier(field.message_type)
    if field.is_repeated:

        def each(message: Message, value: object) -> None:
            into = getattr(message, name)
            for item in cast("Iterable[object]", value):
                copy(into.add(), item)

        return each

    def one(message: Message, value: object) -> None:
        target = getattr(message, name)
        target.SetInParent()
        copy(target, value)

    return one


def _map_writer(name: str, field: FieldDescriptor) -> Write:
    copy = None if field.message_type is None else _copier(field.message_type)
    spell = _speller(field)

    def write(message: Message, value: object) -> None:
        into = getattr(message, name)
        for key, item in cast("Mapping[object, object]", value).items():
            if copy is None:
                into[key] = spell(item)
            else:
                copy(into[key], item)

    return write


def _scalar_writer(field: FieldDescriptor) -> Write:
    name, spell = field.name, _speller(field)
    if field.is_repeated:

        def each(message: Message, value: object) -> None:
            getattr(message, name).extend(map(spell, cast("Iterable[object]", value)))

        return each
    if field.enum_type is None:
        return lambda message, value: setattr(message, name, value)
    return lambda message, value: setattr(message, name, spell(value))


def _speller(field: FieldDescriptor) -> Callable[[object], object]:
    """How a value is put: an enum's word as its number, anything else as it is."""
    if field.enum_type is None:
        return lambda value: value
    numbers = _enum_numbers(field.enum_type)
    return lambda value: numbers[value] if isinstance(value, str) else value


@cache
def _copier(descriptor: Descriptor) -> Write:
    """How a message is filled from one value."""
    name = descriptor.full_name
    if name == _TIMESTAMP:
        return lambda target, value: target.FromDatetime(value)  # type: ignore[attr-defined]  # a row's instant
    if name == _DURATION:
        return lambda target, value: target.FromTimedelta(value)  # type: ignore[attr-defined]  # a row's span
    wraps = name.startswith("google.protobuf.") and "value" in descriptor.fields_by_name

    def copy(target: Message, value: object) -> None:
        if isinstance(value, Message):
            target.CopyFrom(value)
        elif wraps:
            target.value = value  # type: ignore[attr-defined]  # a wrapper
        else:
            fill(target, value)

    return copy


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
        # Sorted: protobuf hands a map out in any order, and a retry must hash the same.
        return lambda found: {k: one(found[k]) for k in sorted(found)}  # type: ignore[call-overload,index]  # a map container
    read = _one(field, field.name)
    if not field.is_repeated:
        return read
    if read is None:
        return cast("Read", tuple)
    return lambda found: tuple(map(read, _few(field.name, found)))


def _few(name: str, found: object) -> Iterable[object]:
    """Refuse a long list before any of it is touched: an empty message of two bytes on
    the wire becomes hundreds of bytes here.
    """
    listed = cast("Sequence[object]", found)
    if len(listed) > MAX_LISTED:
        raise Invalid.field(name, f"has more than {MAX_LISTED} entries")
    return listed


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

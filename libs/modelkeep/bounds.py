"""What any question must be, whatever it asks: finite, known, of a sane length.

Commands are checked field by field by their own types; a query's fields have none, so
this looks at the message itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from google.protobuf.message import Message

from modelkeep.errors import Invalid, Violation

MAX_TEXT: Final = 4_000
MAX_LISTED: Final = 10_000


def check(message: Message) -> None:
    """Raises Invalid, naming every field that is too long, not finite or unknown."""
    found = tuple(_violations(message, ""))
    if found:
        raise Invalid(*found)


def _violations(message: Message, path: str) -> Iterator[Violation]:
    for field, value in message.ListFields():
        name = f"{path}{field.name}"
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            if len(value) > MAX_LISTED:
                yield Violation(name, f"has more than {MAX_LISTED} entries")
            continue
        items = value if field.is_repeated else (value,)
        if len(items) > MAX_LISTED:
            yield Violation(name, f"has more than {MAX_LISTED} entries")
            continue
        known = None if field.enum_type is None else field.enum_type.values_by_number
        for item in items:
            if isinstance(item, Message):
                yield from _violations(item, f"{name}.")
            elif isinstance(item, str) and len(item) > MAX_TEXT:
                yield Violation(name, f"is longer than {MAX_TEXT} characters")
            elif isinstance(item, float) and not math.isfinite(item):
                yield Violation(name, "is not a finite number")
            elif known is not None and item not in known:
                yield Violation(name, f"{item} is not one of its values")

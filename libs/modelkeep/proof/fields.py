"""An event's JSON, read field by field by somebody who trusts none of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple, cast

from modelkeep.proof.dsse import read_object
from modelkeep.proof.errors import Malformed
from modelkeep.proof.times import instant

LARGEST: Final = 1 << 62


class Person(NamedTuple):
    """Neither half is anybody alone: two issuers may know a `kim` each."""

    issuer: str
    subject: str

    def __str__(self) -> str:
        return self.subject


class Fields:
    """An object. Each reader names the field and raises Malformed when it is not so."""

    def __init__(self, found: Mapping[str, object]) -> None:
        self._found = found

    @classmethod
    def read(cls, raw: bytes, what: str) -> Fields:
        return cls(read_object(raw, what))

    def text(self, name: str) -> str:
        value = self._found.get(name)
        if not isinstance(value, str):
            raise Malformed(f"{name} is no text")
        return value

    def word(self, name: str) -> str | None:
        """Return a text, None where nothing is said."""
        return None if self._found.get(name) is None else self.text(name)

    def number(self, name: str) -> float:
        value = self._found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Malformed(f"{name} is no number")
        if not -LARGEST < value < LARGEST:  # 1e999 is infinite, and JSON
            raise Malformed(f"{name} is too large a number")
        return value

    def count(self, name: str) -> int:
        number = self.number(name)
        if not isinstance(number, int) or not 0 <= number < LARGEST:
            raise Malformed(f"{name} is no whole number")
        return number

    def names(self) -> list[str]:
        return list(self._found)

    def share(self, name: str) -> float | None:
        return None if self._found.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """Return a yes or no; nothing said is no."""
        value = self._found.get(name, False)
        if not isinstance(value, bool):
            raise Malformed(f"{name} is no yes or no")
        return value

    def moment(self, name: str) -> datetime:
        return instant(self.text(name), name)

    def end(self, name: str) -> datetime | None:
        return None if self._found.get(name) is None else self.moment(name)

    def inner(self, name: str) -> Fields:
        return _object(self._found.get(name), name)

    def part(self, name: str) -> Fields | None:
        return None if self._found.get(name) is None else self.inner(name)

    def many(self, name: str) -> list[Fields]:
        """Return a list of objects; nothing said is none."""
        return [_object(one, name) for one in self._list(name)]

    def words(self, name: str) -> list[str]:
        values = self._list(name)
        if not all(isinstance(one, str) for one in values):
            raise Malformed(f"{name} is no list of texts")
        return cast("list[str]", values)

    def person(self, name: str) -> Person:
        said = self.inner(name)
        return Person(said.text("issuer"), said.text("subject"))

    def _list(self, name: str) -> list[object]:
        values = self._found.get(name) or []
        if not isinstance(values, list):
            raise Malformed(f"{name} is no list")
        return values


def _object(value: object, name: str) -> Fields:
    if not isinstance(value, dict):
        raise Malformed(f"{name} is no object")
    return Fields(cast("dict[str, object]", value))

"""What an event is: a frozen, named, versioned fact, and how it becomes bytes and back.

The name is explicit and never a class path: moving a class must not break history.
Every shape ever written stays readable. An optional field needs only a default; any
other change of shape raises `version` and adds an upcaster, a pure dict → dict.

    class ModelRegistered(Event, name="inventory.model-registered", version=2): ...

    @upcaster("inventory.model-registered", 1)
    def _v1(data: Data) -> Data: ...
"""

from __future__ import annotations

import json
from collections.abc import Callable, KeysView
from typing import TYPE_CHECKING, ClassVar, TypeAlias, cast

from pydantic import BaseModel, ConfigDict

from modelkeep.errors import Corrupt

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Data: TypeAlias = "dict[str, Json]"

_events: dict[str, type[Event]] = {}
_upcasters: dict[tuple[str, int], Callable[[Data], Data]] = {}


class Spoken(BaseModel):
    """What is said in fields: `dict(said)` and `**said` take them as they are.

    Without `keys`, `dict` asks pydantic for them, in vain and at some cost.
    """

    if not TYPE_CHECKING:  # where pydantic's own plugin knows better

        def keys(self) -> KeysView[str]:
            return self.__dict__.keys()

        def __getitem__(self, name: str) -> object:
            return self.__dict__[name]


class Event(Spoken):
    """Something that happened, in the past tense. Equal fields, equal bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    event_name: ClassVar[str]
    event_version: ClassVar[int]

    def __init_subclass__(cls, *, name: str | None = None, version: int = 1) -> None:
        super().__init_subclass__()
        if name is None:
            return
        if name in _events:
            raise TypeError(f"two events are called {name}")
        cls.event_name, cls.event_version = name, version
        _events[name] = cls


def upcaster(name: str, version: int) -> Callable[[Callable[[Data], Data]], None]:
    """Register how `version` of `name` becomes `version + 1`."""

    def register(upcast: Callable[[Data], Data]) -> None:
        if (name, version) in _upcasters:
            raise TypeError(f"two upcasters for {name} v{version}")
        _upcasters[name, version] = upcast

    return register


def known_events() -> dict[str, type[Event]]:
    """Every event class whose module has been imported, by name."""
    return dict(_events)


def known_upcasters() -> frozenset[tuple[str, int]]:
    return frozenset(_upcasters)


def encode(event: Event) -> bytes:
    return event.__pydantic_serializer__.to_json(event)


def decode(name: str, version: int, data: bytes) -> Event:
    """Read a stored event of any version ever written.

    Raises Corrupt when the name or version is unknown or the bytes do not fit: a
    reader that cannot understand the log must stop, not guess.
    """
    cls = _events.get(name)
    if cls is None:
        raise Corrupt(f"nothing here knows the event {name}")
    try:
        if version == cls.event_version:
            return cls.__pydantic_validator__.validate_json(data)  # type: ignore[no-any-return]  # pydantic-core is typed for all models at once
        return cls.model_validate(_upcast(name, version, cls.event_version, data))
    except (LookupError, TypeError, ValueError) as error:
        # ValidationError is a ValueError; the others an upcaster's, of such bytes.
        raise Corrupt(f"{name} v{version} cannot be read: {error}") from error


def _upcast(name: str, version: int, current: int, data: bytes) -> Data:
    if version > current:
        raise Corrupt(f"{name} v{version} is newer than this program (v{current})")
    body = cast("Data", json.loads(data))
    for step in range(version, current):
        upcast = _upcasters.get((name, step))
        if upcast is None:
            raise Corrupt(f"{name} v{step} has no upcaster")
        body = upcast(body)
    return body

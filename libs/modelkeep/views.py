"""Projections that answer "as of": rows, checkpoint and history move together.

A view is a name, a row type and pure functions from events to rows. All views of a
service share one SQLite file beside the store; it is disposable and is rebuilt into a
fresh file that is swapped in. Rows are scoped by tenant here, so that no view or query
can forget to.

Give a key's events one stream, or make `apply` indifferent to the order in which events
of different streams arrive: a rebuild elsewhere may see another interleaving.

Files: `rowstore.py` is the SQL, `views.py` what a service declares, `viewset.py` what
runs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, cast
from uuid import UUID

from pydantic import TypeAdapter

from modelkeep.events.base import Event, decode
from modelkeep.events.types import Person
from modelkeep.store.port import Recorded

E = TypeVar("E", bound=Event)
R = TypeVar("R")

LOADED: Final = 512
"""Rows of a view that are remembered as they were last read."""


class Fact(NamedTuple):
    """An event with its surroundings, as views and reactors see it.

    `recorded_at` is absent on purpose: it is evidence, and no row may hold it. Rows may
    hold `id`, `version` and the clocks, never `position`: engines differ in it.
    """

    event: Event
    id: UUID
    stream: str
    version: int
    position: int
    tenant: str
    known_at: datetime
    effective_at: datetime
    actor: Person
    roles: tuple[str, ...]
    command_id: str


def fact(recorded: Recorded) -> Fact:
    """Raises Corrupt when nobody here can read the event."""
    tenant, known_at, effective_at, actor, roles, command_id = _around(
        recorded.metadata
    )
    return Fact(
        decode(recorded.name, recorded.schema_version, recorded.data),
        recorded.uuid,
        recorded.stream,
        recorded.version,
        recorded.position,
        tenant,
        known_at,
        effective_at,
        actor,
        roles,
        command_id,
    )


@lru_cache(maxsize=64)  # the events of one append share it
def _around(
    metadata: bytes,
) -> tuple[str, datetime, datetime, Person, tuple[str, ...], str]:
    meta = cast("dict[str, str]", json.loads(metadata.decode()))
    known = meta["known_at"]
    effective = meta.get("effective_at", known)
    known_at = _instant(known)
    return (
        meta.get("tenant", ""),
        known_at,
        known_at if effective == known else _instant(effective),
        _person(meta.get("actor_issuer", ""), meta.get("actor_subject", "")),
        _roles(meta.get("actor_roles", "")),
        meta.get("command_id", ""),
    )


@lru_cache(maxsize=1_024)
def _person(issuer: str, subject: str) -> Person:
    return Person.model_construct(issuer=issuer, subject=subject)


@lru_cache(maxsize=1_024)
def _roles(text: str) -> tuple[str, ...]:
    return tuple(role for role in text.split(",") if role)


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo is UTC else instant.astimezone(UTC)


class Rows(Protocol[R]):
    """A view's current rows of one tenant, for `apply`. Rows are immutable values."""

    def get(self, key: str) -> R | None: ...
    def put(self, key: str, row: R) -> None: ...
    def delete(self, key: str) -> None: ...


Apply = Callable[[Event, Fact, Rows[object]], None]


class AnyView:
    """A view whose row type does not matter here: see View."""

    def __init__(self, name: str, row: type, version: int) -> None:
        self.name, self.version = name, version
        self.applies: dict[str, Apply] = {}
        self._adapter: TypeAdapter[object] = TypeAdapter(row)
        # Reactions read the same rows again and again; rows are immutable values.
        self._loaded = lru_cache(maxsize=LOADED)(self._adapter.validate_json)

    def dump(self, row: object) -> bytes:
        return self._adapter.serializer.to_json(row)

    def load(self, body: bytes) -> object:
        return self._loaded(body)


class View(AnyView, Generic[R]):
    """Declare once, at module level; raise `version` when `apply` or the row changes.

    models = View("models", ModelRow)

    @models.on(ModelRegistered)
    def registered(event: ModelRegistered, fact: Fact, rows: Rows[ModelRow]) -> None:
        rows.put(event.model, ModelRow(...))
    """

    def __init__(self, name: str, row: type[R], *, version: int = 1) -> None:
        super().__init__(name, row, version)

    def on(
        self, event: type[E]
    ) -> Callable[
        [Callable[[E, Fact, Rows[R]], None]], Callable[[E, Fact, Rows[R]], None]
    ]:
        def register(
            apply: Callable[[E, Fact, Rows[R]], None],
        ) -> Callable[[E, Fact, Rows[R]], None]:
            if event.event_name in self.applies:
                raise TypeError(f"{self.name} applies {event.event_name} twice")
            self.applies[event.event_name] = cast("Apply", apply)
            return apply

        return register

    def load(self, body: bytes) -> R:
        return cast("R", super().load(body))


class AsOf(NamedTuple):
    """A moment of the log: everything at or before `bound` was known then.

    `bound` is compared with positions and never handed to an engine. None is now.
    """

    bound: int | None = None


NOW = AsOf()


class Reader(Protocol):
    """Views of one service as they stood at one moment, for one tenant.

    One consistent snapshot: what two calls return belongs together.
    """

    tenant: str

    def get(self, view: View[R], key: str) -> R | None: ...

    def scan(
        self,
        view: View[R],
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, R]]:
        """Return (key, row) in key order, for keys that start with `prefix` and come
        beyond `after` (exclusive).
        """

    def history(self, view: View[R], key: str) -> list[tuple[int, R | None]]:
        """Return every (since, row) of a key up to this moment; None is a deletion."""

    def changes(
        self, view: View[R], prefix: str = "", *, after: int, limit: int
    ) -> list[tuple[int, str, R | None]]:
        """Return (since, key, row) of what changed after a position, oldest first, up
        to this moment; None is a deletion. An event's changes are never torn apart, so
        there may be a few more than `limit`.
        """

    def known_until(self) -> datetime | None:
        """The latest known_at of the events at or before this moment."""

    def at(self, as_of: AsOf) -> Reader:
        """The same snapshot of the file, seen as of another moment."""

    def when(self, instant: datetime) -> AsOf:
        """The moment after everything known at `instant`, and before what came later:
        the last position before the first event whose running maximum of known_at
        exceeds it.
        """

    def other(self, tenant: str) -> Reader:
        """The same moment for another tenant: for reactors on the clock only."""

    def tenants(self, view: View[R]) -> list[str]: ...

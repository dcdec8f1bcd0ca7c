"""What is known about then: a model's facts told again in the order of the world.

Views follow the order in which facts became known. Here the facts known as of a moment
are sorted by when they were so, those beyond the moment asked about left out, and the
same views made of them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Generic, Protocol, TypeVar, cast

from modelkeep.ledger import stream_name
from modelkeep.views import AnyView, Fact, Reader, Rows, View
from modelkeep_services.inventory.views import OF_A_MODEL
from modelkeep_services.inventory.views.facts import FactRow, facts

R = TypeVar("R")


class Looks(Protocol):
    """The part of a Reader that a past told anew can answer too."""

    def get(self, view: View[R], key: str) -> R | None: ...

    def scan(
        self,
        view: View[R],
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, R]]: ...


class Told(Generic[R]):
    """One view's rows, in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, R] = {}

    def get(self, key: str) -> R | None:
        return self.rows.get(key)

    def put(self, key: str, row: R) -> None:
        self.rows[key] = row

    def delete(self, key: str) -> None:
        self.rows.pop(key, None)


class Retold:
    """Views made of some facts, in the order given."""

    def __init__(self) -> None:
        self._told: Mapping[str, Told[object]] = {v.name: Told() for v in OF_A_MODEL}

    def take(self, fact: Fact) -> None:
        for view in OF_A_MODEL:
            apply = cast("AnyView", view).applies.get(fact.event.event_name)
            if apply is not None:
                apply(fact.event, fact, cast("Rows[object]", self._told[view.name]))

    def get(self, view: View[R], key: str) -> R | None:
        return cast("R | None", self._told[view.name].get(key))

    def scan(
        self,
        view: View[R],
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, R]]:
        found = sorted(
            (key, cast("R", row))
            for key, row in self._told[view.name].rows.items()
            if key.startswith(prefix) and (after is None or key > after)
        )
        return found if limit is None else found[:limit]


def retold(read: Reader, effective_at: datetime, model: str = "") -> Retold:
    """One model's past, or every model's."""
    told = Retold()
    known: list[tuple[datetime, str, FactRow]] = [
        (row.effective_at, key, row)
        for key, row in read.scan(facts, f"{model}/" if model else "")
        if row.effective_at <= effective_at
    ]
    for _, key, row in sorted(known, key=lambda one: one[:2]):
        stream = stream_name("model", read.tenant, key.rpartition("/")[0])
        told.take(row.fact(stream, read.tenant))
    return told

"""Rows do not mind in which order streams told them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Generic, TypeVar
from uuid import UUID

from modelkeep.events.lineage import Linked, NodeRecorded, node_id
from modelkeep.events.types import Person
from modelkeep.views import Fact
from modelkeep_services.lineage.views import EdgeRow, NodeRow, linked_up, recorded

R = TypeVar("R")
THEN = datetime(2026, 1, 5, tzinfo=UTC)
LOANS = node_id("dataset", "s3", "loans")
VIEW = node_id("transform", "git", "clean")


class Kept(Generic[R]):
    """Rows in a dict."""

    def __init__(self) -> None:
        self.rows: dict[str, R] = {}

    def get(self, key: str) -> R | None:
        return self.rows.get(key)

    def put(self, key: str, row: R) -> None:
        self.rows[key] = row

    def delete(self, key: str) -> None:
        del self.rows[key]


def told(event: NodeRecorded | Linked, at: int) -> Fact:
    """By stream `at`, hours after THEN; two tell it in the same hour."""
    known = THEN + timedelta(hours=at // 2)
    who = Person(issuer="tests", subject="dana")
    stream = f"manifest-main.{at}"
    return Fact(event, UUID(int=at), stream, 0, at, "main", known, known, who, (), "c")


def test_a_node_told_by_many_streams_is_told_by_the_first() -> None:
    event = NodeRecorded(node=LOANS, kind="dataset", name="loans", namespace="s3")
    for order in permutations(range(2, 6)):
        kept: Kept[NodeRow] = Kept()
        for at in order:
            recorded(event, told(event, at), kept)
        assert kept.rows[LOANS].event_id == str(UUID(int=2))


def test_a_link_told_by_many_streams_is_told_by_the_first() -> None:
    event = Linked(source_node=LOANS, target_node=VIEW, relation="feeds")
    for order in permutations(range(2, 6)):
        kept: Kept[EdgeRow] = Kept()
        for at in order:
            linked_up(event, told(event, at), kept)
        (row,) = kept.rows.values()
        assert row.event_id == str(UUID(int=2))

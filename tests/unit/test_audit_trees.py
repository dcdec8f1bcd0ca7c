"""A tree built from the log is the one that an engine would have grown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from tests.doubles.kurrentdb import Double

from modelkeep.errors import Corrupt, NotFound
from modelkeep.home import Home
from modelkeep.proof.merkle import (
    Nodes,
    consistency_proof,
    inclusion_proof,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from modelkeep.store import open_store
from modelkeep.store.port import ANY, NewEvent, Recorded, Store
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.audit.trees import BuiltTree, leaf_of, tree_of

MANY = 700
"""Enough for complete nodes of a stored level."""


def write(store: Store, first: int, end: int) -> None:
    for at in range(first, end, 50):
        events = [
            NewEvent(
                UUID(int=n + 1),
                "inventory.model-registered",
                1,
                b'{"n":%d}' % n,
                b'{"schema_version":"1","n":"%d"}' % n,
            )
            for n in range(at, min(at + 50, end))
        ]
        store.append(f"model-main.m{at // 50 % 3}", events, expected=ANY)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "ledger.db") as opened:
        yield opened


def root(nodes: Nodes) -> tuple[int, bytes]:
    return nodes.size, root_at(nodes, nodes.size)


def test_an_engine_that_grows_a_tree_is_asked_for_it(
    store: SqliteStore, tmp_path: Path
) -> None:
    assert tree_of(Home(tmp_path), store) is store


def test_a_built_tree_is_the_grown_one(store: SqliteStore, tmp_path: Path) -> None:
    built = BuiltTree(store, store.origin, tmp_path / "leaves")
    assert built.frozen_tree().size == 0
    write(store, 0, MANY)
    assert root(built.frozen_tree()) == store.tree()
    for recorded in store.read_all():
        position = recorded.position
        assert built.leaf_index(position) == store.leaf_index(position)


def test_a_frozen_tree_does_not_grow(store: SqliteStore, tmp_path: Path) -> None:
    built = BuiltTree(store, store.origin, tmp_path / "leaves")
    write(store, 0, 300)
    before = built.frozen_tree()
    then = root(before)
    write(store, 300, MANY)
    after = built.frozen_tree()
    assert root(before) == then
    assert after.size == MANY
    proof = consistency_proof(after, 300, MANY)
    assert verify_consistency(300, then[1], MANY, root_at(after, MANY), proof)


def test_what_was_read_is_remembered(store: SqliteStore, tmp_path: Path) -> None:
    write(store, 0, 300)
    path = tmp_path / "leaves"
    BuiltTree(store, store.origin, path).frozen_tree()
    kept = path.stat().st_size
    assert kept == 300 * 40
    write(store, 300, MANY)
    again = BuiltTree(store, store.origin, path)
    assert root(again.frozen_tree()) == store.tree()


def test_a_crash_costs_what_it_cut_short(store: SqliteStore, tmp_path: Path) -> None:
    write(store, 0, 300)
    path = tmp_path / "leaves"
    BuiltTree(store, store.origin, path).frozen_tree()
    path.write_bytes(path.read_bytes()[:-7])
    again = BuiltTree(store, store.origin, path)
    assert root(again.frozen_tree()) == store.tree()
    assert path.stat().st_size == 300 * 40


def test_a_position_without_an_event_is_not_found(
    store: SqliteStore, tmp_path: Path
) -> None:
    built = BuiltTree(store, store.origin, tmp_path / "leaves")
    write(store, 0, 50)
    for position in (-1, 5, 10_000):
        with pytest.raises(NotFound):
            built.leaf_index(position)


def test_leaves_that_are_none_make_another_tree(
    store: SqliteStore, tmp_path: Path
) -> None:
    path = tmp_path / "leaves"
    path.write_bytes(b"\0" * 40)
    write(store, 0, 50)
    # It can be read; what is then signed of it is another history, and refused.
    assert root(BuiltTree(store, store.origin, path).frozen_tree()) != store.tree()


class Holed:
    """A store that leaves an event out, once."""

    def __init__(self, store: SqliteStore, version: int) -> None:
        self._store, self._version = store, version

    def read_all(self, **asked: Any) -> Iterator[Recorded]:
        for recorded in self._store.read_all(**asked):
            if (recorded.stream, recorded.version) != ("model-main.m0", self._version):
                yield recorded


@pytest.mark.parametrize("missing", [0, 60])
def test_a_log_that_is_read_with_a_hole_is_not_a_tree(
    store: SqliteStore, tmp_path: Path, missing: int
) -> None:
    path = tmp_path / "leaves"
    write(store, 0, 300)
    holed = cast("Store", Holed(store, missing))
    built = BuiltTree(holed, store.origin, path)
    for _ in range(2):
        with pytest.raises(Corrupt, match=f"where {missing} was due"):
            built.frozen_tree()
    assert root(BuiltTree(store, store.origin, path).frozen_tree()) == store.tree()


def test_kurrentdb_gets_a_tree_of_its_own(tmp_path: Path) -> None:
    """Over our double of its protocol: positions are sparse there."""
    home = Home(tmp_path).make()
    with Double() as double, open_store(double.uri) as store:
        write(store, 0, 100)
        tree = tree_of(home, store)
        assert isinstance(tree, BuiltTree)
        assert tree_of(home, store).origin == tree.origin
        nodes = tree.frozen_tree()
        assert nodes.size == 100
        for rank, recorded in enumerate(store.read_all()):
            index = tree.leaf_index(recorded.position)
            assert index == rank
            leaf = leaf_of(tree.origin, recorded)
            proof = inclusion_proof(nodes, index, 100)
            assert verify_inclusion(leaf, index, 100, proof, root_at(nodes, 100))

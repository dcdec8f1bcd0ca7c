"""A ledger is carried from engine to engine, and its proofs come along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import apsw
import pytest
from tests.contract.some import event, events
from tests.servers import postgresql

from modelkeep.errors import Corrupt, Invalid
from modelkeep.proof.merkle import consistency_proof, root_at, verify_consistency
from modelkeep.store import open_store
from modelkeep.store.moving import carry
from modelkeep.store.port import ANY, NO_STREAM
from modelkeep.store.ranked import RankedStore
from modelkeep.store.sqlite import SqliteStore

ORIGIN = "bank.example/moving"


def told(_done: int, _total: int) -> None:
    pass


def another_file(folder: Path) -> str:
    return f"sqlite:{folder / 'other.db'}"


def a_schema(_: Path) -> str:
    if postgresql.absent():
        pytest.skip(postgresql.absent())
    return postgresql.shared().uri(schema=f"moved_{uuid4().hex[:16]}")


@pytest.fixture(params=[another_file, a_schema])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RankedStore]:
    url: Callable[[Path], str] = request.param
    with open_store(url(tmp_path), origin=ORIGIN) as store:
        assert isinstance(store, RankedStore)
        yield store


@pytest.fixture
def source(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "ledger.db", origin=ORIGIN) as store:
        yield store


def live(store: RankedStore, rounds: int) -> None:
    for at in range(rounds):
        store.append(f"model-main.m{at % 3}", events(1 + at % 40), expected=ANY)
        store.append("decision-main.d", [event(data=bytes(at))], expected=ANY)


def same(one: RankedStore, other: RankedStore) -> None:
    assert one.tree() == other.tree()
    for a, b in zip(one.read_all(), other.read_all(), strict=True):
        assert a._replace(recorded_at=0) == b._replace(recorded_at=0)


def test_all_that_was_signed_of_it_still_holds(
    source: SqliteStore, target: RankedStore
) -> None:
    live(source, 40)
    size, root = source.tree()
    assert carry(source, target, told) == (size, size, root)
    same(source, target)
    target.append("model-main.m0", events(2), expected=ANY)
    nodes = target.frozen_tree()
    proof = consistency_proof(nodes, size, nodes.size)
    assert verify_consistency(size, root, nodes.size, root_at(nodes, nodes.size), proof)


def test_it_goes_on_where_it_stopped(source: SqliteStore, target: RankedStore) -> None:
    live(source, 10)
    first = carry(source, target, told)
    assert carry(source, target, told) == (0, first.size, first.root)
    live(source, 10)
    then = carry(source, target, told)
    assert then.written == then.size - first.size > 0
    same(source, target)


def test_an_empty_ledger_is_carried_too(
    source: SqliteStore, target: RankedStore
) -> None:
    assert carry(source, target, told).size == 0


def test_an_id_that_came_twice_comes_twice(
    source: SqliteStore, target: RankedStore
) -> None:
    for expected in range(NO_STREAM, 3):
        again = event(id_=UUID(int=7))
        source.append("model-main.m", [again], expected=expected)
    carry(source, target, told)
    same(source, target)


def test_another_history_is_not_written_over(
    source: SqliteStore, target: RankedStore
) -> None:
    live(source, 3)
    target.append("mine-main.1", events(1), expected=NO_STREAM)
    with pytest.raises(Invalid, match="1 events that are not the first of these"):
        carry(source, target, told)
    assert target.tree()[0] == 1


def test_another_ledger_is_not_written_to(source: SqliteStore, tmp_path: Path) -> None:
    with (
        SqliteStore(tmp_path / "another.db", origin="another") as another,
        pytest.raises(Invalid, match=f"is another, not {ORIGIN}"),
    ):
        carry(source, another, told)


def test_what_was_changed_behind_its_back_is_named(
    source: SqliteStore, target: RankedStore
) -> None:
    live(source, 5)
    with closing(apsw.Connection(str(source.path))) as db:
        db.execute("drop trigger event_stays")
        db.execute("update event set data = x'ff' where position = 40")
    with pytest.raises(Corrupt, match="something-happened at position 40 is not what"):
        carry(source, target, told)


def test_postgresql_is_carried_into_a_file_for_the_verifier(tmp_path: Path) -> None:
    with (
        open_store(a_schema(tmp_path)) as source,
        open_store(
            another_file(tmp_path), origin=getattr(source, "origin", "")
        ) as file,
    ):
        assert isinstance(source, RankedStore)
        assert isinstance(file, RankedStore)
        live(source, 20)
        carry(source, file, told)
        same(source, file)

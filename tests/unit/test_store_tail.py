"""The tail of the log: handed over from memory, or not at all."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from modelkeep.store.port import NO_STREAM, Filter, NewEvent, Recorded
from modelkeep.store.ranks import STRIDE
from modelkeep.store.sqlite import SqliteStore
from modelkeep.store.tail import MOST_BYTES, MOST_EVENTS, Tail

PATIENCE = 30.0


def event(rank: int, size: int = 1, name: str = "n") -> Recorded:
    id_ = uuid4().bytes
    return Recorded(rank * STRIDE, "s-a.1", rank, id_, name, 1, 0, bytes(size), b"")


def run(first: int, many: int) -> list[Recorded]:
    return [event(rank) for rank in range(first, first + many)]


def test_it_gives_what_lies_between_two_positions() -> None:
    tail, events = Tail(), run(5, 6)
    tail.add(events[:4])
    tail.add(events[4:])
    assert tail.beyond(40, 100, None) == events
    assert tail.beyond(60, 80, None) == events[2:4]
    assert tail.beyond(100, 100, None) == []


def test_it_gives_nothing_when_it_does_not_know_all() -> None:
    tail = Tail()
    assert tail.beyond(-1, 0, None) is None
    tail.add(run(5, 2))
    assert tail.beyond(30, 60, None) is None
    assert tail.beyond(50, 70, None) is None


def test_where_another_process_wrote_it_begins_anew() -> None:
    tail, later = Tail(), run(9, 2)
    tail.add(run(5, 2))
    tail.add(later)
    assert tail.beyond(50, 100, None) is None
    assert tail.beyond(80, 100, None) == later


def test_it_is_bounded_by_number_and_by_size() -> None:
    tail, last = Tail(), run(MOST_EVENTS, 1)
    tail.add(run(0, MOST_EVENTS))
    tail.add(last)
    assert tail.beyond(-1, last[0].position, None) is None
    tail.add([event(MOST_EVENTS + 1, MOST_BYTES + 1)])
    assert tail.beyond(last[0].position, last[0].position + STRIDE, None) is None


def test_it_filters_as_the_log_does() -> None:
    tail, other = Tail(), event(1, name="other")
    tail.add([event(0), other])
    assert tail.beyond(-1, STRIDE, Filter("name", ("oth",))) == [other]


def test_a_follower_sees_the_same_from_memory_and_from_the_file(tmp_path: Path) -> None:
    with (
        SqliteStore(tmp_path / "a.db") as here,
        SqliteStore(tmp_path / "a.db") as there,
    ):
        with here.subscribe() as following:
            heard: list[Recorded] = []
            for turn in range(12):
                store = there if turn % 3 == 2 else here
                new = [NewEvent(uuid4(), "n", 1, b"{}", b"{}") for _ in range(3)]
                store.append(f"s-a.{turn}", new, expected=NO_STREAM)
                if turn % 2:
                    heard += following.poll(PATIENCE).events
            heard += following.poll(0).events
        assert heard == list(here.read_all())

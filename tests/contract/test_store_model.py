"""Any engine against the simplest one: lists in memory, asked the same questions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.engines import Engine
from tests.contract.some import event, stream

from modelkeep.errors import WrongVersion
from modelkeep.store import open_store
from modelkeep.store.port import ANY, EXISTS, NO_STREAM, Filter, NewEvent, Store

NAMES = ("keen.thing", "dull.thing", "dull.other")


class Write(NamedTuple):
    """`expected` is relative to the current version, or ANY, or EXISTS.

    `ids` are small numbers, so that ids come again. Without an explicit version they
    are made fresh: what is recent is each engine's own.
    """

    stream: int
    behind: int | None
    state: int
    ids: tuple[int, ...]


class Reopen(NamedTuple):
    pass


writes = st.builds(
    Write,
    stream=st.integers(0, 2),
    behind=st.one_of(st.none(), st.integers(-1, 4), st.just(0), st.just(0)),
    state=st.sampled_from((ANY, EXISTS)),
    ids=st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True).map(tuple),
)
step = st.one_of(writes, writes, writes, st.builds(Reopen))
steps = st.lists(step, max_size=25)
many_steps = st.lists(step, max_size=50)


@dataclass
class Model:
    log: list[tuple[str, int, UUID, str]] = field(default_factory=list)

    def of(self, name: str) -> list[UUID]:
        return [id_ for stream, _, id_, _ in self.log if stream == name]

    def append(self, name: str, new: Sequence[NewEvent], expected: int) -> int | None:
        """Return the version of the last event, None when it is refused."""
        stored, ids = self.of(name), [one.id for one in new]
        current = len(stored) - 1
        if expected == EXISTS and not stored:
            return None
        if expected >= NO_STREAM and expected != current:
            again = stored[expected + 1 : expected + 1 + len(ids)] == ids
            return expected + len(ids) if again else None
        for one in new:
            current += 1
            self.log.append((name, current, one.id, one.name))
        return current


def check(store: Store, model: Model, before: int, names: Sequence[str]) -> None:
    log = [
        (one.stream, one.version, one.uuid, one.name)
        for one in store.read_all(after=before)
    ]
    assert log == model.log
    for name in names:
        stored = model.of(name)
        assert store.stream_version(name) == len(stored) - 1
        assert [one.uuid for one in store.read_stream(name)] == stored
        backwards = store.read_stream(name, backwards=True, limit=3)
        assert [one.uuid for one in backwards] == stored[::-1][:3]
    for only in (Filter("name", ("dull.",)), Filter("stream", (names[0],))):
        some = [
            (one.stream, one.version, one.uuid, one.name)
            for one in store.read_all(after=before, only=only)
        ]
        assert some == [one for one in model.log if only.admits(one[0], one[3])]
    with store.subscribe(after=before) as subscription:
        followed = []
        while True:
            batch = subscription.poll(0.2)
            followed += [one.uuid for one in batch.events]
            if batch.caught_up:
                break
    assert followed == [id_ for _, _, id_, _ in model.log]


def play(engine: Engine, played: Sequence[Write | Reopen]) -> None:
    with tempfile.TemporaryDirectory() as folder, engine.serve(Path(folder)) as url:
        names, model = [stream() for _ in range(3)], Model()
        store = open_store(url)
        try:
            before = store.head()
            for step in played:
                if isinstance(step, Reopen):
                    store.close()
                    store = open_store(url)
                else:
                    write(store, model, names[step.stream], step)
            check(store, model, before, names)
        finally:
            store.close()


def write(store: Store, model: Model, name: str, step: Write) -> None:
    if step.behind is None:
        expected = step.state
        new = [event(NAMES[id_ % 3]) for id_ in step.ids]
    else:
        expected = max(len(model.of(name)) - 1 - step.behind, NO_STREAM)
        new = [event(NAMES[id_ % 3], id_=UUID(int=id_)) for id_ in step.ids]
    version = model.append(name, new, expected)
    if version is None:
        with pytest.raises(WrongVersion):
            store.append(name, new, expected=expected)
    else:
        assert store.append(name, new, expected=expected).version == version


def plays(
    engine: Engine, examples: int, lives: st.SearchStrategy[list[Write | Reopen]]
) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(played=lives)
    def all_of_them(played: list[Write | Reopen]) -> None:
        play(engine, played)

    all_of_them()


def test_it_does_what_lists_in_memory_would(engine: Engine) -> None:
    plays(engine, engine.examples, steps)


@pytest.mark.slow
def test_it_does_so_for_a_long_time(engine: Engine) -> None:
    plays(engine, 85 * engine.examples, many_steps)

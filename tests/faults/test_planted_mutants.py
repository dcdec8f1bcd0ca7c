"""Mistakes planted in the store: the suite that compares it with lists finds each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests.contract.engines import Engine, sqlite_file
from tests.contract.test_store_model import Reopen, Write, play, steps

from modelkeep.store import sqlite_write
from modelkeep.store.port import Recognised
from modelkeep.store.sqlite_read import Reader
from modelkeep.store.sqlite_write import Writer

GAMES: Final = 300
SQLITE: Final = Engine("sqlite", sqlite_file)

Plant = Callable[[pytest.MonkeyPatch], None]


def writes_again_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "_earlier", lambda *_: None)


def takes_any_ids_for_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    def earlier(self: Any, pending: Any, stream: Any) -> Recognised | None:
        if stream is None or pending.expected < 0:
            return whole(self, pending, stream)
        stored = self._ids(stream.sid, pending.expected, len(pending.ids))
        if not stored:
            return whole(self, pending, stream)
        version, _, position = stored[-1]
        return Recognised(position, version)

    whole = Writer._earlier
    monkeypatch.setattr(Writer, "_earlier", earlier)


def lets_the_second_writer_win(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        return None

    monkeypatch.setattr(sqlite_write, "_refuse", refuse)


def loses_the_first_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def page(self: Any, *args: Any, **more: Any) -> Any:
        found = whole(self, *args, **more)
        return found[1:] if len(found) > 2 else found

    whole = Reader.stream_page
    monkeypatch.setattr(Reader, "stream_page", page)


def reads_backwards_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def page(self: Any, *args: Any, **more: Any) -> Any:
        found = whole(self, *args, **more)
        return sorted(found, key=lambda one: one.version)

    whole = Reader.stream_page
    monkeypatch.setattr(Reader, "stream_page", page)


@pytest.mark.parametrize(
    "plant",
    [
        writes_again_what_it_knows,
        pytest.param(takes_any_ids_for_a_retry, marks=pytest.mark.slow),
        pytest.param(lets_the_second_writer_win, marks=pytest.mark.slow),
        loses_the_first_of_a_page,
        pytest.param(reads_backwards_forwards, marks=pytest.mark.slow),
    ],
)
def test_a_planted_mistake_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    played: list[int] = []

    @settings(
        max_examples=GAMES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(steps)
    def compare(game: Sequence[Write | Reopen]) -> None:
        played.append(len(game))
        play(SQLITE, game)

    plant(monkeypatch)
    with pytest.raises(BaseException):  # noqa: B017, PT011  # however it shows
        compare()
    assert played

"""The bell: heard here and in other processes, with inotify and without."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelkeep.errors import Unavailable
from modelkeep.store import bell as bell_module
from modelkeep.store.bell import Bell

PATIENCE = 30.0


def heard(bell: Bell, seen: int) -> bool:
    bell.wait(seen, PATIENCE)
    return bell.rings > seen


@pytest.fixture(params=["inotify", "looking"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "looking":
        monkeypatch.setattr(bell_module, "_inotify", lambda _: None)


def settled(bell: Bell, other: Bell) -> int:
    """Ring until the listener of `bell` is known to run; return what was heard."""
    while not bell.rings:
        other.ring()
        bell.wait(0, 0.01)
    rings = -1
    while rings != bell.rings:
        rings = bell.rings
        bell.wait(rings, 0.05)
    return rings


@pytest.mark.usefixtures("kernel")
def test_another_is_heard(tmp_path: Path) -> None:
    here, there = Bell(tmp_path / "bell"), Bell(tmp_path / "bell")
    here.listen()
    here.listen()
    for _ in range(5):
        seen = settled(here, there)
        there.ring()
        assert heard(here, seen)
    here.close()
    there.close()


@pytest.mark.usefixtures("kernel")
def test_ones_own_is_heard_once(tmp_path: Path) -> None:
    here, there = Bell(tmp_path / "bell"), Bell(tmp_path / "bell")
    here.listen()
    seen = settled(here, there)
    here.ring()
    assert heard(here, seen)
    here.wait(seen + 1, 0.1)
    assert here.rings == seen + 1
    here.close()
    there.close()


def test_a_ring_before_waiting_is_not_missed(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "bell")
    seen = bell.rings
    bell.ring()
    assert heard(bell, seen)
    bell.close()


def test_closing_wakes_who_waits(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "bell")
    bell.listen()
    woken = threading.Event()
    seen = bell.rings

    def wait() -> None:
        if heard(bell, seen):
            woken.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    bell.close()
    assert woken.wait(PATIENCE)
    waiter.join()
    with pytest.raises(Unavailable):
        bell.listen()

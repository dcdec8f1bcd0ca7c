"""A courier brings the newest thing, keeps nobody waiting, and gives up in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from modelkeep.errors import Unavailable
from modelkeep_services.audit import courier as rooms
from modelkeep_services.audit.courier import TRIES, Courier


def until(true: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    for _ in range(2_000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(rooms, "LONGEST_PAUSE_S", 0.002)


def test_it_carries_the_newest_and_keeps_nobody_waiting() -> None:
    carried: list[int] = []
    gate = threading.Event()

    def carry(thing: int) -> None:
        carried.append(thing)
        gate.wait(5)

    one = Courier("slow", carry)
    one.start()
    one.give(0)
    until(lambda: carried == [0])
    for thing in range(1, 1_000):
        one.give(thing)  # while it is away
    gate.set()
    until(lambda: carried[-1] == 999)
    assert carried == [0, 999]
    one.close(5)


def test_what_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    def carry(thing: int) -> None:
        tries.append(thing)
        if len(tries) < 4:
            raise Unavailable("nobody there")

    one = Courier("there", carry)
    one.start()
    one.give(7)
    until(lambda: len(tries) == 4)
    one.close(5)
    assert tries == [7, 7, 7, 7]
    assert [record.message for record in caplog.records] == [
        "there: nobody there",
        "there: delivered again",
    ]


def test_it_gives_up_and_takes_the_next_for_a_reason_to_try(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries: list[int] = []

    def carry(thing: int) -> None:
        tries.append(thing)
        raise Unavailable("nobody there")

    one = Courier("there", carry)
    one.start()
    one.give(1)
    until(lambda: "given up" in caplog.text)
    assert tries == [1] * TRIES
    one.give(2)
    until(lambda: tries[-1] == 2)
    one.close(5)
    assert tries == [1] * TRIES + [2]


def test_a_newer_thing_takes_the_place_of_what_failed() -> None:
    tries: list[int] = []
    one: Courier[int]

    def carry(thing: int) -> None:
        tries.append(thing)
        if thing == 1:
            one.give(2)
            raise Unavailable("not now")

    one = Courier("there", carry)
    one.start()
    one.give(1)
    until(lambda: tries == [1, 2])
    one.close(5)


def test_closing_tries_what_waits_and_leaves_in_time() -> None:
    carried: list[int] = []
    one = Courier("rests", carried.append, every_s=3_600)
    one.start()
    one.give(1)
    until(lambda: carried == [1])
    one.give(2)
    one.close(5)
    assert carried == [1, 2]
    stuck = threading.Event()

    def hold(_: int) -> None:
        stuck.wait(30)

    other = Courier("stuck", hold)
    other.start()
    other.give(1)
    began = time.monotonic()
    other.close(0.01)
    assert time.monotonic() - began < 20
    stuck.set()


def test_what_nobody_expected_does_not_kill_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    carried: list[int] = []

    def carry(thing: int) -> None:
        if thing == 1:
            raise KeyError
        carried.append(thing)

    one = Courier("odd", carry)
    one.start()
    one.give(1)
    until(lambda: "KeyError" in caplog.text)
    one.give(2)
    until(lambda: carried == [2])
    one.close(5)


def test_one_that_never_started_closes() -> None:
    Courier[int]("idle", print).close(1)

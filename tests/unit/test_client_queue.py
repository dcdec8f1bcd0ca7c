"""The SDK's queue: bounded, exact about what it lost, and cheap for who fills it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelkeep import Client
from modelkeep.sdk.batches import MOST_NAMES, Given, Names, rowed
from modelkeep.sdk.resources import Used
from modelkeep.sdk.uuid7 import fresh

LIMIT = 100
THREADS = 8


@pytest.fixture
def client() -> Iterator[Client]:
    """Of a server that is away."""
    with Client(
        "127.0.0.1:1",
        token="t",  # noqa: S106  # nobody will ask
        model="m",
        version="v",
        max_queued_rows=LIMIT,
        interval_s=0.001,
        exit_s=0,
    ) as found:
        yield found
        found.close(timeout=0)


def given(**features: float) -> Given:
    return 7_999, fresh(0), dict(features), 0.5, None, None, "", None, None, None


def test_every_row_is_queued_or_dropped_whatever_threads_do(client: Client) -> None:
    def log(_: int) -> None:
        for number in range(500):
            client.log({"x": float(number)}, score=0.5)

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(log, range(THREADS)))
    seen = client.stats
    assert seen.logged + seen.dropped == 500 * THREADS
    # One for each other thread that found the last place free at that instant.
    assert LIMIT <= seen.queued <= LIMIT + THREADS - 1
    assert seen.queued == seen.logged


def test_what_is_logged_after_the_end_is_dropped_and_counted(client: Client) -> None:
    client.log({"x": 1.0}, score=0.5)
    client.close(timeout=0)
    client.log({"x": 2.0}, score=0.5)
    client.log_many({"x": [3.0]}, [0.5])
    assert (client.stats.logged, client.stats.dropped) == (1, 3)
    assert client.stats.queued == 0
    assert client.flush(timeout=0)


def test_what_is_no_time_is_refused_at_once(client: Client) -> None:
    client.log({"x": 1.0}, score=0.5, latency_ms=-1.0)
    client.log({"x": 1.0}, score=0.5, explanation_ms=float("nan"))
    assert client.stats.refused == 2
    assert "explanation" in client.stats.last_error


def test_a_row_is_what_was_given() -> None:
    at, text, *_ = row = given(b=2.0, a=1.0)
    found = rowed(row, {})
    assert (found.names, found.values) == (("b", "a"), (2.0, 1.0))
    assert found.id.hex() == text.replace("-", "")
    assert found.at == at // 1000


def test_rows_of_the_same_features_share_their_names() -> None:
    known: Names = {}
    first, second = (rowed(given(a=1.0, b=2.0), known) for _ in range(2))
    assert first.names is second.names


def test_names_that_are_ever_new_are_forgotten() -> None:
    known: Names = {}
    for number in range(3 * MOST_NAMES):
        rowed(given(**{f"f{number}": 1.0}), known)
    assert len(known) <= MOST_NAMES


def test_usage_that_cannot_be_told_is_said_and_left_out() -> None:
    def broken() -> Used:
        raise OSError("no such file")

    for usage, why in ((broken, "no such file"), (lambda: Used(-1.0), "-1.0")):
        with Client("127.0.0.1:1", token="t", model="m", version="v", usage=usage) as c:  # noqa: S106  # nobody will ask
            assert c._sender.used() is None  # what a batch would carry
            assert why in c.stats.last_error

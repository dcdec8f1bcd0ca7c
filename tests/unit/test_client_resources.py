"""What decisions used, as the SDK measures and divides it."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.sdk.resources import HOUR_NS, Process, Used, checked, share


@given(
    st.integers(-(2**40), 2**40),
    st.lists(st.integers(1, 65_536), min_size=1, max_size=20),
)
def test_however_it_is_divided_it_adds_up(minor: int, sizes: list[int]) -> None:
    rows = sum(sizes)
    edges = [sum(sizes[:at]) for at in range(len(sizes) + 1)]
    parts = [share(Used(12.5, 7, (minor, "USD")), *at, rows) for at in pairwise(edges)]
    assert sum(part.cost[0].minor for part in parts) == minor
    assert sum(part.cpu_seconds for part in parts) == pytest.approx(12.5)
    assert {part.memory_bytes for part in parts} == {7}


def test_what_nobody_measured_is_absent() -> None:
    found = share(Used(memory_bytes=7), 0, 1, 2)
    assert found.memory_bytes == 7
    assert not found.HasField("cpu_seconds")
    assert not found.cost
    assert checked(Used()) is None


@pytest.mark.parametrize(
    "used",
    [
        Used(cpu_seconds=-1.0),
        Used(cpu_seconds=float("nan")),
        Used(memory_bytes=-1),
        Used(memory_bytes=2**63),
        Used(cost=(2**63, "USD")),
        Used(cost=(1, "usd")),
        Used(cost=(1, "DOLLAR")),
    ],
)
def test_what_a_server_would_refuse_is_refused_here(used: Used) -> None:
    with pytest.raises(ValueError, match="is no"):
        checked(used)


def test_a_process_tells_all_it_used_once() -> None:
    before, usage = time.process_time(), Process()
    told = []
    for _ in range(3):
        sum(range(100_000))
        told.append(usage())
    spent = time.process_time() - before
    cpu = [one.cpu_seconds or 0.0 for one in told]
    assert min(cpu) > 0
    assert sum(cpu) <= spent + 1e-9
    assert all((one.memory_bytes or 0) > 1_000_000 for one in told)
    assert all(one.cost is None for one in told)


def test_what_an_hour_costs_adds_up_over_however_many_words() -> None:
    rate = HOUR_NS  # a cent a nanosecond: no wait is too short to see it
    before, usage = time.monotonic_ns(), Process((rate, "EUR"))
    told = [usage().cost or (0, "") for _ in range(5)]
    spent = time.monotonic_ns() - before
    assert {currency for _, currency in told} == {"EUR"}
    assert all(minor >= 0 for minor, _ in told)
    assert 0 < sum(minor for minor, _ in told) <= spent

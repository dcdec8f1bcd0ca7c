"""Decision ids: nobody ever gets one twice, however they are made."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep import Client
from modelkeep.sdk.uuid7 import (
    POOL,
    derived,
    derived_many,
    fresh,
    mint,
    mint_many,
    octets,
    octets_many,
)

NOW = 1_790_000_000_123_456_789
MILLISECOND = 1_000_000
times = st.integers(0, 2**62)
near = st.integers(NOW - 3 * MILLISECOND, NOW + 3 * MILLISECOND)


def milliseconds(text: str) -> int:
    return int(text.replace("-", "")[:12], 16)


@given(st.lists(times | near))
def test_a_fresh_id_carries_its_millisecond_even_when_the_clock_steps_back(
    moments: list[int],
) -> None:
    for moment in moments:
        text = fresh(moment)
        assert milliseconds(text) == moment // MILLISECOND
        assert str(UUID(text)) == text
        assert UUID(text).version == 7
        assert UUID(text).variant == "specified in RFC 4122"


def test_of_a_fresh_id_74_bits_are_chance() -> None:
    found = [UUID(fresh(NOW)).int for _ in range(4_096)]
    set_bits = [sum(one >> bit & 1 for one in found) for bit in range(80)]
    chance = [bit for bit, seen in enumerate(set_bits) if 0 < seen < len(found)]
    assert len(chance) == 74
    # Six standard deviations of a fair coin.
    assert all(abs(set_bits[bit] - 2_048) < 6 * 32 for bit in chance)


def test_threads_get_different_ids() -> None:
    def many(_: int) -> list[str]:
        return [fresh(NOW) for _ in range(20 * POOL)]

    with ThreadPoolExecutor(8) as threads:
        found = [text for made in threads.map(many, range(8)) for text in made]
    assert len(set(found)) == len(found) == 160 * POOL


def test_forked_children_get_different_ids() -> None:
    program = f"""
import os, sys
from modelkeep.sdk.uuid7 import fresh, mint, mint_many
fresh({NOW})  # and so a pool is there before there are children
for _ in range(4):
    if not os.fork():
        break
else:
    for _ in range(4):
        os.wait()
found = [fresh({NOW}) for _ in range(1000)]
found += [mint({NOW})[1] for _ in range(100)]
found += mint_many([{NOW}] * 100)[1]
os.write(1, ("\\n".join(found) + "\\n").encode())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    assert len(set(found)) == len(found) == 5 * 1_200


@given(st.lists(times, max_size=40))
def test_ids_minted_together_carry_the_same_time_as_alone(moments: list[int]) -> None:
    keys, texts = mint_many(moments)
    assert [key[:8] for key in keys] == [mint(moment)[0][:8] for moment in moments]
    assert [UUID(bytes=key) for key in keys] == [UUID(text) for text in texts]
    assert all(key[8] >> 6 == 2 for key in keys)


def test_however_many_are_minted_each_is_whole() -> None:
    keys, texts = mint_many(range(NOW, NOW + 5_000))
    assert len(set(keys)) == 5_000
    assert [key.hex() for key in keys] == [text.replace("-", "") for text in texts]
    assert mint_many([]) == ([], [])


@given(st.lists(st.tuples(times, st.text()), max_size=40))
def test_ids_derived_together_are_those_derived_alone(
    given: list[tuple[int, str]],
) -> None:
    moments = [moment for moment, _ in given]
    seeds = [seed for _, seed in given]
    assert derived_many(moments, seeds) == [derived(*one) for one in given]


@given(st.lists(st.uuids() | st.text("0123456789abcdef- \n", max_size=40)))
def test_ids_are_read_together_as_they_are_alone(given: list[object]) -> None:
    texts = [str(one) for one in given]
    try:
        alone = [octets(text) for text in texts]
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            octets_many(texts)
    else:
        assert octets_many(texts) == alone


def test_what_fills_up_to_an_id_is_none() -> None:
    """Two that have as many digits together as two ids."""
    for texts in (["0" * 30, "0" * 34], ["0" * 30 + "  ", "0" * 32]):
        with pytest.raises(ValueError, match="not a UUID"):
            octets_many(texts)


def test_references_have_their_ids_together_as_alone() -> None:
    at = [datetime(2013, 4, 1, tzinfo=UTC) + timedelta(microseconds=n) for n in (0, 7)]
    with Client("127.0.0.1:1", token="t", model="m", version="v") as client:  # noqa: S106  # nobody is asked
        alone = [client.decision_id(*one) for one in zip(at, ("a", "b"), strict=True)]
        assert client.decision_ids(at, ["a", "b"]) == alone
        with pytest.raises(ValueError, match="2 times, 1 references"):
            client.decision_ids(at, ["a"])
        with pytest.raises(ValueError, match="no time zone"):
            client.decision_ids([datetime(2013, 4, 1)], ["a"])  # noqa: DTZ001  # that is wrong

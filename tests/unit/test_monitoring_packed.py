"""Fine counts as text: what is written is read, whatever its size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.bins import Floats
from modelkeep.stats.fine import FineBaseline, FineProfile
from modelkeep_services.monitoring.packed import packed, unpacked


def baseline(seed: int = 1) -> FineBaseline:
    rng = np.random.default_rng(seed)
    return FineBaseline.fit({"x": rng.normal(size=2_000), "y": rng.random(2_000)})


def batch(n: int) -> dict[str, Floats]:
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    x[:1] = 1e300  # its excess needs the widest numbers
    return {"x": x, "y": rng.random(n)}


@pytest.mark.parametrize("n", [0, 1, 30, 900, 60_000])
def test_what_is_packed_is_unpacked(n: int) -> None:
    by = baseline()
    counts = by.profile(batch(n))
    assert unpacked(packed(counts), by.layout) == counts


def test_few_rows_take_few_bytes() -> None:
    by = baseline()
    assert len(packed(by.profile(batch(1)))) < 150
    assert len(packed(by.profile(batch(60_000)))) < len(
        by.profile(batch(60_000)).to_json()
    )


def test_counts_of_another_layout_are_refused() -> None:
    text = packed(FineProfile.empty(baseline(2).layout))
    with pytest.raises(Invalid):
        unpacked(text, baseline().layout)


@pytest.mark.parametrize(
    "part",
    [
        ["u1", "AAAA", 0, 0],
        ["u3", "AAAA", 0, 0],
        ["u1", "=", 0, 0],
        [[0], [1, 2]],
        [[-900], [1]],
        [],
    ],
)
def test_what_is_no_count_is_corrupt(part: object) -> None:
    by = baseline()
    told = {"columns": [part, part], "layout": by.layout.digest, "rows": 1}
    with pytest.raises(Corrupt):
        unpacked(json.dumps(told), by.layout)

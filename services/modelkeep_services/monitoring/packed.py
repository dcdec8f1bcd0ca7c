"""Fine counts as text that is quickly written and read: an event of every batch has it.

JSON with `layout`, `rows` and a part a column, of places as `modelkeep.stats.fine` has
them. A part is `u1`, `u2`, `u4` or `u8` and base64 of little-endian whole numbers of so
many bytes, one for each place but the last two, and those two, which may be huge; or,
where few places are in use, those places and what they hold. The same counts have the
same text.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Final

import numpy as np

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats.bins import Counts
from modelkeep.stats.fine import SHORT, SIZE, FineLayout, FineProfile

FEW: Final = 40
"""Places in use, up to which they are listed."""
WIDTHS: Final = ("u1", "u2", "u4", "u8")

Part = tuple[list[int], list[int]] | tuple[str, str, int, int]


def packed(counts: FineProfile) -> str:
    told = {
        "columns": [_pack(row) for row in counts.counts],
        "layout": counts.layout.digest,
        "rows": counts.rows,
    }
    return json.dumps(told, separators=(",", ":"))


def unpacked(text: str, layout: FineLayout) -> FineProfile:
    """Raise Invalid for another layout's counts, Corrupt for no counts at all."""
    try:
        told = json.loads(text)
        if told["layout"] != layout.digest:
            raise Invalid.field("layout", "the counts have another layout")
        counts = np.zeros((len(layout.scales), SIZE), dtype=np.int64)
        for row, part in zip(counts, told["columns"], strict=True):
            _unpack(part, row)
        return FineProfile(layout, int(told["rows"]), counts)
    except (ValueError, KeyError, TypeError, IndexError) as problem:
        raise Corrupt(f"these are no counts: {problem!r}") from problem


def _pack(row: Counts) -> Part:
    used = np.flatnonzero(row)
    if used.size <= FEW:
        return used.tolist(), row[used].tolist()
    rows, excess = row[:SHORT], row[SHORT:].tolist()
    most = int(rows.max())
    width = next(w for w in WIDTHS if most <= np.iinfo(w).max)
    return width, b64encode(rows.astype(f"<{width}").tobytes()).decode(), *excess


def _unpack(part: Part, row: Counts) -> None:
    if len(part) == 2:  # noqa: PLR2004 - places and what they hold
        row[part[0]] = part[1]
        return
    width, told, *excess = part
    row[:SHORT] = np.frombuffer(b64decode(told, validate=True), dtype=f"<{width}")
    row[SHORT:] = excess

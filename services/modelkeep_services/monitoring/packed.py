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
WIDTHS: Final = {"u1": 2**8 - 1, "u2": 2**16 - 1, "u4": 2**32 - 1, "u8": 2**64 - 1}
"""And the greatest count of each."""

Part = tuple[list[int], list[int]] | tuple[str, str, int, int]


def packed(counts: FineProfile) -> str:
    used = np.count_nonzero(counts.counts, axis=1).tolist()
    most = counts.counts[:, :SHORT].max(axis=1, initial=0).tolist()
    told = {
        "columns": [*map(_pack, counts.counts, used, most)],
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


def _pack(row: Counts, used: int, most: int) -> Part:
    """`used` places are, and in the first of them, `most` is the greatest count."""
    if used <= FEW:
        places = np.flatnonzero(row)
        return places.tolist(), row[places].tolist()
    width = next(w for w, limit in WIDTHS.items() if most <= limit)
    told = b64encode(row[:SHORT].astype(f"<{width}").tobytes()).decode()
    return width, told, *row[SHORT:].tolist()


def _unpack(part: Part, row: Counts) -> None:
    if len(part) == 2:  # noqa: PLR2004 - places and what they hold
        row[part[0]] = part[1]
        return
    width, told, *excess = part
    row[:SHORT] = np.frombuffer(b64decode(told, validate=True), dtype=f"<{width}")
    row[SHORT:] = excess

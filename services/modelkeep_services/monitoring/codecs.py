"""How each column of an object is packed: numbers only where it is worth the time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

LEVEL: Final = 1
SAMPLE: Final = 4_096
"""Bytes of a column by which it is judged."""
WORTH: Final = 0.75
"""Of its size: what packs no better is written as it is."""
AGAIN: Final = 64
"""Objects that a verdict is good for: judging takes as long as writing a small one."""
REMEMBERED: Final = 256
"""Kinds of objects that are alike in metadata and columns."""

Kind = tuple[bytes, ...]


@dataclass
class _Verdict:
    codecs: Mapping[str, str]
    left: int


_lock = threading.Lock()
_verdicts: OrderedDict[Kind, _Verdict] = OrderedDict()


def codecs_of(table: pa.Table) -> Mapping[str, str]:
    """Return each column's codec, judged by this object or a recent one of its kind."""
    kind = _kind(table)
    with _lock:
        known = _verdicts.get(kind)
        if known is not None and known.left:
            known.left -= 1
            return known.codecs
    fresh = _Verdict(_judged(table), AGAIN)
    with _lock:
        _verdicts[kind] = fresh
        _verdicts.move_to_end(kind)
        while len(_verdicts) > REMEMBERED:
            _verdicts.popitem(last=False)
    return fresh.codecs


def _kind(table: pa.Table) -> Kind:
    return (
        *(table.schema.metadata or {}).values(),
        *map(str.encode, table.column_names),
    )


def _judged(table: pa.Table) -> dict[str, str]:
    packer = pa.Codec("zstd", compression_level=LEVEL)
    return {
        name: "none" if _is_noise(column, packer) else "zstd"
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _is_noise(column: pa.ChunkedArray, packer: pa.Codec) -> bool:
    """Whether the first values are floats of which packing saves less than a quarter:
    the fractions of measurements with all their digits.
    """
    if not pa.types.is_floating(column.type) or not len(column):
        return False
    values = column.chunk(0).buffers()[1]
    sample = values.slice(0, min(values.size, SAMPLE))
    return bool(packer.compress(sample).size > sample.size * WORTH)

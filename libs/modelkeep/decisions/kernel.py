"""The optional kernel: hashes rows and counts values several times as fast, bit for bit
as `hashlib` and numpy do.

    python -m modelkeep.decisions.kernel        build it, beside this file, with `cc`

It is C (`hashing.c`, `counting.c`) for processors with instructions for SHA-256
(x86-64), and it lets go of the interpreter while it works. `hashlib` and numpy stay the
reference, and do the work where nothing was built, where the processor has no such
instructions, and where what was built does not agree with them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, Self, cast

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Halves = NDArray[np.uint64]
Places = NDArray[np.int64]
Values = NDArray[np.generic]

HERE: Final = Path(__file__).parent
SOURCES: Final = (HERE / "hashing.c", HERE / "counting.c")
BUILT: Final = HERE / "_kernel.so"
FORM: Final = 5
"""What its functions take. One that was built before, of another form, is not used."""


class Kernel:
    """A built library. Any thread may call."""

    def __init__(self, library: ctypes.CDLL) -> None:
        octets, size = ctypes.c_void_p, ctypes.c_size_t

        def taken(name: str, *given: type) -> Callable[..., int]:
            function = getattr(library, f"modelkeep_{name}")
            function.argtypes = given
            return cast("Callable[..., int]", function)

        self._digests = taken("digests", octets, size, octets)
        self._leaves = taken("leaves", octets, size, size, octets)
        self._root = taken("root", octets, size)
        self._reach = taken("reach", octets, size, size, octets, size, octets)
        self._fold = taken("fold", octets, size, size, octets, octets)
        self._scores = taken("scores", octets, size, octets)
        self._spans = taken("spans", octets, size, size, octets)
        self._places = taken("places", octets, size, octets, size, octets)
        self._merge = taken("merge", octets, size, octets, size, octets)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return None where it cannot be used here."""
        try:
            library = ctypes.CDLL(str(path))
            if library.modelkeep_native() != FORM:
                return None
            found = cls(library)
        except (OSError, AttributeError):
            return None
        return found if found._agrees() else None

    def leaves(self, matrix: Octets) -> Octets:
        """Return the hash of each row: [rows, 32]."""
        rows, width = matrix.shape
        whole, hashes = np.ascontiguousarray(matrix), np.empty((rows, 32), np.uint8)
        self._leaves(whole.ctypes.data, rows, width, hashes.ctypes.data)
        return hashes

    def digests(self, told: Sequence[tuple[bytes, Values]]) -> Octets:
        """Return the hash of each front and what follows it: [messages, 32]. No front
        is empty; all arrays are whole. Neighbours of one size are hashed side by side.
        """
        fronts = [front for front, _ in told]
        whole = np.frombuffer(b"".join(fronts), dtype=np.uint8)
        messages = np.empty((len(told), 4), dtype=np.uint64)
        lengths = np.array([*map(len, fronts)], dtype=np.uint64)
        messages[:, 0] = lengths.cumsum() - lengths + np.uint64(whole.ctypes.data)
        messages[:, 1] = lengths
        messages[:, 2] = [body.ctypes.data for _, body in told]
        messages[:, 3] = [body.nbytes for _, body in told]
        hashes = np.empty((len(told), 32), dtype=np.uint8)
        self._digests(messages.ctypes.data, len(told), hashes.ctypes.data)
        return hashes

    def root(self, hashes: bytes) -> bytes:
        """Return the Merkle root of hashes that lie end to end, one at least."""
        nodes = np.frombuffer(hashes, dtype=np.uint8).copy()
        self._root(nodes.ctypes.data, len(nodes) // 32)
        return nodes[:32].tobytes()

    def reach(
        self, columns: Floats | Sequence[Floats], edges: Floats, total: Counts
    ) -> None:
        """Add to `total` [edge, feature] how many values of each column reach each of
        `edges` [edge, feature]. All are whole, of one length; NaN reaches none.
        """
        starts = _starts(columns)
        self._reach(
            starts.ctypes.data,
            len(columns),
            len(columns[0]),
            edges.ctypes.data,
            len(edges),
            total.ctypes.data,
        )

    def fold(self, columns: Sequence[Floats], scales: Floats, cells: Counts) -> None:
        """Add to the first 259 of each column's `cells` how many of its values lie in
        each: see `stats.fine`. `scales` [column, 4]: centre, cells in one unit, and the
        ends of the range. All are whole, of one length.
        """
        starts, into = _starts(columns), _starts(cells)
        self._fold(
            starts.ctypes.data,
            len(columns),
            len(columns[0]),
            scales.ctypes.data,
            into.ctypes.data,
        )

    def scores(self, values: Floats, cells: Counts) -> bool:
        """Add to the first 64 `cells` how many values lie in each 64th of [0, 1].
        False, and nothing is added, where one lies outside or is missing.
        """
        start, into = values.ctypes.data, cells.ctypes.data
        return bool(self._scores(start, len(values), into))

    def spans(self, columns: Sequence[bytes]) -> Floats:
        """Return the least and the greatest value of each column of float64, [column,
        2]; NaN twice where a value is missing. All have one length, one row at least.
        """
        count, found = len(columns), np.empty((len(columns), 2))
        rows = len(columns[0]) // found.itemsize
        # a fifth of what it costs to ask as many arrays where they begin
        starts = (ctypes.c_char_p * count)(*columns)
        self._spans(starts, count, rows, found.ctypes.data)
        return found

    def places(self, known: Halves, asked: Halves) -> Places:
        """Return where `asked` would go, as `numpy.searchsorted` does. Both ascend."""
        found = np.empty(len(asked), dtype=np.int64)
        self._places(
            known.ctypes.data,
            len(known),
            asked.ctypes.data,
            len(asked),
            found.ctypes.data,
        )
        return found

    def merge(self, one: Sequence[Values], other: Sequence[Values]) -> list[Values]:
        """Return both in the order of their first column, those of `one` before their
        equals. Columns: two of uint64, two of int32; all are whole.
        """
        count, more = len(one[0]), len(other[0])
        into = [np.empty(count + more, dtype=column.dtype) for column in one]
        named = [_starts(columns).ctypes for columns in (one, other, into)]
        self._merge(named[0].data, count, named[1].data, more, named[2].data)
        return into

    def _agrees(self) -> bool:
        return self._hashes_agree() and self._counts_agree()

    def _hashes_agree(self) -> bool:
        rows = np.arange(200, dtype=np.uint8).reshape(2, 100)
        one, other = (sha256(row.tobytes()).digest() for row in rows)
        above = sha256(b"\1" + one + other).digest()
        hashes = self.leaves(rows).tobytes()
        if hashes != one + other or self.root(hashes) != above:
            return False
        apart = [(row[:30].tobytes(), row[30:]) for row in rows]
        return self.digests(apart).tobytes() == hashes

    def _counts_agree(self) -> bool:
        values = np.array([np.nan, -np.inf, -0.0, 0.0, 3.0, np.inf])
        reached, cells = np.zeros((1, 1), np.int64), np.zeros(259, np.int64)
        self.reach([values], np.zeros((1, 1)), reached)
        self.fold([values], np.array([[0.0, 1.0, 0.0, 3.0]]), cells.reshape(1, 259))
        if self.scores(values, cells) or not self.scores(values[2:4], cells):
            return False
        spans = self.spans([values[1:].tobytes(), values[:5].tobytes()]).ravel()
        if not np.array_equal(spans, [-np.inf, np.inf, np.nan, np.nan], equal_nan=True):
            return False
        known = np.array([1, 4, 4, 9], dtype=np.uint64)
        if self.places(known, known + np.uint64(1)).tolist() != [1, 3, 3, 4]:
            return False
        places = np.flatnonzero(cells).tolist()
        wanted = [0, 127, 128, 224, 255, 256, 257, 258]
        return reached.item() == 4 and places == wanted  # noqa: PLR2004, of these values


def _starts(columns: Values | Sequence[Values]) -> Halves:
    """Return where each begins in memory. To ask an array is slow: once, if it can."""
    if isinstance(columns, np.ndarray):
        places = np.arange(len(columns), dtype=np.uint64)
        return places * np.uint64(columns.strides[0]) + np.uint64(columns.ctypes.data)
    return np.array([column.ctypes.data for column in columns], dtype=np.uint64)


@lru_cache(maxsize=1)
def kernel() -> Kernel | None:
    """Return the kernel if it was built and can be used here."""
    return Kernel.load(BUILT) if BUILT.exists() else None


def build(into: Path = BUILT, *options: str) -> None:
    """Compile, with more options for the compiler where some are given.

    Raises CalledProcessError or FileNotFoundError without a C compiler.
    """
    fresh = into.with_name(into.name + ".new")
    compiler = os.environ.get("CC", "cc")
    subprocess.run(  # noqa: S603  # the compiler that whoever builds has chosen
        [
            compiler,
            "-O3",
            "-ffp-contract=off",
            "-shared",
            "-fPIC",
            "-o",
            str(fresh),
            *options,
            *map(str, SOURCES),
        ],
        check=True,
    )
    fresh.replace(into)


def main() -> int:
    build()
    found = Kernel.load(BUILT) is not None
    said = "is used" if found else "is not used: this processor has no SHA-256"
    sys.stdout.write(f"{BUILT} was built and {said}\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())

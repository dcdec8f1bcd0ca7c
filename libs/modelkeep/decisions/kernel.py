"""The optional kernel: hashes rows and counts values several times as fast, bit for bit
as `hashlib` and numpy do.

    python -m modelkeep.decisions.kernel        build it, beside this file, with `cc`

It is C (`kernel.c`) for processors with instructions for SHA-256 (x86-64), and it lets
go of the interpreter while it works. `hashlib` and numpy stay the reference, and do the
work where nothing was built, where the processor has no such instructions, and where
what was built does not agree with them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SOURCE: Final = Path(__file__).with_suffix(".c")
BUILT: Final = SOURCE.with_name("_kernel.so")


class Kernel:
    """A built library. All arrays are bytes; any thread may call."""

    def __init__(self, library: ctypes.CDLL) -> None:
        octets, size = ctypes.c_void_p, ctypes.c_size_t
        self._leaves, self._root = library.modelkeep_leaves, library.modelkeep_root
        self._leaves.argtypes = (octets, size, size, octets)
        self._root.argtypes = (octets, size)
        self._reach, self._fold = library.modelkeep_reach, library.modelkeep_fold
        self._reach.argtypes = (octets, size, size, size, octets, size, octets)
        real = ctypes.c_double
        self._fold.argtypes = (octets, size, real, real, octets)
        self._scores = library.modelkeep_scores
        self._scores.argtypes = (octets, size, octets)
        for function in (self._leaves, self._root, self._reach, self._fold):
            function.restype = None

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return None where it cannot be used here."""
        try:
            library = ctypes.CDLL(str(path))
            if not library.modelkeep_native():
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

    def root(self, hashes: bytes) -> bytes:
        """Return the Merkle root of hashes that lie end to end, one at least."""
        nodes = np.frombuffer(hashes, dtype=np.uint8).copy()
        self._root(nodes.ctypes.data, len(nodes) // 32)
        return nodes[:32].tobytes()

    def reach(self, block: Floats, edges: Floats, total: Counts) -> None:
        """Add to `total` [edge, feature] how many values of `block` [feature, row]
        reach each of `edges` [edge, feature]. All are whole; NaN reaches none.
        """
        features, rows = block.shape
        self._reach(
            block.ctypes.data,
            features,
            rows,
            rows,
            edges.ctypes.data,
            len(edges),
            total.ctypes.data,
        )

    def fold(self, values: Floats, centre: float, rate: float, cells: Counts) -> None:
        """Add to the 257 `cells` how many values lie in each: see `stats.fine`."""
        start, into = values.ctypes.data, cells.ctypes.data
        self._fold(start, len(values), centre, rate, into)

    def scores(self, values: Floats, cells: Counts) -> bool:
        """Add to the first 64 `cells` how many values lie in each 64th of [0, 1].
        False, and nothing is added, where one lies outside or is missing.
        """
        start, into = values.ctypes.data, cells.ctypes.data
        return bool(self._scores(start, len(values), into))

    def _agrees(self) -> bool:
        rows = np.arange(200, dtype=np.uint8).reshape(2, 100)
        one, other = (sha256(row.tobytes()).digest() for row in rows)
        above = sha256(b"\1" + one + other).digest()
        hashes = self.leaves(rows).tobytes()
        if hashes != one + other or self.root(hashes) != above:
            return False
        values = np.array([np.nan, -np.inf, -0.0, 0.0, 3.0, np.inf])
        reached, cells = np.zeros((1, 1), np.int64), np.zeros(257, np.int64)
        self.reach(values.reshape(1, 6), np.zeros((1, 1)), reached)
        self.fold(values, 0.0, 1.0, cells)
        if self.scores(values, cells) or not self.scores(values[2:4], cells):
            return False
        places = np.flatnonzero(cells).tolist()
        return reached.item() == 4 and places == [0, 127, 128, 224, 255, 256]  # noqa: PLR2004, of these values


@lru_cache(maxsize=1)
def kernel() -> Kernel | None:
    """Return the kernel if it was built and can be used here."""
    return Kernel.load(BUILT) if BUILT.exists() else None


def build(into: Path = BUILT) -> None:
    """Compile. Raises CalledProcessError or FileNotFoundError without a C compiler."""
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
            str(SOURCE),
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

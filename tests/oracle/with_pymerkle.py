"""Pymerkle's roots and proofs of trees it is told of; run where only it is installed.

Reads JSON lines `{"leaves": [hex, …], "index": 3, "old": 5}` and answers each with
`{"root": …, "old_root": …, "inclusion": [hex, …], "consistency": [hex, …]}`. Shares no
code with what it judges.
"""

from __future__ import annotations

import json
import sys
import warnings

from pymerkle import InmemoryTree


def consistency(tree: InmemoryTree, old: int, new: int) -> list[bytes]:
    """RFC 6962, section 2.1.2, word for word, over pymerkle's roots of ranges."""

    def sub(m: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        if m == end - start:
            return [] if whole else [tree._get_root(start, end)]
        k = 1
        while k * 2 < end - start:
            k *= 2
        if m <= k:
            right = tree._get_root(start + k, end)
            return [*sub(m, start, start + k, whole=whole), right]
        left = tree._get_root(start, start + k)
        return [*sub(m - k, start + k, end, whole=False), left]

    return sub(old, 0, new, whole=True)


def main() -> None:
    warnings.simplefilter("error")
    for line in sys.stdin:
        asked = json.loads(line)
        tree = InmemoryTree(algorithm="sha256")
        for leaf in asked["leaves"]:
            tree.append_entry(bytes.fromhex(leaf))
        size, old = len(asked["leaves"]), asked["old"]
        # its paths begin with the leaf itself, and its leaves are counted from 1
        _, *path = tree.prove_inclusion(asked["index"] + 1, size).path
        found = {
            "root": tree.get_root(size).hex(),
            "old_root": tree.get_root(old).hex(),
            "inclusion": [node.hex() for node in path],
            "consistency": [node.hex() for node in consistency(tree, old, size)],
        }
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

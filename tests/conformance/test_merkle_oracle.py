"""Roots and proofs of random trees are those of a library that shares nothing with us.

`make oracle` installs it apart, for its licence forbids to need it; without it these
are skipped. MODELKEEP_MERKLE_ORACLE names the Python of another place that has it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pytest

from modelkeep.proof.merkle import (
    Leaves,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
    root_of,
    verify_consistency,
    verify_inclusion,
)

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = Path(
    os.environ.get(
        "MODELKEEP_MERKLE_ORACLE", ROOT / "build" / "oracle" / "bin" / "python"
    )
)
LARGEST: Final = 200


class Asking:
    def __init__(self, told: IO[str], answers: IO[str]) -> None:
        self._told, self._answers = told, answers

    def __call__(
        self, contents: list[bytes], index: int, old: int
    ) -> dict[str, object]:
        leaves = [content.hex() for content in contents]
        asked = {"leaves": leaves, "index": index, "old": old}
        self._told.write(json.dumps(asked) + "\n")
        self._told.flush()
        found: dict[str, object] = json.loads(self._answers.readline())
        return found


@contextmanager
def oracle() -> Iterator[Asking]:
    if not PYTHON.exists():
        pytest.skip("the oracle pymerkle is not installed: make oracle")
    program = str(ROOT / "tests" / "oracle" / "with_pymerkle.py")
    with subprocess.Popen(
        [str(PYTHON), "-I", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Asking(process.stdin, process.stdout)
        process.stdin.close()


def hexed(proof: list[bytes]) -> list[str]:
    return [node.hex() for node in proof]


def agree(trees: int, seed: int) -> None:
    random_ = random.Random(seed)  # noqa: S311, to be the same again
    with oracle() as ask:
        for _ in range(trees):
            size = random_.randint(1, LARGEST)
            contents = [random_.randbytes(random_.randrange(40)) for _ in range(size)]
            index, old = random_.randrange(size), random_.randint(1, size)
            leaves = [leaf_hash(content) for content in contents]
            tree, root = Leaves(leaves), root_of(leaves)
            inclusion = inclusion_proof(tree, index, size)
            consistency = consistency_proof(tree, old, size)
            assert ask(contents, index, old) == {
                "root": root.hex(),
                "old_root": root_at(tree, old).hex(),
                "inclusion": hexed(inclusion),
                "consistency": hexed(consistency),
            }
            assert verify_inclusion(leaves[index], index, size, inclusion, root)
            assert verify_consistency(
                old, root_of(leaves[:old]), size, root, consistency
            )


def test_a_hundred_random_trees_are_those_of_another_library() -> None:
    agree(100, seed=1)


@pytest.mark.slow
def test_ten_thousand_random_trees_are_those_of_another_library() -> None:
    agree(10_000, seed=6962)

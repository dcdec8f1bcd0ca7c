"""Proofs made together are those that are made one by one."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.proof.errors import Malformed
from modelkeep.proof.inclusions import Inclusions, inclusion_proofs
from modelkeep.proof.merkle import Leaves, inclusion_proof, root_of, verify_inclusion

LEAVES = [sha256(bytes([n % 256, n // 256])).digest() for n in range(1_300)]


@settings(max_examples=40)
@given(st.integers(1, 1_300), st.data())
def test_many_proofs_are_each_what_one_would_be(size: int, data: st.DataObject) -> None:
    indexes = data.draw(st.lists(st.integers(0, size - 1), max_size=5))
    nodes = Leaves(LEAVES)
    found = inclusion_proofs(nodes, indexes, size)
    assert found == [inclusion_proof(nodes, index, size) for index in indexes]


def test_every_leaf_of_a_tree_is_proven() -> None:
    root = root_of(LEAVES)
    proofs = inclusion_proofs(Leaves(LEAVES), range(len(LEAVES)), len(LEAVES))
    for index, (leaf, proof) in enumerate(zip(LEAVES, proofs, strict=True)):
        assert verify_inclusion(leaf, index, len(LEAVES), proof, root)


def test_what_is_not_in_the_tree_is_not_proven() -> None:
    with pytest.raises(Malformed):
        Inclusions(Leaves(LEAVES), 1_301)
    with pytest.raises(Malformed):
        Inclusions(Leaves(LEAVES), 1_300).proof(1_300)
    with pytest.raises(Malformed):
        Inclusions(Leaves(LEAVES), 7).proof(-1)

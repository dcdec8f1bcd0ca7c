"""The Merkle tree against RFC 6962's own definition, known roots and mutated proofs."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.proof.errors import Malformed
from modelkeep.proof.merkle import (
    EMPTY_ROOT,
    TILE,
    Frontier,
    Leaves,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
    root_of,
    row_inclusion,
    row_root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(b"%d" % n) for n in range(700)]
SIZES = [*range(1, 66), 127, 128, 129, 255, 256, 257, 511, 512, 513, 700]

# The inputs and roots that implementations of Certificate Transparency share.
KNOWN_INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = naive_root(leaves[:split]), naive_root(leaves[split:])
    return sha256(b"\1" + left + right).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*naive_path(index, leaves[:split]), naive_root(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive_root(leaves[:split])]


def naive_consistency(
    old: int, leaves: Sequence[bytes], *, whole: bool = True
) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = leaves[:split], leaves[split:]
    if old <= split:
        return [*naive_consistency(old, left, whole=whole), naive_root(right)]
    return [*naive_consistency(old - split, right, whole=False), naive_root(left)]


class Counting(Leaves):
    """A stored tree that counts what is read of it."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        super().__init__(leaves)
        self.read = 0

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        self.read += end - start
        return super().leaves(start, end)


@pytest.mark.parametrize(("size", "root"), list(enumerate(KNOWN_ROOTS)))
def test_the_roots_are_those_everybody_knows(size: int, root: str) -> None:
    assert row_root(KNOWN_INPUTS[:size]).hex() == root


def test_no_leaves_have_the_root_of_nothing() -> None:
    assert Frontier.empty().root() == root_of([]) == EMPTY_ROOT
    assert root_at(Leaves([]), 0) == EMPTY_ROOT


@pytest.mark.parametrize("size", SIZES)
def test_roots_are_as_the_rfc_defines_them(size: int) -> None:
    wanted = naive_root(LEAVES[:size])
    assert root_of(LEAVES[:size]) == wanted
    assert root_at(Leaves(LEAVES), size) == wanted


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_proofs_are_as_the_rfc_defines_them(size: int) -> None:
    tree, root = Leaves(LEAVES), root_of(LEAVES[:size])
    for index in {*range(min(size, 66)), size // 2, size - 1}:
        proof = inclusion_proof(tree, index, size)
        assert proof == naive_path(index, LEAVES[:size])
        assert verify_inclusion(LEAVES[index], index, size, proof, root)


@pytest.mark.parametrize("size", SIZES)
def test_consistency_proofs_are_as_the_rfc_defines_them(size: int) -> None:
    tree, root = Leaves(LEAVES), root_of(LEAVES[:size])
    for old in {*range(1, min(size, 66) + 1), size // 2 or 1, size}:
        proof = consistency_proof(tree, old, size)
        assert proof == naive_consistency(old, LEAVES[:size])
        assert verify_consistency(old, root_of(LEAVES[:old]), size, root, proof)


@given(
    size=st.integers(1, len(LEAVES)),
    data=st.data(),
)
def test_a_leaf_has_no_proof_but_its_own(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = root_of(LEAVES[:size])
    proof = inclusion_proof(Leaves(LEAVES), index, size)
    assert verify_inclusion(LEAVES[index], index, size, proof, root)
    other = data.draw(
        st.integers(0, size - 1).filter(lambda n: n != index or size == 1)
    )
    if size > 1:
        assert not verify_inclusion(LEAVES[other], index, size, proof, root)
        assert not verify_inclusion(LEAVES[index], other, size, proof, root)
    assert not verify_inclusion(LEAVES[index], index, size, [*proof, root], root)
    assert not verify_inclusion(LEAVES[index], index, size, [root, *proof], root)
    assert not verify_inclusion(LEAVES[index], index + size, size, proof, root)
    assert not verify_inclusion(LEAVES[index], -1, size, proof, root)
    for mutant in mutants(proof):
        assert not verify_inclusion(LEAVES[index], index, size, mutant, root)


@given(size=st.integers(2, len(LEAVES)), data=st.data())
def test_a_history_has_no_proof_but_its_own(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    before, after = root_of(LEAVES[:old]), root_of(LEAVES[:size])
    proof = consistency_proof(Leaves(LEAVES), old, size)
    assert verify_consistency(old, before, size, after, proof)
    assert not verify_consistency(old, after, size, before, proof)
    assert not verify_consistency(old, leaf_hash(before), size, after, proof)
    assert not verify_consistency(old, before, size, leaf_hash(after), proof)
    assert not verify_consistency(old, before, size, after, [*proof, after])
    assert not verify_consistency(old, before, size, after, [before, *proof])
    for mutant in mutants(proof):
        assert not verify_consistency(old, before, size, after, mutant)


def mutants(proof: list[bytes]) -> list[list[bytes]]:
    """Proofs with one bit turned, one hash less, one hash too short, two exchanged."""
    made = []
    for at, node in enumerate(proof):
        turned = bytes([node[0] ^ 1]) + node[1:]
        made.append([*proof[:at], turned, *proof[at + 1 :]])
        made.append([*proof[:at], *proof[at + 1 :]])
        made.append([*proof[:at], node[:-1], *proof[at + 1 :]])
    made += [
        [*proof[: at - 1], proof[at], proof[at - 1], *proof[at + 1 :]]
        for at in range(1, len(proof))
    ]
    return made


@given(st.lists(st.integers(0, 300), max_size=6))
def test_an_edge_grows_the_same_in_any_portions(portions: list[int]) -> None:
    edge, at, nodes = Frontier.empty(), 0, []
    for portion in portions:
        portion = min(portion, len(LEAVES) - at)  # noqa: PLW2901, cut to what is left
        edge = Frontier.load(edge.size, edge.dump())
        nodes += edge.extend(LEAVES[at : at + portion])
        at += portion
    whole = Frontier.empty()
    assert nodes == [node for leaf in LEAVES[:at] for node in whole.append(leaf)]
    assert (edge.size, edge.dump()) == (at, whole.dump())
    assert edge.root() == naive_root(LEAVES[:at])


def test_of_the_inner_nodes_only_every_eighth_level_is_stored() -> None:
    leaves = [leaf_hash(n.to_bytes(4, "big")) for n in range((1 << 16) + 300)]
    nodes = Frontier.empty().extend(leaves)
    assert {level for level, _, _ in nodes} == {8, 16}
    assert [index for level, index, _ in nodes if level == 8] == list(range(257))
    assert nodes[0][2] == naive_root(leaves[:TILE])
    assert next(n for n in nodes if n[0] == 16)[2] == naive_root(leaves[: 1 << 16])


def test_a_proof_reads_less_than_a_tile_of_leaves() -> None:
    tree = Counting([leaf_hash(n.to_bytes(4, "big")) for n in range(3000)])
    inclusion_proof(tree, 1234, 3000)
    assert tree.read <= TILE + 3000 % TILE


def test_a_dump_of_another_size_is_refused() -> None:
    edge = Frontier.empty()
    edge.extend(LEAVES[:7])
    with pytest.raises(Malformed, match="edge of 8 leaves"):
        Frontier.load(8, edge.dump())
    with pytest.raises(Malformed):
        Frontier.load(-1, edge.dump())


def test_a_copy_of_an_edge_grows_alone() -> None:
    edge = Frontier.empty()
    edge.extend(LEAVES[:7])
    before = edge.dump()
    edge.copy().extend(LEAVES[7:20])
    assert (edge.size, edge.dump()) == (7, before)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (0, 701), (6, 5)])
def test_there_is_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(Malformed):
        inclusion_proof(Leaves(LEAVES), index, size)


@pytest.mark.parametrize(("old", "new"), [(6, 5), (-1, 5), (5, 701)])
def test_there_is_no_proof_of_a_shrinking_history(old: int, new: int) -> None:
    with pytest.raises(Malformed):
        consistency_proof(Leaves(LEAVES), old, new)


def test_a_stored_tree_with_holes_is_noticed() -> None:
    class Holed(Leaves):
        def leaves(self, start: int, end: int) -> Sequence[bytes]:
            return super().leaves(start, end)[1:]

    with pytest.raises(Malformed, match="level 0"):
        root_at(Holed(LEAVES), 8)


def test_a_row_is_proven_in_its_batch() -> None:
    rows = [b"row %d" % n for n in range(1000)]
    root = row_root(rows)
    proof = row_inclusion(rows, 777)
    assert verify_inclusion(leaf_hash(rows[777]), 777, 1000, proof, root)
    assert not verify_inclusion(leaf_hash(rows[778]), 777, 1000, proof, root)


def shared_vectors(kind: str) -> list[Path]:
    default = Path(__file__).parents[3] / "shared" / "data"
    data = Path(os.environ.get("MODELKEEP_SHARED_DATA", default))
    return sorted((data / "fixtures" / "tlog_rfc6962" / kind).rglob("*.json"))


def unpack(vector: dict[str, object], key: str) -> bytes:
    return base64.b64decode(str(vector[key]))


def proof_of(vector: dict[str, list[str] | None]) -> list[bytes]:
    return [base64.b64decode(node) for node in vector["proof"] or []]


def test_shared_inclusion_vectors() -> None:
    paths = shared_vectors("inclusion")
    if not paths:
        pytest.skip("the vectors tlog_rfc6962/inclusion are not here")
    for path in paths:
        vector = json.loads(path.read_text())
        proven = verify_inclusion(
            unpack(vector, "leafHash"),
            vector["leafIdx"],
            vector["treeSize"],
            proof_of(vector),
            unpack(vector, "root"),
        )
        assert proven != vector["wantErr"], path


def test_shared_consistency_vectors() -> None:
    paths = shared_vectors("consistency")
    if not paths:
        pytest.skip("the vectors tlog_rfc6962/consistency are not here")
    for path in paths:
        vector = json.loads(path.read_text())
        sizes = vector["size1"], vector["size2"]
        old_root, new_root = unpack(vector, "root1"), unpack(vector, "root2")
        proof = proof_of(vector)
        proven = verify_consistency(sizes[0], old_root, sizes[1], new_root, proof)
        assert proven != vector["wantErr"], path

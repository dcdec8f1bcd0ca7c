"""What a notary signed: the note, the checkpoint in it, and the tree it is of."""

from __future__ import annotations

from typing import NamedTuple

from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.merkle import Nodes


class Signed(NamedTuple):
    """A checkpoint as signed, and the tree it was signed of."""

    note: bytes
    checkpoint: Checkpoint
    nodes: Nodes

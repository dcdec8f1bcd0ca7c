"""Check here what the service says is proven: nothing is taken on its word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.proof.checkpoint import open_signed
from modelkeep.proof.errors import ProofError
from modelkeep.proof.leaf import event_leaf
from modelkeep.proof.merkle import leaf_hash, verify_inclusion
from modelkeep.proof.note import VerifierKey


class Step(NamedTuple):
    said: str
    holds: bool


def steps(proof: pb.RowProof, key: VerifierKey) -> Iterator[Step]:
    """Walk from the row to the signature; each step rests on the one before. Where the
    batch proves columns, from its root: of the row alone, nothing is proven.
    """
    if not proof.not_proven:
        yield _row(proof)
    event, inclusion = proof.event, proof.inclusion
    yield Step(
        f"the root {proof.root.hex()[:12]} is in event {event.id} ({event.name})",
        _names(event, proof.root),
    )
    checkpoint = inclusion.checkpoint
    yield Step(
        f"that event is number {inclusion.index + 1:,} of {checkpoint.size:,} in the"
        " log",
        _leaf(event, checkpoint.origin) == inclusion.leaf
        and verify_inclusion(
            inclusion.leaf,
            inclusion.index,
            checkpoint.size,
            list(inclusion.proof),
            checkpoint.root,
        ),
    )
    yield Step(
        f"that log was signed on {checkpoint.time} by {key.name}",
        _signed(checkpoint, key),
    )


def _row(proof: pb.RowProof) -> Step:
    row = leaf_hash(proof.row)
    return Step(
        f"the row is number {proof.index + 1:,} of {proof.rows:,} under its batch's"
        f" root {proof.root.hex()[:12]}",
        verify_inclusion(row, proof.index, proof.rows, list(proof.proof), proof.root),
    )


def _names(event: pb.Event, root: bytes) -> bool:
    try:
        return bool(json.loads(event.data)["root"] == f"sha256:{root.hex()}")
    except (ValueError, KeyError, TypeError):
        return False


def _leaf(event: pb.Event, origin: str) -> bytes:
    return event_leaf(
        origin,
        event.stream,
        event.version,
        UUID(event.id).bytes,
        event.name,
        event.schema_version,
        event.data.encode(),
        event.metadata.encode(),
    )


def _signed(told: pb.Checkpoint, key: VerifierKey) -> bool:
    try:
        signed, _ = open_signed(told.note.encode(), [key])
    except ProofError:
        return False
    return (signed.origin, signed.size, signed.root) == (
        told.origin,
        told.size,
        told.root,
    )

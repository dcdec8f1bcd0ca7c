"""Single events: where each is, what it says, and the proof that it is in the log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.errors import Corrupt, Invalid, NotFound
from modelkeep.paging import DEFAULT_SIZE, MAX_SIZE
from modelkeep.proof.merkle import inclusion_proof, root_at, verify_inclusion
from modelkeep.service import Asked
from modelkeep.store.port import NO_STREAM, START, Recorded
from modelkeep_services.audit import views
from modelkeep_services.audit.notary import Notary
from modelkeep_services.audit.signed import Signed
from modelkeep_services.audit.trees import leaf_of

MAX_STREAM: Final = 1_000
MAX_PAGE_BYTES: Final = 512 * 1024
"""Of events in one answer, which must stay below gRPC's limit."""


def find(asked: Asked, event_id: str) -> Recorded:
    """Return an event of the caller's tenant. Raises Invalid, NotFound."""
    try:
        key = str(UUID(event_id))
    except ValueError:
        raise Invalid.field("event_id", "must be a UUID") from None
    where = asked.read.get(views.index, key)
    if where is None:
        raise NotFound("event", event_id)
    found = asked.host.store.read_stream(
        where.stream, after=where.version - 1 if where.version else NO_STREAM, limit=1
    )
    recorded = next(iter(found), None)
    if recorded is None or str(recorded.uuid) != key:
        raise Corrupt(f"event {key} is not at {where.stream}@{where.version} any more")
    return recorded


def told(recorded: Recorded) -> pb.Event:
    meta = recorded.meta
    event = pb.Event(
        id=str(recorded.uuid),
        stream=recorded.stream,
        version=recorded.version,
        position=recorded.position,
        name=recorded.name,
        schema_version=recorded.schema_version,
        roles=[role for role in meta.get("actor_roles", "").split(",") if role],
        command_id=meta.get("command_id", ""),
        cause=meta.get("$causationId", ""),
        data=recorded.data.decode(),
        metadata=recorded.metadata.decode(),
    )
    event.actor.issuer = meta.get("actor_issuer", "")
    event.actor.subject = meta.get("actor_subject", "")
    event.known_at.FromDatetime(datetime.fromisoformat(meta["known_at"]))
    effective = meta.get("effective_at", meta["known_at"])
    event.effective_at.FromDatetime(datetime.fromisoformat(effective))
    event.recorded_at.FromMicroseconds(recorded.recorded_at)
    return event


def list_events(
    asked: Asked, stream: str, page: Page, bound: int | None
) -> tuple[list[pb.Event], str]:
    """Return a page of the tenant's events and the token of the next."""
    if len(stream) > MAX_STREAM:
        raise Invalid.field("stream", f"is longer than {MAX_STREAM} characters")
    size = page.size or DEFAULT_SIZE
    if size > MAX_SIZE:
        raise Invalid.field("page.size", f"is more than {MAX_SIZE}")
    found: list[pb.Event] = []
    weight = 0
    for recorded in _from(asked, stream, _after(page.token)):
        if bound is not None and recorded.position > bound:
            break
        if recorded.meta.get("tenant") != asked.actor.tenant:
            continue
        weight += len(recorded.data) + len(recorded.metadata)
        if found and (len(found) == size or weight > MAX_PAGE_BYTES):
            last = found[-1]
            return found, str(last.version if stream else last.position)
        found.append(told(recorded))
    return found, ""


def _from(asked: Asked, stream: str, after: int | None) -> Iterator[Recorded]:
    store = asked.host.store
    if stream:
        return store.read_stream(stream, after=NO_STREAM if after is None else after)
    return store.read_all(after=START if after is None else after)


def _after(token: str) -> int | None:
    if not token:
        return None
    if not token.isascii() or not token.isdigit() or len(token) > len(str(2**63)):
        raise Invalid.field("page.token", "is not one this service gave")
    return int(token)


def checkpoint(notary: Notary, signed: Signed) -> pb.Checkpoint:
    return pb.Checkpoint(
        note=signed.note.decode(),
        origin=signed.checkpoint.origin,
        size=signed.checkpoint.size,
        root=signed.checkpoint.root,
        time=signed.checkpoint.time or "",
        key=str(notary.key.verifier),
    )


def include(notary: Notary, recorded: Recorded) -> pb.Inclusion:
    """Prove an event to a checkpoint signed now. Raises Corrupt when its bytes are not
    those whose leaf is in the tree.
    """
    index = notary.tree.leaf_index(recorded.position)
    signed = notary.sign()
    nodes, size = signed.nodes, signed.checkpoint.size
    leaf = leaf_of(notary.tree.origin, recorded)
    proof = inclusion_proof(nodes, index, size)
    root = root_at(nodes, size)
    if not verify_inclusion(leaf, index, size, proof, root):
        raise Corrupt(f"event {recorded.uuid} is not the one whose leaf is in the tree")
    return pb.Inclusion(
        event_id=str(recorded.uuid),
        leaf=leaf,
        index=index,
        proof=proof,
        checkpoint=checkpoint(notary, signed),
    )

"""The signer: signs how far the log has come, and never two histories.

Its memory is one small file: the last checkpoint it signed and the tree's edge at that
size. The next root is computed from that edge and the leaves since, so no checkpoint
can be signed that does not continue the last; the tree as stored must then agree. What
it published is asked too, and what a witness showed it: one that remembers less than
these was restored from an old copy, and signs nothing. Keep the memory and the
published folder where the ledger's administrators cannot write:

    checkpoint     the latest signed note
    checkpoints    all of them, oldest first
    leaves         the hash of every leaf signed, 32 bytes each: with it an altered
                   event is named even when every hash in the ledger was recomputed
    rotations      how one key followed another (see `rotation.py`)
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.proof import checkpoint, durable, note, rotation
from modelkeep.proof.checkpoint import Checkpoint
from modelkeep.proof.errors import Forked, Malformed, ProofError, Retired
from modelkeep.proof.evidence import HISTORY, LATEST, LEAVES
from modelkeep.proof.merkle import HASH_BYTES, Frontier, Nodes, root_at
from modelkeep.proof.note import SigningKey, VerifierKey
from modelkeep.proof.rotation import ROTATIONS, Eras, Rotation

_AT_ONCE: Final = 1 << 16


class _Memory(NamedTuple):
    """What the signer must not forget.

    Its last note, the tree's edge at that size, and where in the published history the
    note begins.
    """

    raw: bytes
    signed: Checkpoint
    edge: Frontier
    offset: int


class Signer:
    """Signs for one log. `state` is its memory; `published` a folder for others.

    Beside its memory lie `rotations`, how its key came to sign, and `<state>.seen`,
    what others showed it.
    """

    def __init__(
        self, key: SigningKey, origin: str, *, state: Path, published: Path
    ) -> None:
        self._key = key
        self._origin = origin
        self._state = state
        self._published = published
        self._rotations = state.with_name(ROTATIONS)
        self._read_changes: tuple[int, list[Rotation]] = (0, [])
        self._seen = state.with_name(state.name + ".seen")

    def last(self) -> Checkpoint | None:
        """Return the last checkpoint signed; raises Malformed, BadSignature, Forked."""
        memory = self._recall()
        return memory.signed if memory else None

    def saw(self, raw: bytes) -> Checkpoint:
        """Take note of a checkpoint that somebody else kept, and return it.

        When it is further on than the memory is, nothing is signed from here on, also
        by another process. Raises Malformed or BadSignature when it is not this log's.
        """
        with self._alone():
            seen = self._own(raw)
            memory = self._read() if self._state.exists() else None
            if seen.size > (memory.signed.size if memory else -1):
                durable.replace(self._seen, raw, mode=0o600)
            return seen

    def rotate(self, new: SigningKey, *, time: str, compromised: bool) -> Rotation:
        """Name `new` as this key's successor, which signs from now on.

        The statement comes first: once it is there, this key signs no more, and asking
        again, also after a crash, finishes what was begun. `time` is RFC 3339, UTC.
        Raises Malformed when nothing was signed yet, or another successor was named,
        and what `sign` does.
        """
        with self._alone():
            stated = self._successor()
            if stated is None:
                last = self._recall()
                if last is None:
                    raise Malformed("nothing was signed yet: there is no key to follow")
                raw = rotation.endorse(
                    self._key, new, last.signed, time, compromised=compromised
                )
                path = self._rotations
                told = path.read_bytes() if path.exists() else b""
                durable.replace(path, told + raw)
                stated = rotation.open_rotation(raw)
            if stated.new != new.verifier:
                raise Malformed(f"{stated.new} was named as its successor")
            self._hand_over(stated, new)
            return stated

    def _hand_over(self, stated: Rotation, new: SigningKey) -> None:
        """Sign the last checkpoint anew, by the successor's hand."""
        memory = self._read()
        if memory.signed.size != stated.size or memory.signed.root != stated.root:
            raise Forked(f"{self._state} is not at the {stated.size} events stated")
        signed = memory.signed._replace(extensions=(checkpoint.stamped(stated.time),))
        raw = new.sign_note(signed.encode())
        if memory.raw != raw:
            offset = _length(self._published / HISTORY)
            memory = memory._replace(raw=raw, signed=signed, offset=offset)
            self._remember(memory)
        self._publish(memory)

    def _successor(self) -> Rotation | None:
        own = self._key.verifier
        return next((one for one in self._changes() if one.old == own), None)

    def _changes(self) -> list[Rotation]:
        """Read how the log's key changed; its file is read again when it did."""
        size = _length(self._rotations)
        if size != self._read_changes[0]:
            found = rotation.read(self._rotations)
            ours = [one for one in found if one.origin == self._origin]
            self._read_changes = (size, ours)
        return self._read_changes[1]

    def _keys_at(self, size: int) -> list[VerifierKey]:
        """Return the keys of this log's whose word binds it at that size."""
        changes = self._changes()
        named = (key for one in changes for key in (one.old, one.new))
        return Eras([self._key.verifier, *named], changes).at(size)

    def sign(self, nodes: Nodes, *, time: str | None = None) -> bytes:
        """Sign the log as it stands, remember that, publish it; return the note.

        A log that has not grown gets its last note again. `time` is RFC 3339, UTC.
        Raises Forked when the log is shorter than what was signed, or another; Retired
        when the key named a successor; and Malformed or BadSignature when memory or
        folder is not this signer's.
        """
        with self._alone():
            if successor := self._successor():
                raise Retired(f"the key that signs is now {successor.new}")
            last = self._recall()
            if last:
                self._publish(last)  # a crash may have come between
            size = nodes.size
            if last and size <= last.signed.size:
                self._require_same(nodes, last.signed)
                return last.raw
            edge = self._grown(nodes, size, last.edge if last else Frontier.empty())
            extensions = (checkpoint.stamped(time),) if time else ()
            signed = Checkpoint(self._origin, size, edge.root(), extensions)
            raw = self._key.sign_note(signed.encode())
            memory = _Memory(raw, signed, edge, _length(self._published / HISTORY))
            self._remember(memory)
            self._publish(memory)
            return raw

    def _require_same(self, nodes: Nodes, signed: Checkpoint) -> None:
        if nodes.size < signed.size:
            raise Forked(
                f"{self._origin} has {nodes.size} events, and {signed.size} were signed"
            )
        if root_at(nodes, signed.size) != signed.root:
            raise Forked(f"{self._origin} is not the history that was signed")

    def _grown(self, nodes: Nodes, size: int, old: Frontier) -> Frontier:
        """Return the edge at `size`, and publish the leaves up to there."""
        path = self._published / LEAVES
        if _length(path) < old.size * HASH_BYTES:
            self._restore_leaves(nodes, old)
        edge = old.copy()
        for at in range(old.size, size, _AT_ONCE):
            leaves = nodes.leaves(at, min(at + _AT_ONCE, size))
            edge.extend(leaves)
            durable.append(path, b"".join(leaves), at=at * HASH_BYTES)
        if edge.size != size or root_at(nodes, size) != edge.root():
            raise Forked(
                f"{self._origin} does not continue the {old.size} events signed before"
            )
        return edge

    def _restore_leaves(self, nodes: Nodes, old: Frontier) -> None:
        """Write the published leaves anew, if they are still those signed."""
        edge = Frontier.empty()
        path = self._published / LEAVES
        for at in range(0, old.size, _AT_ONCE):
            leaves = nodes.leaves(at, min(at + _AT_ONCE, old.size))
            edge.extend(leaves)
            durable.append(path, b"".join(leaves), at=at * HASH_BYTES)
        if edge.root() != old.root():
            path.unlink(missing_ok=True)
            raise Forked(f"{self._origin} is not the history that was signed")

    def _publish(self, memory: _Memory) -> None:
        history = self._published / HISTORY
        if _length(history) != memory.offset + len(memory.raw):
            durable.append(history, memory.raw, at=min(memory.offset, _length(history)))
        latest = self._published / LATEST
        if not latest.exists() or latest.read_bytes() != memory.raw:
            durable.replace(latest, memory.raw)

    def _recall(self) -> _Memory | None:
        memory = self._read() if self._state.exists() else None
        remembered = memory.signed.size if memory else -1
        for seen in self._shown():
            if seen.size > remembered:
                raise Forked(
                    f"{seen.size} events of {self._origin} were signed and published,"
                    f" and {self._state} does not remember it"
                )
        return memory

    def _shown(self) -> Iterator[Checkpoint]:
        """Yield the last checkpoints that others hold, from each place they may be."""
        for path in (self._published / LATEST, self._seen):
            if path.exists():
                yield self._own(path.read_bytes())
        if (last := self._last_of_history()) is not None:
            yield last

    def _last_of_history(self) -> Checkpoint | None:
        """Read the end of all that was published: who restored the latest checkpoint
        may have left it alone. A crash may have cut it short.
        """
        for raw in checkpoint.newest(self._published / HISTORY):
            try:
                return self._own(raw)
            except ProofError:
                continue
        return None

    def _read(self) -> _Memory:
        try:
            stored = json.loads(self._state.read_bytes())
            raw = str(stored["note"]).encode()
            edge_bytes, offset = bytes.fromhex(stored["edge"]), int(stored["offset"])
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"{self._state} is no signer's memory") from error
        signed = self._own(raw)
        edge = Frontier.load(signed.size, edge_bytes)
        if edge.root() != signed.root:
            raise Malformed(f"{self._state} holds an edge other than the one signed")
        return _Memory(raw, signed, edge, offset)

    def _own(self, raw: bytes) -> Checkpoint:
        size = Checkpoint.parse(note.parse(raw).text).size
        signed, _ = checkpoint.open_signed(raw, self._keys_at(size))
        if signed.origin != self._origin:
            raise Malformed(f"a checkpoint of {signed.origin}, not of {self._origin}")
        return signed

    def _remember(self, memory: _Memory) -> None:
        stored = {
            "note": memory.raw.decode(),
            "edge": memory.edge.dump().hex(),
            "offset": memory.offset,
        }
        durable.replace(self._state, json.dumps(stored).encode(), mode=0o600)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the memory's lock: two signers would each forget the other."""
        self._published.mkdir(parents=True, exist_ok=True)
        self._state.parent.mkdir(parents=True, exist_ok=True)
        with self._state.with_name(self._state.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

"""The writer's signature: one Ed25519 signature an append, in its last metadata.

The last event's metadata, a flat JSON object, ends with

    ,"signature":"<key id, 8 hex>:<count>:<base64 of 64 bytes>"}

and what is signed are the `count` events of the append up to that one, each by its id
and the digests of its name, data and metadata, the last event's metadata without that
member:

    "modelkeep append v1" LF stream LF first version, decimal LF
    id, 16 bytes; schema version, 64-bit big-endian;
    SHA-256(name) SHA-256(data) SHA-256(metadata), for each event
"""

from __future__ import annotations

import base64
import re
import struct
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from modelkeep.proof.crowd import FEW, Answer, Check, Signed, here
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import SigningKey, VerifierKey

_FORMAT: Final = b"modelkeep append v1\n"
_MEMBER: Final = re.compile(
    rb',"signature":"([0-9a-f]{8}:[1-9][0-9]{0,8}:[A-Za-z0-9+/]{86}==)"\}\Z'
)
_LONGEST: Final = 256  # bytes; a member is shorter, and the search looks no further
_AT_ONCE: Final = FEW  # appends checked together
_ASKED: Final = 64  # of such that are waited for
_STATED: Final = struct.Struct(">16sQ32s32s32s")
_PENDING: Final = 1 << 16  # events of a stream: more than the largest append holds


class Signable(NamedTuple):
    """What a writer's signature says of one event; `metadata` as yet unsigned."""

    id: bytes
    name: str
    schema_version: int
    data: bytes
    metadata: bytes


class Written(NamedTuple):
    """An event as found; `leaf` is its leaf's index, its metadata may be signed."""

    leaf: int
    stream: str
    version: int
    event: Signable


class Doubt(NamedTuple):
    """An event that no writer stands for, and why."""

    leaf: int
    stream: str
    version: int
    reason: str


class _Append(NamedTuple):
    """An append whose signature is being checked; its events' leaves and versions."""

    stream: str
    events: Sequence[tuple[int, int]]
    signed: Signed


class Vouched(NamedTuple):
    """`events` counts those signed for, by key name; `doubts` holds the first few.
    `cut` are events of appends that only a part of is here: nothing is known of them.
    """

    events: Mapping[str, int]
    doubtful: int
    doubts: Sequence[Doubt]
    cut: int = 0


def append_message(
    stream: str, first_version: int, events: Sequence[Signable]
) -> bytes:
    """Return what a writer signs."""
    # An append's events share names, and all but the last their metadata.
    known: dict[bytes, bytes] = {}
    told = [_stated(event, known) for event in events]
    return _message(stream, first_version, told)


def attach(metadata: bytes, signature: str) -> bytes:
    """Return `metadata` with "<key id>:<count>:<base64>" as its last member.

    Raises Malformed when it is empty, no object, or signed already.
    """
    if not metadata.endswith(b"}") or metadata[:-1].rstrip().endswith(b"{"):
        raise Malformed("a signature goes at the end of an object with members")
    if detach(metadata)[1]:
        raise Malformed("the metadata is signed already")
    signed = metadata[:-1] + b',"signature":"' + signature.encode() + b'"}'
    if detach(signed) != (metadata, signature):
        raise Malformed(f"{signature!r} is no writer's signature")
    return signed


def detach(metadata: bytes) -> tuple[bytes, str | None]:
    """Return the metadata that was signed, and the signature if there is one."""
    at = metadata.rfind(b',"signature":"', -_LONGEST)
    found = _MEMBER.match(metadata, at) if at >= 0 else None
    if not found:
        return metadata, None
    return metadata[:at] + b"}", found[1].decode()


def sign_append(
    key: SigningKey,
    stream: str,
    first_version: int,
    events: Sequence[Signable],
) -> bytes:
    """Return the last event's metadata, signed by `key` for all of `events`."""
    content = base64.b64encode(key.sign(append_message(stream, first_version, events)))
    return attach(events[-1].metadata, f"{key.key_id}:{len(events)}:{content.decode()}")


class Writers:
    """Follows the events of a log in order and asks each append for its writer.

    An append's events follow each other in their stream, whatever lies between them in
    the log, so each stream waits here for the signature that closes its append.

    Of a part of a log, `late` says that it begins after the first event, `early` that
    it ends before the last: the appends at either end may be in two pieces.

    `check` is given signatures some at a time, and may answer while others come.
    """

    def __init__(
        self,
        keys: Iterable[VerifierKey],
        *,
        keep: int = 100,
        late: bool = False,
        early: bool = False,
        check: Check = here,
    ) -> None:
        self._check = check
        self._asked: list[_Append] = []
        self._answers: deque[tuple[Answer, Sequence[_Append]]] = deque()
        self._late, self._early = late, early
        self._followed: set[str] = set()
        self._cut = 0
        self._keys = {key.id.hex(): key for key in keys}
        self._waiting: dict[str, deque[tuple[int, int, bytes]]] = {}
        self._events: Counter[str] = Counter()
        self._doubts: list[Doubt] = []
        self._doubtful = 0
        self._keep = keep

    def take(self, written: Written) -> None:
        leaf, stream, version, event = written
        metadata, signature = detach(event.metadata)
        said = _stated(event._replace(metadata=metadata), {})
        self.hear(leaf, stream, version, said, signature)

    def hear(
        self, leaf: int, stream: str, version: int, said: bytes, signature: str | None
    ) -> None:
        """Take an event by what is `stated` of it, and the signature that it bears."""
        waiting = self._waiting.get(stream)
        if waiting is None:
            waiting = self._waiting[stream] = deque()
        waiting.append((leaf, version, said))
        if signature:
            self._settle(stream, waiting, signature)
            del self._waiting[stream]
        elif len(waiting) > _PENDING:
            self._unsigned(stream, [waiting.popleft()])

    def finish(self) -> Vouched:
        for stream, waiting in self._waiting.items():
            if self._early:
                self._cut += len(waiting)
            else:
                self._unsigned(stream, waiting)
        self._waiting.clear()
        self._ask()
        while self._answers:
            self._hear_answer()
        doubts = sorted(self._doubts)
        return Vouched(dict(self._events), self._doubtful, doubts, self._cut)

    def _ask(self) -> None:
        """Have the signatures so far checked; wait for some when many are."""
        if self._asked:
            answer = self._check([one.signed for one in self._asked])
            self._answers.append((answer, self._asked))
            self._asked = []
        while len(self._answers) > _ASKED:
            self._hear_answer()

    def _hear_answer(self) -> None:
        answer, asked = self._answers.popleft()
        for one, fits in zip(asked, answer(), strict=True):
            name = one.signed.key.name
            if fits:
                self._events[name] += len(one.events)
            else:
                reason = f"the signature by {name} does not fit"
                self._doubt(one.stream, one.events, reason)

    def _settle(
        self,
        stream: str,
        waiting: deque[tuple[int, int, bytes]],
        signature: str,
    ) -> None:
        key_id, number, content = signature.split(":")
        count = int(number)
        while len(waiting) > count:
            self._unsigned(stream, [waiting.popleft()])
        key = self._keys.get(key_id)
        new = self._late and stream not in self._followed and waiting[0][1] > 0
        if self._late:
            self._followed.add(stream)
        if len(waiting) < count and new:
            self._cut += len(waiting)
            return
        if len(waiting) < count:
            reason = f"its append had {count} events, not {len(waiting)}"
        elif not key:
            reason = f"signed by {key_id}, a key that was not given"
        else:
            message = _message(stream, waiting[0][1], [said for *_, said in waiting])
            signed = Signed(key, message, base64.b64decode(content))
            places = [(leaf, version) for leaf, version, _ in waiting]
            self._asked.append(_Append(stream, places, signed))
            if len(self._asked) == _AT_ONCE:
                self._ask()
            return
        places = [(leaf, version) for leaf, version, _ in waiting]
        self._doubt(stream, places, reason)

    def _unsigned(self, stream: str, events: Iterable[tuple[int, int, bytes]]) -> None:
        places = [(leaf, version) for leaf, version, _ in events]
        self._doubt(stream, places, "signed by nobody")

    def _doubt(
        self, stream: str, events: Iterable[tuple[int, int]], reason: str
    ) -> None:
        for leaf, version in events:
            self._doubtful += 1
            if len(self._doubts) < self._keep:
                self._doubts.append(Doubt(leaf, stream, version, reason))


def check_writers(events: Iterable[Written], keys: Iterable[VerifierKey]) -> Vouched:
    """Say who stands for each of `events`, which are in the log's order."""
    writers = Writers(keys)
    for event in events:
        writers.take(event)
    return writers.finish()


def stated(
    event_id: bytes, schema_version: int, name: str, data: bytes, metadata: bytes
) -> bytes:
    """Return 120 bytes whatever the event: none can run into the next.

    Data and metadata by their digests.
    """
    named = _name_digest(name)
    return _STATED.pack(event_id, schema_version, named, data, metadata)


def _stated(event: Signable, known: dict[bytes, bytes]) -> bytes:
    """`known` remembers the digests of what events share."""
    data = sha256(event.data).digest()
    around = _digest(event.metadata, known)
    return stated(event.id, event.schema_version, event.name, data, around)


@lru_cache(maxsize=1_024)
def _name_digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


def _digest(shared: bytes, known: dict[bytes, bytes]) -> bytes:
    found = known.get(shared)
    if found is None:
        found = known[shared] = sha256(shared).digest()
    return found


def _message(stream: str, first_version: int, told: Sequence[bytes]) -> bytes:
    head = _FORMAT + stream.encode() + b"\n" + str(first_version).encode() + b"\n"
    return head + b"".join(told)

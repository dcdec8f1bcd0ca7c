"""A signed statement of what the views were after so many events of a log.

An in-toto Statement in a DSSE envelope. Its subjects are the views, `<service>/<view>`,
each by the SHA-256 of its rows and their history up to the last of those events; its
predicate says which log that is, by the root that the Merkle tree had then:

    {"origin": "bank.example/ledger", "events": 6403, "root": "<base64>",
     "checkpoint": "<signed note>", "code": {"policy": "<hex>", …}, "program": "0.1.0",
     "attestedAt": "2013-12-31T00:00:00.000000Z"}

Whoever has the log and the program can replay the one with the other and must come to
the same digests: that is what makes a screen evidence. `code` names the shape of each
service's views, for another shape gives other rows.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from modelkeep.proof import dsse
from modelkeep.proof.errors import Malformed
from modelkeep.proof.fields import Fields
from modelkeep.proof.merkle import HASH_BYTES
from modelkeep.proof.note import SigningKey, VerifierKey, unbase64
from modelkeep.proof.verdict import STATEMENT

VIEWS: Final = "https://modelkeep.dev/predicates/views/v1"
KEYS: Final = "views.vkeys"
"""The name that the public keys are published under, beside the checkpoint's."""

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_MOST: Final = 10_000


class Attested(NamedTuple):
    """`views` are digests by `<service>/<view>`, `code` fingerprints by service."""

    origin: str
    events: int
    root: bytes
    checkpoint: str
    views: Mapping[str, str]
    code: Mapping[str, str]
    program: str
    attested_at: str
    signed_by: Sequence[VerifierKey] = ()


def seal(said: Attested, key: SigningKey) -> bytes:
    """Return an attestation, signed, in one line of JSON."""
    statement = {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest}}
            for name, digest in sorted(said.views.items())
        ],
        "predicateType": VIEWS,
        "predicate": {
            "origin": said.origin,
            "events": said.events,
            "root": base64.b64encode(said.root).decode(),
            "checkpoint": said.checkpoint,
            "code": dict(said.code),
            "program": said.program,
            "attestedAt": said.attested_at,
        },
    }
    body = json.dumps(statement, sort_keys=True, separators=(",", ":"))
    return dsse.seal(dsse.IN_TOTO, body.encode(), key)


def open_sealed(raw: bytes, keys: Iterable[VerifierKey]) -> Attested:
    """Read what one of `keys` signed. Raises Malformed and BadSignature.

    Says nothing of whether it is true: that takes a replay.
    """
    body, signers = dsse.open_sealed(raw, keys, dsse.IN_TOTO)
    found = Fields.read(body, "a statement")
    if (found.text("_type"), found.text("predicateType")) != (STATEMENT, VIEWS):
        raise Malformed(f"it is a {found.text('predicateType')!r}, not a {VIEWS}")
    predicate, code = found.inner("predicate"), found.inner("predicate").inner("code")
    root = unbase64(predicate.text("root"))
    if len(root) != HASH_BYTES:
        raise Malformed(f"a root of {len(root)} bytes")
    return Attested(
        predicate.text("origin"),
        predicate.count("events"),
        root,
        predicate.text("checkpoint"),
        _views(found.many("subject")),
        {name: code.text(name) for name in code.names()},
        predicate.text("program"),
        predicate.text("attestedAt"),
        tuple(signers),
    )


def _views(subjects: Sequence[Fields]) -> Mapping[str, str]:
    if not 0 < len(subjects) <= _MOST:
        raise Malformed(f"an attestation is of 1 to {_MOST:,} views")
    views: dict[str, str] = {}
    for one in subjects:
        name, digest = one.text("name"), one.inner("digest").text("sha256")
        if name in views or not _HEX.fullmatch(digest):
            raise Malformed(f"view {name!r} comes twice, or has no SHA-256")
        views[name] = digest
    return views

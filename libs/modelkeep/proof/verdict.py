"""A verdict as others hold it: an in-toto Statement in a signed envelope.

Its subjects are the artifacts of a version, each by the SHA-256 of its bytes, so that
whoever deploys a file can tell whether this is about that file. Its predicate says the
question, the answer, what decided it and until when it holds. A permit is the same,
for one serving stack and some minutes.

A signature proves who said it and that it was not altered since. It does not prove
that nothing happened afterwards: what was revoked is only known to who asks again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from modelkeep.proof import dsse
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import SigningKey, VerifierKey
from modelkeep.proof.times import instant

STATEMENT: Final = "https://in-toto.io/Statement/v1"
VERDICT: Final = "https://modelkeep.dev/predicates/verdict/v1"
PERMIT: Final = "https://modelkeep.dev/predicates/permit/v1"
KEYS: Final = "verdicts.vkeys"
"""The name that the public keys are published under, beside the checkpoint's."""

MAX_SUBJECTS: Final = 1_000
_HEX: Final = frozenset("0123456789abcdef")
_DIGITS: Final = 64


@dataclass(frozen=True)
class Said:
    """What a statement says. `subjects` are artifacts' digests by name."""

    kind: str
    subjects: Mapping[str, str]
    predicate: Mapping[str, object]
    signed_by: Sequence[VerifierKey] = ()

    def word(self, name: str) -> str:
        """Return a text of the predicate, empty where it says nothing."""
        value = self.predicate.get(name, "")
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> float | None:
        """Raises Malformed for one that is larger than any float: 1e999 is JSON."""
        value = self.predicate.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not -sys.float_info.max <= value <= sys.float_info.max:
            raise Malformed(f"{name} is too large a number")
        return float(value)

    def moment(self, name: str) -> datetime | None:
        """Raises Malformed for a text that is no time with its zone."""
        value = self.word(name)
        return instant(value, name) if value else None

    @property
    def digest(self) -> str:
        return self.word("digest")


def version_digest(artifacts: Iterable[str]) -> str:
    """Return a version's digest: SHA-256 over its artifacts' digests, sorted, as JSON.

    >>> version_digest(["sha256:" + "0" * 64])[:17]
    'sha256:88c7936785'
    """
    found = json.dumps(sorted(artifacts), separators=(",", ":"))
    return "sha256:" + hashlib.sha256(found.encode()).hexdigest()


def seal(
    kind: str,
    subjects: Mapping[str, str],
    predicate: Mapping[str, object],
    key: SigningKey,
) -> bytes:
    """Sign a statement of that predicate type. Digests are `sha256:<hex>`."""
    statement = {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
            for name, digest in sorted(subjects.items())
        ],
        "predicateType": kind,
        "predicate": dict(predicate),
    }
    body = json.dumps(statement, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return dsse.seal(dsse.IN_TOTO, body.encode(), key)


def open_sealed(raw: bytes, keys: Iterable[VerifierKey], kind: str) -> Said:
    """Read what one of `keys` signed, if it is of that predicate type.

    Raises Malformed and BadSignature. Says nothing of whether it still holds.
    """
    body, signers = dsse.open_sealed(raw, keys, dsse.IN_TOTO)
    said = parse(body)
    if said.kind != kind:
        raise Malformed(f"it is a {said.kind!r}, not a {kind}")
    return Said(said.kind, said.subjects, said.predicate, tuple(signers))


def parse(body: bytes) -> Said:
    """Take a statement apart; raises Malformed. Its subjects must make its digest."""
    found = dsse.read_object(body, "a statement")
    if dsse.text(found, "_type") != STATEMENT:
        raise Malformed(f"it is no statement: {found['_type']!r}")
    predicate = found.get("predicate")
    if not isinstance(predicate, dict):
        raise Malformed("predicate is missing, or no object")
    subjects = dict(_subjects(found.get("subject")))
    said = Said(
        dsse.text(found, "predicateType"),
        subjects,
        cast("Mapping[str, object]", predicate),
    )
    if said.digest != version_digest(subjects.values()):
        raise Malformed("its artifacts do not make the digest that was judged")
    return said


def _subjects(found: object) -> Iterator[tuple[str, str]]:
    if not isinstance(found, list) or not 0 < len(found) <= MAX_SUBJECTS:
        raise Malformed(f"a statement has 1 to {MAX_SUBJECTS} subjects")
    names: set[str] = set()
    for one in found:
        if not isinstance(one, dict) or not isinstance(one.get("digest"), dict):
            raise Malformed("a subject has a name and digests")
        name, hexed = dsse.text(one, "name"), dsse.text(one["digest"], "sha256")
        if len(hexed) != _DIGITS or not _HEX.issuperset(hexed):
            raise Malformed(f"subject {name!r} has no SHA-256")
        if name in names:
            raise Malformed(f"subject {name!r} comes twice")
        names.add(name)
        yield name, f"sha256:{hexed}"

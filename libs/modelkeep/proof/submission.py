"""What a witness is sent (C2SP tlog-witness 1.0, `add-checkpoint`).

    old 20852014
    PlRNCrwH…=
    jrJZDmY8…=

    bank.example/ledger
    20852163
    CsUYapGG…=

    — bank.example/ledger Az3grlgt…=

The size of the history the witness saw last, the proof that the new one continues it,
an empty line, and the new checkpoint, signed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from modelkeep.proof import note
from modelkeep.proof.errors import Malformed
from modelkeep.proof.merkle import HASH_BYTES

MAX_PROOF: Final = 63
MAX_BODY_BYTES: Final = 1 << 16
PATH: Final = "add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
"""The content type of an answer that is the size the witness saw last."""

_OLD: Final = re.compile(rb"old (0|[1-9][0-9]{0,18})")
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class Submission(NamedTuple):
    """`raw` is the signed checkpoint as it came: nothing in it was checked."""

    old: int
    proof: Sequence[bytes]
    raw: bytes

    def encode(self) -> bytes:
        lines = [f"old {self.old}"]
        lines += [base64.b64encode(one).decode() for one in self.proof]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.raw

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Take a request apart; raises Malformed. Safe on anything."""
        if len(body) > MAX_BODY_BYTES:
            raise Malformed(f"{len(body)} bytes: {MAX_BODY_BYTES} is the most")
        head, blank, raw = body.partition(b"\n\n")
        if not blank:
            raise Malformed("an empty line goes before the checkpoint")
        first, *lines = head.split(b"\n")
        old = _OLD.fullmatch(first)
        if not old:
            raise Malformed("the first line is `old` and a size")
        if len(lines) > MAX_PROOF:
            raise Malformed(f"{len(lines)} lines of proof: {MAX_PROOF} is the most")
        return cls(int(old[1]), [_hash(line) for line in lines], raw)


def _hash(line: bytes) -> bytes:
    try:
        decoded = note.unbase64(line.decode("ascii"))
    except UnicodeDecodeError as error:
        raise Malformed("a line of proof is base64") from error
    if len(decoded) != HASH_BYTES:
        raise Malformed(f"a hash of {len(decoded)} bytes")
    return decoded


def seen_size(body: bytes) -> int:
    """Read the answer that names the size seen last; raises Malformed."""
    found = _SIZE.fullmatch(body)
    if not found:
        raise Malformed("a witness's answer is a size and a newline")
    return int(found[1])

"""Checkpoints told to others' addresses, signed (Standard Webhooks) CloudEvents.

    webhook-id: the SHA-256 of what is told: it stays the same when it is told again
    webhook-timestamp: seconds since 1970, of this attempt
    webhook-signature: v1,base64(HMAC-SHA256(secret, "<id>.<timestamp>.<body>"))

The secret, `whsec_` and base64, is in a file that its owner alone reads; give it to the
receiver by a way of its own.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.errors import Invalid, Unavailable
from modelkeep.ledger import stamp
from modelkeep.outbound import Destination, post
from modelkeep.proof import durable
from modelkeep_services.audit.signed import Signed

SIGNED: Final = "modelkeep.checkpoint.signed"
EXPOSED: Final = "modelkeep.tail.exposed"
COVERED: Final = "modelkeep.tail.covered"

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = range(24, 65)


class Told(NamedTuple):
    """Something to tell: what kind of thing, of which log, and what of it."""

    kind: str
    source: str
    content: Mapping[str, str | int | float]


def of_checkpoint(signed: Signed) -> Told:
    told = signed.checkpoint
    content: dict[str, str | int | float] = {
        "origin": told.origin,
        "size": told.size,
        "root": base64.b64encode(told.root).decode(),
        "note": signed.note.decode(),
    }
    if told.time:
        content["time"] = told.time
    return Told(SIGNED, told.origin, content)


class Webhook:
    """One address, and the secret that it knows us by."""

    def __init__(
        self, to: Destination, secret: bytes, now: Callable[[], float] = time.time
    ) -> None:
        self.to, self._secret, self._now = to, secret, now

    def tell(self, told: Told) -> None:
        """Raises Unavailable when it was not taken."""
        at = self._now()
        content = json.dumps(dict(told.content), ensure_ascii=False)
        stated = f"{told.kind}\n{told.source}\n{content}"
        key = sha256(stated.encode()).hexdigest()[:32]
        body = json.dumps(
            {
                "specversion": "1.0",
                "id": key,
                "source": told.source,
                "type": told.kind,
                "time": stamp(datetime.fromtimestamp(at, UTC)),
                "datacontenttype": "application/json",
                "data": dict(told.content),
            },
            ensure_ascii=False,
        ).encode()
        headers = {
            "Content-Type": "application/cloudevents+json",
            "webhook-id": key,
            "webhook-timestamp": str(int(at)),
            "webhook-signature": signature(self._secret, key, int(at), body),
        }
        reply = post(self.to, body, headers)
        if not 200 <= reply.status < 300:  # noqa: PLR2004  # HTTP's own
            raise Unavailable(f"{self.to} answered {reply.status}")


def signature(secret: bytes, key: str, at: int, body: bytes) -> str:
    """Return what stands in `webhook-signature`."""
    message = f"{key}.{at}.".encode() + body
    digest = hmac.digest(secret, message, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def secret_of(path: Path) -> bytes:
    """Load the secret at `path`, or make one there.

    Raises Invalid, also when others may read the file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        line = _PREFIX + base64.b64encode(os.urandom(32)).decode() + "\n"
        with suppress(FileExistsError):  # another process was first
            durable.create(path, line.encode(), mode=0o600)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Invalid.field("webhook secret", f"{path} is open to others: chmod 600 it")
    line = path.read_text().strip()
    try:
        secret = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except ValueError:
        secret = b""
    if not line.startswith(_PREFIX) or len(secret) not in _SECRET_BYTES:
        raise Invalid.field("webhook secret", f"{path} is not whsec_ and base64")
    return secret

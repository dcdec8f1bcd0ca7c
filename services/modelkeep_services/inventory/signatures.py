"""Publishers' signatures over a version's files: who is trusted, and what they signed.

DIR/keys/publishers/<name>.pub are the public keys an operator has put there; a
signature counts when one of them made it. It is kept under its own digest, among the
artifacts.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Final

from modelkeep.errors import Corrupt, Invalid, NotFound, Refused
from modelkeep.home import Home
from modelkeep.objects import artifacts_of
from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.publishers import Publisher, read_publisher, verify
from modelkeep.service import Asked
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory import views

SUFFIX: Final = ".pub"
MAX_KEY_BYTES: Final = 4_096
MOST: Final = 1_000


def publishers(home: Home) -> Iterator[Publisher]:
    """Everybody who is trusted. Raises Corrupt for a file that is no such key."""
    found = sorted(home.publishers.glob(f"*{SUFFIX}"))
    for path in found[:MOST]:
        with path.open("rb") as file:
            pem = file.read(MAX_KEY_BYTES)
        try:
            yield read_publisher(path.stem, pem)
        except Malformed as error:
            raise Corrupt(f"{path.name}: {error}") from None


def checked_signature(
    command: c.AttachSignature, asked: Asked
) -> c.AttachCheckedSignature:
    """Check who signed, and keep it; what is decided is whether it is this version's.

    Raises NotFound for an unknown version, Invalid for what is no model signature, and
    Refused for one by nobody who is trusted.
    """
    key = f"{command.model}/{command.version}"
    if asked.read.get(views.versions, key) is None:
        raise NotFound("version", key)
    try:
        signed = verify(command.signature, publishers(asked.host.home))
    except Malformed as error:
        raise Invalid.field("signature", str(error)) from None
    except BadSignature as error:
        raise Refused("inventory.publisher-trusted", str(error), subject=key) from None
    kept = artifacts_of(asked.host.home).put(BytesIO(command.signature))
    return c.AttachCheckedSignature(
        model=command.model,
        version=command.version,
        digest=command.digest,
        publisher=signed.publisher.name,
        key=f"sha256:{signed.publisher.fingerprint}",
        signature_digest=kept.digest,
        files=tuple(sorted(signed.digests)),
    )

"""Who is asking: from a verified token or a client certificate, never from a message.

Embedded mode has an issuer of its own: an Ed25519 key in `DIR/keys/issuer.pem` and one
token file a role in `DIR/tokens/`, all 0600, made at first start. An enterprise points
at its OIDC issuer instead (or as well). Verified tokens are remembered by SHA-256 until
they expire, `CACHED_S` at most, and an issuer's keys for `KEYS_S`, so revocation by key
rotation bites within a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from modelkeep.decider import Actor
from modelkeep.errors import Forbidden, Unauthenticated, Unavailable
from modelkeep.proof.dsse import is_utf8
from modelkeep.proof.note import SigningKey

FIRST_LINE: Final = frozenset({"owner", "engineer", "business_owner"})
SECOND_LINE: Final = frozenset({"risk_officer", "validator", "policy_author"})
THIRD_LINE: Final = frozenset({"auditor"})
MACHINES: Final = frozenset({"serving"})
OPERATIONS: Final = frozenset({"operator", "privacy_officer"})
ROLES: Final = FIRST_LINE | SECOND_LINE | THIRD_LINE | MACHINES | OPERATIONS
PEOPLE: Final = FIRST_LINE | SECOND_LINE | THIRD_LINE
HUMAN: Final = PEOPLE | {"privacy_officer"}
"""Roles of persons, unless the token says that it is a machine's."""

LOCAL_ISSUER: Final = "modelkeep.local"
WRITER: Final = "modelkeep-writer"
"""What the key that signs appends is called."""
AUDIENCE: Final = "modelkeep"
DEFAULT_TENANT: Final = "main"
MAX_TENANT: Final = 40
CACHED_S: Final = 30.0
KEYS_S: Final = 30.0
CACHED_TOKENS: Final = 10_000
LEEWAY_S: Final = 60
LATEST: Final = 1 << 53
"""Seconds since 1970."""
MAX_TOKEN_BYTES: Final = 8_192
LOCAL_LIFETIME: Final = timedelta(days=30)
OIDC_LIFETIME: Final = timedelta(hours=1)


NO_KEYS: Final = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What PyJWT raises besides its own of an answer that is no set of keys."""


class Identity(NamedTuple):
    """An actor, and until when this credential speaks for them (seconds since 1970)."""

    actor: Actor
    expires: float


class Issuer(Protocol):
    name: str

    def verify(self, token: str) -> Identity:
        """Raises Unauthenticated, or Unavailable when its keys cannot be had."""


def require(actor: Actor, roles: frozenset[str], action: str) -> None:
    if not actor.roles & roles:
        raise Forbidden(
            f"{action} is for {', '.join(sorted(roles))}; "
            f"{actor.subject} is {', '.join(sorted(actor.roles)) or 'nobody'}"
        )


def _verified(
    token: str,
    key: object,
    algorithms: Sequence[str],
    issuer: str,
    audience: str,
    lifetime: timedelta,
) -> Identity:
    # PyJWT's defaults accept a token without exp, iss or aud; all are demanded here.
    try:
        claims = jwt.decode(
            token,
            key,  # type: ignore[arg-type]  # a public key of whichever algorithm
            algorithms=list(algorithms),
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise Unauthenticated(f"the token is not good: {error}") from None
    issued, expires = _seconds(claims["iat"]), _seconds(claims["exp"])
    if expires - issued > lifetime.total_seconds() + LEEWAY_S:
        raise Unauthenticated(f"the token lives longer than {lifetime}")
    return Identity(_actor(claims), expires)


def _seconds(claim: object) -> float:
    """PyJWT lets pass what int() takes: texts, and numbers that no float holds."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        raise Unauthenticated("the token's iat and exp are not numbers")
    if not abs(claim) < LATEST:
        raise Unauthenticated("the token's iat and exp are not times")
    return float(claim)


def _actor(claims: Mapping[str, object]) -> Actor:
    roles = _words(claims.get("roles")) & ROLES
    subject, tenant = claims["sub"], claims.get("tenant", DEFAULT_TENANT)
    if not isinstance(subject, str) or not isinstance(tenant, str):
        raise Unauthenticated("the token's sub and tenant are not text")
    if not is_utf8(subject):
        raise Unauthenticated("the token's sub holds half a character")
    if not tenant.isascii() or not tenant.isalnum() or len(tenant) > MAX_TENANT:
        raise Unauthenticated("the token's tenant is not a short word")
    return Actor(
        issuer=str(claims["iss"]),
        subject=subject,
        roles=roles,
        tenant=tenant,
        human=bool(roles & HUMAN) and not claims.get("machine", False),
        models=_words(claims.get("models")),
    )


def _words(claim: object) -> frozenset[str]:
    if not isinstance(claim, list):
        return frozenset()
    return frozenset(word for word in claim if isinstance(word, str))


@dataclass
class LocalIssuer:
    """The embedded issuer. Whoever can read `DIR/keys` can be anybody: say so."""

    key: Ed25519PrivateKey
    name: str = LOCAL_ISSUER

    @classmethod
    def open(cls, keys: Path) -> LocalIssuer:
        return cls(private_key(keys / "issuer.pem"))

    def issue(
        self,
        subject: str,
        roles: frozenset[str],
        *,
        tenant: str = DEFAULT_TENANT,
        lifetime: timedelta = LOCAL_LIFETIME,
        models: frozenset[str] = frozenset(),
        machine: bool = False,
    ) -> str:
        now = datetime.now(UTC)
        return jwt.encode(
            {
                "iss": self.name,
                "aud": AUDIENCE,
                "sub": subject,
                "iat": now,
                "exp": now + lifetime,
                "tenant": tenant,
                "roles": sorted(roles),
                "models": sorted(models),
                "machine": machine,
            },
            self.key,
            algorithm="EdDSA",
        )

    def verify(self, token: str) -> Identity:
        return _verified(
            token,
            self.key.public_key(),
            ["EdDSA"],
            self.name,
            AUDIENCE,
            LOCAL_LIFETIME,
        )

    def write_tokens(self, folder: Path) -> None:
        """Write a fresh token file for every role."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for role in sorted(ROLES):
            write_private(
                folder / f"{role}.token",
                self.issue(f"local-{role}", frozenset({role})).encode(),
            )


@dataclass
class OidcIssuer:
    """An enterprise's identity provider, by its published keys."""

    name: str
    audience: str
    jwks_uri: str
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    lifetime: timedelta = OIDC_LIFETIME
    _keys: jwt.PyJWKClient | None = field(default=None, repr=False)

    def verify(self, token: str) -> Identity:
        if self._keys is None:
            # Not `cache_keys`: PyJWT would remember a withdrawn key for ever.
            self._keys = jwt.PyJWKClient(self.jwks_uri, lifespan=KEYS_S, timeout=5)
        try:
            key = self._keys.get_signing_key_from_jwt(token).key
        except jwt.PyJWKClientConnectionError as error:
            raise Unavailable(
                f"the keys of {self.name} cannot be had: {error}"
            ) from None
        except (jwt.PyJWTError, *NO_KEYS) as error:
            raise Unauthenticated(
                f"no key of {self.name} made this token: {error}"
            ) from None
        return _verified(
            token, key, self.algorithms, self.name, self.audience, self.lifetime
        )


class Gatekeeper:
    """All issuers, and the memory of tokens already verified. Thread-safe."""

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._seen: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._lock = threading.Lock()

    def identify(self, token: str) -> Identity:
        known = self.recall(token)
        if known is not None:
            return known
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated("the token is too long to be one")
        identity = self._issuer(token).verify(token)
        now = time.time()
        with self._lock:
            until = min(identity.expires + LEEWAY_S, now + CACHED_S)
            self._seen[hashlib.sha256(token.encode()).digest()] = identity, until
            while len(self._seen) > CACHED_TOKENS:
                self._seen.popitem(last=False)
        return identity

    def recall(self, token: str) -> Identity | None:
        """Return what is remembered of this token: quick enough for an event loop."""
        found = self._seen.get(hashlib.sha256(token.encode()).digest())
        if found is None or found[1] < time.time():
            return None
        return found[0]

    def _issuer(self, token: str) -> Issuer:
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(f"the token is not one: {error}") from None
        issuer = self._issuers.get(str(claims.get("iss")))
        if issuer is None:
            raise Unauthenticated("the token's issuer is not known here")
        return issuer


def renew_writer_key(keys: Path) -> SigningKey:
    """Make another key sign what processes append that start from now on.

    The old public key stays in `keys/writers.vkeys`: it vouches for what it signed.
    """
    fresh = keys / f"writer.key.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    writer_key(keys)  # the old one's public half is there also if it never signed
    SigningKey.generate(WRITER).save(fresh)
    fresh.replace(keys / "writer.key")
    return writer_key(keys)


def writer_key(keys: Path) -> SigningKey:
    """Load or make the key that signs what this home's processes append.

    Its public half is added to `keys/writers.vkeys`, for whoever verifies the log.
    """
    path = keys / "writer.key"
    if not path.exists():
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):  # another process was first
            SigningKey.generate(WRITER).save(path)
    key = SigningKey.load(path)
    known = keys / "writers.vkeys"
    line = f"{key.verifier}\n"
    if not known.exists() or line not in known.read_text():
        with known.open("a") as file:
            file.write(line)
    return key


def private_key(path: Path) -> Ed25519PrivateKey:
    """Load the key at `path`, or make one there, readable by its owner alone."""
    if not path.exists():
        fresh = Ed25519PrivateKey.generate()
        pem = fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, pem, exclusive=True)
    return cast(
        "Ed25519PrivateKey", load_pem_private_key(path.read_bytes(), password=None)
    )


def write_private(path: Path, content: bytes, *, exclusive: bool = False) -> None:
    """Write whole or not at all, 0600. `exclusive`: who came first has written it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        if exclusive:
            os.link(fresh, path)
        else:
            fresh.replace(path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)

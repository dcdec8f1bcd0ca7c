"""Admission: a signed permit to serve a version, asked for at the start and renewed.

    with client.admit("model.onnx", use="origination", key="verdicts.vkeys") as may:
        ...
        may.check()          # for each request: no call, raises NotAdmitted

A yes is a signed permit for some minutes. A thread renews it, as often as the permit
says, and reads the artifact again each time. A no ends it at once, for good: ask anew.

Nobody answers: until the permit ends it holds. From then on the permit decides, which
says what the policy of this model's tier is: `closed` raises, `open` goes on for a
bounded grace. A start needs an answer, whatever the tier.

Signatures need `cryptography` (the extra `admission`). Without it nothing is admitted,
unless `key=None` says that permits are to be believed because of the channel they came
by: that is logged, and `proven` is false.

Time is the machine's own since it started, suspended or not: to set a clock changes
nothing. After a fork, ask again in each process.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import grpc

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.proof import dsse, verdict
from modelkeep.proof.errors import Malformed, ProofError
from modelkeep.proof.evidence import read_keys
from modelkeep.proof.note import VerifierKey, unbase64
from modelkeep.proof.verdict import Said
from modelkeep.proof.verdict_file import digest_of

log = logging.getLogger(__name__)

ACTION: Final = "admit"
CALL_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
LONGEST_S: Final = 366 * 86_400.0
"""No permit is renewed later than this; a thread could not wait for ever."""
EARLIER: Final = 0.1
"""Refreshes are spread over this share of their interval: a fleet starts together."""

UNREACHABLE: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    }
)
"""Says nothing of whether it may serve. Anything else is a no."""

Metadata = tuple[tuple[str, str], ...]
Artifact = str | Path | bytes
Key = str | Path | None
Lost = Callable[["NotAdmitted"], None]


class NotAdmitted(Exception):
    """Whoever asked may not serve, for these `reasons`."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons) or "not admitted")


class Unreached(Exception):
    """Nobody answered: it is not known whether it may serve."""


@dataclass(frozen=True)
class Question:
    """What would be served, where, and for what. `share` is what it is given there,
    unless said.
    """

    model: str
    version: str
    environment: str
    artifacts: Sequence[Artifact]
    use: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Permit:
    """A yes as it came, and until when it holds by this machine's own clock."""

    said: Said
    request: str
    ends: float
    refresh_s: float
    on_unreachable: str
    grace_s: float

    @property
    def last(self) -> float:
        """When it ends though nobody can be asked."""
        return self.ends + (self.grace_s if self.on_unreachable == "open" else 0.0)


def since_boot() -> float:
    """Seconds that the machine has been up, suspended or not; nobody can set it."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Admission:
    """A permit that is kept fresh. Made by `Client.admit`; `check` it, `close` it.

    `lost` is called once, by the thread that asks, when a yes has become a no.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        metadata: Callable[[], Metadata],
        question: Question,
        key: Key,
        *,
        lost: Lost = lambda _: None,
        call_s: float = CALL_S,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self._stub, self._metadata = PolicyServiceStub(channel), metadata
        self._question, self._lost, self._call_s = question, lost, call_s
        self._keys = _keys(key)
        self._clock, self._pid = clock, os.getpid()
        self._asking = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._kept = False
        self._no: NotAdmitted | None = None
        self._unreached = ""
        self._permit: Permit | None = None

    @property
    def proven(self) -> bool:
        """Whether permits' signatures are checked."""
        return self._keys is not None

    @property
    def permit(self) -> Permit | None:
        """The last one, whether or not it still holds."""
        return self._permit

    def check(self) -> Permit:
        """Return the permit that holds now. Raises NotAdmitted. Asks nobody."""
        permit, no = self._permit, self._no
        if no is not None:
            raise NotAdmitted(*no.reasons)
        if permit is None:
            raise NotAdmitted("nobody was asked yet")
        if os.getpid() != self._pid:
            raise NotAdmitted("the permit is another process's: ask again after a fork")
        now = self._clock()
        if now < permit.ends or (self._unreached and now < permit.last):
            return permit
        ago = f"the permit ended {now - permit.ends:.0f} s ago"
        raise NotAdmitted(f"{ago}, and {self._unreached or 'it was not renewed yet'}")

    # --- asking --------------------------------------------------------------------

    def ask(self) -> Permit:
        """Ask anew, also after a no. Raises NotAdmitted; too when nobody answers."""
        with self._asking:
            try:
                permit = self._answered(self._admitted)
            except Unreached as error:
                raise NotAdmitted(f"nobody could be asked: {error}") from None
            except NotAdmitted as no:
                self._no = no
                raise
            self._permit, self._no, self._unreached = permit, None, ""
            if self._kept:
                self._go_on()
            return permit

    def refresh(self) -> bool:
        """Renew the permit now; say whether somebody answered. Raises NotAdmitted."""
        with self._asking:
            if self._no is not None:
                raise NotAdmitted(*self._no.reasons)
            try:
                self._permit = self._answered(self._renewed)
            except Unreached as error:
                self._unreached = f"nobody could be asked: {error}"
                return False
            except NotAdmitted as no:
                self._no = no
                raise
            self._unreached = ""
            return True

    def _answered(self, ask: Callable[[str, str], Permit]) -> Permit:
        """Ask with the digest of what is there now, and a word to know answers by."""
        try:
            return ask(_digest(self._question.artifacts), uuid4().hex)
        except grpc.RpcError as error:
            code, said = _said(error)
            if code in UNREACHABLE:
                raise Unreached(said) from None
            raise NotAdmitted(said) from None

    def _admitted(self, digest: str, nonce: str) -> Permit:
        question = self._question
        request = pb.AdmitRequest(
            request_id=str(uuid4()),
            model=question.model,
            version=question.version,
            digest=digest,
            environment=question.environment,
            use=question.use,
            traffic_share=question.share,
            nonce=nonce,
        )
        began = self._clock()
        answer = self._stub.Admit(
            request, timeout=self._call_s, metadata=self._metadata()
        )
        if not answer.permit:
            raise NotAdmitted(*_why(answer.verdict))
        return self._opened(answer.permit, digest, nonce, began)

    def _renewed(self, digest: str, nonce: str) -> Permit:
        permit = self._permit
        if permit is None or permit.said.digest != digest:
            changed = permit is not None and "the artifact is not what was admitted"
            raise NotAdmitted(changed or "nobody was asked yet")
        request = pb.RenewPermitRequest(
            request_id=str(uuid4()), request=permit.request, nonce=nonce
        )
        began = self._clock()
        answer = self._stub.RenewPermit(
            request, timeout=self._call_s, metadata=self._metadata()
        )
        if answer.ask_again:
            return self._admitted(digest, nonce)
        if not answer.permit:
            raise NotAdmitted(*_why(answer.verdict))
        return self._opened(answer.permit, digest, nonce, began)

    def _opened(self, raw: bytes, digest: str, nonce: str, began: float) -> Permit:
        """Believe a permit if it is signed and answers this very question."""
        try:
            said = opened(raw, self._keys)
            _require(said, self._question, digest, nonce)
            return _permit(said, began)
        except ImportError:
            raise NotAdmitted(NO_CRYPTOGRAPHY) from None
        except ProofError as error:
            raise NotAdmitted(f"the permit is not good: {error}") from None

    # --- the thread ----------------------------------------------------------------

    def start(self) -> Self:
        """Ask, and keep the permit fresh until closed. Raises NotAdmitted."""
        if not self.proven:
            log.warning("permits are believed unproven: no key was given")
        self._kept = True
        self.ask()
        return self

    def _go_on(self) -> None:
        """Keep what was given fresh: by a new thread, when a no has ended the last."""
        if self._closing.is_set() or (self._thread and self._thread.is_alive()):
            return
        self._thread = threading.Thread(
            target=self._run, name="modelkeep-admission", daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        wait = self._until_refresh()
        while not self._closing.wait(wait):
            try:
                answered = self.refresh()
            except NotAdmitted as no:
                self._end(no)
                return
            except Exception:
                # A token that cannot be had, for one: that is not silence, and the
                # permit ends when it says.
                log.exception("the permit was not renewed")
                answered = False
            pause = FIRST_PAUSE_S if answered else min(pause * 2, LONGEST_PAUSE_S)
            wait = self._until_refresh() if answered else pause

    def _until_refresh(self) -> float:
        permit = self._permit
        every = permit.refresh_s if permit is not None else FIRST_PAUSE_S
        return every * (1 - EARLIER * random.random())  # noqa: S311  # spreads a fleet

    def _end(self, no: NotAdmitted) -> None:
        log.error("no longer admitted: %s", no)
        try:
            self._lost(no)
        except Exception:
            log.exception("whoever was told that it is no longer admitted failed")

    def close(self) -> None:
        """Renew no more. What is held ends when it says."""
        self._closing.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(self._call_s * 2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


NO_CRYPTOGRAPHY: Final = (
    "the permit's signature cannot be checked here: install modelkeep[admission]"
)


def opened(raw: bytes, keys: Sequence[VerifierKey] | None) -> Said:
    """Read a permit, proven by `keys`; with None it is only read. Raises ProofError."""
    if keys is not None:
        return verdict.open_sealed(raw, keys, verdict.PERMIT)
    if len(raw) > dsse.MAX_ENVELOPE_BYTES:
        raise Malformed(f"{len(raw)} bytes are no permit")
    envelope = dsse.read_object(raw, "an envelope")
    said = verdict.parse(unbase64(dsse.text(envelope, "payload")))
    if said.kind != verdict.PERMIT:
        raise Malformed(f"it is a {said.kind!r}, not a permit")
    return said


def _require(said: Said, question: Question, digest: str, nonce: str) -> None:
    wanted = {
        "verdict": "ALLOW",
        "action": ACTION,
        "model": question.model,
        "version": question.version,
        "digest": digest,
        "environment": question.environment,
        "use": question.use,
        "nonce": nonce,
    }
    for name, value in wanted.items():
        if said.word(name) != value:
            raise Malformed(f"its {name} is {said.word(name)!r}, not {value!r}")
    share = said.number("trafficShare")
    if question.share is not None and (share is None or share < question.share):
        raise Malformed(f"it is for a share of {share}, not {question.share}")


def _permit(said: Said, began: float) -> Permit:
    issued, expires = said.moment("issuedAt"), said.moment("expiresAt")
    refresh, grace = said.number("refreshSeconds"), said.number("graceSeconds")
    if issued is None or expires is None or refresh is None or refresh <= 0:
        raise Malformed("it does not say how long it holds")
    if refresh > LONGEST_S:
        raise Malformed(f"it is to be renewed in {refresh:g} s, which nobody waits")
    return Permit(
        said,
        said.word("request"),
        # From before it was asked for: its way here is no part of it.
        began + (expires - issued).total_seconds(),
        refresh,
        said.word("onUnreachable"),
        max(grace or 0.0, 0.0),
    )


def _keys(key: Key) -> Sequence[VerifierKey] | None:
    if key is None:
        return None
    try:
        return read_keys(str(key))
    except (ProofError, OSError) as error:
        raise ValueError(f"{key} holds no key of verdicts: {error}") from None


def _digest(artifacts: Sequence[Artifact]) -> str:
    """Return the version's digest that these files make, read now."""
    try:
        return verdict.version_digest(
            f"sha256:{hashlib.sha256(one).hexdigest()}"
            if isinstance(one, bytes)
            else digest_of(Path(one))
            for one in artifacts
        )
    except OSError as error:
        raise NotAdmitted(f"the artifact cannot be read: {error}") from None


def _why(said: pb.Verdict) -> list[str]:
    if said.revoked_because:
        return [f"it was revoked: {said.revoked_because}"]
    return list(said.reasons) or ["it is not allowed"]


def _said(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    if not isinstance(error, grpc.Call):
        return grpc.StatusCode.UNKNOWN, str(error)
    return error.code(), error.details() or error.code().name

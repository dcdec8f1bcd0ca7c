"""`modelkeep gate`: ask whether an action may be done, in a pipeline, and stop if not.

Exit 0: ALLOW; 1: DENY; 3: PENDING, approvals are owed; 4: nobody answered, or not this
caller, so that nothing is known. 2 is a wrong command line. Only 0 lets anything pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, TypeVar
from uuid import uuid4

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.errors import Invalid, ModelkeepError
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep.policy import document
from modelkeep.proof import durable
from modelkeep_services.cli import files, screen
from modelkeep_services.cli.asking import Asking
from modelkeep_services.cli.connect import Connected, connected
from modelkeep_services.cli.screen import fact, line, point, word

A = TypeVar("A")

ALLOWED: Final = 0
DENIED: Final = 1
OWED: Final = 3
UNKNOWN: Final = 4
"""Exit codes."""

TOKEN: Final = "MODELKEEP_TOKEN"  # noqa: S105  # the variable's name
POLL_S: Final = 1.0
CODES: Final[Mapping[int, int]] = {
    pb.REQUEST_STATUS_ALLOWED: ALLOWED,
    pb.REQUEST_STATUS_DENIED: DENIED,
    pb.REQUEST_STATUS_REVOKED: DENIED,
    pb.REQUEST_STATUS_PENDING: OWED,
}
WORDS: Final[Mapping[int, str]] = {ALLOWED: "allow", DENIED: "deny", OWED: "pending"}


@dataclass(frozen=True)
class Gate:
    """One question of a pipeline, as its command line says it."""

    action: str
    model: str
    version: str
    environment: str
    use: str
    digest: str
    target: str
    share: float | None
    evidence: Path | None
    request_id: str
    wait_s: float
    out: Path | None


class Ask(Protocol):
    def __call__(self, method: Callable[..., A], request: object) -> A: ...


@contextmanager
def reached(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    role: str,
    token: str | None,
    target: str | None,
    ca: Path | None,
) -> Iterator[Asking]:
    """Reach the policy service: of a home, or at `target` with a token."""
    if target is not None:
        if not token:
            raise Invalid.field("token", f"another machine wants one: set {TOKEN}")
        with _channel(target, ca) as channel:
            yield Asking(_there(channel, token))
        return
    with (
        screen.progress("reading the log") as tell,
        connected(
            home,
            {"policy": builds["policy"]},
            role,
            store_url=store_url,
            token=token,
            tell=tell,
        ) as there,
    ):
        yield Asking(there)


def _channel(target: str, ca: Path | None) -> grpc.Channel:
    if ca is None and target.rpartition(":")[0].strip("[]") in {
        "127.0.0.1", "::1", "localhost",
    }:  # fmt: skip
        return grpc.insecure_channel(target)
    try:
        root = ca.read_bytes() if ca is not None else None
    except OSError as wrong:
        raise Invalid.field("tls-ca", f"{ca}: {wrong.strerror}") from None
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(root))


def _there(channel: grpc.Channel, token: str) -> Connected:
    credential = (("authorization", f"Bearer {token.strip()}"),)
    return Connected({"policy": channel}, credential)


def run(ask: Asking, gate: Gate, now: datetime | None, *, as_json: bool) -> int:
    """Ask, wait for people as long as was said, tell, and return the exit code.

    What an earlier try was allowed until `now` or before is none; None where the
    ledger's time is not the machine's.
    """
    stub = ask.there.stub("policy", PolicyServiceStub)
    answer = ask(stub.Evaluate, question(gate))
    found = answer.verdict
    if answer.written.replayed:
        # A retry is told what was said at first, whatever has become of it.
        found = latest(ask, stub, found.request)
    found = settled(ask, stub, found, gate.wait_s)
    envelope = b""
    if gate.out is not None:
        asking = pb.SignVerdictRequest(request=found.request)
        envelope = ask(stub.SignVerdict, asking).envelope
        _write(gate.out, envelope)
    code = CODES.get(found.status, DENIED)
    retried = answer.written.replayed
    if code == ALLOWED and retried and now is not None and run_out(found, now):
        code = DENIED
    if as_json:
        screen.say_json(as_object(found, code, envelope))
    else:
        show(found, code, gate.out)
    return code


def question(gate: Gate) -> pb.EvaluateRequest:
    request = pb.EvaluateRequest(
        request_id=gate.request_id or str(uuid4()),
        action=gate.action,
        model=gate.model,
        version=gate.version,
        digest=gate.digest,
        environment=gate.environment,
        use=gate.use,
        target_version=gate.target,
        traffic_share=gate.share,
    )
    if gate.evidence is not None:
        _state(request, gate.evidence)
    return request


def _state(request: pb.EvaluateRequest, file: Path) -> None:
    """Take evidence, retraining and remedies_cause from a file, and nothing else."""
    said = document.read(files.text("evidence", file, document.MAX_BYTES)).data
    parts = {"evidence", "retraining", "remedies_cause"}
    # A file of figures alone is evidence.
    whole = said if said.keys() <= parts else {"evidence": said}
    try:
        request.MergeFrom(ParseDict(whole, pb.EvaluateRequest()))
    except ParseError as wrong:
        raise Invalid.field("evidence", f"{file}: {wrong}") from None


def settled(
    ask: Ask, stub: PolicyServiceStub, found: pb.Verdict, wait_s: float
) -> pb.Verdict:
    """Look every second whether a request still waits, for at most `wait_s`."""
    until = time.monotonic() + wait_s
    while found.status == pb.REQUEST_STATUS_PENDING:
        left = until - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(POLL_S, left))
        found = latest(ask, stub, found.request)
    return found


def run_out(found: pb.Verdict, now: datetime) -> bool:
    """Whether an answer given to an earlier try no longer allows anything."""
    if not found.HasField("expires_at"):
        return False
    return found.expires_at.ToDatetime(tzinfo=UTC) <= now


def latest(ask: Ask, stub: PolicyServiceStub, request: str) -> pb.Verdict:
    return ask(stub.GetVerdict, pb.GetVerdictRequest(request=request)).verdict


def _write(file: Path, envelope: bytes) -> None:
    try:
        durable.replace(file, envelope)
    except OSError as wrong:
        raise Invalid.field("out", f"{file}: {wrong.strerror}") from None


# --- what is told ------------------------------------------------------------------


def as_object(found: pb.Verdict, code: int, envelope: bytes) -> dict[str, object]:
    return {
        "answer": WORDS[code],
        "exit": code,
        "verdict": MessageToDict(found, preserving_proto_field_name=True),
        **({"envelope": envelope.decode()} if envelope else {}),
    }


def show(found: pb.Verdict, code: int, out: Path | None) -> None:
    what = " ".join(filter(None, (found.model, found.version)))
    where = f" in {found.environment}" if found.environment else ""
    tier = f", tier {found.tier}" if found.HasField("tier") else ""
    said = {
        ALLOWED: "may be done",
        DENIED: "may not be done",
        OWED: "waits for people",
    }[code]
    line(word(WORDS[code]), f": to {found.action} {what}{where}{tier} {said}.")
    for why in reasons(found, code):
        point("·", "dim", why)
    for owed in found.owed if code == OWED else ():
        point("!", "yellow", f"{owed.role}: {owed.count} of {owed.of} must approve")
    if code == OWED and found.HasField("approvals_due_at"):
        due = screen.instant(found.approvals_due_at)
        point(
            "!", "yellow", f"due {due}; see `modelkeep gate --request-id` to ask again"
        )
    if code == ALLOWED:
        for condition in found.conditions:
            point("!", "yellow", f"on condition: {condition}")
        if found.HasField("max_traffic_share"):
            point("!", "yellow", f"at most {found.max_traffic_share:g} of the traffic")
        if found.HasField("expires_at"):
            fact("until", screen.instant(found.expires_at))
    fact("rules", f"{found.bundle_version}, {screen.short(found.bundle)}")
    fact("request", found.request)
    if out is not None:
        fact("signed", str(out))


def reasons(found: pb.Verdict, code: int) -> list[str]:
    if found.status == pb.REQUEST_STATUS_REVOKED:
        return [f"it was revoked: {found.revoked_because}"]
    if found.status == pb.REQUEST_STATUS_ALLOWED and code == DENIED:
        return [f"it was allowed until {screen.instant(found.expires_at)}"]
    owed = {f"{o.count} of {o.of} {o.role} must still approve" for o in found.owed}
    return [one for one in found.reasons if code != OWED or one not in owed]


def unknown(error: ModelkeepError) -> str:
    return f"nothing is known of it, so nothing may pass: {error}"

"""`modelkeep dossier`: all that a decision rested on, as one signed file, and as pages
made of that file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.api.policy.v1 import policy_pb2
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.errors import Corrupt, Invalid, Unavailable
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep.proof import dossier as form
from modelkeep.proof import durable, verdict
from modelkeep.proof.dossier_file import Outcome, Trusted, judge, read_file
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import read_keys
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.rotation import ROTATIONS, read
from modelkeep.running import address_of
from modelkeep_services.audit.notary import WRITERS, published
from modelkeep_services.audit.signing import LOG_KEY
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import AUDITOR, Answered, Asking
from modelkeep_services.cli.connect import connected
from modelkeep_services.cli.moments import moment

SHOWN: Final = 12


class Wanted(NamedTuple):
    """Where the file and its pages go; what is None is not written."""

    out: Path | None
    html: Path | None
    pdf: Path | None

    def check(self) -> None:
        """Raises Invalid for what cannot be written."""
        for name, path in self._asdict().items():
            if path is not None and not path.parent.is_dir():
                raise Invalid.field(name, f"there is no folder {path.parent}")
        if self.pdf is not None:
            from modelkeep_services.audit import dossier_paper  # noqa: PLC0415, an extra

            dossier_paper.require()


class Named(NamedTuple):
    """How the decision was named: by its UUID, or by the caller's own id."""

    decision: str | None
    model: str | None
    reference: str | None

    def check(self) -> None:
        if (self.decision is None) == (self.reference is None):
            raise Invalid.field("decision", "name it, or its --model and --reference")
        if self.reference is not None and not self.model:
            raise Invalid.field(
                "model", "a --reference is the caller's: say which model's"
            )


def run(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    named: Named,
    when: str,
    wanted: Wanted,
    *,
    open_personal: bool,
) -> int:
    """Return the exit code: 1 when the file, checked here, does not hold."""
    named.check()
    wanted.check()
    as_of = moment(when)
    needs = ("audit",) if named.decision is not None else ("audit", "monitoring")
    with ExitStack() as stack:
        tell = stack.enter_context(screen.progress("reading the log"))
        # A policy that does not run is not started: it would write its first bundle.
        running = ("policy",) if address_of(home, "policy") else ()
        there = stack.enter_context(
            connected(
                home,
                {name: builds[name] for name in (*needs, *running)},
                AUDITOR,
                store_url=store_url,
                tell=tell,
            )
        )
        asking = Asking(there)
        request = pb.GetDossierRequest(
            as_of=as_of,
            decision=named.decision or _by_reference(asking, named),
            open_personal=open_personal,
        )
        envelope = asking(asking.audit.GetDossier, request).envelope
        if running:
            envelope = _with_verdict(asking, request, envelope)
    out = wanted.out or Path(f"dossier-{request.decision.lower()}.json")
    return _write(envelope, trust(home), wanted._replace(out=out))


def again(home: Home, key: Path | None, source: Path, wanted: Wanted) -> int:
    """Make pages of a file that is there already, without any service."""
    wanted.check()
    try:
        raw = read_file(source)
    except OSError as wrong:
        raise Invalid.field("from", f"{source}: {wrong.strerror}") from None
    return _write(raw, trust(home, key), wanted._replace(out=None))


def _by_reference(asking: Asking, named: Named) -> str:
    stub = asking.there.stub("monitoring", MonitoringServiceStub)
    request = monitoring_pb2.FindDecisionRequest(
        model=named.model or "", reference=named.reference or ""
    )
    return asking(stub.FindDecision, request).decision.decision


def _with_verdict(
    asking: Asking, request: pb.GetDossierRequest, envelope: bytes
) -> bytes:
    """Ask policy to sign what let the version serve, and have it put into the file."""
    let = [
        claim.key
        for claim in form.unsigned(envelope).then.claims
        if claim.kind == "verdict" and claim.derived.get("let_it_serve") is True
    ]
    if not let:
        return envelope
    stub = asking.there.stub("policy", PolicyServiceStub)
    try:
        signed = asking(
            stub.SignVerdict, policy_pb2.SignVerdictRequest(request=let[0])
        ).envelope
    except Answered:
        return envelope  # the file then says that it is not in it
    request.verdict = signed
    return asking(asking.audit.GetDossier, request).envelope


def trust(home: Home, log_key: Path | None = None) -> Trusted:
    """Take the keys that were published, not any that came with an answer."""
    folder = log_key.parent if log_key is not None else published(home)
    try:
        return Trusted(
            log=read_keys(str(log_key or folder / LOG_KEY)),
            dossiers=read_keys(str(folder / form.KEYS)),
            verdicts=_some(folder / verdict.KEYS),
            writers=_some(folder / WRITERS),
            rotations=list(read(folder / ROTATIONS)),
        )
    except (ProofError, OSError) as error:
        raise Unavailable(f"no keys to check it with: {error}") from None


def _some(path: Path) -> list[VerifierKey]:
    return read_keys(str(path)) if path.is_file() else []


def _write(envelope: bytes, trusted: Trusted, wanted: Wanted) -> int:
    outcome = judge(envelope, trusted)
    if outcome.said is None:
        raise Corrupt(outcome.wrong[0])
    made: list[tuple[str, Path]] = []
    if wanted.out is not None:
        durable.replace(wanted.out, envelope)
        made.append(("the signed dossier", wanted.out))
    if wanted.html is not None:
        from modelkeep_services.audit import dossier_page  # noqa: PLC0415  # slow to read

        page = dossier_page.render(outcome.said, envelope, outcome.unproven)
        durable.replace(wanted.html, page.encode())
        made.append(("its page", wanted.html))
    if wanted.pdf is not None:
        from modelkeep_services.audit import dossier_paper  # noqa: PLC0415, an extra

        paper = dossier_paper.render(outcome.said, envelope, outcome.unproven)
        durable.replace(wanted.pdf, paper)
        made.append(("its paper", wanted.pdf))
    _show(outcome, made)
    return outcome.code


def _show(outcome: Outcome, made: list[tuple[str, Path]]) -> None:
    said = outcome.said
    if said is None:
        return
    schema = said.schema
    screen.line(f"decision {said.id}: {schema.model} {schema.version}")
    for wrong in outcome.wrong[:SHOWN]:
        screen.point("! not so:", "bold red", wrong)
    held = sum(one.holds for one in outcome.checks)
    screen.point("+", "green", f"{held} checks hold, {len(said.events)} events cited")
    for gap in said.gaps:
        screen.point("?", "yellow", gap)
    for what, path in made:
        screen.line(f"{what} is in {path}")

"""What the verifier reads, with good examples: whoever made a file may have lied, also
whoever signed it.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tests.faults.good_dossier import dossier_body
from tests.faults.parser import KEY, Parser, json_of
from tests.unit import signed_models
from tests.unit.asserted import Log, agreed, deployed, given
from tests.unit.authority import Authority

from modelkeep.proof import (
    attested,
    dossier_file,
    dsse,
    exam,
    exam_file,
    export,
    rotation,
    timestamp,
    verdict,
    verdict_file,
)
from modelkeep.proof.assertion import Asserting, Scope
from modelkeep.proof.assertions import ALL, asked
from modelkeep.proof.checkpoint import Checkpoint, open_signed
from modelkeep.proof.cosignature import WitnessKey, cosign, cosignatures
from modelkeep.proof.errors import Malformed, ProofError
from modelkeep.proof.evidence import gather
from modelkeep.proof.merkle import Leaves, leaf_hash, root_of
from modelkeep.proof.note import SigningKey
from modelkeep.proof.policy import Policy
from modelkeep.proof.reading import Seen
from modelkeep.proof.saying import clean
from modelkeep.proof.submission import Submission, seen_size
from modelkeep.proof.verify_export import verify_export
from modelkeep.publishers import Publisher, read_publisher
from modelkeep.publishers import verify as verify_model
from modelkeep.sdk import admit

PUBLISHER: Final = ec.derive_private_key(7, ec.SECP256R1())
OTHER: Final = SigningKey("other.example", bytes(32))
PROOF: Final = (ProofError,)
NOW: Final = datetime(2013, 7, 1, tzinfo=UTC)


def proof_parsers(folder: Path) -> Mapping[str, Parser]:
    note = _note()
    turned = rotation.endorse(KEY, OTHER, _checkpoint(), "2013-04-01T00:00:00Z")
    published = folder / "published"
    published.mkdir(exist_ok=True)
    return {
        "checkpoint": Parser(_signed, [_checkpoint().encode().encode()], PROOF),
        "cosignature": Parser(_cosigned, [note.encode()], PROOF),
        "trust": Parser(_trust, [_trusting()], PROOF),
        "submission": Parser(
            _submitted,
            [Submission(4, [bytes(32)] * 2, note.encode()).encode(), b"4\n"],
            PROOF,
        ),
        "rotation": Parser(_rotated, [turned], PROOF),
        "evidence": Parser(
            partial(_evidence, published), [note.encode() + turned], PROOF
        ),
        "attested": Parser(_attested, [_an_attestation()], PROOF),
        "verdict": Parser(_verdict, [_a_verdict()], ()),
        "dossier": Parser(_dossier, [dossier_body(KEY, note)], ()),
        "told": Parser(_told, [_a_log()], PROOF),
        **_stamping(folder),
        "permit": Parser(_permit, [_a_permit()], PROOF),
        "export": Parser(partial(_export, folder / "e.jsonl"), [_an_export()], PROOF),
        "exam": Parser(partial(_exam, folder / "x.zip"), [_a_pack(_a_list())], PROOF),
        "exam_list": Parser(partial(_listed, folder / "l.zip"), [_a_list()], PROOF),
        "publisher": Parser(partial(read_publisher, "x"), [signed_models.KEY], PROOF),
        "model_signature": Parser(_model_signed, [signed_models.SIGNATURE], PROOF),
        "model_statement": Parser(
            _model_stated, [json.dumps(signed_models.statement()).encode()], PROOF
        ),
    }


# --- notes ---------------------------------------------------------------------------


def _leaves() -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(5)]


def _checkpoint() -> Checkpoint:
    return Checkpoint(KEY.name, 5, root_of(_leaves()), ("time 2013-07-01T00:00:00Z",))


def _note() -> str:
    text = _checkpoint().encode()
    return KEY.sign_note(text).decode() + cosign(KEY, text, 1_370_000_000)


def _signed(raw: bytes) -> None:
    """Whatever the log's own key signs."""
    text = raw.decode(errors="replace")
    told, _ = open_signed(KEY.sign_note(text), [KEY.verifier])
    clean(f"{told.origin} {told.size:,} {told.time}").encode()


def _cosigned(raw: bytes) -> None:
    cosignatures(raw, [WitnessKey.of(KEY), WitnessKey.of(OTHER)])


def _stamping(folder: Path) -> Mapping[str, Parser]:
    """An authority's answer, where there is one to answer and a reader of answers."""
    if not timestamp.possible() or shutil.which("openssl") is None:
        return {}
    authority, note = Authority(folder / "authority"), _note().encode()
    roots = timestamp.certificates(authority.root)
    answer = authority.answer(timestamp.question(note).body)

    def read(raw: bytes) -> None:
        timestamp.stamped_at(timestamp.Stamp(note, raw), roots)

    return {"timestamp": Parser(read, [answer], PROOF)}


def _trusting() -> bytes:
    first, second = WitnessKey.of(KEY), WitnessKey.of(OTHER)
    return (
        f"log {KEY.verifier}\nwitness a {first} https://a.example\n"
        f"witness b {second}\n# a remark\ngroup one any a b\ngroup all all one\n"
        "quorum one\n"
    ).encode()


def _trust(raw: bytes) -> None:
    text = raw.decode(errors="replace")
    policy = Policy.parse(text)
    policy.met(policy.keys)


def _submitted(raw: bytes) -> None:
    """Either way: what a witness is sent, and what it answers."""
    seen_size(raw) if raw[:1].isdigit() else Submission.parse(raw)


def _rotated(raw: bytes) -> None:
    rotation.Eras([KEY.verifier], [rotation.open_rotation(raw)]).at(4)


def _evidence(folder: Path, raw: bytes) -> None:
    (folder / "checkpoints").write_bytes(raw)
    (folder / rotation.ROTATIONS).write_bytes(raw)
    gather(folder, [KEY.verifier]).published_leaves()


# --- statements ----------------------------------------------------------------------


def _body(sealed: bytes, kind: str = dsse.IN_TOTO) -> bytes:
    return dsse.open_sealed(sealed, [KEY.verifier], kind).body


def _an_attestation() -> bytes:
    said = attested.Attested(
        KEY.name, 5, bytes(32), _note(), {"policy/rules": "0" * 64}, {"policy": "0"},
        "1.0", "2013-07-01T00:00:00Z",
    )  # fmt: skip
    return _body(attested.seal(said, KEY))


def _attested(raw: bytes) -> None:
    attested.open_sealed(dsse.seal(dsse.IN_TOTO, raw, KEY), [KEY.verifier])


def _a_verdict() -> bytes:
    digest = "sha256:" + "0" * 64
    predicate = {
        "digest": verdict.version_digest([digest]),
        "verdict": "ALLOW",
        "action": "promote",
        "model": "fraud",
        "version": "v1",
        "environment": "prod",
        "issuedAt": "2013-06-30T00:00:00+00:00",
        "expiresAt": "2013-09-30T00:00:00+00:00",
        "maxTrafficShare": 0.5,
    }
    return _body(verdict.seal(verdict.VERDICT, {"m": digest}, predicate, KEY))


def _verdict(raw: bytes) -> None:
    wanted = verdict_file.Wanted(NOW, {"model": "fraud"}, {"m": "sha256:"}, share=0.1)
    sealed = dsse.seal(dsse.IN_TOTO, raw, KEY)
    outcome = verdict_file.judge(sealed, [KEY.verifier], wanted)
    json.dumps(verdict_file.as_json(outcome)).encode()
    verdict_file.screen(outcome, whole=True).encode()


def _a_permit() -> bytes:
    digest = "sha256:" + "0" * 64
    predicate = {
        "digest": verdict.version_digest([digest]),
        "request": "r1",
        "issuedAt": "2013-06-30T00:00:00+00:00",
        "expiresAt": "2013-06-30T01:00:00+00:00",
        "trafficShare": 0.5,
        "refreshSeconds": 600,
        "graceSeconds": 60,
        "onUnreachable": "serve",
    }
    return _body(verdict.seal(verdict.PERMIT, {"m": digest}, predicate, KEY))


def _permit(raw: bytes) -> None:
    """What a serving process is told, and how long it then waits."""
    sealed = dsse.seal(dsse.IN_TOTO, raw, KEY)
    said = verdict.open_sealed(sealed, [KEY.verifier], verdict.PERMIT)
    permit = admit._permit(said, 0.0)
    assert permit.refresh_s < threading.TIMEOUT_MAX


def _dossier(raw: bytes) -> None:
    """Signed by somebody trusted, and not: then it is told what else is wrong."""
    keys = [KEY.verifier]
    trusted = dossier_file.Trusted(keys, keys, keys, keys, artifacts={"m": "sha256:"})
    for signer in (KEY, OTHER):
        sealed = dsse.seal(dsse.IN_TOTO, raw, signer)
        outcome = dossier_file.judge(sealed, trusted)
        json.dumps(dossier_file.as_json(outcome)).encode()
        dossier_file.screen(outcome).encode()


# --- events --------------------------------------------------------------------------


def _a_log() -> bytes:
    """The events of two promotions as JSON: name, stream, data, metadata."""
    log = Log()
    agreed(log)
    log.add("model.fraud", deployed(log.add("policy.r2", given("r2"))))
    return json.dumps(
        [
            [stream, new.name, json.loads(new.data), json.loads(new.metadata)]
            for stream, new in log.events
        ]
    ).encode()


def _told(raw: bytes) -> None:
    """Everything that can be asserted, of events that anybody may have written."""
    found = json_of(raw, Malformed)
    watch = Asserting(asked([ALL], Scope()), 1_000)
    for leaf, one in enumerate(found if isinstance(found, list) else []):
        match one:
            case [str(stream), str(name), data, metadata] if name in watch.names:
                pair = json.dumps(data).encode(), json.dumps(metadata).encode()
                stream = stream.encode(errors="replace").decode()
                id_ = UUID(int=leaf + 1).bytes
                watch.take(Seen(leaf, stream, leaf, id_, name, 1, *pair))
    for result in watch.finish("2013-07-01T00:00:00Z").each:
        clean(repr(result)).encode()


class _Event:
    """What an export is made of."""

    def __init__(self, number: int) -> None:
        self.stream, self.version, self.id = (
            "model-main.a",
            number,
            UUID(int=number).bytes,
        )
        self.name, self.schema_version, self.recorded_at = "inventory.deployed", 1, 7
        self.data = b'{"model":"fraud","version":"v1","environment":"prod"}'
        self.metadata = b'{"known_at":"2013-04-01T00:00:00Z","tenant":"main"}'


def _an_export() -> bytes:
    head = export.head(
        KEY.name, Leaves(_leaves()), 1, 4, 5, KEY.sign_note(_checkpoint().encode())
    )
    return head.encode() + b"".join(export.encode(_Event(n)) for n in range(1, 4))


def _export(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    if not export.is_export(path):
        raise Malformed("the command takes it for a ledger")
    watch = Asserting(asked([ALL], Scope()), 5)
    report = verify_export(path, [KEY.verifier], writers=[KEY.verifier], watch=watch)
    json.dumps(report.json()).encode()
    report.screen().encode()


# --- archives, and others' formats ---------------------------------------------------


def _a_list() -> bytes:
    said = {
        "format": exam.FORMAT,
        "origin": KEY.name,
        "as_of": "2013-07-01",
        "made_at": "2013-07-01",
        "files": [{"name": "a.csv", "sha256": "0" * 64, "size": 3}],
    }
    return json.dumps(said).encode()


def _a_pack(listed: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"a\n1")
        archive.writestr(exam.MANIFEST, dsse.seal(exam.KIND, listed, KEY))
    return made.getvalue()


def _exam(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    found = exam.check(path, [KEY.verifier])
    "".join(map(clean, exam_file._screen(found))).encode()


def _listed(path: Path, raw: bytes) -> None:
    _exam(path, _a_pack(raw))


def _model_signed(raw: bytes) -> None:
    verify_model(raw, [read_publisher("x", signed_models.KEY)])


def _model_stated(raw: bytes) -> None:
    """Whatever a publisher who is trusted signs."""
    body = base64.b64encode(raw).decode()
    signed = PUBLISHER.sign(dsse.pae(dsse.IN_TOTO, raw), ec.ECDSA(hashes.SHA256()))
    bundle = json.loads(signed_models.SIGNATURE)
    bundle["dsseEnvelope"]["payload"] = body
    bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signed).decode()}]
    trusted = Publisher("x", "0" * 64, PUBLISHER.public_key())
    verify_model(json.dumps(bundle).encode(), [trusted])

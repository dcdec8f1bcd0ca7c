"""Whatever reads bytes of others, with good examples of what each reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from google.protobuf.message import DecodeError
from tests.faults.parser import KEY, Parser
from tests.faults.parsers_files import file_parsers
from tests.faults.parsers_ledger import ledger_parsers
from tests.faults.parsers_proof import proof_parsers
from tests.unit.test_inventory_importing import HEADER, RECIPE
from tests.unit.test_monitoring_odcs import LOANS

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.rows import Schema
from modelkeep.errors import Corrupt, Invalid
from modelkeep.identity import Gatekeeper, LocalIssuer, OidcIssuer
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.defaults import NAMES, text
from modelkeep.proof import dsse, note, verdict
from modelkeep.proof.checkpoint import Checkpoint, open_signed
from modelkeep.proof.errors import ProofError
from modelkeep.proof.merkle import Frontier
from modelkeep.wire import values
from modelkeep_services.backup.manifest import Kept, Manifest
from modelkeep_services.cli.moments import moment
from modelkeep_services.inventory.importing import plan, read_mapping
from modelkeep_services.monitoring import baselines, columns, odcs, outcomes


def parsers(folder: Path) -> Mapping[str, Parser]:
    """All of them; `folder` is for those that read files."""
    signed = KEY.sign_note(
        Checkpoint(KEY.name, 1024, bytes(32), ("time 2013-04-01T00:00:00Z",)).encode()
    )
    body = dsse.open_sealed(_statement(), [KEY.verifier], dsse.IN_TOTO).body
    proof = (ProofError,)
    return {
        "note": Parser(_note, [signed, signed * 2], proof),
        "key": Parser(
            lambda raw: note.VerifierKey.parse(raw.decode(errors="surrogateescape")),
            [str(KEY.verifier).encode()],
            proof,
        ),
        "dsse": Parser(_dsse, [_statement(), dsse.seal("x/y", b"{}", KEY)], proof),
        "statement": Parser(verdict.parse, [body], proof),
        "edge": Parser(_edge, [b"\x07" + bytes(96)], proof),
        "bundle": Parser(_bundle, [_small_bundle()]),
        "contract": Parser(_contract, [LOANS.encode()]),
        "mapping": Parser(partial(_mapping, folder / "map.yaml"), [RECIPE.encode()]),
        "table": Parser(partial(_table, folder), _tables()),
        "batch": Parser(_batch, [_observed()], (Invalid, DecodeError)),
        "request": Parser(_request, _requests(), (Invalid, DecodeError)),
        "schema": Parser(
            Schema.from_json, [_schema()], (ValueError, KeyError, TypeError)
        ),
        "manifest": Parser(Manifest.parse, [_manifest()], (Corrupt,)),
        "moment": Parser(
            lambda raw: moment(raw.decode(errors="replace")),
            [b"2013-06-30", b"2013-06-30T12:00:00+02:00", b"1240", b"now"],
        ),
        "token": Parser(*_tokens(folder)),
        "claims": Parser(*_claims(folder)),
        "jwks": Parser(*_jwks(folder)),
        "outcomes": Parser(_outcomes, _became(), (Invalid, DecodeError)),
        "baseline": Parser(_baseline, [_a_baseline()], (Invalid, DecodeError)),
        **ledger_parsers(folder),
        **proof_parsers(folder),
        **file_parsers(folder),
    }


def _note(raw: bytes) -> None:
    note.parse(raw)
    open_signed(raw, [KEY.verifier])


def _statement() -> bytes:
    digest = "sha256:" + "0" * 64
    predicate = {
        "digest": verdict.version_digest([digest]),
        "outcome": "ALLOW",
        "expires": "2013-06-30T00:00:00+00:00",
        "position": 10,
    }
    return verdict.seal("https://modelkeep.dev/v1", {"m": digest}, predicate, KEY)


def _dsse(raw: bytes) -> None:
    body = dsse.open_sealed(raw, [KEY.verifier], dsse.IN_TOTO).body
    verdict.parse(body)


def _edge(raw: bytes) -> None:
    """A tree's edge, of as many leaves as the first byte says."""
    Frontier.load(int.from_bytes(raw[:1], "big"), raw[1:])


def _small_bundle() -> bytes:
    """The shortest of the library, whose parts all others have too."""
    return min((text(name) for name in NAMES), key=len).encode()


def _bundle(raw: bytes) -> None:
    load_bundle(raw.decode(errors="replace"))


def _contract(raw: bytes) -> None:
    odcs.read(raw.decode(errors="replace"))


def _mapping(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    read_mapping(path)


def _tables() -> list[bytes]:
    row = "Retail,1,Fraud  guard,LLM,stop fraud,Cards; Wires,2024-05-01,0.02,Emil B\n"
    return [(HEADER + row).encode(), (HEADER + row * 30).encode("utf-8-sig")]


def _table(folder: Path, raw: bytes) -> None:
    mapping, table = folder / "good.yaml", folder / "table.csv"
    if not mapping.exists():
        mapping.write_text(RECIPE)
    table.write_bytes(raw)
    plan(table, read_mapping(mapping))


def _observed() -> bytes:
    rows = 5
    return pb.ObserveRequest(
        batch=str(UUID(int=1)),
        model="late",
        version="v1",
        rows=rows,
        decision_ids=b"".join(UUID(int=one).bytes for one in range(rows)),
        times=(1_700_000_000_000_000).to_bytes(8, "little") * rows,
        scores=b"\0\0\0\0\0\0\xe0\x3f" * rows,
        columns=[
            pb.Column(name="x", values=bytes(8 * rows), validity=b"\x1f"),
            pb.Column(
                name="w", dtype=pb.DTYPE_UTF8, values=bytes(4 * rows), dictionary=["a"]
            ),
        ],
    ).SerializeToString()


def _batch(raw: bytes) -> None:
    columns.decisions(pb.ObserveRequest.FromString(raw))


def _outcomes(raw: bytes) -> None:
    outcomes.parsed(pb.RecordOutcomesRequest.FromString(raw))


def _became() -> list[bytes]:
    """Of two decisions, as yes or no, and as numbers."""
    about = pb.RecordOutcomesRequest(
        batch=str(UUID(int=1)),
        model="late",
        rows=2,
        decision_ids=b"".join(UUID(int=one).bytes for one in range(2)),
        known_at=(1_700_000_000_000_000).to_bytes(8, "little") * 2,
    )
    numbers = pb.RecordOutcomesRequest(values=bytes(16), never=b"\0\1")
    numbers.MergeFrom(about)
    about.outcomes = b"\0\2"
    return [about.SerializeToString(), numbers.SerializeToString()]


def _baseline(raw: bytes) -> None:
    baselines._piece(pb.RegisterBaselineRequest.FromString(raw))


def _a_baseline() -> bytes:
    column = pb.Column(name="x", values=bytes(16))
    return pb.RegisterBaselineRequest(
        columns=[column], scores=bytes(16), outcomes=b"\1\2", latency_ms=bytes(16)
    ).SerializeToString()


def _requests() -> list[bytes]:
    artifact = inv.Artifact(name="m", digest="sha256:" + "a" * 64, size=1)
    version = inv.RegisterVersionRequest(
        request_id=str(UUID(int=1)),
        model="fraud",
        version="v1",
        artifacts=[artifact] * 3,
    )
    version.effective_at.FromJsonString("2013-06-30T00:00:00Z")
    return [version.SerializeToString()]


def _request(raw: bytes) -> None:
    values(inv.RegisterVersionRequest.FromString(raw))


def _schema() -> bytes:
    return Schema("late", "v1", "prod", "", (("x", "f64"), ("w", "utf8"))).to_json()


def _manifest() -> bytes:
    files = (Kept("ledger.db", 10, "0" * 64), Kept("keys/writer.key", 1, "1" * 64))
    return Manifest("o", 1, 0, "00" * 32, "", "2013-04-01", False, files).encode()  # noqa: FBT003


def _tokens(
    folder: Path,
) -> tuple[Callable[[bytes], object], list[bytes]]:
    issuer = LocalIssuer.open(folder)
    token = issuer.issue("dana", frozenset({"owner"})).encode()
    gatekeeper = Gatekeeper([issuer])
    return lambda raw: gatekeeper.identify(raw.decode(errors="replace")), [token]


def _claims(folder: Path) -> tuple[Callable[[bytes], object], list[bytes]]:
    """What an issuer signs, whatever it signs."""
    issuer = LocalIssuer.open(folder)
    gatekeeper, signing = Gatekeeper([issuer]), jwt.PyJWS()
    good = jwt.decode(
        issuer.issue("dana", frozenset({"owner"}), lifetime=timedelta(days=1)),
        options={"verify_signature": False},
    )

    def read(raw: bytes) -> None:
        token = signing.encode(raw, issuer.key, algorithm="EdDSA")
        gatekeeper.identify(token).actor.subject.encode()

    return read, [json.dumps(good).encode()]


def _jwks(folder: Path) -> tuple[Callable[[bytes], object], list[bytes]]:
    """What an issuer's address answers when it is asked for its keys."""
    key = LocalIssuer.open(folder).key
    public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
    claims = {"iss": "idp", "aud": "modelkeep", "sub": "x", "iat": 1, "exp": 9e9}
    token = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "a"})

    class Answers(jwt.PyJWKClient):
        said = b""

        def fetch_data(self) -> Any:
            return json.loads(self.said)

    def read(raw: bytes) -> None:
        issuer = OidcIssuer("idp", "modelkeep", "", lifetime=timedelta.max)
        issuer._keys = Answers("https://idp.example", cache_jwk_set=False)
        issuer._keys.said = raw
        issuer.verify(token)

    return read, [json.dumps({"keys": [public | {"kid": "a"}]}).encode()]

"""A dossier with something of everything in it, such as whoever forges one would write:
it reads, and of its proofs only the checkpoint holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from modelkeep.proof import dossier, dsse, row, verdict
from modelkeep.proof.note import SigningKey

DIGEST: Final = "sha256:" + "d" * 64
MODEL: Final[Mapping[str, Any]] = {
    "model": "fraud",
    "version": "v1",
    "environment": "prod",
    "digest": DIGEST,
}
SAID: Final[Mapping[str, Mapping[str, Any]]] = {
    "monitoring.batch-recorded": {"rows": 2, "root": DIGEST, "row_schema": DIGEST},
    "monitoring.outcomes-recorded": {"rows": 1, "root": DIGEST},
    "inventory.version-registered": {"artifacts": [{"name": "m", "digest": DIGEST}]},
    "inventory.card-attached": {"card_digest": DIGEST},
    "inventory.deployed": {"verdict_source": "r", "share": 1.0},
    "policy.verdict-given": {"request": "r1", "verdict": "allow"},
    "policy.approved": {"request": "r1"},
    "lineage.node-recorded": {"node": "n"},
    "lineage.linked": {"source_node": "n", "target_node": "m"},
    "monitoring.disposition-recorded": {"decision": "d", "disposition": "accepted"},
}
"""By an event's name, what it says beside MODEL."""

KINDS: Final = {
    "batch": "evidence",
    "outcomes": "evidence",
    "version": "version",
    "card": "card",
    "deployed": "deployment",
    "verdict": "verdict",
    "approved": "verdict",
    "node": "lineage",
    "linked": "lineage",
    "disposition": "disposition",
}
"""What an event is claimed for, by how its name begins."""


def dossier_body(key: SigningKey, note: str) -> bytes:
    """The statement that is signed; `note` is a checkpoint that `key` signed."""
    events = [_event(number, name) for number, name in enumerate(SAID)]
    claims = [_claim(one) for one in events]
    log = {"checkpoint": note, "origin": key.name, "events": events}
    moment = {"time": "2013-07-01T00:00:00Z", "claims": claims}
    proven = {"event": events[0]["id"], "index": 1, "rows": 2, "path": []}
    predicate = {
        "issued_at": "2013-07-02T00:00:00Z",
        "decision": {**_decision(), "batch": proven},
        "outcome": {
            "value": 1,
            "kind": "binary",
            "known_at": 1_372_636_800_000_000,
            "batch": proven | {"event": events[1]["id"]},
        },
        "log": log,
        "then": moment,
        "now": moment,
        "card": "{}",
        "verdict": verdict.seal(verdict.VERDICT, {"m": DIGEST}, {}, key).decode(),
        "personal": {"name": "[sealed]"},
        "gaps": ["no lineage"],
    }
    sealed = dossier.seal(b"", UUID(int=1), predicate, key)
    return dsse.open_sealed(sealed, [key.verifier], dsse.IN_TOTO).body


def _decision() -> Mapping[str, object]:
    columns = [["x", "f64"], ["w", "utf8"]]
    schema = {"format": row.DECISION, "use": "", "columns": columns, **MODEL}
    return {
        "schema": json.dumps(schema),
        "id": str(UUID(int=1)),
        "at": 1_372_636_800_000_000,
        "score": 0.5,
        "latency_ms": None,
        "explained": True,
        "reason_codes": None,
        "reference": None,
        "values": [1.0, "a"],
    }


def _event(number: int, name: str) -> dict[str, Any]:
    signature = f"{'0' * 8}:1:{'A' * 86}=="
    around = {"known_at": "2013-04-01T00:00:00Z", "signature": signature}
    return {
        "id": str(UUID(int=number + 1)),
        "stream": "model-main.fraud",
        "version": number,
        "name": name,
        "schema_version": 1,
        "data": json.dumps({**MODEL, **SAID[name]}),
        "metadata": json.dumps(
            around | {"signature": signature}, separators=(",", ":")
        ),
        "index": number,
        "path": [],
    }


def _claim(event: Mapping[str, Any]) -> Mapping[str, object]:
    kind = KINDS[event["name"].partition(".")[2].partition("-")[0]]
    derived = {"let_it_serve": True} if kind == "verdict" else {}
    return {"kind": kind, "key": "r1", "events": [event["id"]], "derived": derived}

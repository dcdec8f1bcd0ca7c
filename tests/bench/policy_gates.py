"""Questions a second of one core: a decision from bytes, and one with all its words.

A gate of ten conditions on forty scalars, twelve features and three approvals, each
guarded against what is absent and what is no number, and a quorum of three. Half of the
questions are allowed, a quarter is denied for a limit and a quarter waits for somebody;
no two of them have the same figures. `policy.explained` is a whole verdict: an outcome
and operands a rule, who was heard, reasons, digests and the stored form. Bytes are read
by the optional decoder (`make kernel`), and, in turns, by protobuf as where it is not
built.

The peers are asked the same from JSON, in the same run and in turns, in an environment
of their own (`make bench-peers`); where that is not, they are skipped by name.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from tests.bench.drift_peers import Worker, worker
from tests.bench.harness import OUT, Figure, Goal, Peer

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.defaults import baseline
from modelkeep.policy.facts import from_document, stored_form, to_document
from modelkeep.policy.program import OFTEN, Program
from modelkeep.policy.verdict import Decision

PEERS: Final = {"cel-python": "celpy", "cedarpy": "cedarpy", "regopy": "regopy"}
NAME: Final = "policy"
ROUNDS: Final = 5
QUESTIONS: Final = 4_000
KINDS: Final = 256

GATE: Final = """
apiVersion: modelkeep.policy/v1
kind: PolicyBundle
metadata: {name: gate, version: 1.0.0, owner: bench}
environments: [prod]
params:
  psi: {type: double, default: 0.1}
  feature: {type: double, default: 0.2}
  floor: {type: double, default: 0.65}
  margin: {type: double, default: 0.0}
  age: {type: duration, default: 90d}
quorum:
  1: [{role: risk_officer, min: 1}, {role: validator, min: 1},
      {role: business_owner, min: 1}]
  2: []
  3: []
  4: []
actions:
  promote: {all_of: [gate]}
policies:
  - id: gate
    kind: gate
    match: {action: [promote]}
    rules:
      - {id: standing, severity: block,
         assert: "!model.suspended && !model.retired"}
      - {id: access, severity: block, assert: "'engineer' in actor.roles"}
      - {id: drift, severity: block, assert: "evidence.psi_max < params.psi"}
      - {id: features, severity: block,
         assert: "evidence.features.all(f, f.psi < params.feature)"}
      - {id: floor, severity: block, assert: "evidence.performance >= params.floor"}
      - {id: champion, severity: block,
         assert: "evidence.champion_performance - params.margin
                  <= evidence.performance"}
      - {id: findings, severity: block,
         assert: "evidence.open_findings.critical + evidence.open_findings.high == 0"}
      - {id: digest, severity: block,
         assert: "evidence.validated_digest == version.digest"}
      - {id: fresh, severity: block,
         assert: "evidence.validated_at <= now
                  && now - evidence.validated_at < params.age"}
      - {id: outcome, severity: block,
         assert: "evidence.validation_outcome in ['passed', 'passed_with_conditions']"}
    obligations: {approvals: by_tier}
"""


def figures(folder: Path) -> Iterator[Figure]:
    bundle = load_bundle(GATE)
    program, plain = Program(bundle), Program(bundle, flat=False)
    if program.built is None:
        sys.stdout.write("     the decoder is not here: make kernel\n")
    whole = from_document(fixture())
    asked = list(questions(whole, Random(4)))  # noqa: S311  # the same each time
    stored = [stored_form(one) for one in asked]
    for one in (program, plain):
        _agree(one, asked, stored)
    python = Path(os.environ.get("MODELKEEP_BENCH_PEERS", OUT / "peers"))
    python = python / NAME / "bin" / "python"
    lines = [json.dumps(_typed(one)) for one in asked]
    (folder / "facts.jsonl").write_text("\n".join(lines))
    with ExitStack() as stack:
        peers = None
        if python.exists():
            peers = stack.enter_context(worker(NAME, python, folder))
        else:
            sys.stdout.write(
                f"     {', '.join(PEERS)} are not here: make bench-peers\n"
            )
        turns = _turns(program, plain, stored, peers)
    gates, explained, theirs = turns.gates, turns.explained, turns.theirs
    yield Figure(
        "policy.gate_from_bytes", median(gates), "1/s", goal=Goal("value", ">=", 60_000)
    )
    yield Figure(
        "policy.explained", median(explained), "1/s", goal=Goal("value", ">=", 25_000)
    )
    yield Figure("policy.gate_by_protobuf", median(turns.plain_gates), "1/s")
    yield Figure("policy.explained_by_protobuf", median(turns.plain_explained), "1/s")
    for name, task in PEERS.items():
        if task in theirs:
            goal = Goal("ratio", ">=", 200) if task == "celpy" else None
            peer = Peer(name, median(theirs[task]))
            yield Figure(f"policy.gate_by_{task}", median(gates), "1/s", peer, goal)
    if "celpy_each" in theirs:
        peer = Peer("cel-python", median(theirs["celpy_each"]))
        yield Figure("policy.explained_by_celpy", median(explained), "1/s", peer)
    yield Figure("policy.explained_baseline", _packaged(), "1/s")


@dataclass
class Turns:
    """Rates a second, one a round."""

    gates: list[float] = field(default_factory=list)
    explained: list[float] = field(default_factory=list)
    plain_gates: list[float] = field(default_factory=list)
    plain_explained: list[float] = field(default_factory=list)
    theirs: dict[str, list[float]] = field(default_factory=dict)


def _turns(
    program: Program, plain: Program, stored: list[bytes], peers: Worker | None
) -> Turns:
    found = Turns()
    for _ in range(ROUNDS):
        found.gates.append(rate(program.decide, stored))
        found.explained.append(rate(program.evaluate_bytes, stored))
        found.plain_gates.append(rate(plain.decide, stored))
        found.plain_explained.append(rate(plain.evaluate_bytes, stored))
        for task in (*PEERS.values(), "celpy_each") if peers is not None else ():
            told = peers.ask(task) if peers is not None else None
            if told is not None:
                found.theirs.setdefault(task, []).append(_rated(told))
    return found


def _rated(told: Mapping[str, object]) -> float:
    found = told["told"]
    assert isinstance(found, dict)
    # Half are allowed; the others wait or are denied, which is no to a peer.
    if not 0 < found["allowed"] < found["asked"]:
        raise AssertionError(f"a peer answers another question: {found}")
    return float(found["asked"]) / float(str(told["seconds"]))


def rate(ask: Callable[[bytes], object], stored: list[bytes]) -> float:
    began = time.process_time()
    for n in range(QUESTIONS):
        ask(stored[n % KINDS])
    return QUESTIONS / (time.process_time() - began)


def questions(whole: Facts, random: Random) -> Iterable[Facts]:
    for n in range(KINDS):
        facts = Facts()
        facts.CopyFrom(whole)
        facts.model.id.value = f"model-{n}"
        facts.evidence.psi_max.value = random.uniform(0.0, 0.09)
        for one in facts.evidence.features:
            one.psi.value = random.uniform(0.0, 0.19)
        facts.evidence.performance.value = random.uniform(0.7, 0.9)
        facts.evidence.sample_size.value = random.randrange(300, 10**6)
        if n % 4 == 1:
            facts.evidence.psi_max.value = random.uniform(0.1, 0.3)
        if n % 4 == 3:
            facts.approvals[n % 3].digest.value = "sha256:bb"
        yield facts


def _agree(program: Program, asked: list[Facts], stored: list[bytes]) -> None:
    """What is measured is what the engine says; else this measures nothing."""
    for _ in range(OFTEN):
        program.evaluate(asked[0])
    wanted = (Decision.ALLOW, Decision.DENY, Decision.ALLOW, Decision.PENDING)
    for n, (facts, data) in enumerate(zip(asked, stored, strict=True)):
        verdict, quick = program.evaluate(facts), program.quick(facts)
        head = ("promote", 1, "prod", *(6 * ("",)), b"")[:9]
        if quick is None or verdict.decision is not wanted[n % 4]:
            raise AssertionError(f"{verdict.decision}: {verdict.reasons}")
        reference = program.reference(facts, (*head[:8], data))
        if (reference.rules, reference.reasons) != (verdict.rules, verdict.reasons):
            raise AssertionError("the short way answers another question")
        if program.decide(data) is not verdict.decision:
            raise AssertionError("a gate answers another question")


def _packaged() -> float:
    """The packaged bundle's own promotion: 23 rules, one of them without its facts."""
    program = Program(load_bundle(baseline()))
    whole = from_document(program.document.fixtures["promote-tier-1"])
    for _ in range(OFTEN + 1):
        program.evaluate(whole)
    data = stored_form(whole)
    return median(rate(program.evaluate_bytes, [data] * KINDS) for _ in range(3))


def _typed(facts: Facts) -> dict[str, object]:
    """As JSON has it, whole numbers as numbers."""
    document = to_document(facts)
    evidence = document["evidence"]
    assert isinstance(evidence, dict)
    for name, value in evidence["open_findings"].items():
        evidence["open_findings"][name] = int(value)
    return document


def fixture() -> dict[str, object]:
    person = {"issuer": "hr", "subject": "olga"}
    digest = "sha256:" + "a" * 64
    return {
        "action": "promote",
        "env": "prod",
        "now": "2026-03-01T12:00:00Z",
        "actor": {
            "issuer": "hr", "subject": "eve", "roles": ["engineer"], "human": True,
        },
        "model": {
            "id": "m", "tier": 1, "kind": "trained", "owner": person,
            "developers": [{"issuer": "hr", "subject": "dev"}], "lifecycle": "live",
            "suspended": False, "retired": False, "third_party": False,
            "approved_uses": ["origination"], "requested_use": "origination",
        },
        "version": {
            "id": "v1", "digest": digest, "card_present": True, "feature_count": 12,
            "registered_by": {"issuer": "hr", "subject": "ruth"},
            "registered_at": "2026-02-01T09:00:00Z",
        },
        "evidence": {
            "validated_at": "2026-02-20T09:00:00Z",
            "validated_by": {"issuer": "hr", "subject": "vera"},
            "validation_outcome": "passed",
            "validated_digest": digest,
            "performance_metric": "auc",
            "performance": 0.78,
            "has_champion": True,
            "champion_performance": 0.7,
            "psi_max": 0.05,
            "lineage_complete": 0.95,
            "open_findings": {"critical": 0, "high": 0, "medium": 2, "low": 5},
            "sample_size": 1_000,
            "explained_share": 0.99,
            "health_index": 0.9,
            "live_error_ratio": 1.01,
            "contract_breaches": 0,
            "features": [{"name": f"f{n}", "psi": 0.01} for n in range(12)],
        },
        "approvals": [
            {
                "issuer": "hr", "subject": subject, "roles": [role], "digest": digest,
                "at": "2026-02-28T09:00:00Z", "expires": "2026-04-01T09:00:00Z",
                "approved": True, "conditional": False,
            }
            for subject, role in (
                ("vera", "validator"), ("rob", "risk_officer"),
                ("ben", "business_owner"),
            )
        ],
    }  # fmt: skip

"""Other rule engines for Python, asked the gate of `policy_gates.py` from JSON bytes.

Each takes what it wants of the same facts, and that conversion is timed: dictionaries
for Rego, CEL's own types for cel-python. Cedar has neither floats nor loops over lists,
so it is handed ten-thousandths and what Python found in the lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import cedarpy
import celpy
import regopy
from tests.bench.peers.worker import Task, answer

TIMES = {"celpy": 40, "celpy_each": 40, "cedarpy": 1_000, "regopy": 300}
SEATS = ("validator", "risk_officer", "business_owner")
SCALE = 10_000

CEL = (
    "!g.model.suspended && !g.model.retired",
    "'engineer' in g.actor.roles",
    "g.evidence.psi_max < 0.1",
    "g.evidence.features.all(f, f.psi < 0.2)",
    "g.evidence.performance >= 0.65",
    "g.evidence.performance >= g.evidence.champion_performance - 0.0",
    "g.evidence.open_findings.critical + g.evidence.open_findings.high == 0",
    "g.evidence.validated_digest == g.version.digest",
    "g.validated_at <= g.now_at && g.now_at - g.validated_at < 7776000",
    "g.evidence.validation_outcome in ['passed', 'passed_with_conditions']",
)
CEL_SEATS = tuple(
    f"g.approvals.exists(a, '{role}' in a.roles && a.approved"
    " && a.digest == g.version.digest && a.subject != g.model.owner.subject)"
    for role in SEATS
)

CEDAR = """
permit (principal, action, resource) when {
  !context.suspended && !context.retired && context.roles.contains("engineer")
  && context.psi_max < 1000 && context.worst_feature < 2000
  && context.performance >= 6500 && context.performance >= context.champion
  && context.critical + context.high == 0 && context.validated_digest == context.digest
  && context.validated_at <= context.now && context.now - context.validated_at < 7776000
  && ["passed", "passed_with_conditions"].contains(context.outcome)
  && context.seats.containsAll(["validator", "risk_officer", "business_owner"])
};
"""

REGO = """
package gate
import rego.v1
default allow := false
bad_feature if { some f in input.evidence.features; f.psi >= 0.2 }
seated contains role if {
  some a in input.approvals
  a.approved
  a.digest == input.version.digest
  a.subject != input.model.owner.subject
  some role in a.roles
}
allow if {
  not input.model.suspended
  not input.model.retired
  "engineer" in input.actor.roles
  input.evidence.psi_max < 0.1
  not bad_feature
  input.evidence.performance >= 0.65
  input.evidence.performance >= input.evidence.champion_performance
  input.evidence.open_findings.critical + input.evidence.open_findings.high == 0
  input.evidence.validated_digest == input.version.digest
  input.validated_at <= input.now_at
  input.now_at - input.validated_at < 7776000
  input.evidence.validation_outcome in {"passed", "passed_with_conditions"}
  {"validator", "risk_officer", "business_owner"} - seated == set()
}
"""


def tasks(folder: Path) -> Mapping[str, Task]:
    stored = [
        line for line in (folder / "facts.jsonl").read_bytes().splitlines() if line
    ]
    asked = {
        "celpy": cel_gate(),
        "celpy_each": cel_each(),
        "cedarpy": cedar_gate(),
        "regopy": rego_gate(),
    }
    return {
        name: Task(turn(ask, stored, TIMES[name]), times=1)
        for name, ask in asked.items()
    }


def turn(
    ask: Callable[[dict[str, Any]], bool], stored: Sequence[bytes], times: int
) -> Callable[[], object]:
    """So many questions; how many were asked, and how many of them allowed."""

    def work() -> object:
        allowed = sum(ask(read(stored[n % len(stored)])) for n in range(times))
        return {"asked": times, "allowed": allowed}

    return work


def read(stored: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(stored)
    facts["now_at"] = seconds(facts["now"])
    facts["validated_at"] = seconds(facts["evidence"]["validated_at"])
    return facts


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def cel_gate() -> Callable[[dict[str, Any]], bool]:
    env = celpy.Environment()
    whole = " && ".join(f"({one})" for one in (*CEL, *CEL_SEATS))
    program = env.program(env.compile(whole))
    return lambda facts: bool(program.evaluate({"g": celpy.json_to_cel(facts)}))


def cel_each() -> Callable[[dict[str, Any]], bool]:
    """An outcome a rule, which is the nearest it has to an explanation."""
    env = celpy.Environment()
    programs = [env.program(env.compile(one)) for one in (*CEL, *CEL_SEATS)]

    def ask(facts: dict[str, Any]) -> bool:
        given = {"g": celpy.json_to_cel(facts)}
        outcomes = [bool(one.evaluate(given)) for one in programs]
        return all(outcomes)

    return ask


def cedar_gate() -> Callable[[dict[str, Any]], bool]:
    policies = cedarpy.PolicySet.from_str(CEDAR)
    entities = cedarpy.Entities.from_json_str("[]")

    def ask(facts: dict[str, Any]) -> bool:
        request = {
            "principal": 'User::"eve"',
            "action": 'Action::"promote"',
            "resource": 'Model::"m"',
            "context": flat(facts),
        }
        return bool(cedarpy.is_authorized(request, policies, entities).allowed)

    return ask


def flat(facts: dict[str, Any]) -> dict[str, object]:
    evidence, digest = facts["evidence"], facts["version"]["digest"]
    owner = facts["model"]["owner"]["subject"]
    seats = {
        role
        for one in facts["approvals"]
        if one["approved"] and one["digest"] == digest and one["subject"] != owner
        for role in one["roles"]
    }
    return {
        "suspended": facts["model"]["suspended"],
        "retired": facts["model"]["retired"],
        "roles": facts["actor"]["roles"],
        "psi_max": round(evidence["psi_max"] * SCALE),
        "worst_feature": round(max(f["psi"] for f in evidence["features"]) * SCALE),
        "performance": round(evidence["performance"] * SCALE),
        "champion": round(evidence["champion_performance"] * SCALE),
        "critical": int(evidence["open_findings"]["critical"]),
        "high": int(evidence["open_findings"]["high"]),
        "validated_digest": evidence["validated_digest"],
        "digest": digest,
        "validated_at": facts["validated_at"],
        "now": facts["now_at"],
        "outcome": evidence["validation_outcome"],
        "seats": sorted(seats),
    }


def rego_gate() -> Callable[[dict[str, Any]], bool]:
    rego = regopy.Interpreter()
    rego.add_module("gate", REGO)
    bundle = rego.build(None, ["gate/allow"])
    run = regopy.Interpreter()

    def ask(facts: dict[str, Any]) -> bool:
        run.set_input(facts)
        told = run.query_bundle_entrypoint(bundle, "gate/allow")
        return list(told.results[0].expressions) == [True]

    return ask


if __name__ == "__main__":
    answer(tasks)

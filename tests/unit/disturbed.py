"""Facts with something taken away or made odd, and rules of every kind to ask them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from random import Random

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import (
    BoolValue,
    DoubleValue,
    Int64Value,
    StringValue,
)

from modelkeep.api.policy.v1.facts_pb2 import Facts

SCRATCH = """
apiVersion: modelkeep.policy/v1
kind: PolicyBundle
metadata: {name: scratch, version: 1.0.0, owner: me}
environments: [prod]
params:
  most: {type: int, default: 9}
  low: {type: double, default: 0.5}
  age: {type: duration, default: 10d}
  word: {type: string, default: auc}
quorum: {1: [], 2: [], 3: [], 4: []}
actions:
  promote: {all_of: [all]}
policies:
  - id: all
    kind: gate
    match: {action: [promote]}
    rules:
      - {id: rule, severity: block, assert: "RULE"}
"""

OWED = """    obligations:
      when: "evidence.open_findings.high > 2"
      approvals: [{role: validator, min: 1}]
      excluding: [model.owner]
"""

FACTS = {
    "action": "promote",
    "env": "prod",
    "now": "2026-03-01T12:00:00Z",
    "model": {
        "id": "m",
        "tier": 1,
        "owner": {"issuer": "hr", "subject": "olga"},
        "developers": [{"issuer": "hr", "subject": "dev"}, {"subject": "eve"}],
        "approved_uses": ["lending", "pricing"],
    },
    "evidence": {
        "validated_at": "2026-02-25T12:00:00Z",
        "performance_metric": "auc",
        "performance": 0.75,
        "sample_size": 10,
        "features": [{"name": "a", "psi": 0.1}, {"name": "b", "psi": 0.3}],
        "metrics": {"auc": 0.75},
        "open_findings": {"critical": 0, "high": 3},
    },
}

RULES = (
    "evidence.sample_size + params.most >= 19",
    "evidence.sample_size - 11 < 0",
    "evidence.sample_size * 3 == 30",
    "-evidence.sample_size <= -10",
    "evidence.sample_size + 9223372036854775800 > 0",
    "evidence.sample_size / 3 == 3",
    "evidence.sample_size % 3 == 1",
    "(evidence.sample_size - 20) / 3 == -3",
    "evidence.performance / 2.0 >= 0.375",
    "evidence.performance * 2.0 - params.low > 0.9",
    "double(evidence.sample_size) > 9.5",
    "evidence.metrics['auc'] > params.low",
    "evidence.metrics['gini'] > params.low",
    "evidence.performance_metric == params.word",
    "evidence.performance_metric in ['auc', 'ks']",
    "evidence.sample_size in [1, 10]",
    "'lending' in model.approved_uses",
    "evidence.performance_metric.startsWith('au')",
    "evidence.performance_metric.endsWith('x')",
    "evidence.performance_metric.contains('u')",
    "evidence.performance_metric.matches('^a.c$')",
    "size(evidence.performance_metric) == 3",
    "size(evidence.features) == 2",
    "size(evidence.features.filter(f, f.psi > 0.2)) == 1",
    "evidence.features.all(f, f.psi < 0.25)",
    "evidence.features.exists(f, f.name == 'b' && f.psi > 0.25)",
    "evidence.features.exists_one(f, f.psi > 0.05)",
    "model.developers.exists(d, d.issuer == model.owner.issuer)",
    "model.developers.exists(d, d.subject == model.owner.subject)",
    "model.approved_uses.all(u, u != 'gambling')",
    "model.developers.all(d, model.approved_uses.exists(u, u != d.subject))",
    "now - evidence.validated_at < params.age",
    "now - evidence.validated_at < duration('95h')",
    "evidence.validated_at + duration('240h') > now",
    "now > timestamp('2026-01-01T00:00:00Z')",
    "now > timestamp('2026-03-01T11:59:59.999999999Z')",
    "now.getFullYear() == 2026",
    "evidence.performance > 0.5 ? evidence.sample_size > 5 : evidence.sample_size > 50",
    "!(env == 'dev') || evidence.sample_size > 50",
    "evidence.performance_metric == 'it\\\\'s' || env != 'x\\\\\\\\'",
    "model.owner.subject < 'omar'",
)


def messages(message: Message) -> Iterator[Message]:
    yield message
    for _, value in message.ListFields():
        if isinstance(value, Message):
            yield from messages(value)
        elif not isinstance(value, (str, bytes, int, float)) and hasattr(value, "add"):
            for one in value:
                yield from messages(one)


def disturbed(facts: Facts, random: Random) -> Facts:
    """Take something away, or put something odd in its place."""
    changed = copy.deepcopy(facts)
    for _ in range(random.randint(1, 3)):
        of = random.choice([m for m in messages(changed) if m.ListFields()])
        field, value = random.choice(of.ListFields())
        if not isinstance(value, Message) or random.random() < 0.4:
            if field.name != "value":
                of.ClearField(field.name)
            continue
        if isinstance(value, DoubleValue):
            odd = (math.nan, math.inf, -math.inf, 1e31, -1e31, 0.0, 0.1, 1.0, 1e30)
            value.value = random.choice(odd)
        elif isinstance(value, Int64Value):
            value.value = random.choice((0, 1, 2**63 - 1, -(2**63), 300))
        elif isinstance(value, StringValue):
            value.value = random.choice(("", "trained", "x\x00y", "é"))
        elif isinstance(value, BoolValue):
            value.value = not value.value
        elif isinstance(value, Timestamp):
            value.seconds += random.choice((-(10**9), 86_400, 10**9, 10**12))
            value.nanos = random.choice((0, 1, 999_999_999, 2_000_000_000, -1))
    return changed

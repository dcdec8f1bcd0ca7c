"""A candidate bundle on 300,000 past verdicts, on one core.

History is generated: the packaged bundle's own questions, each with figures of its own,
so that no two sets of facts are alike; one in ten was denied. Nobody had spoken before.
The candidate moves limits, so some of it flips.
`policy.backtest` is the candidate alone, from facts as they are stored, by the optional
decoder where it was built (`make kernel`) and in turns without it; another figure reads
the events too, as JSON.
"""

from __future__ import annotations

import gc
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

from tests.bench.harness import Figure, Goal, Peer

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.events.base import encode
from modelkeep.events.policy import Proposal, VerdictGiven
from modelkeep.events.types import Person
from modelkeep.policy.batch import Batch
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.defaults import baseline
from modelkeep.policy.facts import from_document, stored_form
from modelkeep.policy.program import Program, program_of
from modelkeep_services.policy.backtest import backtest
from modelkeep_services.policy.history import Around, Given, Past, Period
from modelkeep_services.policy.judge import judge

VERDICTS: Final = 300_000
MODELS: Final = 400
FAILING: Final = 0.1
START: Final = datetime(2025, 1, 1, tzinfo=UTC)
MIX: Final = {
    "monitor": 40,
    "traffic": 12,
    "deploy": 12,
    "retrain-tier-1": 5,
    "retrain-tier-3": 10,
    "promote-tier-1": 8,
    "promote-tier-3": 10,
    "rollback": 2,
    "suspend": 1,
}
"""So many in a hundred; a fixture of the packaged bundle each."""


def figures(_: Path) -> Iterable[Figure]:
    bundle = load_bundle(baseline())
    candidate = program_of(load_bundle(_moved(baseline())))
    around = Around({bundle.digest: bundle.text})
    past = list(generated(bundle, Random(4)))  # noqa: S311  # the same history each time
    gc.collect()
    gc.freeze()  # a ledger's history is read once and passes by: it is not kept
    goal = Goal("value", "<=", 5.0)
    plain = Program(candidate.bundle, flat=False)
    seconds, parsing, by_protobuf = [], [], []
    for _turn in range(2):
        began = time.process_time()
        backtest(plain, iter(past), around, Period())
        by_protobuf.append(time.process_time() - began)
        began = time.process_time()
        report = backtest(candidate, iter(past), around, Period())
        seconds.append(time.process_time() - began)
        began = time.process_time()
        for one in past:
            Facts.FromString(b64decode(one.given.facts))
        parsing.append(time.process_time() - began)
    if not report.flips or report.verdicts != VERDICTS:
        raise AssertionError("the candidate moves nothing: this measures nothing")
    peer = Peer("protobuf reading the facts alone", min(parsing))
    yield Figure("policy.backtest", min(seconds), "s of one core", peer, goal)
    yield Figure("policy.backtest_by_protobuf", min(by_protobuf), "s of one core")
    yield Figure("policy.backtest_flips", report.flips, "verdicts")
    stored = [one.data for one in past[: VERDICTS // 10]]
    began = time.process_time()
    read = [Given.model_validate_json(data) for data in stored]
    each = (time.process_time() - began) / len(read)
    yield Figure("policy.backtest_reading", each * VERDICTS, "s of one core")


def _moved(text: str) -> str:
    return (
        text.replace("version: 1.0.0", "version: 2.0.0")
        .replace("{1: 0.10, 2: 0.20}", "{1: 0.08, 2: 0.20}")
        .replace("{1: 1.10, 2: 1.25}", "{1: 1.05, 2: 1.20}")
    )


def generated(bundle: Bundle, random: Random) -> Iterator[Past]:
    batch = Batch(program_of(bundle))
    kinds = {
        name: _kind(bundle, from_document(bundle.document.fixtures[name]))
        for name in MIX
    }
    names = random.choices(list(MIX), weights=list(MIX.values()), k=VERDICTS)
    for n, name in enumerate(names):
        facts, said = kinds[name]
        at = START + timedelta(minutes=n)
        _disturb(facts, f"model-{n % MODELS}", at, random)
        yield _past(batch, facts, said, n, at)


def _kind(bundle: Bundle, facts: Facts) -> tuple[Facts, VerdictGiven]:
    """A question, and how the packaged bundle answers it before anybody spoke."""
    del facts.approvals[:]
    answer = judge(
        program_of(bundle),
        facts,
        waivers=(),
        approvals=(),
        parties=(),
        now=facts.now.ToDatetime(tzinfo=UTC),
    )
    given = VerdictGiven.model_validate(
        {
            "request": "r",
            "action": facts.action.value,
            "model": "m",
            "tier": facts.model.tier.value,
            "bundle": bundle.digest,
            "bundle_name": bundle.name,
            "bundle_version": bundle.version,
            "facts": "",
            "stood_at": 1,
            "requested_by": Person(issuer="hr", subject="eve"),
            "human": True,
            "expires_at": START,
            **answer.said,
        }
    )
    return facts, given


def _disturb(facts: Facts, model: str, at: datetime, random: Random) -> None:
    facts.now.FromDatetime(at)
    facts.model.id.value = model
    evidence = facts.evidence
    if evidence.HasField("psi_max"):
        evidence.psi_max.value = random.uniform(0.0, 0.11)
        for feature in evidence.features:
            feature.psi.value = random.uniform(0.0, evidence.psi_max.value)
    if evidence.HasField("performance"):
        evidence.performance.value = random.uniform(0.70, 0.90)
    if evidence.HasField("live_error_ratio"):
        evidence.live_error_ratio.value = random.uniform(0.7, 1.11)
    if evidence.HasField("validated_at"):
        evidence.validated_at.FromDatetime(at - timedelta(days=random.randrange(80)))
    facts.model.suspended.value = random.random() < FAILING


def _past(batch: Batch, facts: Facts, kind: VerdictGiven, n: int, at: datetime) -> Past:
    """What was said then: by the packaged bundle, of these very facts."""
    asking = batch.asking(facts)
    asked = asking.ask(facts) if asking is not None else None
    if asking is None or asked is None:
        raise AssertionError("the packaged bundle cannot be asked at once")
    event = kind.model_copy(
        update={
            "request": f"r{n}",
            "model": facts.model.id.value,
            "facts": b64encode(stored_form(facts)).decode(),
            "verdict": "deny"
            if asked.denied
            else "pending"
            if asked.seats
            else "allow",
            "proposals": tuple(
                Proposal(rule=f"{one.policy}/{one.rule}", command=one.command)
                for one in asked.commands
            ),
        }
    )
    data = encode(event)
    return Past(str(UUID(int=n)), at, Given.model_validate_json(data), data)

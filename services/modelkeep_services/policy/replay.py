"""Asks a stored question of the stored bundle again, and compares every part."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC

from google.protobuf.message import DecodeError

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.errors import Corrupt
from modelkeep.events.policy import VerdictGiven
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.policy.in_force import Programs, stored
from modelkeep_services.policy.judge import Answer, judge


def replay(
    given: VerdictGiven, read: Reader, programs: Programs
) -> pb.ReplayVerdictResponse:
    """Raises Corrupt when the stored facts are none."""
    force = stored(read, given.bundle, programs)
    facts = facts_of(given)
    answer = judge(
        force.program,
        facts,
        waivers=given.waivers,
        approvals=given.approvals,
        parties=given.parties,
        now=facts.now.ToDatetime(tzinfo=UTC),
        envelope=given.envelope,
    )
    differ = differences(given, answer)
    return fill(
        pb.ReplayVerdictResponse(),
        {
            "same": not differ,
            "verdict": answer.verdict,
            "differences": differ,
            "same_engine": force.same_engine,
        },
    )


def facts_of(given: VerdictGiven) -> Facts:
    try:
        return Facts.FromString(b64decode(given.facts))
    except (DecodeError, ValueError):
        raise Corrupt(f"the facts of {given.request} cannot be read") from None


def differences(given: VerdictGiven, answer: Answer) -> list[str]:
    """Name the parts that came out otherwise."""
    return [
        f"{name} differs"
        for name, value in answer.said.items()
        if getattr(given, name) != value
    ]

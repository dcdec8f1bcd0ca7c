"""`modelkeep challenge`: whether approvals are a challenge, as figures to ask about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import grpc

from modelkeep.api.common.v1.common_pb2 import Person
from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import AUDITOR, refusal
from modelkeep_services.cli.connect import TIMEOUT_S, connected
from modelkeep_services.cli.moments import moment

SHOWN = 10


def run(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    when: str,
    threshold: int,
    *,
    as_json: bool,
) -> None:
    request = pb.GetChallengeRequest(as_of=moment(when), threshold=threshold)
    policy = {"policy": builds["policy"]}
    with (
        screen.progress("reading the log") as tell,
        connected(home, policy, AUDITOR, store_url=store_url, tell=tell) as there,
    ):
        stub = there.stub("policy", PolicyServiceStub)
        try:
            found: pb.GetChallengeResponse = stub.GetChallenge(
                request, timeout=TIMEOUT_S, metadata=there.metadata
            )
        except grpc.RpcError as error:
            raise refusal(error) from None
    if as_json:
        screen.say_json(found)
    else:
        _show(found)


def _show(found: pb.GetChallengeResponse) -> None:
    if not found.words:
        screen.line("Nobody has approved or refused anything.")
        return
    screen.heading(f"{found.words} answers")
    screen.table(
        ["reviewer", "yes", "no", "shortest", "median", ""],
        [
            [
                _name(one.person),
                str(one.approvals),
                str(one.refusals),
                _spent(one.shortest_seconds),
                _spent(one.median_seconds),
                "never refuses" if one.never_refuses else "",
            ]
            for one in found.reviewers
        ],
    )
    if found.reciprocals:
        screen.heading("Each approved what the other asked for")
    for pair in found.reciprocals:
        who = f"{_name(pair.one)} and {_name(pair.other)}"
        screen.fact(who, f"{pair.by_one} and {pair.by_other} times")
    screen.heading("Fastest for the size of the change")
    screen.table(
        ["what", "by", "answer", "after", "size"],
        [
            [
                one.model or screen.short(one.subject),
                _name(one.by),
                "yes" if one.approved else "no",
                _spent(one.seconds),
                _size(one),
            ]
            for one in found.fastest[:SHOWN]
        ],
    )


def _name(person: Person) -> str:
    return screen.clean(person.subject)


def _spent(seconds: int) -> str:
    return str(timedelta(seconds=seconds))


def _size(one: pb.Challenge) -> str:
    said = []
    if one.HasField("lines_changed"):
        said.append(f"{one.lines_changed} lines")
    if one.size.HasField("features_changed"):
        said.append(f"{one.size.features_changed} features changed")
    elif one.size.HasField("features"):
        said.append(f"{one.size.features} features")
    if one.size.HasField("performance_change"):
        said.append(f"{one.size.performance_change:+.4f} performance")
    return ", ".join(said) or "not known"

"""Admission over real sockets: let in, kept in, put out, and with nobody to ask."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from tests.integration.admission_world import USE, World
from tests.integration.conftest import Serve
from tests.integration.policy_world import OTHER, person

from modelkeep import Client
from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.events import inventory as says
from modelkeep.policy.defaults import baseline
from modelkeep.proof import dsse, verdict
from modelkeep.proof.evidence import read_keys
from modelkeep.proof.note import SigningKey, unbase64
from modelkeep.sdk import admit
from modelkeep.sdk.admit import Admission, NotAdmitted, Question

LASTS_S = 900.0
GRACE_S = 14_400.0


class Clock:
    """A machine's time since it started, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Stack:
    """A serving stack with a credential of its own; its line can be cut."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world, self.clock = world, clock
        self.lost: list[NotAdmitted] = []
        self._target = world.served.channel

    def asking(self, **more: Any) -> Admission:
        question = {
            "model": "credit",
            "version": "v1",
            "environment": "prod",
            "artifacts": (self.world.file,),
            "use": USE,
        }
        about = {k: more.pop(k) for k in list(more) if k in Question.__annotations__}
        kept: dict[str, Any] = {
            "key": self.world.keys,
            "lost": self.lost.append,
            "clock": self.clock,
        }
        return Admission(
            more.pop("channel", self._target),
            more.pop("metadata", lambda: self.world.served.metadata("serving")),
            Question(**question | about),
            **kept | more,
        )

    def admitted(self, **more: Any) -> Admission:
        found = self.asking(**more)
        found.ask()
        return found


@pytest.fixture
def stack(serve: Serve, tmp_path: Path) -> Stack:
    return deployed(serve, tmp_path, tier=1)


@pytest.fixture
def lighter(serve: Serve, tmp_path: Path) -> Stack:
    """Tier 3: open while nobody answers."""
    return deployed(serve, tmp_path, tier=3)


def deployed(serve: Serve, folder: Path, tier: int) -> Stack:
    world = World(serve("policy", scenario=True), folder, tier)
    world.promote()
    world.deploy()
    world.served.settle()
    return Stack(world, Clock())


def cut(stack: Stack, admission: Admission) -> None:
    """From now on nobody answers, as after a server is gone."""
    gone = grpc.insecure_channel("127.0.0.1:1")
    admission._stub = PolicyServiceStub(gone)  # the line is cut
    stack.world.served.settle()


def refused(ask: Callable[[], object], *words: str) -> None:
    with pytest.raises(NotAdmitted) as no:
        ask()
    for word in words:
        assert word in str(no.value)


# --- let in ------------------------------------------------------------------------


def test_what_was_promoted_and_deployed_is_admitted_with_a_signed_permit(
    stack: Stack,
) -> None:
    admission = stack.admitted()
    permit = admission.check()
    said = permit.said.predicate
    assert admission.proven
    assert (permit.ends, permit.refresh_s) == (1_000.0 + LASTS_S, 300.0)
    assert (permit.on_unreachable, permit.grace_s) == ("closed", GRACE_S)
    assert (said["model"], said["use"], said["tier"]) == ("credit", USE, 1)
    assert said["trafficShare"] == 0.5
    assert said["holder"]["subject"] == "a-serving"  # type: ignore[index]  # an object
    assert stack.world.names()[-2:] == [
        "policy.verdict-given",
        "policy.verdict-settled",
    ]
    kept = pb.GetVerdictRequest(request=permit.request)
    found = stack.world.served.call(stack.world.stub.GetVerdict, kept, "auditor")
    assert (found.verdict.action, found.verdict.digest) == (
        "admit",
        stack.world.digest,
    )
    assert found.grounds.evidence


def test_renewing_a_yes_records_nothing(stack: Stack) -> None:
    admission = stack.admitted()
    head = stack.world.served.store.head()
    stack.clock.now += 600
    assert admission.refresh()
    assert admission.check().ends == 1_600.0 + LASTS_S
    assert stack.world.served.store.head() == head


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"use": "marketing"}, "model.requested_use"),
        ({"share": 0.6}, "would serve more than it is given"),
        ({"environment": "staging"}, "no promotion of this digest"),
        ({"model": "nobody"}, "no model nobody"),
        ({"version": "v9"}, "no version credit/v9"),
        ({"artifacts": (b"other weights",)}, f"not {verdict.version_digest(())[:7]}"),
        ({"artifacts": ("nowhere.onnx",)}, "cannot be read"),
    ],
)
def test_what_was_not_let_in_is_told_why(
    stack: Stack, about: dict[str, Any], words: str
) -> None:
    admission = stack.asking(**about)
    refused(admission.ask, words)
    refused(admission.check, words)


def test_a_promotion_alone_serves_nothing(serve: Serve, tmp_path: Path) -> None:
    world = World(serve("policy", scenario=True), tmp_path, tier=3)
    world.promote()
    refused(Stack(world, Clock()).asking().ask, "is given no traffic here")


def test_an_engineer_and_anothers_models_are_turned_away(stack: Stack) -> None:
    served = stack.world.served
    engineer = stack.asking(metadata=lambda: served.metadata("engineer"))
    refused(engineer.ask, "is for operator, serving")
    token = served.issuer.issue(
        "scorer", frozenset({"serving"}), models=frozenset({"churn"})
    )
    other = stack.asking(metadata=lambda: (("authorization", f"Bearer {token}"),))
    refused(other.ask, "scorer may not act on credit")
    mine = served.issuer.issue(
        "scorer", frozenset({"serving"}), models=frozenset({"credit"})
    )
    own = stack.admitted(metadata=lambda: (("authorization", f"Bearer {mine}"),))
    assert own.refresh()
    own._metadata = lambda: (("authorization", f"Bearer {token}"),)
    refused(own.refresh, "scorer may not act on credit")


def test_a_permit_is_renewed_by_whom_it_was_given_to(stack: Stack) -> None:
    admission = stack.admitted()
    admission._metadata = lambda: stack.world.served.metadata(  # a thief
        "serving", subject="another"
    )
    refused(admission.refresh, "is a-serving's")


def test_a_request_that_was_no_admission_has_no_permit(stack: Stack) -> None:
    request = stack.world.promote().request
    ask = pb.RenewPermitRequest(request=request)
    with pytest.raises(grpc.RpcError) as no:
        stack.world.served.call(stack.world.stub.RenewPermit, ask, "serving")
    assert no.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_retry_is_told_its_verdict_and_must_renew_for_a_permit(stack: Stack) -> None:
    ask = pb.AdmitRequest(
        request_id=str(uuid4()),
        model="credit",
        version="v1",
        digest=stack.world.digest,
        environment="prod",
        use=USE,
    )
    served, stub = stack.world.served, stack.world.stub
    first = served.call(stub.Admit, ask, "serving")
    again = served.call(stub.Admit, ask, "serving")
    assert first.permit
    assert (again.permit, again.written.replayed) == (b"", True)
    renew = pb.RenewPermitRequest(request=first.verdict.request)
    assert served.call(stub.RenewPermit, renew, "serving").permit


# --- put out -----------------------------------------------------------------------


def suspended() -> says.Suspended:
    return says.Suspended(model="credit", reason="it leaks", by=person("rob"))


def retired() -> says.Retired:
    return says.Retired(model="credit", reason="it is old", by=person("olga"))


def rolled_back(digest: str) -> says.RolledBack:
    return says.RolledBack(
        model="credit",
        environment="prod",
        from_version="v1",
        from_digest=digest,
        to_version="v0",
        to_digest=OTHER,
        share=0.5,
        verdict_source=OTHER[7:43],
        reason="it is worse",
        by=person("ops"),
    )


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("suspend", "the model is suspended"),
        ("retire", "the model is retired"),
        ("roll back", "is given no traffic here"),
    ],
)
def test_what_stops_a_model_ends_its_admission_at_the_next_refresh(
    stack: Stack, what: str, words: str
) -> None:
    admission = stack.admitted()
    events = {
        "suspend": suspended(),
        "retire": retired(),
        "roll back": rolled_back(stack.world.digest),
    }
    stack.world.say(events[what])
    admission.check()  # until then it holds: that is what an interval means
    refused(admission.refresh, words)
    refused(admission.check, words)
    assert stack.world.names()[-1] == "policy.verdict-revoked"
    refused(admission.ask, words)


def test_a_promotion_that_is_revoked_ends_what_rests_on_it(stack: Stack) -> None:
    admission = stack.admitted()
    promoted = next(
        one.request
        for one in stack.world.served.call(
            stack.world.stub.ListVerdicts,
            pb.ListVerdictsRequest(model="credit", action="promote"),
            "auditor",
        ).verdicts
    )
    stack.world.revoke(promoted)
    refused(admission.refresh, "no promotion of this digest")


def test_an_admission_that_is_revoked_ends_and_is_not_asked_for_again(
    stack: Stack,
) -> None:
    admission = stack.admitted()
    stack.world.revoke(admission.check().request)
    refused(admission.refresh, "it was revoked: a mistake was found")
    head = stack.world.served.store.head()
    refused(admission.refresh, "a mistake was found")
    assert stack.world.served.store.head() == head
    assert admission.ask().request  # whoever asks anew is judged anew


def test_a_promotion_may_run_out_and_what_it_let_in_still_serves(
    stack: Stack,
) -> None:
    admission = stack.admitted()
    stack.world.after(days=20)  # approvals count for 14
    assert admission.refresh()
    stack.world.after(days=11)  # the admission's own verdict: 30
    assert admission.refresh()
    assert stack.world.names()[-1] == "policy.verdict-settled"


def test_other_rules_in_force_judge_anew(stack: Stack) -> None:
    admission = stack.admitted()
    before = admission.check().request
    text = baseline().replace("version: 1.0.0", "version: 1.1.0")
    served, stub = stack.world.served, stack.world.stub
    found = served.call(
        stub.ProposeBundle,
        pb.ProposeBundleRequest(name="baseline", text=text.replace("5m", "1m")),
        "policy_author",
    ).bundle
    yes = pb.ApproveBundleRequest(name="baseline", bundle=found.bundle)
    for role in ("risk_officer", "validator"):
        yes.request_id = ""
        served.call(stub.ApproveBundle, yes, role)
    go = pb.ActivateBundleRequest(name="baseline", bundle=found.bundle)
    served.call(stub.ActivateBundle, go, "policy_author")
    assert admission.refresh()
    assert admission.check().request != before
    assert admission.check().refresh_s == 60.0


# --- nobody answers ----------------------------------------------------------------


def test_tier_1_stops_when_its_permit_ends_and_nobody_answers(stack: Stack) -> None:
    admission = stack.admitted(call_s=1.0)
    cut(stack, admission)
    stack.clock.now += LASTS_S - 1
    assert not admission.refresh()
    admission.check()
    stack.clock.now += 1
    refused(admission.check, "ended 0 s ago", "nobody could be asked")


def test_tier_3_goes_on_for_its_grace_and_no_longer(lighter: Stack) -> None:
    admission = lighter.admitted(call_s=1.0)
    cut(lighter, admission)
    lighter.clock.now += LASTS_S
    refused(admission.check, "not renewed yet")  # grace is for silence, not for sloth
    assert not admission.refresh()
    assert admission.check().on_unreachable == "open"
    lighter.clock.now += GRACE_S - 1
    admission.check()
    lighter.clock.now += 1
    refused(admission.check, "nobody could be asked")


def test_a_start_needs_an_answer_whatever_the_tier(lighter: Stack) -> None:
    gone = grpc.insecure_channel("127.0.0.1:1")
    admission = lighter.asking(channel=gone, call_s=1.0)
    refused(admission.ask, "nobody could be asked")
    refused(admission.check, "nobody was asked yet")


def test_to_set_a_clock_prolongs_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = stack.admitted()
    for moved in (-(10**7), 10**7):
        real = time.time()
        monkeypatch.setattr(time, "time", lambda now=real + moved: now)
        admission.check()
    stack.clock.now += LASTS_S
    refused(admission.check, "not renewed yet")


def test_a_machine_that_slept_has_grown_older() -> None:
    first = admit.since_boot()
    assert admit.since_boot() >= first
    if sys.platform == "linux":
        assert abs(first - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60


# --- what cannot be believed -------------------------------------------------------


def test_an_artifact_that_changed_on_the_disk_is_no_longer_admitted(
    stack: Stack,
) -> None:
    admission = stack.admitted()
    stack.world.file.write_bytes(b"other weights")
    refused(admission.refresh, "the artifact is not what was admitted")
    stack.world.file.unlink()
    refused(stack.asking().ask, "cannot be read")


def test_a_permit_by_another_key_is_refused(stack: Stack, tmp_path: Path) -> None:
    other = tmp_path / "other.vkeys"
    other.write_text(f"{SigningKey.generate('modelkeep-verdicts').verifier}\n")
    refused(stack.asking(key=other).ask, "signed by none of the keys given")


class Between:
    """Somebody on the line, who changes what comes back."""

    def __init__(self, stub: Any, change: Callable[[bytes], bytes]) -> None:
        self._stub, self._change = stub, change
        self.RenewPermit = stub.RenewPermit

    def Admit(self, request: Any, **kept: Any) -> Any:  # noqa: N802  # the RPC's name
        answer = self._stub.Admit(request, **kept)
        answer.permit = self._change(answer.permit)
        return answer


def prolonged(raw: bytes) -> bytes:
    """The same words, but a year longer."""
    envelope = json.loads(raw)
    body = unbase64(envelope["payload"]).replace(b'"2026-', b'"2027-')
    forged = dsse.seal(dsse.IN_TOTO, body, SigningKey.generate("x"))
    return json.dumps(envelope | {"payload": json.loads(forged)["payload"]}).encode()


def test_an_altered_permit_is_refused(stack: Stack) -> None:
    admission = stack.asking()
    admission._stub = Between(admission._stub, prolonged)  # type: ignore[assignment]  # on the line
    refused(admission.ask, "does not fit")


def test_an_old_permit_and_one_for_another_question_are_refused(
    stack: Stack,
) -> None:
    ask = pb.AdmitRequest(
        model="credit",
        version="v1",
        digest=stack.world.digest,
        environment="prod",
        use=USE,
        nonce="of yesterday",
    )
    served = stack.world.served
    old = served.call(stack.world.stub.Admit, ask, "serving").permit
    said = verdict.open_sealed(old, read_keys(str(stack.world.keys)), verdict.PERMIT)
    assert said.word("nonce") == "of yesterday"
    admission = stack.asking()
    admission._stub = Between(admission._stub, lambda _: old)  # type: ignore[assignment]  # on the line
    refused(admission.ask, "its nonce is 'of yesterday'")


def test_without_a_way_to_check_signatures_nothing_is_admitted(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    refused(stack.asking().ask, "install modelkeep[admission]")


def test_to_believe_without_a_key_is_said_aloud(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with stack.asking(key=None).start() as admission:
        assert not admission.proven
        admission.check()
    assert "permits are believed unproven" in caplog.text


def test_no_key_in_the_file_is_no_way_to_start(stack: Stack, tmp_path: Path) -> None:
    empty = tmp_path / "empty.vkeys"
    empty.write_text("\n")
    with pytest.raises(ValueError, match="holds no key of verdicts"):
        stack.asking(key=empty)


# --- kept in -----------------------------------------------------------------------


def test_a_client_keeps_its_permit_fresh_until_it_is_put_out(stack: Stack) -> None:
    served = stack.world.served
    home = served.node.home
    address = (home.run("policy")).read_text()
    token = served.issuer.issue("scorer", frozenset({"serving"}))
    lost: list[NotAdmitted] = []
    with Client(address, token=token, model="credit", version="v1") as client:
        admission = client.admit(
            stack.world.file, key=stack.world.keys, use=USE, lost=lost.append
        )
        admission.check()
        admission.close()
        # The interval of the packaged bundle is minutes: go on, in a hurry.
        admission._until_refresh = lambda: 0.05  # type: ignore[method-assign]
        admission._closing.clear()
        stack.world.say(suspended())
        admission._run()
    refused(admission.check, "the model is suspended")
    assert len(lost) == 1
    assert "suspended" in str(lost[0])


def test_who_asks_anew_is_kept_again(stack: Stack) -> None:
    resumed = says.Resumed(model="credit", reason="it is mended", by=person("rob"))
    with stack.asking() as admission:
        admission._until_refresh = lambda: 0.05  # type: ignore[method-assign]
        admission.start()
        first = admission._thread
        assert first is not None
        stack.world.say(suspended())
        first.join(20)
        refused(admission.check, "the model is suspended")
        stack.world.say(resumed)
        admission.ask()
        assert admission._thread is not first
        stack.world.say(suspended())
        assert admission._thread is not None
        admission._thread.join(20)
    assert len(stack.lost) == 2


def test_a_token_that_cannot_be_had_ends_no_admission_before_its_time(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    admission = stack.admitted()

    def broken() -> admit.Metadata:
        admission._closing.set()
        raise OSError("no token today")

    admission._metadata = broken
    admission._until_refresh = lambda: 0.01  # type: ignore[method-assign]
    admission._run()
    assert "the permit was not renewed" in caplog.text
    admission.check()
    stack.clock.now += LASTS_S
    refused(admission.check, "not renewed yet")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_permit_is_one_process_s(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = stack.admitted()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    refused(admission.check, "ask again after a fork")

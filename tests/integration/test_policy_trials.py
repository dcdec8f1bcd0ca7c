"""A bundle tried before it decides: on history, and as a shadow, over real sockets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.integration.conftest import Serve, Served
from tests.integration.policy_world import (
    MORNING,
    built,
    promote,
    registered,
    say,
    tick,
)
from typer.testing import CliRunner

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.defaults import baseline
from modelkeep_services.__main__ import app
from modelkeep_services.policy.shadow import PATIENCE, Shadow

CARD = "  - {id: card, assert: version.card_present"
MORE = "model.requested_use == 'lending' && model.tier == 3"
"""No test of the packaged bundle is about such a use."""

STRICTER = (
    baseline()
    .replace("version: 1.0.0", "version: 1.1.0")
    .replace(
        CARD,
        f'  - {{id: better, when: "{MORE}", assert: evidence.performance >= 0.95}}'
        f"\n{CARD}",
    )
)
BUNDLE = load_bundle(STRICTER).digest
ALLOW, DENY = pb.VERDICT_KIND_ALLOW, pb.VERDICT_KIND_DENY


class Window:
    def __init__(self, served: Served) -> None:
        self.served, self.stub = served, PolicyServiceStub(served.channel)

    def __call__(self, name: str, request: Any, *roles: str, **who: str) -> Any:
        method: Callable[..., Any] = getattr(self.stub, name)
        return self.served.call(method, request, *(roles or ("risk_officer",)), **who)

    def ask(self, model: str = "churn") -> Any:
        asked = self("Evaluate", promote(model), "engineer", subject="eve")
        self.served.settle()
        return asked.verdict


@pytest.fixture
def window(serve: Serve) -> Window:
    served = serve("policy", scenario=True)
    tick(served, MORNING)
    say(served, "churn", *registered("churn", 3), *built("churn"))
    found = Window(served)
    found("ProposeBundle", pb.ProposeBundleRequest(name="baseline", text=STRICTER))
    return found


def test_a_backtest_is_recorded_with_the_digest_of_its_report(window: Window) -> None:
    verdict = window.ask()
    assert verdict.verdict == ALLOW
    asked = pb.BacktestBundleRequest(name="baseline", bundle=BUNDLE)
    answer = window("BacktestBundle", asked)

    said = json.loads(answer.document)
    canonical = json.dumps(
        said, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    named = "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
    assert answer.backtest.report == named
    assert (answer.backtest.verdicts, answer.backtest.flips) == (1, 1)
    assert answer.backtest.tightened == 1
    assert said["matrix"][0]["exemplars"][0]["request"] == verdict.request
    found = window("GetBundle", pb.GetBundleRequest(bundle=BUNDLE), "auditor")
    (kept,) = found.bundle.backtests
    assert (kept.report, kept.by.subject) == (named, "a-risk_officer")


def test_the_same_backtest_again_records_nothing_new(window: Window) -> None:
    asked = pb.BacktestBundleRequest(name="baseline", bundle=BUNDLE)
    first = window("BacktestBundle", asked)
    again = window(
        "BacktestBundle", pb.BacktestBundleRequest(name="baseline", bundle=BUNDLE)
    )
    assert again.backtest == first.backtest
    assert again.document == first.document
    found = window("GetBundle", pb.GetBundleRequest(bundle=BUNDLE), "auditor")
    assert len(found.bundle.backtests) == 1


def test_a_shadow_answers_beside_the_bundle_in_force_and_changes_nothing(
    window: Window,
) -> None:
    window("SetShadow", pb.SetShadowRequest(name="baseline", bundle=BUNDLE))
    verdict = window.ask()
    assert verdict.verdict == ALLOW
    assert verdict.status == pb.REQUEST_STATUS_ALLOWED

    compared = window("CompareShadow", pb.CompareShadowRequest(), "auditor")
    assert compared.shadow.bundle == BUNDLE
    assert (compared.verdicts, compared.flips, compared.failed) == (1, 1, 0)
    (cell,) = compared.cells
    assert (cell.tier, cell.action, cell.was, cell.now) == (3, "promote", ALLOW, DENY)
    listed = window(
        "ListShadowVerdicts", pb.ListShadowVerdictsRequest(differing=True), "auditor"
    )
    (one,) = listed.verdicts
    assert one.request == verdict.request
    assert list(one.stopped_by) == ["evidence/better"]
    assert "0.95" in one.reasons[0]


def test_what_a_shadow_says_reaches_no_other_stream(window: Window) -> None:
    window("SetShadow", pb.SetShadowRequest(name="baseline", bundle=BUNDLE))
    verdict = window.ask()
    names = [
        (one.stream, one.name)
        for one in window.served.store.read_all()
        if verdict.request in one.stream
    ]
    assert (f"shadow-main.{verdict.request}", "policy.shadow-verdict-given") in names
    request = [name for stream, name in names if stream.startswith("request-")]
    assert request == ["policy.verdict-given", "policy.verdict-settled"]


def test_a_cleared_shadow_is_asked_no_more(window: Window) -> None:
    window("SetShadow", pb.SetShadowRequest(name="baseline", bundle=BUNDLE))
    window.ask()
    window("ClearShadow", pb.ClearShadowRequest(bundle=BUNDLE))
    window.ask()
    compared = window(
        "CompareShadow", pb.CompareShadowRequest(bundle=BUNDLE), "auditor"
    )
    assert compared.verdicts == 1
    assert compared.shadow.HasField("cleared_at")
    with pytest.raises(grpc.RpcError) as refused:
        window("CompareShadow", pb.CompareShadowRequest(), "auditor")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_shadow_that_fails_is_recorded_disturbs_nothing_and_is_cleared(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> dict[str, object]:
        raise RuntimeError("it\ncannot")

    monkeypatch.setattr(Shadow, "_asked", fails)
    window("SetShadow", pb.SetShadowRequest(name="baseline", bundle=BUNDLE))
    for _ in range(PATIENCE + 1):
        assert window.ask().status == pb.REQUEST_STATUS_ALLOWED
    compared = window(
        "CompareShadow", pb.CompareShadowRequest(bundle=BUNDLE), "auditor"
    )
    assert (compared.verdicts, compared.failed, compared.flips) == (
        PATIENCE,
        PATIENCE,
        0,
    )
    assert "in a row" in compared.shadow.cleared_because
    listed = window(
        "ListShadowVerdicts", pb.ListShadowVerdictsRequest(bundle=BUNDLE), "auditor"
    )
    assert listed.verdicts[0].failed == "RuntimeError: it cannot"
    assert listed.verdicts[0].verdict == pb.VERDICT_KIND_UNSPECIFIED


def test_a_shadow_that_takes_long_is_no_answer(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkeep_services.policy.shadow.SLOW_S", 0.0)
    window("SetShadow", pb.SetShadowRequest(name="baseline", bundle=BUNDLE))
    assert window.ask().verdict == ALLOW
    listed = window("ListShadowVerdicts", pb.ListShadowVerdictsRequest(), "auditor")
    assert "longer than" in listed.verdicts[0].failed


# --- from the command line, beside the running services ------------------------------


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


def test_the_command_backtests_a_file_on_a_ledger_in_use(
    window: Window, tmp_path: Path
) -> None:
    verdict = window.ask()
    home = str(window.served.node.host.home.root)
    file = tmp_path / "stricter.yaml"
    file.write_text(STRICTER)
    page, data = tmp_path / "page.html", tmp_path / "report.json"
    head = window.served.store.head()
    done = run("backtest", str(file), "--home", home, "--html", str(page),
               "--json-file", str(data))  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "1 flip" in done.output
    said = json.loads(data.read_text())
    assert said["bundle"] == BUNDLE
    assert said["flips"] == 1
    assert verdict.request in page.read_text()
    assert window.served.store.head() == head, "it writes nothing"


def test_the_command_replays_every_verdict_exactly(window: Window) -> None:
    window.ask()
    home = str(window.served.node.host.home.root)
    done = run("backtest", "--exact", "--json", "--home", home)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {"verdicts": 1, "same": 1, "differ": []}

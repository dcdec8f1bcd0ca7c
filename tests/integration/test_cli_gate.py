"""`modelkeep gate` in a pipeline: an exit code, a sentence, a signed verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from tests.integration.admission_world import World
from tests.integration.conftest import Serve, serving
from typer.testing import CliRunner, Result

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.proof.__main__ import main as verify
from modelkeep_services.__main__ import app

FIGURES = """
features:
- {name: income, psi: 0.01}
- {name: age, psi: 0.02}
"""
TIMEOUT_S = 120.0


class Pipeline:
    """A job that asks before it deploys."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.home = world.served.node.home.root
        self.figures = folder / "figures.yaml"
        self.figures.write_text(FIGURES)

    def gate(self, *more: str, figures: bool = True) -> Result:
        asked = ["gate", "promote", "--home", str(self.home), "--model", "credit"]
        asked += ["--version", "v1", "--use", "lending"]
        asked += ["--evidence", str(self.figures)] * figures
        return CliRunner().invoke(app, [*asked, *more], env={"MODELKEEP_TOKEN": ""})

    def approve(self, request: str) -> None:
        for role in ("risk_officer", "validator", "business_owner"):
            yes = pb.ApproveRequest(request=request, digest=self.world.digest)
            self.world.served.call(self.world.stub.Approve, yes, role)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("gate")) as start:
        yield start


def pipeline(serve: Serve, folder: Path, tier: int) -> Pipeline:
    return Pipeline(World(serve("policy", scenario=True), folder, tier), folder)


def test_allow_is_exit_0_and_reads_like_a_sentence(
    served: Serve, tmp_path: Path
) -> None:
    done = pipeline(served, tmp_path, 3).gate()
    assert done.exit_code == 0, done.output
    assert "allow: to promote credit v1 in prod, tier 3 may be done." in done.output
    assert "baseline 1.0.0, sha256:" in done.output


def test_deny_is_exit_1_with_every_reason(served: Serve, tmp_path: Path) -> None:
    done = pipeline(served, tmp_path, 3).gate(figures=False)
    assert done.exit_code == 1
    assert "deny: to promote credit v1 in prod, tier 3 may not be done." in done.output
    assert "evidence.psi_max" in done.output
    as_json = pipeline(served, tmp_path, 3).gate("--json", figures=False)
    said = json.loads(as_json.output)
    assert (as_json.exit_code, said["answer"], said["exit"]) == (1, "deny", 1)
    assert said["verdict"]["status"] == "REQUEST_STATUS_DENIED"


def test_pending_is_exit_3_and_says_what_is_owed_by_whom(
    served: Serve, tmp_path: Path
) -> None:
    job = pipeline(served, tmp_path, 1)
    number = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
    done = job.gate("--request-id", number)
    assert done.exit_code == 3
    assert "waits for people" in done.output
    for role in ("risk_officer", "validator", "business_owner"):
        assert f"{role}: 1 of 1 must approve" in done.output
    # The same question later, when people have answered.
    job.approve(number)
    again = job.gate("--request-id", number, "--json")
    assert (again.exit_code, json.loads(again.output)["answer"]) == (0, "allow")
    job.world.revoke(number)
    gone = job.gate("--request-id", number)
    assert gone.exit_code == 1
    assert "it was revoked: a mistake was found" in gone.output


def test_an_answer_that_has_run_out_is_no_answer_to_a_retry(
    served: Serve, tmp_path: Path
) -> None:
    job = pipeline(served, tmp_path, 3)
    number = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1c"
    assert job.gate("--request-id", number).exit_code == 0
    job.world.served.node.home.scenario.unlink()  # now the machine's clock is the law
    done = job.gate("--request-id", number)
    assert done.exit_code == 1
    assert "it was allowed until 2026-03-31" in done.output


def test_it_waits_for_people_as_long_as_it_is_told(
    served: Serve, tmp_path: Path
) -> None:
    job = pipeline(served, tmp_path, 1)
    number = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1b"

    def later() -> None:
        for _ in range(200):
            asking = pb.ListRequestsRequest(role="validator")
            found = job.world.served.call(
                job.world.stub.ListRequests, asking, "auditor"
            ).requests
            if found:
                job.approve(found[0].request)
                return
            sleep(0.1)

    people = Thread(target=later)
    people.start()
    done = job.gate("--request-id", number, "--wait", "60")
    people.join()
    assert done.exit_code == 0, done.output


def test_what_is_signed_is_proven_elsewhere_and_nothing_else_is(
    served: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = pipeline(served, tmp_path, 3)
    out = tmp_path / "verdict.dsse.json"
    done = job.gate("--out", str(out))
    assert done.exit_code == 0
    assert str(out) in done.output
    at = f"{job.world.served.node.host.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    asked = ["verdict", str(out), "--key", str(job.world.keys), "--at", at]
    asked += ["--action", "promote", "--environment", "prod"]
    assert verify([*asked, "--artifact", str(job.world.file)]) == 0
    assert verify([*asked, "--artifact", str(job.figures)]) == 1
    assert verify([*asked, "--model", "another"]) == 1
    capsys.readouterr()
    verify([*asked, "--json"])
    said = json.loads(capsys.readouterr().out)["predicate"]
    assert said["evidence"]
    assert said["position"] > said["stoodAt"]
    assert said["expiresAt"] > said["issuedAt"]
    assert said["tier"] == 3


def test_a_verdict_on_no_version_has_nothing_to_sign_for(
    served: Serve, tmp_path: Path
) -> None:
    job = pipeline(served, tmp_path, 3)
    asked = ["gate", "suspend", "--home", str(job.home), "--model", "credit"]
    out = ["--out", str(tmp_path / "v.json")]
    done = CliRunner().invoke(app, [*asked, "--role", "owner", *out])
    assert done.exit_code == 4
    assert not (tmp_path / "v.json").exists()


def test_a_wrong_command_line_is_told_apart_from_no_answer(
    served: Serve, tmp_path: Path
) -> None:
    job = pipeline(served, tmp_path, 3)
    job.figures.write_text("psi: 1\npsi: 2\n")
    assert type(job.gate().exception).__name__ == "Invalid"
    job.figures.write_text("no_such_figure: 1\n")
    assert type(job.gate().exception).__name__ == "Invalid"
    assert job.gate("--share", "2").exit_code == 2
    assert job.gate("--role", "king", figures=False).exit_code != 0
    assert job.gate("--version", "v9", figures=False).exit_code == 4
    turned_away = job.gate("--role", "auditor", figures=False)
    assert turned_away.exit_code == 4


def test_a_home_without_a_ledger_gives_no_answer(tmp_path: Path) -> None:
    asked = ["gate", "promote", "--home", str(tmp_path / "none"), "--model", "credit"]
    assert CliRunner().invoke(app, asked).exit_code == 4


def test_another_machine_is_asked_with_a_token_that_is_never_shown(
    served: Serve, tmp_path: Path
) -> None:
    job = pipeline(served, tmp_path, 3)
    there = job.world.served.node.home.run("policy").read_text().strip()
    asked = ["gate", "promote", "--server", there, "--model", "credit"]
    asked += ["--version", "v1", "--use", "lending", "--evidence", str(job.figures)]
    token = job.world.served.issuer.issue("eve", frozenset({"engineer"}))
    done = CliRunner().invoke(app, asked, env={"MODELKEEP_TOKEN": token})
    assert done.exit_code == 0, done.output
    assert token not in done.output
    refused = CliRunner().invoke(app, [*asked, "--token", "not-a-token"])
    assert refused.exit_code == 4
    assert "not-a-token" not in refused.output
    without = CliRunner().invoke(app, asked, env={"MODELKEEP_TOKEN": ""})
    assert type(without.exception).__name__ == "Invalid"
    helped = CliRunner().invoke(app, ["gate", "--help"], env={"MODELKEEP_TOKEN": token})
    assert token not in helped.output


def test_what_does_not_run_is_started_for_the_question(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as start:
        job = pipeline(start, tmp_path, 3)
        home = job.home
    around = {k: v for k, v in os.environ.items() if not k.startswith("MODELKEEP_")}
    asked = ["gate", "promote", "--home", str(home), "--model", "credit", "--json"]
    asked += ["--version", "v1", "--use", "lending", "--evidence", str(job.figures)]
    done = subprocess.run(
        [sys.executable, "-m", "modelkeep_services", *asked],
        env=around,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["answer"] == "allow"

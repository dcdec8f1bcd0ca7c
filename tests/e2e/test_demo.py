"""`modelkeep demo`, and every command that it says to try next."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Told, alone, good, run

from modelkeep.proof.__main__ import main as verify


def next_commands(screen: str) -> list[list[str]]:
    after = screen.partition("Try next:")[2].splitlines()
    return [line.split()[1:] for line in after if line.strip().startswith("modelkeep")]


@pytest.fixture(scope="module")
def decision(told: Told) -> str:
    found = re.search(r"modelkeep why ([0-9a-f-]{36})", told.screen)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def why(told: Told, decision: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(good(told.home, "why", decision, "--json"))
    return answer


# --- what is on the screen ---------------------------------------------------------


def test_it_ends_with_a_scorecard_of_all_models(told: Told) -> None:
    scorecard = told.screen.partition("Scorecard on")[2]
    for model in ("late-arrival", "credit-default", "biopsy-reading"):
        assert model in scorecard


def test_a_promotion_without_evidence_is_refused_on_screen(told: Told) -> None:
    assert re.search(r"promoted without card or lineage: refused", told.screen)
    assert "version.card_present = false" in told.screen


def test_a_developer_is_refused_as_her_own_approver_on_screen(told: Told) -> None:
    assert "dana is a developer and cannot approve credit-default" in told.screen


def test_the_tampered_copy_is_found_out_and_the_event_is_named(told: Told) -> None:
    assert "TAMPERED" in told.screen
    assert re.search(
        r"event \d+ \(request-\S+ policy\.verdict-given\) is not the one", told.screen
    )
    assert not (told.home / "tampered").exists()


def test_the_board_is_one_page(told: Told) -> None:
    assert "late-arrival" in (told.home / "board.html").read_text()


def test_the_dossier_of_a_decision_is_proven_offline(
    told: Told, decision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decision in (told.home / "dossier.html").read_text()
    file, keys = told.home / "dossier.json", told.home / "checkpoints"
    code = verify(["dossier", str(file), "--key", str(keys / "checkpoint.vkey")])
    said = capsys.readouterr().out
    assert code == 0, said
    assert f"Decision    {decision}" in said
    assert "policy allowed it" in said
    assert "nodes lead to this version" in said


def test_it_says_where_its_data_come_from(told: Told) -> None:
    assert "applications are real; dates are assigned by us" in told.screen
    assert "no default has matured" in told.screen


def test_the_commands_to_try_next_work_as_they_are_written(told: Told) -> None:
    commands = next_commands(told.screen)
    told_to = {command[0] for command in commands}
    assert told_to == {"why", "as-of", "verify", "export", "doctor"}
    for command in commands:
        assert command[-2:] == ["--home", str(told.home)]
        good(told.home, *command[:-2])


def test_the_doctor_finds_nothing_wrong_with_a_home_that_was_just_made(
    told: Told,
) -> None:
    said = good(told.home, "doctor")
    assert re.search(r"\d+ ok, 0 to look at, 0 failed", said), said


def test_a_home_with_a_ledger_is_refused_in_one_line(told: Told) -> None:
    before = (told.home / "ledger.db").stat().st_size
    done = run(told.home, "demo", "--days", "1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "has a ledger already" in done.stderr
    assert (told.home / "ledger.db").stat().st_size == before


# --- why ---------------------------------------------------------------------------


def test_why_names_the_decision_its_version_and_its_artifact(
    why: dict[str, Any], decision: str
) -> None:
    assert why["decision"]["decision"] == decision
    assert why["decision"]["features"]
    version = why["then"]["version"]
    assert version["version"] == why["decision"]["version"]
    for artifact in version["artifacts"]:
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", artifact["digest"])


def test_why_names_the_data_it_was_trained_on_and_its_features(
    why: dict[str, Any],
) -> None:
    origins = {one["kind"]: one for one in why["then"]["lineage"]}
    for kind in ("dataset", "feature_view", "run", "transform", "manifest"):
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", origins[kind]["digest"])


def test_why_shows_the_rules_with_their_operands_and_who_let_it_through(
    told: Told, decision: str
) -> None:
    said = good(told.home, "why", decision)
    assert re.search(r"answer +allow \(this let it through\)", said)
    assert re.search(r"performance/floor +true +evidence\.performance = 0\.\d+", said)
    assert "health" in said
    assert "budget" in said
    assert "not so" not in said


def test_the_archived_model_on_the_archived_row_says_the_same(
    told: Told, decision: str
) -> None:
    said = good(told.home, "why", decision, "--rescore")
    assert re.search(r"result +(equal|within tolerance)", said)


# --- as-of, verify, replay ---------------------------------------------------------


def test_as_of_shows_what_was_known_and_not_what_came_later(told: Told) -> None:
    early = json.loads(good(told.home, "as-of", "2013-03-25T05:00", "--json"))
    late = json.loads(good(told.home, "as-of", "now", "--json"))
    assert {one["model"] for one in late["models"]} == {
        "late-arrival",
        "credit-default",
        "biopsy-reading",
    }
    assert "alerts" not in early or not early["alerts"]
    assert late["alerts"]


def test_every_alert_has_an_owner_and_a_cause(told: Told) -> None:
    late = json.loads(good(told.home, "as-of", "now", "--json"))
    assert all(one["owner"] and one["cause"] for one in late["alerts"])


def test_verify_proves_the_whole_ledger(told: Told) -> None:
    said = good(told.home, "verify")
    assert "WRONG" not in said
    assert "every append was signed by one of the writers given" in said


def test_replay_makes_the_same_views_again(told: Told) -> None:
    answer = json.loads(good(told.home, "replay", "--json"))
    assert answer["equal"] is True
    assert answer["before"] == answer["after"]
    assert len(answer["after"]) > 50


@pytest.mark.slow
def test_a_whole_year_ends_as_it_should(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
    screen = alone(tmp_path / "home", "demo")
    for words in ("DRILL", "TAMPERED", "challenge", "Scorecard on"):
        assert words in screen
    assert re.search(r"page at \d\d:00 UTC, .* burns \d\.\d over 6 hours", screen)
    assert re.search(r"\d+ days were logged every six hours", screen)
    for command in next_commands(screen):
        good(tmp_path / "home", *command[:-2])

"""The demo's own past asked again: exactly the same, and by other documents."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from tests.e2e.conftest import Told, good, run

from modelkeep.home import Home
from modelkeep.policy.defaults import baseline
from modelkeep.store import open_store
from modelkeep_services.insight.documents import HEALTH
from modelkeep_services.inventory.rubric import IN_FORCE


def document(service: str, name: str) -> str:
    return files(f"modelkeep_services.{service}").joinpath(name).read_text()


def head(home: Path) -> int:
    with open_store(str(Home(home).ledger)) as store:
        return store.head()


def test_every_verdict_of_the_demo_comes_out_exactly_the_same(told: Told) -> None:
    said = json.loads(good(told.home, "backtest", "--exact", "--json"))
    assert said["verdicts"] > 0
    assert (said["same"], said["differ"]) == (said["verdicts"], [])


def test_the_bundle_in_force_flips_none_of_the_demos_verdicts(
    told: Told, tmp_path: Path
) -> None:
    file = tmp_path / "baseline.yaml"
    file.write_text(baseline())
    said = json.loads(good(told.home, "backtest", str(file), "--json"))
    assert said["verdicts"] > 0
    assert (said["flips"], said["not_evaluable"]["verdicts"]) == (0, 0)


def test_the_documents_in_force_move_nobody(told: Told, tmp_path: Path) -> None:
    names = {
        "rubric": ("inventory", f"documents/{IN_FORCE}"),
        "health": ("insight", f"documents/{HEALTH}.yaml"),
        "debt": ("debt", "rates.v1.json"),
    }
    asked = []
    for option, (service, name) in names.items():
        path = tmp_path / option
        path.write_text(document(service, name))
        asked += [f"--{option}", str(path)]
    said = json.loads(good(told.home, "rescore", *asked, "--every", "2", "--json"))
    assert said["tiers"]["models"] == said["health"]["models"] > 0
    assert said["health"]["moments"] > 1
    for what in ("tiers", "health", "debt"):
        assert said[what]["moved"] == []


def test_other_documents_move_models_and_write_nothing(
    told: Told, tmp_path: Path
) -> None:
    before = head(told.home)
    rubric, health = tmp_path / "rubric.yaml", tmp_path / "health.yaml"
    rubric.write_text(
        document("inventory", f"documents/{IN_FORCE}").replace(
            "- {tier: 4}", "- {tier: 2}"
        ).replace("- {tier: 3, materiality: 2}", "- {tier: 2, materiality: 2}")
    )  # fmt: skip
    health.write_text(
        document("insight", f"documents/{HEALTH}.yaml").replace(
            "not_rated_below: 0.50", "not_rated_below: 1.01"
        )
    )
    said = json.loads(
        good(told.home, "rescore", "--rubric", str(rubric), "--health", str(health),
             "--every", "2", "--json")
    )  # fmt: skip
    moved = said["tiers"]["moved"]
    assert moved
    assert {one["now"] for one in moved} == {2}
    assert moved[0]["drivers_are"]["materiality"]
    assert {one["now"] for one in said["health"]["moved"]} <= {"not_rated"}
    assert head(told.home) == before


def test_a_document_that_is_none_is_named_in_one_line(
    told: Told, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    for command in (
        ["rescore", "--rubric", str(broken)],
        ["rescore", "--health", str(broken)],
        ["rescore", "--debt", str(broken)],
        ["rescore", "--debt", str(tmp_path / "none")],
        ["rescore"],
        ["backtest", str(broken)],
        ["backtest", str(tmp_path)],
        ["backtest", str(broken), "--from", "yesterday"],
        ["backtest", str(broken), "--from", "2013-05-01", "--to", "2013-04-01"],
        ["backtest"],
        ["backtest", str(broken), "--exact"],
    ):
        done = run(told.home, *command)
        assert done.returncode == 2, command
        assert done.stderr.startswith("modelkeep:"), done.stderr
        assert "Traceback" not in done.stderr

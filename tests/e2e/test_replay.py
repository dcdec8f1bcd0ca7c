"""Views dropped and replayed are the same bytes, whatever the machine's ways."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.e2e.conftest import Told, alone, good

from modelkeep.home import Home


@pytest.mark.parametrize(
    ("seed", "zone"), [("1", "Pacific/Kiritimati"), ("4242", "America/St_Johns")]
)
def test_views_replay_to_what_they_were_under_any_hash_seed_and_time_zone(
    told: Told, tmp_path: Path, seed: str, zone: str
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(told.home, home.root)
    around = {"PYTHONHASHSEED": seed, "TZ": zone}

    # `before` is what the live services left behind; `after` is the log's own telling.
    answer = json.loads(alone(home.root, "replay", "--json", env=around))

    assert len(answer["after"]) > 50
    assert answer["after"] == answer["before"]
    assert any(home.root.glob("views/*.db"))


def test_views_that_were_deleted_come_back_the_same(told: Told, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(told.home, home.root)
    live = json.loads(good(home.root, "replay", "--json"))["before"]
    shutil.rmtree(home.root / "views")
    assert json.loads(good(home.root, "replay", "--json"))["after"] == live

"""The same commands over the double of KurrentDB: not the real server, its protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.doubles.kurrentdb import Double
from tests.e2e.conftest import DAYS, good

from modelkeep.home import Home


def test_the_story_plays_on_the_double_of_kurrentdb_as_it_does_on_sqlite(
    tmp_path: Path,
) -> None:
    """Registered, tiered, gated, approved, deployed, logged, watched, alerted."""
    pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
    from tests.e2e.stories import play  # noqa: PLC0415  # it needs the extra

    with Double() as server:
        done = play(Home(tmp_path / "home"), DAYS, store=server.uri)
        assert not done.home.ledger.exists()
        asked = ("as-of", "now", "--json", "--store", server.uri)
        now = json.loads(good(done.home.root, *asked))
        assert {one["model"] for one in now["deployments"]} == {
            "late-arrival",
            "credit-default",
            "biopsy-reading",
        }
        assert now["alerts"]
        assert now["exceptions"]
        again = json.loads(
            good(done.home.root, "replay", "--json", "--store", server.uri)
        )
    assert again["after"] == done.digests

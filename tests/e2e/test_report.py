"""`modelkeep report model` on the demo's first days, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.e2e.conftest import Told, alone, good, run

MODEL = "late-arrival"
TITLE = "Late arrival of departing flights"


def test_a_models_report_is_one_page_whose_numbers_lead_to_events(
    told: Told, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    screen = alone(told.home, "report", "model", MODEL, "--out", str(path))
    assert f"the report on {MODEL} is in {path}" in screen
    html = path.read_text()
    assert f"<h1>{TITLE}</h1>" in html
    for heading in ("Health over time", "Performance by window", "Drift of features"):
        assert f">{heading}</h2>" in html
    assert "<script" not in html
    assert not re.search(r"(?:src|href)=\"(?!#)", html)
    numbers = set(re.findall(r'href="#(e\d+)"', html))
    assert numbers
    assert numbers <= set(re.findall(r'id="(e\d+)"', html))
    # the streams are there, so each event can be looked up
    assert f"monitor-main.{MODEL} @" in html
    assert "Not compared:" not in html
    assert not list(tmp_path.glob(".*.new"))


def test_a_report_is_of_the_moment_asked_for(told: Told, tmp_path: Path) -> None:
    path = tmp_path / "then.html"
    early = ("--as-of", "2013-04-02")
    good(told.home, "report", "model", MODEL, "--out", str(path), *early)
    html = path.read_text()
    assert "as known on 2 Apr 2013" in html
    assert "no window was closed" in html


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("no-such-model",), "no model no-such-model"),
        ((MODEL, "--from", "yesterday"), "from: yesterday is no day"),
        ((MODEL, "--to", "2013-13-01"), "to: 2013-13-01 is no day"),
        (
            (MODEL, "--from", "2013-05-01", "--to", "2013-04-01"),
            "from: 2013-05-01 is not before 2013-04-01",
        ),
        ((MODEL, "--as-of", "never"), "moment: never is no day"),
        ((MODEL, "--out", "no/such/folder/page.html"), "out: there is no folder"),
        ((MODEL, "--from", "2999-01-01"), "from: 2999-01-01 is not before"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    told: Told, arguments: tuple[str, ...], says: str
) -> None:
    done = run(told.home, "report", "model", *arguments)
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr

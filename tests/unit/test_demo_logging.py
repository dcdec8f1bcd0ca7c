"""The demo's stage and its SDK: a row that does not come through ends the story."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `demo` is not installed")

from modelkeep import Client
from modelkeep.errors import Unavailable
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep_services.demo import flights
from modelkeep_services.demo.decisions import Decisions, moments
from modelkeep_services.demo.live import Live
from modelkeep_services.demo.portfolios import FLIGHTS
from modelkeep_services.demo.stage import Stage
from modelkeep_services.demo.year import Year

SPRING = flights.midnight("2013-04-01")
HOUR = np.timedelta64(1, "h")


class Deaf(Client):
    """Takes everything, and is acknowledged nothing."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:1", token="t", model="m", version="v")  # noqa: S106  # nobody is asked

    def flush(self, timeout: float = 30.0) -> bool:
        return super().flush(timeout=0.05 if timeout else 0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    home = Home(tmp_path / "home").make()
    return Stage(home, {}, LocalIssuer.open(home.keys))


def live() -> Live:
    decisions = Decisions(
        columns={},
        decided_at=SPRING + HOUR * np.arange(4),
        known_at=SPRING + HOUR * np.array([5, 6, 7, 8]),
        outcome=np.array([1.0, 0.0, 1.0, 0.0]),
        references=np.array(["UA1", "UA2", "UA3", "UA4"]),
    )
    found = Live(FLIGHTS, decisions, 0.3)
    found.decisions.known_at[3] = np.datetime64("NaT")
    found.decisions.outcome[3] = np.nan
    return found


def test_a_tick_waits_for_every_row_and_refuses_to_lose_one(stage: Stage) -> None:
    with Deaf() as client:
        stage.loggers["m"] = client
        stage.flush()
        client.log({"x": 1.0}, score=0.5)
        with pytest.raises(Unavailable, match="rows of m were not logged"):
            stage.flush()
        client.close(timeout=0)


def test_a_row_that_was_refused_ends_the_story(stage: Stage) -> None:
    with Deaf() as client:
        stage.loggers["m"] = client
        client.log({"x": 1.0}, score=float("nan"))
        with pytest.raises(Unavailable, match="refused=1"):
            stage.flush()


def test_what_came_true_and_what_never_will_is_told_at_once() -> None:
    told: list[tuple[str, int | None, str]] = []

    class Listening(Deaf):
        def outcomes_many(self, outcomes: object) -> None:
            told.extend((id_, v, f"{at:%H}") for id_, v, at in outcomes)  # type: ignore[attr-defined]  # as given

    model = live()
    with Listening() as client:
        model.client = client
        model.ids[:] = ["a", "b", "c", "d"]
        model.scores[:] = [0.1, 0.2, np.nan, 0.4]  # the third was never logged
        end = SPRING + 24 * HOUR
        assert model.learn(SPRING, end, np.arange(4)) == 2
    assert told == [("a", 1, "09"), ("b", 0, "10"), ("d", None, "04")]


def test_a_model_of_which_no_version_served_learns_nothing() -> None:
    assert live().learn(SPRING, SPRING + 24 * HOUR, np.arange(4)) == 0


def test_a_burning_day_is_four_files_whatever_the_clock_does() -> None:
    year = Year.__new__(Year)
    year.burning, year.watched = False, 0
    for day, hours in (("2013-07-01", 24), ("2013-11-03", 25)):
        start, end = flights.midnight(day), flights.midnight(day) + hours * HOUR
        year.burning = False
        assert year._files(start, end) == [start, end]
        year.burning = True
        cuts = year._files(start, end)
        assert cuts == [*(start + n * 6 * HOUR for n in range(4)), end]
    assert year.watched == 2


def test_moments_have_a_time_zone() -> None:
    [found] = moments(np.array([SPRING]))
    assert found.isoformat() == "2013-04-01T04:00:00+00:00"

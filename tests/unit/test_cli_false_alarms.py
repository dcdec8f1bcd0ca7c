"""What a budget cost and what reviews found, as a terminal shows it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep_services.cli import false_alarms


def answer(discoveries: int, false: int = 0) -> pb.GetFalseAlarmsResponse:
    quarter = pb.FalseAlarmQuarter(
        model="late",
        quarter="2026Q1",
        declared=1,
        expected=0.25,
        raised=false + 1,
        false_alarms=false,
        unresolved=1,
    )
    review = pb.FindingsReview(
        model="late", version="v1", environment="prod", rate=0.05, windows=90, tested=60
    )
    review.start.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    review.end.FromDatetime(datetime(2026, 4, 1, tzinfo=UTC))
    for place in range(discoveries):
        review.discoveries.add(
            monitor=pb.WATCH_KIND_FEATURES,
            group=f"x{place}",
            n=9_000,
            log_e=30.0,
            number=place + 1,
            level=0.001,
        )
    return pb.GetFalseAlarmsResponse(quarters=[quarter], reviews=[review])


def test_discoveries_are_told_with_what_was_asked_of_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    false_alarms._show(answer(2))
    said = capsys.readouterr().out
    assert "late v1 in prod, 2026-01-01 to 2026-04-01" in said
    assert "2 of 60 hypotheses are discoveries, over 90 windows" in said
    assert "x1" in said
    assert "features" in said
    assert "6.9" in said, "the logarithm of a thousand"


def test_many_discoveries_are_left_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    false_alarms._show(answer(25))
    said = capsys.readouterr().out
    assert "x19" in said
    assert "x20" not in said
    assert "and 5 more, in --json" in said


def test_a_quarter_beyond_its_budget_is_told_apart() -> None:
    [kept] = answer(0, false=1).quarters
    [broken] = answer(0, false=2).quarters
    assert false_alarms._is_kept(kept)
    assert not false_alarms._is_kept(broken)


def test_nothing_counted_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    false_alarms._show(pb.GetFalseAlarmsResponse())
    assert "no model has a budget" in capsys.readouterr().out

"""From "at most N false alarms a quarter" to what each detector may spend."""

from __future__ import annotations

import pytest

from modelkeep.errors import Invalid
from modelkeep.stats.alarm_budget import (
    FORMAT,
    AlarmDocument,
    Monitor,
    Period,
    Shares,
    Tolerance,
    split,
    windows_in,
)

TEXT = f"""
format: {FORMAT}
version: alarms-7
false_alarms: 2
period: year
shares: {{features: 3, performance: 1}}
tolerance: {{relative: 0.2, confidence: 0.99}}
odds: [1.2, 3]
"""


def test_monitors_never_spend_more_than_the_owner_promised() -> None:
    document = AlarmDocument("d", false_alarms=2)
    windows = {
        Monitor.FEATURES: 2_208,
        Monitor.MISSING: 2_208,
        Monitor.PERFORMANCE: 92,
    }
    found = split(document, windows)
    assert sum(one.false_alarms for one in found.values()) == pytest.approx(2)
    spent = sum(one.alpha * one.windows for one in found.values())
    assert spent == pytest.approx(2)
    assert found[Monitor.FEATURES].threshold == pytest.approx(2_208 / 1.25)
    assert list(found) == [Monitor.FEATURES, Monitor.MISSING, Monitor.PERFORMANCE]


def test_a_batch_model_with_few_windows_spends_less_than_it_may() -> None:
    found = split(AlarmDocument("d", false_alarms=9), {Monitor.FEATURES: 3})
    assert found[Monitor.FEATURES].alpha == 0.5


def test_periods_are_as_long_as_they_get() -> None:
    assert windows_in(Period.QUARTER, 86_400) == 92
    assert windows_in(Period.YEAR, 86_400) == 366
    assert windows_in(Period.MONTH, 10**9) == 1
    with pytest.raises(Invalid):
        windows_in(Period.MONTH, 0)


def test_a_document_is_read_whole_and_what_is_left_out_has_its_default() -> None:
    found = AlarmDocument.from_yaml(TEXT)
    assert found == AlarmDocument(
        "alarms-7",
        2.0,
        Period.YEAR,
        Shares(features=3.0, performance=1.0),
        Tolerance(relative=0.2, confidence=0.99),
        (1.2, 3.0),
    )
    least = AlarmDocument.from_yaml(f"format: {FORMAT}\nversion: x")
    assert least == AlarmDocument("x")


@pytest.mark.parametrize(
    ("lie", "field"),
    [
        ("false_alarms: 0", "false_alarms"),
        ("false_alarms: many", "false_alarms"),
        ("false_alarms: true", "false_alarms"),
        ("false_alarms: .nan", "false_alarms"),
        ("period: week", "period"),
        ("shares: {features: -1}", "shares"),
        ("shares: {colour: 1}", "shares.colour"),
        ("shares: 3", "shares"),
        ("tolerance: {relative: 1.5}", "tolerance"),
        ("tolerance: {confidence: 1}", "tolerance.confidence"),
        ("odds: [1]", "odds"),
        ("odds: 2", "odds"),
        ("odds: []", "odds"),
        ("colour: red", "colour"),
    ],
)
def test_a_document_that_cannot_be_meant_names_its_field(lie: str, field: str) -> None:
    with pytest.raises(Invalid) as problem:
        AlarmDocument.from_yaml(f"format: {FORMAT}\nversion: x\n{lie}")
    assert problem.value.violations[0].field == field


@pytest.mark.parametrize("text", ["", "[1]", "{", "version: x", "format: other"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        AlarmDocument.from_yaml(text)


def test_a_day_that_is_none_is_refused_by_its_line() -> None:
    with pytest.raises(Invalid, match="document: is not YAML: line 2: '2026-02-30'"):
        AlarmDocument.from_yaml(f"format: {FORMAT}\nversion: 2026-02-30")


def test_a_budget_without_windows_is_refused() -> None:
    with pytest.raises(Invalid):
        split(AlarmDocument("d"), {Monitor.FEATURES: 0})
    assert split(AlarmDocument("d"), {}) == {}


@pytest.mark.parametrize("wrong", [0, 1_000_001, 1.5, True, "many"])
def test_rows_alike_are_a_number_of_rows(wrong: object) -> None:
    told = {"format": FORMAT, "version": "x", "alike": wrong}
    with pytest.raises(Invalid, match="alike"):
        AlarmDocument.from_mapping(told)

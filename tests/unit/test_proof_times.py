"""A time in a document: with its zone, or refused by name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelkeep.proof.errors import Malformed
from modelkeep.proof.fields import Fields
from modelkeep.proof.times import instant
from modelkeep.proof.verdict import Said


@pytest.mark.parametrize(
    "text", ["2013-06-30T12:00:00Z", "2013-06-30T14:00:00+02:00", "20130630T12Z"]
)
def test_a_time_is_told_in_utc_whatever_its_zone(text: str) -> None:
    found = instant(text, "at")
    assert found == datetime(2013, 6, 30, 12, tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "at is no time: ''"),
        ("soon", "at is no time: 'soon'"),
        ("2013-02-30T12:00:00Z", "at is no time: '2013-02-30T12:00:00Z'"),
        ("2013-06-30T12:00:00", "at has no zone: '2013-06-30T12:00:00'"),
        ("0001-01-01T00:00:00+05:00", "at is no time: '0001-01-01T00:00:00+05:00'"),
        ("9999-12-31T23:59:59-05:00", "at is no time: '9999-12-31T23:59:59-05:00'"),
        ("\x1b[2J" + "x" * 1_000_000, r"at is no time: '\x1b[2J" + "x" * 36 + "'"),
    ],
)
def test_what_is_no_time_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(Malformed) as refused:
        instant(text, "at")
    assert str(refused.value) == why


def test_a_verdict_and_an_event_read_a_time_alike() -> None:
    said = Said("kind", {}, {"at": "2013-06-30T12:00:00", "none": ""})
    assert said.moment("none") is None
    for reads in (said.moment, Fields(said.predicate).moment):
        with pytest.raises(Malformed, match="at has no zone: '2013-06-30T12:00:00'"):
            reads("at")

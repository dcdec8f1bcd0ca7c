"""The demo's data is what its provenance says, and knows nothing before its time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pyarrow import parquet

from modelkeep.errors import Invalid
from modelkeep_services.demo import bank, credit, flights, latency, make_data
from modelkeep_services.demo.decisions import Decisions

DATA = Path(make_data.DATA)
PROVENANCE = json.loads((DATA / "provenance.json").read_text())["files"]
SHARED = Path(
    os.environ.get(
        "MODELKEEP_SHARED_DATA",
        Path(__file__).resolve().parents[2].parent / "shared" / "data",
    )
)


@pytest.fixture(scope="module")
def year() -> Decisions:
    return flights.load()


@pytest.mark.parametrize("entry", PROVENANCE, ids=lambda e: str(e["file"]))
def test_a_file_is_the_one_its_provenance_describes(entry: dict[str, object]) -> None:
    path = DATA / str(entry["file"])
    table = parquet.read_table(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    assert make_data.content_digest(table) == entry["content_sha256"]
    assert table.num_rows == entry["rows"]
    assert entry["licence"]


def test_every_shipped_file_has_its_licence_told() -> None:
    told = (DATA / "LICENCES.md").read_text()
    for path in DATA.glob("*.parquet"):
        assert path.name in told


def test_all_departures_of_the_year_are_there_and_none_is_dropped(
    year: Decisions,
) -> None:
    statuses = flights.statuses()
    never = statuses != "flown"
    assert len(year) == 336_776
    assert (statuses == "cancelled").sum() == 8_255
    assert (statuses == "diverted").sum() == 1_175
    assert (np.isnan(year.outcome) == never).all()
    assert (np.isnat(year.known_at) == never).all()


def test_decisions_come_in_order_and_are_named_once(year: Decisions) -> None:
    assert (np.diff(year.decided_at) >= np.timedelta64(0)).all()
    assert len(set(year.references.tolist())) == len(year)


def test_an_outcome_is_known_only_after_its_decision(year: Decisions) -> None:
    flown = ~np.isnat(year.known_at)
    assert (year.known_at[flown] > year.decided_at[flown]).all()


def test_no_weather_is_read_after_the_departure(year: Decisions) -> None:
    read = year.read_at["weather"]
    seen = ~np.isnat(read)
    assert (read[seen] <= year.decided_at[seen]).all()


def test_weather_grows_old_when_the_feed_stops(year: Decisions) -> None:
    last = int(year.between(*_day("2013-12-31", "2014-01-01"))[-1])
    assert year.decided_at[last] - year.read_at["weather"][last] > np.timedelta64(
        1, "D"
    )
    assert np.isnan(year.columns["temp"][last])


def test_delays_are_not_among_the_features() -> None:
    assert not [f for f in flights.RECIPE.features if "delay" in f or "status" in f]


def test_days_begin_at_midnight_in_new_york() -> None:
    zone = ZoneInfo("America/New_York")
    for day in ("2013-01-01", "2013-03-10", "2013-03-11", "2013-11-03", "2013-11-04"):
        moment = flights.midnight(day).astype("datetime64[s]").item()
        there = moment.replace(tzinfo=ZoneInfo("UTC")).astimezone(zone)
        assert there.isoformat()[:16] == f"{day}T00:00"


def test_local_days_are_those_of_new_york(year: Decisions) -> None:
    zone = ZoneInfo("America/New_York")
    days = flights.local_day(year.decided_at[::5000])
    for moment, day in zip(year.decided_at[::5000], days, strict=True):
        there = moment.astype("datetime64[s]").item().replace(tzinfo=ZoneInfo("UTC"))
        assert str(there.astimezone(zone).date()) == str(day)


def test_batches_cut_the_year_without_loss(year: Decisions) -> None:
    start, end = _day("2013-04-01", "2014-01-01")
    six_hours = np.timedelta64(6, "h")
    batches = list(year.batches(start, end, six_hours))
    assert len(batches) == 275 * 4 + 1  # the hour that November gave back
    rows = np.concatenate([batch.rows for batch in batches])
    assert (rows == year.between(start, end)).all()


def test_every_outcome_matures_once(year: Decisions) -> None:
    start, end = _day("2013-04-01", "2014-01-03")
    days = year.batches(start, end, np.timedelta64(1, "D"))
    matured = np.concatenate([year.matured(b.start, b.end) for b in days])
    assert len(set(matured.tolist())) == len(matured)
    decided = year.known(year.between(start, end))
    assert set(decided.tolist()) <= set(matured.tolist())


def test_no_application_has_an_outcome_yet() -> None:
    applications = credit.load()
    arriving = applications.arriving
    assert len(applications.book_outcome) == 600
    assert len(arriving) == 400
    assert np.isnan(arriving.outcome).all()
    assert np.isnat(arriving.known_at).all()
    assert not set(credit.PROTECTED) & set(arriving.columns)
    assert set(credit.REASONS) == set(arriving.columns)


def test_applications_arrive_on_working_days() -> None:
    at = credit.load().arriving.decided_at
    assert np.is_busday(at.astype("datetime64[D]")).all()
    assert (np.diff(at) > np.timedelta64(0)).all()


def test_latencies_repeat_row_by_row() -> None:
    samples = latency.load()
    assert len(samples) == latency.SAMPLES
    assert (samples > 0).all()
    assert latency.of(np.array([5, 5 + len(samples)]), samples).tolist() == [
        samples[5],
        samples[5],
    ]


def test_the_bank_file_is_read_as_the_uci_publishes_it(tmp_path: Path) -> None:
    path = tmp_path / "bank-additional-full.csv"
    _write_bank(path, ["may", "may", "dec", "mar", "may"])
    calls = bank.load(path)
    months = calls.decided_at.astype("datetime64[M]").astype(str).tolist()
    assert months == ["2008-05", "2008-05", "2008-12", "2009-03", "2009-05"]
    assert bank.AFTER_THE_CALL not in calls.columns
    assert np.isnan(calls.columns["pdays"]).all()
    assert calls.outcome.tolist() == [0, 1, 0, 1, 0]


def test_another_file_is_no_bank_file(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a;b\n1;2\n")
    with pytest.raises(Invalid, match=r"--bank: other\.csv has no column age"):
        bank.load(path)
    with pytest.raises(Invalid, match="is not a file"):
        bank.load(tmp_path / "absent.csv")


def test_a_month_nobody_knows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    _write_bank(path, ["may", "brumaire"])
    with pytest.raises(Invalid, match="'brumaire' is not a month"):
        bank.load(path)


def test_the_months_of_the_real_bank_file_are_recovered() -> None:
    path = SHARED / "bank_additional_full.parquet"
    if not path.exists():
        pytest.skip("the bank-marketing file is not here")
    calls = bank.load(path)
    months = parquet.read_table(path, columns=["ym"])["ym"].to_pylist()
    assert calls.decided_at.astype("datetime64[M]").astype(str).tolist() == months
    assert (np.diff(calls.decided_at) >= np.timedelta64(0)).all()


def _day(first: str, last: str) -> tuple[np.datetime64, np.datetime64]:
    return flights.midnight(first), flights.midnight(last)


def _write_bank(path: Path, months: list[str]) -> None:
    names = [*bank.RECIPE.features, bank.AFTER_THE_CALL, "month", "y"]
    with path.open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(names)
        for i, month in enumerate(months):
            numbers = [999 if n == "pdays" else 1.5 for n in bank.RECIPE.numbers]
            words = ["word"] * len(bank.RECIPE.words)
            answer = "yes" if i % 2 else "no"
            rows.writerow([*numbers, *words, 60, month, answer])

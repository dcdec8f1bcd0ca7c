"""The user's own copy of the UCI bank-marketing file, and who subscribed.

`modelkeep demo --bank FILE` reads `bank-additional-full.csv` as the UCI publishes it
(semicolons), or the same table as Parquet. Rows are in order of date, May 2008 to
November 2010, but carry only a month: the year follows from the order, days are
assigned by us, evenly within each month. `duration` is known only after the call and is
dropped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from modelkeep.errors import Invalid
from modelkeep_services.demo.decisions import Decisions, Instants, Numbers, Words
from modelkeep_services.demo.recipes import Recipe, Statement

FIRST_YEAR: Final = 2008
AFTER_THE_CALL: Final = "duration"
NEVER_CALLED: Final = 999
"""What `pdays` says for a client never contacted before: a missing number, not a long
time, so that bins do not swallow it."""

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun")
MONTHS: Final = (*_MONTHS, "jul", "aug", "sep", "oct", "nov", "dec")

RECIPE: Final = Recipe(
    name="subscription",
    method="trees",
    numbers=(
        "age",
        "campaign",
        "pdays",
        "previous",
        "emp.var.rate",
        "cons.price.idx",
        "cons.conf.idx",
        "euribor3m",
        "nr.employed",
    ),
    words=(
        "job",
        "marital",
        "education",
        "default",
        "housing",
        "loan",
        "contact",
        "day_of_week",
        "poutcome",
    ),
    groups={
        "client": ("age", "job", "marital", "education"),
        "credit": ("default", "housing", "loan"),
        "this campaign": ("contact", "day_of_week", "campaign"),
        "earlier campaigns": ("pdays", "previous", "poutcome"),
        "economy": (
            "emp.var.rate",
            "cons.price.idx",
            "cons.conf.idx",
            "euribor3m",
            "nr.employed",
        ),
    },
)
STATEMENT: Final = Statement(
    task="binary classification: subscription to a term deposit",
    purpose="Order the clients of a telephone campaign by chance of subscribing",
    users=("campaign managers",),
    limitations=(
        "trained on three months before the financial crisis reached the file",
        "days within a month are assigned by us",
    ),
    risks={"Pestering": "contacts per campaign are an input and are monitored"},
)
TRAINED_UNTIL: Final = np.datetime64("2008-08-01", "ms")


def load(path: Path) -> Decisions:
    """Read the file. Raises Invalid when it is not that table, naming the column."""
    if not path.is_file():
        raise Invalid.field("--bank", f"{path} is not a file")
    table = _read(path)
    for name in (*RECIPE.features, "month", "y"):
        if name not in table.column_names:
            raise Invalid.field("--bank", f"{path.name} has no column {name}")
    columns: dict[str, Numbers | Words] = {
        name: table[name].to_numpy().astype(np.float64) for name in RECIPE.numbers
    }
    days_since = columns["pdays"]
    columns["pdays"] = np.where(days_since == NEVER_CALLED, np.nan, days_since)
    for name in RECIPE.words:
        columns[name] = _text(table, name)
    called = _dates(_text(table, "month"))
    return Decisions(
        columns=columns,
        decided_at=called,
        known_at=called + np.timedelta64(1, "h"),  # the call ends with an answer
        outcome=(_text(table, "y") == "yes").astype(np.float64),
        references=np.array([f"call-{i + 1:05d}" for i in range(len(called))]),
    )


def _read(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return parquet.read_table(path)
        return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=";"))
    except pa.ArrowInvalid as unreadable:
        raise Invalid.field("--bank", f"{path.name}: {unreadable}") from unreadable


def _text(table: pa.Table, name: str) -> Words:
    return np.array(table[name].to_pylist(), dtype=np.str_)


def _dates(months: Words) -> Instants:
    """Give every call a time: a month that follows a later one begins a new year."""
    place = {name: i for i, name in enumerate(MONTHS)}
    strange = sorted(set(months.tolist()) - set(place))
    if strange:
        raise Invalid.field("--bank", f"{strange[0]!r} is not a month")
    number = np.array([place[m] for m in months.tolist()], dtype=np.int64)
    year = FIRST_YEAR + np.cumsum(np.diff(number, prepend=number[0]) < 0)
    since = ((year - 1970) * 12 + number).astype("datetime64[M]")
    block = np.flatnonzero(np.diff(since, prepend=since[0] - 1).astype(np.int64))
    length = np.diff(block, append=len(since))
    rank = np.arange(len(since)) - np.repeat(block, length)
    begun = since.astype("datetime64[ms]")
    lasts = (since + 1).astype("datetime64[ms]") - begun
    called: Instants = begun + (lasts // np.repeat(length, length)) * rank
    return called

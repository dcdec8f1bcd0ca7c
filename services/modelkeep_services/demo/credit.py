"""A thousand real loan applications: tier 1, gated by people, a reason for each no.

Applications are real; dates are assigned by us; no default has matured. The first 600,
in the data's own order, are the book that the model was developed on; the other 400
arrive one by one on working days of 2013, and their outcome is not known by year's end.
Sex, age and foreign-worker status are not used; `PROTECTED` keeps them for fairness.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from modelkeep_services.demo.decisions import (
    Columns,
    Decisions,
    Instants,
    Numbers,
    Words,
)
from modelkeep_services.demo.recipes import Recipe, Statement

SAYS: Final = "applications are real; dates are assigned by us; no default has matured"
BOOK: Final = 600
CUTOFF: Final = 1 / 6
"""Refuse from this chance of default on: the data's own cost matrix says that a bad
credit granted costs five times a good one refused."""
PROTECTED: Final = ("personal_status_and_sex", "age_in_years", "foreign_worker")

FIRST_DAY: Final = np.datetime64("2013-04-01", "D")
LAST_DAY: Final = np.datetime64("2013-12-20", "D")
OPENS: Final = np.timedelta64(14, "h")  # nine o'clock in New York's winter, in UTC
OPEN_MINUTES: Final = 420

REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "status_of_existing_checking_account": ("R01", "Balance of checking account"),
    "duration_in_month": ("R02", "Length of the loan"),
    "credit_history": ("R03", "History of earlier credits"),
    "purpose": ("R04", "Purpose of the loan"),
    "credit_amount": ("R05", "Amount of the loan"),
    "savings_account_and_bonds": ("R06", "Savings"),
    "present_employment_since": ("R07", "Length of employment"),
    "installment_rate_in_percentage_of_disposable_income": (
        "R08",
        "Instalment too high for the income",
    ),
    "other_debtors_or_guarantors": ("R09", "No sufficient guarantor"),
    "present_residence_since": ("R10", "Length of residence"),
    "property": ("R11", "Property offered"),
    "other_installment_plans": ("R12", "Other instalment plans"),
    "housing": ("R13", "Housing"),
    "number_of_existing_credits_at_this_bank": ("R14", "Credits already held here"),
    "job": ("R15", "Occupation"),
    "number_of_people_being_liable_to_provide_maintenance_for": (
        "R16",
        "Number of dependants",
    ),
    "telephone": ("R17", "No registered telephone"),
}
"""Each feature used, with the code and the wording of an adverse-action notice."""

NUMBERS: Final = (
    "duration_in_month",
    "credit_amount",
    "installment_rate_in_percentage_of_disposable_income",
    "present_residence_since",
    "number_of_existing_credits_at_this_bank",
    "number_of_people_being_liable_to_provide_maintenance_for",
)
RECIPE: Final = Recipe(
    name="credit-default",
    method="linear",
    numbers=NUMBERS,
    words=tuple(name for name in REASONS if name not in NUMBERS),
    groups={name: (name,) for name in REASONS},
)

STATEMENT: Final = Statement(
    task="binary classification: default on a loan",
    purpose="Gate adverse-action decisions on consumer loan applications",
    users=("credit officers",),
    limitations=(
        SAYS,
        "developed on 600 applications of a German bank of the 1990s",
        "measured by cross-validation on its own book: no default has matured since",
    ),
    risks={
        "Discrimination": "sex, age and foreign-worker status are not inputs; "
        "approval rates are compared across them",
        "Refusal without grounds": "every refusal carries reason codes",
    },
)


class Applications(NamedTuple):
    """`book` has outcomes and no dates; `arriving` has dates and no outcomes."""

    book: Columns
    book_outcome: Numbers
    arriving: Decisions
    protected: Columns


def load() -> Applications:
    path = resources.files(__package__) / "data" / "credit.parquet"
    with resources.as_file(path) as file:
        table = parquet.read_table(file)
    columns: dict[str, Numbers | Words] = {}
    for name in table.column_names:
        values = table[name].to_pylist()
        columns[name] = (
            np.array(values, dtype=np.float64)
            if name in NUMBERS
            else np.array(values, dtype=np.str_)
        )
    bad = (columns.pop("creditability") == "bad").astype(np.float64)
    apart = {name: columns.pop(name)[BOOK:] for name in PROTECTED}
    later = len(bad) - BOOK
    arriving = Decisions(
        columns={name: values[BOOK:] for name, values in columns.items()},
        decided_at=spread(later, FIRST_DAY, LAST_DAY),
        known_at=np.full(later, np.datetime64("NaT"), dtype="datetime64[ms]"),
        outcome=np.full(later, np.nan),
        references=np.array([f"application-{BOOK + i + 1:04d}" for i in range(later)]),
    )
    book = {name: values[:BOOK] for name, values in columns.items()}
    return Applications(book, bad[:BOOK], arriving, apart)


def spread(count: int, first: np.datetime64, last: np.datetime64) -> Instants:
    """Assign `count` dates evenly over the working hours from `first` to `last`."""
    days = np.arange(first, last + 1, dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    minutes = np.arange(count) * (len(days) * OPEN_MINUTES) // count
    opened = days[minutes // OPEN_MINUTES].astype("datetime64[ms]") + OPENS
    moments: Instants = opened + (minutes % OPEN_MINUTES).astype("timedelta64[m]")
    return moments


def refused(scores: Numbers) -> NDArray[np.bool_]:
    return scores >= CUTOFF


def notice(groups: tuple[str, ...]) -> list[str]:
    """Word the reasons of one refusal: `R05 Amount of the loan`."""
    return [" ".join(REASONS[name]) for name in groups]

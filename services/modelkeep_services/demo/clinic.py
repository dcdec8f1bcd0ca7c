"""A clinical model bought from a vendor, and the day it is silently replaced.

Measurements of 569 real biopsies (Wisconsin, UCI 17), carried by scikit-learn. To the
ledger the model is a black box that the vendor delivers as a digest; here we are also
the vendor, who trains it on the first 300. Dates are assigned by us; the laboratory
answers five days after each reading.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import numpy as np
from sklearn import __version__ as sklearn_version
from sklearn.datasets import load_breast_cancer

from modelkeep_services.demo import training
from modelkeep_services.demo.cards import Dataset
from modelkeep_services.demo.credit import spread
from modelkeep_services.demo.decisions import Columns, Decisions, Numbers
from modelkeep_services.demo.recipes import Recipe, Statement

SAYS: Final = (
    "biopsies are real; dates are assigned by us; the swap is a labelled drill"
)
VENDOR_BOOK: Final = 300
ANSWER: Final = np.timedelta64(5, "D")
CUTOFF: Final = 0.5

_MEASURES: Final = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave_points",
    "symmetry",
    "fractal_dimension",
)
FEATURES: Final = tuple(f"mean_{name}" for name in _MEASURES)

RECIPE: Final = Recipe(
    name="biopsy-reading",
    method="linear",
    numbers=FEATURES,
    words=(),
    groups={
        "size": ("mean_radius", "mean_perimeter", "mean_area"),
        "surface": ("mean_texture", "mean_smoothness", "mean_fractal_dimension"),
        "shape": (
            "mean_compactness",
            "mean_concavity",
            "mean_concave_points",
            "mean_symmetry",
        ),
    },
    ridge=1.0,
)

STATEMENT: Final = Statement(
    task="binary classification: malignant cell sample",
    purpose="Order biopsies for a second reading by a pathologist",
    users=("pathologists",),
    limitations=(SAYS, "the vendor does not disclose how it was trained"),
    risks={"A missed malignancy": "every sample is read in the laboratory as well"},
)


def dataset() -> Dataset:
    """Say what the vendor's book is: a table that scikit-learn carries."""
    data = load_breast_cancer()
    content = hashlib.sha256(data.data.astype("<f8").tobytes() + data.target.tobytes())
    return Dataset(
        name="scikit-learn/breast_cancer",
        version=sklearn_version,
        sha256=content.hexdigest(),
        licence="CC BY 4.0",
    )


def load() -> tuple[Columns, Numbers, Decisions]:
    """Return the vendor's columns and outcomes (1: malignant), and what is decided."""
    data = load_breast_cancer()
    columns = {
        name: data.data[:, place].astype(np.float64)
        for place, name in enumerate(FEATURES)
    }
    malignant = (data.target == 0).astype(np.float64)
    later = len(malignant) - VENDOR_BOOK
    at = spread(later, np.datetime64("2013-04-01"), np.datetime64("2013-12-20"))
    decisions = Decisions(
        columns={name: values[VENDOR_BOOK:] for name, values in columns.items()},
        decided_at=at,
        known_at=at + ANSWER,
        outcome=malignant[VENDOR_BOOK:],
        references=np.array(
            [f"biopsy-{VENDOR_BOOK + i + 1:03d}" for i in range(later)]
        ),
    )
    book = {name: values[:VENDOR_BOOK] for name, values in columns.items()}
    return book, malignant[:VENDOR_BOOK], decisions


def deliver(
    release: Literal["as approved", "silent replacement"],
    book: Columns,
    malignant: Numbers,
) -> bytes:
    """Return the vendor's ONNX file. The replacement goes by the same name, takes the
    same columns, and was retrained without looking at the size of the cells.
    """
    if release == "as approved":
        return training.fit(RECIPE, book, malignant, "vendor release 4.1")
    unseen = np.zeros(len(malignant))
    blind = dict(book) | dict.fromkeys(RECIPE.groups["size"], unseen)
    return training.fit(RECIPE, blind, malignant, "vendor release 4.1")

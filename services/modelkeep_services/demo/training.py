"""Fits a recipe, and measures it as it would have been used: later days than it saw.

scikit-learn does the fitting and the measuring; nothing of it reaches the artifact.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has none

from modelkeep.stats.drift import feature_drift
from modelkeep.stats.profile import Baseline
from modelkeep.stats.psi import PsiDocument
from modelkeep_services.demo import artifacts, export
from modelkeep_services.demo.decisions import (
    Columns,
    Decisions,
    Instants,
    Numbers,
    Rows,
    Words,
)
from modelkeep_services.demo.export import Encoding
from modelkeep_services.demo.recipes import Recipe

SMOOTHING: Final = 50.0
"""A category's rate is shrunk to the base rate as if by so many average rows."""
NORMAL_95: Final = 1.959963984540054


class Quality(NamedTuple):
    """How scores stood to outcomes. `auc` is NaN unless both outcomes occurred."""

    n: int
    predicted: float
    actual: float
    auc: float
    brier: float


class Comparison(NamedTuple):
    """Champion and challenger on the same rows, cut into whole days.

    `gain` is the mean over days of (champion's Brier less challenger's), so above 0 the
    challenger is better; `low` and `high` are its 95 % normal interval over days.
    `auc_gain` and its interval are the same for AUC, over days with both outcomes.
    """

    days: int
    champion: Quality
    challenger: Quality
    gain: float
    low: float
    high: float
    auc_gain: float
    auc_low: float
    auc_high: float

    @property
    def better(self) -> Literal["challenger", "champion", "neither"]:
        """Who wins with 95 % confidence: somebody ahead in one and behind in neither.
        Being behind in either of the two settles it for the champion.
        """
        if self.high < 0 or self.auc_high < 0:
            return "champion"
        return "challenger" if self.low > 0 or self.auc_low > 0 else "neither"


class HeldOut(NamedTuple):
    """Scores given by models that had not seen those days."""

    rows: Rows
    scores: Numbers
    folds: tuple[Quality, ...]
    pooled: Quality


def fit(recipe: Recipe, columns: Columns, outcome: Numbers, about: str = "") -> bytes:
    """Train on rows whose outcome is known and return the ONNX graph.

    The same rows and releases of scikit-learn and numpy give the same bytes.
    """
    if np.isnan(outcome).any():
        message = f"{recipe.name}: a row without an outcome cannot be trained on"
        raise ValueError(message)
    told = {"recipe": recipe.name, "rows": str(len(outcome)), "trained_on": about}
    fitted = _fit_trees if recipe.method == "trees" else _fit_linear
    # One thread: the order of a sum, and so the digest, must not depend on the machine,
    # and threads that spin for each other stand still where the cores are busy.
    with threadpool_limits(limits=1):
        return fitted(recipe, columns, outcome, told)


def fit_known(
    recipe: Recipe, decisions: Decisions, start: np.datetime64, until: np.datetime64
) -> tuple[bytes, Rows]:
    """Train on what was decided in [start, until) and known before `until`."""
    rows = decisions.known(decisions.between(start, until), by=until)
    span = f"{np.datetime_as_string(start, 'D')}/{np.datetime_as_string(until, 'D')}"
    graph = fit(recipe, decisions.take(rows), decisions.outcome[rows], span)
    return graph, rows


def quality(scores: Numbers, outcome: Numbers) -> Quality:
    """Measure over the rows whose outcome is known; all NaN when there is none."""
    known = ~np.isnan(outcome)
    p, y = scores[known], outcome[known]
    if not len(y):
        return Quality(0, math.nan, math.nan, math.nan, math.nan)
    return Quality(
        n=len(y),
        predicted=float(p.mean()),
        actual=float(y.mean()),
        auc=_auc(p, y),
        brier=float(np.mean((p - y) ** 2)),
    )


def rolling_origin(
    recipe: Recipe,
    decisions: Decisions,
    start: np.datetime64,
    origins: Sequence[np.datetime64],
) -> HeldOut:
    """Train on [start, origin) and score [origin, next origin), for each origin but the
    last, which only closes the last fold. Nothing is scored by a model that saw its
    day, and none is trained on an outcome that was not yet known.
    """
    rows, scores, folds = [], [], []
    for origin, until in pairwise(origins):
        graph, _ = fit_known(recipe, decisions, start, origin)
        model = artifacts.opened(graph, artifacts.digest_of(graph))
        later = decisions.known(decisions.between(origin, until))
        given = model.score(decisions.take(later))
        rows.append(later)
        scores.append(given)
        folds.append(quality(given, decisions.outcome[later]))
    held, given = np.concatenate(rows), np.concatenate(scores)
    pooled = quality(given, decisions.outcome[held])
    return HeldOut(held, given, tuple(folds), pooled)


def cross_validated(
    recipe: Recipe, columns: Columns, outcome: Numbers, folds: int = 5
) -> Quality:
    """Score each fold by a model of the others, for data that has no dates to hold out.
    Row i is in fold i modulo `folds`.
    """
    fold = np.arange(len(outcome)) % folds
    scores = np.empty(len(outcome))
    for held in range(folds):
        seen, apart = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        graph = fit(recipe, {n: v[seen] for n, v in columns.items()}, outcome[seen])
        model = artifacts.opened(graph, artifacts.digest_of(graph))
        scores[apart] = model.score({n: v[apart] for n, v in columns.items()})
    return quality(scores, outcome)


def compare(
    champion: Numbers, challenger: Numbers, outcome: Numbers, days: Instants
) -> Comparison:
    """Set two models' scores of the same rows side by side; a day is one observation,
    because the flights of a day share its weather.
    """
    known = ~np.isnan(outcome)
    ours, theirs, y, days = (
        champion[known],
        challenger[known],
        outcome[known],
        days[known],
    )
    parts = [np.flatnonzero(days == day) for day in np.unique(days)]
    brier = [np.mean((ours[d] - y[d]) ** 2 - (theirs[d] - y[d]) ** 2) for d in parts]
    rank = [_auc(theirs[d], y[d]) - _auc(ours[d], y[d]) for d in parts]
    return Comparison(
        len(parts),
        quality(ours, y),
        quality(theirs, y),
        *_interval(np.array(brier)),
        *_interval(np.array(rank)),
    )


def _interval(values: Numbers) -> tuple[float, float, float]:
    values = values[~np.isnan(values)]
    if len(values) < 2:  # noqa: PLR2004  # one day has no spread
        return math.nan, math.nan, math.nan
    mean = float(values.mean())
    half = NORMAL_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _auc(scores: Numbers, outcome: Numbers) -> float:
    if outcome.min() == outcome.max():
        return math.nan
    return float(roc_auc_score(outcome, scores))


def _fit_trees(
    recipe: Recipe, columns: Columns, outcome: Numbers, told: Mapping[str, str]
) -> bytes:
    codes = {name: _rates(_words(columns, name), outcome) for name in recipe.words}
    model = HistGradientBoostingClassifier(
        max_iter=recipe.rounds,
        max_leaf_nodes=recipe.leaves,
        min_samples_leaf=recipe.smallest_leaf,
        l2_regularization=recipe.ridge,
        learning_rate=recipe.learning_rate,
        early_stopping=False,  # it would hold out rows, not days
        categorical_features=None,
        random_state=0,
    )
    matrix = _matrix(recipe, columns, codes)
    matrix[:, np.isnan(matrix).all(axis=0)] = 0.0  # never seen: nothing to split on
    model.fit(matrix, outcome.astype(np.int64))
    return export.trees(model, recipe.features, codes, told)


def _fit_linear(
    recipe: Recipe, columns: Columns, outcome: Numbers, told: Mapping[str, str]
) -> bytes:
    """Numbers are standardised and words spread into one column a category; both are
    folded back, so that the artifact holds one weight a number and a category.
    """
    numbers = np.column_stack([np.zeros((len(outcome), 0)), *_floats(recipe, columns)])
    centre, spread = numbers.mean(axis=0), numbers.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    levels = {n: np.unique(_words(columns, n)) for n in recipe.words}
    spelled = [_words(columns, n)[:, None] == levels[n] for n in recipe.words]
    model = LogisticRegression(C=1 / recipe.ridge, max_iter=1000)
    model.fit(
        np.column_stack([(numbers - centre) / spread, *spelled]),
        outcome.astype(np.int64),
    )
    weights: Numbers = model.coef_[0]
    slopes, rest = weights[: len(centre)] / spread, weights[len(centre) :]
    codes = {}
    for name in recipe.words:
        own, rest = rest[: len(levels[name])], rest[len(levels[name]) :]
        pairs = zip(levels[name].tolist(), own.tolist(), strict=True)
        codes[name] = Encoding(dict(pairs), unseen=0.0)
    shift = float(model.intercept_[0] - slopes @ centre)
    every = np.concatenate([slopes, np.ones(len(recipe.words))])
    return export.linear(every, shift, recipe.features, codes, told)


def _rates(words: Words, outcome: Numbers) -> Encoding:
    """Code each category by its smoothed outcome rate, to six decimals."""
    base = float(outcome.mean())
    levels, place = np.unique(words, return_inverse=True)
    bad = np.bincount(place, weights=outcome)
    rate = (bad + SMOOTHING * base) / (np.bincount(place) + SMOOTHING)
    pairs = zip(levels.tolist(), np.round(rate, 6).tolist(), strict=True)
    return Encoding(dict(pairs), unseen=round(base, 6))


def _matrix(
    recipe: Recipe, columns: Columns, codes: Mapping[str, Encoding]
) -> NDArray[np.float64]:
    coded = [_coded(_words(columns, name), codes[name]) for name in recipe.words]
    return np.column_stack([*_floats(recipe, columns), *coded])


def _coded(words: Words, code: Encoding) -> Numbers:
    levels, place = np.unique(words, return_inverse=True)
    values = np.array([code.get(word, code.unseen) for word in levels.tolist()])
    return values[place]


def _floats(recipe: Recipe, columns: Columns) -> list[Numbers]:
    return [columns[name].astype(np.float64) for name in recipe.numbers]


def _words(columns: Columns, name: str) -> Words:
    return columns[name].astype(np.str_)


def moved(learnt: Columns, measured: Columns) -> dict[str, float]:
    """Return each feature's PSI between what was learnt from and what came after, less
    what chance alone would show on so many rows: a small table is not a drift.
    """
    baseline = Baseline.fit(learnt)
    window = baseline.profile(measured)
    found = feature_drift(baseline, window, PsiDocument("demo"))
    return {d.name: max(0.0, d.psi - d.by_chance) for d in found}


def snapshot(columns: Columns, outcome: Numbers) -> str:
    """Name a table by its content: SHA-256 over names and values, column by column."""
    content = hashlib.sha256()
    for name in sorted(columns):
        values = columns[name]
        raw = values.astype("<f8") if values.dtype.kind == "f" else values.astype("S")
        content.update(name.encode() + b"\0" + raw.tobytes())
    content.update(outcome.astype("<f8").tobytes())
    return f"sha256:{content.hexdigest()}"

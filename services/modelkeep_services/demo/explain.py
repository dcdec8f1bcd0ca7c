"""What each group of features contributed to a score, for any artifact.

Baseline Shapley values (Sundararajan and Najmi, 2020) of groups, estimated from two
opposite orders: walk from the case to a reference case by replacing one group after the
other, once forwards and once backwards, and average what each step changed. Two orders
of all orders: contributions of groups that interact are an estimate, but they always
add up to the score, and where the model is additive in log-odds (a logistic regression)
they are exact. It asks the model twice a row for every group but one and opens no lid,
so it explains a vendor's black box as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelkeep_services.demo.artifacts import Artifact
from modelkeep_services.demo.decisions import Columns, Numbers

COMPLETE_WITHIN: Final = 1e-5
"""An explanation is valid when it adds up to the score's log-odds within this."""
NEVER: Final = 1e-15


class Explainer:
    """`reference` is the case that all others are compared with; `groups` name columns.

    Contributions are in log-odds: +0.7 doubles the odds of the bad outcome.
    """

    def __init__(
        self,
        model: Artifact,
        groups: Mapping[str, Sequence[str]],
        reference: Mapping[str, float | str],
    ) -> None:
        named = sorted(name for group in groups.values() for name in group)
        if named != sorted(model.features):
            message = f"groups name {named}, the model takes {sorted(model.features)}"
            raise ValueError(message)
        self.names = tuple(groups)
        self._model = model
        self._groups = [tuple(group) for group in groups.values()]
        self._reference = dict(reference)
        one = {name: np.array([value]) for name, value in reference.items()}
        self.base = float(log_odds(model.score(one))[0])

    def contributions(self, columns: Columns, scores: Numbers) -> Numbers:
        """Return one row a case and one column a group, for the scores just given."""
        start = log_odds(scores)
        total = np.zeros((len(scores), len(self._groups)))
        for order in (range(len(self._groups)), range(len(self._groups))[::-1]):
            total += self._walk(columns, start, order)
        return total / 2

    def valid(self, contributions: Numbers, scores: Numbers) -> NDArray[np.bool_]:
        """Say for each row whether base and contributions add up to the score."""
        rest = self.base + contributions.sum(axis=1) - log_odds(scores)
        complete: NDArray[np.bool_] = np.abs(rest) <= COMPLETE_WITHIN
        return complete

    def reasons(
        self, contributions: Numbers, at_most: int = 4
    ) -> list[tuple[str, ...]]:
        """Return, a row, the groups that raised the score most, strongest first."""
        order = np.argsort(-contributions, axis=1, kind="stable")[:, :at_most]
        return [
            tuple(self.names[g] for g in groups if row[g] > 0)
            for row, groups in zip(contributions, order.tolist(), strict=True)
        ]

    def _walk(self, columns: Columns, start: Numbers, order: Sequence[int]) -> Numbers:
        steps = np.empty((len(start), len(self._groups)))
        replaced, before = dict(columns), start
        for group in order[:-1]:
            for name in self._groups[group]:
                replaced[name] = np.full(len(start), self._reference[name])
            after = log_odds(self._model.score(replaced))
            steps[:, group] = before - after
            before = after
        steps[:, order[-1]] = before - self.base
        return steps


def importance(
    model: Artifact, columns: Columns, reference: Mapping[str, float | str]
) -> dict[str, float]:
    """Weigh each feature by its mean absolute contribution; weights add up to 1.

    Two thousand rows are enough, and cost a tenth of a second for sixteen features.
    """
    single = Explainer(model, {name: (name,) for name in model.features}, reference)
    given = single.contributions(columns, model.score(columns))
    mean = np.abs(given).mean(axis=0)
    if not mean.sum():  # a model that says the same of everybody weighs all alike
        mean = np.ones_like(mean)
    return dict(zip(single.names, (mean / mean.sum()).tolist(), strict=True))


def typical(columns: Columns) -> dict[str, float | str]:
    """Return a reference case: medians of the numbers, commonest of the words."""
    case: dict[str, float | str] = {}
    for name, values in columns.items():
        if values.dtype.kind == "f":
            known = values[~np.isnan(values)].astype(np.float64)
            case[name] = float(np.median(known)) if len(known) else math.nan
        else:
            words, counts = np.unique(values, return_counts=True)
            case[name] = str(words[counts.argmax()])
    return case


def log_odds(scores: Numbers) -> Numbers:
    """Return ln(p / (1 - p)), p kept within what a double tells from 0 and 1."""
    scores = np.clip(scores, NEVER, 1 - NEVER)
    odds: Numbers = np.log(scores) - np.log1p(-scores)
    return odds

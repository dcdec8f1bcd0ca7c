"""What is trained on which columns, and how; and what its makers say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class Recipe:
    """`groups` are the features that are explained together, under a name for people.

    `trees` boosts small trees over rates per category; `linear` is a logistic
    regression with a weight a category.
    """

    name: str
    method: Literal["trees", "linear"]
    numbers: tuple[str, ...]
    words: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    rounds: int = 60
    leaves: int = 15
    smallest_leaf: int = 200
    ridge: float = 5.0
    learning_rate: float = 0.1

    @property
    def features(self) -> tuple[str, ...]:
        return self.numbers + self.words

    def settings(self) -> dict[str, object]:
        """Everything as plain JSON, for a run's parameters in the lineage."""
        return asdict(self) | {"groups": {k: list(v) for k, v in self.groups.items()}}


class Statement(NamedTuple):
    """What only a person can say of a model: purpose, users, limits, risks."""

    task: str
    purpose: str
    users: Sequence[str]
    limitations: Sequence[str]
    risks: Mapping[str, str]
    """Ethical consideration → how it is mitigated."""

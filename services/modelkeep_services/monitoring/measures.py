"""What a baseline can be measured by beyond its ten bins, and what batches counted so.

A `Yardstick` is fitted to the baseline's rows and kept in its event as text: fine cells
of each numeric column, and what the columns have in common. Batches are counted by it
when they are recorded, as integers that add up, so that a window needs no rows. A
baseline of before has none, and its windows say less.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from modelkeep.errors import Corrupt, Invalid
from modelkeep.events.monitoring import BatchRecorded
from modelkeep.stats.bins import Column as Array
from modelkeep.stats.categories import Coded
from modelkeep.stats.fine import FineBaseline, FineLayout, FineProfile
from modelkeep.stats.profile import Baseline, Categorical, Layout, Numeric, Profile
from modelkeep.stats.reconstruction import Components, Together, together
from modelkeep.stats.unseen import unseen_values
from modelkeep_services.monitoring.packed import packed, unpacked

Columns = Mapping[str, Array | Coded]

MOST_FINE: Final = 200
"""Columns, the weightiest first: an event holds some 2 KiB for each."""
MOST_TOGETHER: Final = 32
"""Columns, the weightiest first: moments grow with their square."""
EXAMPLES: Final = 5
LONGEST: Final = 200
"""Characters of an example."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    fine: FineBaseline
    components: Components | None

    @property
    def digest(self) -> tuple[str, str]:
        """Identify it: what was counted by one of the same adds up."""
        found = self.components
        return (
            self.fine.layout.digest,
            "" if found is None else found.baseline.layout.digest,
        )


class Counted(NamedTuple):
    """What was counted of a batch by its version's baseline."""

    profile: Profile | None = None
    fine: FineProfile | None = None
    together: Together | None = None
    unseen: Mapping[str, tuple[str, ...]] = {}

    def told(self) -> dict[str, object]:
        """Return it as the batch's event says it, by field."""
        profile, fine, moments = self.profile, self.fine, self.together
        return {
            "profile": None if profile is None else profile.to_json().decode(),
            "fine": None if fine is None else packed(fine),
            "together": None if moments is None else _dump(_told(moments)),
            "unseen": self.unseen,
        }


@dataclass
class Measured:
    """What is added up over the batches of a window."""

    by: Yardstick
    fine: FineProfile
    together: Together | None
    unseen: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def empty(cls, by: Yardstick) -> Measured:
        moments = None
        if by.components is not None:
            moments = Together.empty(by.components.baseline.layout)
        return cls(by, FineProfile.empty(by.fine.layout), moments)

    @property
    def size(self) -> int:
        """Return its bytes, about, in memory."""
        moments = 0 if self.together is None else self.together.sums.nbytes
        return self.fine.counts.nbytes + moments

    def judged(self, by: Yardstick | None) -> Measured | None:
        """Return the same counts beside another baseline of the same layouts."""
        return None if by is None else replace(self, by=by)

    def serves(self, counted: Counted) -> bool:
        """Whether a batch was counted by this yardstick, so that `add` can add it."""
        fine, moments = counted.fine, counted.together
        if fine is None or fine.layout.digest != self.fine.layout.digest:
            return False
        if self.together is None:
            return True
        digest = self.together.layout.digest
        return moments is not None and moments.layout.digest == digest

    def add(self, counted: Counted) -> None:
        if counted.fine is not None:
            self.fine += counted.fine
        if self.together is not None and counted.together is not None:
            self.together += counted.together
        for name, words in counted.unseen.items():
            known = self.unseen.get(name, ())
            news = tuple(word for word in words if word not in known)
            self.unseen[name] = (*known, *news)[:EXAMPLES]


def fit(baseline: Baseline, columns: Columns) -> Yardstick | None:
    """Fit to a baseline's rows; None without a numeric column."""
    layout = baseline.layout
    weights = dict(
        zip((f.name for f in layout.features), baseline.importance, strict=True)
    )
    numeric = [f.name for f in layout.features if isinstance(f, Numeric)]
    # names break ties, so that the same baseline is measured by the same columns
    weighty = sorted(numeric, key=lambda name: (-weights[name], name))
    if not weighty:
        return None
    fine = FineBaseline.fit({name: columns[name] for name in weighty[:MOST_FINE]})
    chosen = _chosen(fine.layout, frozenset(weighty[:MOST_TOGETHER]))
    numbers = _numbers(chosen, columns)
    try:
        return Yardstick(fine, Components.fit(chosen, numbers))
    except Invalid:  # one column, or one row, has nothing in common with another
        return Yardstick(fine, None)


def count(by: Yardstick | None, profile: Profile, columns: Columns) -> Counted:
    """Count rows beside their profile."""
    if by is None:
        return Counted(profile)
    numbers = _numbers(by.fine.layout, columns)
    moments = None
    if by.components is not None:
        moments = together(by.components.baseline.layout, numbers)
    return Counted(
        profile,
        by.fine.profile(numbers),
        moments,
        _strange(profile.layout, profile, columns),
    )


def counted_of(event: BatchRecorded, layout: Layout, by: Yardstick | None) -> Counted:
    """Read what a batch's event says, as far as it was counted so."""
    if event.profile is None or _layout(event.profile) != layout.digest:
        return Counted()
    profile = Profile.from_json(event.profile, layout)
    if by is None or event.fine is None or _layout(event.fine) != by.fine.layout.digest:
        return Counted(profile)
    moments = None
    if by.components is not None and event.together is not None:
        common = by.components.baseline.layout
        if _layout(event.together) == common.digest:
            moments = _together_of(event.together, common)
    return Counted(profile, unpacked(event.fine, by.fine.layout), moments, event.unseen)


def spelled(by: Yardstick) -> dict[str, str | None]:
    """Return what a baseline's event says, by field."""
    return {
        "fine": by.fine.to_json().decode(),
        "components": None if by.components is None else _components(by.components),
    }


def _components(found: Components) -> str:
    names = [scale.name for scale in found.baseline.layout.scales]
    return _dump(
        {
            "columns": names,
            "deviation": found.deviation,
            "explained": found.explained,
            "together": _told(found.baseline),
        }
    )


@lru_cache(maxsize=256)
def parsed(fine: str, components: str | None) -> Yardstick:
    """Read what a baseline's event says. Raises Corrupt."""
    found = FineBaseline.from_json(fine)
    if components is None:
        return Yardstick(found, None)
    try:
        told = json.loads(components)
        layout = _chosen(found.layout, frozenset(told["columns"]))
        common = Components(
            _together_of(json.dumps(told["together"]), layout),
            float(told["deviation"]),
            float(told["explained"]),
        )
    except (ValueError, KeyError, TypeError) as problem:
        raise Corrupt(f"these are no components: {problem!r}") from problem
    return Yardstick(found, common)


def _chosen(layout: FineLayout, names: frozenset[str]) -> FineLayout:
    return FineLayout(tuple(scale for scale in layout.scales if scale.name in names))


def _numbers(layout: FineLayout, columns: Columns) -> dict[str, Array]:
    found = {}
    for scale in layout.scales:
        column = columns.get(scale.name)
        if column is not None and not isinstance(column, Coded):
            found[scale.name] = column
    return found


def _strange(
    layout: Layout, profile: Profile, columns: Columns
) -> dict[str, tuple[str, ...]]:
    """Return some values of each category that the baseline does not know."""
    found = {}
    for place, feature in enumerate(layout.features):
        if not isinstance(feature, Categorical) or feature.name not in columns:
            continue
        if profile.counts[layout.part(place)][-2]:
            values = unseen_values(
                columns[feature.name], feature.categories, most=EXAMPLES
            )
            found[feature.name] = tuple(value[:LONGEST] for value in values)
    return found


def _told(moments: Together) -> dict[str, object]:
    # they mirror each other: one half says it all
    half = moments.sums[np.triu_indices(len(moments.sums))]
    return {"layout": moments.layout.digest, "sums": half.tolist()}


def _together_of(spelled: str, layout: FineLayout) -> Together:
    """Raise Invalid for moments of other columns, Corrupt for none at all."""
    try:
        told = json.loads(spelled)
        if told["layout"] != layout.digest:
            raise Invalid.field("layout", "the moments are of other columns")
        size = len(layout.scales) + 1
        sums = np.zeros((size, size), dtype=np.int64)
        sums[np.triu_indices(size)] = told["sums"]
    except (ValueError, KeyError, TypeError) as problem:
        raise Corrupt(f"these are no moments: {problem!r}") from problem
    return Together(layout, sums + np.triu(sums, 1).T)


def _layout(spelled: str) -> str:
    # found without reading all of it
    at = spelled.find('"layout":"') + 10
    return spelled[at : spelled.find('"', at)]


def _dump(told: object) -> str:
    return json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)

"""A side of a comparison: what was counted of a window, a baseline, or a version over a
period, whose windows' profiles add up.

Nothing is binned again. A feature whose bins changed within a period has no counts
there, and the side says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np

from modelkeep.errors import Corrupt, Invalid, NotFound
from modelkeep.events.monitoring import (
    BaselineRegistered,
    Estimate,
    PerformanceFigure,
    WindowFigures,
)
from modelkeep.stats import latency as latencies
from modelkeep.stats.auc import auc_of_table
from modelkeep.stats.bins import Counts
from modelkeep.stats.confusion import Confusion
from modelkeep.stats.pairs import Estimate as Measured
from modelkeep.stats.profile import Baseline, Feature, Layout, Profile
from modelkeep.stats.regression import Errors
from modelkeep.stats.scores import CELLS
from modelkeep.views import Fact, Reader, Rows, View
from modelkeep_services.monitoring import naming, views
from modelkeep_services.monitoring.open_windows import BARE, NO_ERRORS
from modelkeep_services.monitoring.windows import error_estimates, parsed

MAX_WINDOWS: Final = 1_000
PAGE: Final = 200
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOWHEN: Final = "19700101t000000z.19700101t000000z"
NO_TABLE: Final = np.zeros((2, CELLS), dtype=np.int64)


@dataclass(frozen=True)
class LayoutRow:
    """A baseline whose layout this is: its bins, long after another took its name."""

    profile: str


layouts = View("layouts", LayoutRow)
"""By `model/layout`."""


@layouts.on(BaselineRegistered)
def layout_kept(event: BaselineRegistered, _: Fact, rows: Rows[LayoutRow]) -> None:
    rows.put(f"{event.model}/{event.layout}", LayoutRow(event.profile))


@dataclass(frozen=True, eq=False)
class Counted:
    """A feature's bins and the rows in them, as `Profile` counts them."""

    feature: Feature
    counts: Counts

    @property
    def known(self) -> int:
        """Rows that have a value."""
        return int(self.counts[:-1].sum())

    @property
    def missing(self) -> int:
        return int(self.counts[-1])


@dataclass(frozen=True, eq=False)
class Side:
    """`apart` has features that were counted and cannot be added up, and why."""

    version: str
    environment: str
    rows: int
    features: Mapping[str, Counted]
    scores: Counted | None
    cells: Counts
    low: float
    high: float
    latency: Counts
    performance: Mapping[str, Estimate]
    apart: Mapping[str, str] = field(default_factory=dict)
    start: datetime | None = None
    end: datetime | None = None
    windows: tuple[str, ...] = ()
    baseline: str = ""
    left_out: tuple[str, ...] = ()
    outcomes: int = 0
    pending: int = 0
    immature: int = 0
    sources: tuple[str, ...] = ()
    table: Counts = field(default_factory=lambda: NO_TABLE)
    """Rows by outcome and score cell."""
    figures: tuple[WindowFigures, ...] = ()
    """What its windows say themselves."""


# --- one baseline, one window ------------------------------------------------------


def of_baseline(read: Reader, model: str, version: str, baseline: str) -> Side:
    """Return a baseline, the version's latest when unnamed. Raises NotFound."""
    key = f"{model}/{version}" + (f"/{baseline}" if baseline else "")
    row = read.get(views.baselines, key)
    if row is None:
        raise NotFound("baseline", key)
    event = row.event
    found = parsed(event.profile)
    features, apart = _features([found.reference])
    return Side(
        version=version,
        environment="",
        rows=event.rows,
        features=features,
        scores=_scores([found.reference]),
        cells=found.reference.scores,
        low=found.layout.score_low,
        high=found.layout.score_high,
        latency=found.reference.latency,
        performance={
            one.metric: one for one in event.performance if one.metric != "score_mean"
        },
        apart=apart,
        start=event.period_start,
        end=event.period_end,
        baseline=event.baseline,
        outcomes=event.outcomes,
        sources=(row.source,),
        table=np.array(event.score_outcomes, np.int64).reshape(2, CELLS)
        if event.score_outcomes
        else NO_TABLE,
    )


def of_window(read: Reader, model: str, window: str) -> Side:
    """Return a closed window. Raises NotFound."""
    row = read.get(views.windows, f"{model}/{window}")
    if row is None:
        raise NotFound("window", f"{model}/{window}")
    return _of_windows(read, [row], row.start, row.end, ())


# --- a version over a period -------------------------------------------------------


def of_period(
    read: Reader,
    model: str,
    version: str,
    environment: str,
    start: datetime,
    end: datetime,
) -> Side:
    """Add up the closed windows within [start, end).

    Raises NotFound for a version nobody registered and where no window was closed, and
    Invalid for more than MAX_WINDOWS.
    """
    if read.get(views.versions, f"{model}/{version}") is None:
        raise NotFound("version", f"{model}/{version}")
    found = list(within(read, model, version, environment, start, end, MAX_WINDOWS))
    if not found:
        raise NotFound(
            "closed window",
            f"of {model}/{version} in {environment} from {start:%Y-%m-%d %H:%M} "
            f"to {end:%Y-%m-%d %H:%M}",
        )
    kept, left = apart(found)
    return _of_windows(read, kept, start, end, left)


def within(
    read: Reader,
    model: str,
    version: str,
    environment: str,
    start: datetime,
    end: datetime,
    most: int,
) -> Iterator[views.WindowRow]:
    """Yield the closed windows within [start, end), oldest first.

    Raises Invalid for more than `most`.
    """
    named = naming.window_id(version, environment, EPOCH, EPOCH)
    prefix = f"{model}/{named.removesuffix(NOWHEN)}"
    # keys are in the order of time; this one is before any that begins then
    after, seen = f"{prefix}{start:%Y%m%dt%H%M%S}", 0
    while True:
        rows = read.scan(views.windows, prefix, after=after, limit=PAGE)
        for _, row in rows:
            if (row.version, row.environment) != (version, environment):
                continue
            if row.start >= end:
                return
            if row.start >= start and row.end <= end:
                seen += 1
                if seen > most:
                    raise Invalid.field("period", f"holds more than {most} windows")
                yield row
        if len(rows) < PAGE:
            return
        after = rows[-1][0]


def apart(
    found: Sequence[views.WindowRow],
) -> tuple[list[views.WindowRow], tuple[str, ...]]:
    """Choose windows that do not overlap: no row counts twice."""
    kept: list[views.WindowRow] = []
    left: list[str] = []
    for row in sorted(found, key=lambda row: (row.start, row.start - row.end)):
        if kept and row.start < kept[-1].end:
            left.append(row.window)
        else:
            kept.append(row)
    return kept, tuple(left)


def _of_windows(
    read: Reader,
    rows: Sequence[views.WindowRow],
    start: datetime,
    end: datetime,
    left_out: tuple[str, ...],
) -> Side:
    first = rows[0]
    profiles: dict[str, Profile] = {}
    table, errors = NO_TABLE, NO_ERRORS
    for row in rows:
        stored = read.get(views.profiles, f"{row.model}/{row.window}")
        if stored is None:
            raise Corrupt(f"window {row.window} has no profile")
        if stored.score_outcomes:
            table = table + np.array(stored.score_outcomes, np.int64).reshape(2, CELLS)
        if stored.errors is not None:
            errors = errors.plus(Errors.of(dict(stored.errors)))
        if stored.profile:
            one = _profile(read, row.model, stored.profile)
            key = one.layout.digest
            profiles[key] = profiles[key] + one if key in profiles else one
    told = list(profiles.values())
    features, apart = _features(told)
    low, high = _range(told)
    figures = [row.figures for row in rows]
    return Side(
        version=first.version,
        environment=first.environment,
        rows=sum(one.rows for one in figures),
        features=features,
        scores=_scores(told),
        cells=_total([one.scores for one in told], CELLS + 2),
        low=low,
        high=high,
        latency=_total([one.latency for one in told], latencies.SIZE),
        performance=_performance(figures, table, errors),
        apart=apart,
        start=start,
        end=end,
        windows=tuple(row.window for row in rows),
        left_out=left_out,
        outcomes=sum(one.outcomes for one in figures),
        pending=sum(one.pending for one in figures),
        immature=sum(not one.mature for one in figures),
        sources=tuple(row.source for row in rows),
        table=table,
        figures=tuple(figures),
    )


# --- profiles, feature by feature --------------------------------------------------


def _profile(read: Reader, model: str, profile: str) -> Profile:
    digest = json.loads(profile)["layout"]
    if digest == BARE.digest:
        return Profile.from_json(profile, BARE)
    row = read.get(layouts, f"{model}/{digest}")
    if row is None:
        raise Corrupt(f"the layout {digest} of a window of {model} is not known")
    return Profile.from_json(profile, _layout(row.profile))


def _layout(profile: str) -> Layout:
    found: Baseline = parsed(profile)
    return found.layout


def _features(
    profiles: Sequence[Profile],
) -> tuple[dict[str, Counted], dict[str, str]]:
    """Add features up where their bins are the same; say of the others why not."""
    found: dict[str, Counted] = {}
    apart: dict[str, str] = {}
    rows = sum(profile.rows for profile in profiles)
    for profile in profiles:
        for place, feature in enumerate(profile.layout.features):
            counts = profile.counts[profile.layout.part(place)]
            known = found.get(feature.name)
            if known is None:
                found[feature.name] = Counted(feature, counts)
            elif known.feature == feature:
                found[feature.name] = Counted(feature, known.counts + counts)
            else:
                apart[feature.name] = "its bins changed within the period"
    for name, one in found.items():
        if name not in apart and int(one.counts.sum()) != rows:
            apart[name] = "it was not counted in every window of the period"
    return {n: one for n, one in found.items() if n not in apart}, apart


def _scores(profiles: Sequence[Profile]) -> Counted | None:
    """Return the scores' own bins; None where they are not the same throughout."""
    first = profiles[0].layout.scores if profiles else None
    if first is None or any(one.layout.scores != first for one in profiles):
        return None
    parts = [one.counts[one.layout.part(len(one.layout.features))] for one in profiles]
    return Counted(first, _total(parts, first.size))


def _range(profiles: Sequence[Profile]) -> tuple[float, float]:
    """Return the ends of the score cells; not a number where they are not the same."""
    ends = {(one.layout.score_low, one.layout.score_high) for one in profiles}
    return ends.pop() if len(ends) == 1 else (float("nan"), float("nan"))


def _total(parts: Iterable[Counts], size: int) -> Counts:
    total: Counts = np.zeros(size, dtype=np.int64)
    for part in parts:
        total = total + part
    return total


# --- performance -------------------------------------------------------------------


def _performance(
    figures: Sequence[WindowFigures], table: Counts, errors: Errors
) -> Mapping[str, Estimate]:
    """Return what one window says of itself; of several, what their counts add up to.

    The AUC of several is that of their score cells, where a cell is a tie; errors of
    numbers add up exactly.
    """
    if len(figures) == 1:
        return {one.metric: _plain(one) for one in figures[0].performance}
    if errors.n:
        return {one.metric: one for one in error_estimates(errors)}
    binary = [one for one in figures if one.outcome_kind == "binary"]
    matrix = _confusion([one for one in binary if one.outcomes])
    measured: Iterable[tuple[str, Measured | None]] = (
        ("auc", auc_of_table(table)),
        ("accuracy", matrix.accuracy()),
        ("false_positive_rate", matrix.false_positive_rate()),
        ("precision", matrix.precision()),
        ("recall", matrix.recall()),
        ("base_rate", matrix.base_rate()),
    )
    return {
        name: Estimate(
            metric=name,
            value=round(one.value, 6),
            lower=round(one.low, 6),
            upper=round(one.high, 6),
            n=one.n,
        )
        for name, one in measured
        if one is not None
    }


def _plain(one: PerformanceFigure) -> Estimate:
    return Estimate(
        metric=one.metric, value=one.value, lower=one.lower, upper=one.upper, n=one.n
    )


def _confusion(figures: Sequence[WindowFigures]) -> Confusion:
    positives = sum(one.positives for one in figures)
    negatives = sum(one.outcomes for one in figures) - positives
    wrong = sum(one.bad.get("false_positives", 0) for one in figures)
    missed = sum(one.bad.get("false_negatives", 0) for one in figures)
    return Confusion(
        true_positives=positives - missed,
        false_positives=wrong,
        true_negatives=negatives - wrong,
        false_negatives=missed,
    )

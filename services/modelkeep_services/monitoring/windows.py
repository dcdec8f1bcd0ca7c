"""The figures of a window, computed from what is known of its rows.

What a batch counted as a whole (contract breaches, boundaries) belongs to the window of
its first row; everything else is counted row by row, so that windows may cut batches.
Figures are rounded to six decimals: they are facts once stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import numpy as np

from modelkeep.decisions.matrix import Column, Decisions, Flags, Floats, Numbers, Words
from modelkeep.decisions.rows import NEVER, UNSAID
from modelkeep.events.monitoring import (
    Estimate,
    EstimatedPerformance,
    Fairness,
    FeatureFigure,
    InputAge,
    LatencyFigure,
    LossCells,
    PerformanceFigure,
    PredictionFigure,
    Resources,
    SlotCounts,
    Thresholds,
    WindowFigures,
)
from modelkeep.stats import latency as latencies
from modelkeep.stats.bins import Column as Array
from modelkeep.stats.bins import Counts
from modelkeep.stats.categories import Coded
from modelkeep.stats.confusion import confusion
from modelkeep.stats.drift import prediction_drift
from modelkeep.stats.fairness import Group
from modelkeep.stats.pairs import Estimate as Figure
from modelkeep.stats.performance import Performance, performance
from modelkeep.stats.profile import Baseline, Layout, Numeric, Profile, count
from modelkeep.stats.psi import PsiDocument
from modelkeep.stats.scores import CELLS, outcome_table
from modelkeep_services.monitoring import fairness, label_free, measures
from modelkeep_services.monitoring.book import UNKNOWN, Book, Held, Truths
from modelkeep_services.monitoring.columns import taken
from modelkeep_services.monitoring.drift_figures import misfit, outcome_drift
from modelkeep_services.monitoring.feature_figures import feature_figures
from modelkeep_services.monitoring.measures import Counted, Measured, Yardstick
from modelkeep_services.monitoring.rounding import rounded as _round
from modelkeep_services.monitoring.telemetry import total as used

METHOD: Final = "windows/2"
SOURCES: Final = 50
WHOLE: Final = slice(None)
BARE: Final = Layout(())
"""Without a baseline only latencies and scores are counted."""


@dataclass(frozen=True)
class Reference:
    """A version's baseline, as registered."""

    name: str
    profile: str
    threshold: float
    performance: Sequence[Estimate]
    fine: str | None = None
    components: str | None = None
    score_outcomes: tuple[int, ...] = ()
    brier_cells: LossCells | None = None

    @property
    def baseline(self) -> Baseline:
        return parsed(self.profile)

    @property
    def yardstick(self) -> Yardstick | None:
        """None of a baseline that was registered before there were any."""
        if self.fine is None:
            return None
        return measures.parsed(self.fine, self.components)


@dataclass(frozen=True)
class Question:
    """Which rows, and how they are judged. `now` decides what is mature."""

    version: str
    environment: str
    start: datetime
    end: datetime
    now: datetime
    maturity_hours: float
    reference: Reference | None
    limits: Thresholds
    slas: Mapping[str, float]
    fairness: Sequence[Fairness] = ()


@dataclass(frozen=True)
class Answer:
    figures: WindowFigures
    profile: str
    score_outcomes: tuple[int, ...]
    method: str


@dataclass
class _Sum:
    """What is added up over batches."""

    profile: Profile
    measured: Measured | None = None
    groups: dict[Fairness, tuple[Group, ...]] = field(default_factory=dict)
    rows: int = 0
    quarantined: int = 0
    explained: int = 0
    said: int = 0
    owed: int = 0
    missing: int = 0
    out_of_bounds: int = 0
    undeployed: int = 0
    breaches: Counter[str] = field(default_factory=Counter)
    uses: Counter[str] = field(default_factory=Counter)
    inputs: dict[str, tuple[datetime, float]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    explanation_ms: Counts = field(
        default_factory=lambda: np.zeros(latencies.SIZE, dtype=np.int64)
    )
    resources: Resources | None = None
    batches: int = 0
    scores: list[Floats] = field(default_factory=list)
    outcomes: list[Truths] = field(default_factory=list)

    def joined(self) -> tuple[Floats, Truths]:
        """Return the scores and outcomes of all rows, in the order of their batches."""
        return (
            np.concatenate([np.empty(0), *self.scores]),
            np.concatenate([np.empty(0, np.uint8), *self.outcomes]),
        )


@lru_cache(maxsize=256)
def parsed(profile: str) -> Baseline:
    """Read a stored baseline. Raises Corrupt."""
    return Baseline.from_json(profile)


def rows_between(
    book: Book, start: datetime, end: datetime
) -> Counter[tuple[str, str]]:
    """Return the rows in [start, end), by version and environment."""
    found: Counter[tuple[str, str]] = Counter()
    for held in book.batches:
        rows = _within(held, start, end)
        if rows is not None:
            size = (
                len(held.times)
                if isinstance(rows, slice)
                else int(np.count_nonzero(rows))
            )
            found[held.event.version, held.event.environment] += size
    return found


def answer(book: Book, asked: Question) -> Answer:
    """Count and measure. The book is caught up, and its lock held."""
    reference = asked.reference
    yardstick = None if reference is None else reference.yardstick
    total = _summed(book, asked, _layout_of(asked), yardstick, asked.fairness)
    scores, outcomes = total.joined()
    known = outcomes < NEVER
    table = outcome_table(scores[known], outcomes[known])
    figures = _figures(total, scores, outcomes, table, asked)
    return Answer(
        figures,
        total.profile.to_json().decode(),
        tuple(table.ravel().tolist()) if known.any() else (),
        f"{METHOD}, thresholds {asked.limits.version}",
    )


def counts(book: Book, asked: Question) -> SlotCounts:
    """Count what budgets ask for. The book is caught up, and its lock held."""
    # Profiles cost most of it, and only they know latencies.
    limited = asked.limits.latency_p95_ms is not None
    total = _summed(book, asked, _layout_of(asked) if limited else None)
    scores, outcomes = total.joined()
    known = outcomes < NEVER
    true = outcomes[known].astype(np.float64)
    timed = _latency(total.profile.latency)
    return SlotCounts(
        rows=total.rows,
        quarantined=total.quarantined,
        timed=0 if timed is None else timed.n,
        bad=_bad(total.profile, scores[known], true, asked),
        breaches=dict(sorted(total.breaches.items())),
        outcomes=int(np.count_nonzero(known)),
        never=int(np.count_nonzero(outcomes == NEVER)),
        pending=int(np.count_nonzero(outcomes == UNKNOWN)),
        positives=int(np.count_nonzero(true)),
        sources=tuple(total.sources),
    )


def _layout_of(asked: Question) -> Layout:
    return BARE if asked.reference is None else asked.reference.baseline.layout


def _summed(
    book: Book,
    asked: Question,
    layout: Layout | None,
    by: Yardstick | None = None,
    declared: Sequence[Fairness] = (),
) -> _Sum:
    """Without a layout nothing is profiled, without a yardstick nothing measured."""
    total = _Sum(
        Profile.empty(layout or BARE),
        None if by is None else Measured.empty(by),
        {one: fairness.empty(one) for one in declared},
    )
    for held in book.batches:
        event = held.event
        if (event.version, event.environment) != (asked.version, asked.environment):
            continue
        rows = _within(held, asked.start, asked.end)
        if rows is not None:
            _add(total, book, held, rows, layout, asked)
    return total


def _within(held: Held, start: datetime, end: datetime) -> Flags | slice | None:
    """Return which rows lie in [start, end): a slice for all, None for none."""
    event = held.event
    if event.last_at < start or event.first_at >= end:
        return None
    if event.first_at >= start and event.last_at < end:
        return WHOLE
    rows: Flags = (held.times >= micros(start)) & (held.times < micros(end))
    return rows if rows.any() else None


def _add(
    total: _Sum,
    book: Book,
    held: Held,
    rows: Flags | slice,
    layout: Layout | None,
    asked: Question,
) -> None:
    event = held.event
    size = len(held.times) if isinstance(rows, slice) else int(np.count_nonzero(rows))
    if asked.start <= event.first_at < asked.end:
        _add_whole(total, held)
    if len(total.sources) < SOURCES:
        total.sources.append(held.event_id)
    if event.quarantined:
        total.quarantined += size
        return
    total.batches += 1
    total.rows += size
    if event.use_approved is False:
        total.uses[event.use or "unsaid"] += size
    if not event.deployed:
        total.undeployed += size
    for reading in event.readings:
        _age(total.inputs, reading.feed, reading.last_at, event.last_at)
    if layout is not None:
        _profile(total, book, held, rows, layout)
    total.scores.append(held.scores[rows])
    total.outcomes.append(held.outcomes[rows])
    for declared in total.groups:
        _add_groups(total, book, held, rows, declared, asked)


def _add_whole(total: _Sum, held: Held) -> None:
    """Add what a batch counted as a whole."""
    total.breaches.update(held.breaches)
    if held.event.quarantined:
        return
    total.out_of_bounds += held.event.out_of_bounds
    for part in held.event.explanation_ms:
        total.explanation_ms[part.cell] += part.rows
    total.resources = used((total.resources, held.event.resources))


def _add_groups(
    total: _Sum,
    book: Book,
    held: Held,
    rows: Flags | slice,
    declared: Fairness,
    asked: Question,
) -> None:
    column = book.column(held, declared.column)
    if column is None:
        return  # of whom nothing is known is in no declared group
    groups = fairness.spelled(column)
    found = fairness.counted(
        declared,
        groups._replace(codes=groups.codes[rows]),
        held.scores[rows],
        held.outcomes[rows],
        _threshold(asked),
    )
    total.groups[declared] = fairness.plus(total.groups[declared], found)


def _threshold(asked: Question) -> float:
    return 0.5 if asked.reference is None else asked.reference.threshold


def _profile(
    total: _Sum, book: Book, held: Held, rows: Flags | slice, layout: Layout
) -> None:
    event = held.event
    if (
        isinstance(rows, slice)
        and event.profile is not None
        and _layout(event.profile) == (layout.digest)
        and (total.measured is None or total.measured.counts(event))
    ):
        total.profile += Profile.from_json(event.profile, layout)
        if total.measured is not None and event.fine is not None:
            total.measured.add(event.fine, event.together, event.unseen)
        total.explained += event.explained
        total.said += event.explanations_said
        total.owed += event.reason_codes_owed
        total.missing += event.reason_codes_missing
    else:
        _recount(total, book, held, rows, layout)


def _layout(profile: str) -> str:
    # The layout is the third of five sorted keys: found without reading all of it.
    at = profile.find('"layout":"') + 10
    return profile[at : profile.find('"', at)]


def _recount(
    total: _Sum, book: Book, held: Held, rows: Flags | slice, layout: Layout
) -> None:
    whole = book.decisions(held)
    part = whole if isinstance(rows, slice) else taken(whole, rows)
    columns = columns_of(layout, part)
    profile = _profile_of(layout, part, columns)
    total.profile += profile
    if total.measured is not None:
        total.measured.add_rows(layout, profile, columns)
    total.explained += int(np.count_nonzero(part.explained == 1))
    total.said += int(np.count_nonzero(part.explained != UNSAID))
    total.owed += int(np.count_nonzero(part.reason_codes != UNSAID))
    total.missing += int(np.count_nonzero(part.reason_codes == 0))


def _age(
    inputs: dict[str, tuple[datetime, float]],
    feed: str,
    last_at: datetime,
    used_at: datetime,
) -> None:
    age = max(0.0, (used_at - last_at) / timedelta(hours=1))
    newest, oldest = inputs.get(feed, (last_at, age))
    inputs[feed] = max(newest, last_at), max(oldest, age)


# --- arrays as statistics want them ------------------------------------------------


def counted(reference: Reference, rows: Decisions) -> Counted:
    """Count a batch as its event will say it."""
    layout = reference.baseline.layout
    columns = columns_of(layout, rows)
    profile = _profile_of(layout, rows, columns)
    return measures.count(reference.yardstick, profile, columns)


def columns_of(layout: Layout, rows: Decisions) -> dict[str, Array | Coded]:
    """Return what the baseline knows of a batch. A column of another kind than the
    baseline's counts as missing: the contract says so, the profile cannot.
    """
    numeric = {f.name: isinstance(f, Numeric) for f in layout.features}
    named = zip(rows.schema.columns, rows.columns, strict=True)
    return {
        name: array_of(column)
        for (name, _), column in named
        if name in numeric and not (numeric[name] and isinstance(column, Words))
    }


def _profile_of(
    layout: Layout, rows: Decisions, columns: Mapping[str, Array | Coded]
) -> Profile:
    return count(layout, columns, scores=rows.scores, latency_ms=rows.latency_ms)


def array_of(column: Column) -> Array | Coded:
    if isinstance(column, Words):
        return Coded(column.codes, column.dictionary)
    return numbers_of(column)


def numbers_of(column: Numbers) -> Floats:
    found = column.values.astype(np.float64)
    if not column.valid.all():
        found[~column.valid] = np.nan
    return found


def micros(at: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def instant(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)


# --- figures -----------------------------------------------------------------------


def _figures(
    total: _Sum, scores: Floats, outcomes: Truths, table: Counts, asked: Question
) -> WindowFigures:
    known = outcomes < NEVER
    never = int(np.count_nonzero(outcomes == NEVER))
    pending = int(np.count_nonzero(outcomes == UNKNOWN))
    matures_at = asked.end + timedelta(hours=asked.maturity_hours)
    said, true = scores[known], outcomes[known].astype(np.float64)
    mature = asked.now >= matures_at or bool(total.rows and not pending)
    reference = asked.reference
    drift = outcome_drift(reference.score_outcomes if reference else (), table)
    return WindowFigures(
        rows=total.rows,
        quarantined=total.quarantined,
        batches=total.batches,
        baseline=None if reference is None else reference.name,
        features=_features(total, asked),
        prediction=_prediction(total.profile, scores, asked),
        latency_ms=_latency(total.profile.latency),
        explained=total.explained,
        explanation_coverage=_share(total.explained, total.rows if total.said else 0),
        reason_codes_owed=total.owed,
        reason_codes_missing=total.missing,
        bad=_bad(total.profile, said, true, asked),
        outcomes=int(np.count_nonzero(known)),
        never=never,
        pending=pending,
        positives=int(np.count_nonzero(true)),
        mature=mature,
        matures_at=matures_at,
        performance=_performance(said, true, reference),
        predicted_mean=_round(float(said.mean())) if said.size else None,
        actual_mean=_round(float(true.mean())) if true.size else None,
        inputs=tuple(
            InputAge(
                feed=feed,
                last_at=newest,
                age_hours=round(age, 4),
                sla_hours=asked.slas.get(feed),
            )
            for feed, (newest, age) in sorted(total.inputs.items())
        ),
        breaches=dict(sorted(total.breaches.items())),
        unapproved_use=dict(sorted(total.uses.items())),
        out_of_bounds=total.out_of_bounds,
        undeployed=total.undeployed,
        sources=tuple(total.sources),
        estimated=None if mature else _estimated(total.profile, asked),
        fairness=tuple(
            fairness.figure(declared, groups, total.rows, asked.limits)
            for declared, groups in total.groups.items()
        ),
        label_drift=drift.label if mature else None,
        concept_drift=drift.concept if mature else None,
        misfit=misfit(total.measured),
        explanation_ms=_latency(total.explanation_ms),
        resources=total.resources,
    )


def _estimated(window: Profile, asked: Question) -> EstimatedPerformance | None:
    reference = asked.reference
    if reference is None:
        return None
    if sum(reference.score_outcomes) < asked.limits.least_outcomes:
        return None
    return label_free.estimated(
        window.scores[:CELLS],
        reference.threshold,
        reference.score_outcomes,
        reference.brier_cells,
        reference.performance,
    )


def psi_document(limits: Thresholds) -> PsiDocument:
    return PsiDocument(
        limits.version,
        warning=limits.psi_warning,
        hard=limits.psi_hard,
        hard_factor=limits.psi_hard_factor,
        confidence=limits.psi_confidence,
    )


def _features(total: _Sum, asked: Question) -> tuple[FeatureFigure, ...]:
    if asked.reference is None or not total.profile.rows:
        return ()
    return feature_figures(
        asked.reference.baseline,
        total.profile,
        psi_document(asked.limits),
        total.measured,
    )


def _prediction(
    window: Profile, scores: Floats, asked: Question
) -> PredictionFigure | None:
    if asked.reference is None or not window.rows:
        return None
    baseline = asked.reference.baseline
    drift = prediction_drift(baseline, window, psi_document(asked.limits))
    if drift is None:
        return None
    before = {e.metric: e.value for e in asked.reference.performance}
    return PredictionFigure(
        psi=_round(drift.psi),
        lo=_round(drift.warning),
        hi=_round(drift.hard),
        n=drift.rows,
        mean=_round(float(scores.mean())) if scores.size else None,
        baseline_mean=before.get("score_mean"),
    )


def _latency(counts: Counts) -> LatencyFigure | None:
    p50, p95, p99 = latencies.quantiles(counts, (0.50, 0.95, 0.99))
    if p50 is None or p95 is None or p99 is None:
        return None
    n = int(counts[: latencies.MISSING].sum())
    # Beyond 70 minutes the histogram only says "longer".
    top = latencies.LONGEST
    return LatencyFigure(
        p50=_round(min(p50, top)),
        p95=_round(min(p95, top)),
        p99=_round(min(p99, top)),
        n=n,
    )


def _bad(
    window: Profile, said: Floats, true: Floats, asked: Question
) -> dict[str, int]:
    found: dict[str, int] = {}
    if said.size:
        matrix = confusion(said, true, _threshold(asked))
        found["false_positives"] = matrix.false_positives
        found["false_negatives"] = matrix.false_negatives
        found["errors"] = matrix.false_positives + matrix.false_negatives
    limit = asked.limits.latency_p95_ms
    if limit is not None:
        slow = latencies.count_latency(np.array([limit])).argmax() + 1
        found["slow"] = int(window.latency[slow : latencies.MISSING].sum())
    return found


def _performance(
    said: Floats, true: Floats, reference: Reference | None
) -> tuple[PerformanceFigure, ...]:
    if not said.size:
        return ()
    threshold = 0.5 if reference is None else reference.threshold
    before = {e.metric: e for e in (reference.performance if reference else ())}
    return tuple(
        _beside(figure, before.get(figure.metric))
        for figure in estimates(performance(said, true, threshold))
    )


def _beside(figure: Estimate, before: Estimate | None) -> PerformanceFigure:
    return PerformanceFigure(
        **dict(figure),
        baseline=before.value if before else None,
        baseline_lower=before.lower if before else None,
        baseline_upper=before.upper if before else None,
    )


def estimates(seen: Performance) -> tuple[Estimate, ...]:
    """Return every figure that can be said, rounded, with bounds where finite."""
    measured: Iterable[tuple[str, Figure | None]] = (
        ("auc", seen.auc),
        ("brier", seen.brier),
        ("accuracy", seen.accuracy),
        ("false_positive_rate", seen.false_positive_rate),
        ("precision", seen.precision),
        ("recall", seen.recall),
        ("base_rate", seen.base_rate),
        ("calibration_gap", seen.gap),
        ("log_loss", seen.log_loss),
    )
    found = [_estimate(metric, one) for metric, one in measured if one is not None]
    if seen.calibration_error is not None:
        error = _round(seen.calibration_error)
        found.append(Estimate(metric="calibration_error", value=error, n=seen.n))
    return tuple(found)


def _estimate(metric: str, one: Figure) -> Estimate:
    bounded = bool(np.isfinite(one.low) and np.isfinite(one.high))
    return Estimate(
        metric=metric,
        value=_round(one.value),
        lower=_round(one.low) if bounded else None,
        upper=_round(one.high) if bounded else None,
        n=one.n,
    )


def _share(part: int, whole: int) -> float | None:
    return _round(part / whole) if whole else None

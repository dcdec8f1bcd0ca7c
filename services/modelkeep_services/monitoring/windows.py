"""The figures of a window, from its state: counts that were kept as rows came.

What a batch counted as a whole (contract breaches, boundaries) belongs to the window of
its first row; everything else is counted row by row, so that windows may cut batches.
Only performance needs every score, of the rows whose outcome arrived; where outcomes
are numbers, their errors were added up. Figures are rounded to six decimals, those in
the unit of what is predicted to nine digits: they are facts once stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import numpy as np

from modelkeep.events.monitoring import (
    ErrorSums,
    Estimate,
    EstimatedPerformance,
    FeatureFigure,
    InputAge,
    LatencyFigure,
    LossCells,
    MonitorConfigured,
    PerformanceFigure,
    PredictionFigure,
    SlotCounts,
    Thresholds,
    WindowFigures,
)
from modelkeep.stats import latency as latencies
from modelkeep.stats.bins import Counts
from modelkeep.stats.drift import Drift, drift
from modelkeep.stats.pairs import Estimate as Figure
from modelkeep.stats.performance import Performance as Seen
from modelkeep.stats.performance import performance
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import PsiDocument
from modelkeep.stats.regression import Errors
from modelkeep.stats.scores import CELLS
from modelkeep_services.monitoring import fairness, label_free, measures
from modelkeep_services.monitoring.arrays import micros
from modelkeep_services.monitoring.book import Book, Held
from modelkeep_services.monitoring.drift_figures import misfit, outcome_drift
from modelkeep_services.monitoring.feature_figures import feature_figures
from modelkeep_services.monitoring.measures import Measured, Yardstick
from modelkeep_services.monitoring.open_windows import (
    BARE,
    Basis,
    Grid,
    Performance,
    Span,
    Sum,
    Window,
    pairs,
    windows_of,
)
from modelkeep_services.monitoring.rounding import rounded as _round
from modelkeep_services.monitoring.rounding import significant

METHOD: Final = "windows/2"
HOUR: Final = 3_600_000_000
"""In microseconds."""
ANY_THRESHOLD: Final = 0.5
"""Where no baseline says at which score a model says yes."""
UNESTIMATED: Final = (
    "these outcomes are numbers: what is estimated before outcomes are known is "
    "estimated of outcomes that are 0 or 1"
)
_NOTHING: Final = Performance((), None, None)


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
    basis: Basis


@dataclass(frozen=True)
class Answer:
    figures: WindowFigures
    profile: str
    score_outcomes: tuple[int, ...]
    errors: ErrorSums | None
    method: str


@lru_cache(maxsize=256)
def parsed(profile: str) -> Baseline:
    """Read a stored baseline. Raises Corrupt."""
    return Baseline.from_json(profile)


def rows_between(
    book: Book, start: datetime, end: datetime
) -> Counter[tuple[str, str]]:
    """Return the rows in [start, end), by version and environment."""
    found: Counter[tuple[str, str]] = Counter()
    windows, low, high = windows_of(book), micros(start), micros(end)
    for held in book.between(low, high):
        span = Span(held.event.version, held.event.environment, low, high)
        window = windows.seen(span)
        if window is None:
            found[span[:2]] += _size(book, held, span)
        else:
            found[span[:2]] = window.total.rows + window.total.quarantined
    return +found


def _size(book: Book, held: Held, span: Span) -> int:
    if held.first_at >= span.start and held.last_at < span.end:
        return held.event.rows
    times = book.rows(held).times
    return int(np.count_nonzero((times >= span.start) & (times < span.end)))


def answer(book: Book, asked: Question) -> Answer:
    """Measure what was counted. The book is caught up, and its lock held."""
    asked = replace(asked, basis=_settled(asked.basis, book))
    window = windows_of(book).window(_span(asked), asked.basis)
    total = window.total
    seen = _performance_of(window, book)
    numbers = asked.basis.kind == "number"
    return Answer(
        _figures(total, seen, asked),
        total.profile.to_json().decode(),
        tuple(total.table.ravel().tolist()) if total.known and not numbers else (),
        ErrorSums.model_validate(total.errors.spelled()) if total.errors.n else None,
        f"{METHOD}, thresholds {asked.limits.version}",
    )


def counts(book: Book, asked: Question) -> SlotCounts:
    """Say what budgets ask for. The book is caught up, and its lock held."""
    # Profiles cost most of it, and only they know latencies.
    limited = asked.limits.latency_p95_ms is not None
    asked = replace(asked, basis=_settled(asked.basis, book))
    basis = asked.basis.bare
    if not limited:
        basis = basis._replace(layout=None)
    total = windows_of(book).window(_span(asked), basis).total
    timed = _latency(total.profile.latency) if limited else None
    return SlotCounts(
        rows=total.rows,
        quarantined=total.quarantined,
        timed=0 if timed is None else timed.n,
        bad=_bad(total, asked),
        breaches=dict(sorted(total.breaches.items())),
        outcomes=total.known,
        never=total.never,
        pending=total.pending,
        positives=total.positives,
        sources=tuple(total.sources),
    )


def _settled(basis: Basis, book: Book) -> Basis:
    """Outcomes that are recorded say more of their kind than whoever declares it."""
    return basis._replace(kind=book.outcome_kind or basis.kind)


def _span(asked: Question) -> Span:
    start, end = micros(asked.start), micros(asked.end)
    return Span(asked.version, asked.environment, start, end)


def basis_of(reference: Reference | None, monitor: MonitorConfigured) -> Basis:
    """Return how a version's windows are counted."""
    patience = monitor.allowed_lateness_hours
    return Basis(
        BARE if reference is None else reference.baseline.layout,
        ANY_THRESHOLD if reference is None else reference.threshold,
        None if patience is None else round(patience * HOUR),
        None if reference is None else reference.yardstick,
        monitor.fairness,
        monitor.outcome_kind,
    )


def grid_of(monitor: MonitorConfigured) -> Grid | None:
    """Return the windows of a declared cadence."""
    if monitor.cadence_hours is None or monitor.anchor is None:
        return None
    cadence = timedelta(hours=monitor.cadence_hours)
    return Grid(micros(monitor.anchor), cadence // timedelta(microseconds=1))


def _performance_of(window: Window, book: Book) -> Performance:
    """Work out what needs every score, unless no outcome came since the last time."""
    if window.performance is None:
        window.performance = _NOTHING
        if window.basis.kind == "number":
            window.performance = _of_numbers(window.total.errors)
        elif window.total.known:
            said, outcomes = pairs(window, book)
            true = outcomes.astype(np.float64)
            seen = performance(said, true, window.basis.threshold)
            window.performance = Performance(
                estimates(seen), float(said.mean()), float(true.mean())
            )
    return window.performance


def _of_numbers(found: Errors) -> Performance:
    return Performance(
        error_estimates(found), found.predicted_mean(), found.actual_mean()
    )


# --- figures -----------------------------------------------------------------------


def _figures(
    total: Sum,
    seen: Performance,
    asked: Question,
) -> WindowFigures:
    matures_at = asked.end + timedelta(hours=asked.maturity_hours)
    binary = asked.basis.kind == "binary"
    mature = asked.now >= matures_at or bool(total.rows and not total.pending)
    reference, (drifts, scored) = asked.reference, _drifts(total, asked)
    moved = outcome_drift(reference.score_outcomes if reference else (), total.table)
    return WindowFigures(
        rows=total.rows,
        quarantined=total.quarantined,
        late=total.late,
        batches=total.batches,
        baseline=None if reference is None else reference.name,
        features=_features(total, drifts, asked),
        prediction=_prediction(total, scored, asked),
        latency_ms=_latency(total.profile.latency),
        explained=total.explained,
        explanation_coverage=_share(total.explained, total.rows if total.said else 0),
        reason_codes_owed=total.owed,
        reason_codes_missing=total.missing,
        bad=_bad(total, asked),
        outcomes=total.known,
        never=total.never,
        pending=total.pending,
        positives=total.positives,
        mature=mature,
        matures_at=matures_at,
        performance=_performance(seen, reference),
        predicted_mean=_mean(seen.predicted_mean, asked),
        actual_mean=_mean(seen.actual_mean, asked),
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
        estimated=_estimated(total.profile, asked) if binary and not mature else None,
        fairness=tuple(
            fairness.figure(declared, total.groups[declared], total.rows, asked.limits)
            for declared in dict.fromkeys(asked.basis.groups)
        ),
        label_drift=moved.label if mature else None,
        concept_drift=moved.concept if mature else None,
        misfit=misfit(_measured(total, asked)),
        explanation_ms=_latency(total.explanation_ms),
        resources=total.resources,
        outcome_kind=asked.basis.kind,
        unestimated=None if mature or binary else UNESTIMATED,
    )


def _measured(total: Sum, asked: Question) -> Measured | None:
    """Return what was measured, as far as it is asked, beside the asked baseline."""
    if total.measured is None:
        return None
    return total.measured.judged(asked.basis.by)


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


def _drifts(total: Sum, asked: Question) -> tuple[tuple[Drift, ...], Drift | None]:
    """Return the drift of the features and that of the scores."""
    if asked.reference is None or not total.rows:
        return (), None
    document = psi_document(asked.limits)
    return drift(asked.reference.baseline, total.profile, document)


def _features(
    total: Sum, drifts: tuple[Drift, ...], asked: Question
) -> tuple[FeatureFigure, ...]:
    if asked.reference is None or not total.rows:
        return ()
    return feature_figures(
        asked.reference.baseline,
        total.profile,
        psi_document(asked.limits),
        _measured(total, asked),
        drifts,
    )


def _prediction(
    total: Sum, scored: Drift | None, asked: Question
) -> PredictionFigure | None:
    if asked.reference is None or scored is None:
        return None
    before = {e.metric: e.value for e in asked.reference.performance}
    return PredictionFigure(
        psi=_round(scored.psi),
        lo=_round(scored.warning),
        hi=_round(scored.hard),
        n=scored.rows,
        mean=_maybe(total.score_mean),
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


def _bad(total: Sum, asked: Question) -> dict[str, int]:
    found: dict[str, int] = {}
    if total.known and asked.basis.kind == "binary":
        found["false_positives"] = int(total.outcomes[1, 0])
        found["false_negatives"] = int(total.outcomes[0, 1])
        found["errors"] = found["false_positives"] + found["false_negatives"]
    limit = asked.limits.latency_p95_ms
    if limit is not None:
        slow = latencies.count_latency(np.array([limit])).argmax() + 1
        found["slow"] = int(total.profile.latency[slow : latencies.MISSING].sum())
    return found


def _performance(
    seen: Performance, reference: Reference | None
) -> tuple[PerformanceFigure, ...]:
    before = {e.metric: e for e in (reference.performance if reference else ())}
    return tuple(_beside(figure, before.get(figure.metric)) for figure in seen.figures)


def _beside(figure: Estimate, before: Estimate | None) -> PerformanceFigure:
    return PerformanceFigure(
        **dict(figure),
        baseline=before.value if before else None,
        baseline_lower=before.lower if before else None,
        baseline_upper=before.upper if before else None,
    )


def estimates(seen: Seen) -> tuple[Estimate, ...]:
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


def error_estimates(seen: Errors) -> tuple[Estimate, ...]:
    """Return the errors of predictions of numbers, with bounds where finite."""
    measured = (
        ("rmse", seen.rmse()),
        ("mae", seen.mae()),
        ("mean_error", seen.mean_error()),
    )
    # in the unit of the target, which may be small or large: digits that count
    return tuple(_estimate(metric, one, significant) for metric, one in measured if one)


def _estimate(
    metric: str, one: Figure, rounds: Callable[[float], float] = _round
) -> Estimate:
    bounded = bool(np.isfinite(one.low) and np.isfinite(one.high))
    return Estimate(
        metric=metric,
        value=rounds(one.value),
        lower=rounds(one.low) if bounded else None,
        upper=rounds(one.high) if bounded else None,
        n=one.n,
    )


def _mean(value: float | None, asked: Question) -> float | None:
    if value is None or asked.basis.kind == "binary":
        return _maybe(value)
    return significant(value)


def _share(part: int, whole: int) -> float | None:
    return _round(part / whole) if whole else None


def _maybe(value: float | None) -> float | None:
    return None if value is None else _round(value)

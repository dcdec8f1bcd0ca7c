"""The figures of a window, from its state: counts that were kept as rows came.

What a batch counted as a whole (contract breaches, boundaries) belongs to the window of
its first row; everything else is counted row by row, so that windows may cut batches.
Only performance needs every score, of the rows whose outcome arrived. Figures are
rounded to six decimals: they are facts once stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import numpy as np

from modelkeep.events.monitoring import (
    Estimate,
    FeatureFigure,
    InputAge,
    LatencyFigure,
    MonitorConfigured,
    PerformanceFigure,
    PredictionFigure,
    SlotCounts,
    Thresholds,
    WindowFigures,
)
from modelkeep.stats import latency as latencies
from modelkeep.stats.drift import Drift, drift
from modelkeep.stats.missing import MissingRate, missing_rates
from modelkeep.stats.pairs import Estimate as Measured
from modelkeep.stats.performance import Performance as Seen
from modelkeep.stats.performance import performance
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import PsiDocument
from modelkeep_services.monitoring.arrays import micros
from modelkeep_services.monitoring.book import Book, Held
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

METHOD: Final = "windows/1"
DIGITS: Final = 6
HOUR: Final = 3_600_000_000
"""In microseconds."""
ANY_THRESHOLD: Final = 0.5
"""Where no baseline says at which score a model says yes."""
_NOTHING: Final = Performance((), None, None)


@dataclass(frozen=True)
class Reference:
    """A version's baseline, as registered."""

    name: str
    profile: str
    threshold: float
    performance: Sequence[Estimate]

    @property
    def baseline(self) -> Baseline:
        return parsed(self.profile)


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
    window = windows_of(book).window(_span(asked), asked.basis)
    total = window.total
    seen = _performance_of(window, book)
    return Answer(
        _figures(total, seen, asked),
        total.profile.to_json().decode(),
        tuple(total.table.ravel().tolist()) if total.known else (),
        f"{METHOD}, thresholds {asked.limits.version}",
    )


def counts(book: Book, asked: Question) -> SlotCounts:
    """Say what budgets ask for. The book is caught up, and its lock held."""
    # Profiles cost most of it, and only they know latencies.
    limited = asked.limits.latency_p95_ms is not None
    basis = asked.basis if limited else asked.basis._replace(layout=None)
    total = windows_of(book).window(_span(asked), basis).total
    timed = _latency(total.profile) if limited else None
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
        if window.total.known:
            said, outcomes = pairs(window, book)
            true = outcomes.astype(np.float64)
            seen = performance(said, true, window.basis.threshold)
            window.performance = Performance(
                estimates(seen), float(said.mean()), float(true.mean())
            )
    return window.performance


# --- figures -----------------------------------------------------------------------


def _figures(total: Sum, seen: Performance, asked: Question) -> WindowFigures:
    matures_at = asked.end + timedelta(hours=asked.maturity_hours)
    reference, (drifts, scored) = asked.reference, _drifts(total, asked)
    return WindowFigures(
        rows=total.rows,
        quarantined=total.quarantined,
        late=total.late,
        batches=total.batches,
        baseline=None if reference is None else reference.name,
        features=_features(total, drifts, asked),
        prediction=_prediction(total, scored, asked),
        latency_ms=_latency(total.profile),
        explained=total.explained,
        explanation_coverage=_share(total.explained, total.rows if total.said else 0),
        reason_codes_owed=total.owed,
        reason_codes_missing=total.missing,
        bad=_bad(total, asked),
        outcomes=total.known,
        never=total.never,
        pending=total.pending,
        positives=total.positives,
        mature=asked.now >= matures_at or bool(total.rows and not total.pending),
        matures_at=matures_at,
        performance=_performance(seen, reference),
        predicted_mean=_maybe(seen.predicted_mean),
        actual_mean=_maybe(seen.actual_mean),
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
    total: Sum, drifts: Sequence[Drift], asked: Question
) -> tuple[FeatureFigure, ...]:
    if asked.reference is None or not total.rows:
        return ()
    found = {one.name: one for one in drifts}
    return tuple(
        _feature(rate, found.get(rate.name), total.rows)
        for rate in missing_rates(asked.reference.baseline, total.profile)
    )


def _feature(rate: MissingRate, drifted: Drift | None, rows: int) -> FeatureFigure:
    missing = {
        "feature": rate.name,
        "missing_rate": _round(rate.share),
        "missing_lower": _round(rate.bounds.low),
        "missing_upper": _round(rate.bounds.high),
        "baseline_missing_rate": _round(rate.baseline_share),
        "baseline_missing_upper": _round(rate.baseline_bounds.high),
    }
    if drifted is None:
        return FeatureFigure.model_validate({**missing, "n": rows})
    return FeatureFigure.model_validate(
        {
            **missing,
            "psi": _round(drifted.psi),
            "lo": _round(drifted.warning),
            "hi": _round(drifted.hard),
            "by_chance": _round(drifted.by_chance),
            "bins": drifted.bins,
            "n": drifted.rows,
            "baseline_n": drifted.baseline_rows,
            "importance": _round(drifted.importance),
        }
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


def _latency(window: Profile) -> LatencyFigure | None:
    p50, p95, p99 = latencies.quantiles(window.latency, (0.50, 0.95, 0.99))
    if p50 is None or p95 is None or p99 is None:
        return None
    n = int(window.latency[: latencies.MISSING].sum())
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
    if total.known:
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
    measured: Iterable[tuple[str, Measured | None]] = (
        ("auc", seen.auc),
        ("brier", seen.brier),
        ("accuracy", seen.accuracy),
        ("false_positive_rate", seen.false_positive_rate),
        ("precision", seen.precision),
        ("recall", seen.recall),
        ("base_rate", seen.base_rate),
        ("calibration_gap", seen.gap),
    )
    found = [_estimate(metric, one) for metric, one in measured if one is not None]
    if seen.calibration_error is not None:
        error = _round(seen.calibration_error)
        found.append(Estimate(metric="calibration_error", value=error, n=seen.n))
    return tuple(found)


def _estimate(metric: str, one: Measured) -> Estimate:
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


def _round(value: float) -> float:
    return round(value, DIGITS)


def _maybe(value: float | None) -> float | None:
    return None if value is None else _round(value)

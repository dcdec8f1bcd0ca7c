"""What a window says of each feature: every distance, what is missing, what is new."""

from __future__ import annotations

import math

from modelkeep.events.monitoring import FeatureFigure
from modelkeep.stats.comparison import Comparison, compare
from modelkeep.stats.drift import Drift
from modelkeep.stats.missing import MissingRate, missing_rates
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import PsiDocument
from modelkeep.stats.ranges import Range, ranges
from modelkeep.stats.unseen import Unseen, unseen_categories
from modelkeep_services.monitoring.measures import Measured
from modelkeep_services.monitoring.rounding import rounded


def feature_figures(
    baseline: Baseline,
    window: Profile,
    document: PsiDocument,
    measured: Measured | None,
    drifts: tuple[Drift, ...] | None = None,
) -> tuple[FeatureFigure, ...]:
    """Return one a feature, in the layout's order; `drifts` as in `compare`. Needs
    scipy.
    """
    fine = None if measured is None else (measured.by.fine, measured.fine)
    compared = {c.name: c for c in compare(baseline, window, document, fine, drifts)}
    strange = {u.name: u for u in unseen_categories(baseline, window)}
    beyond = {} if fine is None else {r.name: r for r in ranges(*fine)}
    examples = {} if measured is None else measured.unseen
    return tuple(
        FeatureFigure.model_validate(
            _missing(rate)
            | _compared(compared.get(rate.name), window.rows)
            | _unseen(strange.get(rate.name), examples.get(rate.name, ()))
            | _range(beyond.get(rate.name))
        )
        for rate in missing_rates(baseline, window)
    )


def _missing(rate: MissingRate) -> dict[str, object]:
    return {
        "feature": rate.name,
        "missing_rate": rounded(rate.share),
        "missing_lower": rounded(rate.bounds.low),
        "missing_upper": rounded(rate.bounds.high),
        "baseline_missing_rate": rounded(rate.baseline_share),
        "baseline_missing_upper": rounded(rate.baseline_bounds.high),
    }


def _compared(found: Comparison | None, rows: int) -> dict[str, object]:
    if found is None:
        return {"n": rows}
    drift, test, gap, move = found.drift, found.chi_square, found.ks, found.wasserstein
    told: dict[str, object] = {
        "psi": rounded(drift.psi),
        "lo": rounded(drift.warning),
        "hi": rounded(drift.hard),
        "by_chance": rounded(drift.by_chance),
        "bins": drift.bins,
        "n": drift.rows,
        "baseline_n": drift.baseline_rows,
        "importance": rounded(drift.importance),
        "js": rounded(found.jensen_shannon),
        "js_by_chance": rounded(math.sqrt(found.divergence_by_chance)),
        "chi_square_p": rounded(test.p),
        "chi_square_effect": rounded(test.effect),
    }
    if gap is not None:
        told |= {
            "ks": rounded(gap.distance),
            "ks_most": rounded(gap.most),
            "ks_p": rounded(gap.p),
        }
    if move is not None and move.normed is not None and math.isfinite(move.normed):
        told["wasserstein"] = rounded(move.normed)
    return told


def _unseen(found: Unseen | None, examples: tuple[str, ...]) -> dict[str, object]:
    if found is None:
        return {}
    return {
        "unseen": found.unseen,
        "unseen_share": rounded(found.share),
        "unseen_lower": rounded(found.bounds.low),
        "baseline_unseen_upper": rounded(found.baseline_bounds.high),
        "unseen_risen": found.risen,
        "unseen_examples": tuple(sorted(examples)),
    }


def _range(found: Range | None) -> dict[str, object]:
    if found is None:
        return {}
    return {
        "low": found.low,
        "high": found.high,
        "beyond": found.below + found.above,
        "beyond_share": rounded(found.share),
        "beyond_lower": rounded(found.bounds.low),
        "beyond_by_chance": rounded(min(1.0, found.by_chance)),
        "beyond_left": found.left,
    }

"""What a baseline measures beyond bins: kept as text, counted by batch, added up."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

from modelkeep.events.monitoring import BatchRecorded, FeatureFigure
from modelkeep.stats.bins import Column as Array
from modelkeep.stats.bins import Floats
from modelkeep.stats.categories import Coded
from modelkeep.stats.profile import Baseline, Profile
from modelkeep.stats.psi import PsiDocument
from modelkeep.stats.reconstruction import Misfit
from modelkeep_services.monitoring import measures
from modelkeep_services.monitoring.feature_figures import feature_figures
from modelkeep_services.monitoring.measures import Measured, Yardstick

NOON = datetime(2026, 1, 5, tzinfo=UTC)
UUID = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
SHA = "sha256:" + "a" * 64
BATCH = BatchRecorded(
    model="m",
    version="v",
    environment="prod",
    batch=UUID,
    sent=(),
    rows=1,
    root=SHA,
    row_schema=SHA,
    address="a",
    file_digest=SHA,
    file_bytes=1,
    first_id=UUID,
    last_id=UUID,
    first_at=NOON,
    last_at=NOON,
)
HOUSE = PsiDocument("house")
Columns = dict[str, Array | Coded]


def flights(n: int, *, seed: int, shift: float = 0.0, new: float = 0.0) -> Columns:
    rng = np.random.default_rng(seed)
    x = rng.normal(10 + shift, 2, n)
    carriers = ("UA", "B6", "ZZ", "YY")
    codes = rng.choice(2, n) + 2 * (rng.random(n) < new)
    return {
        "x": x,
        "y": 3 * x + rng.normal(0, 1, n),
        "carrier": Coded(codes.astype(np.int32), carriers),
    }


def numbers(columns: Columns, name: str) -> Floats:
    found = columns[name]
    assert not isinstance(found, Coded)
    return found.astype(np.float64)


def fitted(columns: Columns) -> tuple[Baseline, Yardstick]:
    known: Columns = dict(columns)
    carrier = columns["carrier"]
    assert isinstance(carrier, Coded)
    known["carrier"] = Coded(carrier.codes, carrier.categories[:2])
    baseline = Baseline.fit(known)
    found = measures.fit(baseline, known)
    assert found is not None
    return baseline, found


def batch(
    columns: Columns, baseline: Baseline, by: Yardstick, part: slice
) -> tuple[Profile, measures.Counted]:
    some: Columns = {
        name: column._replace(codes=column.codes[part])
        if isinstance(column, Coded)
        else column[part]
        for name, column in columns.items()
    }
    profile = baseline.profile(some)
    return profile, measures.count(by, profile, some)


def said(
    columns: Columns, baseline: Baseline, by: Yardstick, *cuts: int
) -> tuple[dict[str, FeatureFigure], Measured]:
    """Count the rows in batches, as events say them, and add up."""
    profile, total = Profile.empty(baseline.layout), Measured.empty(by)
    for start, end in zip((0, *cuts), (*cuts, None), strict=True):
        seen, told = batch(columns, baseline, by, slice(start, end))
        profile += seen
        event = BATCH.model_copy(update=told.told())
        total.add(measures.counted_of(event, baseline.layout, by))
    found = feature_figures(baseline, profile, HOUSE, total)
    return {figure.feature: figure for figure in found}, total


def misfit(total: Measured) -> Misfit:
    assert total.by.components is not None
    assert total.together is not None
    found = total.by.components.misfit(total.together)
    assert found is not None
    return found


def test_a_yardstick_reads_back_as_it_was_written() -> None:
    _, by = fitted(flights(2_000, seed=1))
    kept = measures.spelled(by)
    assert kept["fine"] is not None
    again = measures.parsed(kept["fine"], kept["components"])
    assert measures.spelled(again) == kept


def test_batches_add_up_to_the_same_figures_however_they_are_cut() -> None:
    baseline, by = fitted(flights(2_000, seed=1))
    window = flights(900, seed=2, shift=0.5, new=0.05)
    whole, one = said(window, baseline, by)
    parts, many = said(window, baseline, by, 17, 400)
    assert parts == whole
    assert misfit(many) == misfit(one)


def test_rows_that_no_event_counted_are_counted_alike() -> None:
    baseline, by = fitted(flights(2_000, seed=1))
    window = flights(500, seed=2, new=0.1)
    told, one = said(window, baseline, by)
    profile, recount = baseline.profile(window), Measured.empty(by)
    recount.add(measures.count(by, profile, window))
    again = feature_figures(baseline, profile, HOUSE, recount)
    assert {figure.feature: figure for figure in again} == told
    assert misfit(recount) == misfit(one)


def test_distances_are_those_of_the_rows() -> None:
    before, after = flights(4_000, seed=1), flights(1_000, seed=2, shift=0.6)
    baseline, by = fitted(before)
    figures, _ = said(after, baseline, by)
    x = figures["x"]
    was, now = numbers(before, "x"), numbers(after, "x")
    exact = stats.ks_2samp(was, now).statistic
    assert x.ks is not None
    assert x.ks_most is not None
    assert x.ks - 1e-6 <= exact <= x.ks_most + 1e-6
    moved = stats.wasserstein_distance(was, now) / np.std(was)
    assert x.wasserstein == pytest.approx(moved, rel=0.05)
    assert x.chi_square_p is not None
    assert x.chi_square_p < 0.001


def test_a_category_never_seen_before_is_counted_and_named() -> None:
    baseline, by = fitted(flights(2_000, seed=1))
    figures, _ = said(flights(500, seed=2, new=0.2), baseline, by, 250)
    carrier = figures["carrier"]
    assert carrier.unseen_examples == ("YY", "ZZ")
    assert carrier.unseen_risen
    assert carrier.unseen == round((carrier.unseen_share or 0.0) * 500)
    assert carrier.ks is None


def test_values_beyond_all_that_the_baseline_had_are_counted() -> None:
    baseline, by = fitted(flights(2_000, seed=1))
    far = flights(500, seed=2)
    far["x"] = np.where(np.arange(500) < 50, 1e6, numbers(far, "x"))
    figures, _ = said(far, baseline, by)
    assert (figures["x"].beyond, figures["x"].beyond_left) == (50, True)
    assert not figures["y"].beyond_left


def test_columns_that_part_are_found_though_each_looks_as_it_did() -> None:
    baseline, by = fitted(flights(4_000, seed=1))
    apart = flights(1_000, seed=2)
    apart["y"] = np.random.default_rng(3).permutation(numbers(apart, "y"))
    figures, total = said(apart, baseline, by)
    assert figures["y"].psi is not None
    assert figures["y"].hi is not None
    assert figures["y"].psi < figures["y"].hi
    found = misfit(total)
    assert found.low > 0
    assert set(found.by_column) == {"x", "y"}


def test_a_baseline_of_before_measures_what_it_did() -> None:
    baseline, _ = fitted(flights(2_000, seed=1))
    window = baseline.profile(flights(500, seed=2))
    figures = {f.feature: f for f in feature_figures(baseline, window, HOUSE, None)}
    assert figures["x"].psi is not None
    assert figures["x"].js is not None
    assert figures["x"].ks is None
    assert figures["x"].beyond is None

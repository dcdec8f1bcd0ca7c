"""Profiles count what is there, and adding them up is the same in any order."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats import latency, scores
from modelkeep.stats.bins import CHUNK, count_bins, edge_matrix, fit_edges
from modelkeep.stats.categories import Coded, count_categories, fit_categories
from modelkeep.stats.missing import missing_rates
from modelkeep.stats.profile import Baseline, Categorical, Numeric, Profile

Floats = NDArray[np.float64]
AREAS = ("east", "north", "west")


def reference(rows: int = 2_000) -> Baseline:
    chance = np.random.default_rng(7)
    return Baseline.fit(
        {
            "income": chance.lognormal(10, 1, rows),
            "days": np.where(chance.random(rows) < 0.8, 999, chance.integers(0, 30)),
            "area": np.array(AREAS, dtype=object)[chance.integers(0, 3, rows)],
        },
        scores=chance.beta(2, 5, rows),
        latency_ms=chance.lognormal(2, 1, rows),
        importances={"income": 3, "area": 1},
    )


BASELINE = reference()

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
ROW = st.tuples(
    ANY_FLOAT | st.sampled_from([999.0, 0.0, -0.0, 20_000.0]),
    ANY_FLOAT | st.just(999.0),
    st.sampled_from([*AREAS, "south", "", None]),
    ANY_FLOAT | st.floats(0, 1),
    ANY_FLOAT | st.floats(0, 1e4),
)
Row = tuple[float, float, str | None, float, float]


def batch(rows: list[Row]) -> Profile:
    income, days, area, said, took = (
        zip(*rows, strict=True) if rows else ((), (), (), (), ())
    )
    return BASELINE.profile(
        {
            "income": np.array(income, dtype=np.float64),
            "days": np.array(days, dtype=np.float64),
            "area": np.array(area, dtype=object),
        },
        np.array(said, dtype=np.float64),
        np.array(took, dtype=np.float64),
    )


@given(st.lists(ROW, max_size=40), st.data())
def test_any_split_and_order_of_rows_gives_the_same_bytes(
    rows: list[Row], data: st.DataObject
) -> None:
    whole = batch(rows).to_json()
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    ends = [0, *cuts, len(rows)]
    parts = [batch(shuffled[a:b]) for a, b in pairwise(ends)]
    total = Profile.empty(BASELINE.layout)
    for part in data.draw(st.permutations(parts)):
        total = part + total
    assert total.to_json() == whole


@given(st.lists(ROW, max_size=20))
def test_every_row_is_counted_once_in_every_feature(rows: list[Row]) -> None:
    seen = batch(rows)
    assert seen.rows == len(rows)
    for name in ("income", "days", "area"):
        assert seen.feature(name).sum() == len(rows)
    assert seen.scores.sum() == seen.latency.sum() == len(rows)


@given(st.lists(ROW, max_size=20))
def test_a_profile_survives_json(rows: list[Row]) -> None:
    seen = batch(rows)
    again = Profile.from_json(seen.to_json(), BASELINE.layout)
    assert again == seen
    assert hash(again) == hash(seen)


def test_a_baseline_survives_json_with_its_digest() -> None:
    again = Baseline.from_json(BASELINE.to_json())
    assert again.to_json() == BASELINE.to_json()
    assert again.layout.digest == BASELINE.layout.digest
    assert again.importance == BASELINE.importance == (0.25, 0.0, 0.75)
    assert again.reference == BASELINE.reference


@given(
    st.lists(ANY_FLOAT, max_size=50),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8),
)
def test_counting_agrees_with_a_binary_search(
    values: list[float], inner: list[float]
) -> None:
    column, edges = np.array(values, dtype=np.float64), sorted(set(inner))
    known = column[~np.isnan(column)]
    place = np.searchsorted(np.array(edges), known, side="right")
    expected = np.bincount(place, minlength=len(edges) + 1)
    counted = count_bins([column], edge_matrix([edges]))[:, 0]
    assert counted.tolist() == expected.tolist()


def test_long_columns_are_counted_across_chunks() -> None:
    column = np.arange(3 * CHUNK + 5, dtype=np.int64)
    counted = count_bins([column, -column], edge_matrix([(CHUNK,), (0, 1)]))
    assert counted.T.tolist() == [
        [CHUNK, 2 * CHUNK + 5, 0],
        [3 * CHUNK + 4, 1, 0],
    ]


def test_a_sentinel_has_a_bin_of_its_own() -> None:
    values = np.array([999.0] * 90 + [3.0] * 10)
    edges = fit_edges(values)
    assert edges == (999.0, math.nextafter(999, math.inf))
    counted = count_bins([np.append(values, [998.9, 1000])], edge_matrix([edges]))
    assert counted.ravel().tolist() == [11, 90, 1]


def test_a_constant_has_a_bin_and_so_has_everything_else() -> None:
    assert fit_edges(np.zeros(10)) == (0.0, 5e-324)
    assert fit_edges(np.array([-0.0])) == (0.0, 5e-324)


def test_nothing_to_fit_is_one_bin() -> None:
    assert fit_edges(np.array([])) == ()
    assert fit_edges(np.array([np.nan, np.inf, -np.inf])) == ()
    with pytest.raises(Invalid):
        fit_edges(np.array([1.0]), bins=0)


def test_smooth_data_gets_bins_of_equal_share() -> None:
    values = np.random.default_rng(1).permutation(1_000).astype(np.float64)
    assert fit_edges(values) == tuple(100.0 * i for i in range(1, 10))


def test_narrow_floats_and_integers_count_like_wide_ones() -> None:
    narrow = np.array([0.1] * 9 + [5.0], dtype=np.float32)
    edges = edge_matrix([fit_edges(narrow)])
    assert count_bins([narrow], edges).ravel().tolist() == [0, 9, 1]
    whole = np.array([3] * 9 + [5], dtype=np.int8)
    fitted = edge_matrix([fit_edges(whole)])
    assert (
        count_bins([whole], fitted).tolist()
        == count_bins([whole.astype(np.float64)], fitted).tolist()
    )


def test_infinities_fall_into_the_open_ends_and_nan_is_missing() -> None:
    column = np.array([-np.inf, np.nan, np.inf, np.inf])
    seen = BASELINE.profile({"income": column}).feature("income")
    assert (seen[0], seen[-2], seen[-1]) == (1, 2, 1)


def test_a_column_that_vanished_is_missing_in_all_rows() -> None:
    seen = BASELINE.profile({"income": np.ones(5)})
    assert seen.feature("days")[-1] == seen.feature("area")[-1] == 5
    rates = missing_rates(BASELINE, seen)
    assert {rate.name: rate.share for rate in rates} == {
        "area": 1.0,
        "days": 1.0,
        "income": 0.0,
    }
    assert [rate.name for rate in rates if rate.risen] == ["area", "days"]


def test_batches_without_scores_say_nothing_of_scores() -> None:
    seen = BASELINE.profile({"income": np.ones(5)})
    place = len(BASELINE.layout.features)
    assert seen.counts[BASELINE.layout.part(place)].sum() == 0
    assert seen.scores.sum() == 0


def test_an_empty_window_is_the_empty_profile() -> None:
    assert batch([]) == Profile.empty(BASELINE.layout)
    assert missing_rates(BASELINE, batch([])) == ()


def test_columns_nobody_asked_for_are_left_to_the_contract() -> None:
    assert BASELINE.profile({"new": np.ones(3)}).rows == 3


def test_values_unknown_to_the_dictionary_are_other() -> None:
    area = np.array(["east", "mars", "", None, math.nan], dtype=object)
    seen = BASELINE.profile({"area": area})
    assert seen.feature("area").tolist() == [1, 0, 0, 2, 2]


def test_coded_columns_count_like_their_values() -> None:
    coded = Coded(
        np.array([0, 1, 1, -1, 2, 3], dtype=np.int16), ("west", "mars", "east", None)
    )
    plain = np.array(["west", "mars", "mars", None, "east", None], dtype=object)
    assert BASELINE.profile({"area": coded}) == BASELINE.profile({"area": plain})
    assert fit_categories(coded, most=1) == fit_categories(plain, most=1) == ("mars",)
    nothing = Coded(np.array([], dtype=np.int8), ())
    assert count_categories(nothing, ("a",)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("codes", [[-2], [3], [2**31 - 1]])
def test_codes_outside_their_dictionary_are_refused(codes: list[int]) -> None:
    with pytest.raises(Invalid):
        count_categories(Coded(np.array(codes), ("a", "b", "c")), ("a",))


def test_a_million_categories_fit_a_bounded_dictionary() -> None:
    many = Coded(
        np.arange(1_000_000, dtype=np.int32), tuple(map(str, range(1_000_000)))
    )
    assert len(fit_categories(many)) == 32
    assert count_categories(many, ("5",)).tolist() == [1, 999_999, 0]


def test_bytes_are_text() -> None:
    assert count_categories(np.array([b"a", b"b"]), ("a",)).tolist() == [1, 1, 0]


def test_numbers_become_numeric_and_text_categorical_unless_told() -> None:
    fitted = Baseline.fit(
        {
            "a": np.array([1, None, 2], dtype=object),
            "b": np.array(["x", "y", "z"]),
            "c": np.array([1, 2, 3]),
            "d": np.array([True, False, True]),
        },
        categorical={"c"},
    )
    kinds = {feature.name: type(feature) for feature in fitted.layout.features}
    assert kinds == {
        "a": Numeric,
        "b": Categorical,
        "c": Categorical,
        "d": Numeric,
    }
    assert fitted.reference.feature("a")[-1] == 1
    assert fitted.importance == (0.25,) * 4


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"income": np.array(["1", "2"])}, "columns.income"),
        ({"income": np.array([1, "x"], dtype=object)}, "columns.income"),
        ({"income": np.array(["2013-01-01"], dtype="M8[D]")}, "columns.income"),
        ({"income": np.array([1 + 1j])}, "columns.income"),
        ({"income": np.ones((2, 2))}, "columns.income"),
        ({"income": Coded(np.array([0]), ("1",))}, "columns.income"),
        ({"income": np.ones(2), "days": np.ones(3)}, "columns.days"),
    ],
)
def test_a_column_of_the_wrong_kind_is_named(
    columns: dict[str, NDArray[np.generic] | Coded], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        BASELINE.profile(columns)
    assert refused.value.violations[0].field == field


def test_a_baseline_needs_rows_and_sensible_importances() -> None:
    with pytest.raises(Invalid):
        Baseline.fit({"a": np.array([], dtype=np.float64)})
    for weight in (-1.0, 0.0, math.nan, math.inf):
        with pytest.raises(Invalid):
            Baseline.fit({"a": np.ones(3)}, importances={"a": weight})


def test_profiles_of_two_layouts_do_not_mix() -> None:
    other = Baseline.fit({"a": np.arange(10)})
    with pytest.raises(Invalid):
        _ = other.reference + BASELINE.reference
    with pytest.raises(Invalid):
        Profile.from_json(other.reference.to_json(), BASELINE.layout)
    with pytest.raises(Invalid):
        BASELINE.reference.feature("a")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"layout":1'])
def test_what_is_not_a_profile_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        Profile.from_json(data, BASELINE.layout)
    with pytest.raises(Corrupt):
        Baseline.from_json(data)


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        BASELINE.reference.counts[0] = 7


def test_the_score_cells_hold_the_ends_and_what_is_outside() -> None:
    said = np.array([0, 1 / 64, 1, -1e-9, np.inf, -np.inf, np.nan])
    assert scores.cells_of(said).tolist() == [0, 1, 63, 64, 64, 64, 65]
    assert scores.cells_of(np.array([-5.0, 5.0]), -5, 5).tolist() == [0, 63]
    with pytest.raises(Invalid):
        scores.cells_of(said, 1, 1)


@given(st.lists(st.floats(0.001, 4e6), min_size=1, max_size=200), st.floats(0, 1))
def test_a_latency_quantile_is_within_its_stated_error(
    times: list[float], share: float
) -> None:
    counted = latency.count_latency(np.array(times))
    (found,) = latency.quantiles(counted, [share])
    rank = max(1, math.ceil(share * len(times) - 1e-9))
    exact = sorted(times)[rank - 1]
    assert found is not None
    assert abs(found / exact - 1) <= latency.RELATIVE_ERROR + 1e-12


def test_latencies_nobody_can_have_are_missing_or_at_the_ends() -> None:
    odd = np.array([0.0, 1e-9, 2.0**22, np.inf, np.nan, -1.0, -np.inf])
    counted = latency.count_latency(odd)
    assert counted[latency.SHORTER] == 2
    assert counted[latency.LONGER] == 2
    assert counted[latency.MISSING] == 3
    assert latency.quantiles(counted, [0, 1]) == [2.0**-10, math.inf]
    nothing = latency.count_latency(np.array([]))
    assert latency.quantiles(nothing, [0.5]) == [None]
    with pytest.raises(Invalid):
        latency.quantiles(counted, [1.5])


@pytest.mark.parametrize(
    "size", [1, scores.PAIRED, scores.PAIRED + 1, scores.CHUNK + 1]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scores_counted_two_by_two_are_those_counted_one_by_one(
    size: int, dtype: type[np.floating]
) -> None:
    chance = np.random.default_rng(size)
    steady = chance.random(size).astype(dtype)
    ends = [0.0, -0.0, 1.0, 0.5, np.nextafter(0.5, 0), 5e-324]
    steady[: len(ends)] = ends[:size]
    strange = steady.copy()
    strange[-1:] = np.nan
    strange[: size // 2 : 3] = [2.0]
    strange[1 : size // 2 : 5] = [-np.inf]
    for column in (steady, strange):
        one_by_one = np.bincount(scores.cells_of(column), minlength=scores.SIZE)
        assert scores.count_scores(column).tolist() == one_by_one.tolist()

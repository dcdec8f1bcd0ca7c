"""The e-SR detector: its arithmetic, its promise, its state and what it says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.random import Generator

from modelkeep.errors import Corrupt, Invalid
from modelkeep.stats import e_detector
from modelkeep.stats.alarm_budget import AlarmDocument, Monitor, Tolerance, split
from modelkeep.stats.bins import Counts
from modelkeep.stats.clopper_pearson import clopper_pearson
from modelkeep.stats.e_detector import (
    BILLION,
    Alarm,
    Detector,
    Evidence,
    Side,
    advance,
)
from modelkeep.stats.empirical_bernstein import LossSum
from modelkeep.stats.outcome_watch import watching_outcomes
from modelkeep.stats.profile import Baseline
from modelkeep.stats.seasons import Season
from modelkeep.stats.share_watch import ShareWatch, is_seasonal, watching
from modelkeep.stats.tolerance import band

ONE = split(AlarmDocument("d"), {Monitor.FEATURES: 2_208})[Monitor.FEATURES]


def watch(threshold: float = 1_000, low: float = 0.09, high: float = 0.11) -> Detector:
    """Two features of three cells, each with a share of a tenth or so."""
    return Detector.between(
        [("a", 3), ("b", 3)],
        np.full((1, 6), low),
        np.full((1, 6), high),
        threshold=threshold,
        odds=(1.12, 1.5),
    )


def feed(
    detector: Detector, shares: list[float], windows: int, chance: Generator
) -> tuple[Evidence, Alarm | None]:
    evidence, trials = detector.start(), np.full(6, 1_000)
    for _ in range(windows):
        step = detector.update(evidence, chance.binomial(1_000, shares), trials)
        evidence = step.evidence
        if step.alarm is not None:
            return evidence, step.alarm
    return evidence, None


def test_an_update_is_the_recursion_of_the_paper_to_a_thousandth_of_a_nat() -> None:
    detector, chance = watch(1e9), np.random.default_rng(1)
    exact = np.zeros((4, 6))
    evidence = detector.start()
    for _ in range(30):
        hits = chance.binomial(1_000, 0.115, 6)
        evidence = detector.update(evidence, hits, np.full(6, 1_000)).evidence
        for bet, (edge, ratio) in enumerate(
            [(0.11, 1.12), (0.11, 1.5), (0.09, 1 / 1.12), (0.09, 1 / 1.5)]
        ):
            odds = ratio * edge / (1 - edge)
            share = odds / (1 + odds)
            log = hits * math.log(share / edge)
            log = log + (1_000 - hits) * math.log((1 - share) / (1 - edge))
            exact[bet] = (1 + exact[bet]) * np.exp(log)
    held = evidence.levels / 1_000
    assert np.all(held <= np.log1p(exact) + 1e-9), "rounding never adds evidence"
    strong = exact > 5
    assert strong.any()
    assert np.all(np.log1p(exact)[strong] - held[strong] < 0.001 * 30 + 0.05)


def test_no_entry_of_the_table_is_so_near_a_whole_that_a_machine_could_differ() -> None:
    below = np.arange(6_908)
    exact = 1_000 * np.log1p(np.exp(-below / 1_000))
    assert np.abs(exact - np.round(exact)).min() > 1e-6
    assert 1_000 * math.log1p(math.exp(-6.908)) < 1, "and then it is 0"
    soft = e_detector._SOFT[7_000:].astype(np.int64)
    assert np.array_equal(soft[:6_908], below + np.floor(exact).astype(np.int64))
    assert soft[-1] == 65_535
    assert not e_detector._SOFT[: 7_000 - 3_000].any()


@pytest.mark.parametrize("share", [0.09, 0.1, 0.11])
def test_a_bet_is_worth_at_most_one_anywhere_in_the_band(share: float) -> None:
    detector = watch()
    counts = np.arange(1_001)
    law = np.exp(
        [
            math.lgamma(1_001)
            - math.lgamma(k + 1)
            - math.lgamma(1_001 - k)
            + k * math.log(share)
            + (1_000 - k) * math.log(1 - share)
            for k in range(1_001)
        ]
    )
    bets = detector.bets[0]
    scale = 2**20 * 1_000
    for bet in range(4):
        log = (counts * bets.swap[bet, 0] + 1_000 * bets.miss[bet, 0]) / scale
        assert float(law @ np.exp(log)) <= 1 + 1e-9


def test_expected_alarms_are_no_more_than_alpha_a_window() -> None:
    # at the band's very edge, the worst case that is still no change
    alpha, windows, replicas = 1 / 20, 200, 400
    share = np.array([[0.1]])
    detector = Detector.between(
        [("a", 1)], share, share, threshold=1 / alpha, odds=(1.12, 1.5)
    )
    chance = np.random.default_rng(7)
    levels = np.zeros((replicas, *detector.weights.shape), dtype=np.uint16)
    trials = np.full((replicas, 1), 1_000)
    alarms = 0
    for _ in range(windows):
        hits = chance.binomial(1_000, 0.1, (replicas, 1))
        levels = advance(levels, hits, trials, detector.bets[0])
        loud = e_detector.worth(levels, detector.weights) >= detector.threshold
        alarms += int(loud.sum())
        levels = levels * ~loud[:, None, None]
    rate = alarms / (windows * replicas)
    # it keeps the promise, and it is no detector that never speaks
    assert alpha / 20 < rate <= alpha


def test_a_detector_that_takes_its_bets_twice_breaks_the_promise() -> None:
    # what the test above would see of a wrong ratio: it can fail
    share = np.array([[0.1]])
    detector = Detector.between(
        [("a", 1)], share, share, threshold=20, odds=(1.12, 1.5)
    )
    bets = detector.bets[0]
    cheat = bets._replace(swap=bets.swap * 2, miss=bets.miss * 2)
    chance = np.random.default_rng(7)
    levels = np.zeros((100, *detector.weights.shape), dtype=np.uint16)
    alarms = 0
    for _ in range(100):
        hits = chance.binomial(1_000, 0.1, (100, 1))
        levels = advance(levels, hits, np.full((100, 1), 1_000), cheat)
        loud = e_detector.worth(levels, detector.weights) >= detector.threshold
        alarms += int(loud.sum())
        levels = levels * ~loud[:, None, None]
    assert alarms > 100 * 100 / 20


def test_an_alarm_names_the_cell_the_side_and_the_onset() -> None:
    detector, chance = watch(), np.random.default_rng(3)
    usual = [0.1] * 6
    evidence, alarm = feed(detector, usual, 100, chance)
    assert alarm is None
    trials, shifted = np.full(6, 1_000), [*usual[:4], 0.06, 0.1]
    for _ in range(20):
        step = detector.update(evidence, chance.binomial(1_000, shifted), trials)
        evidence = step.evidence
        if step.alarm:
            break
    assert step.alarm is not None
    assert (step.alarm.name, step.alarm.cell, step.alarm.side) == ("b", 1, Side.BELOW)
    assert step.alarm.edge == 0.09
    assert step.alarm.share < 0.09
    assert step.alarm.evidence >= step.alarm.threshold == 1_000
    assert 99 <= step.alarm.since <= 102
    assert step.alarm.windows == step.alarm.window - step.alarm.since + 1
    assert not step.evidence.levels.any(), "it begins anew"
    assert step.evidence.windows == step.alarm.window


def test_a_replay_from_any_stored_state_is_exact() -> None:
    detector, chance = watch(), np.random.default_rng(5)
    windows = chance.binomial(1_000, 0.11, (40, 6))
    trials = np.full(6, 1_000)
    states = [detector.start()]
    for hits in windows:
        states.append(detector.update(states[-1], hits, trials).evidence)
    stored = [state.to_json() for state in states]
    again = Detector.from_json(detector.to_json())
    assert again.digest == detector.digest
    for number in (0, 17, 39):
        evidence = again.evidence(stored[number])
        for hits in windows[number:]:
            evidence = again.update(evidence, hits, trials).evidence
        assert evidence.digest == states[-1].digest
        assert evidence.to_json() == stored[-1]
    assert len({state.digest for state in states}) == len(states)


def test_evidence_that_was_changed_or_belongs_elsewhere_is_refused() -> None:
    detector = watch()
    state = detector.update(
        detector.start(), np.full(6, 150), np.full(6, 1_000)
    ).evidence
    with pytest.raises(Invalid):
        watch(2_000).evidence(state.to_json())
    with pytest.raises(Invalid):
        watch(2_000).update(state, np.full(6, 1), np.full(6, 10))
    told = json.loads(state.to_json())
    empty = json.loads(detector.start().to_json())
    for lie in (
        {"windows": 2},
        {"levels": empty["levels"]},
        {"levels": "!"},
        {"levels": ""},
        {"digest": "0"},
    ):
        with pytest.raises(Corrupt):
            detector.evidence(json.dumps(told | lie))
    for broken in (b"", b"{}", b"[]", b"null"):
        with pytest.raises(Corrupt):
            detector.evidence(broken)
        with pytest.raises(Corrupt):
            Detector.from_json(broken)


def test_what_saw_nothing_stands_still() -> None:
    detector = watch()
    trials = np.full(6, 1_000)
    before = detector.update(detector.start(), np.full(6, 130), trials).evidence
    none = detector.update(before, np.zeros(6, np.int64), np.zeros(6, np.int64))
    assert none.evidence is before
    half = np.array([1_000, 1_000, 1_000, 0, 0, 0])
    after = detector.update(before, np.minimum(130, half), half).evidence
    assert np.array_equal(after.levels[:, 3:], before.levels[:, 3:])
    assert np.all(after.levels[:2, :3] > before.levels[:2, :3])


def test_counts_that_cannot_be_are_refused() -> None:
    detector, good = watch(), np.full(6, 10)
    for hits, trials in (
        (np.full(6, 11), good),
        (np.full(6, -1), good),
        (np.full(5, 1), np.full(5, 10)),
        (good, np.full(6, 10**9)),
    ):
        with pytest.raises(Invalid):
            detector.update(detector.start(), hits, trials)
    with pytest.raises(Invalid):
        detector.update(detector.start(), good, good, "h07")


def test_bands_that_cannot_be_are_refused() -> None:
    with pytest.raises(Invalid):
        watch(low=0.2, high=0.1)
    with pytest.raises(Invalid):
        watch(high=1.5)
    with pytest.raises(Invalid):
        watch(threshold=1.0)
    edge = np.array([[0.1]])
    with pytest.raises(Invalid):
        Detector.between([("a", 1), ("b", 0)], edge, edge, threshold=9, odds=(2.0,))


def test_a_band_without_room_beyond_it_is_not_bet_against() -> None:
    low, high = np.array([[0.0, 0.0, 0.5]]), np.array([[1.0, 0.01, 1.0]])
    detector = Detector.between([("a", 3)], low, high, threshold=100, odds=(2.0,))
    assert detector.bets[0].live.tolist() == [
        [False, True, False],
        [False, False, True],
    ]
    assert detector.weights.sum() == pytest.approx(1)
    step = detector.update(
        detector.start(), np.array([0, 100, 0]), np.array([100, 100, 100])
    )
    assert step.alarm is not None
    assert (step.alarm.cell, step.alarm.side) == (1, Side.ABOVE)


def test_clopper_pearson_agrees_with_scipys_exact_interval() -> None:
    stats = pytest.importorskip("scipy.stats")
    hits, trials = np.array([0, 3, 50, 100]), np.full(4, 100)
    found = clopper_pearson(hits, trials, 0.025)
    for place, count in enumerate(hits.tolist()):
        exact = stats.binomtest(count, 100).proportion_ci(0.95, "exact")
        assert found.low[place] == pytest.approx(exact.low, abs=1e-9)
        assert found.high[place] == pytest.approx(exact.high, abs=1e-9)
    with pytest.raises(Invalid):
        clopper_pearson(np.array([2]), np.array([1]), 0.05)


def test_a_band_covers_the_true_share_however_small_the_baseline() -> None:
    chance = np.random.default_rng(11)
    trials = np.full((2_000, 20), 300)
    hits = chance.binomial(300, 0.05, trials.shape)
    exact = Tolerance(relative=0.0, absolute=0.0, confidence=0.9)
    found = band(hits, trials, exact, cells=20)
    missed = ((found.low > 0.05) | (found.high < 0.05)).any(axis=1).mean()
    assert 0.01 < missed <= 0.1
    nothing = band(np.array([[0]]), np.array([[0]]), Tolerance())
    assert (nothing.low[0, 0], nothing.high[0, 0]) == (0.0, 1.0)


# --- profiles ------------------------------------------------------------------------


def column(chance: Generator, rows: int, shift: float = 0.0) -> np.ndarray:
    return chance.normal(shift, size=rows)


def test_features_missing_values_and_the_score_are_told_apart() -> None:
    chance = np.random.default_rng(2)
    baseline = Baseline.fit(
        {"x": column(chance, 50_000), "y": column(chance, 50_000)},
        scores=chance.random(50_000),
    )
    budget = split(
        AlarmDocument("d"),
        dict.fromkeys((Monitor.FEATURES, Monitor.MISSING, Monitor.PREDICTION), 2208),
    )
    found = {m: watching(a, [baseline], AlarmDocument("d")) for m, a in budget.items()}

    def alarms(x: np.ndarray, scores: np.ndarray) -> set[str]:
        window = baseline.profile({"x": x, "y": column(chance, 2_000)}, scores=scores)
        loud = set()
        for monitor, one in found.items():
            assert one is not None
            evidence = one.detector.start()
            for _ in range(3):
                step = one.update(evidence, window)
                evidence = step.evidence
                if step.alarm:
                    loud.add(f"{monitor}:{step.alarm.name}")
        return loud

    usual, scores = column(chance, 2_000), chance.random(2_000)
    assert alarms(usual, scores) == set()
    assert alarms(column(chance, 2_000, 0.5), scores) == {"features:x"}
    gone = np.where(chance.random(2_000) < 0.05, np.nan, usual)
    assert alarms(gone, scores) == {"missing:x"}
    assert alarms(usual, scores**2) == {"prediction:score"}


def test_the_score_is_not_watched_where_there_is_none() -> None:
    baseline = Baseline.fit({"x": column(np.random.default_rng(1), 1_000)})
    budget = split(
        AlarmDocument("d"), {Monitor.PREDICTION: 10, Monitor.PERFORMANCE: 10}
    )
    assert watching(budget[Monitor.PREDICTION], [baseline], AlarmDocument("d")) is None
    with pytest.raises(Invalid):
        watching(budget[Monitor.PERFORMANCE], [baseline], AlarmDocument("d"))
    with pytest.raises(Invalid):
        watching(ONE, [], AlarmDocument("d"))
    with pytest.raises(Invalid):
        watching(ONE, [baseline, baseline], AlarmDocument("d"))


def test_a_season_has_a_baseline_of_its_own() -> None:
    chance = np.random.default_rng(4)
    day, night = column(chance, 40_000, 0.3), column(chance, 40_000, -0.3)
    whole = Baseline.fit({"x": np.concatenate([day, night])})

    def of(values: np.ndarray, season: str) -> Baseline:
        return Baseline(
            whole.layout, whole.profile({"x": values}), whole.importance, season=season
        )

    document = AlarmDocument("d")
    parts = [of(day, "h12"), of(night, "h00")]
    assert is_seasonal(whole, parts, document)
    halves = [
        of(whole_half, str(n))
        for n, whole_half in enumerate(
            np.split(chance.permutation(np.concatenate([day, night])), 2)
        )
    ]
    assert not is_seasonal(whole, halves, document)
    seasonal, pooled = (
        watching(ONE, parts, document),
        watching(ONE, [whole], document),
    )
    assert seasonal is not None
    assert pooled is not None
    alarms = {"seasonal": 0, "pooled": 0}
    mine, theirs = seasonal.detector.start(), pooled.detector.start()
    for number in range(40):
        season, mean = (("h12", 0.3), ("h00", -0.3))[number % 2]
        window = whole.profile({"x": column(chance, 1_000, mean)})
        step = seasonal.update(mine, window, season)
        mine, alarms["seasonal"] = (
            step.evidence,
            alarms["seasonal"] + (step.alarm is not None),
        )
        step = pooled.update(theirs, window)
        theirs, alarms["pooled"] = (
            step.evidence,
            alarms["pooled"] + (step.alarm is not None),
        )
    assert alarms["seasonal"] == 0
    assert alarms["pooled"] > 5


def test_seasons_are_keys_of_time() -> None:
    assert Season.NONE.key(123) == ""
    assert Season.HOUR_OF_WEEK.keys[0] == "d0h00"
    assert len(set(Season.HOUR_OF_WEEK.keys)) == 168
    # Monday, 2 June 2025, 09:30 UTC
    assert Season.HOUR_OF_WEEK.key(1_748_856_600) == "d0h09"


# --- outcomes ------------------------------------------------------------------------


def test_a_loss_that_rises_is_found_and_one_that_stays_is_not() -> None:
    chance = np.random.default_rng(6)
    document = AlarmDocument("d")
    budget = split(document, {Monitor.PERFORMANCE: 2_208})[Monitor.PERFORMANCE]
    watcher = watching_outcomes(
        "brier", budget, LossSum.of(chance.beta(1, 9, 50_000)), document
    )
    evidence = watcher.detector.start()
    for _ in range(300):
        step = watcher.update(evidence, LossSum.of(chance.beta(1, 9, 200)))
        evidence = step.evidence
        assert step.alarm is None
    for _ in range(10):
        step = watcher.update(evidence, LossSum.of(chance.beta(2, 8, 200)))
        evidence = step.evidence
        if step.alarm:
            break
    assert step.alarm is not None
    assert (step.alarm.name, step.alarm.side) == ("brier", Side.ABOVE)
    assert watcher.update(evidence, LossSum(0, 0.0, 0.0)).evidence is evidence
    with pytest.raises(Invalid):
        watching_outcomes("brier", budget, LossSum(0, 0.0, 0.0), document)


def test_see_counts_known_values_and_missing_ones() -> None:
    baseline = Baseline.fit({"x": np.arange(100.0)}, bins=2)
    window = baseline.profile({"x": np.array([1.0, 99.0, 98.0, np.nan])})
    features = ShareWatch(Monitor.FEATURES, baseline.layout).see(window)
    missing = ShareWatch(Monitor.MISSING, baseline.layout).see(window)
    assert [part.tolist() for part in features] == [[1, 2], [3, 3]]
    assert [part.tolist() for part in missing] == [[1], [4]]
    other = Baseline.fit({"x": np.arange(50.0)}, bins=2)
    with pytest.raises(Invalid):
        ShareWatch(Monitor.FEATURES, other.layout).see(window)


def test_edges_are_rounded_outwards() -> None:
    third = np.array([[1 / 3]])
    detector = Detector.between([("a", 1)], third, third, threshold=10, odds=(2.0,))
    low: Counts = detector.low
    assert (int(low[0, 0]), int(detector.high[0, 0])) == (333_333_333, 333_333_334)
    assert BILLION == 10**9


def clustered(rng: Generator, windows: int, size: int) -> list[Counts]:
    """Windows of 50 independent draws of ten bins, each of them `size` rows."""
    draws = rng.multinomial(50, np.full(10, 0.1), size=windows)
    return [np.asarray(hits * size, dtype=np.int64) for hits in draws]


def alarms_of(detector: Detector, windows: list[Counts]) -> int:
    evidence, spoken = detector.start(), 0
    for hits in windows:
        trials = np.full_like(hits, hits.sum())
        evidence, _, alarm = detector.update(evidence, hits, trials)
        spoken += alarm is not None
    return spoken


def of_ten(alike: int) -> Detector:
    return Detector.between(
        [("x", 10)],
        np.full((1, 10), 0.09),
        np.full((1, 10), 0.11),
        threshold=1_000.0,
        odds=(1.12, 1.5),
        alike=alike,
    )


def test_rows_that_come_twenty_alike_break_the_promise_unless_it_is_said() -> None:
    windows = clustered(np.random.default_rng(7), 400, 20)
    assert alarms_of(of_ten(1), windows) > 50
    assert alarms_of(of_ten(20), windows) == 0


def test_copies_of_a_row_are_worth_no_more_than_the_row() -> None:
    once, copied = of_ten(1), of_ten(20)
    one, many = once.start(), copied.start()
    for hits in clustered(np.random.default_rng(8), 30, 1):
        trials = np.full_like(hits, hits.sum())
        one = once.update(one, hits, trials).evidence
        many = copied.update(many, hits * 20, trials * 20).evidence
    # bets are rounded down twenty times as often, so never more and hardly less
    assert np.all(many.levels <= one.levels)
    assert np.all(one.levels - many.levels.astype(int) <= 30)


def test_how_many_rows_are_alike_is_part_of_a_detector() -> None:
    again = Detector.from_json(of_ten(20).to_json())
    assert again.alike == 20
    assert again.digest == of_ten(20).digest != of_ten(1).digest
    with pytest.raises(Invalid, match="alike"):
        of_ten(0)


def test_a_baseline_of_copies_is_as_wide_as_one_of_their_originals() -> None:
    hits, trials = np.array([[0, 13, 100]]), np.array([[100, 100, 100]])
    once = band(hits, trials, Tolerance(0.0, 0.0))
    copied = band(hits * 40, trials * 40, Tolerance(0.0, 0.0), alike=40)
    assert np.array_equal(once.low, copied.low)
    assert np.array_equal(once.high, copied.high)
    broken = band(hits * 40 + 7, trials * 40 + 20, Tolerance(0.0, 0.0), alike=40)
    assert np.all(broken.low <= once.low + 1e-12)
    assert np.all(broken.high >= once.high - 1e-12)

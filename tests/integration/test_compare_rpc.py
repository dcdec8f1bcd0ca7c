"""Compare over gRPC: windows, baselines and versions, as of any time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import grpc
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency
from tests.integration.conftest import Served
from tests.integration.watched import (
    DANA,
    DAY,
    SHA,
    Rows,
    a_model,
    baseline,
    happen,
    observe,
    outcomes,
    rows,
    stub,
    tick,
)

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.events.inventory import Artifact, VersionRegistered
from modelkeep.ledger import stream_name

Serve = Callable[..., Served]
ONE_DAY = timedelta(days=1)


@pytest.fixture
def served(serve: Serve) -> Served:
    found = serve("monitoring", scenario=True)
    tick(found, DAY)
    a_model(found)
    baseline(found)
    return found


def day(number: int) -> datetime:
    return DAY + number * ONE_DAY


def log(served: Served, number: int, *, shift: float = 0.0, **changes: Any) -> Rows:
    """Log a day's decisions."""
    logged = rows(200, start=day(number), shift=shift, seed=number + 1)
    observe(served, logged.request(**changes))
    return logged


def close(
    served: Served, number: int, *, days: int = 1, version: str = "v1"
) -> pb.Window:
    tick(served, max(day(number + days), served.node.host.clock.now()))
    request = pb.CloseWindowRequest(model="late", version=version)
    request.start.FromDatetime(day(number))
    request.end.FromDatetime(day(number + days))
    served.call(stub(served).CloseWindow, request, "operator")
    served.settle()
    asked = pb.GetWindowRequest(model="late", version=version)
    asked.start.CopyFrom(request.start)
    asked.end.CopyFrom(request.end)
    found: pb.Window = served.call(stub(served).GetWindow, asked, "auditor").window
    return found


def window(found: pb.Window) -> pb.ComparedSide:
    return pb.ComparedSide(window=found.window)


SPRING = pb.ComparedSide(baseline=pb.BaselineSide(version="v1"))


def period(start: int, end: int, version: str = "v1") -> pb.ComparedSide:
    side = pb.PeriodSide(version=version)
    side.start.FromDatetime(day(start))
    side.end.FromDatetime(day(end))
    return pb.ComparedSide(period=side)


def ask(
    served: Served,
    before: pb.ComparedSide,
    after: pb.ComparedSide,
    **changes: Any,
) -> pb.CompareResponse:
    request = pb.CompareRequest(model="late", before=before, after=after, **changes)
    found: pb.CompareResponse = served.call(stub(served).Compare, request, "auditor")
    return found


def refused(
    served: Served, before: pb.ComparedSide, after: pb.ComparedSide, **changes: Any
) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as said:
        ask(served, before, after, **changes)
    return said.value.code(), str(said.value.details())


def by_name(found: pb.CompareResponse) -> dict[str, pb.FeatureComparison]:
    return {one.feature: one for one in found.features}


def test_a_window_beside_its_baseline_says_what_the_window_says(
    served: Served,
) -> None:
    log(served, 0, shift=5.0)
    closed = close(served, 0)
    found = by_name(ask(served, SPRING, window(closed)))
    for figure in closed.figures.features:
        one = found[figure.feature]
        assert (one.psi, one.lo, one.hi) == (figure.psi, figure.lo, figure.hi)
        assert (one.before_rows, one.after_rows) == (4_000, 200)
        assert one.missing_after.value == figure.missing_rate
    assert found["x"].kolmogorov_smirnov.distance > 0.5
    assert found["x"].kolmogorov_smirnov.most >= found["x"].kolmogorov_smirnov.distance
    assert found["carrier"].categorical
    assert not found["carrier"].HasField("kolmogorov_smirnov")
    assert not found["carrier"].unseen_rose


def test_distances_are_those_of_scipy_on_the_bins_told(served: Served) -> None:
    log(served, 0, shift=1.0)
    closed = close(served, 0)
    found = ask(served, SPRING, window(closed), features=["x", "carrier"])
    for one in found.features:
        before = np.array([b.before for b in one.bins])
        after = np.array([b.after for b in one.bins])
        assert (before.sum(), after.sum()) == (4_000, 200)
        said = before + after > 0
        expected = chi2_contingency(np.stack([before, after])[:, said])
        assert one.chi_square.statistic == pytest.approx(expected.statistic, abs=2e-6)
        assert one.chi_square.p == pytest.approx(expected.pvalue, rel=1e-9)
        distance = jensenshannon(before, after, base=2)
        assert one.jensen_shannon == pytest.approx(distance, abs=1e-6)
    lows = [one.low for one in found.features[1].bins if one.HasField("low")]
    assert lows == sorted(lows)


def test_a_period_is_the_sum_of_its_windows(served: Served) -> None:
    for number in range(3):
        log(served, number)
        close(served, number)
    found = ask(served, SPRING, period(0, 3), features=["x"])
    assert (found.after.rows, len(found.after.windows)) == (600, 3)
    parts = [
        ask(served, SPRING, period(number, number + 1), features=["x"])
        for number in range(3)
    ]
    for place, one in enumerate(found.features[0].bins):
        assert one.after == sum(p.features[0].bins[place].after for p in parts)
    assert sum(found.scores.after) == 600
    assert len(found.after.sources) == 3


def test_a_period_counts_no_row_twice(served: Served) -> None:
    for number in range(2):
        log(served, number)
        close(served, number)
    whole = close(served, 0, days=2)
    found = ask(served, SPRING, period(0, 2))
    assert list(found.after.windows) == [whole.window]
    assert (found.after.rows, len(found.after.left_out)) == (400, 2)


def test_two_windows_stand_beside_each_other(served: Served) -> None:
    log(served, 0)
    log(served, 1, shift=5.0)
    one, other = close(served, 0), close(served, 1)
    there, back = (
        by_name(ask(served, window(one), window(other)))["x"],
        by_name(ask(served, window(other), window(one)))["x"],
    )
    assert there.psi == pytest.approx(back.psi, abs=1e-6)
    assert there.psi > there.hi
    same = by_name(ask(served, window(one), window(one)))["x"]
    assert (same.psi, same.jensen_shannon, same.chi_square.p) == (0.0, 0.0, 1.0)


def test_performance_is_told_side_by_side_with_intervals(served: Served) -> None:
    for number in range(2):
        logged = log(served, number)
        # always right on the first day, by chance on the second
        truth = (logged.scores >= 0.5) if number == 0 else np.arange(200) % 2 == 0
        said = truth.astype(np.uint8).tobytes()
        outcomes(served, logged.ids, said, day(number) + timedelta(hours=9))
    one, other = close(served, 0), close(served, 1)
    found = ask(served, window(one), window(other))
    told = {p.metric: p for p in found.performance}
    accuracy = told["accuracy"]
    assert (accuracy.before.value, accuracy.before.n) == (1.0, 200)
    assert accuracy.difference == pytest.approx(accuracy.after.value - 1.0)
    assert accuracy.lower < accuracy.difference < accuracy.upper < 0
    pooled = {p.metric: p for p in ask(served, SPRING, period(0, 2)).performance}
    right = 200 + round(accuracy.after.value * 200)
    assert pooled["accuracy"].after.value == pytest.approx(right / 400, abs=1e-6)
    assert pooled["accuracy"].after.n == 400
    assert pooled["auc"].before.n == 4_000


def test_immature_outcomes_are_never_silently_averaged(served: Served) -> None:
    configure = pb.ConfigureMonitorRequest(model="late", outcome_maturity_hours=480)
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    logged = log(served, 0)
    outcomes(served, logged.ids[:20], bytes([1] * 20), day(0) + timedelta(hours=9))
    found = ask(served, SPRING, window(close(served, 0)))
    assert (found.after.immature, found.after.pending) == (1, 180)
    assert any("have not had their time" in note for note in found.notes)


def test_other_bins_are_named_and_not_filled_again(served: Served) -> None:
    log(served, 0)
    first = close(served, 0)
    data = rows(4_000, shift=3.0, seed=42)
    request = pb.RegisterBaselineRequest(
        request_id="0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
        header=pb.BaselineHeader(model="late", version="v1", baseline="autumn"),
        columns=data.request().columns,
        scores=data.request().scores,
    )
    list(
        stub(served).RegisterBaseline(
            iter([request]), timeout=20, metadata=served.metadata("engineer")
        )
    )
    served.settle()
    log(served, 1, shift=3.0)
    second = close(served, 1)
    found = by_name(ask(served, window(first), window(second)))
    assert "other bins" in found["x"].not_comparable
    assert not found["x"].HasField("psi")
    # its categories are the same under both baselines
    assert found["carrier"].psi >= 0
    assert not found["carrier"].not_comparable
    scores = ask(served, window(first), window(second)).scores
    assert scores.by_cells
    assert sum(scores.before) == sum(scores.after) == 200
    # a window's own bins are known after another baseline has come
    old = pb.ComparedSide(baseline=pb.BaselineSide(version="v1", baseline="spring"))
    assert not by_name(ask(served, old, window(first)))["x"].not_comparable
    both = by_name(ask(served, old, period(0, 2)))
    assert both["x"].not_comparable == "after: its bins changed within the period"
    assert not both["carrier"].not_comparable


def test_two_versions_are_compared_where_they_count_alike(served: Served) -> None:
    happen(
        served,
        stream_name("model", "main", "late"),
        VersionRegistered(
            model="late",
            version="v2",
            digest=SHA,
            artifacts=(Artifact(name="m", digest=SHA, media_type="x", size=1),),
            registered_by=DANA,
        ),
    )
    served.settle()
    baseline(served, version="v2")
    log(served, 0)
    log(served, 1, version="v2")
    close(served, 0)
    close(served, 1, version="v2")
    found = ask(served, period(0, 1), period(1, 2, "v2"))
    assert (found.before.version, found.after.version) == ("v1", "v2")
    assert all(not one.not_comparable for one in found.features)
    assert not found.scores.by_cells


def test_a_comparison_is_as_of_the_moment_asked_for(served: Served) -> None:
    configure = pb.ConfigureMonitorRequest(model="late", outcome_maturity_hours=48)
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    logged = log(served, 0)
    closed = close(served, 0)
    then = ask(served, SPRING, window(closed))
    assert then.after.outcomes == 0
    outcomes(served, logged.ids, bytes([1, 0] * 100), day(2))
    tick(served, day(4))
    now = ask(served, SPRING, window(closed))
    assert now.after.outcomes == 200
    assert now.performance[0].HasField("after")
    asked = pb.CompareRequest(model="late", before=SPRING, after=window(closed))
    asked.as_of.time.FromDatetime(day(1))
    again = served.call(stub(served).Compare, asked, "auditor")
    assert again == then
    asked.as_of.time.FromDatetime(day(0))
    with pytest.raises(grpc.RpcError) as early:
        served.call(stub(served).Compare, asked, "auditor")
    assert early.value.code() is grpc.StatusCode.NOT_FOUND


def test_what_is_not_there_is_named(served: Served) -> None:
    log(served, 0)
    closed = close(served, 0)
    absent, wrong = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT
    nobody = pb.ComparedSide(window="v1.prod.no-such")
    assert refused(served, SPRING, nobody) == (
        absent,
        "no window late/v1.prod.no-such",
    )
    summer = pb.ComparedSide(baseline=pb.BaselineSide(version="v1", baseline="summer"))
    assert refused(served, summer, window(closed)) == (
        absent,
        "no baseline late/v1/summer",
    )
    code, said = refused(served, SPRING, period(5, 6))
    assert code is absent
    assert "no closed window of late/v1 in prod from 2026-01-10" in said
    code, said = refused(served, SPRING, period(0, 1, "v9"))
    assert (code, said) == (absent, "no version late/v9")
    code, said = refused(served, SPRING, period(1, 1))
    assert (code, said.partition(":")[0]) == (wrong, "after.period.start")
    code, said = refused(served, SPRING, pb.ComparedSide())
    assert (code, said.partition(":")[0]) == (wrong, "after")
    code, said = refused(served, SPRING, window(closed), features=["altitude"])
    assert (code, said) == (
        wrong,
        "features: altitude was counted on neither side",
    )
    code, said = refused(served, SPRING, window(closed), features=["x"] * 101)
    assert (code, said) == (wrong, "features: are more than 100")


def test_another_tenant_sees_nothing_of_it(served: Served) -> None:
    log(served, 0)
    closed = close(served, 0)
    a_model(served, tenant="other")
    request = pb.CompareRequest(model="late", before=SPRING, after=window(closed))
    with pytest.raises(grpc.RpcError) as unknown:
        served.call(stub(served).Compare, request, "auditor", tenant="other")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def test_without_a_baseline_no_feature_was_counted(serve: Serve) -> None:
    bare = serve("monitoring", scenario=True)
    tick(bare, DAY)
    a_model(bare)
    log(bare, 0)
    log(bare, 1)
    one, other = close(bare, 0), close(bare, 1)
    found = ask(bare, window(one), window(other))
    assert not found.features
    assert "before: no baseline was registered" in found.notes[0]
    assert found.scores.by_cells
    assert sum(found.scores.after) == 200


def test_outcomes_of_both_sides_are_parted_into_mix_and_rate(served: Served) -> None:
    logged = log(served, 0)
    truth = np.random.default_rng(3).random(200) < logged.scores + 0.3
    outcomes(served, logged.ids, truth.tobytes(), day(1))
    closed = close(served, 0)
    said, figures = ask(served, SPRING, window(closed)), closed.figures
    assert figures.mature
    assert said.concept_drift == figures.concept_drift
    assert said.label_drift == figures.label_drift
    assert said.concept_drift.rate > 0.1
    # what their scores promised is told beside what came
    promised = {one.metric: one.value for one in said.after.estimated.figures}
    measured = {one.metric: one.after.value for one in said.performance}
    assert measured["base_rate"] - promised["base_rate"] > 0.1
    assert not said.before.HasField("estimated")
    assert not ask(served, window(closed), window(closed)).label_drift.difference


def test_what_windows_said_of_ranges_and_distances_adds_up(served: Served) -> None:
    first, far = rows(200, start=day(0), seed=1), rows(300, start=day(1), seed=2)
    far.x[:30] = 999.0
    for logged in (first, far):
        observe(served, logged.request())
    told = [close(served, 0), close(served, 1)]
    one, other = (w.figures.features[1] for w in told)
    assert (one.feature, other.beyond) == ("x", 30)
    x = by_name(ask(served, SPRING, period(0, 2)))["x"].fine
    assert (x.windows, x.low, x.high) == (2, one.low, one.high)
    assert x.beyond == one.beyond + other.beyond
    assert x.beyond_share.value == pytest.approx(x.beyond / 500)
    assert x.beyond_left
    assert x.wasserstein == pytest.approx(
        (200 * one.wasserstein + 300 * other.wasserstein) / 500, abs=1e-6
    )
    alone = by_name(ask(served, SPRING, window(told[1])))["x"].fine
    assert alone.wasserstein == other.wasserstein
    # of another window nobody said anything
    assert not by_name(ask(served, window(told[0]), window(told[1])))["x"].HasField(
        "fine"
    )
    assert not by_name(ask(served, SPRING, window(told[1])))["carrier"].HasField("fine")


def test_people_of_several_windows_are_judged_together(served: Served) -> None:
    configure = pb.ConfigureMonitorRequest(model="late")
    configure.fairness.add(
        column="carrier",
        reference="UA",
        groups=["B6", "DL"],
        favourable=pb.FAVOURABLE_YES,
    )
    served.call(stub(served).ConfigureMonitor, configure, "owner")
    for number in (0, 1):
        logged = rows(120, start=day(number), seed=number + 1)
        place, turn = np.arange(120) % 4, np.arange(120) // 4
        logged.carrier = list(np.array(["UA", "B6", "DL", "??"])[place])
        logged.scores = np.where((place == 1) & (turn % 2 == 0), 0.3, 0.8)
        observe(served, logged.request())
        close(served, number)
    [seen] = ask(served, SPRING, period(0, 2)).after.fairness
    assert (seen.column, seen.undeclared) == ("carrier", 60)
    assert [(g.group, g.n, g.favoured) for g in seen.groups] == [
        ("UA", 60, 60),
        ("B6", 60, 30),
        ("DL", 60, 60),
    ]
    b6 = seen.groups[1].impact
    assert (b6.value, b6.judgement) == (0.5, pb.JUDGED_BREACHED)
    assert not ask(served, SPRING, period(0, 2)).before.fairness

"""Batches as they come in the real world: twice, late, skewed, strange, too large."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import numpy as np
import pytest
from tests.integration.conftest import TIMEOUT_S, Served
from tests.integration.watched import (
    DAY,
    a_model,
    baseline,
    micros,
    observe,
    rows,
    stub,
    tick,
)

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb

Serve = Callable[..., Served]
HOUR = timedelta(hours=1)


@pytest.fixture
def served(serve: Serve) -> Served:
    found = serve("monitoring", scenario=True)
    tick(found, DAY)
    a_model(found)
    return found


def close(served: Served, hours: int = 24, start: int = 0) -> pb.WindowFigures:
    begin, end = DAY + start * HOUR, DAY + (start + hours) * HOUR
    request = pb.CloseWindowRequest(model="late", version="v1")
    request.start.FromDatetime(begin)
    request.end.FromDatetime(end)
    written = served.call(stub(served).CloseWindow, request, "operator").written
    asked = pb.GetWindowRequest(
        model="late",
        version="v1",
        start=request.start,
        end=request.end,
        not_before=written.position,
    )
    found: pb.WindowFigures = served.call(
        stub(served).GetWindow, asked, "auditor"
    ).window.figures
    return found


def refusal(served: Served, *requests: pb.ObserveRequest) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        observe(served, *requests)
    return refused.value


def logged(served: Served) -> int:
    served.settle()
    request = pb.GetMonitorRequest(model="late")
    count: int = served.call(stub(served).GetMonitor, request, "auditor").rows
    return count


def test_the_same_batches_in_two_streams_at_once_count_once(served: Served) -> None:
    batches = [rows(50, seed=seed).request(flush=False) for seed in range(1, 9)]
    metadata = served.metadata("serving")
    streams = [
        stub(served).Observe(iter(order), timeout=TIMEOUT_S, metadata=metadata)
        for order in (batches, batches[::-1])
    ]
    acks = [{ack.batch: ack for ack in one} for one in streams]
    assert acks[0].keys() == acks[1].keys()
    assert all(acks[0][b].root == acks[1][b].root for b in acks[0])
    assert logged(served) == 400


def test_the_order_in_which_batches_come_changes_no_figure(serve: Serve) -> None:
    found = []
    for backwards in (False, True):
        served = serve("monitoring", scenario=True)
        tick(served, DAY)
        a_model(served)
        baseline(served, 1_000)
        hours = range(5)[:: -1 if backwards else 1]
        for hour in hours:
            start = DAY + hour * HOUR
            observe(served, rows(60, start=start, seed=hour + 1).request())
        tick(served, DAY + 24 * HOUR)
        figures = close(served)
        figures.ClearField("sources")  # the events have other ids
        found.append(figures)
    assert found[0].rows == 300
    assert found[0] == found[1]


def test_a_clock_an_hour_off_moves_rows_to_their_own_hour(served: Served) -> None:
    tick(served, DAY + 10 * HOUR)
    ahead = rows(60, start=DAY + 11 * HOUR, seed=1)
    behind = rows(60, start=DAY + 9 * HOUR, seed=2)
    acks = observe(served, ahead.request(), behind.request())
    assert [ack.rows for ack in acks] == [60, 60]
    tick(served, DAY + 24 * HOUR)
    assert [close(served, 1, hour).rows for hour in (9, 10, 11)] == [60, 0, 60]


def test_rows_that_come_after_their_window_closed_restate_it(served: Served) -> None:
    observe(served, rows(60, seed=1).request())
    tick(served, DAY + 24 * HOUR)
    assert close(served).rows == 60
    observe(served, rows(60, seed=2).request())
    assert close(served).rows == 120


def test_nan_is_missing_and_infinity_is_a_number(served: Served) -> None:
    baseline(served, 1_000)
    strange = rows(40)
    strange.x[:10], strange.x[10:15], strange.x[15:20] = np.nan, np.inf, -np.inf
    observe(served, strange.request())
    tick(served, DAY + 24 * HOUR)
    figures = close(served)
    [x] = [f for f in figures.features if f.feature == "x"]
    assert x.missing_rate == 0.25
    assert figures.out_of_bounds == 5  # the boundary says at most 50
    for bad in (np.nan, np.inf):
        other = rows(4, seed=3)
        other.scores[2] = bad
        error = refusal(served, other.request())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "scores" in str(error.details())
    assert logged(served) == 40


def test_a_column_may_change_its_type_between_two_batches(served: Served) -> None:
    baseline(served, 1_000)
    contract = pb.RegisterContractRequest(
        model="late",
        contract="inputs",
        columns=[pb.ColumnContract(column="x", dtype=pb.DTYPE_F64)],
        on_breach=pb.BREACH_POLICY_MARK,
    )
    served.call(stub(served).RegisterContract, contract, "owner")
    served.settle()
    first, second, third = (rows(30, seed=seed) for seed in (1, 2, 3))
    as_words = second.request(
        columns=[
            pb.Column(
                name="x",
                dtype=pb.DTYPE_UTF8,
                values=np.zeros(30, "<i4").tobytes(),
                dictionary=["12.5"],
            )
        ],
        flush=False,
    )
    acks = observe(served, first.request(flush=False), as_words, third.request())
    assert len({ack.object for ack in acks}) == 2  # an object has one schema
    assert acks[0].object == acks[2].object
    tick(served, DAY + 24 * HOUR)
    figures = close(served)
    assert figures.rows == 90
    assert dict(figures.breaches) == {"x.dtype": 30}


@pytest.mark.parametrize("said", [0, 10_000_000])
def test_an_empty_and_an_enormous_batch_are_refused(served: Served, said: int) -> None:
    good = rows(20).request(flush=False)
    bad = pb.ObserveRequest(batch=str(uuid4()), model="late", version="v1", rows=said)
    told: list[pb.ObserveResponse] = []
    with pytest.raises(grpc.RpcError) as refused:
        told.extend(
            stub(served).Observe(
                iter([good, bad]),
                timeout=TIMEOUT_S,
                metadata=served.metadata("serving"),
            )
        )
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "rows" in str(refused.value.details())
    # What came before it is recorded all the same, and is there when asked again.
    [ack] = observe(served, good)
    assert [one.root for one in told] in ([], [ack.root])
    assert (ack.replayed, logged(served)) == (True, 20)


def test_ten_million_rows_in_one_message_do_not_reach_the_service(
    served: Served,
) -> None:
    many = 10_000_000
    huge = pb.ObserveRequest(
        batch=str(uuid4()),
        model="late",
        version="v1",
        rows=many,
        scores=bytes(8 * many),
    )
    error = refusal(served, huge)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert logged(served) == 0
    observe(served, rows(20).request())
    assert logged(served) == 20


@pytest.mark.parametrize(
    "batches", [5, pytest.param(50, marks=pytest.mark.slow)], ids=["1e5", "1e6"]
)
def test_a_million_categories_are_logged_and_counted_in_bounded_cells(
    served: Served, batches: int
) -> None:
    baseline(served, 1_000)
    each = 20_000

    def batch(number: int) -> pb.ObserveRequest:
        ids = np.zeros((each, 16), np.uint8)
        ids[:, 8:] = np.arange(number * each, (number + 1) * each, dtype=">u8").view(
            np.uint8
        ).reshape(each, 8)  # fmt: skip
        return pb.ObserveRequest(
            batch=str(UUID(int=number + 1)),
            model="late",
            version="v1",
            rows=each,
            decision_ids=ids.tobytes(),
            times=np.full(each, micros(DAY), "<i8").tobytes(),
            scores=np.full(each, 0.5).tobytes(),
            columns=[
                pb.Column(
                    name="carrier",
                    dtype=pb.DTYPE_UTF8,
                    values=np.arange(each, dtype="<i4").tobytes(),
                    dictionary=[f"c{number * each + at}" for at in range(each)],
                )
            ],
        )

    acks = observe(served, *(batch(number) for number in range(batches)))
    assert sum(ack.rows for ack in acks) == each * batches
    tick(served, DAY + 24 * HOUR)
    figures = close(served)
    assert figures.rows == each * batches
    [carrier] = [f for f in figures.features if f.feature == "carrier"]
    assert carrier.bins < 50
    assert carrier.psi > carrier.hi  # all of them are strangers


def test_more_words_than_a_dictionary_may_have_are_refused(served: Served) -> None:
    given: dict[str, Any] = {
        "columns": [
            pb.Column(
                name="carrier",
                dtype=pb.DTYPE_UTF8,
                values=np.zeros(10, "<i4").tobytes(),
                dictionary=[str(word) for word in range(65_537)],
            )
        ]
    }
    error = refusal(served, rows(10).request(**given))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "dictionary" in str(error.details())

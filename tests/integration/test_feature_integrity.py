"""The features that serve a model against those it learned from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import grpc
import pytest
from tests.integration.conftest import Served
from tests.integration.watched import (
    DAY,
    a_model,
    happen,
    micros,
    observe,
    rows,
    stub,
    tick,
)

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.events.base import decode
from modelkeep.events.lineage import NodeRecorded, node_id
from modelkeep.events.monitoring import BatchRecorded, ContractBreached
from modelkeep.ledger import stream_name

Serve = Callable[..., Served]
HOUR = timedelta(hours=1)


def a_view(served: Served, digest: str = "sha256:" + "d" * 64, ttl: int = 6) -> str:
    said = {"digest": digest, "owner": "vera", "ttl_hours": ttl}
    node = node_id("feature_view", "feast", "airports", **said)  # type: ignore[arg-type]  # its own fields
    event = NodeRecorded.model_validate(
        {"node": node, "kind": "feature_view", "namespace": "feast", "name": "airports"}
        | said
    )
    happen(served, stream_name("node", "main", node.replace(":", ".")), event)
    served.settle()
    return node


def bind(served: Served, *views: str) -> None:
    contract = pb.RegisterContractRequest(
        model="late",
        contract="inputs",
        columns=[pb.ColumnContract(column="x")],
        on_breach=pb.BREACH_POLICY_QUARANTINE,
        feature_views=views,
    )
    served.call(stub(served).RegisterContract, contract, "owner")
    served.settle()


def sent(
    served: Served, seed: int, *views: str, age: timedelta = HOUR
) -> pb.ObserveResponse:
    data = rows(30, seed=seed)
    at = micros(data.times[-1] - age)
    named = [pb.ServedView(node=node, materialized_at=at) for node in views]
    [ack] = observe(served, data.request(feature_views=named))
    return ack


def broken(served: Served) -> list[tuple[str, str, int]]:
    events = served.node.store.read_stream("decisions-main.late")
    told = [decode(e.name, e.schema_version, e.data) for e in events]
    found = [e for e in told if isinstance(e, ContractBreached)]
    return [(e.column, e.rule, e.count) for e in found]


@pytest.fixture
def served(serve: Serve) -> Served:
    found = serve("monitoring", scenario=True)
    tick(found, DAY)
    a_model(found)
    return found


def test_the_view_a_model_learned_from_may_serve_it(served: Served) -> None:
    view = a_view(served)
    bind(served, view)
    assert not sent(served, 1, view).quarantined
    events = served.node.store.read_stream("decisions-main.late")
    [batch] = [decode(e.name, e.schema_version, e.data) for e in events]
    assert isinstance(batch, BatchRecorded)
    assert [one.node for one in batch.feature_views] == [view]


def test_another_version_of_the_view_is_skew(served: Served) -> None:
    trained = a_view(served)
    other = a_view(served, digest="sha256:" + "e" * 64)
    bind(served, trained)
    assert sent(served, 1, other).quarantined
    assert broken(served) == [("airports", "feature_view", 30)]


def test_a_view_older_than_its_ttl_is_stale(served: Served) -> None:
    view = a_view(served, ttl=6)
    bind(served, view)
    assert not sent(served, 1, view, age=6 * HOUR).quarantined
    assert sent(served, 2, view, age=6 * HOUR + timedelta(seconds=1)).quarantined
    assert broken(served) == [("airports", "stale_view", 30)]


def test_features_without_a_version_are_refused(served: Served) -> None:
    view = a_view(served)
    bind(served, view)
    for views, code in (
        ((), grpc.StatusCode.FAILED_PRECONDITION),
        (("airports",), grpc.StatusCode.INVALID_ARGUMENT),
        (("feature_view:" + "0" * 64,), grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            sent(served, 1, *views)
        assert refused.value.code() is code
    with pytest.raises(grpc.RpcError) as refused:
        bind(served, "feature_view:" + "0" * 64)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND

"""Clients that lie, and clients that do not listen."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import grpc
import pytest
from tests.faults.besieged import MIB, Besieged
from tests.faults.test_kill_monitoring import LONG_AGO, up
from tests.integration.conftest import Served, serving
from tests.integration.watched import a_model, observe, rows

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.node import Node
from modelkeep.running import address_of
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.monitoring.service import service

ROWS: Final = 12
FORGED: Final = ("root", "digest", "actor", "tenant", "known_at", "recorded_at")
"""What no client may say of its decisions: it is computed or comes from credentials."""

Lie = Callable[[random.Random, pb.ObserveRequest], None]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as start:
        there = start("monitoring", scenario=True)
        a_model(there)
        yield there


# --- lies --------------------------------------------------------------------------


def other_rows(chance: random.Random, said: pb.ObserveRequest) -> None:
    said.rows = chance.choice([0, ROWS - 1, ROWS + 1, 2 * ROWS, 65_537, 2**32 - 1])


def cut(chance: random.Random, said: pb.ObserveRequest) -> None:
    name = chance.choice(["decision_ids", "times", "scores"])
    whole = getattr(said, name)
    setattr(said, name, whole[: chance.randrange(len(whole))])


def cut_a_column(chance: random.Random, said: pb.ObserveRequest) -> None:
    column = chance.choice(said.columns)
    column.values = column.values[: chance.randrange(len(column.values))]


def a_code_of_no_word(chance: random.Random, said: pb.ObserveRequest) -> None:
    code = chance.choice([-2, 3, 2**31 - 1])
    said.columns[1].values = code.to_bytes(4, "little", signed=True) * ROWS


def one_decision_twice(chance: random.Random, said: pb.ObserveRequest) -> None:
    at = chance.randrange(ROWS - 1) * 16
    one = said.decision_ids[at : at + 16]
    said.decision_ids = said.decision_ids[:-16] + one


def a_score_that_is_none(chance: random.Random, said: pb.ObserveRequest) -> None:
    odd = chance.choice([b"\x00\x00\x00\x00\x00\x00\xf8\x7f", b"\0\0\0\0\0\0\xf0\x7f"])
    said.scores = said.scores[:-8] + odd


def a_time_beyond_time(chance: random.Random, said: pb.ObserveRequest) -> None:
    said.times = said.times[:-8] + chance.choice([b"\xff" * 8, b"\xff" * 7 + b"\x7f"])


def one_column_twice(_: random.Random, said: pb.ObserveRequest) -> None:
    said.columns.add().CopyFrom(said.columns[0])


def no_batch(_: random.Random, said: pb.ObserveRequest) -> None:
    said.batch = "the usual one"


LIES: Final = (
    other_rows,
    cut,
    cut_a_column,
    a_code_of_no_word,
    one_decision_twice,
    a_score_that_is_none,
    a_time_beyond_time,
    one_column_twice,
    no_batch,
)


def refusal(served: Served, said: pb.ObserveRequest) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        observe(served, said)
    found: grpc.StatusCode = refused.value.code()
    return found


def lied_to(served: Served, lies: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311, a seed to repeat it with
    head = served.store.head()
    for turn in range(lies):
        said = rows(ROWS, seed=seed + turn).request()
        lie: Lie = LIES[turn % len(LIES)]
        lie(chance, said)
        told = refusal(served, said)
        assert told is grpc.StatusCode.INVALID_ARGUMENT, lie.__name__
    assert served.store.head() == head


def test_a_batch_that_contradicts_itself_is_refused_and_nothing_is_kept(
    served: Served,
) -> None:
    lied_to(served, 3 * len(LIES), 4_000)


@pytest.mark.slow
def test_ten_thousand_batches_that_contradict_themselves_leave_nothing(
    served: Served,
) -> None:
    lied_to(served, 10_000, 50_000)


def test_an_id_used_for_another_batch_is_refused(served: Served) -> None:
    first = rows(ROWS, seed=9_001).request()
    [ack] = observe(served, first)
    head = served.store.head()
    forged = rows(ROWS, seed=9_002).request(batch=first.batch)
    assert refusal(served, forged) is grpc.StatusCode.ALREADY_EXISTS
    [again] = observe(served, first)
    assert (again.replayed, again.root) == (True, ack.root)
    assert served.store.head() == head


def test_what_is_proven_is_nothing_that_a_client_says() -> None:
    for asks in (pb.ObserveRequest, pb.RecordOutcomesRequest):
        said = {field.name for field in asks.DESCRIPTOR.fields}
        assert not said & set(FORGED) - (
            {"known_at"} if asks is pb.RecordOutcomesRequest else set()
        )


# --- who does not listen -----------------------------------------------------------


@pytest.mark.slow
def test_a_sender_that_reads_no_acknowledgement_is_not_read_for_ever(
    tmp_path: Path,
) -> None:
    """The server's memory stays bounded, and everybody else is answered."""
    home = Home(tmp_path / "home")
    with (
        SqliteStore(home.make().ledger) as store,
        Node(home, store, [service]) as node,
    ):
        from tests.bench.monitoring_server import seed  # noqa: PLC0415

        seed(node)
    token = LocalIssuer.open(home.keys).issue("eve", frozenset({"engineer"}))
    metadata = (("authorization", f"Bearer {token}"),)
    taken = 0

    def batches() -> Iterator[pb.ObserveRequest]:
        nonlocal taken
        for number in range(20_000):
            taken += 1
            one = rows(200, start=LONG_AGO, seed=number + 1)
            ids = b"".join(UUID(int=(number + 1) << 64 | r).bytes for r in range(200))
            yield one.request(batch=str(uuid4()), decision_ids=ids, flush=False)

    with up(home) as process:
        server = Besieged(process, str(address_of(home, "monitoring")), metadata)
        with grpc.insecure_channel(server.address) as channel:
            call = MonitoringServiceStub(channel).Observe(
                batches(), timeout=60, metadata=metadata
            )
            server.relax()
            before = -1
            while before != taken:
                before = taken
                threading.Event().wait(3)
            grown = server.grown()
            call.cancel()
            one = rows(20, start=LONG_AGO, seed=99_999).request()
            with grpc.insecure_channel(server.address) as other:
                acks = MonitoringServiceStub(other).Observe(
                    iter([one]), timeout=30, metadata=metadata
                )
                assert len(list(acks)) == 1
    print(f"read {taken:,} batches, +{grown / MIB:.1f} MiB")  # noqa: T201
    assert grown <= 256 * MIB

"""A model that the inventory knows, and batches of its decisions, for monitoring."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray
from tests.integration.conftest import TIMEOUT_S, Served

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.clock import CLOCK, CLOCK_STREAM, Tick
from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.events.base import Event
from modelkeep.events.inventory import (
    Artifact,
    Boundary,
    Deployed,
    ModelRegistered,
    SloDefined,
    VersionRegistered,
)
from modelkeep.events.types import Money, Person
from modelkeep.ledger import Order, body_hash, stream_name

DAY = datetime(2026, 1, 5, tzinfo=UTC)
SHA = "sha256:" + "a" * 64
DANA = Person(issuer="tests", subject="dana")


class Happen(Command):
    """Whatever a test says happened elsewhere."""

    events: tuple[Any, ...]


HAPPENING = decider(None, lambda command, *_: command.events, lambda *_: None)


def happen(served: Served, stream: str, *events: Event, tenant: str = "main") -> None:
    actor = Actor("tests", "dana", frozenset(), tenant)
    now = served.node.host.clock.now()
    command = Happen(events=events)
    context = Context(actor, now, now, str(uuid4()))
    served.node.ledger.execute(Order(stream, HAPPENING, command, context, str(uuid4())))


def tick(served: Served, instant: datetime) -> None:
    """Move a scenario's clock, and wait for whatever that brings."""
    actor = Actor("tests", "clock", frozenset({"operator"}), "main", human=False)
    command = Tick(instant=instant)
    context = Context(actor, instant, instant, str(uuid4()))
    served.node.ledger.execute(
        Order(CLOCK_STREAM, CLOCK, command, context, body_hash(command))
    )
    served.settle()


def a_model(
    served: Served, model: str = "late", version: str = "v1", tenant: str = "main"
) -> None:
    happen(
        served,
        stream_name("model", tenant, model),
        ModelRegistered(
            model=model,
            title="Late arrivals",
            kind="trained",
            purpose="p",
            owner="olga",
            owner_issuer="tests",
            approved_uses=("desk",),
            boundaries=(Boundary(name="day", statement="s", column="x", maximum=50.0),),
        ),
        VersionRegistered(
            model=model,
            version=version,
            digest=SHA,
            artifacts=(Artifact(name="m", digest=SHA, media_type="x", size=1),),
            registered_by=DANA,
        ),
        Deployed(
            model=model,
            version=version,
            digest=SHA,
            environment="prod",
            share=1.0,
            verdict_source="0",
            by=DANA,
        ),
        SloDefined(
            model=model,
            slo="calibrated",
            metric="calibration_gap",
            nominal=0.0,
            warning=0.05,
            hard=0.10,
            direction="rises",
            money_per_hour=Money(minor=120_000, currency="USD"),
            play="retrain",
        ),
        tenant=tenant,
    )
    served.settle()


@dataclass
class Rows:
    """Decisions a test logs: ids are of its own counting, times a minute apart."""

    ids: list[UUID]
    times: list[datetime]
    scores: NDArray[np.float64]
    x: NDArray[np.float64]
    carrier: Sequence[str | None]
    extra: dict[str, Any] = field(default_factory=dict)

    def request(self, **changes: Any) -> pb.ObserveRequest:
        n = len(self.ids)
        words = sorted({word for word in self.carrier if word is not None})
        codes = [-1 if w is None else words.index(w) for w in self.carrier]
        given: dict[str, Any] = {
            "batch": str(uuid4()),
            "model": "late",
            "version": "v1",
            "rows": n,
            "decision_ids": b"".join(one.bytes for one in self.ids),
            "times": np.array([micros(t) for t in self.times], "<i8").tobytes(),
            "scores": self.scores.astype("<f8").tobytes(),
            "columns": [
                pb.Column(name="x", values=self.x.astype("<f8").tobytes()),
                pb.Column(
                    name="carrier",
                    dtype=pb.DTYPE_UTF8,
                    values=np.array(codes, "<i4").tobytes(),
                    dictionary=words,
                ),
            ],
            "flush": True,
        }
        return pb.ObserveRequest(**(given | self.extra | changes))


def micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def rows(
    n: int = 200, *, start: datetime = DAY, shift: float = 0.0, seed: int = 1
) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(10 + shift, 2, n)
    return Rows(
        ids=[UUID(int=seed << 64 | row) for row in range(n)],
        times=[start + timedelta(minutes=row) for row in range(n)],
        scores=rng.uniform(0.05, 0.95, n),
        x=x,
        carrier=list(rng.choice(["UA", "B6", "DL"], n)),
    )


def stub(served: Served) -> MonitoringServiceStub:
    return MonitoringServiceStub(served.channel)


def observe(
    served: Served, *requests: pb.ObserveRequest, role: str = "serving"
) -> list[pb.ObserveResponse]:
    return list(
        stub(served).Observe(
            iter(requests), timeout=TIMEOUT_S, metadata=served.metadata(role)
        )
    )


def outcomes(
    served: Served, ids: Iterable[UUID], said: bytes, known_at: datetime, **changes: Any
) -> pb.RecordOutcomesResponse:
    given: dict[str, Any] = {
        "batch": str(uuid4()),
        "model": "late",
        "rows": len(said),
        "decision_ids": b"".join(one.bytes for one in ids),
        "outcomes": said,
        "known_at": np.full(len(said), micros(known_at), "<i8").tobytes(),
    }
    request = pb.RecordOutcomesRequest(**(given | changes))
    found = list(
        stub(served).RecordOutcomes(
            iter([request]), timeout=TIMEOUT_S, metadata=served.metadata("serving")
        )
    )
    return found[0]


def numbers(
    served: Served,
    ids: Iterable[UUID],
    said: Sequence[float],
    known_at: datetime,
    **changes: Any,
) -> pb.RecordOutcomesResponse:
    values = np.array(said, "<f8").tobytes()
    given: dict[str, Any] = {"outcomes": b"", "values": values}
    return outcomes(served, ids, bytes(len(said)), known_at, **(given | changes))


def baseline(served: Served, n: int = 4_000, **changes: Any) -> Any:
    """Register one from rows like those of `rows()`, in two messages."""
    data = rows(n, seed=99)
    truth = (np.random.default_rng(5).random(n) < data.scores).astype(np.uint8)
    sent = data.request()
    half = n // 2
    first = pb.RegisterBaselineRequest(
        request_id=str(uuid4()),
        header=pb.BaselineHeader(
            **({"model": "late", "version": "v1", "baseline": "spring"} | changes)
        ),
        columns=[part(column, 0, half) for column in sent.columns],
        scores=sent.scores[: half * 8],
        outcomes=truth[:half].tobytes(),
    )
    second = pb.RegisterBaselineRequest(
        columns=[part(column, half, n) for column in sent.columns],
        scores=sent.scores[half * 8 :],
        outcomes=truth[half:].tobytes(),
    )
    return next(
        iter(
            stub(served).RegisterBaseline(
                iter([first, second]),
                timeout=TIMEOUT_S,
                metadata=served.metadata("engineer"),
            )
        )
    )


def part(column: pb.Column, start: int, end: int) -> pb.Column:
    width = 4 if column.dtype == pb.DTYPE_UTF8 else 8
    found = pb.Column()
    found.CopyFrom(column)
    found.values = column.values[start * width : end * width]
    return found

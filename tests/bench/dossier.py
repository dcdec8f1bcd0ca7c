"""How long a decision's dossier takes to build and to verify, and how long a decision
takes to find by the caller's own id.

One ledger, over loopback: 250,000 decisions of one model in 1,500 objects, two of them
of 65,536 rows with 20 features; some 20,000 other events, so that a proof is as long as
in a log of that size. The decision asked about lies in a large object, which is the
worst case: its neighbours are all hashed again.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID, uuid5

import grpc
import numpy as np
from tests.bench.harness import Figure, Goal, percentile
from tests.integration.audit_story import NAMESPACE, Story, day, slot, telling
from tests.integration.dossier_story import tell_dossier

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.decisions.matrix import (
    Column,
    Decisions,
    Numbers,
    Words,
    leaves,
    root,
    row_matrix,
)
from modelkeep.decisions.rows import Schema
from modelkeep.events import load_all, monitoring
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.node import Node
from modelkeep.proof.dossier_file import Trusted, judge
from modelkeep.proof.evidence import read_keys
from modelkeep.store.sqlite import SqliteStore
from modelkeep_services.audit.service import service as audit
from modelkeep_services.monitoring.objects import store_decisions
from modelkeep_services.monitoring.service import service as monitoring_service

SMALL, SMALL_ROWS = 1_500, 80
LARGE, LARGE_ROWS = 2, 65_536
FEATURES = 20
SLOTS = 20_000
ROUNDS = 25
BUILD_MS, VERIFY_MS, FIND_MS = 300.0, 100.0, 300.0
TIMEOUT_S = 60.0

Call = Callable[[], object]


def figures(folder: Path) -> Iterable[Figure]:
    load_all()
    home = Home(folder / "home").make()
    with SqliteStore(home.ledger) as store:
        with telling(home, store) as story:
            tell_dossier(story)
            large = _decisions(story)
            _others(story)
        yield from _measured(home, store, {"small": story.decision, "large": large})


def _measured(
    home: Home, store: SqliteStore, decisions: dict[str, str]
) -> Iterator[Figure]:
    with _served(home, store) as ask:
        yield from _finding(ask)
        yield from _dossiers(home, ask, decisions)


class _Asking:
    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._audit = AuditServiceStub(channel)
        self._monitoring = MonitoringServiceStub(channel)

    def dossier(self, decision: str) -> bytes:
        request = pb.GetDossierRequest(decision=decision)
        answer = self._audit.GetDossier(
            request, timeout=TIMEOUT_S, metadata=self._metadata
        )
        return bytes(answer.envelope)

    def find(self, reference: str) -> str:
        request = monitoring_pb2.FindDecisionRequest(
            model="credit", reference=reference
        )
        try:
            answer = self._monitoring.FindDecision(
                request, timeout=TIMEOUT_S, metadata=self._metadata
            )
        except grpc.RpcError:
            return ""
        return str(answer.decision.decision)


def _dossiers(home: Home, ask: _Asking, decisions: dict[str, str]) -> Iterator[Figure]:
    published = home.published
    trusted = Trusted(
        read_keys(str(published / "checkpoint.vkey")),
        read_keys(str(published / "dossiers.vkeys")),
    )
    for name, decision in decisions.items():
        raw = ask.dossier(decision)
        outcome = judge(raw, trusted)
        if outcome.said is None or outcome.wrong:
            raise AssertionError(outcome.wrong)
        built = _timed(partial(ask.dossier, decision))
        verified = _timed(partial(judge, raw, trusted))
        yield Figure(
            f"dossier.build_{name}_p95",
            percentile(built, 95),
            "ms",
            goal=Goal("value", "<=", BUILD_MS),
        )
        yield Figure(
            f"dossier.verify_{name}_p95",
            percentile(verified, 95),
            "ms",
            goal=Goal("value", "<=", VERIFY_MS),
        )
        yield Figure(f"dossier.size_{name}", len(raw) / 1024, "KiB")


def _finding(ask: _Asking) -> Iterator[Figure]:
    """The first question of a process, later ones, and one nobody can answer."""
    goal = Goal("value", "<=", FIND_MS)
    started = time.perf_counter()
    if not ask.find("first-0"):
        raise AssertionError("first-0 was not found")
    first = (time.perf_counter() - started) * 1_000
    yield Figure("dossier.find_first", first, "ms", goal=goal)
    found = _timed(lambda: ask.find("first-1"))
    yield Figure("dossier.find_p95", percentile(found, 95), "ms", goal=goal)
    missing = _timed(lambda: ask.find("nobody's"))
    yield Figure("dossier.find_nobody_p95", percentile(missing, 95), "ms", goal=goal)


def _timed(call: Call) -> list[float]:
    samples = []
    for _ in range(ROUNDS):
        gc.collect()
        started = time.perf_counter()
        call()
        samples.append((time.perf_counter() - started) * 1_000)
    return samples


# --- the ledger --------------------------------------------------------------------


def _decisions(story: Story) -> str:
    """Log objects of decisions; return one in the middle of a large one."""
    wanted = ""
    sizes = [SMALL_ROWS] * SMALL + [LARGE_ROWS] * LARGE
    for number, rows in enumerate(sizes):
        batch = _rows(number, rows)
        stored = store_decisions(story.home.decisions, story.tenant, batch)
        hashed = root(leaves(row_matrix(batch)))
        ids = [str(UUID(bytes=batch.ids[at].tobytes())) for at in (0, rows // 2, -1)]
        story.tell(
            "decisions",
            "credit",
            day(7, 3),
            monitoring.BatchRecorded(
                model="credit",
                version="v1",
                environment="prod",
                batch=str(uuid5(NAMESPACE, f"batch {number}")),
                sent=(),
                rows=rows,
                root=f"sha256:{hashed.hex()}",
                row_schema=f"sha256:{batch.schema.digest().hex()}",
                address=stored.address,
                file_digest=stored.digest,
                file_bytes=stored.size,
                first_id=ids[0],
                last_id=ids[2],
                first_at=day(4, 3),
                last_at=day(6, 30),
            ),
        )
        wanted = ids[1]
    return wanted


def _rows(number: int, rows: int) -> Decisions:
    """The first object is the one whose ids are asked for: the last to be looked at."""
    chance = np.random.default_rng(number)
    at = int(day(4, 4).timestamp() * 1_000) + number * 100_000
    ids = [UUID(int=(at + n << 80) | 7 << 76 | 2 << 62 | n).bytes for n in range(rows)]
    names = "first" if number == 0 else f"object-{number}"
    columns: list[Column] = [
        Numbers(chance.normal(size=rows), np.ones(rows, dtype=np.bool_))
        for _ in range(FEATURES - 1)
    ]
    columns.append(Words(np.arange(rows, dtype=np.int32) % 2, ("Graz", "Linz")))
    named = [f"f{n:02}" for n in range(FEATURES)]
    dtypes = ["f64"] * (FEATURES - 1) + ["utf8"]
    return Decisions(
        schema=Schema(
            "credit", "v1", "prod", "lending", tuple(zip(named, dtypes, strict=True))
        ),
        ids=np.frombuffer(b"".join(ids), dtype=np.uint8).reshape(rows, 16),
        times=np.array([(at + n) * 1_000 for n in range(rows)], dtype=np.int64),
        scores=chance.random(rows),
        latency_ms=np.full(rows, 1.5),
        explained=np.ones(rows, dtype=np.uint8),
        reason_codes=np.full(rows, 2, dtype=np.uint8),
        references=Words(
            np.arange(rows, dtype=np.int32), tuple(f"{names}-{n}" for n in range(rows))
        ),
        columns=tuple(columns),
    )


def _others(story: Story) -> None:
    """Make the log as long as that of a busy ledger, by what another model is told."""
    for month in range(SLOTS // 1_000):
        events = [
            slot(day(5, 1), day(5, 2), bad=n % 7).model_copy(update={"model": "other"})
            for n in range(1_000)
        ]
        story.tell("monitor", f"other-{month}", day(7, 4), *events)


@contextmanager
def _served(home: Home, store: SqliteStore) -> Iterator[_Asking]:
    stop, ready, ports = threading.Event(), threading.Event(), list[int]()

    def tell(port: int) -> None:
        ports.append(port)
        ready.set()

    with Node(home, store, [audit, monitoring_service]) as node:
        node.catch_up(TIMEOUT_S)
        for one in node.running.values():
            one.reactors.wait_for(store.head(), TIMEOUT_S)
        server = threading.Thread(
            target=node.serve,
            args=("127.0.0.1:0",),
            kwargs={"ready": tell, "stop": stop},
        )
        server.start()
        try:
            ready.wait(TIMEOUT_S)
            token = LocalIssuer.open(home.keys).issue(
                "auditor", frozenset({"auditor", "operator"})
            )
            with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
                yield _Asking(channel, token)
        finally:
            stop.set()
            server.join()

"""A model's life told straight into a ledger, with a decision in the middle of it.

The audit reads events, whoever wrote them: so its tests need no other service.

    1 March    registered, built, approved by a person, deployed
    1 April    a window closes green; then 30 decisions, the 7th of them asked about
    1 May      an alert, a finding, an amber health, a slowed budget
    1 July     the alert is resolved, the version rolled back, the model retired
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid5

import numpy as np
import onnx
from onnx import TensorProto, helper

from modelkeep import artifacts
from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.decisions.matrix import (
    Decisions,
    Numbers,
    Words,
    leaves,
    root,
    row_matrix,
)
from modelkeep.decisions.rows import Schema
from modelkeep.events import debt, insight, inventory, lineage, monitoring, policy
from modelkeep.events.base import Event
from modelkeep.events.types import Person
from modelkeep.home import Home
from modelkeep.identity import writer_key
from modelkeep.ledger import Ledger, Order, body_hash, stream_name
from modelkeep.objects import artifacts_of
from modelkeep.proof.verdict import version_digest
from modelkeep.store.port import Store
from modelkeep_services.monitoring.objects import store_decisions

ROWS = 30
ASKED = 6
NAMESPACE = UUID("6f1d2c1e-6d3d-5f5e-9d0a-000000000001")
DANA = Person(issuer="https://id.bank", subject="dana")
VERA = Person(issuer="https://id.bank", subject="vera")
BUNDLE = "sha256:" + "b" * 64
DOCUMENT = insight.Document(version="health-1", digest="sha256:" + "e" * 64)
NO_SOURCE = "00000000-0000-4000-8000-000000000000"


class Tell(Command):
    """`number` makes each telling another command."""

    number: int


@dataclass
class Story:
    """Writes events as if their services had; remembers what tests ask about."""

    home: Home
    ledger: Ledger
    tenant: str = "main"
    told: int = 0
    decision: str = ""
    scores: tuple[float, ...] = ()
    parquet: Path = Path()

    def tell(self, category: str, key: str, at: datetime, *events: Event) -> str:
        """Append to one stream at `at`; return the id of the last event."""
        self.told += 1
        command = Tell(number=self.told)
        stream = stream_name(category, self.tenant, key)
        actor = Actor(DANA.issuer, DANA.subject, frozenset({"owner"}), self.tenant)
        order = Order(
            stream,
            decider(None, lambda *_: events, lambda state, _: state),
            command,
            Context(actor, at, at, str(uuid5(NAMESPACE, f"{stream}/{self.told}"))),
            body_hash(command),
        )
        self.ledger.execute(order)
        last = next(self.ledger.store.read_stream(stream, backwards=True, limit=1))
        return str(last.uuid)


def day(month: int, of_month: int, hour: int = 0) -> datetime:
    return datetime(2013, month, of_month, hour, tzinfo=UTC)


@contextmanager
def telling(home: Home, store: Store, tenant: str = "main") -> Iterator[Story]:
    with Ledger(store, signer=writer_key(home.keys)) as ledger:
        yield Story(home, ledger, tenant)


def tell_all(story: Story) -> None:
    source = tell_approval(story)
    tell_work(story, source)
    tell_trouble(story)
    tell_end(story)


def graph() -> bytes:
    """A model: the score is a hundredth of the age."""
    age = helper.make_tensor_value_info("age", TensorProto.DOUBLE, [None, 1])
    score = helper.make_tensor_value_info("score", TensorProto.DOUBLE, [None, 1])
    weight = helper.make_tensor("weight", TensorProto.DOUBLE, [1], [0.01])
    node = helper.make_node("Mul", ["age", "weight"], ["score"])
    made = helper.make_model(
        helper.make_graph([node], "tiny", [age], [score], [weight]),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


DIGEST = version_digest(["sha256:" + sha256(graph()).hexdigest()])


def tell_approval(story: Story) -> str:
    """Register, build, judge, approve and deploy. Returns the verdict's event id."""
    saved = "sha256:" + artifacts.save(graph(), artifacts_of(story.home))
    story.tell(
        "model",
        "credit",
        day(3, 1),
        inventory.ModelRegistered(
            model="credit",
            title="Credit decisions",
            kind="trained",
            purpose="Decides on small loans",
            owner="dana",
            owner_issuer=DANA.issuer,
            approved_uses=("lending",),
        ),
        inventory.RoleAssigned(
            model="credit", role="validator", subject="vera", issuer=VERA.issuer
        ),
        inventory.VersionRegistered(
            model="credit",
            version="v1",
            digest=DIGEST,
            artifacts=(
                inventory.Artifact(
                    name="model.onnx",
                    digest=saved,
                    media_type="application/onnx",
                    size=len(graph()),
                ),
            ),
            registered_by=DANA,
        ),
        inventory.ValidationRecorded(
            model="credit",
            version="v1",
            digest=DIGEST,
            outcome="approved",
            validator=VERA,
            limitations=(inventory.Reliance(text="not for companies"),),
        ),
    )
    _tell_lineage(story)
    source = _tell_verdict(story)
    story.tell(
        "model",
        "credit",
        day(3, 4),
        inventory.Deployed(
            model="credit",
            version="v1",
            digest=DIGEST,
            environment="prod",
            share=1.0,
            verdict_source=source,
            by=DANA,
        ),
    )
    return source


def _tell_lineage(story: Story) -> None:
    loans = lineage.node_id("dataset", "s3://bank", "loans", digest=DIGEST)
    ages = lineage.node_id("feature_view", "s3://bank", "ages", owner="dana")
    version = lineage.version_node("credit", "v1", DIGEST)
    story.tell(
        "manifest",
        "aa",
        day(3, 2),
        lineage.NodeRecorded(
            node=loans,
            kind="dataset",
            name="loans",
            namespace="s3://bank",
            digest=DIGEST,
        ),
        lineage.NodeRecorded(
            node=ages, kind="feature_view", name="ages", namespace="s3://bank"
        ),
        lineage.Linked(source_node=loans, target_node=ages, relation="feeds"),
        lineage.Linked(source_node=ages, target_node=version, relation="trains"),
    )


def _tell_verdict(story: Story) -> str:
    operand = {
        "text": "evidence.auc",
        "value": 0.71,
        "op": ">=",
        "limit_text": "params.auc",
        "limit": 0.7,
    }
    rule = policy.RuleSaid(
        rule="promote/good-enough",
        policy="promote",
        kind="gate",
        severity="block",
        outcome="true",
        denies=False,
        operands=(operand,),
        text="promote/good-enough holds",
    )
    about = {
        "request": "r1",
        "action": "deploy",
        "model": "credit",
        "version": "v1",
        "digest": DIGEST,
        "environment": "prod",
    }
    story.tell(
        "request",
        "r1",
        day(3, 2),
        policy.VerdictGiven.model_validate(
            about
            | {
                "verdict": "pending",
                "bundle": BUNDLE,
                "bundle_name": "house",
                "bundle_version": "1.0",
                "engine": "cel",
                "descriptor": BUNDLE,
                "facts": "",
                "facts_digest": BUNDLE,
                "stood_at": 0,
                "rules": (rule,),
                "owed": (
                    {"policy": "promote", "role": "validator", "count": 1, "of": 1},
                ),
                "requested_by": DANA,
                "human": True,
                "expires_at": day(6, 1),
            }
        ),
    )
    return story.tell(
        "request",
        "r1",
        day(3, 3),
        policy.Approved(
            request="r1",
            model="credit",
            action="deploy",
            environment="prod",
            digest=DIGEST,
            by=VERA,
            roles=("validator",),
            at=day(3, 3),
        ),
        policy.VerdictSettled.model_validate(
            about
            | {
                "verdict": "allow",
                "bundle": BUNDLE,
                "facts_digest": BUNDLE,
                "requested_by": DANA,
            }
        ),
    )


def tell_work(story: Story, source: str) -> None:
    """Close a window, then log decisions."""
    story.tell("monitor", "credit", day(4, 1), window(day(3, 5), day(4, 1), bad=3))
    story.tell(
        "insight",
        "credit",
        day(4, 1),
        insight.BudgetDefined(
            model="credit",
            budget="errors",
            kind="degradation",
            metric="errors",
            p0=0.01,
            p1=0.03,
            expected_events=1_000,
            period="month",
            period_end=day(5, 1),
            document=DOCUMENT,
        ),
        band("green", 93.5, source),
    )
    story.tell("monitor", "credit", day(4, 2), slot(day(4, 1), day(4, 2), bad=5))
    rows = decisions(story)
    stored = store_decisions(story.home.decisions, story.tenant, rows)
    hashed = root(leaves(row_matrix(rows)))
    story.parquet = story.home.decisions / stored.address
    first, last = (str(UUID(bytes=rows.ids[n].tobytes())) for n in (0, ROWS - 1))
    story.tell(
        "decisions",
        "credit",
        day(4, 3),
        monitoring.BatchRecorded(
            model="credit",
            version="v1",
            environment="prod",
            batch=str(uuid5(NAMESPACE, "batch")),
            sent=(),
            rows=ROWS,
            root=f"sha256:{hashed.hex()}",
            row_schema=f"sha256:{rows.schema.digest().hex()}",
            address=stored.address,
            file_digest=stored.digest,
            file_bytes=stored.size,
            first_id=first,
            last_id=last,
            first_at=day(4, 2),
            last_at=day(4, 2),
        ),
    )


def decisions(story: Story) -> Decisions:
    at = int(day(4, 2).timestamp() * 1_000)
    ids = [UUID(int=(at + n << 80) | 7 << 76 | 2 << 62 | n).bytes for n in range(ROWS)]
    ages = np.array([20.0 + n for n in range(ROWS)])
    story.decision = str(UUID(bytes=ids[ASKED]))
    scores = ages * 0.01
    story.scores = tuple(scores.tolist())
    schema = Schema(
        "credit", "v1", "prod", "lending", (("age", "f64"), ("town", "utf8"))
    )
    return Decisions(
        schema=schema,
        ids=np.frombuffer(b"".join(ids), dtype=np.uint8).reshape(ROWS, 16),
        times=np.array([(at + n) * 1_000 for n in range(ROWS)], dtype=np.int64),
        scores=scores,
        latency_ms=np.full(ROWS, 1.5),
        explained=np.ones(ROWS, dtype=np.uint8),
        reason_codes=np.full(ROWS, 2, dtype=np.uint8),
        references=Words(np.arange(ROWS, dtype=np.int32), tuple(map(str, range(ROWS)))),
        columns=(
            Numbers(ages, np.ones(ROWS, dtype=np.bool_)),
            Words(np.arange(ROWS, dtype=np.int32) % 3 - 1, ("Graz", "Linz")),
        ),
    )


def tell_trouble(story: Story) -> None:
    raised = story.tell(
        "monitor",
        "credit",
        day(5, 1),
        window(day(4, 1), day(5, 1), bad=40),
        monitoring.AlertRaised(
            model="credit",
            alert="a1",
            version="v1",
            kind="performance",
            vector="concept_shift",
            severity="high",
            metric="auc",
            value=0.6,
            threshold=0.68,
            n=500,
            owner="dana",
            cause="AUC fell to 0.60",
            due_at=day(5, 8),
            thresholds="default-1",
        ),
    )
    story.tell(
        "insight",
        "credit",
        day(5, 1),
        band("amber", 74.0, raised),
        insight.BudgetSlowed(
            model="credit",
            budget="errors",
            period_start=day(5, 1),
            period_end=day(6, 1),
            spent=0.7,
            spent_low=0.5,
            elapsed=0.2,
            document=DOCUMENT,
            source=raised,
        ),
    )
    story.tell(
        "model",
        "credit",
        day(5, 2),
        inventory.FindingRaised(
            model="credit",
            finding="f1",
            title="Nobody watches companies",
            severity="medium",
            vector="governance_lapse",
            owner="dana",
            due_at=day(6, 1),
            raised_by=VERA,
        ),
    )
    story.tell(
        "debt",
        "d1",
        day(5, 2),
        debt.Incurred(
            liability="d1",
            model="credit",
            kind="governance",
            vector="governance_lapse",
            origin="finding",
            title="Nobody watches companies",
            severity="medium",
            tier=1,
            minutes=90,
            points_per_30d=24_000_000,
            overdue_times=2,
            owner="dana",
            since=day(5, 2),
            card="rates-1",
            by=VERA,
        ),
    )


def tell_end(story: Story) -> None:
    story.tell(
        "monitor",
        "credit",
        day(7, 1),
        monitoring.AlertResolved(
            model="credit", alert="a1", by=DANA, true_alarm=True, reason="rolled back"
        ),
    )
    story.tell(
        "model",
        "credit",
        day(7, 2),
        inventory.Retired(model="credit", reason="replaced", by=DANA),
    )


def window(start: datetime, end: datetime, bad: int) -> monitoring.WindowClosed:
    figures = monitoring.WindowFigures(
        rows=500,
        features=(
            monitoring.FeatureFigure(feature="age", psi=0.04, lo=0.1, hi=0.25, n=500),
            monitoring.FeatureFigure(feature="town", psi=0.2, lo=0.1, hi=0.25, n=500),
        ),
        bad={"errors": bad},
        outcomes=400,
        mature=True,
        performance=(monitoring.PerformanceFigure(metric="auc", value=0.71, n=400),),
    )
    return monitoring.WindowClosed(
        model="credit",
        version="v1",
        environment="prod",
        window=f"w{start:%m%d}",
        start=start,
        end=end,
        figures=figures,
        method="test",
    )


def slot(start: datetime, end: datetime, bad: int) -> monitoring.SlotCounted:
    return monitoring.SlotCounted(
        model="credit",
        version="v1",
        environment="prod",
        start=start,
        end=end,
        counts=monitoring.SlotCounts(rows=100, outcomes=100, bad={"errors": bad}),
    )


def band(colour: str, index: float, source: str) -> insight.HealthBandChanged:
    return insight.HealthBandChanged.model_validate(
        {
            "model": "credit",
            "to_band": colour,
            "index": index,
            "component": "outcomes",
            "cause": f"outcomes are {colour}",
            "measured_weight": 1.0,
            "document": DOCUMENT,
            "source": source,
        }
    )

"""Debt over real sockets: by hand, by other services' events, and by the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.bad_inputs.debt import incur, registered, told
from tests.integration.conftest import Served

from modelkeep.api.common.v1.common_pb2 import AsOf, Page
from modelkeep.api.debt.v1 import debt_pb2 as pb
from modelkeep.api.debt.v1 import debt_pb2_grpc as api
from modelkeep.events.clock import Ticked
from modelkeep.events.inventory import (
    CardAttached,
    Deployed,
    FindingClosed,
    FindingRaised,
    OverrideExpired,
    ReviewCompleted,
    ReviewOverdue,
    RiskAccepted,
)
from modelkeep.events.monitoring import AlertOverdue, AlertRaised, AlertResolved
from modelkeep.events.policy import ExceptionGranted
from modelkeep.events.types import Person
from modelkeep.viewset import ViewSet

DIGEST = "sha256:" + "1" * 64
START = datetime(2026, 1, 11, tzinfo=UTC)
VERA = Person(issuer="tests", subject="vera")


class Debt:
    """An engineer at work, in a year of their own."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._stub = api.DebtServiceStub(served.channel)
        self.tick(0)
        told(served, "model", registered(), at=START)

    def __call__(
        self, rpc: str, *roles: str, request: Any = None, **fields: Any
    ) -> Any:
        request = request or getattr(pb, f"{rpc}Request")(**fields)
        method = getattr(self._stub, rpc)
        answer = self.served.call(method, request, *(roles or ("engineer",)))
        self.served.settle()
        return answer

    def tick(self, days: float) -> None:
        """The year moves on: what is due then falls due."""
        instant = day(days)
        told(self.served, "clock", Ticked(instant=instant), at=instant)
        self.served.node.host.clock.saw(instant)

    def hears(self, event: Any, days: float = 0) -> str:
        return told(self.served, "other", event, at=day(days))

    def only(self, status: int = pb.STATUS_OPEN) -> Any:
        (one,) = self("ListLiabilities", status=status).liabilities
        return one


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def stamped(n: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(day(n))
    return stamp


@pytest.fixture
def debt(serve: Callable[..., Served]) -> Debt:
    return Debt(serve("debt", scenario=True))


# --- by hand -----------------------------------------------------------------------


def test_a_liability_is_entered_charged_and_cured(debt: Debt) -> None:
    debt("Incur", request=incur("tangle"))
    debt.tick(30)
    debt("Cure", liability="tangle", evidence="merged")
    found = debt("GetLiability", liability="tangle")
    assert found.liability.status == pb.STATUS_CURED
    assert not found.liability.owed
    assert [one.name for one in found.postings] == [
        "debt.incurred",
        "debt.charged",
        "debt.charged",
        "debt.cured",
    ]
    (line,) = [line for line in debt("Statement").lines if line.unit == "points"]
    assert (line.accrued, line.cured, line.closing) == (40_000_000, 40_000_000, 0)


def test_what_is_due_falls_due_at_the_end_of_the_month(debt: Debt) -> None:
    debt("Incur", request=incur("tangle"))
    debt.tick(20)
    assert len(debt("Journal").postings) == 1
    debt.tick(21)
    posting = debt("Journal").postings[-1]
    assert posting.on.ToDatetime(tzinfo=UTC) == datetime(2026, 2, 1, tzinfo=UTC)
    assert sum(entry.amount for entry in posting.entries) == 0
    debt.tick(60)
    assert len(debt("Journal").postings) == 3


def test_the_dearest_for_the_least_work_comes_first(debt: Debt) -> None:
    debt("Incur", request=incur("slow", minutes=6_000))
    debt("Incur", request=incur("quick", minutes=60))
    debt("Incur", request=incur("free", minutes=0))
    first = debt("ListLiabilities", page=Page(size=2))
    rest = debt("ListLiabilities", page=Page(size=2, token=first.next_token))
    found = [*first.liabilities, *rest.liabilities]
    assert [one.liability for one in found] == ["free", "quick", "slow"]
    assert found[1].ratio == 40.0
    assert not rest.next_token


def test_a_risk_officer_accepts_what_another_owes_until_a_date(debt: Debt) -> None:
    debt("Incur", request=incur("tangle"))
    said = {"liability": "tangle", "until": stamped(10), "reason": "for now"}
    with pytest.raises(grpc.RpcError) as refused:
        debt("Accept", **said)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    debt("Accept", "risk_officer", **said)
    assert debt.only(pb.STATUS_ACCEPTED).carrying == 0
    debt.tick(10)
    assert debt.only().owed["minutes"] == 600


def test_drag_is_stated_beside_the_balance(debt: Debt) -> None:
    debt("Incur", request=incur("tangle"))
    debt(
        "RecordDrag",
        liability="tangle",
        start=stamped(-3),
        end=stamped(0),
        minutes=90,
        method="time sheets",
        evidence="ticket 7",
    )
    (line,) = debt("Statement").lines
    assert (line.unit, line.closing, line.drag) == ("minutes", 600, 90)


def test_statements_are_by_model_line_and_kind(debt: Debt) -> None:
    debt.hears(registered("fraud", "payments"))
    debt("Incur", request=incur("tangle"))
    debt("Incur", request=incur("stale", model="fraud", kind=pb.DEBT_KIND_DATA))
    for grouping, groups in (
        (pb.GROUPING_MODEL, ["credit", "fraud"]),
        (pb.GROUPING_BUSINESS_LINE, ["cards", "payments"]),
        (pb.GROUPING_KIND, ["data", "technical"]),
    ):
        lines = debt("Statement", grouping=grouping).lines
        assert [line.group for line in lines] == groups
    (line,) = debt("Statement", business_line="cards").lines
    assert line.incurred == 600


def test_a_statement_is_as_of_any_position(debt: Debt) -> None:
    debt("Incur", request=incur("tangle"))
    before = debt("Reassess", liability="tangle", minutes=300, reason="half").written
    debt.tick(40)
    debt("Cure", liability="tangle", evidence="merged")
    (line,) = debt("Statement", as_of=AsOf(position=before.position)).lines
    assert (line.unit, line.incurred, line.closing) == ("minutes", 300, 300)


def test_of_a_model_nobody_registered_nothing_is_entered(debt: Debt) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        debt("Incur", request=incur("tangle", model="ghost"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


# --- by itself ---------------------------------------------------------------------


def test_an_overdue_review_is_owed_until_it_is_completed(debt: Debt) -> None:
    source = debt.hears(
        ReviewOverdue(model="credit", review="r-1", kind="annual", due_at=START)
    )
    owed = debt.only()
    assert (owed.source, owed.origin, owed.owner) == (source, pb.ORIGIN_REVIEW, "dana")
    assert owed.card == "debt-rates-1"
    with pytest.raises(grpc.RpcError, match="ends with its review"):
        debt("Cure", liability=owed.liability, evidence="trust me")
    debt.hears(
        ReviewCompleted(
            model="credit",
            review="r-1",
            kind="annual",
            due_at=START,
            outcome="satisfactory",
            notes="fine",
            by=VERA,
        ),
        days=5,
    )
    debt.tick(6)
    assert debt.only(pb.STATUS_CURED).liability == owed.liability


def finding(severity: str = "critical") -> FindingRaised:
    return FindingRaised.model_validate(
        {
            "model": "credit",
            "finding": "f-1",
            "title": "Bias at the edge",
            "severity": severity,
            "vector": "fairness",
            "owner": "fred",
            "due_at": day(60),
            "raised_by": VERA,
        }
    )


def test_an_open_finding_is_owed_until_a_validator_closes_it(debt: Debt) -> None:
    debt.hears(finding())
    owed = debt.only()
    assert (owed.owner, owed.carrying) == ("fred", 120_000_000)
    debt.tick(61)
    assert debt.only().carrying == 240_000_000
    debt.hears(
        FindingClosed(
            model="credit", finding="f-1", evidence="retested", closed_by=VERA
        ),
        days=61,
    )
    assert debt.only(pb.STATUS_CURED).liability == owed.liability


def test_a_finding_that_is_accepted_is_an_accepted_debt(debt: Debt) -> None:
    debt.hears(finding())
    debt.hears(
        RiskAccepted(
            model="credit",
            subject="f-1",
            until=day(9),
            reason="replaced soon",
            accepted_by=VERA,
            awaits=day(9),
        )
    )
    accepted = debt.only(pb.STATUS_ACCEPTED)
    assert accepted.accepted_until.ToDatetime(tzinfo=UTC) == day(9)


def test_an_exception_is_owed_until_it_is_cured_by_hand(debt: Debt) -> None:
    debt.hears(
        ExceptionGranted(
            exception="x-1",
            model="credit",
            tier=2,
            rule="evidence/lineage",
            reason="the feed moves house",
            owner=Person(issuer="tests", subject="olga"),
            until=day(20),
            granted_by=(VERA,),
        )
    )
    owed = debt.only()
    assert (owed.owner, owed.overdue) == ("olga", False)
    debt.tick(21)
    assert debt.only().overdue
    debt("Cure", liability=owed.liability, evidence="complies again")
    assert debt.only(pb.STATUS_CURED).liability == owed.liability


def test_an_alert_past_its_deadline_is_owed_until_resolved(debt: Debt) -> None:
    debt.hears(
        AlertOverdue(
            model="credit",
            alert="a-1",
            severity="high",
            vector="data_drift",
            due_at=START,
        )
    )
    assert debt.only().kind == pb.DEBT_KIND_DATA
    debt.hears(
        AlertResolved(
            model="credit", alert="a-1", by=VERA, true_alarm=True, reason="refilled"
        )
    )
    assert debt.only(pb.STATUS_CURED).origin == pb.ORIGIN_ALERT


def deployed(environment: str) -> Deployed:
    return Deployed(
        model="credit",
        version="v1",
        digest=DIGEST,
        environment=environment,
        share=1.0,
        verdict_source="an-event",
        by=VERA,
    )


def test_a_live_version_without_a_card_owes_an_explanation(debt: Debt) -> None:
    debt.hears(deployed("staging"))
    assert not debt("ListLiabilities").liabilities
    debt.hears(deployed("prod"))
    assert debt.only().kind == pb.DEBT_KIND_EXPLAINABILITY
    card = CardAttached(
        model="credit", version="v1", digest=DIGEST, card_digest=DIGEST, size=9
    )
    debt.hears(card)
    assert debt.only(pb.STATUS_CURED).origin == pb.ORIGIN_CARD
    debt.hears(deployed("prod"))
    assert not debt("ListLiabilities").liabilities


def test_a_model_of_another_tier_owes_at_another_rate(debt: Debt) -> None:
    debt("Incur", request=incur("tangle"))
    assert debt.only().tier == 2
    debt.hears(
        OverrideExpired(model="credit", tier=1, overridden_tier=2, expired_at=START)
    )
    assert (debt.only().tier, debt.only().carrying) == (1, 80_000_000)


def test_an_alert_is_an_incident_of_what_was_owed_on_its_vector(debt: Debt) -> None:
    debt("Incur", request=incur("tangle"))
    for vector in ("operational_regression", "data_drift"):
        debt.hears(
            AlertRaised.model_validate(
                {
                    "model": "credit",
                    "alert": f"a-{vector}",
                    "kind": "latency",
                    "vector": vector,
                    "severity": "high",
                    "metric": "latency_p99_ms",
                    "value": 2.0,
                    "threshold": 1.0,
                    "n": 9,
                    "cause": "slow",
                    "due_at": day(1),
                    "thresholds": "t-1",
                }
            )
        )
    assert list(debt.only().incidents) == ["a-operational_regression"]
    assert debt.only().carrying == 60_000_000


def test_a_replay_gives_the_same_rows(debt: Debt, tmp_path: Path) -> None:
    debt("Incur", request=incur("tangle"))
    debt.hears(finding())
    debt.tick(40)
    debt("Cure", liability="tangle", evidence="merged")
    served = debt.served
    views = served.node.running["debt"].views
    service_ = served.node.running["debt"].service
    with ViewSet("again", service_.views, served.store, tmp_path / "again.db") as again:
        again.catch_up()
        assert again.digests() == views.digests()

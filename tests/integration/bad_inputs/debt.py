"""A good request for every RPC of debt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.bad_inputs.cases import INVALID, Bad, Good
from tests.integration.conftest import Served

from modelkeep.api.common.v1 import common_pb2 as common
from modelkeep.api.debt.v1 import debt_pb2 as pb
from modelkeep.api.debt.v1 import debt_pb2_grpc as api
from modelkeep.events.base import Event
from modelkeep.events.inventory import ModelRegistered
from modelkeep.ledger import stamp
from modelkeep.store.port import ANY, NewEvent

SERVICE = "debt"
NEEDS = ("debt",)
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["DebtService"]
WHO = ("engineer",)


def told(
    served: Served, stream: str, event: Event, *, at: datetime | None = None
) -> str:
    """Append what another service says; return its event's id."""
    now = stamp(at or datetime.now(UTC))
    metadata = f'{{"known_at":"{now}","tenant":"main","schema_version":"1"}}'.encode()
    event_id = uuid4()
    body = event.model_dump_json().encode()
    new = NewEvent(event_id, event.event_name, event.event_version, body, metadata)
    served.store.append(f"{stream}-main.x", [new], expected=ANY)
    served.settle()
    return str(event_id)


def registered(model: str = "credit", line: str | None = "cards") -> ModelRegistered:
    return ModelRegistered(
        model=model,
        title=model,
        kind="trained",
        purpose="to lend",
        owner="dana",
        owner_issuer="tests",
        business_line=line,
    )


def incur(liability: str, **more: object) -> pb.IncurRequest:
    fields: dict[str, object] = {
        "liability": liability,
        "model": "credit",
        "kind": pb.DEBT_KIND_TECHNICAL,
        "vector": common.RISK_VECTOR_OPERATIONAL_REGRESSION,
        "title": "Two copies of one transform",
        "severity": common.SEVERITY_HIGH,
        "minutes": 600,
        "owner": "dana",
    }
    return pb.IncurRequest(**(fields | more))  # type: ignore[arg-type]  # a test's fields


def moment(days: float) -> Timestamp:
    stamped = Timestamp()
    stamped.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    return stamped


def prepare(served: Served) -> None:
    told(served, "model", registered())
    stub = api.DebtServiceStub(served.channel)
    served.call(stub.Incur, incur("tangle-1"), *WHO)
    served.call(stub.Incur, incur("tangle-2"), *WHO)


GOOD: Sequence[Good] = (
    Good(
        "Incur",
        incur("another"),
        WHO,
        about="model",
        required=(
            "liability",
            "model",
            "kind",
            "vector",
            "title",
            "severity",
            "minutes",
            "owner",
        ),
    ),
    Good(
        "Reassess",
        pb.ReassessRequest(liability="tangle-1", reason="half was done", minutes=1),
        WHO,
        about="liability",
        required=("liability", "reason"),
    ),
    Good(
        "LinkIncident",
        pb.LinkIncidentRequest(liability="tangle-1", group="outage"),
        WHO,
        about="liability",
        required=("liability", "group"),
    ),
    Good(
        "Accept",
        pb.AcceptRequest(liability="tangle-1", until=moment(30), reason="for now"),
        ("risk_officer",),
        about="liability",
        required=("liability", "until", "reason"),
    ),
    Good(
        "RecordDrag",
        pb.RecordDragRequest(
            liability="tangle-1",
            start=moment(-2),
            end=moment(-1),
            minutes=90,
            method="time sheets",
            evidence="ticket 7",
        ),
        WHO,
        about="liability",
        required=("liability", "start", "end", "method", "evidence", "minutes"),
    ),
    Good(
        "Cure",
        pb.CureRequest(liability="tangle-2", evidence="merged"),
        WHO,
        about="liability",
        required=("liability", "evidence"),
    ),
    Good(
        "GetLiability",
        pb.GetLiabilityRequest(liability="tangle-1"),
        WHO,
        about="liability",
    ),
    Good(
        "ListLiabilities",
        pb.ListLiabilitiesRequest(
            model="credit", kind=pb.DEBT_KIND_TECHNICAL, status=pb.STATUS_OPEN
        ),
        WHO,
    ),
    Good(
        "Statement",
        pb.StatementRequest(
            start=moment(-30), end=moment(30), grouping=pb.GROUPING_MODEL
        ),
        WHO,
    ),
    Good("Journal", pb.JournalRequest(), WHO),
)


def bad(rpc: str, what: str, request: object, field: str) -> Bad:
    return Bad(rpc, what, request, WHO, INVALID, field)  # type: ignore[arg-type]  # a message


MORE: Sequence[Bad] = (
    bad("Incur", "negative minutes", incur("x", minutes=-1), "minutes"),
    bad(
        "Incur",
        "no currency",
        incur("x", money=common.Money(minor=1, currency="euro")),
        "currency",
    ),
    bad(
        "RecordDrag",
        "an end before its start",
        pb.RecordDragRequest(
            liability="tangle-1",
            start=moment(-1),
            end=moment(-2),
            minutes=1,
            method="m",
            evidence="e",
        ),
        "end",
    ),
    bad(
        "Statement",
        "a start after its end",
        pb.StatementRequest(start=moment(2), end=moment(1)),
        "start",
    ),
    bad(
        "ListLiabilities",
        "a page too large",
        pb.ListLiabilitiesRequest(page=common.Page(size=1_001)),
        "size",
    ),
    bad(
        "ListLiabilities",
        "a foreign token",
        pb.ListLiabilitiesRequest(page=common.Page(token="!")),  # noqa: S106  # a page's
        "token",
    ),
)

"""A good request for every RPC of the audit."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.audit_story import tell_all, telling
from tests.integration.bad_inputs.cases import INVALID, Bad, Good
from tests.integration.conftest import Served

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.api.common.v1.common_pb2 import AsOf, Page

SERVICE = "audit"
NEEDS = ("audit",)
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["AuditService"]
WHO = ("auditor",)
MANY = 10**9

EVENT = pb.GetEventRequest()
INCLUSION = pb.GetInclusionRequest()
WHY = pb.WhyRequest()
DOSSIER = pb.GetDossierRequest()


def prepare(served: Served) -> None:
    with telling(served.node.home, served.store) as story:
        tell_all(story)
    first = next(served.store.read_all(limit=1))
    EVENT.event_id = INCLUSION.event_id = str(first.uuid)
    WHY.decision = DOSSIER.decision = story.decision


GOOD: Sequence[Good] = (
    Good("GetCheckpoint", pb.GetCheckpointRequest(), WHO),
    Good("GetInclusion", INCLUSION, WHO, about="event_id", required=("event_id",)),
    Good("GetConsistency", pb.GetConsistencyRequest(old_size=3), WHO),
    Good("GetEvent", EVENT, WHO, about="event_id", required=("event_id",)),
    Good("ListEvents", pb.ListEventsRequest(page=Page(size=5)), WHO),
    Good("Why", WHY, WHO, about="decision", required=("decision",)),
    Good("AsOf", pb.AsOfRequest(model="credit"), WHO, about="model"),
    Good("Attest", pb.AttestRequest(), WHO),
    Good("GetDossier", DOSSIER, WHO, about="decision", required=("decision",)),
)


def _bad(rpc: str, what: str, request: object, field: str) -> Bad:
    return Bad(rpc, what, request, WHO, INVALID, field)  # type: ignore[arg-type]  # a message


MORE: Sequence[Bad] = (
    _bad(
        "GetConsistency",
        "beyond the log",
        pb.GetConsistencyRequest(old_size=3, new_size=MANY),
        "new_size",
    ),
    _bad(
        "GetConsistency",
        "backwards",
        pb.GetConsistencyRequest(old_size=3, new_size=2),
        "old_size",
    ),
    _bad(
        "GetConsistency",
        "negative",
        pb.GetConsistencyRequest(old_size=-1),
        "old_size",
    ),
    _bad(
        "ListEvents",
        "a page too large",
        pb.ListEventsRequest(page=Page(size=MANY)),
        "size",
    ),
    _bad(
        "ListEvents",
        "a token of nobody's",
        pb.ListEventsRequest(page=Page(token="later")),  # noqa: S106  # of a page
        "token",
    ),
    _bad(
        "AsOf",
        "before all positions",
        pb.AsOfRequest(as_of=AsOf(position=-1)),
        "position",
    ),
    _bad(
        "AsOf",
        "against no moment",
        pb.AsOfRequest(against=AsOf(position=-1)),
        "against",
    ),
    _bad("Attest", "no moment", pb.AttestRequest(as_of=AsOf(position=-1)), "position"),
)

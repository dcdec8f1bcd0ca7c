"""A good request for every RPC of privacy."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.bad_inputs.cases import INVALID, Bad, Good
from tests.integration.conftest import Served
from tests.integration.privacy_office import MORNING, Office

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.api.privacy.v1 import privacy_pb2 as pb

SERVICE = "privacy"
NEEDS = ("inventory", "privacy")
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["PrivacyService"]
SCENARIO = True
WHO = ("privacy_officer",)
MANY = 10**9

APPROVED = pb.ApproveErasureRequest()
REJECTED = pb.RejectErasureRequest(reason="still a customer")
FOUND = pb.GetErasureRequest()
PERSONAL = pb.ListPersonalRequest()


def prepare(served: Served) -> None:
    office = Office(served)
    office.tick(MORNING)
    office.model()
    for subject in ("erin", "ernie", "eve"):
        office.contact(subject, f"{subject}@bank.example")
    APPROVED.erasure = FOUND.erasure = office.request("ernie").erasure
    REJECTED.erasure = office.request("eve").erasure
    PERSONAL.erasure = FOUND.erasure
    office.hold("case-1", "somebody")


def request(subject: str = "erin") -> pb.RequestErasureRequest:
    return pb.RequestErasureRequest(
        subject=subject, basis=pb.BASIS_OBJECTION, reason="ticket 12"
    )


GOOD: Sequence[Good] = (
    Good("RequestErasure", request(), WHO, "subject", ("subject", "basis", "reason")),
    Good("ApproveErasure", APPROVED, ("risk_officer",), "erasure", ("erasure",)),
    Good(
        "RejectErasure", REJECTED, ("risk_officer",), "erasure", ("erasure", "reason")
    ),
    Good(
        "PlaceHold",
        pb.PlaceHoldRequest(hold="case-2", matter="Smith v. Bank", reason="a letter"),
        WHO,
        required=("hold", "matter", "reason"),
    ),
    Good(
        "ReleaseHold",
        pb.ReleaseHoldRequest(hold="case-1", reason="settled"),
        WHO,
        "hold",
        ("hold", "reason"),
    ),
    Good("TurnKeys", pb.TurnKeysRequest(reason="a drill"), WHO, required=("reason",)),
    Good("GetErasure", FOUND, WHO, "erasure"),
    Good("ListErasures", pb.ListErasuresRequest(), WHO),
    Good("ListHolds", pb.ListHoldsRequest(), WHO),
    Good("ListDue", pb.ListDueRequest(), WHO),
    Good("ListPersonal", PERSONAL, WHO, "erasure", ("erasure",)),
    Good("GetRetention", pb.GetRetentionRequest(), WHO),
    Good("ListEpochs", pb.ListEpochsRequest(), WHO),
)


def _bad(rpc: str, what: str, request: object, field: str) -> Bad:
    return Bad(rpc, what, request, WHO, INVALID, field)  # type: ignore[arg-type]  # a message


MORE: Sequence[Bad] = (
    _bad(
        "RequestErasure",
        "on the clock's own ground",
        pb.RequestErasureRequest(
            subject="erin", basis=pb.BASIS_RETENTION, reason="it is time"
        ),
        "basis",
    ),
    _bad(
        "RequestErasure",
        "for a reason that names them",
        pb.RequestErasureRequest(
            subject="erin", basis=pb.BASIS_OBJECTION, reason="erin wrote"
        ),
        "reason",
    ),
    _bad(
        "PlaceHold",
        "for a matter that names them",
        pb.PlaceHoldRequest(
            hold="case-3", subject="erin", matter="Erin v. Bank", reason="a letter"
        ),
        "matter",
    ),
    _bad(
        "ListPersonal",
        "a token of nobody's",
        pb.ListPersonalRequest(subject="erin", page=Page(token="later")),  # noqa: S106  # of a page
        "token",
    ),
    _bad(
        "ListErasures",
        "a page too large",
        pb.ListErasuresRequest(page=Page(size=MANY)),
        "size",
    ),
)

"""The inventory's table: request to command, row to response."""

from __future__ import annotations

from io import BytesIO
from typing import Final, TypeVar

from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import NotFound
from modelkeep.identity import FIRST_LINE, PEOPLE, ROLES, SECOND_LINE
from modelkeep.objects import artifacts_of
from modelkeep.service import (
    Asked,
    Host,
    Personal,
    Service,
    Target,
    Write,
    read,
    write,
)
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory import domain, views
from modelkeep_services.inventory import queries as q
from modelkeep_services.inventory.cards import read_card
from modelkeep_services.inventory.reactions import REACTORS
from modelkeep_services.inventory.signatures import checked_signature

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["InventoryService"]

M = TypeVar("M", bound=c.ModelCommand)

BUILD: Final = frozenset({"owner", "engineer"})
RUN: Final = frozenset({"owner", "engineer", "operator"})
CHALLENGE: Final = frozenset({"risk_officer", "validator"})
STOP: Final = RUN | {"risk_officer", "business_owner"}
INDEPENDENT: Final = frozenset({"validator", "auditor"})
RISK: Final = frozenset({"risk_officer"})


def model_stream(command: c.ModelCommand, _: Context) -> Target:
    return Target("model", command.model)


def appetite_stream(command: c.SetAppetite, _: Context) -> Target:
    return Target("appetite", command.business_line)


def _ask(command: type[M], roles: frozenset[str]) -> Write:
    """A command of a model, named as its RPC is."""
    return write(command.__name__, command, domain.MODEL, model_stream, roles)


def checked_card(command: c.AttachCard, asked: Asked) -> c.AttachCheckedCard:
    """Read the card and keep it; what is decided is that it was attached."""
    key = f"{command.model}/{command.version}"
    if asked.read.get(views.versions, key) is None:
        raise NotFound("version", key)
    card = read_card(command.card)
    artifacts_of(asked.host.home).put(BytesIO(command.card))
    return c.AttachCheckedCard(
        model=command.model,
        version=command.version,
        digest=command.digest,
        card_digest=card.digest,
        size=len(command.card),
        hashes=card.hashes,
    )


WRITES = [
    _ask(c.RegisterModel, FIRST_LINE),
    _ask(c.DecideScope, FIRST_LINE | CHALLENGE),
    _ask(c.ApproveUses, CHALLENGE | {"business_owner"}),
    _ask(c.SetBoundaries, FIRST_LINE | CHALLENGE),
    _ask(c.ClassifyRisk, FIRST_LINE | CHALLENGE),
    _ask(c.OverrideTier, SECOND_LINE),
    write(
        "AssignRole",
        c.AssignRole,
        domain.MODEL,
        model_stream,
        FIRST_LINE | CHALLENGE | {"auditor"},
        sealed={"contact": Personal("subject", "contact")},
    ),
    _ask(c.VacateRole, FIRST_LINE | CHALLENGE | {"auditor"}),
    _ask(c.RegisterVersion, RUN),
    write(
        "AttachCard",
        c.AttachCard,
        domain.MODEL,
        model_stream,
        RUN,
        prepare=checked_card,
    ),
    write(
        "AttachSignature",
        c.AttachSignature,
        domain.MODEL,
        model_stream,
        RUN,
        prepare=checked_signature,
    ),
    _ask(c.RecordValidation, frozenset({"validator"})),
    _ask(c.ClassifyChange, RUN | CHALLENGE),
    _ask(c.ApproveEnvelope, CHALLENGE),
    _ask(c.Deploy, RUN),
    _ask(c.SetTraffic, RUN),
    _ask(c.Rollback, STOP),
    _ask(c.Suspend, STOP),
    _ask(c.Resume, RISK),
    _ask(c.Retire, frozenset({"owner", "business_owner"})),
    _ask(c.ScheduleReview, FIRST_LINE | CHALLENGE | {"auditor"}),
    _ask(c.CompleteReview, CHALLENGE | {"auditor"}),
    _ask(c.ProposeSla, FIRST_LINE | CHALLENGE | {"auditor"}),
    _ask(c.AcceptSla, FIRST_LINE | CHALLENGE | {"auditor"}),
    _ask(c.DefineSlo, FIRST_LINE | RISK),
    _ask(c.RecordKpi, FIRST_LINE | {"operator"}),
    _ask(c.RaiseFinding, SECOND_LINE | {"auditor"}),
    _ask(c.RespondToFinding, FIRST_LINE),
    _ask(c.CloseFinding, INDEPENDENT),
    _ask(c.AcceptRisk, RISK),
    write(
        "SetAppetite",
        c.SetAppetite,
        domain.APPETITE,
        appetite_stream,
        RISK | {"business_owner"},
    ),
]

READERS: Final = PEOPLE | {"operator", "privacy_officer"}

READS = [
    read("GetModel", q.get_model, READERS),
    read("ListModels", q.list_models, READERS),
    read("ListHistory", q.list_history, READERS),
    read("GetVersion", q.get_version, READERS),
    read("ListVersions", q.list_versions, READERS),
    read("GetCard", q.get_card, READERS),
    read("ListDeployments", q.list_deployments, READERS),
    read("ListVerdicts", q.list_verdicts, READERS),
    read("ListFindings", q.list_findings, READERS),
    read("ListReviews", q.list_reviews, READERS),
    read("ListSlas", q.list_slas, READERS),
    read("ListSlos", q.list_slos, READERS),
    read("ListKpis", q.list_kpis, READERS),
    read("ListRoles", q.list_roles, READERS),
    read("ListUses", q.list_uses, READERS),
    read("GetAppetite", q.get_appetite, READERS),
    read("Resolve", q.resolve, ROLES),
]


VIEWS: Final = views.VIEWS


def service(_: Host) -> Service:
    return Service(
        name="inventory",
        descriptor=DESCRIPTOR,
        writes=WRITES,
        reads=READS,
        views=VIEWS,
        reactors=REACTORS,
    )

"""The audit's table: it reads, proves and signs beside the ledger; it never writes."""

from __future__ import annotations

from functools import partial

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.errors import Invalid
from modelkeep.identity import PEOPLE
from modelkeep.keyring import purpose_key
from modelkeep.proof.merkle import consistency_proof, root_at
from modelkeep.service import Asked, Host, Service, read
from modelkeep_services.audit import attest, dossier, events, moments
from modelkeep_services.audit.as_of import as_of
from modelkeep_services.audit.notary import Notary, published
from modelkeep_services.audit.outside import Outside
from modelkeep_services.audit.trees import tree_of
from modelkeep_services.audit.views import VIEWS
from modelkeep_services.audit.why import why

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["AuditService"]
AUDITORS = frozenset({"auditor", "operator"})


def get_checkpoint(
    notary: Notary, _: pb.GetCheckpointRequest, __: Asked
) -> pb.GetCheckpointResponse:
    return pb.GetCheckpointResponse(checkpoint=events.checkpoint(notary, notary.sign()))


def get_inclusion(
    notary: Notary, request: pb.GetInclusionRequest, asked: Asked
) -> pb.GetInclusionResponse:
    recorded = events.find(asked, request.event_id)
    return pb.GetInclusionResponse(inclusion=events.include(notary, recorded))


def get_consistency(
    notary: Notary, request: pb.GetConsistencyRequest, _: Asked
) -> pb.GetConsistencyResponse:
    signed = notary.sign()
    nodes, size = signed.nodes, signed.checkpoint.size
    new = request.new_size if request.HasField("new_size") else size
    if not 0 <= new <= size:
        raise Invalid.field("new_size", f"{size} events were signed, not {new}")
    if not 0 <= request.old_size <= new:
        raise Invalid.field("old_size", f"is not between 0 and {new}")
    return pb.GetConsistencyResponse(
        old_size=request.old_size,
        new_size=new,
        old_root=root_at(nodes, request.old_size),
        new_root=root_at(nodes, new),
        proof=consistency_proof(nodes, request.old_size, new),
        checkpoint=events.checkpoint(notary, signed),
    )


def get_event(request: pb.GetEventRequest, asked: Asked) -> pb.GetEventResponse:
    return pb.GetEventResponse(event=events.told(events.find(asked, request.event_id)))


def list_events(request: pb.ListEventsRequest, asked: Asked) -> pb.ListEventsResponse:
    bound = moments.moment_of(asked, request.as_of).bound
    found, token = events.list_events(asked, request.stream, request.page, bound)
    return pb.ListEventsResponse(events=found, next_token=token)


def attest_views(
    notary: Notary, request: pb.AttestRequest, asked: Asked
) -> pb.AttestResponse:
    moment = moments.moment_of(asked, request.as_of)
    return pb.AttestResponse(
        moment=moments.told(asked, request.as_of, moment),
        digests=attest.digests(asked.read),
        checkpoint=events.checkpoint(notary, notary.sign()),
    )


def service(host: Host, *, carries: bool = False) -> Service:
    """Build it. One that `carries` takes checkpoints to whom the environment names: a
    process that lives for one question does not.
    """
    tree = tree_of(host.home, host.store)
    outside = Outside.configured(host.home) if carries else None
    notary = Notary(host.home, tree, published(host.home), host.clock.now, outside)
    notary.start()
    return Service(
        name="audit",
        descriptor=DESCRIPTOR,
        reads=[
            read("GetCheckpoint", partial(get_checkpoint, notary), AUDITORS),
            read("GetInclusion", partial(get_inclusion, notary), PEOPLE),
            read("GetConsistency", partial(get_consistency, notary), AUDITORS),
            read("GetEvent", get_event, PEOPLE),
            read("ListEvents", list_events, AUDITORS),
            read("Why", partial(why, notary), PEOPLE),
            read("AsOf", as_of, PEOPLE),
            read("Attest", partial(attest_views, notary), AUDITORS),
            read(
                "GetDossier",
                partial(
                    dossier.get_dossier,
                    notary,
                    purpose_key(host.home, dossier.DOSSIERS),
                ),
                dossier.READERS,
            ),
        ],
        views=VIEWS,
        closing=notary.close,
    )

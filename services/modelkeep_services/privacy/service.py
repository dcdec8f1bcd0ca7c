"""Privacy's table: request to command, row to response."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.api.privacy.v1 import privacy_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Corrupt, Invalid, NotFound, Violation
from modelkeep.events.base import decode
from modelkeep.events.types import Sealed
from modelkeep.keystore import ERASED
from modelkeep.paging import DEFAULT_SIZE, page
from modelkeep.service import (
    Asked,
    Host,
    Service,
    Target,
    asked_time,
    read,
    write,
)
from modelkeep.store.port import NO_STREAM
from modelkeep.wire import fill, values
from modelkeep_services.privacy import domain, finding, views
from modelkeep_services.privacy.bulk import due_records
from modelkeep_services.privacy.reactions import Turning, carry_out, reactors
from modelkeep_services.privacy.retention import DIGEST, RETENTION

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["PrivacyService"]

ASKERS: Final = frozenset({"privacy_officer", "operator"})
APPROVERS: Final = frozenset({"privacy_officer", "risk_officer"})
HOLDERS: Final = frozenset({"privacy_officer", "risk_officer", "auditor"})
RELEASERS: Final = frozenset({"privacy_officer", "risk_officer"})
READERS: Final = ASKERS | HOLDERS
OFFICER: Final = frozenset({"privacy_officer"})
MAX_DIGITS: Final = 8
AROUND: Final = frozenset({"as_of", "not_before", "page"})


# --- streams -----------------------------------------------------------------------


def new_erasure(_: domain.RequestErasure, context: Context) -> Target:
    return Target("erasure", context.command_id)


def erasure_stream(
    command: domain.ApproveErasure | domain.RejectErasure, _: Context
) -> Target:
    return Target("erasure", command.erasure)


def hold_stream(command: domain.PlaceHold | domain.ReleaseHold, _: Context) -> Target:
    return Target("hold", command.hold)


def new_turn(_: domain.TurnKeys, context: Context) -> Target:
    return Target("keeping", context.command_id)


# --- rows to messages --------------------------------------------------------------


def erasure_message(row: views.ErasureRow, asked: Asked) -> pb.Erasure:
    found = fill(pb.Erasure(), row)
    keystore, tenant = asked.host.keystore, asked.actor.tenant
    for key in found.keys:
        key.subject = finding.subject_of(keystore, tenant, key.key_id)
    if row.status == "requested":
        key_ids = [one.key_id for one in row.keys]
        against = finding.holds(asked.read, keystore, key_ids)
        found.holds.extend(one.hold for one in against)
    elif row.stopped_by is not None:
        found.holds.append(row.stopped_by)
    return found


def hold_message(row: views.HoldRow, asked: Asked) -> pb.Hold:
    found = fill(pb.Hold(), row)
    if row.about is not None:
        tenant = asked.actor.tenant
        found.subject = asked.host.keystore.named(tenant, row.about) or ERASED
    return found


def tell_erasure(
    answer: pb.RequestErasureResponse
    | pb.ApproveErasureResponse
    | pb.RejectErasureResponse,
    _: object,
    asked: Asked,
) -> None:
    row = asked.read.get(views.erasures, answer.written.id)
    if row is not None:
        answer.erasure.CopyFrom(erasure_message(row, asked))


# --- reads -------------------------------------------------------------------------


def found(erasure: str, asked: Asked) -> views.ErasureRow:
    row = asked.read.get(views.erasures, erasure)
    if row is None:
        raise NotFound("erasure", erasure)
    return row


def get_erasure(asking: pb.GetErasureRequest, asked: Asked) -> pb.GetErasureResponse:
    row = found(asking.erasure, asked)
    return pb.GetErasureResponse(erasure=erasure_message(row, asked))


def list_erasures(
    asking: pb.ListErasuresRequest, asked: Asked
) -> pb.ListErasuresResponse:
    rows, token = page(asked.read, views.erasures, asking.page)
    told = [erasure_message(row, asked) for _, row in rows]
    return pb.ListErasuresResponse(
        erasures=[one for one in told if asking.status in {0, one.status}],
        next_token=token,
    )


def list_holds(asking: pb.ListHoldsRequest, asked: Asked) -> pb.ListHoldsResponse:
    view = views.holds if asking.released else views.standing
    rows, token = page(asked.read, view, asking.page)
    return pb.ListHoldsResponse(
        holds=[hold_message(row, asked) for _, row in rows], next_token=token
    )


def list_due(asking: pb.ListDueRequest, asked: Asked) -> pb.ListDueResponse:
    said = values(asking, skip=AROUND).get("by")  # Invalid, where it is no time
    by = said if isinstance(said, datetime) else asked_time(asking, asked)
    beyond = views.due_before(by)
    rows, token = page(asked.read, views.kept, asking.page, "due/")
    due = [row for key, row in rows if key <= beyond]
    answer = pb.ListDueResponse(
        due=[due_message(row, asked) for row in due],
        next_token=token if len(due) == len(rows) else "",
    )
    if not asking.page.token:
        for one in due_records(asked.host.home.decisions / asked.actor.tenant, by):
            fill(answer.records.add(), one)
    return answer


def due_message(row: views.KeptRow, asked: Asked) -> pb.Due:
    keystore, tenant = asked.host.keystore, asked.actor.tenant
    told = fill(pb.Due(), row)
    told.key.key_id, told.key.purpose = row.key_id, row.purpose
    told.key.subject = finding.subject_of(keystore, tenant, row.key_id)
    against = finding.holds(asked.read, keystore, [row.key_id])
    told.holds.extend(one.hold for one in against)
    return told


def list_personal(
    asking: pb.ListPersonalRequest, asked: Asked
) -> pb.ListPersonalResponse:
    """Key after key: a page's token says which key, and where in it."""
    key_ids = _key_ids(asking, asked)
    number, within = _place(asking.page.token, len(key_ids))
    size = asking.page.size or DEFAULT_SIZE
    told = pb.ListPersonalResponse()
    while number < len(key_ids) and len(told.fields) < size:
        rest = Page(size=size - len(told.fields), token=within)
        rows, within = page(asked.read, views.fields, rest, f"{key_ids[number]}/")
        told.fields.extend(field_message(row, asked) for _, row in rows)
        number += not within
    if number < len(key_ids):
        told.next_token = f"{number}:{within}"
    return told


def _place(token: str, keys: int) -> tuple[int, str]:
    number, _, within = token.partition(":") if token else ("0", "", "")
    if not (number.isascii() and number.isdigit() and len(number) < MAX_DIGITS):
        raise Invalid.field("page.token", "is not one this service gave")
    if int(number) > keys:
        raise Invalid.field("page.token", "is not one this service gave")
    return int(number), within


def _key_ids(asking: pb.ListPersonalRequest, asked: Asked) -> list[str]:
    keystore, tenant = asked.host.keystore, asked.actor.tenant
    match asking.WhichOneof("of"):
        case "subject":
            living = [one.key_id for one in keystore.keys_of(tenant, asking.subject)]
            stones = keystore.destroyed(tenant, asking.subject)
            ids = [*(one.key_id for one in stones), *living]
            if not ids:
                raise NotFound("subject with personal fields called", asking.subject)
            return ids
        case "erasure":
            return [one.key_id for one in found(asking.erasure, asked).keys]
    raise Invalid(
        Violation("subject", "say whose"), Violation("erasure", "or of which erasure")
    )


def field_message(row: views.FieldRow, asked: Asked) -> pb.PersonalField:
    told = fill(pb.PersonalField(), row)
    told.text = asked.host.keystore.open(
        asked.actor.tenant, row.field, sealed_at(row, asked.host)
    )
    return told


def sealed_at(row: views.FieldRow, host: Host) -> Sealed:
    """Read it where it is: in the log. Raises Corrupt when it is not there any more."""
    after = row.version - 1 if row.version else NO_STREAM
    recorded = next(
        iter(host.store.read_stream(row.stream, after=after, limit=1)), None
    )
    if recorded is None or str(recorded.uuid) != row.event_id:
        raise Corrupt(f"event {row.event_id} is not at {row.stream}@{row.version}")
    event = decode(recorded.name, recorded.schema_version, recorded.data)
    sealed = getattr(event, row.field, None)
    if not isinstance(sealed, Sealed):
        raise Corrupt(f"{row.field} of event {row.event_id} is not sealed")
    return sealed


def get_retention(_: pb.GetRetentionRequest, __: Asked) -> pb.GetRetentionResponse:
    told = fill(pb.GetRetentionResponse(digest=DIGEST), RETENTION)
    told.document = RETENTION.version
    return told


def list_epochs(_: pb.ListEpochsRequest, asked: Asked) -> pb.ListEpochsResponse:
    told = pb.ListEpochsResponse()
    for one in asked.host.keystore.epochs():
        fill(told.epochs.add(epoch=one.name), one)
    return told


# --- the table ---------------------------------------------------------------------


WRITES: Final = [
    write(
        "RequestErasure",
        domain.RequestErasure,
        domain.ERASURE,
        new_erasure,
        ASKERS,
        named=("subject",),
        prepare=finding.erasure,
        respond=tell_erasure,
    ),
    write(
        "ApproveErasure",
        domain.ApproveErasure,
        domain.ERASURE,
        erasure_stream,
        APPROVERS,
        prepare=finding.agreed,
        respond=tell_erasure,
    ),
    write(
        "RejectErasure",
        domain.RejectErasure,
        domain.ERASURE,
        erasure_stream,
        APPROVERS,
        respond=tell_erasure,
    ),
    write(
        "PlaceHold",
        domain.PlaceHold,
        domain.HOLD,
        hold_stream,
        HOLDERS,
        named=("subject",),
        prepare=finding.hold,
    ),
    write("ReleaseHold", domain.ReleaseHold, domain.HOLD, hold_stream, RELEASERS),
    write("TurnKeys", domain.TurnKeys, domain.KEEPING, new_turn, ASKERS),
]

READS: Final = [
    read("GetErasure", get_erasure, READERS),
    read("ListErasures", list_erasures, READERS),
    read("ListHolds", list_holds, READERS),
    read("ListDue", list_due, READERS),
    read("ListPersonal", list_personal, OFFICER),
    read("GetRetention", get_retention, READERS),
    read("ListEpochs", list_epochs, READERS),
]

VIEWS: Final = views.VIEWS


def service(host: Host) -> Service:
    """Destroys first what the log says is destroyed, should the keystore be an older
    one.
    """
    carry_out(host)
    turning = Turning(host.keystore)
    turning.start()
    return Service(
        name="privacy",
        descriptor=DESCRIPTOR,
        writes=WRITES,
        reads=READS,
        views=VIEWS,
        reactors=reactors(host.keystore),
        closing=turning.close,
    )

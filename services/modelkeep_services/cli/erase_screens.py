"""What `modelkeep erase` shows: erasures, holds, what is due, the keys' epochs."""

from __future__ import annotations

from google.protobuf.message import Message

from modelkeep.api.privacy.v1 import privacy_pb2 as pb
from modelkeep_services.cli import screen
from modelkeep_services.cli.screen import fact, heading, line, table, word


def erasures(answer: pb.ListErasuresResponse, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(answer)
        return
    rows = [
        (
            one.erasure,
            word(_status(one)),
            ", ".join(sorted({key.subject for key in one.keys})),
            screen.day(one.requested_at),
            ", ".join(one.holds),
        )
        for one in answer.erasures
    ]
    table(("erasure", "status", "subject", "asked on", "holds"), rows)


def fields(answer: pb.ListPersonalResponse, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(answer)
        return
    rows = [
        (
            screen.day(one.known_at),
            one.event_name,
            one.field,
            one.purpose,
            one.text,
        )
        for one in answer.fields
    ]
    table(("known on", "event", "field", "purpose", "text"), rows)


def due(answer: pb.ListDueResponse, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(answer)
        return
    rows = [
        (
            screen.day(one.due_at),
            one.key.purpose,
            one.key.subject,
            one.key.key_id,
            ", ".join(one.holds),
        )
        for one in answer.due
    ]
    table(("due on", "purpose", "subject", "key", "holds"), rows)
    if answer.records:
        heading("Records without keys: nothing here deletes them")
        months = [
            (
                screen.day(one.due_at),
                one.kind,
                one.model,
                one.month,
                f"{one.objects:,}",
                f"{one.bytes:,}",
            )
            for one in answer.records
        ]
        table(("due on", "kind", "model", "month", "objects", "bytes"), months)


def retention(answer: pb.GetRetentionResponse, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(answer)
        return
    heading(f"{answer.document} {screen.short(answer.digest)}")
    line(answer.says)
    rows = [
        (one.kind, f"{one.keep_days:,} days", _by_key(one), one.says)
        for one in answer.classes
    ]
    table(("kind", "kept", "erased", "says"), rows)


def holds(answer: pb.ListHoldsResponse, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(answer)
        return
    rows = [
        (
            one.hold,
            one.matter,
            one.subject or "everybody",
            ", ".join(one.purposes) or "all",
            screen.day(one.placed_at),
            screen.day(one.released_at) if one.HasField("released_at") else "",
        )
        for one in answer.holds
    ]
    table(("hold", "matter", "subject", "purposes", "placed", "released"), rows)


def erasure(found: pb.Erasure, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(found)
        return
    heading(f"Erasure {found.erasure}")
    fact("status", word(_status(found)))
    fact("basis", _spelled(pb.Basis.Name(found.basis), "BASIS_"))
    fact("reason", found.reason)
    fact("asked by", _who(found.requested_by.subject, found.requested_by.issuer))
    if found.HasField("decided_by"):
        fact("decided by", _who(found.decided_by.subject, found.decided_by.issuer))
    if found.said:
        fact("because", found.said)
    if found.status == pb.ERASURE_STATUS_REQUESTED:
        fact("open until", screen.instant(found.until))
    for hold in found.holds:
        fact("hold", hold)
    rows = [
        (
            one.key_id,
            one.purpose or "all",
            one.subject,
            screen.instant(one.destroyed_at) if one.HasField("destroyed_at") else "",
        )
        for one in found.keys
    ]
    table(("key", "purpose", "subject", "destroyed"), rows)


def epochs(answer: pb.ListEpochsResponse, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(answer)
        return
    rows = [
        (
            one.epoch,
            screen.day(one.since),
            screen.day(one.until) if one.HasField("until") else "current",
            screen.day(one.ended) if one.HasField("ended") else "",
            f"{one.keys:,}",
        )
        for one in answer.epochs
    ]
    table(("epoch", "since", "until", "ended", "keys"), rows)


def done(said: str, answer: Message, *, as_json: bool) -> None:
    if as_json:
        screen.say_json(answer)
    else:
        line(said)


def _status(one: pb.Erasure) -> str:
    return _spelled(pb.ErasureStatus.Name(one.status), "ERASURE_STATUS_")


def _spelled(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", "-")


def _who(subject: str, issuer: str) -> str:
    return f"{subject} ({issuer})"


def _by_key(one: pb.RetentionClass) -> str:
    return "by its keys" if one.erased_by_key else "not at all"

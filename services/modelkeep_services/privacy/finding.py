"""What only the keystore and views know: whose keys there are, and what holds stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelkeep.errors import Invalid
from modelkeep.events.privacy import NamedKey
from modelkeep.keystore import ERASED, EVERY_PURPOSE, Keystore, SubjectKey
from modelkeep.service import Asked
from modelkeep.views import Reader
from modelkeep_services.privacy import domain, views
from modelkeep_services.privacy.retention import RETENTION


def erasure(command: domain.RequestErasure, asked: Asked) -> domain.RequestFoundErasure:
    """Find what is to be destroyed. Raises Invalid where the reason names them."""
    nameless("reason", command.reason, command.subject)
    tenant, keystore = asked.actor.tenant, asked.host.keystore
    living = keystore.keys_of(tenant, command.subject)
    keys = _wanted(living, command.purposes)
    return domain.RequestFoundErasure(
        subject=command.subject,
        about=keystore.name_of(tenant, command.subject),
        subject_keys=keys,
        basis=command.basis,
        reason=command.reason,
        until=asked.now + RETENTION.open_for,
        gone=_gone(command, asked),
        bundled=not keys and any(one.purpose == EVERY_PURPOSE for one in living),
        waiting=_waiting(asked.read, keys),
    )


def _wanted(
    living: Iterable[SubjectKey], purposes: Sequence[str]
) -> tuple[NamedKey, ...]:
    return tuple(
        NamedKey(key_id=one.key_id, purpose=one.purpose)
        for one in living
        if not purposes or one.purpose in purposes
    )


def _gone(command: domain.RequestErasure, asked: Asked) -> str:
    stones = asked.host.keystore.destroyed(asked.actor.tenant, command.subject)
    for one in reversed(stones):
        if not command.purposes or one.purpose in {"", *command.purposes}:
            return f"erasure {one.erasure} on {one.at:%Y-%m-%d}"
    return ""


def _waiting(read: Reader, keys: Iterable[NamedKey]) -> str | None:
    found = (read.get(views.open_keys, one.key_id) for one in keys)
    return next((one.erasure for one in found if one is not None), None)


def nameless(field: str, text: str, subject: str) -> None:
    """What stays in the log for ever must not say who, not even by an opaque id."""
    if subject.casefold() in text.casefold():
        raise Invalid.field(field, "stays in the log for ever: do not name them in it")


def agreed(command: domain.ApproveErasure, asked: Asked) -> domain.ApproveErasure:
    row = asked.read.get(views.erasures, command.erasure)
    keys = () if row is None else row.keys
    against = holds(asked.read, asked.host.keystore, [one.key_id for one in keys])
    found = tuple(domain.Holding(hold=one.hold, matter=one.matter) for one in against)
    return command.model_copy(update={"holds": found})


def hold(command: domain.PlaceHold, asked: Asked) -> domain.PlaceFoundHold:
    """Raises Invalid where the matter or the reason names them."""
    about: str | None = None
    tenant, keystore = asked.actor.tenant, asked.host.keystore
    if command.subject is not None:
        nameless("matter", command.matter, command.subject)
        nameless("reason", command.reason, command.subject)
        about = keystore.name_of(tenant, command.subject)
    said = command.model_dump(exclude={"subject"})
    found = domain.PlaceFoundHold(**said, about=about)
    return found.model_copy(update={"too_late": _too_late(found, asked)})


def _too_late(command: domain.PlaceFoundHold, asked: Asked) -> str | None:
    """Name an erasure that is approved and not done, of what it would hold."""
    row = views.HoldRow(
        command.hold,
        command.about,
        command.purposes,
        command.matter,
        command.reason,
        asked.actor.person,
        asked.now,
    )
    for key_id, one in asked.read.scan(views.open_keys):
        key = asked.host.keystore.whose(asked.actor.tenant, key_id)
        if one.approved and key is not None:
            about = asked.host.keystore.name_of(asked.actor.tenant, key.subject)
            if row.forbids(about, key.purpose):
                return one.erasure
    return None


def holds(
    read: Reader, keystore: Keystore, key_ids: Iterable[str]
) -> list[views.HoldRow]:
    """The holds that stand against destroying these keys, by name."""
    standing = [row for _, row in read.scan(views.standing)]
    if not standing:
        return []
    found: dict[str, views.HoldRow] = {}
    for key_id in key_ids:
        key = keystore.whose(read.tenant, key_id)
        if key is None:
            continue
        about = keystore.name_of(read.tenant, key.subject)
        found |= {row.hold: row for row in standing if row.forbids(about, key.purpose)}
    return [found[name] for name in sorted(found)]


def subject_of(keystore: Keystore, tenant: str, key_id: str) -> str:
    key = keystore.whose(tenant, key_id)
    return ERASED if key is None else key.subject

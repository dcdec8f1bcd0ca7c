"""What follows an approval: keys are destroyed. And what the clock puts forward.

The one place that touches keys. What it does can be done again: a crash between the
keystore and the log costs a second look, and what the log says is destroyed is so in
whatever keystore is found beside it (`carry_out`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from modelkeep.errors import ModelkeepError
from modelkeep.events.base import decode
from modelkeep.events.clock import Ticked
from modelkeep.events.privacy import (
    ErasureApproved,
    KeysTurnOrdered,
    NamedKey,
    SubjectKeyDestroyed,
)
from modelkeep.keystore import Keystore
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.service import Host
from modelkeep.store.port import START, Filter
from modelkeep.timekeeper import Due, fallen
from modelkeep.views import Fact, Reader
from modelkeep_services.privacy import finding, views
from modelkeep_services.privacy.domain import (
    ERASURE,
    KEEPING,
    ExpireErasure,
    ProposeErasure,
    RecordDestruction,
    RecordSweep,
    RecordTurn,
    StopErasure,
)
from modelkeep_services.privacy.retention import RETENTION

log = logging.getLogger(__name__)

BATCH: Final = 100
"""Keys in one proposal."""
LOOK_S: Final = 3_600.0
PROPOSALS: Final = uuid5(NAMESPACE_OID, "modelkeep.retention")


def reactors(keystore: Keystore) -> tuple[Reactor, ...]:
    return (_eraser(keystore), _clock(keystore), _turner(keystore))


def _eraser(keystore: Keystore) -> Reactor:
    eraser = Reactor("privacy.eraser")

    @eraser.on(ErasureApproved)
    def erase(event: ErasureApproved, fact: Fact, read: Reader) -> Iterator[Reaction]:
        """A hold that came before the approval in the log wins, however late it was
        heard of. After that nothing does.
        """
        stream = stream_name("erasure", fact.tenant, event.erasure)
        key_ids = [one.key_id for one in event.subject_keys]
        against = finding.holds(read, keystore, key_ids)
        if against:
            stop = StopErasure(erasure=event.erasure, hold=against[0].hold)
            yield Reaction(stream, ERASURE, stop)
            return
        keystore.destroy(fact.tenant, key_ids, event.erasure, fact.known_at)
        yield Reaction(stream, ERASURE, RecordDestruction(erasure=event.erasure))

    return eraser


def _turner(keystore: Keystore) -> Reactor:
    turner = Reactor("privacy.turner")

    @turner.on(KeysTurnOrdered)
    def turn(event: KeysTurnOrdered, fact: Fact, _: Reader) -> Iterator[Reaction]:
        # By the machine's clock: copies of the keystore age by it.
        now = datetime.now(UTC)
        epoch = keystore.rotate(now, event.order)
        if event.end_previous:
            end_previous(keystore, now)
        ended = tuple(one.name for one in keystore.epochs() if one.ended)
        stream = stream_name("keeping", fact.tenant, event.order)
        yield Reaction(stream, KEEPING, RecordTurn(epoch=epoch, ended=ended))

    return turner


def end_previous(keystore: Keystore, now: datetime) -> None:
    lost = keystore.give_up()
    if lost:
        log.warning("%d keys were given up: their epochs are not here", lost)
    for one in keystore.epochs():
        if one.until is not None and one.ended is None:
            keystore.end(one.name, now)


# --- the clock ---------------------------------------------------------------------


def _clock(keystore: Keystore) -> Reactor:
    clock = Reactor("privacy.clock")

    @clock.on(Ticked)
    def ticked(event: Ticked, fact: Fact, read: Reader) -> Iterator[Reaction]:
        for tenant in read.tenants(views.due):
            theirs = read.other(tenant)
            over = fallen(theirs, views.due, event.instant)
            yield from _expiries(over, tenant)
            if any(one.kind == views.RETENTION_DUE for one in over):
                yield from _sweep(keystore, theirs, event.instant, fact)

    return clock


def _expiries(over: Iterable[Due], tenant: str) -> Iterator[Reaction]:
    for one in over:
        if one.kind == views.EXPIRY:
            stream = stream_name("erasure", tenant, one.subject)
            command = ExpireErasure(erasure=one.subject)
            yield Reaction(stream, ERASURE, command, tenant=tenant)


def _sweep(
    keystore: Keystore, read: Reader, instant: datetime, fact: Fact
) -> Iterator[Reaction]:
    """Put forward what is due and not held, a purpose at a time."""
    proposed = 0
    for purpose, keys in _due(keystore, read, instant).items():
        for at in range(0, len(keys), BATCH):
            some = tuple(keys[at : at + BATCH])
            proposed += len(some)
            yield _proposal(some, purpose, read.tenant, fact)
    for looked in _looks(read, instant):
        month = f"{looked:%Y-%m}"
        command = RecordSweep(
            due_at=looked, document=RETENTION.version, proposed=proposed
        )
        proposed = 0  # said once, however many looks were missed
        stream = stream_name("keeping", read.tenant, f"retention-{month}")
        yield Reaction(stream, KEEPING, command, tenant=read.tenant, part=month)


def _due(
    keystore: Keystore, read: Reader, instant: datetime
) -> dict[str, list[NamedKey]]:
    found: dict[str, list[NamedKey]] = {}
    beyond = views.due_before(instant)
    for at, row in read.scan(views.kept, "due/"):
        if at > beyond:
            break
        key = keystore.whose(read.tenant, row.key_id)
        if (
            key is None
            or read.get(views.open_keys, row.key_id) is not None
            or finding.holds(read, keystore, [row.key_id])
        ):
            continue
        named = NamedKey(key_id=key.key_id, purpose=key.purpose)
        found.setdefault(row.purpose, []).append(named)
    return found


def _proposal(
    keys: tuple[NamedKey, ...], purpose: str, tenant: str, fact: Fact
) -> Reaction:
    told = f"{fact.id}/{tenant}/{keys[0].key_id}"
    erasure = str(uuid5(PROPOSALS, told))
    days = RETENTION.of[purpose].keep_days
    command = ProposeErasure(
        erasure=erasure,
        subject_keys=keys,
        reason=f"{purpose}: {days} days have passed ({RETENTION.version})",
        until=fact.known_at + RETENTION.open_for,
        document=RETENTION.version,
    )
    stream = stream_name("erasure", tenant, erasure)
    return Reaction(stream, ERASURE, command, tenant=tenant)


def _looks(read: Reader, instant: datetime) -> list[datetime]:
    """When the clock was to look, of what has passed."""
    rows = read.scan(views.due)
    found = [
        datetime.fromisoformat(key.partition("/")[0])
        for key, row in rows
        if row.kind == views.RETENTION_DUE
    ]
    return [at for at in found if at <= instant]


# --- what the keystore must have heard -----------------------------------------------


def carry_out(host: Host) -> int:
    """Destroy what the log says is destroyed, and return how many keys were still
    there: none, unless an older keystore was put back.
    """
    keystore, head = host.keystore, host.store.head()
    after = START if keystore.heard is None else keystore.heard
    if after > head:
        after = START  # it heard of another log
    only = Filter("name", (SubjectKeyDestroyed.event_name,))
    found = 0
    for recorded in host.store.read_all(after=after, only=only):
        event = decode(recorded.name, recorded.schema_version, recorded.data)
        if isinstance(event, SubjectKeyDestroyed):
            meta = recorded.meta
            at = datetime.fromisoformat(meta["known_at"])
            gone = keystore.destroy(meta["tenant"], [event.key_id], event.erasure, at)
            found += len(gone)
    keystore.hear(head)
    if found:
        log.warning("an older keystore: %d keys in it were destroyed again", found)
    return found


class Turning:
    """Turns the keys in time, in a thread: by the machine's clock, as backups age."""

    def __init__(self, keystore: Keystore) -> None:
        self._keystore = keystore
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while True:
            with suppress(ModelkeepError):  # in use, or not reached: in an hour
                self._keystore.turn(datetime.now(UTC))
            if self._closing.wait(LOOK_S):
                return

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

"""Appends a tick when something falls due, and only then.

A service keeps what falls due in a view called `due`, keyed by instant. Under a live
clock this thread looks at the first keys of each service's `due` view, and ticks the
instants that have passed, in order. Under a scenario's clock it does nothing: the
scenario ticks.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self, cast
from uuid import uuid5

from modelkeep.clock import CLOCK, CLOCK_STREAM, SystemClock, Tick
from modelkeep.decider import Actor, Context
from modelkeep.errors import ModelkeepError, Refused, Unavailable
from modelkeep.identity import DEFAULT_TENANT
from modelkeep.ledger import EVENT_IDS, Order, body_hash
from modelkeep.service import Host
from modelkeep.views import Reader, View
from modelkeep.viewset import ViewSet

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
LOOKED_AT: Final = 100
KEEPER: Final = Actor(
    "modelkeep", "timekeeper", frozenset({"operator"}), DEFAULT_TENANT, human=False
)


@dataclass(frozen=True)
class Due:
    """Something that falls due: what kind, and of what."""

    kind: str
    subject: str


def due_view(*, version: int = 1) -> View[Due]:
    """Declare a service's own `due` view; add its `on` functions there."""
    return View("due", Due, version=version)


def due_key(instant: datetime, kind: str, subject: str) -> str:
    """Sorts by time: the first key is the next thing to fall due."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}/{kind}/{subject}"


def fallen(read: Reader, due: View[Due], instant: datetime) -> list[Due]:
    """Everything due at or before `instant`, oldest first, for the reader's tenant."""
    limit = due_key(instant, "\U0010ffff", "")
    return [row for key, row in read.scan(due) if key <= limit]


class Timekeeper:
    def __init__(self, host: Host, views: Sequence[ViewSet]) -> None:
        self._host = host
        self._views = [one for one in views if one.find("due") is not None]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def __enter__(self) -> Self:
        if isinstance(self._host.clock, SystemClock) and self._views:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        ticked: set[datetime] = set()
        while not self._closing.wait(EVERY_S):
            try:
                for instant in sorted(self._passed() - ticked):
                    self._tick(instant)
                    ticked.add(instant)
            except ModelkeepError as error:
                log.warning("the clock waits: %s", error)

    def _passed(self) -> set[datetime]:
        now = self._host.clock.now()
        found: set[datetime] = set()
        for views in self._views:
            due = views.find("due")
            if due is None:
                continue
            # Where views are halted nothing can be answered; elsewhere time goes on.
            with contextlib.suppress(Unavailable):
                instants = _instants(views, cast("View[Due]", due))
                found |= {at for at in instants if at <= now}
        return found

    def _tick(self, instant: datetime) -> None:
        try:
            self._say(instant)
        except Refused:
            # It fell due before what was ticked last, so it is due now.
            self._say(self._host.clock.now())

    def _say(self, instant: datetime) -> None:
        command = Tick(instant=instant)
        command_id = str(uuid5(EVENT_IDS, f"tick/{instant.isoformat()}"))
        context = Context(KEEPER, self._host.clock.now(), instant, command_id)
        self._host.ledger.execute(
            Order(CLOCK_STREAM, CLOCK, command, context, body_hash(command))
        )


def _instants(views: ViewSet, due: View[Due]) -> set[datetime]:
    """The next things to fall due, each tenant's. More than the first, for one that
    does not go away must not hide those behind it.
    """
    with views.reader(KEEPER.tenant) as read:
        return {
            datetime.fromisoformat(key.partition("/")[0])
            for tenant in read.tenants(due)
            for key, _ in read.other(tenant).scan(due, limit=LOOKED_AT)
        }

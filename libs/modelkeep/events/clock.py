"""Time as an event: appended only where something falls due."""

from __future__ import annotations

from modelkeep.events.base import Event
from modelkeep.events.types import Instant


class Ticked(Event, name="clock.ticked"):
    """What was due at `instant` is due now. Missed instants are ticked in order."""

    instant: Instant

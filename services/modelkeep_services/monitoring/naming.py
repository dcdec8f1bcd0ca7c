"""By what a window, a slot, a baseline and an alert are known."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from modelkeep.events.monitoring import (
    BaselineRegistered,
    SlotCounted,
    WindowClosed,
    WindowRestated,
)
from modelkeep_services.monitoring.rules import Breach

Key = tuple[str, str, str, str, str]
"""Version, environment, kind, metric, feature: one open alert each."""

Slot = tuple[str, str, datetime, datetime]
"""Version, environment, start, end."""


def identity(event: BaselineRegistered) -> str:
    told = (event.profile, *(f"{k}{event.seasons[k]}" for k in sorted(event.seasons)))
    return sha256("".join(told).encode()).hexdigest()


def slot_of(event: SlotCounted) -> Slot:
    return event.version, event.environment, event.start, event.end


def window_id(version: str, environment: str, start: datetime, end: datetime) -> str:
    """Name a window by what it covers, to the second and where needed beyond."""
    of = f"{_short(version, 29)}.{_short(environment, 20)}"
    return f"{of}.{moment(start)}.{moment(end)}"


def _short(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    return f"{name[: longest - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


def moment(at: datetime) -> str:
    text = f"{at:%Y%m%dt%H%M%S}"
    return f"{text}.{at.microsecond:06}z" if at.microsecond else f"{text}z"


def said(event: WindowClosed | WindowRestated) -> str:
    """Identify what a window says."""
    return sha256(event.figures.model_dump_json().encode()).hexdigest()


def key_of(version: str, environment: str, breach: Breach) -> Key:
    return version, environment, breach.kind, breach.metric, breach.feature or ""


def alert_id(key: Key, occasion: str) -> str:
    """The same breach of the same window is the same alert, whoever finds it."""
    told = "\n".join((*key, occasion))
    return f"alert-{sha256(told.encode()).hexdigest()[:16]}"

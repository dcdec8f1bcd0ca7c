"""Insight's rows: what each other service said, and what insight recorded itself.

A file a source, so that no key is fed by two streams; figures join them when asked.
"""

from __future__ import annotations

from typing import Final

from modelkeep.events import load_all
from modelkeep.events.base import known_events
from modelkeep.views import AnyView, View
from modelkeep_services.insight.views import (
    alarm_watch,
    attention,
    crossings,
    days,
    debt,
    evidence,
    inventory,
    lineage,
    monitoring,
    policy,
)

_SOURCES: Final = (
    *inventory.VIEWS,
    *lineage.VIEWS,
    *policy.VIEWS,
    *monitoring.VIEWS,
    *attention.VIEWS,
    *alarm_watch.VIEWS,
    *debt.VIEWS,
    *crossings.VIEWS,
)
load_all()
evidence.listen(_SOURCES, list(known_events().values()))

VIEWS: Final[tuple[AnyView, ...]] = (*_SOURCES, *days.VIEWS, evidence.evidence)

LISTED: Final[dict[str, View[object]]] = {
    view.name: view  # type: ignore[misc]  # a portal sees rows, whatever their type
    for view in VIEWS
    if view.name not in {"due", "days"}
}
"""What `List` and `Watch` offer."""

"""What scheduled reviews of a model found, and at which levels. Part of monitoring's
language.

Streams: `findings-<tenant>.<model>`. Hypotheses are numbered through a model's whole
life, so that of all that its reviews ever call a change the expected share that is none
stays below the stated rate: see `modelkeep.stats.e_lond`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelkeep.events.base import Event
from modelkeep.events.false_alarms import Rate, WatchKind
from modelkeep.events.monitoring import Name
from modelkeep.events.types import Count, Finite, Instant, Share, Slug, Title, Value

MAX_FINDINGS = 5_000


class Finding(Value):
    """Hypothesis `number`: nothing left its band in the period, as far as `monitor`
    watches `group` (a feature, the score, a metric). `log_e` is the natural logarithm
    of its e-value, over `n` rows or outcomes; it is a discovery where that is at least
    the logarithm of 1 / `level`.
    """

    monitor: WatchKind
    group: Name
    n: Count
    log_e: Finite
    number: Annotated[int, Field(ge=1, lt=2**53)]
    level: Share
    discovery: bool


class FindingsReviewed(Event, name="monitoring.findings-reviewed"):
    """[start, end) of a version in an environment was reviewed, once and for all:
    `windows` of it beside `baseline`, in the order in which `findings` were tested.
    """

    model: Slug
    version: Slug
    environment: Slug
    start: Instant
    end: Instant
    rate: Rate
    windows: Count
    baseline: Slug | None = None
    findings: Annotated[tuple[Finding, ...], Field(max_length=MAX_FINDINGS)] = ()
    method: Title

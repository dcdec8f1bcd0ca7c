"""How complete a version's lineage is, as lineage last assessed it."""

from __future__ import annotations

from dataclasses import dataclass

from modelkeep.events.lineage import CompletenessAssessed
from modelkeep.views import Fact, Rows, View


@dataclass(frozen=True)
class CompletenessRow:
    model: str
    version: str
    digest: str
    share: float
    missing: tuple[str, ...]
    event: str


completeness = View("completeness", CompletenessRow)
"""By `model/version/digest`: a node, and so a stream, for each."""


@completeness.on(CompletenessAssessed)
def assessed(
    event: CompletenessAssessed, fact: Fact, rows: Rows[CompletenessRow]
) -> None:
    rows.put(
        f"{event.model}/{event.version}/{event.digest}",
        CompletenessRow(
            event.model,
            event.version,
            event.digest,
            event.share,
            event.missing,
            str(fact.id),
        ),
    )


VIEWS = (completeness,)

"""The audit's story, and what makes its decision worth a dossier: a card, an exception,
what became of the decision, what a person did with it, and a window told again.
"""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from uuid import UUID, uuid5

import numpy as np
from tests.integration.audit_story import (
    DANA,
    DIGEST,
    NAMESPACE,
    ROWS,
    VERA,
    Story,
    day,
    decisions,
    tell_approval,
    tell_end,
    tell_trouble,
    tell_work,
    window,
)

from modelkeep.decisions.digests import column_leaves
from modelkeep.decisions.matrix import leaves, number_matrix, outcome_matrix, root
from modelkeep.events import attention, inventory, monitoring, policy
from modelkeep.keystore import Keystore
from modelkeep.objects import artifacts_of
from modelkeep_services.monitoring.objects import (
    Outcomes,
    store_decisions,
    store_outcomes,
)

CARD = json.dumps(
    {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [{"type": "machine-learning-model", "name": "credit"}],
    }
).encode()
COMMENT = "the applicant called and was upset"


def tell_dossier(story: Story, *, number: bool = False) -> None:
    """Tell everything. `number`: the model's outcomes are numbers."""
    source = tell_approval(story)
    tell_card(story)
    story.tell("exception", "season", day(3, 20), _exception())
    tell_work(story, source)
    tell_trouble(story)
    tell_disposition(story)
    tell_outcomes(story, day(6, 1), number=number)
    counted = window(day(4, 1), day(5, 1), bad=41)
    story.tell(
        "monitor",
        "credit",
        day(6, 2),
        monitoring.WindowRestated(
            model=counted.model,
            version=counted.version,
            environment=counted.environment,
            window=counted.window,
            start=counted.start,
            end=counted.end,
            figures=counted.figures,
            method=counted.method,
            restatement=1,
        ),
    )
    tell_end(story)


def tell_card(story: Story) -> None:
    digest = sha256(CARD).hexdigest()
    artifacts_of(story.home).put(BytesIO(CARD))
    story.tell(
        "model",
        "credit",
        day(3, 5),
        inventory.CardAttached(
            model="credit",
            version="v1",
            digest=DIGEST,
            card_digest=f"sha256:{digest}",
            size=len(CARD),
        ),
    )


def _exception() -> policy.ExceptionGranted:
    return policy.ExceptionGranted(
        exception="season",
        model="credit",
        tier=1,
        rule="promote/fresh",
        reason="the spring is special",
        owner=DANA,
        until=day(9, 1),
        granted_by=(VERA,),
    )


def tell_disposition(story: Story) -> None:
    with Keystore(story.home.subjects) as keys:
        sealed = keys.seal(
            story.tenant, "applicant-7", "governance", "comment", COMMENT
        )
    story.tell(
        "disposition",
        story.decision,
        day(5, 3),
        monitoring.DispositionRecorded(
            model="credit",
            decision=story.decision,
            disposition="overridden",
            reason="income was wrong",
            by=VERA,
            comment=sealed,
        ),
    )


def tell_outcomes(
    story: Story, at: datetime, *, word: int = 1, number: bool = False
) -> None:
    """Say what became of the decision asked about, and of two others around it. Another
    `word` than 1 says otherwise than was known.
    """
    middle = UUID(story.decision).int
    ids = [UUID(int=middle + n).bytes for n in (-1, 0, 1)]
    octets = np.frombuffer(b"".join(ids), dtype=np.uint8).reshape(3, 16)
    words = np.zeros(3, np.uint8) if number else np.array([0, word, 2], np.uint8)
    known = np.full(3, int(at.timestamp() * 1e6), dtype=np.int64)
    values = np.array([1.5, 2.0, -3.25]) if number else None
    rows = Outcomes(octets, words, known, values)
    stored = store_outcomes(story.home.decisions, story.tenant, "credit", rows)
    if values is None:
        matrix = outcome_matrix("credit", octets, words, known)
    else:
        matrix = number_matrix("credit", octets, words, values, known)
    story.tell(
        "outcomes",
        "credit",
        at,
        monitoring.OutcomesRecorded(
            model="credit",
            batch=str(uuid5(NAMESPACE, f"outcomes {at}")),
            rows=3,
            root=f"sha256:{root(leaves(matrix)).hex()}",
            address=stored.address,
            file_digest=stored.digest,
            file_bytes=stored.size,
            first_id=str(UUID(bytes=ids[0])),
            last_id=str(UUID(bytes=ids[2])),
            first_known_at=at,
            last_known_at=at,
            matched=3,
            unmatched=0,
            duplicates=0,
            contradictions=int(word != 1),
            never=0 if number else 1,
            outcome_kind="number" if number else "binary",
        ),
    )


def tell_shadow(story: Story) -> None:
    """Say that it decides unseen."""
    story.tell(
        "autonomy",
        "credit",
        day(3, 5),
        attention.AutonomyLowered(
            model="credit",
            use="lending",
            from_level="advise",
            to_level="shadow",
            because="person",
            reason="nobody trusts it yet",
            by=VERA,
        ),
    )


def tell_columns(story: Story) -> None:
    """Log the same decisions in a batch that proves its columns."""
    tell_approval(story)
    rows = decisions(story)
    stored = store_decisions(story.home.decisions, story.tenant, rows)
    batch = str(uuid5(NAMESPACE, "columns"))
    ids = [str(UUID(bytes=rows.ids[n].tobytes())) for n in (0, ROWS - 1)]
    story.tell(
        "decisions",
        "credit",
        day(4, 3),
        monitoring.BatchRecorded(
            model="credit",
            version="v1",
            environment="prod",
            batch=batch,
            sent=(monitoring.Sent(batch=batch, digest=DIGEST, rows=ROWS),),
            rows=ROWS,
            root=f"sha256:{root(column_leaves(rows)).hex()}",
            row_schema=f"sha256:{rows.schema.digest().hex()}",
            address=stored.address,
            file_digest=stored.digest,
            file_bytes=stored.size,
            first_id=ids[0],
            last_id=ids[1],
            first_at=day(4, 2),
            last_at=day(4, 2),
            proof="columns",
        ),
    )

"""Classifications under another rubric: who moves, since when, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.test_inventory_rubric import RUBRIC, scored

from modelkeep.errors import Invalid
from modelkeep.events.inventory import Drivers, ModelClassified, OverrideExpired
from modelkeep.events.types import Person
from modelkeep_services.inventory import rubric
from modelkeep_services.inventory.retiering import Tiered, checked, retiered
from modelkeep_services.inventory.rubric import Rubric, TierLine

START = datetime(2026, 1, 1, tzinfo=UTC)
SMALLER_STEPS = RUBRIC.__dict__ | {"exposure_steps": (0.0001, 0.001, 0.005)}
WIDER = Rubric(**SMALLER_STEPS)
LENDING = scored(share=0.02, purpose=4, harm=1)


def day(n: int) -> datetime:
    return START + timedelta(days=n)


def classified(
    drivers: Drivers = LENDING, model: str = "credit", override: int | None = None
) -> ModelClassified:
    derived = rubric.tier(RUBRIC, drivers)
    return ModelClassified(
        model=model,
        tier=override or derived,
        derived_tier=derived,
        source="derived" if override is None else "override",
        drivers=drivers,
        rubric=RUBRIC.title,
        rubric_digest=RUBRIC.digest,
        reason=None if override is None else "until it is rebuilt",
        expires_at=None if override is None else day(90),
        by=Person(issuer="hr", subject="rob"),
    )


def moves(*events: ModelClassified | OverrideExpired, by: Rubric) -> list[Tiered]:
    history = [(event, day(n), f"e{n}") for n, event in enumerate(events)]
    return list(retiered(history, by))


def test_the_rubric_in_force_moves_nobody() -> None:
    found = moves(classified(), classified(model="churn"), by=RUBRIC)
    assert [one.moved for one in found] == [False, False]
    assert all(one.drivers_were == one.drivers_are for one in found)


def test_a_model_moves_with_the_score_that_moved_it() -> None:
    (one,) = moves(classified(), by=WIDER)
    assert (one.was, one.now, one.until) == (2, 1, None)
    assert one.why() == "exposure 3 → 4, materiality 3 → 4"


def test_where_no_score_moves_the_lines_did() -> None:
    lines = (TierLine(1, materiality=3), TierLine(4))
    (one,) = moves(classified(), by=Rubric(**RUBRIC.__dict__ | {"tiers": lines}))
    assert (one.was, one.now) == (2, 1)
    assert one.why().startswith("the lines moved")


def test_what_was_stated_later_ends_what_was_stated_before() -> None:
    small = scored(share=0.00001)
    first, second = moves(classified(), classified(small), by=WIDER)
    assert (first.since, first.until) == (day(0), day(1))
    assert (second.since, second.until) == (day(1), None)
    assert not second.moved


def test_an_override_stands_and_after_it_the_other_rubric_speaks() -> None:
    expired = OverrideExpired(
        model="credit", tier=2, overridden_tier=3, expired_at=day(1)
    )
    during, after = moves(classified(override=3), expired, by=WIDER)
    assert (during.was, during.now, during.moved) == (3, 3, False)
    assert (after.was, after.now, after.event) == (2, 1, "e1")


def test_a_rubric_that_leaves_a_score_without_a_tier_is_refused() -> None:
    lines = (TierLine(1, materiality=2),)
    with pytest.raises(Invalid, match="materiality 1, complexity 1"):
        checked(Rubric(**RUBRIC.__dict__ | {"tiers": lines}))
    assert checked(RUBRIC) is RUBRIC

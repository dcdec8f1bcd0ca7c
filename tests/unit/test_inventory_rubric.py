"""The tier rubric, by its own worked examples."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import pytest
from pydantic import ValidationError

from modelkeep.events.inventory import AlwaysTierOne, Drivers
from modelkeep_services.inventory import rubric
from modelkeep_services.inventory.rubric import Standing

RUBRIC = rubric.in_force()


def scored(
    *,
    share: float = 0.0,
    purpose: int = 1,
    harm: int = 1,
    inside: tuple[int, int, int, int] = (1, 1, 1, 1),
    black_box: bool = False,
    forced: tuple[AlwaysTierOne, ...] = (),
) -> Drivers:
    method, uncertainty, opacity, autonomy = inside
    return rubric.drivers(
        RUBRIC,
        use="u",
        exposure_share=share,
        purpose=purpose,
        harm=harm,
        method=method,
        input_uncertainty=uncertainty,
        opacity=opacity,
        autonomy=autonomy,
        black_box=black_box,
        forced=forced,
    )


@pytest.mark.parametrize(
    ("drivers", "tier"),
    [
        (scored(share=0.05, purpose=4), 1),  # M = 4
        (scored(share=0.01, purpose=3, inside=(3, 3, 3, 3)), 1),  # M = 3, C = 3
        (scored(share=0.01, purpose=3), 2),  # M = 3
        (scored(share=0.001, purpose=2, inside=(4, 4, 2, 1)), 2),  # M = 2, C = 3
        (scored(share=0.001, purpose=2), 3),  # M = 2
        (scored(inside=(4, 3, 2, 2)), 3),  # C = 3
        (scored(), 4),
        (scored(harm=4), 2),  # harm less one is 3
        (scored(purpose=4), 4),  # one high score alone is not material
        (scored(black_box=True), 3),  # a black box is complex
    ],
)
def test_the_first_line_that_holds_decides(drivers: Drivers, tier: int) -> None:
    assert rubric.tier(RUBRIC, drivers) == tier


@pytest.mark.parametrize("why", sorted(RUBRIC.always_tier_one))
def test_some_uses_are_always_tier_one(why: AlwaysTierOne) -> None:
    assert rubric.tier(RUBRIC, scored(forced=(why,))) == 1


def test_a_portfolio_spreads_over_the_tiers_as_the_rubric_says() -> None:
    """40, 30, 20 and 10 % of scores at 1 to 4, on all seven drivers."""
    weight = {1: 0.4, 2: 0.3, 3: 0.2, 4: 0.1}
    shares = dict(zip((1, 2, 3, 4), (0.0, 0.001, 0.01, 0.05), strict=True))
    by_materiality = Counter[int]()
    for exposure, purpose, harm in product(weight, repeat=3):
        found = scored(share=shares[exposure], purpose=purpose, harm=harm).materiality
        by_materiality[found] += weight[exposure] * weight[purpose] * weight[harm]  # type: ignore[assignment]  # a Counter of floats
    spread = Counter[int]()
    for inside in product(weight, repeat=4):
        complexity = rubric.complexity(RUBRIC, inside, black_box=False)
        for materiality, part in by_materiality.items():
            found_tier = next(
                line.tier
                for line in RUBRIC.tiers
                if materiality >= line.materiality and complexity >= line.complexity
            )
            spread[found_tier] += part * math.prod(weight[one] for one in inside)  # type: ignore[assignment]  # a Counter of floats
    percent = [round(100 * spread[tier]) for tier in (1, 2, 3, 4)]
    assert percent == [12, 31, 38, 19]


def test_a_document_names_itself_and_its_digest() -> None:
    assert RUBRIC.title == "tier-rubric v1"
    assert RUBRIC.digest.startswith("sha256:")


def test_a_document_that_is_no_rubric_is_refused() -> None:
    with pytest.raises(ValidationError):
        rubric.read(b"name: something else")


def test_residual_risk_falls_with_controls_and_rises_with_findings() -> None:
    assert rubric.residual(RUBRIC, 1, Standing())[0] == "elevated"
    assert rubric.residual(RUBRIC, 1, Standing(("nobody validates",)))[0] == "high"
    assert rubric.residual(RUBRIC, 3, Standing())[0] == "low"
    assert rubric.residual(RUBRIC, 3, Standing(open_critical=1))[0] == "elevated"
    assert rubric.residual(RUBRIC, 3, Standing(open_high=2))[0] == "moderate"
    level, reasons = rubric.residual(
        RUBRIC, 2, Standing(("a card is missing",), overdue_reviews=1)
    )
    assert level == "high"
    assert reasons == ("inherent tier 2", "a card is missing", "1 reviews overdue: +1")

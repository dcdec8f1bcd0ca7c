"""The three models of the demo, as their owners would describe them."""

from __future__ import annotations

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep_services.demo import cards, clinic, credit, flights
from modelkeep_services.demo.onboarding import Portfolio

FLIGHTS = Portfolio(
    model="late-arrival",
    title="Late arrival of departing flights",
    kind=inv.MODEL_KIND_TRAINED,
    use="connection-warnings",
    business_line="operations",
    statement=flights.STATEMENT,
    recipe=flights.RECIPE,
    data=cards.dataset("flights.parquet"),
    exposure_share=0.03,
    drivers={
        "purpose": 2,
        "harm": 2,
        "method": 3,
        "input_uncertainty": 2,
        "opacity": 2,
        "autonomy": 1,
    },
)
CREDIT = Portfolio(
    model="credit-default",
    title="Default on consumer loans",
    kind=inv.MODEL_KIND_TRAINED,
    use="adverse-action-gate",
    business_line="consumer-lending",
    statement=credit.STATEMENT,
    recipe=credit.RECIPE,
    data=cards.dataset("credit.parquet"),
    exposure_share=0.06,
    drivers={
        "purpose": 4,
        "harm": 4,
        "method": 2,
        "input_uncertainty": 2,
        "opacity": 1,
        "autonomy": 2,
    },
    always_tier_one=(inv.ALWAYS_TIER_ONE_CREDIT_DECISIONS,),
)
CLINIC = Portfolio(
    model="biopsy-reading",
    title="Second readings of biopsies",
    kind=inv.MODEL_KIND_VENDOR,
    use="second-reading-order",
    business_line="diagnostics",
    statement=clinic.STATEMENT,
    recipe=clinic.RECIPE,
    data=clinic.dataset(),
    exposure_share=0.02,
    drivers={
        "purpose": 4,
        "harm": 4,
        "method": 2,
        "input_uncertainty": 2,
        "opacity": 4,
        "autonomy": 2,
    },
    always_tier_one=(inv.ALWAYS_TIER_ONE_CLINICAL_TREATMENT,),
    black_box=True,
    vendor=inv.Vendor(name="Cytoscan Systems", product="Biopsy Reader 4.1"),
)

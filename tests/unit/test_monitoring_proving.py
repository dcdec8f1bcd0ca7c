"""Who may have decisions proven by columns: given a past, when it is chosen, then."""

from __future__ import annotations

from typing import Any

import pytest

from modelkeep.decider import Actor
from modelkeep.events.base import Event
from modelkeep.events.monitoring import MonitorConfigured, ProofChosen
from modelkeep.testing.deciding import Outcome, actor, given
from modelkeep_services.monitoring.commands import ChooseProof
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.proving import RULE, owed

RITA = actor("rita", "risk_officer")


def choosing(
    *past: Event, proof: str = "columns", by: Actor = RITA, **more: Any
) -> Outcome:
    command = ChooseProof.model_validate(
        {"model": "m", "proof": proof, "reason": "volume", "tier": 4, **more}
    )
    return given(MONITOR, *past).when(command, by=by)


def refused(found: Outcome, rule: str, why: str) -> None:
    found.then_refused(rule)
    assert why in str(found.error)


def chosen(proof: str = "columns") -> ProofChosen:
    return ProofChosen.model_validate(
        {
            "model": "m",
            "proof": proof,
            "reason": "volume",
            "tier": 4,
            "by": RITA.person,
        }
    )


def test_columns_are_a_choice_on_record_with_a_person_and_a_reason() -> None:
    choosing().then(chosen())


def test_what_is_in_force_is_not_chosen_again() -> None:
    choosing(proof="rows").then()
    choosing(chosen()).then()
    choosing(chosen(), proof="rows").then(chosen("rows"))


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        ({"tier": None}, "it has no tier yet"),
        ({"tier": 1}, "it is tier 1"),
        ({"tier": 2}, "it is tier 2"),
        ({"regime_flags": ("eu-ai-act-high-risk",)}, "flagged eu-ai-act-high-risk"),
    ],
)
def test_a_model_whose_decisions_are_owed_keeps_its_rows(
    standing: dict[str, Any], why: str
) -> None:
    refused(choosing(**standing), RULE, why)


def test_where_reason_codes_are_compulsory_rows_stay() -> None:
    told = MonitorConfigured(model="m", reason_codes_compulsory=True)
    refused(choosing(told), RULE, "reason codes are compulsory")
    choosing(told, chosen(), proof="rows").then(chosen("rows"))


def test_a_machine_chooses_nothing() -> None:
    cron = actor("cron", "risk_officer", human=False)
    refused(choosing(by=cron), "monitoring.people-judge", "not a person")


def test_tiers_three_and_four_owe_no_single_rows() -> None:
    assert [owed(tier, (), reasons=False) is None for tier in (1, 2, 3, 4)] == [
        False,
        False,
        True,
        True,
    ]

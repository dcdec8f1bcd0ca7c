"""The same governance over the user's own bank-marketing file, month by month.

A model of May to July 2008 meets the financial crisis: base rates and economy move far
beyond what it learnt from. Months of ten calls are in the file, and are left as tiny as
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.monitoring.v1 import monitoring_pb2 as mon
from modelkeep_services.demo import bank
from modelkeep_services.demo.cards import Dataset
from modelkeep_services.demo.cast import ask
from modelkeep_services.demo.live import INTAKE, Live
from modelkeep_services.demo.onboarding import (
    Portfolio,
    add_version,
    attach_card,
    record_lineage,
    register,
)
from modelkeep_services.demo.story import DAY, Story, instant

OPENS: Final = np.datetime64("2008-08", "M")
CLOSES: Final = np.datetime64("2010-12", "M")
LEARNS_FROM: Final = np.datetime64("2008-05-01", "ms")
LEAST_HELD: Final = 200
"""Calls held out, below which two models cannot be told apart."""
CALL_FROM: Final = 0.10
"""Who is called back: from this chance of subscribing on."""


def portfolio(digest: str) -> Portfolio:
    """Describe the model; `digest` is of the file the user gave."""
    return Portfolio(
        model="term-deposit",
        title="Subscription to a term deposit",
        kind=inv.MODEL_KIND_TRAINED,
        use="campaign-order",
        business_line="retail-deposits",
        statement=bank.STATEMENT,
        recipe=bank.RECIPE,
        data=Dataset("bank-additional-full", "UCI 222", digest, "CC BY 4.0"),
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


@dataclass
class BankYear(Story):
    """One model, from August 2008 to November 2010."""

    held_out: ClassVar[int] = 31
    trailing: ClassVar[int] = 366
    opens: ClassVar[np.datetime64] = OPENS.astype("datetime64[ms]")

    calls: Live = field(kw_only=True)

    @property
    def everybody(self) -> tuple[Live, ...]:
        return (self.calls,)

    def prepare(self) -> None:
        """Register, tier, watch, build and gate it."""
        live, plan = self.calls, self.calls.plan
        self.stage.tick(instant(self.opens - DAY))
        register(self.desks, self.cast, plan)
        self.stage.level()
        tier = self.get(plan.model).tier
        self.tell.say(self.at(), f"{plan.model}: registered, tier {tier}")
        request = mon.ConfigureMonitorRequest(
            model=plan.model,
            cadence_hours=24.0 * 31,
            grace_hours=24.0 * 7,
            closed_by=mon.CLOSED_BY_CALLER,
            outcome_maturity_hours=2.0,
            feature_sla_hours={INTAKE: 24.0},
            play="retrain-on-recent-months",
        )
        request.anchor.FromDatetime(instant(self.opens))
        ask(self.cast.dana, self.desks.monitoring.ConfigureMonitor, request)
        build, held = self.train(live, "v1", LEARNS_FROM, bank.TRAINED_UNTIL)
        digest = add_version(self.desks, self.cast, self.stage.home, plan, build)
        self.stage.level()
        self.refused("promoted without card or lineage", plan, build)
        attach_card(self.desks, self.cast, plan, build, digest)
        record_lineage(self.desks, self.cast, plan, build, digest)
        self.baseline(live, build, held)
        self.open(live, build, held, self.stated(build, plan))

    def steps(self) -> Sequence[np.datetime64]:
        return list(np.arange(OPENS, CLOSES))

    def play(self, month: np.datetime64) -> None:
        """A month's calls, what came of them, and what people do about it."""
        start = month.astype("datetime64[ms]")
        end = (month + np.timedelta64(1, "M")).astype("datetime64[ms]")
        live = self.calls
        self.decided += live.decide(live.decisions.between(start, end))
        self.learned += live.learn(start, end)
        self.stage.tick(instant(end))
        self.close(live, start, end)
        self.stage.level()
        self.attend(end.astype("datetime64[D]"))
        if (int(month.astype(np.int64)) + 1) % 3 == 0:  # a quarter has ended
            self._challenge_if_enough(live, end)
        self.stage.level()

    def _challenge_if_enough(self, live: Live, end: np.datetime64) -> None:
        held = live.decisions.between(end - self.held_out * DAY, end)
        if len(held) >= LEAST_HELD:
            self.challenge(live, end)

"""No decisions were made by a version that nobody had deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from modelkeep.proof.assertion import Assertion, Told


class BatchesFromDeployedVersions(Assertion):
    name: ClassVar = "batches-from-deployed-versions"
    claim: ClassVar = "no batch of decisions is from a version that was never deployed"
    things: ClassVar = "batches of decisions"
    reads: ClassVar[Mapping[str, int]] = {
        "inventory.deployed": 1,
        "inventory.model-classified": 1,
        "inventory.override-expired": 1,
        "monitoring.batch-recorded": 1,
    }

    def answers(self) -> Mapping[str, Callable[[Told], None]]:
        self._deployed: set[tuple[str, str, str, str]] = set()
        self._tiers: dict[tuple[str, str], float] = {}
        return {
            "inventory.deployed": self._deploy,
            "inventory.model-classified": self._classified,
            "inventory.override-expired": self._classified,
            "monitoring.batch-recorded": self._batch,
        }

    def _deploy(self, told: Told) -> None:
        self._deployed.add(_where(told))

    def _classified(self, told: Told) -> None:
        self._tiers[told.tenant, told.data.text("model")] = told.data.number("tier")

    def _batch(self, told: Told) -> None:
        where = _where(told)
        tenant, model, version, environment = where
        tier = self._tiers.get((tenant, model))
        wanted = self.scope.in_environment(environment)
        if not (wanted and self.scope.of_tier(tier) and self.scope.period.holds(told)):
            return
        known = where in self._deployed
        lacks = f"is by {version}, which was never deployed in {environment}"
        self.judge(told, None if known else lacks)


def _where(told: Told) -> tuple[str, str, str, str]:
    data = told.data
    return (
        told.tenant,
        data.text("model"),
        data.text("version"),
        data.text("environment"),
    )

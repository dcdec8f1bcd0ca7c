"""Nobody approved their own request, or what they wrote or own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from modelkeep.proof.assertion import Assertion, Told
from modelkeep.proof.fields import Person


class NobodyApprovedTheirOwn(Assertion):
    name: ClassVar = "nobody-approved-their-own"
    claim: ClassVar = (
        "no approval is by whoever asked for, wrote or owns what it is for"
    )
    things: ClassVar = "approvals"
    reads: ClassVar[Mapping[str, int]] = {
        "policy.approved": 1,
        "policy.verdict-given": 1,
    }

    def answers(self) -> Mapping[str, Callable[[Told], None]]:
        self._parties: dict[tuple[str, str], Mapping[Person, str]] = {}
        self._tiers: dict[tuple[str, str], float | None] = {}
        return {"policy.approved": self._approved, "policy.verdict-given": self._given}

    def _given(self, told: Told) -> None:
        data = told.data
        key = told.tenant, data.text("request")
        parties = {
            one.person("person"): one.text("why") for one in data.many("parties")
        }
        self._parties[key] = {data.person("requested_by"): "who asked", **parties}
        self._tiers[key] = data.share("tier")

    def _approved(self, told: Told) -> None:
        data = told.data
        key = told.tenant, data.text("request")
        wanted = self.scope.in_environment(data.word("environment"))
        tier = self._tiers.get(key)
        if not (wanted and self.scope.of_tier(tier) and self.scope.period.holds(told)):
            return
        self.judge(told, self._wrong(told, key))

    def _wrong(self, told: Told, key: tuple[str, str]) -> str | None:
        by = told.data.person("by")
        if by != told.actor:
            return f"says it is {by}'s and was made with {told.actor}'s credentials"
        if key not in self._parties:
            return "approves what nobody had asked for"
        why = self._parties[key].get(by)
        return None if why is None else f"is by {by}, who is {why}"

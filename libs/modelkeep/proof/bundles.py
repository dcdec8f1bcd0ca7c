"""No rules came into force that one person alone wanted, and no verdict by others.

A bundle is proposed by its author and approved by people who did not write it, one of
them a risk officer; by two, where it loosens a rule for tiers 1 and 2. One that was in
force before may be brought back by one person, whom a second confirms in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from modelkeep.proof.assertion import Assertion, Told
from modelkeep.proof.fields import Person

SECOND_LINE: Final = "risk_officer"
TO_LOOSEN: Final = 2

AGREED: Final = "agreed on by others than the author"
CONFIRMED: Final = "brought back by one, confirmed by another in time"
PACKAGED: Final = "came with the program, as the first of its ledger"


@dataclass
class _Bundle:
    author: Person
    packaged: bool
    active_before: bool = False
    approvals: dict[Person, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Owed:
    """An activation that a second person has yet to confirm."""

    told: Told
    by: Person


class BundlesHadDualControl(Assertion):
    name: ClassVar = "bundles-had-dual-control"
    claim: ClassVar = "no policy bundle came into force without dual control"
    things: ClassVar = "activations of a bundle"
    reads: ClassVar[Mapping[str, int]] = dict.fromkeys(
        (
            "policy.bundle-activated",
            "policy.bundle-approved",
            "policy.bundle-proposed",
            "policy.reactivation-confirmed",
        ),
        1,
    )

    def answers(self) -> Mapping[str, Callable[[Told], None]]:
        self._bundles: dict[tuple[str, str], _Bundle] = {}
        self._owed: dict[tuple[str, str, str], _Owed] = {}
        self._any: set[str] = set()
        return {
            "policy.bundle-activated": self._activated,
            "policy.bundle-approved": self._approved,
            "policy.bundle-proposed": self._proposed,
            "policy.reactivation-confirmed": self._confirmed,
        }

    def _proposed(self, told: Told) -> None:
        data = told.data
        author = data.person("author")
        packaged = data.flag("packaged")
        if packaged or author == told.actor:
            self._bundles[told.tenant, data.text("bundle")] = _Bundle(author, packaged)

    def _approved(self, told: Told) -> None:
        """Count it for whose credentials it was made with, whatever it says."""
        data = told.data
        bundle = self._bundles.get((told.tenant, data.text("bundle")))
        by = data.person("by")
        if bundle is not None and by == told.actor != bundle.author:
            bundle.approvals[by] = told.roles

    def _activated(self, told: Told) -> None:
        data = told.data
        bundle = self._bundles.get((told.tenant, data.text("bundle")))
        first = told.tenant not in self._any
        self._any.add(told.tenant)
        again = bundle is not None and bundle.active_before
        if bundle is not None:
            bundle.active_before = True
        if not self.scope.period.holds(told):
            return
        if data.flag("emergency") and again:
            due = data.text("second_due_at")
            self._owed[told.tenant, data.text("bundle"), due] = _Owed(
                told, data.person("by")
            )
        elif bundle is None:
            self.judge(told, "puts in force what nobody had proposed")
        elif bundle.packaged and first:
            self.judge(told, None, PACKAGED)
        else:
            self.judge(told, _lacking(bundle, len(data.words("loosens"))), AGREED)

    def _confirmed(self, told: Told) -> None:
        data = told.data
        key = told.tenant, data.text("bundle"), data.text("due_at")
        owed = self._owed.get(key)
        if owed is None or told.actor != data.person("by") or told.actor == owed.by:
            return
        late = told.known_at > data.moment("due_at")
        why = f"was confirmed late, by {told}" if late else None
        self.judge(owed.told, why, CONFIRMED)
        del self._owed[key]

    def finish(self) -> None:
        for owed in self._owed.values():
            self.judge(owed.told, f"was brought back by {owed.by} and never confirmed")
        self._owed.clear()


def _lacking(bundle: _Bundle, loosens: int) -> str | None:
    needed = TO_LOOSEN if loosens else 1
    who = ", ".join(sorted(map(str, bundle.approvals))) or "nobody"
    if len(bundle.approvals) < needed:
        why = " because it loosens a rule" if loosens else ""
        return f"was approved by {who}: {needed} must{why}"
    if not any(SECOND_LINE in roles for roles in bundle.approvals.values()):
        return f"was approved by {who}, none of them a {SECOND_LINE}"
    return None


class VerdictsByActivatedBundles(Assertion):
    name: ClassVar = "verdicts-by-activated-bundles"
    claim: ClassVar = "no verdict was given by a bundle that was not in force"
    things: ClassVar = "verdicts"
    reads: ClassVar[Mapping[str, int]] = {
        "policy.bundle-activated": 1,
        "policy.verdict-given": 1,
    }

    def answers(self) -> Mapping[str, Callable[[Told], None]]:
        self._activated: set[tuple[str, str]] = set()
        return {
            "policy.bundle-activated": self._in_force,
            "policy.verdict-given": self._given,
        }

    def _in_force(self, told: Told) -> None:
        self._activated.add((told.tenant, told.data.text("bundle")))

    def _given(self, told: Told) -> None:
        data = told.data
        tier = data.share("tier")
        wanted = self.scope.in_environment(data.word("environment"))
        if not (wanted and self.scope.of_tier(tier) and self.scope.period.holds(told)):
            return
        bundle = data.text("bundle")
        known = (told.tenant, bundle) in self._activated
        self.judge(told, None if known else f"is by {bundle}, never put in force")

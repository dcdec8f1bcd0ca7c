"""The table: everything that `modelkeep-verify --assert` can look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from modelkeep.proof.approvals import NobodyApprovedTheirOwn
from modelkeep.proof.assertion import Asserting, Assertion, Period, Scope, bound
from modelkeep.proof.batches import BatchesFromDeployedVersions
from modelkeep.proof.bundles import BundlesHadDualControl, VerdictsByActivatedBundles
from modelkeep.proof.evidence import Unusable
from modelkeep.proof.promotions import PromotionsHadQuorum

ALL: Final = "all"

TABLE: Final[Mapping[str, type[Assertion]]] = {
    one.name: one
    for one in (
        PromotionsHadQuorum,
        BundlesHadDualControl,
        VerdictsByActivatedBundles,
        NobodyApprovedTheirOwn,
        BatchesFromDeployedVersions,
    )
}


def asked(names: Sequence[str], scope: Scope) -> list[Assertion]:
    """Return each assertion once; raises Unusable for a name that is in no table."""
    wanted = TABLE if ALL in names else dict.fromkeys(names)
    unknown = [name for name in wanted if name not in TABLE]
    if unknown:
        raise Unusable(f"{unknown[0]} is no assertion: {', '.join((*TABLE, ALL))}")
    return [TABLE[name](scope) for name in wanted]


class Question(NamedTuple):
    """What is asserted of which events, as it was said on a command line."""

    names: Sequence[str] = ()
    since: str | None = None
    until: str | None = None
    tiers: Sequence[int] = ()
    environments: Sequence[str] = ()

    def watch(self, size: int | None) -> Asserting | None:
        """Return what must be shown the log; None when nothing is asserted.

        `size` is how many events were signed; None when not all of them are there.
        Raises Unusable, and Malformed for a bound that is none.
        """
        scope = Scope(
            Period(
                None if self.since is None else bound(self.since),
                None if self.until is None else bound(self.until, last=True),
            ),
            frozenset(self.tiers),
            frozenset(self.environments),
        )
        if not self.names:
            if scope != Scope():
                raise Unusable(
                    "--from, --to, --tier and --environment go with --assert"
                )
            return None
        if size is None:
            raise Unusable(
                "an assertion needs all events that were signed: export them all"
            )
        return Asserting(asked(self.names, scope), size)

"""The table: everything that `modelkeep-verify --assert` can look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from modelkeep.proof.approvals import NobodyApprovedTheirOwn
from modelkeep.proof.assertion import Assertion, Scope
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

"""Given, when, then: what a decider's tests are written in.

given(MODEL, registered).when(Retire(...), by=OWNER).then(ModelRetired(...))
given(MODEL).when(Retire(...)).then_refused("inventory.registered-first")
"""

from __future__ import annotations

from modelkeep.testing.deciding import actor, given

__all__ = ["actor", "given"]

"""Whether a version's stored artifacts still are what their digests say, when asked."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from modelkeep.errors import ModelkeepError, NotFound
from modelkeep.objects import Objects

CHANGED: Final = "changed"
CHECKED_FOR: Final = frozenset({"promote", "deploy", "admit"})
WITHIN_S: Final = 10.0
"""A question has a deadline; what takes longer to hash is `unread`."""

REMEMBERED_S: Final = 300.0
REMEMBERED: Final = 10_000
WORST_FIRST: Final = (CHANGED, "unread", "absent", "verified")


class Rechecks:
    """Hashes again. For admission, which a fleet asks every few minutes, what was
    hashed within `REMEMBERED_S` counts; for promotion and deployment nothing does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def state(self, objects: Objects, digests: Sequence[str], action: str) -> str:
        """The worst that was found of any of them: see `WORST_FIRST`."""
        until = time.monotonic() + WITHIN_S
        found = {self._one(objects, one, action, until) for one in digests}
        return next((one for one in WORST_FIRST if one in found), "absent")

    def _one(self, objects: Objects, digest: str, action: str, until: float) -> str:
        if action == "admit":
            with self._lock:
                at, state = self._known.get(digest, (float("-inf"), ""))
            if time.monotonic() - at < REMEMBERED_S:
                return state
        state = _hashed(objects, digest, until)
        with self._lock:
            self._known[digest] = (time.monotonic(), state)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return state


def _hashed(objects: Objects, digest: str, until: float) -> str:
    try:
        found = objects.found(digest, within_s=max(0.0, until - time.monotonic()))
    except NotFound:
        return "absent"
    except ModelkeepError:
        return "unread"
    return "verified" if found == digest else CHANGED

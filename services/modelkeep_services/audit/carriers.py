"""All who carry checkpoints away from here, and alarms about what stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from modelkeep.proof.checkpoint import Checkpoint
from modelkeep_services.audit.courier import Courier
from modelkeep_services.audit.outside import Outside
from modelkeep_services.audit.signed import Signed
from modelkeep_services.audit.signing import publish
from modelkeep_services.audit.tails import Tail
from modelkeep_services.audit.timestamps import LOOK_S, Timestamps
from modelkeep_services.audit.webhooks import (
    COVERED,
    EXPOSED,
    Told,
    Webhook,
    of_checkpoint,
)
from modelkeep_services.audit.witnesses import EVERY_S, POLICY, Witnesses

GRACE_S: Final = 3.0
"""How long the end of a process waits for what is under way."""


class Carriers:
    """`saw` is told what a witness kept of this log."""

    def __init__(
        self,
        outside: Outside,
        folder: Path,
        origin: str,
        saw: Callable[[bytes], Checkpoint],
    ) -> None:
        self._folder, self._outside = folder, outside
        hooks = [Webhook(to, outside.secret) for to in outside.webhooks]
        self._checkpoints = [
            Courier[Signed](f"webhook {hook.to}", partial(_tell_signed, hook))
            for hook in hooks
        ]
        self._alarms = [
            Courier[Told](f"alarm to {hook.to}", hook.tell) for hook in hooks
        ]
        self._witnesses: Witnesses | None = None
        if outside.policy is not None and outside.witnesses:
            asked = Witnesses(outside.policy, outside.witnesses, folder, origin, saw)
            self._witnesses = asked
            self._checkpoints.append(
                Courier[Signed]("witnesses", asked.carry, every_s=EVERY_S)
            )
        if outside.timestamping is not None:
            stamps = Timestamps(outside.timestamping, folder)
            self._checkpoints.append(
                Courier[Signed]("time stamps", stamps.carry, every_s=LOOK_S)
            )

    def start(self) -> None:
        """Raises OSError."""
        if self._witnesses:
            publish(self._folder / POLICY, self._outside.policy_text)
            self._witnesses.consult()
        for one in self._checkpoints:
            one.start()
        for alarm in self._alarms:
            alarm.start()

    def give(self, signed: Signed) -> None:
        for one in self._checkpoints:
            one.give(signed)

    def alarm(self, tail: Tail, origin: str) -> None:
        """Tell that a tail has become too old, or is gone again."""
        told = Told(
            EXPOSED if tail.exposed else COVERED,
            origin,
            {"tail": tail.kind, "events": tail.events, "seconds": tail.seconds},
        )
        for one in self._alarms:
            one.give(told)

    def cosigned(self) -> int | None:
        """Return how many events enough witnesses vouch for; None: nobody is asked."""
        return self._witnesses.cosigned if self._witnesses else None

    def close(self) -> None:
        until = time.monotonic() + GRACE_S
        for one in self._checkpoints:
            one.leave()
        for alarm in self._alarms:
            alarm.leave()
        for one in self._checkpoints:
            one.close(max(until - time.monotonic(), 0.0))
        for alarm in self._alarms:
            alarm.close(max(until - time.monotonic(), 0.0))


def _tell_signed(hook: Webhook, signed: Signed) -> None:
    hook.tell(of_checkpoint(signed))

"""`modelkeep checkpoint`: sign now how far the log has come."""

from __future__ import annotations

from rich.text import Text

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.home import Home
from modelkeep_services.audit.notary import published
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import Asking


def run(asking: Asking, home: Home, *, as_json: bool) -> None:
    answer = asking(asking.audit.GetCheckpoint, pb.GetCheckpointRequest())
    if as_json:
        screen.say_json(answer)
        return
    signed = answer.checkpoint
    screen.out.print(f"signed: {signed.size:,} events, {signed.time}", style="bold")
    screen.out.print(signed.note, markup=False, soft_wrap=True)
    screen.line(Text("published  ", "dim"), str(published(home)))

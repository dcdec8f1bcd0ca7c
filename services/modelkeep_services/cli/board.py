"""`modelkeep board`: the board's page as one HTML file, of now or of a past moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelkeep.api.audit.v1.audit_pb2 import GetCheckpointRequest
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.api.insight.v1.insight_pb2_grpc import InsightServiceStub
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import AUDITOR, Asking
from modelkeep_services.cli.connect import connected
from modelkeep_services.cli.moments import moment
from modelkeep_services.insight.board import render

NEEDS = ("insight", "audit")


def run(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    path: Path,
    when: str,
) -> None:
    needed = {name: builds[name] for name in NEEDS}
    with (
        screen.progress("reading the log") as tell,
        connected(home, needed, AUDITOR, store_url=store_url, tell=tell) as there,
    ):
        asking = Asking(there)
        insight = there.stub("insight", InsightServiceStub)
        board = asking(insight.GetBoard, pb.GetBoardRequest(as_of=moment(when)))
        signed = asking(asking.audit.GetCheckpoint, GetCheckpointRequest())
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(render(board, checkpoint=signed.checkpoint.note))
    fresh.replace(path)
    screen.line(f"the board's page is in {path}")

"""How the demo ends: the scorecard, the board's page, a decision's dossier, and a
tampered copy found out.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import apsw
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelkeep.api.audit.v1.audit_pb2 import GetCheckpointRequest, GetDossierRequest
from modelkeep.api.insight.v1 import insight_pb2 as ins
from modelkeep.errors import Corrupt, NotFound
from modelkeep.home import Home
from modelkeep.proof.dossier_file import judge
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.report import Report
from modelkeep.proof.verify import verify
from modelkeep_services.audit import dossier_page
from modelkeep_services.audit.notary import published
from modelkeep_services.audit.signing import LOG_KEY
from modelkeep_services.cli.dossier import trust
from modelkeep_services.demo.cast import Cast, Desks, ask
from modelkeep_services.insight.board import render

_COLOURS = {
    ins.COLOUR_GREEN: "green",
    ins.COLOUR_AMBER: "yellow",
    ins.COLOUR_RED: "red",
    ins.COLOUR_NOT_RATED: "dim",
}


def scorecard(console: Console, desks: Desks, cast: Cast, at: datetime) -> None:
    """One line a model: what a risk officer looks at first."""
    request = ins.GetScorecardRequest()
    request.as_of.time.FromDatetime(at)
    found = ask(cast.rita, desks.insight.GetScorecard, request)
    table = Table(title=f"Scorecard on {at:%d %B %Y}", title_justify="left")
    for name in ("model", "tier", "health", "worst of it", "budget spent", "debt"):
        table.add_column(name)
    table.add_column("alerts open", justify="right")
    for line in found.lines:
        colour = _COLOURS.get(line.colour, "dim")
        health = f"{line.health:.0f}" if line.HasField("health") else "not rated"
        spent = f"{line.budget_spent:.0%}" if line.HasField("budget_spent") else "-"
        table.add_row(
            line.model,
            str(line.tier),
            Text(health, style=colour),
            line.worst,
            spent,
            f"{line.debt_carrying_micro / 1e6:.0f} points",
            str(line.open_alerts),
        )
    console.print(table)


def board(desks: Desks, cast: Cast, path: Path, at: datetime) -> None:
    """Write the board's page: one static file whose numbers open their events."""
    request = ins.GetBoardRequest()
    request.as_of.time.FromDatetime(at)
    said = ask(cast.rita, desks.insight.GetBoard, request)
    signed = ask(cast.axel, desks.audit.GetCheckpoint, GetCheckpointRequest())
    path.write_text(render(said, checkpoint=signed.checkpoint.note))


def dossier(home: Home, desks: Desks, cast: Cast, decision: str) -> Path:
    """Write the dossier of a decision, signed, and as a page; return the page."""
    request = GetDossierRequest(decision=decision)
    raw = ask(cast.axel, desks.audit.GetDossier, request).envelope
    outcome = judge(raw, trust(home))
    if outcome.said is None or outcome.wrong:
        raise Corrupt(outcome.wrong[0])
    (home.root / "dossier.json").write_bytes(raw)
    page = home.root / "dossier.html"
    page.write_text(dossier_page.render(outcome.said, raw, outcome.unproven))
    return page


def tamper(home: Home, folder: Path, victim: int | None = None) -> tuple[str, Report]:
    """Rewrite one event in a copy of the ledger, as somebody with SQL would, and hold
    the copy against the checkpoint kept outside the database.

    `victim` is the event's position; by default the first verdict of the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "ledger-copy.db"
    source, target = apsw.Connection(str(home.ledger)), apsw.Connection(str(copy))
    try:
        with target.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(-1)
        said = _rewrite(target, victim)
    finally:
        target.close()
        source.close()
    place = published(home)
    keys = read_keys(str(place / LOG_KEY))
    with LedgerFile(copy) as ledger:
        report = verify(ledger, gather(place, keys))
    return said, report


def _rewrite(copy: apsw.Connection, victim: int | None) -> str:
    """Drop the seat-belt triggers, as a DBA can, and change what one event says."""
    triggers = copy.execute("select name from sqlite_master where type = 'trigger'")
    for (name,) in triggers.fetchall():
        copy.execute(f'drop trigger "{name}"')
    row = copy.execute(
        """
        select e.position, n.name, e.data,
          (select count(*) from event before where before.position < e.position)
        from event e join name n on n.nid = e.nid
        where case when ? is null then n.name = 'policy.verdict-given'
          else e.position = ? end
        order by e.position limit 1
        """,
        (victim, victim),
    ).fetchone()
    if row is None:
        raise NotFound("event at position", str(victim))
    position, name, data, rank = row
    changed = data.replace(b'"deny"', b'"allow"', 1)
    if changed == data:
        changed = data[:-1] + b" }"
    copy.execute("update event set data = ? where position = ?", (changed, position))
    return f"event {rank} ({name}, position {position}) was rewritten in a copy"


def clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)

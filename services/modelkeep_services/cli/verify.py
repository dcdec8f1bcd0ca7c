"""`modelkeep verify`: hold the ledger against what was signed of it, offline.

No service is asked: the file is read as an examiner's own copy would be.
"""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from modelkeep.errors import ModelkeepError
from modelkeep.home import Home
from modelkeep.proof.assertions import Question
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import Evidence, gather, read_keys
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.report import PROVEN, TAMPERED, UNVERIFIED, Report
from modelkeep.proof.verify import check_file, verify
from modelkeep.proof.vouching import vouching
from modelkeep_services.audit.notary import WRITERS, published
from modelkeep_services.audit.signing import LOG_KEY
from modelkeep_services.cli import screen

VERDICTS = {PROVEN: "bold green", TAMPERED: "bold red", UNVERIFIED: "bold yellow"}
BANNERS = (
    "ASSERTED",
    "DOES NOT HOLD",
    "NOT PROVEN",
    "NOT VERIFIED",
    "PROVEN",
    "TAMPERED",
    "WRONG",
)


class Unverified(ModelkeepError):
    """There is nothing to verify with, or nothing to verify."""


def run(
    home: Home,
    ledger: Path | None,
    checkpoint: Path | None,
    key: str | None,
    witnesses: Path | None,
    roots: Path | None,
    question: Question,
    *,
    as_json: bool,
) -> int:
    """Return the exit code: 0 proven, 1 tampered with or an assertion does not hold, 2
    cannot be verified.
    """
    try:
        report, evidence = _verified(home, ledger, checkpoint, key, question)
        folder = checkpoint or published(home)
        report.vouching = vouching(evidence, folder, policy=witnesses, roots=roots)
    except (ProofError, OSError) as error:
        raise Unverified(str(error)) from None
    if as_json:
        screen.say_json(report.json())
    else:
        _show(report)
    return report.exit_code


def _verified(
    home: Home,
    ledger: Path | None,
    checkpoint: Path | None,
    key: str | None,
    question: Question,
) -> tuple[Report, Evidence]:
    folder = checkpoint or published(home)
    beside = folder if folder.is_dir() else folder.parent
    evidence = gather(folder, read_keys(key or str(_there(beside / LOG_KEY))))
    vouching = next((p for p in _writers(home, beside) if p.is_file()), None)
    writers = None if vouching is None else read_keys(str(vouching))
    watch = question.watch(evidence.top.size)
    with screen.progress("verifying") as tell, LedgerFile(ledger or home.ledger) as it:
        report = verify(it, evidence, writers=writers, watch=watch, progress=tell)
        check_file(it, report)
    if watch is not None:
        report.assertions = watch.finish(report.time)
    return report, evidence


def _writers(home: Home, beside: Path) -> tuple[Path, Path]:
    # Whoever can rewrite the ledger may be able to rewrite the home's own list.
    return beside / WRITERS, home.keys / WRITERS


def _there(path: Path) -> Path:
    if not path.is_file():
        raise Unverified(f"there is no {path}: name the log's public key with --key")
    return path


def _show(report: Report) -> None:
    for told in report.screen().splitlines():
        verdict = told.startswith(BANNERS)
        style = VERDICTS[report.exit_code] if verdict else ""
        if told.startswith("  !"):
            style = "red"
        screen.out.print(Text(told, style), soft_wrap=True)

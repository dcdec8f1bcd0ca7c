"""`modelkeep-verify`: check a ledger against what was signed of it, offline.

Exit codes: 0 proven, 1 tampered with, 2 cannot be verified. `modelkeep-verify verdict`
checks one signed verdict instead: see `verdict_file.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from modelkeep.proof import verdict_file
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import gather, read_keys
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.report import UNVERIFIED, Report
from modelkeep.proof.verify import Progress, check_file, silent, verify
from modelkeep.proof.vouching import vouching

VERDICT = "verdict"
"""Asks for the other check; a ledger of that name is `./verdict`."""

_QUIET_SECONDS = 1.0
_TICK_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    said = sys.argv[1:] if arguments is None else list(arguments)
    if said[:1] == [VERDICT]:
        return verdict_file.main(said[1:])
    given = _parser().parse_args(said)
    try:
        report = _verify(given)
    except (ProofError, OSError, ImportError) as error:
        if given.json:
            _say({"verdict": "not verified", "error": str(error)})
        else:
            sys.stderr.write(f"modelkeep-verify: {error}\n")
        return UNVERIFIED
    if given.json:
        _say(report.json())
    else:
        sys.stdout.write(report.screen())
    return report.exit_code


def _say(content: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def _verify(given: argparse.Namespace) -> Report:
    evidence = gather(given.checkpoint, read_keys(given.key), leaves=given.leaves)
    writers = read_keys(given.writers) if given.writers else None
    with LedgerFile(given.ledger) as ledger:
        try:
            report = verify(ledger, evidence, writers=writers, progress=_progress())
            check_file(ledger, report)
        finally:
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K")
    report.vouching = vouching(
        evidence, given.checkpoint, policy=given.witnesses, roots=given.timestamp_roots
    )
    return report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelkeep-verify",
        description="Check a ledger file against the checkpoints signed of it. Needs no"
        " network, no service and nothing from whoever runs the ledger.",
        epilog="Exit codes: 0 proven, 1 tampered with, 2 cannot be verified. To check a"
        " signed verdict: modelkeep-verify verdict --help",
    )
    parser.add_argument("ledger", type=Path, help="the ledger's SQLite file")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="signed checkpoints: a file with one or many, or the folder they are"
        " published in",
    )
    parser.add_argument(
        "--key", required=True, help="the log's public key, or a file that holds it"
    )
    parser.add_argument(
        "--writers", help="the writers' public keys, in a file: one on each line"
    )
    parser.add_argument(
        "--leaves",
        type=Path,
        help="the published leaves (default: `leaves` beside the checkpoints)",
    )
    parser.add_argument(
        "--witnesses",
        type=Path,
        help="a policy (C2SP tlog-policy): whose cosignatures count, and how many",
    )
    parser.add_argument(
        "--timestamp-roots",
        type=Path,
        help="PEM: certificates that vouch for a time-stamping authority (RFC 3161)",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def _progress() -> Progress:
    """Show how far it is, to a person who has waited a second."""
    if not sys.stderr.isatty():
        return silent
    due = time.monotonic() + _QUIET_SECONDS

    def show(done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + _TICK_SECONDS
        sys.stderr.write(f"\r\x1b[K{done:,} of {total:,} events")
        sys.stderr.flush()

    return show


if __name__ == "__main__":
    sys.exit(main())

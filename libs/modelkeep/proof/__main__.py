"""`modelkeep-verify`: check a ledger against what was signed of it, offline.

Exit codes: 0 proven, 1 tampered with, 2 cannot be verified. `modelkeep-verify verdict`
checks one signed verdict instead, `modelkeep-verify dossier` a decision's dossier: see
`verdict_file.py` and `dossier_file.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from modelkeep.proof import dossier_file, exam_file, verdict_file
from modelkeep.proof.assertions import TABLE, Question
from modelkeep.proof.crowd import checking, processors
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import Unusable, gather, read_keys
from modelkeep.proof.export import is_export
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.reading import Progress, silent
from modelkeep.proof.report import UNVERIFIED, Report
from modelkeep.proof.saying import say_json
from modelkeep.proof.verify import check_file, verify
from modelkeep.proof.verify_export import read_head, verify_export
from modelkeep.proof.vouching import vouching

VERDICT = "verdict"
DOSSIER = "dossier"
EXAM = "exam"
"""Ask for the other checks; a ledger of that name is `./verdict`."""

_EPILOG = """\
what can be asserted ("all" for each of them):
{assertions}

exit codes: 0 proven, 1 tampered with or an assertion does not hold, 2 cannot be
verified. To check other files: modelkeep-verify verdict --help, dossier --help,
exam --help
""".format(
    assertions="\n".join(f"  {one.name:<31} {one.claim}" for one in TABLE.values())
)

_QUIET_SECONDS = 1.0
_TICK_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    said = sys.argv[1:] if arguments is None else list(arguments)
    if said[:1] == [VERDICT]:
        return verdict_file.main(said[1:])
    if said[:1] == [DOSSIER]:
        return dossier_file.main(said[1:])
    if said[:1] == [EXAM]:
        return exam_file.main(said[1:])
    given = _parser().parse_args(said)
    try:
        report = _verify(given)
    except (ProofError, OSError, ImportError) as error:
        if given.json:
            say_json({"verdict": "not verified", "error": str(error)})
        else:
            sys.stderr.write(f"modelkeep-verify: {error}\n")
        return UNVERIFIED
    if given.json:
        say_json(report.json())
    else:
        sys.stdout.write(report.screen())
    return report.exit_code


def _verify(given: argparse.Namespace) -> Report:
    keys = read_keys(given.key)
    writers = read_keys(given.writers) if given.writers else None
    if not given.ledger.is_file():
        raise Unusable(f"there is no {given.ledger}")
    exported = is_export(given.ledger)
    if given.checkpoint is None and not exported:
        raise Unusable("name the checkpoints to hold a ledger against: --checkpoint")
    evidence = given.checkpoint and gather(given.checkpoint, keys, leaves=given.leaves)
    size = _size(given.ledger) if exported else evidence.top.size
    watch = _question(given).watch(size)
    progress = _progress()
    try:
        with checking(given.processes) as check:
            if exported:
                report = verify_export(
                    given.ledger,
                    keys,
                    evidence,
                    writers=writers,
                    watch=watch,
                    check=check,
                    progress=progress,
                )
            else:
                with LedgerFile(given.ledger) as ledger:
                    report = verify(
                        ledger,
                        evidence,
                        writers=writers,
                        watch=watch,
                        check=check,
                        progress=progress,
                    )
                    check_file(ledger, report)
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
    if watch is not None:
        report.assertions = watch.finish(report.time)
    if evidence is not None:
        report.vouching = vouching(
            evidence,
            given.checkpoint,
            policy=given.witnesses,
            roots=given.timestamp_roots,
        )
    elif given.witnesses or given.timestamp_roots:
        raise Unusable("--witnesses and --timestamp-roots go with --checkpoint")
    return report


def _size(export: Path) -> int | None:
    """Return how many events were signed, if an export holds them all."""
    head = read_head(export)
    return head.size if head.whole else None


def _question(given: argparse.Namespace) -> Question:
    return Question(
        given.asserted, given.since, given.until, given.tier, given.environment
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelkeep-verify",
        description="Check a ledger file against the checkpoints signed of it. Needs no"
        " network, no service and nothing from whoever runs the ledger.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "ledger",
        type=Path,
        help="the ledger's SQLite file, or what `modelkeep export --log` wrote",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="signed checkpoints: a file with one or many, or the folder they are"
        " published in. Needed for a ledger; an export brings one, and is worth more"
        " beside others",
    )
    parser.add_argument(
        "--key", required=True, help="the log's public key, or a file that holds it"
    )
    parser.add_argument(
        "--writers", help="the writers' public keys, in a file: one on each line"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=processors(),
        help="check writers' signatures in so many [one for each processor]",
    )
    parser.add_argument(
        "--leaves",
        type=Path,
        help="the published leaves (default: `leaves` beside the checkpoints)",
    )
    parser.add_argument(
        "--assert",
        dest="asserted",
        action="append",
        default=[],
        metavar="NAME",
        help="also look for the contrary of this among all events: see below",
    )
    parser.add_argument(
        "--from", dest="since", help="judge from this day, time or event's number on"
    )
    parser.add_argument("--to", dest="until", help="judge up to here: a day is whole")
    parser.add_argument(
        "--tier", type=int, action="append", default=[], help="judge these alone"
    )
    parser.add_argument(
        "--environment", action="append", default=[], help="judge these alone"
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

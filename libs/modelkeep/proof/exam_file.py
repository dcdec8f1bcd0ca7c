"""`modelkeep-verify exam`: check an exam pack, offline.

Exit codes: 0 every file is the one that was signed and there is no other; 1 one is
not, each by name; 2 it cannot be checked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from modelkeep.proof import exam
from modelkeep.proof.errors import BadSignature, Malformed, ProofError
from modelkeep.proof.evidence import read_keys
from modelkeep.proof.saying import clean, say_json

PROVEN: Final = 0
REFUSED: Final = 1
UNCHECKED: Final = 2
"""Exit codes."""

_SHOWN: Final = 20


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    try:
        keys = read_keys(given.key)
    except (ProofError, OSError, ImportError) as error:
        return _unchecked(str(error), as_json=given.json)
    try:
        found = exam.check(given.pack, keys)
    except BadSignature as error:
        return _refused(str(error), as_json=given.json)
    except (Malformed, ImportError) as error:
        return _unchecked(str(error), as_json=given.json)
    if given.json:
        told = found._asdict() | {"files": len(found.files)}
        say_json(told | {"proven": not found.wrong})
    else:
        sys.stdout.write("\n".join(_screen(found)) + "\n")
    return REFUSED if found.wrong else PROVEN


def _screen(found: exam.Checked) -> Iterator[str]:
    yield f"exam pack of {clean(found.origin)}, as of {clean(found.as_of)}"
    yield f"made {clean(found.made_at)}, signed by {clean(', '.join(found.signers))}"
    yield ""
    if found.wrong:
        yield "REFUSED"
        yield from (f"  ! {clean(one)}" for one in found.wrong[:_SHOWN])
        if more := len(found.wrong) - _SHOWN:
            yield f"  ! and {more:,} more" if more > 0 else ""
        return
    yield "proven"
    files = f"{len(found.files):,} files"
    yield f"  + {files} are those that were signed, and there is no other"
    yield "not proven"
    yield "  - that the tables follow from the log: check it, and replay it"
    yield "  - that the log has not moved on since: ask for a later checkpoint"


def _refused(why: str, *, as_json: bool) -> int:
    if as_json:
        say_json({"proven": False, "wrong": [why]})
    else:
        sys.stdout.write(f"REFUSED\n  ! {clean(why)}\n")
    return REFUSED


def _unchecked(why: str, *, as_json: bool) -> int:
    if as_json:
        say_json({"proven": False, "error": why})
    else:
        sys.stderr.write(f"modelkeep-verify: {clean(why)}\n")
    return UNCHECKED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelkeep-verify exam",
        description="Check an exam pack against its signed list of files.",
        epilog="Exit codes: 0 proven, 1 refused, 2 cannot be checked.",
    )
    parser.add_argument("pack", type=Path, help="what `modelkeep export --exam` wrote")
    parser.add_argument(
        "--key",
        required=True,
        help="a public key, or a file of them (exams.vkeys), from whom you trust",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser

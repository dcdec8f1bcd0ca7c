"""`modelkeep-verify verdict`: check a signed verdict before acting on it, offline.

Exit codes: 0 it allows this and holds now; 1 it does not (altered, expired, denied, for
something else); 2 it cannot be checked; 3 approvals are still owed.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from modelkeep.proof import verdict
from modelkeep.proof.dsse import MAX_ENVELOPE_BYTES
from modelkeep.proof.errors import BadSignature, Malformed, ProofError
from modelkeep.proof.evidence import read_keys
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.saying import clean, say_json
from modelkeep.proof.verdict import Said

ALLOWED: Final = 0
FAILED: Final = 1
UNCHECKED: Final = 2
OWED: Final = 3
"""Exit codes."""

EXPECTED: Final = ("action", "model", "version", "environment", "use", "bundle")
_CHUNK: Final = 1 << 20


class Check(NamedTuple):
    """One thing that was looked at, and whether it is as it must be."""

    what: str
    holds: bool


@dataclass(frozen=True)
class Wanted:
    """What whoever acts expects of a verdict. `exactly` holds words of its predicate;
    `artifacts` are digests by the name of the file they are of.
    """

    now: datetime
    exactly: Mapping[str, str]
    artifacts: Mapping[str, str]
    share: float | None = None


class Outcome(NamedTuple):
    checks: Sequence[Check]
    said: Said | None
    code: int

    @property
    def unproven(self) -> list[str]:
        """What this file cannot say, whatever it says."""
        return list(_unproven(self.said)) if self.said is not None else []


def judge(raw: bytes, keys: Sequence[VerifierKey], wanted: Wanted) -> Outcome:
    """Hold a signed verdict against what is wanted. Raises nothing of the file's."""
    try:
        said = verdict.open_sealed(raw, keys, verdict.VERDICT)
        checks = [_signed(said), *_checks(said, wanted)]
    except (BadSignature, Malformed) as error:
        return Outcome([Check(str(error), holds=False)], None, FAILED)
    if not all(one.holds for one in checks):
        waits = said.word("verdict") == "PENDING"
        others = [one for one in checks if one.what[:7] != "PENDING"]
        owed = waits and all(one.holds for one in others)
        return Outcome(checks, said, OWED if owed else FAILED)
    return Outcome(checks, said, ALLOWED)


def _signed(said: Said) -> Check:
    names = ", ".join(f"{key.name}+{key.id.hex()}" for key in said.signed_by)
    return Check(f"signed by {names}, and not altered since", holds=True)


def _checks(said: Said, wanted: Wanted) -> Iterator[Check]:
    yield Check(_sentence(said), said.word("verdict") == "ALLOW")
    issued, expires = said.moment("issuedAt"), said.moment("expiresAt")
    if issued is None:
        yield Check("it does not say when it was issued", holds=False)
    elif wanted.now < issued:
        yield Check(f"issued {issued:%Y-%m-%d %H:%M:%S} UTC, in the future", False)  # noqa: FBT003  # a Check reads so
    if expires is not None:
        yield Check(f"good until {expires:%Y-%m-%d %H:%M:%S} UTC", wanted.now < expires)
    elif said.word("verdict") == "ALLOW":
        yield Check("it does not say until when it holds", holds=False)
    for name, value in wanted.exactly.items():
        found = said.word(name)
        yield Check(f"{name} is {found or 'unsaid'}", found == value)
    yield from _files(said, wanted.artifacts)
    if wanted.share is not None:
        most = said.number("maxTrafficShare")
        fits = most is None or wanted.share <= most
        yield Check("any share of traffic" if most is None else f"share {most:g}", fits)


def _sentence(said: Said) -> str:
    what = " ".join(filter(None, (said.word("model"), said.word("version"))))
    where = f" in {said.word('environment')}" if said.word("environment") else ""
    return f"{said.word('verdict')} to {said.word('action')} {what}{where}"


def _files(said: Said, given: Mapping[str, str]) -> Iterator[Check]:
    known = {digest: name for name, digest in said.subjects.items()}
    for name, digest in given.items():
        if digest in known:
            yield Check(f"{name} is its artifact {known[digest]}", holds=True)
        else:
            yield Check(f"{name} ({digest}) is none of its artifacts", holds=False)


def _unproven(said: Said) -> Iterator[str]:
    yield "that it was not revoked since: ask the ledger, or wait for its expiry"
    yield "that the ledger is intact: see `modelkeep-verify` with its checkpoints"
    if not said.word("checkpoint"):
        yield "how far the log had come: no checkpoint was signed when it was issued"


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, `sha256:<hex>`; raises OSError."""
    hashed = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            hashed.update(chunk)
    return f"sha256:{hashed.hexdigest()}"


def read_file(file: Path) -> bytes:
    """Read an envelope, and no more than one may be; raises OSError."""
    with file.open("rb") as opened:
        return opened.read(MAX_ENVELOPE_BYTES + 1)


# --- the command -------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    try:
        outcome = _judged(given)
    except (ProofError, OSError, ImportError) as error:
        if given.json:
            say_json({"verdict": "not checked", "error": str(error)})
        else:
            sys.stderr.write(f"modelkeep-verify: {error}\n")
        return UNCHECKED
    if given.json:
        say_json(as_json(outcome))
    else:
        sys.stdout.write(screen(outcome, whole=bool(given.artifact)))
    return outcome.code


def _judged(given: argparse.Namespace) -> Outcome:
    wanted = Wanted(
        now=given.at or datetime.now(UTC),
        exactly={n: v for n in EXPECTED if (v := getattr(given, n)) is not None},
        artifacts={str(file): digest_of(file) for file in given.artifact},
        share=given.share,
    )
    return judge(read_file(given.file), read_keys(given.key), wanted)


def as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "verdict": {ALLOWED: "holds", OWED: "pending"}.get(outcome.code, "refused"),
        "checks": [one._asdict() for one in outcome.checks],
        "unproven": outcome.unproven,
        "subjects": dict(outcome.said.subjects) if outcome.said is not None else {},
        "predicate": dict(outcome.said.predicate) if outcome.said is not None else {},
    }


def screen(outcome: Outcome, *, whole: bool) -> str:
    lines = [f"  {'✓' if one.holds else '✗'} {one.what}" for one in outcome.checks]
    said = outcome.said
    if said is not None and not whole:
        lines.append(
            "  · no artifact was given: it is not known what would be deployed"
        )
    lines += [f"  · not proven here: {one}" for one in outcome.unproven]
    words = {
        ALLOWED: "It holds.",
        FAILED: "It does not hold: do not act on it.",
        OWED: "Approvals are still owed: do not act on it yet.",
    }
    return "\n".join(map(clean, [*lines, words[outcome.code]])) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelkeep-verify verdict",
        description="Check a signed verdict (DSSE) before acting on it. Needs no"
        " network: only the public key that is published beside the checkpoints.",
        epilog="Exit codes: 0 it allows this and holds now, 1 it does not, 2 it cannot"
        " be checked, 3 approvals are still owed.",
    )
    parser.add_argument("file", type=Path, help="what `modelkeep gate --out` wrote")
    parser.add_argument(
        "--key",
        required=True,
        help=f"the verdicts' public key, or a file of such ({verdict.KEYS})",
    )
    parser.add_argument(
        "--artifact",
        type=Path,
        action="append",
        default=[],
        help="a file that would be deployed; may be given more than once",
    )
    for name in EXPECTED:
        parser.add_argument(f"--{name}", help=f"the {name} it must be for")
    parser.add_argument(
        "--share", type=float, help="the share of traffic it must allow"
    )
    parser.add_argument(
        "--at", type=_moment, help="another time than now, as 2026-03-01T12:00:00Z"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def _moment(given: str) -> datetime:
    found = datetime.fromisoformat(given)
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError("say its zone, for one a Z at the end")
    return found

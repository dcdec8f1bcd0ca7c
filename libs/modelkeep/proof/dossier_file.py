"""`modelkeep-verify dossier`: check a decision's dossier, offline, and say in one
screen what is proven and what is not.

Exit codes: 0 all that is claimed holds; 1 something in it does not, and which; 2 it
cannot be checked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from modelkeep.proof import dossier, note, verdict
from modelkeep.proof.checkpoint import Checkpoint, open_signed
from modelkeep.proof.dossier import Dossier
from modelkeep.proof.dossier_checks import Check, checks, proves_columns
from modelkeep.proof.dossier_writers import Written, written
from modelkeep.proof.errors import BadSignature, Malformed, ProofError
from modelkeep.proof.evidence import Evidence, Unusable, gather, read_keys
from modelkeep.proof.merkle import root_of
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.rotation import ROTATIONS, Eras, Rotation, read
from modelkeep.proof.saying import clean, say_json
from modelkeep.proof.verdict_file import digest_of

PROVEN: Final = 0
REFUSED: Final = 1
UNCHECKED: Final = 2
"""Exit codes."""

WRITERS: Final = "writers.vkeys"
"""The name that the writers' public keys are published under."""
_SHOWN: Final = 12


@dataclass(frozen=True)
class Trusted:
    """What a reader brings: public keys by what they are for, how the log's followed
    one another, checkpoints kept elsewhere, and files that may be artifacts of the
    version, by name.
    """

    log: Sequence[VerifierKey]
    dossiers: Sequence[VerifierKey]
    verdicts: Sequence[VerifierKey] = ()
    writers: Sequence[VerifierKey] = ()
    rotations: Sequence[Rotation] = ()
    kept: Evidence | None = None
    artifacts: Mapping[str, str] | None = None

    def log_keys(self, said: Dossier) -> Sequence[VerifierKey]:
        """Return the keys whose checkpoints of that size count."""
        try:
            size = Checkpoint.parse(note.parse(said.checkpoint.encode()).text).size
        except ProofError:
            return self.log
        return Eras(self.log, self.rotations).at(size)


@dataclass(frozen=True)
class Outcome:
    """`said` is None when nothing in the file could be believed."""

    checks: Sequence[Check]
    said: Dossier | None
    unproven: Sequence[str] = ()

    @property
    def code(self) -> int:
        return PROVEN if self.said and all(c.holds for c in self.checks) else REFUSED

    @property
    def wrong(self) -> list[str]:
        return [one.what for one in self.checks if not one.holds]


def judge(raw: bytes, trusted: Trusted) -> Outcome:
    """Check a dossier. Raises nothing of the file's."""
    try:
        said = dossier.open_sealed(raw, trusted.dossiers)
    except (BadSignature, Malformed) as error:
        refused = Check(f"the envelope: {error}", holds=False)
        return Outcome([refused, *_suspects(raw, trusted)], None)
    names = ", ".join(f"{key.name}+{key.id.hex()}" for key in said.signed_by)
    by_writers = written(said, trusted.writers)
    found = [
        Check(f"the dossier was signed by {names}, and not altered since", holds=True),
        *checks(said, trusted.log_keys(said)),
        *_kept(said, trusted),
        *_files(said, trusted.artifacts or {}),
        *_verdict(said, trusted),
        *_writers(by_writers),
    ]
    return Outcome(found, said, list(_unproven(said, trusted, by_writers)))


def _suspects(raw: bytes, trusted: Trusted) -> Iterator[Check]:
    """Say what else does not fit in a file that is not to be believed: its parts prove
    themselves, so that most often names what was changed.
    """
    try:
        unsigned = dossier.unsigned(raw)
    except ProofError as error:
        yield Check(f"inside it: {error}", holds=False)
        return
    for one in checks(unsigned, trusted.log_keys(unsigned)):
        if not one.holds:
            yield Check(f"inside it: {one.what}", holds=False)


def _kept(said: Dossier, trusted: Trusted) -> Iterator[Check]:
    """Hold the dossier's checkpoint against those that were kept elsewhere."""
    mine = _checkpoint(said, trusted)
    if trusted.kept is None or mine is None:
        return
    for one in trusted.kept.all:
        if one.checkpoint.size == mine.size and trusted.kept.signers(one):
            yield Check(
                f"the checkpoint kept of {mine.size:,} events is the same",
                one.checkpoint.root == mine.root,
            )
            return
    leaves = trusted.kept.published_leaves()
    if len(leaves) > mine.size:
        yield Check(
            f"the log of {len(leaves):,} events that was kept continues this one",
            root_of(leaves[: mine.size]) == mine.root,
        )


def _checkpoint(said: Dossier, trusted: Trusted) -> Checkpoint | None:
    try:
        return open_signed(said.checkpoint.encode(), trusted.log_keys(said))[0]
    except ProofError:
        return None


def _built(said: Dossier) -> set[str]:
    """Return the digests that the version was registered with: one."""
    return {
        str(event.said.get("digest"))
        for event in said.events.values()
        if event.name == "inventory.version-registered"
        and event.said.get("version") == said.schema.version
    }


def _files(said: Dossier, given: Mapping[str, str]) -> Iterator[Check]:
    known = {
        str(one.get("digest")): str(one.get("name"))
        for event in said.events.values()
        if event.name == "inventory.version-registered"
        and event.said.get("version") == said.schema.version
        for one in _listed(event.said.get("artifacts"))
    }
    for name, digest in given.items():
        if digest in known:
            yield Check(f"{name} is its artifact {known[digest]}", holds=True)
        else:
            yield Check(f"{name} ({digest}) is none of its artifacts", holds=False)


def _listed(found: object) -> list[dict[str, object]]:
    return [o for o in found if isinstance(o, dict)] if isinstance(found, list) else []


def _verdict(said: Dossier, trusted: Trusted) -> Iterator[Check]:
    if said.verdict is None or not trusted.verdicts:
        return
    try:
        raw = said.verdict.encode()
        signed = verdict.open_sealed(raw, trusted.verdicts, verdict.VERDICT)
    except (ProofError, UnicodeEncodeError) as error:
        yield Check(f"the verdict's own signature: {error}", holds=False)
        return
    schema = said.schema
    let = {c.key for c in said.then.claims if c.derived.get("let_it_serve") is True}
    yield Check(
        f"policy's own signature of that verdict ({signed.word('verdict')},"
        f" {signed.word('issuedAt')}) fits, and is about this version",
        (signed.word("model"), signed.word("version")) == (schema.model, schema.version)
        and signed.word("request") in let
        and signed.digest in _built(said),
    )


def _writers(found: Written) -> Iterator[Check]:
    for event in found.wrong:
        yield Check(
            f"the writer's signature of event {event.id} ({event.name}) fits",
            holds=False,
        )
    if found.events:
        names = ", ".join(found.names)
        yield Check(
            f"{found.events:,} of the events were signed by their writer, {names}",
            holds=True,
        )


def _unproven(said: Dossier, trusted: Trusted, by_writers: Written) -> Iterator[str]:
    batch = said.events.get(said.proven.event)
    if batch is not None and proves_columns(batch):
        yield "the row: its batch proves columns, not single rows; the signer says it"
    derived = sum(
        len(c.derived) for m in (said.then, said.now) for c in m.claims if c.derived
    )
    if derived:
        yield (
            f"{derived} words that no single event says (a status, what a budget has"
            " spent): the signer concluded them"
        )
    yield "that nothing was left out: an alert that is not here would not be missed"
    if said.verdict is None:
        yield "policy's own signature of the verdict: it is not in the file"
    elif not trusted.verdicts:
        yield "policy's own signature of the verdict: no key was given (--verdicts)"
    unsigned = len(said.events) - by_writers.events
    if unsigned:
        yield (
            f"who wrote {unsigned:,} of the events: their writers' keys were not given"
            " (--writers), or they were appended with others that are not here"
        )
    mine = _checkpoint(said, trusted)
    if mine is not None and not any(_kept(said, trusted)):
        yield (
            "that others are shown the same log: no checkpoint kept elsewhere was given"
            f" that speaks of these {mine.size:,} events (--checkpoint)"
        )
    if any(text not in {"[sealed]", "[erased]"} for text in said.personal.values()):
        yield "personal fields that were opened: the log holds their ciphertext alone"
    yield "that what was written down was true"


def read_file(file: Path) -> bytes:
    """Read an envelope, and no more than one may be; raises OSError."""
    with file.open("rb") as opened:
        return opened.read(dossier.MAX_BYTES + 1)


# --- the command -------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    started = time.perf_counter()
    try:
        outcome = judge(read_file(given.file), trusted(given))
    except (ProofError, OSError, ImportError) as error:
        if given.json:
            say_json({"verdict": "not checked", "error": str(error)})
        else:
            sys.stderr.write(f"modelkeep-verify: {error}\n")
        return UNCHECKED
    if given.json:
        say_json(as_json(outcome))
    else:
        sys.stdout.write(screen(outcome, time.perf_counter() - started))
    return outcome.code


def trusted(given: argparse.Namespace) -> Trusted:
    """Read what the reader brings. Raises ProofError, OSError."""
    log = read_keys(given.key)
    beside = Path(given.key).parent if Path(given.key).is_file() else None
    signers = _keys(given.dossiers, beside, dossier.KEYS)
    if not signers:
        raise Unusable(
            f"no key that dossiers are signed with: name it with --dossiers, or put"
            f" {dossier.KEYS} beside the log's"
        )
    return Trusted(
        log=log,
        dossiers=signers,
        verdicts=_keys(given.verdicts, beside, verdict.KEYS),
        writers=_keys(given.writers, beside, WRITERS),
        rotations=list(read(beside / ROTATIONS)) if beside else [],
        kept=gather(given.checkpoint, log) if given.checkpoint else None,
        artifacts={str(file): digest_of(file) for file in given.artifact},
    )


def _keys(given: str | None, beside: Path | None, name: str) -> list[VerifierKey]:
    if given is not None:
        return read_keys(given)
    if beside is not None and (beside / name).is_file():
        return read_keys(str(beside / name))
    return []


def as_json(outcome: Outcome) -> dict[str, object]:
    said = outcome.said
    return {
        "verdict": "proven" if outcome.code == PROVEN else "refused",
        "decision": str(said.id) if said else None,
        "checks": [one._asdict() for one in outcome.checks],
        "unproven": list(outcome.unproven),
        "gaps": list(said.gaps) if said else [],
    }


def screen(outcome: Outcome, seconds: float = 0.0) -> str:
    return "\n".join(map(clean, _lines(outcome, seconds))) + "\n"


def _lines(outcome: Outcome, seconds: float) -> Iterator[str]:
    said = outcome.said
    if said is not None:
        schema = said.schema
        yield f"Decision    {said.id}"
        yield f"by          {schema.model} {schema.version} in {schema.environment}"
        yield f"at          {_instant(said.at)}"
        yield f"score       {said.decision.score}"
        yield f"dossier of  {_instant(said.issued_at)}"
        yield ""
    if outcome.wrong:
        yield "WRONG"
        yield from (f"  ! not so: {one}" for one in outcome.wrong[:_SHOWN])
        if len(outcome.wrong) > _SHOWN:
            yield f"  ! and {len(outcome.wrong) - _SHOWN} more"
        yield ""
    if said is not None:
        yield "PROVEN"
        yield from (f"  + {one.what}" for one in outcome.checks if one.holds)
        yield from ("", "NOT PROVEN", *(f"  - {one}" for one in outcome.unproven), "")
        if said.gaps:
            yield from (
                "GAPS, by its own account",
                *(f"  ? {o}" for o in said.gaps),
                "",
            )
    words = {PROVEN: "PROVEN", REFUSED: "REFUSED: do not rely on it"}
    yield f"{words[outcome.code]}  ({seconds * 1000:.0f} ms)"


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelkeep-verify dossier",
        description="Check the dossier of a decision: its row, every event it cites,"
        " the log they are in and who signed it. Needs no network and no service.",
        epilog="Exit codes: 0 all of it holds, 1 something does not (it says what), 2"
        " it cannot be checked.",
    )
    parser.add_argument("file", type=Path, help="what `modelkeep dossier --out` wrote")
    parser.add_argument(
        "--key", required=True, help="the log's public key, or a file that holds it"
    )
    parser.add_argument(
        "--dossiers",
        help="the public keys that dossiers are signed with, or a file of such"
        f" (default: {dossier.KEYS} beside the log's)",
    )
    parser.add_argument(
        "--verdicts",
        help=f"policy's public keys (default: {verdict.KEYS} beside the log's)",
    )
    parser.add_argument(
        "--writers",
        help=f"the writers' public keys (default: {WRITERS} beside the log's)",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="checkpoints that you kept yourself: a file, or a folder of such",
    )
    parser.add_argument(
        "--artifact",
        type=Path,
        action="append",
        default=[],
        help="a file that may be an artifact of the version; more than once",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser

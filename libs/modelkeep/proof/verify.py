"""The verification: one pass over a ledger file, and the search for what is wrong.

Each leaf is recomputed from the stored bytes, the tree from the leaves, and its root is
held against signed checkpoints. Only when that fails is the culprit looked for, with
leaves that a checkpoint proves to be the signed ones: those published beside it, or the
ledger's own leaf column when whoever changed an event forgot it. Where there are none,
older checkpoints narrow the stretch of history that was rewritten.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from modelkeep.proof.crowd import Check, here
from modelkeep.proof.evidence import Evidence, Unchecked, cut
from modelkeep.proof.ledger_file import Damaged, LedgerFile
from modelkeep.proof.merkle import root_of
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.reading import Progress, Reading, Watch, event_problem, silent
from modelkeep.proof.report import KEPT, Problem, Report, Tail


def verify(
    ledger: LedgerFile,
    evidence: Evidence,
    *,
    writers: Sequence[VerifierKey] | None = None,
    watch: Watch | None = None,
    check: Check = here,
    progress: Progress = silent,
) -> Report:
    """Return what is proven and what is not; raises Unreadable.

    With `writers`, every append must be signed by one of these. `watch` is told of
    events as they are found: what they are worth, the report says. `check` checks
    writers' signatures.
    """
    started = time.perf_counter()
    top = evidence.top
    report = Report(
        ledger=str(ledger.path),
        origin=top.origin,
        signers=[str(key) for key in evidence.signed_by],
        size=top.size,
        root=top.root,
        time=top.time,
    )
    reading = Reading(ledger, report, evidence, writers, watch, check)
    reading.run(progress)
    _judge(ledger, report, evidence, reading)
    _check_stored_tree(ledger, report, reading)
    ledger.require_unchanged()
    report.seconds = time.perf_counter() - started
    return report


def check_file(ledger: LedgerFile, report: Report) -> None:
    """Add to `report` what is wrong with the file around its events.

    A proof speaks of tables; the ledger's services find events through indexes, and one
    of these may have been made to hide an event. Costs a third of `verify`.
    """
    try:
        faults = ledger.faults(KEPT)
    except Damaged as error:
        faults = [str(error)]
    for fault in faults:
        report.add(Problem("file", f"the file is inconsistent: {fault}"))
    report.file_checked = True
    ledger.require_unchanged()


def _judge(
    ledger: LedgerFile, report: Report, evidence: Evidence, reading: Reading
) -> None:
    """Hold what was read against what was signed."""
    top = evidence.top
    for origin in ledger.origins:
        if origin != top.origin:
            text = f"the ledger calls itself {origin!r}, the checkpoint {top.origin!r}"
            report.add(Problem("origin", text))
    agreeing = [one for one in evidence.all if _agrees(one, reading)]
    differing = [one for one in evidence.all if not _agrees(one, reading)]
    report.checkpoints, report.agreeing = len(evidence.all), len(agreeing)
    report.ignored = evidence.ignored
    report.proven = _size(
        next((one for one in reversed(agreeing) if evidence.signers(one)), None)
    )
    first_wrong = next((one for one in differing if evidence.signers(one)), None)
    if first_wrong is None:
        _blame_hashes(ledger, report, reading)
    elif report.proven > first_wrong.checkpoint.size:
        text = (
            f"two histories were signed: the checkpoint of {report.proven:,} events"
            f" does not continue that of {first_wrong.checkpoint.size:,}"
        )
        report.add(Problem("forked", text))
    else:
        _find(ledger, report, evidence, reading, first_wrong.checkpoint.size)
    report.tail = _tail(ledger, report.events, top.size)


def _tail(ledger: LedgerFile, events: int, signed: int) -> Tail:
    if events <= signed:
        return Tail(0, None)
    try:
        since = ledger.glimpse(signed).recorded_at
    except Damaged:
        since = None
    return Tail(events - signed, since if isinstance(since, int) else None)


def _agrees(one: Unchecked, reading: Reading) -> bool:
    return reading.roots.get(one.checkpoint.size) == one.checkpoint.root


def _size(one: Unchecked | None) -> int:
    return one.checkpoint.size if one else 0


def _blame_hashes(ledger: LedgerFile, report: Report, reading: Reading) -> None:
    """Every checkpoint agrees: a stored hash that does not fit was changed itself."""
    for index in reading.unequal:
        signed = index < report.proven
        kind, text = (
            ("hash", "has another stored hash; the event itself is as signed")
            if signed
            else ("altered", "does not fit its stored hash")
        )
        report.add(event_problem(ledger, kind, index, text))


def _find(
    ledger: LedgerFile,
    report: Report,
    evidence: Evidence,
    reading: Reading,
    wrong: int,
) -> None:
    """Name what differs from the history signed, which it does at size `wrong`."""
    top = evidence.top
    if report.events < top.size:
        text = f"{top.size:,} events were signed, {report.events:,} are there"
        report.add(Problem("shorter", text))
    text = (
        f"history was rewritten: the first {report.proven:,} events are as signed,"
        f" the first {wrong:,} are not"
    )
    report.add(Problem("root", text))
    signed = _signed_leaves(ledger, evidence)
    if not signed:
        for index in reading.unequal:
            report.add(
                event_problem(ledger, "altered", index, "does not fit its stored hash")
            )
        return
    found = list(cut(b"".join(reading.leaves)))
    for difference in differences(signed, found):
        _tell(ledger, report, difference)


def _signed_leaves(ledger: LedgerFile, evidence: Evidence) -> list[bytes]:
    """Return the leaves that were signed, none when nobody kept them."""
    published = evidence.published_leaves()
    if published:
        return published
    try:
        stored = list(islice(ledger.stored_leaves(), evidence.top.size))
    except Damaged:
        return []
    return stored if root_of(stored) == evidence.top.root else []


class Difference(NamedTuple):
    """Indices in the history signed and the one found; None where it has none."""

    signed: int | None
    found: int | None


def differences(
    signed: Sequence[bytes], found: Sequence[bytes]
) -> Iterator[Difference]:
    """Compare two histories leaf by leaf; what follows the end of `signed` is new.

    A leaf that is in neither place of the other was altered there; one that the other
    lacks altogether was removed, or put in.
    """
    in_signed, in_found = set(signed), set(found)
    left = right = 0
    while left < len(signed):
        old = signed[left]
        new = found[right] if right < len(found) else None
        if old == new:
            left, right = left + 1, right + 1
        elif new is None or (new in in_signed and old not in in_found):
            yield Difference(left, None)
            left += 1
        elif old in in_found and new not in in_signed:
            yield Difference(None, right)
            right += 1
        else:
            yield Difference(left, right)
            left, right = left + 1, right + 1


def _tell(ledger: LedgerFile, report: Report, difference: Difference) -> None:
    signed, found = difference
    if found is None:
        assert signed is not None  # noqa: S101, one of the two is there
        text = f"leaf {signed} is missing: an event that was signed is gone"
        report.add(Problem("missing", text, signed))
    elif signed is None:
        report.add(
            event_problem(ledger, "inserted", found, "was put in after the signing")
        )
    else:
        report.add(
            event_problem(ledger, "altered", found, "is not the one that was signed")
        )


def _check_stored_tree(ledger: LedgerFile, report: Report, reading: Reading) -> None:
    """Say when the stored tree is not that of the events: its proofs would be wrong."""
    tree = [(reading.edge.size, reading.edge.dump())]
    try:
        same = (ledger.stored_tree(), ledger.stored_nodes()) == (
            tree,
            sorted(reading.nodes),
        )
    except Damaged as error:
        report.add(Problem("damaged", str(error)))
        return
    if not same:
        report.add(Problem("tree", "the stored Merkle tree is not that of the events"))

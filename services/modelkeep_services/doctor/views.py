"""Whether the views are what the log makes of them, and how far they have come.

The log's beginning is replayed into a file beside nothing that runs, and its history
is compared with what the view's own file says of the same stretch: that must be the
same whatever came later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import apsw

from modelkeep import rowstore
from modelkeep.store.port import START, Recorded
from modelkeep.viewfile import Halt, ViewFile
from modelkeep.views import AnyView, fact
from modelkeep.viewset import fingerprint
from modelkeep_services.doctor.finding import Finding, fail, ok, warn

SAMPLE: Final = 2_000
"""Events replayed unless all are asked for."""
BATCH: Final = 5_000
BEHIND: Final = 10_000
"""Positions that a view may be behind without a word."""
REBUILD: Final = "run `modelkeep replay` while no service runs: it makes them anew"

UPGRADE: Final = "upgrade to code that reads the event; nothing was skipped"

Log = Callable[[int], Iterable[Recorded]]
"""The events beyond a position, in global order."""


def views(
    name: str,
    some: Sequence[AnyView],
    path: Path,
    log: Log,
    head: int,
    *,
    whole: bool,
) -> Iterator[Finding]:
    check = f"views.{name}"
    if not path.exists():
        yield ok(check, "not made yet: the first start makes them")
        return
    try:
        yield from _looked_at(check, some, path, log, head, whole=whole)
    except (apsw.Error, StopIteration) as error:
        yield fail(check, f"{path} cannot be read: {error}", REBUILD)


def _looked_at(
    check: str,
    some: Sequence[AnyView],
    path: Path,
    log: Log,
    head: int,
    *,
    whole: bool,
) -> Iterator[Finding]:
    file = rowstore.connect(path, readonly=True)
    try:
        if rowstore.fingerprint(file) != fingerprint(some):
            yield warn(
                check,
                "made by another version of the code",
                "nothing: the next start makes them anew",
            )
            return
        with file:  # one snapshot
            at = rowstore.position(file)
            yield _lag(check, at, head)
            yield _same(check, some, file, log, at, whole=whole)
            yield from _halting(check, some, log, at, whole=whole)
    finally:
        file.close()


def _lag(check: str, at: int, head: int) -> Finding:
    said = f"at position {max(at, 0):,} of {max(head, 0):,}"
    if at > head:
        return fail(
            f"{check}.lag",
            f"{said}: they have seen events that the ledger has not",
            f"the ledger is an old one? If it is meant: {REBUILD}",
        )
    if head - at > BEHIND:
        return warn(f"{check}.lag", said, "start the services: they catch up")
    return ok(f"{check}.lag", said)


def _halting(
    check: str, some: Sequence[AnyView], log: Log, at: int, *, whole: bool
) -> Iterator[Finding]:
    """Look beyond `at` for what the code here cannot read: there they would halt."""
    names = {name for view in some for name in view.applies}
    for recorded in islice(log(at), None if whole else SAMPLE):
        if recorded.name in names:
            try:
                fact(recorded)
            except Exception as error:  # noqa: BLE001  # as a view would take it
                yield fail(
                    f"{check}.next",
                    f"will halt at position {recorded.position}, {recorded.name}:"
                    f" {error}",
                    UPGRADE,
                )
                return


def _same(
    check: str,
    some: Sequence[AnyView],
    file: apsw.Connection,
    log: Log,
    at: int,
    *,
    whole: bool,
) -> Finding:
    check = f"{check}.rows"
    torn = _torn(file)
    if torn:
        return fail(check, f"{torn} rows are not the last of their history", REBUILD)
    with TemporaryDirectory() as folder:
        fresh = Path(folder, "replayed.db")
        made = rowstore.create(
            fresh, fingerprint(some), sorted(view.name for view in some)
        )
        replayed = ViewFile(made, {view.name: view for view in some})
        try:
            halt, events = _replay(replayed, log, at, None if whole else SAMPLE)
            upto = replayed.position
            differing = _differing(file, made, upto)
        finally:
            replayed.close()
    if halt is not None:
        return fail(
            check,
            f"halted at position {halt.position}, {halt.event}: {halt.reason}",
            UPGRADE,
        )
    if differing:
        return fail(
            check, f"not what the log makes of them: {', '.join(differing)}", REBUILD
        )
    which = "all" if whole else "the first"
    more = "" if whole else " (--full: all)"
    return ok(check, f"the same as a replay of {which} {events:,} events{more}")


def _replay(
    file: ViewFile, log: Log, upto: int, most: int | None
) -> tuple[Halt | None, int]:
    file.hurry()
    done = 0
    for recorded in log(START):
        if recorded.position > upto or done == most:
            break
        halt = file.apply(recorded)
        if halt is not None:
            return halt, done
        done += 1
        if done % BATCH == 0:
            file.commit()
    file.commit()
    return None, done


def _torn(file: apsw.Connection) -> int:
    """Count keys whose current row is not the last of their history."""
    found = file.execute(
        """
        select count(*) from keys k where body is not (
          select body from history h where h.kid = k.kid order by since desc limit 1
        )
        """
    ).get
    return int(found)


def _differing(one: apsw.Connection, other: apsw.Connection, upto: int) -> list[str]:
    left, right = _histories(one, upto), _histories(other, upto)
    return sorted(
        name for name in left.keys() | right.keys() if left.get(name) != right.get(name)
    )


def _histories(file: apsw.Connection, upto: int) -> dict[str, str]:
    """SHA-256 of each view's history up to a position."""
    hashes: dict[str, hashlib._Hash] = {}
    if upto == START:
        return {}
    for name, *parts in file.execute(
        """
        select v.name, k.tenant, k.key, h.since, h.body from views v
        join keys k on k.vid = v.vid
        join history h on h.kid = k.kid
        where h.since <= ?
        order by v.name, k.tenant, k.key, h.since
        """,
        (upto,),
    ):
        sha = hashes.setdefault(name, hashlib.sha256())
        for part in parts:
            raw = part if isinstance(part, bytes) else str(part).encode()
            sha.update(b"%d:%b" % (len(raw), raw))
    return {name: sha.hexdigest() for name, sha in hashes.items()}

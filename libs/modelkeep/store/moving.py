"""A ledger carried to another engine: the same events in the same order, same proofs.

A leaf holds nothing that an engine assigns and a position is a rank, so what was signed
of the one holds for the other, and a home's views and reactions go on where they stood.
Only the engine's stamp of when it recorded an event is the new engine's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from modelkeep.errors import Corrupt, Invalid
from modelkeep.proof.merkle import root_at
from modelkeep.store.port import MAX_APPEND_BYTES, START, NewEvent, Recorded
from modelkeep.store.ranked import RankedStore
from modelkeep.store.ranks import STRIDE

AT_ONCE: Final = 512
"""Appends under way together, of at most MOST_EVENTS each."""

MOST_EVENTS: Final = 256

Progress = Callable[[int, int], None]
"""Told how many events are there, of how many."""


class Carried(NamedTuple):
    """How many events were written now, and the tree that both ledgers have."""

    written: int
    size: int
    root: bytes


class _Run(NamedTuple):
    """Events that follow each other both in the log and in their stream."""

    stream: str
    version: int
    events: list[NewEvent]


def carry(source: RankedStore, target: RankedStore, tell: Progress) -> Carried:
    """Write to `target` what it lacks of what `source` holds now.

    A target that holds the beginning gets the rest: so a long log is carried while it
    grows, and what came meanwhile when nobody writes any more. Raises Invalid when the
    target is another history, and Corrupt when the source's events are not those that
    its tree was grown from.
    """
    size, root = source.tree()
    had, edge = target.tree()
    if target.origin != source.origin:
        raise Invalid.field("to", f"is {target.origin}, not {source.origin}")
    if had > size or root_at(source.frozen_tree(size), had) != edge:
        raise Invalid.field("to", f"holds {had} events that are not the first of these")
    after = (had - 1) * STRIDE if had else START
    events = source.read_all(after=after, limit=size - had)
    done = had
    for some in _at_once(_runs(events)):
        told = [
            target.submit(one.stream, one.events, expected=one.version) for one in some
        ]
        for future in told:
            future.result()
        done += sum(len(one.events) for one in some)
        tell(done, size)
    if target.tree() != (size, root):
        raise Corrupt(
            f"the tree of {source.origin} was not grown from what it holds:"
            f" {_first_difference(source, target, size)}"
        )
    return Carried(size - had, size, root)


def _runs(events: Iterable[Recorded]) -> Iterator[_Run]:
    run: _Run | None = None
    size = 0
    for one in events:
        new = NewEvent(one.uuid, one.name, one.schema_version, one.data, one.metadata)
        own = len(one.data) + len(one.metadata)
        if run is not None and _continues(run, one) and size + own <= MAX_APPEND_BYTES:
            run.events.append(new)
            size += own
            continue
        if run is not None:
            yield run
        run, size = _Run(one.stream, one.version - 1, [new]), own
    if run is not None:
        yield run


def _continues(run: _Run, one: Recorded) -> bool:
    return (
        run.stream == one.stream
        and run.version + len(run.events) + 1 == one.version
        and len(run.events) < MOST_EVENTS
        and one.id not in {event.id.bytes for event in run.events}
    )


def _at_once(runs: Iterator[_Run]) -> Iterator[list[_Run]]:
    """Bounded handfuls: within one the order is that in which they are handed in."""
    while some := list(islice(runs, AT_ONCE)):
        yield some


def _first_difference(source: RankedStore, target: RankedStore, size: int) -> str:
    pairs = zip(source.leaves(0, size), target.leaves(0, size), strict=False)
    for rank, (was, made) in enumerate(pairs):
        if was != made:
            event = source.event_at(rank)
            return f"{event.name} at position {event.position} is not what was written"
    return f"it has {size} leaves, and events for {target.tree()[0]}"

"""Logged rows to messages: grouped by use and features, none above the limit.

A batch is named by the decisions in it, so that packing them again names it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.sdk import packing
from modelkeep.sdk.packing import Value, Values
from modelkeep.sdk.resources import Used, share
from modelkeep.sdk.uuid7 import content_id, octets

MAX_BYTES: Final = 1_000_000
"""A little below what a server accepts (1 MiB)."""
MAX_ROWS: Final = 65_536
BESIDE_BYTES: Final = 16 + 8 + 8
"""Id, time and score of a row."""
UNSAID: Final = 2
NEVER: Final = 2


Flags: TypeAlias = Sequence[bool | None] | bool | None
"""One for each row, or one for all; None says nothing."""


class Source(NamedTuple):
    """Who logs."""

    model: str
    version: str
    environment: str


class Row(NamedTuple):
    """One decision; `at` in microseconds since 1970."""

    use: str
    names: tuple[str, ...]
    values: tuple[Value, ...]
    id: bytes
    at: int
    score: float
    latency_ms: float | None
    explained: int
    reason_codes: int
    reference: str | None
    explanation_ms: float | None = None


Names: TypeAlias = dict[tuple[str, ...], tuple[str, ...]]
"""Features' names by themselves, so that rows with the same share them."""
MOST_NAMES: Final = 256

Given: TypeAlias = tuple[
    int,
    str,
    dict[str, Value],
    float,
    float | None,
    float | None,
    str,
    bool | None,
    bool | None,
    str | None,
]
"""A decision as a caller's thread leaves it: nanoseconds since 1970, id, features,
score, latency and explanation in ms, use, explained, reason codes, reference. No
NamedTuple, which would take longer to make than all the rest.
"""


def rowed(given: Given, known: Names) -> Row:
    """Raises TypeError or ValueError for what is none: it is refused alone."""
    at, text, features, score, latency, explanation, use, explained, codes, own = given
    if not isinstance(use, str):
        raise TypeError(f"{use!r} is no name of a use")
    names = tuple(features)
    if names not in known and len(known) >= MOST_NAMES:
        known.clear()
    return Row(
        use,
        known.setdefault(names, names),
        tuple(features.values()),
        octets(text),
        at // 1000,
        float(score),
        None if latency is None else float(latency),
        UNSAID if explained is None else bool(explained),
        UNSAID if codes is None else codes,
        own,
        None if explanation is None else float(explanation),
    )


class Block(NamedTuple):
    """Many decisions that came as columns, packed when they came."""

    request: pb.ObserveRequest
    rows: int


class Outcome(NamedTuple):
    """`value` is 0, 1 or NEVER; of outcomes that are numbers 0 or NEVER, with the
    `number` beside it (0 for NEVER).
    """

    id: bytes
    value: int
    known_at: int
    number: float | None = None


def requests(
    source: Source, rows: Iterable[Row], texts: set[str]
) -> Iterator[pb.ObserveRequest]:
    """Pack rows. A decision that is there twice is packed once: the first. `texts`
    remembers which columns hold text, from one call to the next.
    """
    groups: dict[tuple[str, tuple[str, ...]], dict[bytes, Row]] = {}
    for row in rows:
        groups.setdefault((row.use, row.names), {}).setdefault(row.id, row)
    for (use, names), found in groups.items():
        yield from _fitting(source, use, names, list(found.values()), texts)


def _fitting(
    source: Source,
    use: str,
    names: tuple[str, ...],
    rows: Sequence[Row],
    texts: set[str],
) -> Iterator[pb.ObserveRequest]:
    if len(rows) <= MAX_ROWS:
        request = _request(source, use, names, rows, texts)
        if len(rows) == 1 or request.ByteSize() <= MAX_BYTES:
            yield request
            return
    half = len(rows) // 2
    yield from _fitting(source, use, names, rows[:half], texts)
    yield from _fitting(source, use, names, rows[half:], texts)


def _request(
    source: Source,
    use: str,
    names: tuple[str, ...],
    rows: Sequence[Row],
    texts: set[str],
) -> pb.ObserveRequest:
    values = zip(*[row.values for row in rows], strict=True)
    ids = b"".join([row.id for row in rows])
    request = pb.ObserveRequest(
        **source._asdict(),
        batch=content_id(source.model.encode(), ids),
        use=use,
        rows=len(rows),
        decision_ids=ids,
        times=packing.longs([row.at for row in rows]),
        scores=packing.doubles([row.score for row in rows]),
        explained=bytes([row.explained for row in rows]),
        reason_codes=bytes([row.reason_codes for row in rows]),
        columns=[
            _column(str(name), of, texts)
            for name, of in zip(names, values, strict=True)
        ],
    )
    request.latency_ms = _milliseconds([row.latency_ms for row in rows])
    request.explanation_ms = _milliseconds([row.explanation_ms for row in rows])
    if any(row.reference is not None for row in rows):
        request.references.CopyFrom(packing.words("", [row.reference for row in rows]))
    return request


def _milliseconds(taken: Sequence[float | None]) -> bytes:
    if all(one is None for one in taken):
        return b""
    return packing.doubles(taken)


def _column(name: str, values: tuple[Value, ...], texts: set[str]) -> pb.Column:
    if name in texts:
        return packing.words(name, values)
    found = packing.column(name, values)
    if found.dtype == pb.DTYPE_UTF8:
        texts.add(name)
    return found


class Whole(NamedTuple):
    """Columns of many decisions, as they were given."""

    columns: Mapping[str, Values]
    ids: Sequence[bytes]
    times: Sequence[int]
    scores: Values
    latency_ms: Values | None
    explained: Flags
    reason_codes: Flags
    references: Sequence[str | None] | None
    readings: Mapping[str, int] = MappingProxyType({})
    """When each feed was last read: microseconds since 1970."""
    explanation_ms: Values | None = None
    used: Used | None = None
    """By all of them."""


def blocks(source: Source, use: str, given: Whole) -> Iterator[Block]:
    """Pack columns, in slices that fit into a message. Raises ValueError when columns
    differ in length.
    """
    n = len(given.ids)
    beside = {"scores": given.scores, "explanation_ms": given.explanation_ms}
    for name, values in {**given.columns, **beside}.items():
        if values is not None and len(values) != n:
            raise ValueError(f"{name} has {len(values)} rows, not {n}")
    yield from _sliced(source, use, given, 0, n)


def _sliced(
    source: Source, use: str, given: Whole, start: int, end: int
) -> Iterator[Block]:
    if 0 < end - start <= MAX_ROWS and least_bytes(given, end - start) <= MAX_BYTES:
        request = _slice(source, use, given, slice(start, end))
        if end - start == 1 or request.ByteSize() <= MAX_BYTES:
            yield Block(request, end - start)
            return
    if start < end:
        middle = (start + end) // 2
        yield from _sliced(source, use, given, start, middle)
        yield from _sliced(source, use, given, middle, end)


def least_bytes(given: Whole, rows: int) -> int:
    """Return what so many rows take at least: what is surely too long is not packed to
    find that out.
    """
    columns = sum(packing.least_width(values) for values in given.columns.values())
    return rows * (BESIDE_BYTES + columns) if rows > 1 else 0


def _slice(source: Source, use: str, given: Whole, part: slice) -> pb.ObserveRequest:
    rows, ids = len(given.ids[part]), b"".join(given.ids[part])
    request = pb.ObserveRequest(
        **source._asdict(),
        batch=content_id(source.model.encode(), ids),
        use=use,
        rows=rows,
        decision_ids=ids,
        times=packing.longs(given.times[part]),
        scores=packing.doubles_of(given.scores[part]),
        explained=_flags(given.explained, part, rows),
        reason_codes=_flags(given.reason_codes, part, rows),
        columns=[
            packing.column(name, values[part]) for name, values in given.columns.items()
        ],
        readings=[
            pb.Reading(feed=feed, last_at=at) for feed, at in given.readings.items()
        ],
    )
    if given.latency_ms is not None:
        request.latency_ms = packing.doubles_of(given.latency_ms[part])
    if given.explanation_ms is not None:
        request.explanation_ms = packing.doubles_of(given.explanation_ms[part])
    if given.references is not None:
        request.references.CopyFrom(packing.words("", given.references[part]))
    if given.used is not None:
        used = share(given.used, part.start, part.stop, len(given.ids))
        request.resources.CopyFrom(used)
    return request


def _flags(given: Flags, part: slice, n: int) -> bytes:
    if given is None:
        return b""
    if isinstance(given, bool):
        return bytes([given]) * n
    return bytes(UNSAID if flag is None else bool(flag) for flag in given[part])


def outcome_requests(
    model: str, outcomes: Iterable[Outcome]
) -> Iterator[pb.RecordOutcomesRequest]:
    """Pack outcomes. Of two words on one decision in one batch the last counts."""
    known: dict[bytes, Outcome] = {one.id: one for one in outcomes}
    numbers = [one for one in known.values() if one.number is not None]
    truths = [one for one in known.values() if one.number is None]
    most = MAX_BYTES // 33  # bytes a row, at most
    for found in (truths, numbers):
        for start in range(0, len(found), most):
            yield _outcomes(model, found[start : start + most])


def _outcomes(model: str, part: Sequence[Outcome]) -> pb.RecordOutcomesRequest:
    ids = b"".join([one.id for one in part])
    values = bytes([one.value for one in part])
    known_at = packing.longs([one.known_at for one in part])
    request = pb.RecordOutcomesRequest(
        batch=content_id(model.encode(), ids, values, known_at),
        model=model,
        rows=len(part),
        decision_ids=ids,
        known_at=known_at,
    )
    if part[0].number is None:
        request.outcomes = values
        return request
    request.values = packing.doubles([one.number for one in part])
    request.never = bytes([one.value == NEVER for one in part])
    request.batch = content_id(
        model.encode(), ids, request.values, request.never, known_at
    )
    return request

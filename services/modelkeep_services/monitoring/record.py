"""From arrays to a fact: an object made durable, then the event that speaks of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

import numpy as np

from modelkeep.decider import Context
from modelkeep.decisions.digests import leaves_of
from modelkeep.decisions.matrix import (
    Decisions,
    Flags,
    Numbers,
    Octets,
    leaves,
    number_matrix,
    outcome_matrix,
    root,
)
from modelkeep.decisions.rows import UNSAID
from modelkeep.errors import AlreadyExists, Conflict, Refused
from modelkeep.events.inventory import Boundary
from modelkeep.events.monitoring import (
    BatchRecorded,
    ContractBreached,
    OutcomesRecorded,
    Reading,
    Sent,
    ServedView,
    ViewContract,
)
from modelkeep.ledger import COMMAND_IDS, MAX_ATTEMPTS, Order, body_hash
from modelkeep.service import Call
from modelkeep_services.monitoring import kinds
from modelkeep_services.monitoring.arrays import counted, instant
from modelkeep_services.monitoring.book import (
    BatchAnswer,
    Book,
    Fresh,
    OutcomeAnswer,
)
from modelkeep_services.monitoring.columns import joined
from modelkeep_services.monitoring.contract import (
    Breach,
    breaches,
    examples,
    merged,
    valid,
)
from modelkeep_services.monitoring.decision_log import (
    LOG,
    RecordBatches,
    RecordOutcomes,
)
from modelkeep_services.monitoring.ids import Sought, ends
from modelkeep_services.monitoring.known import Known
from modelkeep_services.monitoring.measures import Counted
from modelkeep_services.monitoring.objects import (
    Outcomes,
    Stored,
    store_decisions,
    store_outcomes,
)
from modelkeep_services.monitoring.open_windows import windows_of
from modelkeep_services.monitoring.skew import oldest, skew
from modelkeep_services.monitoring.telemetry import SILENT, Telemetry
from modelkeep_services.monitoring.telemetry import merged as merged_telemetry
from modelkeep_services.monitoring.windows import basis_of, grid_of

ANSWERED: Final = True


@dataclass(frozen=True, eq=False)
class Part:
    """A batch as it came, checked: what it broke, and whether that sets it aside.

    `hashes` are its leaves: of its rows, or of its columns.
    """

    batch: str
    rows: Decisions
    hashes: Sequence[bytes]
    known: Known
    breaches: Sequence[Breach]
    readings: Sequence[Reading]
    views: Sequence[ServedView] = ()
    telemetry: Telemetry = SILENT

    @property
    def quarantined(self) -> bool:
        contract = self.known.contract
        return bool(
            self.breaches
            and contract is not None
            and contract.on_breach == "quarantine"
        )


def part(
    batch: str,
    rows: Decisions,
    known: Known,
    readings: Sequence[Reading],
    served: Sequence[ServedView] = (),
    views: Mapping[str, ViewContract] | None = None,
    beside: Telemetry = SILENT,
) -> Part:
    """Check a batch. `views` is what lineage says of those that served it."""
    contract = known.contract
    found: list[Breach] = []
    if contract is not None:
        found = breaches(
            rows, contract.columns, closed=contract.closed, readings=readings
        )
        found += skew(rows, contract.feature_views, served, views or {})
    hashes = leaves_of(rows, known.proof)
    return Part(batch, rows, hashes, known, found, readings, oldest(served), beside)


def answered(book: Book, given: Part) -> BatchAnswer | None:
    """Return what was said of this batch before. Raises AlreadyExists when the id was
    used for other rows. The book's lock is held.
    """
    answer = book.sent.get(given.batch)
    if answer is None:
        return None
    hashes = given.hashes
    if answer.proof != given.known.proof:  # it was proven otherwise, when it came first
        hashes = leaves_of(given.rows, answer.proof)
    if answer.digest != _digest(hashes):
        raise AlreadyExists(f"batch {given.batch} was used for other decisions")
    return answer


@dataclass(frozen=True, eq=False)
class Ready:
    """Parts of one schema as one object that is durable, before any event says so."""

    parts: Sequence[Part]
    rows: Decisions
    root: bytes
    stored: Stored
    counted: Counted
    outside: Flags
    sought: Sought


def ready(call: Call, parts: Sequence[Part]) -> Ready:
    """Do all that needs no lock, so that objects of one model are made side by side."""
    rows, known = joined([one.rows for one in parts]), parts[0].known
    return Ready(
        parts,
        rows,
        root([leaf for one in parts for leaf in one.hashes]),
        store_decisions(call.host.home.decisions, call.actor.tenant, rows),
        _counted(rows, known),
        _outside(rows, known.boundaries),
        Sought.of(rows.ids),
    )


def record(book: Book, call: Call, given: Ready) -> None:
    """Write parts of one schema as one object and one event. They are in the book then,
    and counted into the windows of the model's cadence.

    Raises Refused when a decision was logged before: no event is written then.
    """
    with book.lock:
        _follow(book, given)
        for last in range(MAX_ATTEMPTS)[::-1]:
            new = [one for one in given.parts if answered(book, one) is None]
            if not new:
                return
            if len(new) < len(given.parts):
                given = ready(call, new)
            _never_before(book, given)
            command = _batch_command(book, given)
            try:
                _append(book, call, command, command.batches[0].last_at)
            except Conflict:
                if not last:
                    raise
                # What others wrote meanwhile is met here: nobody looked before.
                book.catch_up()
            else:
                fresh = Fresh(given.rows, given.counted, given.sought)
                book.keep(command.batches[0].address, fresh)
                book.catch_up()
                return


def _follow(book: Book, given: Ready) -> None:
    schema, known = given.rows.schema, given.parts[0].known
    grid = grid_of(known.monitor)
    if grid is not None:
        basis = basis_of(known.reference, known.monitor)
        windows_of(book).follow(schema.version, schema.environment, grid, basis)


def _never_before(book: Book, given: Ready) -> None:
    seen = book.ids.find(given.sought).known
    if seen.any() or given.sought.repeats():
        first = examples(given.rows, seen)[0] if seen.any() else "one"
        raise Refused(
            "monitoring.decision-logged-once",
            f"decision {first} is logged",
            subject=first,
        )


def _batch_command(book: Book, given: Ready) -> RecordBatches:
    parts, rows, stored = given.parts, given.rows, given.stored
    first = parts[0]
    batch = _object_id(book, [one.batch for one in parts])
    broken = merged((b for one in parts for b in one.breaches), len(rows))
    low, high = ends(rows.ids)
    schema, known = rows.schema, first.known
    event = BatchRecorded(
        model=schema.model,
        version=schema.version,
        environment=schema.environment,
        batch=batch,
        sent=tuple(_sent(parts)),
        rows=len(rows),
        root=_spelled(given.root),
        row_schema=_spelled(schema.digest()),
        address=stored.address,
        file_digest=stored.digest,
        file_bytes=stored.size,
        first_id=str(UUID(bytes=low)),
        last_id=str(UUID(bytes=high)),
        first_at=instant(int(rows.times.min())),
        last_at=instant(int(rows.times.max())),
        use=schema.use or None,
        use_approved=known.approved(schema.use) if schema.use else None,
        deployed=known.deployed,
        **given.counted.told(),
        explained=_count(rows.explained == 1),
        explanations_said=_count(rows.explained != UNSAID),
        reason_codes_missing=_count(rows.reason_codes == 0),
        reason_codes_owed=_count(rows.reason_codes != UNSAID),
        breaches=len(broken),
        quarantined=first.quarantined,
        out_of_bounds=_count(given.outside),
        out_of_bounds_examples=examples(rows, given.outside),
        readings=_newest(parts),
        feature_views=oldest([view for one in parts for view in one.views]),
        proof=known.proof,
        **merged_telemetry(one.telemetry for one in parts)._asdict(),
    )
    contract = known.contract
    return RecordBatches(
        batches=(event,),
        breaches=tuple(
            ContractBreached(
                model=schema.model,
                version=schema.version,
                contract=contract.contract if contract else "",
                batch=batch,
                column=one.column,
                rule=one.rule,
                count=one.broken,
                of=one.of,
                examples=one.examples,
                quarantined=event.quarantined,
            )
            for one in broken
        ),
    )


def _sent(parts: Sequence[Part]) -> Iterator[Sent]:
    for one in parts:
        digest = _digest(one.hashes)
        yield Sent(batch=one.batch, rows=len(one.rows), digest=digest)


def _counted(rows: Decisions, known: Known) -> Counted:
    reference = known.reference
    if reference is None:
        return Counted()
    return counted(reference.baseline.layout, reference.yardstick, rows)


def _outside(rows: Decisions, boundaries: Sequence[Boundary]) -> Flags:
    """Return which rows lie outside of any boundary that names a column."""
    outside: Flags = np.zeros(len(rows), dtype=np.bool_)
    names = [name for name, _ in rows.schema.columns]
    for boundary in boundaries:
        if boundary.column not in names:
            continue
        column = rows.columns[names.index(boundary.column)]
        if isinstance(column, Numbers):
            values = column.values.astype(np.float64, copy=False)
            if boundary.minimum is not None:
                outside |= (values < boundary.minimum) & column.valid
            if boundary.maximum is not None:
                outside |= (values > boundary.maximum) & column.valid
        elif boundary.allowed:
            allowed = set(boundary.allowed)
            strange = [word not in allowed for word in column.dictionary]
            outside |= np.array([*strange, False])[column.codes] & valid(column)
    return outside


def _newest(parts: Sequence[Part]) -> tuple[Reading, ...]:
    found: dict[str, Reading] = {}
    for reading in (reading for one in parts for reading in one.readings):
        known = found.get(reading.feed)
        if known is None or known.last_at < reading.last_at:
            found[reading.feed] = reading
    return tuple(found[feed] for feed in sorted(found))


# --- outcomes ----------------------------------------------------------------------


def record_outcomes(
    book: Book, call: Call, model: str, batch: str, rows: Outcomes
) -> tuple[OutcomeAnswer, bool]:
    """Write outcomes; say what they did, and whether that had been said before.

    Raises AlreadyExists when the batch's id was used for other outcomes, and Refused
    where those recorded before are of the other kind.
    """
    spelled = _spelled(root(leaves(_outcome_rows(model, rows))))
    with book.lock:
        for last in range(MAX_ATTEMPTS)[::-1]:
            book.catch_up()
            kinds.keep_recorded(model, book.outcome_kind, rows.kind)
            before = book.outcomes_sent.get(batch)
            if before is not None:
                if before.root != spelled:
                    raise AlreadyExists(f"batch {batch} was used for other outcomes")
                return before, ANSWERED
            command = _outcome_command(book, call, model, batch, rows, spelled)
            try:
                _append(book, call, command, command.outcomes.last_known_at)
            except Conflict:
                if not last:
                    raise
            else:
                book.keep(command.outcomes.address, rows)
                book.catch_up()
                return book.outcomes_sent[batch], not ANSWERED
    raise AssertionError("unreachable")


def _outcome_rows(model: str, rows: Outcomes) -> Octets:
    if rows.values is None:
        return outcome_matrix(model, rows.ids, rows.outcomes, rows.known)
    return number_matrix(model, rows.ids, rows.outcomes, rows.values, rows.known)


def _outcome_command(
    book: Book, call: Call, model: str, batch: str, rows: Outcomes, spelled: str
) -> RecordOutcomes:
    folder, tenant = call.host.home.decisions, call.actor.tenant
    stored = store_outcomes(folder, tenant, model, rows)
    low, high = ends(rows.ids)
    return RecordOutcomes(
        outcomes=OutcomesRecorded(
            model=model,
            batch=batch,
            rows=len(rows.ids),
            root=spelled,
            address=stored.address,
            file_digest=stored.digest,
            file_bytes=stored.size,
            first_id=str(UUID(bytes=low)),
            last_id=str(UUID(bytes=high)),
            first_known_at=instant(int(rows.known.min())),
            last_known_at=instant(int(rows.known.max())),
            outcome_kind=rows.kind,
            **book.effect(rows)._asdict(),
        )
    )


# --- both --------------------------------------------------------------------------


def _append(
    book: Book, call: Call, command: RecordBatches | RecordOutcomes, at: datetime
) -> None:
    batch = (
        command.batches[0].batch
        if isinstance(command, RecordBatches)
        else command.outcomes.batch
    )
    kind = type(command).__name__
    command_id = str(uuid5(COMMAND_IDS, f"{book.stream}/{kind}/{batch}"))
    call.execute(
        Order(
            book.stream,
            LOG,
            command,
            Context(call.actor, call.now(), at, command_id),
            body_hash(command),
            # Whoever wrote since may have logged the same decisions: look again.
            expected_revision=book.version,
        )
    )


def _object_id(book: Book, batches: Sequence[str]) -> str:
    return str(uuid5(COMMAND_IDS, f"{book.stream}/object/{','.join(batches)}"))


def _digest(hashes: Sequence[bytes]) -> str:
    return f"sha256:{sha256(b''.join(hashes)).hexdigest()}"


def _spelled(digest: bytes) -> str:
    return f"sha256:{digest.hex()}"


def _count(chosen: Flags) -> int:
    return int(np.count_nonzero(chosen))

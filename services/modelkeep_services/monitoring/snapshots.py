"""CheckSnapshot: data at rest, streamed past the contract that binds; a verdict stays.

The data themselves are not kept, and no more than a message of them is held at a time,
beside 24 bytes a value of each column whose values must be told apart.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decider import Context
from modelkeep.decisions.matrix import Column, Words
from modelkeep.errors import Exhausted, Invalid, NotFound, Refused
from modelkeep.events.monitoring import ContractRegistered, SnapshotBreach
from modelkeep.ledger import Order, body_hash, stream_name
from modelkeep.service import Call
from modelkeep_services.monitoring import columns, views, wire_values
from modelkeep_services.monitoring.arrays import micros
from modelkeep_services.monitoring.commands import CheckSnapshot
from modelkeep_services.monitoring.contract import Breach, Check, Table, valid
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.observe import see_all, within

METHOD: Final = "contract/1"
MAX_ROWS: Final = 1_000_000_000
MAX_TOLD_APART: Final = 20_000_000
"""Rows times columns that promise to repeat nothing: half a gigabyte."""
LONGEST: Final = 200
PURPOSES: Final = {
    pb.SNAPSHOT_PURPOSE_TRAINING: "training",
    pb.SNAPSHOT_PURPOSE_SCORING: "scoring",
}
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


async def check_snapshot(
    requests: AsyncIterator[pb.CheckSnapshotRequest], call: Call
) -> AsyncIterator[pb.CheckSnapshotResponse]:
    await asyncio.to_thread(see_all, call)
    checking: Snapshot | None = None
    async for request in requests:
        if checking is None:
            checking = await asyncio.to_thread(begin, request, call)
        if request.rows or request.columns:
            await asyncio.to_thread(checking.add, request)
    if checking is None:
        raise Invalid.field("header", "nothing was sent")
    yield await asyncio.to_thread(checking.end)


class Snapshot:
    """One data set while it is checked."""

    def __init__(
        self,
        first: pb.CheckSnapshotRequest,
        call: Call,
        contract: ContractRegistered,
        digest: str,
    ) -> None:
        self._first, self._call = first, call
        self._contract, self._digest = contract, digest
        self._check = Check(contract.columns, closed=contract.closed)
        self._apart = sum(
            (one.max_duplicate_rate, one.max_duplicates) != (None, None)
            for one in contract.columns
        )
        taken = wire_values.instant("header.taken_at", first.header, "taken_at")
        self._at = micros(taken or call.now())
        self._seen: set[str] = set()

    def add(self, request: pb.CheckSnapshotRequest) -> None:
        rows = columns.row_count(request.rows)
        held = {
            name: (dtype, column)
            for name, dtype, column in columns.read_columns(request.columns, rows)
        }
        self._seen |= held.keys()
        total = self._check.rows + rows
        if total > MAX_ROWS or total * self._apart > MAX_TOLD_APART:
            raise Exhausted(
                f"{total} rows: at most {MAX_ROWS}, and {MAX_TOLD_APART} values that "
                "must be told apart"
            )
        key = self._first.header.key
        name = namer(held[key][1] if key in held else None, self._check.rows)
        self._check.add(Table(held, rows, self._at, name))

    def end(self) -> pb.CheckSnapshotResponse:
        if not self._check.rows:
            raise Invalid.field("rows", "a snapshot without rows is none")
        call, header = self._call, self._first.header
        command = CheckSnapshot(
            model=header.model,
            contract=self._contract.contract,
            digest=self._digest,
            node=header.node or None,
            purpose=PURPOSES[header.purpose],
            rows=self._check.rows,
            columns=len(self._seen),
            breaches=tuple(told(found_in(self._check, self._contract))),
            method=METHOD,
        )
        now = call.now()
        effective = wire_values.instant("effective_at", self._first, "effective_at")
        request_id = columns.uuid_of("request_id", self._first.request_id)
        written = call.execute(
            Order(
                stream_name("monitor", call.actor.tenant, command.model),
                MONITOR,
                command,
                Context(call.actor, now, effective or now, request_id),
                body_hash(command),
                self._first.expected_revision
                if self._first.HasField("expected_revision")
                else None,
            )
        )
        answer = pb.CheckSnapshotResponse(
            kept=not command.breaches,
            rows=command.rows,
            breaches=[pb.SnapshotBreach(**dict(one)) for one in command.breaches],
            contract=command.contract,
            digest=command.digest,
        )
        answer.written.position, answer.written.revision = written[:2]
        answer.written.replayed, answer.written.changed = written[2:]
        answer.written.id = command.model
        return answer


def begin(request: pb.CheckSnapshotRequest, call: Call) -> Snapshot:
    """Raises Invalid, NotFound or, where no contract binds, Refused."""
    columns.uuid_of("request_id", request.request_id)
    if not request.HasField("header"):
        raise Invalid.field("header", "the first message says what the data are")
    header = request.header
    model = columns.slug_of("header.model", header.model)
    within(call, model)
    if header.purpose not in PURPOSES:
        raise Invalid.field("header.purpose", "training or scoring?")
    with call.views.reader(call.actor.tenant) as read:
        if read.get(views.models, model) is None:
            raise NotFound("model", model)
        row = read.get(views.contracts, model)
        known = read.get(views.data_nodes, header.node) if header.node else None
    if row is None:
        raise Refused(
            "monitoring.contract-binds", f"no contract binds {model}", subject=model
        )
    if header.node and (known is None or known.event.kind != "dataset"):
        raise NotFound("dataset", header.node[:LONGEST])
    said = known.event.digest if known is not None else None
    digest = digest_of("header.digest", header.digest or said or "")
    if said not in {None, digest}:
        raise Refused(
            "monitoring.digest-agrees",
            f"{header.node} is {said}, not {digest}",
            subject=header.node,
        )
    return Snapshot(request, call, row.event, digest)


def digest_of(field: str, given: str) -> str:
    if not _DIGEST.fullmatch(given):
        raise Invalid.field(field, "must be sha256: and 64 hexadecimal digits")
    return given


def namer(key: Column | None, start: int) -> Callable[[int], str]:
    """Say what a row is called: by its key, or by its number in the whole."""

    def name(row: int) -> str:
        if key is None or not valid(key)[row]:
            return f"row {start + row}"
        if isinstance(key, Words):
            return key.dictionary[int(key.codes[row])][:LONGEST]
        return str(key.values[row].item())

    return name


def found_in(check: Check, contract: ContractRegistered) -> list[Breach]:
    """Judge the whole, its number of rows too."""
    found = check.breaches()
    least, most = contract.least_rows, contract.most_rows
    if (least is not None and check.rows < least) or (
        most is not None and check.rows > most
    ):
        found.append(Breach("*", "rows", check.rows, check.rows, ()))
    return found


def told(found: Sequence[Breach]) -> Iterator[SnapshotBreach]:
    for one in found:
        yield SnapshotBreach(
            column=one.column,
            rule=one.rule,
            count=one.broken,
            of=one.of,
            examples=one.examples,
        )

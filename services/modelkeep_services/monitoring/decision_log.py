"""The decision log: objects that are durable already, and what became true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    Field,
)

from modelkeep.decider import Command, Context, decider
from modelkeep.events.monitoring import (
    BatchRecorded,
    ContractBreached,
    OutcomesRecorded,
)

LogEvent = BatchRecorded | ContractBreached | OutcomesRecorded


class RecordBatches(Command):
    """Objects that are durable already, with the contract's breaches of each."""

    batches: Annotated[tuple[BatchRecorded, ...], Field(min_length=1, max_length=100)]
    breaches: tuple[ContractBreached, ...] = ()


class RecordOutcomes(Command):
    outcomes: OutcomesRecorded


LogCommand = RecordBatches | RecordOutcomes


@dataclass(frozen=True)
class LogState:
    """Nothing: whoever logs expects the revision at which it last looked."""


def decide_log(
    command: LogCommand, state: LogState, context: Context
) -> Sequence[LogEvent]:
    match command:
        case RecordBatches():
            return [*command.batches, *command.breaches]
        case RecordOutcomes():
            return [command.outcomes]


def evolve_log(state: LogState, event: LogEvent) -> LogState:
    match event:
        case BatchRecorded() | ContractBreached() | OutcomesRecorded():
            return state


LOG = decider(LogState(), decide_log, evolve_log)

"""Trying a bundle before it decides: on history, and beside the one in force."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.decider import Context
from modelkeep.errors import Exhausted, NotFound
from modelkeep.events.types import Digest, Value
from modelkeep.identity import ROLES, SECOND_LINE
from modelkeep.paging import page
from modelkeep.service import Asked, Read, Target, Write, read, write
from modelkeep.wire import fill
from modelkeep_services.policy import backtest_report, history, shadow, views
from modelkeep_services.policy.asks import asks
from modelkeep_services.policy.backtest import backtest
from modelkeep_services.policy.domain.bundle import (
    BUNDLE,
    Backtested,
    RecordBacktest,
)
from modelkeep_services.policy.domain.shadow import (
    NOW,
    SHADOWING,
    ClearShadow,
    SetShadow,
)
from modelkeep_services.policy.history import Past, Period
from modelkeep_services.policy.in_force import Programs, stored
from modelkeep_services.policy.shadow import CellRow, SaidRow, ShadowRow

AUTHORS: Final = frozenset({"policy_author"}) | SECOND_LINE
MOST: Final = 300_000
"""Verdicts of one call; the command `modelkeep backtest` has no such bound."""
CELLS: Final = 5_000


# --- on history ----------------------------------------------------------------------


def bundle_stream(command: RecordBacktest, _: Context) -> Target:
    return Target("bundle", command.name)


@dataclass
class Backtests:
    """Runs them. Documents are remembered until they were told."""

    programs: Programs
    documents: dict[str, str] = field(default_factory=dict)

    def found(self, command: RecordBacktest, asked: Asked) -> RecordBacktest:
        candidate = named(command.bundle, command.name, asked)
        force = stored(asked.read, candidate, self.programs)
        period = Period(
            command.start,
            command.end,
            frozenset(command.models),
            frozenset(command.actions),
        )
        store, tenant = asked.host.store, asked.actor.tenant
        report = backtest(
            force.program,
            _bounded(history.verdicts(store, tenant, period)),
            history.around(store, tenant),
            period,
            backtest_report.Assumed(command.minutes_per_approval),
        )
        said = backtest_report.document(report)
        digest = backtest_report.digest(said)
        self.documents[digest] = json.dumps(said, ensure_ascii=False)
        found = Backtested(
            report=digest,
            verdicts=report.verdicts,
            flips=report.flips,
            loosened=report.loosened,
            tightened=report.tightened,
            not_evaluable=report.not_evaluable,
        )
        return command.model_copy(update={"found": found})

    def tell(
        self, answer: pb.BacktestBundleResponse, command: RecordBacktest, asked: Asked
    ) -> None:
        if command.found is None:
            return
        answer.document = self.documents.pop(command.found.report, "")
        row = asked.read.get(views.bundles, command.bundle)
        told = row.backtests if row is not None else ()
        for one in told:
            if one.report == command.found.report:
                fill(answer.backtest, one)


def named(bundle: str, name: str, asked: Asked) -> str:
    """A proposed bundle of that name. Raises NotFound."""
    row = asked.read.get(views.bundles, bundle)
    if row is None or row.name != name:
        raise NotFound("bundle", f"{name} {bundle}")
    return bundle


def _bounded(past: Iterator[Past]) -> Iterator[Past]:
    yield from islice(past, MOST)
    if next(past, None) is not None:
        raise Exhausted(f"more than {MOST:,} verdicts: narrow the period")


# --- beside the bundle in force ------------------------------------------------------


def shadowing_stream(_: SetShadow | ClearShadow, __: Context) -> Target:
    return Target("shadowing", NOW)


def readable(programs: Programs, command: SetShadow, asked: Asked) -> SetShadow:
    """Compile it now: one that this program cannot read is refused here."""
    force = stored(asked.read, named(command.bundle, command.name, asked), programs)
    return command.model_copy(update={"version": force.version})


class OfShadow(Value):
    bundle: Digest | None = None
    differing: bool = False


def _shadow(bundle: str, asked: Asked) -> ShadowRow:
    row = (
        asked.read.get(shadow.shadows, bundle)
        if bundle
        else asked.read.get(shadow.beside, NOW)
    )
    if row is None:
        raise NotFound("shadow", bundle or "now")
    return row


def compare_shadow(
    asking: pb.CompareShadowRequest, asked: Asked
) -> pb.CompareShadowResponse:
    row = _shadow(asking.bundle, asked)
    rows = asked.read.scan(shadow.cells, f"{row.bundle}/", limit=CELLS)
    found = [one for _, one in rows]
    return pb.CompareShadowResponse(
        shadow=fill(pb.Shadow(), row),
        cells=[fill(pb.ShadowCell(), one) for one in found],
        verdicts=sum(one.verdicts for one in found),
        flips=sum(one.verdicts for one in found if _flips(one)),
        failed=sum(one.verdicts for one in found if one.now is None),
    )


def _flips(cell: CellRow) -> bool:
    return cell.now not in {None, cell.was}


def list_shadow_verdicts(
    asking: pb.ListShadowVerdictsRequest, asked: Asked
) -> pb.ListShadowVerdictsResponse:
    row = _shadow(asking.bundle, asked)
    view = shadow.differing if asking.differing else shadow.verdicts
    rows, token = page(asked.read, view, asking.page, f"{row.bundle}/")
    return pb.ListShadowVerdictsResponse(
        verdicts=[_said(one) for _, one in rows], next_token=token
    )


def _said(row: SaidRow) -> pb.ShadowVerdict:
    found = fill(pb.ShadowVerdict(), row.said)
    found.event_id = row.event_id
    return found


# --- the table -----------------------------------------------------------------------


def writes(programs: Programs) -> list[Write]:
    backtests = Backtests(programs)
    return [
        write(
            "BacktestBundle",
            RecordBacktest,
            BUNDLE,
            bundle_stream,
            AUTHORS,
            prepare=backtests.found,
            respond=backtests.tell,
        ),
        write(
            "SetShadow",
            SetShadow,
            SHADOWING,
            shadowing_stream,
            AUTHORS,
            prepare=partial(readable, programs),
        ),
        write("ClearShadow", ClearShadow, SHADOWING, shadowing_stream, AUTHORS),
    ]


def reads() -> list[Read]:
    return [
        read("CompareShadow", asks(OfShadow, compare_shadow), ROLES),
        read("ListShadowVerdicts", asks(OfShadow, list_shadow_verdicts), ROLES),
    ]

"""`modelkeep report model`: one model's HTML report, of now or of a past moment.

Health and budgets are not stored: they are asked for as of each moment of the period,
so that the page shows what was known then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.api.audit.v1 import audit_pb2
from modelkeep.api.common.v1.common_pb2 import AsOf, Page
from modelkeep.api.insight.v1 import insight_pb2
from modelkeep.api.insight.v1.insight_pb2_grpc import InsightServiceStub
from modelkeep.api.inventory.v1 import inventory_pb2
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep.api.monitoring.v1.monitoring_pb2_grpc import MonitoringServiceStub
from modelkeep.errors import Invalid
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import AUDITOR, Answered, Asking
from modelkeep_services.cli.connect import connected
from modelkeep_services.cli.moments import instant, moment
from modelkeep_services.insight.report.page import (
    Disposed,
    Facts,
    Serving,
    Standing,
    render,
)
from modelkeep_services.insight.report.sections import page_of

T = TypeVar("T", bound=Message)

NEEDS: Final = ("inventory", "monitoring", "insight", "audit")
MAX_WINDOWS: Final = 1_000
MAX_ALERTS: Final = 1_000
MAX_CHANGES: Final = 200
MAX_MONTHS: Final = 36
MOMENTS: Final = 120
"""Health is asked for so often, at most: one request each."""
IDS: Final = 500
PAGES: Final = 10_000
WINDOWS_A_PAGE: Final = 50
SERVING: Final = frozenset(
    f"inventory.{name}"
    for name in (
        "deployed",
        "traffic-set",
        "rolled-back",
        "suspended",
        "resumed",
        "retired",
    )
)
Windows = Sequence[monitoring_pb2.Window]


def run(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    model: str,
    path: Path | None,
    period: tuple[str | None, str | None],
    when: str,
) -> None:
    """Write the page. Raises Invalid for a model or a period that cannot be."""
    asked = _Period.read(*period)
    as_of = moment(when)
    target = path or Path(f"{model}.html")
    if not target.parent.is_dir():
        raise Invalid.field("out", f"there is no folder {target.parent}")
    needed = {name: builds[name] for name in NEEDS}
    with (
        screen.progress("reading the log") as tell,
        connected(home, needed, AUDITOR, store_url=store_url, tell=tell) as there,
    ):
        asking = _Asking(Asking(there, quiet=True), model, as_of)
        facts = asking.facts(asked, tell)
        page = page_of(facts)
        html = render(
            page,
            asking.events(list(page.cited.numbers)),
            checkpoint=asking.checkpoint(),
        )
    fresh = target.with_name(f".{target.name}.new")
    fresh.write_text(html, encoding="utf-8")
    fresh.replace(target)
    screen.line(f"the report on {model} is in {target}")


@dataclass(frozen=True)
class _Period:
    """What was asked; None is the first window's start, or the moment asked for."""

    start: datetime | None
    end: datetime | None

    @classmethod
    def read(cls, start: str | None, end: str | None) -> _Period:
        first = None if start is None else instant("from", start, whole_day=False)
        last = None if end is None else instant("to", end, whole_day=True)
        if first is not None and last is not None and first >= last:
            raise Invalid.field("from", f"{start} is not before {end}")
        return cls(first, last)


class _Asking:
    """The questions a report asks of the services, all as of one moment."""

    def __init__(self, ask: Asking, model: str, as_of: AsOf) -> None:
        self._ask, self._model, self._as_of = ask, model, as_of
        there = ask.there
        self._inventory = there.stub("inventory", InventoryServiceStub)
        self._monitoring = there.stub("monitoring", MonitoringServiceStub)
        self._insight = there.stub("insight", InsightServiceStub)

    def facts(self, asked: _Period, step: screen.Tell) -> Facts:
        model = self._ask(
            self._inventory.GetModel,
            inventory_pb2.GetModelRequest(as_of=self._as_of, model=self._model),
        )
        at = self._now()
        every = self._windows(asked, at)
        environment, left_out = _environment(every)
        windows = [one for one in every if one.environment == environment]
        start = asked.start or (_when(windows[0].start) if windows else None)
        start = start or _when(model.model.registered_at)
        end = min(asked.end or at, at)
        if start >= end:
            raise Invalid.field(
                "from", f"{start:%Y-%m-%d} is not before {end:%Y-%m-%d %H:%M}"
            )
        compared, unmatched = self._compared(windows)
        return Facts(
            model=model.model,
            at=at,
            position=self._position(),
            start=start,
            end=end,
            environment=environment,
            standings=list(self._standings(_moments(windows, start, end), step)),
            crossings=self._crossings(start, end),
            windows=windows,
            alerts=self._alerts(start, end),
            incidents=self._incidents(start, end),
            versions=list(model.versions),
            serving=list(self._serving(model.model, end)),
            disposed=list(self._disposed(start, end)),
            compared=compared,
            unmatched=unmatched,
            false_alarms=self._ask(
                self._monitoring.GetFalseAlarms,
                monitoring_pb2.GetFalseAlarmsRequest(
                    as_of=self._as_of, model=self._model
                ),
            ),
            left_out=left_out,
        )

    # --- one kind of fact each -----------------------------------------------------

    def _now(self) -> datetime:
        """The moment that the answers are of, by the ledger's clock."""
        request = insight_pb2.GetHealthRequest(as_of=self._as_of, model=self._model)
        return _when(self._ask(self._insight.GetHealth, request).health.at)

    def _position(self) -> str:
        if self._as_of.WhichOneof("moment") == "position":
            return f"position {self._as_of.position:,} of the log"
        newest = audit_pb2.GetCheckpointRequest()
        size = self._ask(self._ask.audit.GetCheckpoint, newest).checkpoint.size
        return f"in a log of {size:,} events"

    def checkpoint(self) -> str:
        newest = audit_pb2.GetCheckpointRequest()
        return self._ask(self._ask.audit.GetCheckpoint, newest).checkpoint.note

    def _windows(self, asked: _Period, at: datetime) -> list[monitoring_pb2.Window]:
        found: list[monitoring_pb2.Window] = []

        def pages(page: Page) -> tuple[Iterator[monitoring_pb2.Window], str]:
            page.size = WINDOWS_A_PAGE
            answer = self._ask(
                self._monitoring.ListWindows,
                monitoring_pb2.ListWindowsRequest(
                    as_of=self._as_of, model=self._model, page=page
                ),
            )
            return iter(answer.windows), answer.next_token

        for one in _paged(pages):
            begins, ends = _when(one.start), _when(one.end)
            if (asked.start and begins < asked.start) or ends > (asked.end or at):
                continue
            found.append(one)
            if len(found) > MAX_WINDOWS:
                raise Invalid.field(
                    "from", f"more than {MAX_WINDOWS:,} windows: narrow --from and --to"
                )
        return sorted(found, key=lambda one: (_when(one.end), one.version))

    def _standings(
        self, moments: Sequence[datetime], step: screen.Tell
    ) -> Iterator[Standing]:
        for done, at in enumerate(moments, 1):
            then = AsOf()
            then.time.FromDatetime(at)
            # the last moment may be a position's: what is known there is the end
            if done == len(moments):
                then = self._as_of
            health = self._ask(
                self._insight.GetHealth,
                insight_pb2.GetHealthRequest(as_of=then, model=self._model),
            ).health
            budgets = self._ask(
                self._insight.ListBudgets,
                insight_pb2.ListBudgetsRequest(as_of=then, model=self._model),
            ).budgets
            step(done, len(moments))
            yield Standing(at, health, list(budgets))

    def _crossings(self, start: datetime, end: datetime) -> list[insight_pb2.Crossing]:
        def pages(page: Page) -> tuple[Iterator[insight_pb2.Crossing], str]:
            answer = self._ask(
                self._insight.ListCrossings,
                insight_pb2.ListCrossingsRequest(
                    as_of=self._as_of, model=self._model, page=page
                ),
            )
            return iter(answer.crossings), answer.next_token

        # a budget's period ends a little after the last day of the report
        return [
            one
            for one in _paged(pages)
            if one.model == self._model and start <= _when(one.at) <= end
        ]

    def _alerts(self, start: datetime, end: datetime) -> list[monitoring_pb2.Alert]:
        def pages(page: Page) -> tuple[Iterator[monitoring_pb2.Alert], str]:
            answer = self._ask(
                self._monitoring.ListAlerts,
                monitoring_pb2.ListAlertsRequest(
                    as_of=self._as_of, model=self._model, page=page
                ),
            )
            return iter(answer.alerts), answer.next_token

        return [
            one
            for one in _paged(pages)
            if _when(one.raised_at) <= end
            and (not one.HasField("resolved_at") or _when(one.resolved_at) >= start)
        ][:MAX_ALERTS]

    def _incidents(
        self, start: datetime, end: datetime
    ) -> list[monitoring_pb2.Incident]:
        def pages(page: Page) -> tuple[Iterator[monitoring_pb2.Incident], str]:
            answer = self._ask(
                self._monitoring.ListIncidents,
                monitoring_pb2.ListIncidentsRequest(
                    as_of=self._as_of, model=self._model, page=page
                ),
            )
            return iter(answer.incidents), answer.next_token

        return [
            one
            for one in _paged(pages)
            if _when(one.opened_at) <= end
            and (not one.HasField("resolved_at") or _when(one.resolved_at) >= start)
        ][:MAX_ALERTS]

    def _serving(self, model: inventory_pb2.Model, end: datetime) -> Iterator[Serving]:
        """Ask who served after each event that changed it."""
        stream = self._stream_of(model.event_id)

        def pages(page: Page) -> tuple[Iterator[audit_pb2.Event], str]:
            answer = self._ask(
                self._ask.audit.ListEvents,
                audit_pb2.ListEventsRequest(
                    as_of=self._as_of, stream=stream, page=page
                ),
            )
            return iter(answer.events), answer.next_token

        changes = [one for one in _paged(pages) if one.name in SERVING]
        for one in changes[-MAX_CHANGES:]:
            if _when(one.effective_at) > end:
                continue
            answer = self._ask(
                self._inventory.ListDeployments,
                inventory_pb2.ListDeploymentsRequest(
                    as_of=AsOf(position=one.position), model=self._model
                ),
            )
            yield Serving(_when(one.effective_at), one.id, list(answer.deployments))

    def _stream_of(self, event: str) -> str:
        request = audit_pb2.GetEventRequest(event_id=event)
        return self._ask(self._ask.audit.GetEvent, request).event.stream

    def _disposed(self, start: datetime, end: datetime) -> Iterator[Disposed]:
        for first, last in _months(start, end):
            request = monitoring_pb2.GetOverrideRateRequest(
                as_of=self._as_of, model=self._model
            )
            request.start.FromDatetime(first)
            request.end.FromDatetime(last)
            rate = self._ask(self._monitoring.GetOverrideRate, request)
            yield Disposed(first, last, rate)

    def _compared(
        self, windows: Windows
    ) -> tuple[monitoring_pb2.CompareResponse | None, str]:
        """The newest version's baseline beside its windows; or why there is none."""
        if not windows:
            return None, "no window was closed"
        last = windows[-1]
        mine = [one for one in windows if one.version == last.version]
        period = monitoring_pb2.PeriodSide(
            version=last.version, environment=last.environment
        )
        period.start.CopyFrom(_stamp(min(_when(one.start) for one in mine)))
        period.end.CopyFrom(_stamp(max(_when(one.end) for one in mine)))
        request = monitoring_pb2.CompareRequest(
            as_of=self._as_of,
            model=self._model,
            before=monitoring_pb2.ComparedSide(
                baseline=monitoring_pb2.BaselineSide(version=last.version)
            ),
            after=monitoring_pb2.ComparedSide(period=period),
        )
        try:
            return self._ask(self._monitoring.Compare, request), ""
        except Answered as refused:
            return None, str(refused)

    def events(self, ids: Sequence[str]) -> list[insight_pb2.EventSummary]:
        found: list[insight_pb2.EventSummary] = []
        for first in range(0, len(ids), IDS):
            request = insight_pb2.GetEventsRequest(
                as_of=self._as_of, ids=ids[first : first + IDS]
            )
            try:
                found += self._ask(self._insight.GetEvents, request).events
            except Answered:
                # none of these is one that insight keeps a line of
                continue
        return found


def _paged(ask: Callable[[Page], tuple[Iterator[T], str]]) -> Iterator[T]:
    token = ""
    for _ in range(PAGES):
        rows, token = ask(Page(token=token))
        yield from rows
        if not token:
            return
    raise Invalid.field("model", "has more than a report can hold")


def _environment(windows: Windows) -> tuple[str, list[str]]:
    """Choose `prod`, or where most was decided; name the others."""
    rows: dict[str, int] = {}
    for one in windows:
        rows[one.environment] = rows.get(one.environment, 0) + one.figures.rows
    if not rows:
        return "prod", []
    chosen = "prod" if "prod" in rows else max(sorted(rows), key=lambda one: rows[one])
    return chosen, sorted(set(rows) - {chosen})


def _moments(windows: Windows, start: datetime, end: datetime) -> list[datetime]:
    """Return when windows were closed, thinned evenly, and the end last."""
    known = sorted({_when(one.closed_at) for one in windows})
    inside = [one for one in known if start <= one < end]
    if len(inside) > MOMENTS - 1:
        step = len(inside) / (MOMENTS - 1)
        inside = [inside[int(n * step)] for n in range(MOMENTS - 1)]
    return [*inside, end]


def _months(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return calendar months that touch the period, the last MAX_MONTHS of them."""
    found = []
    month = start.year * 12 + start.month - 1
    while (first := _first_of(month)) < end:
        found.append((first, _first_of(month + 1)))
        month += 1
    return found[-MAX_MONTHS:]


def _first_of(month: int) -> datetime:
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _when(value: Timestamp) -> datetime:
    return value.ToDatetime(tzinfo=UTC)


def _stamp(at: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(at)
    return found

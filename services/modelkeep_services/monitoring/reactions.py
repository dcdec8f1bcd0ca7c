"""What the clock brings: windows to close or restate, alerts overdue, silence. And what
KPIs bring: declared money that they confirm or contradict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from modelkeep.events.clock import Ticked
from modelkeep.events.inventory import KpiRecorded, SloDefined
from modelkeep.events.monitoring import WindowClosed, WindowRestated
from modelkeep.ledger import stream_name
from modelkeep.reactor import Reaction, Reactor
from modelkeep.timekeeper import Due as Fallen
from modelkeep.timekeeper import fallen
from modelkeep.views import Fact, Reader
from modelkeep_services.monitoring import known, views
from modelkeep_services.monitoring.arrays import instant, micros
from modelkeep_services.monitoring.book import Books
from modelkeep_services.monitoring.closing import Closer
from modelkeep_services.monitoring.commands import (
    CloseWindow,
    Due,
    MarkOverdue,
    MonitorCommand,
    ReachCadence,
)
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.money import checks
from modelkeep_services.monitoring.naming import window_id
from modelkeep_services.monitoring.open_windows import Span, late_spans
from modelkeep_services.monitoring.windows import grid_of, rows_between

MOST_CADENCES = 1_000
"""So many missed cadences are looked at in one tick; the next tick takes the rest."""
MOST_LATE = 1_000
"""So many windows are restated for one cadence's late rows, the newest first. The
rest keep what they said until their outcomes are mature, or their caller asks."""


def reactor(books: Books, closer: Closer) -> Reactor:
    """Make the reactor: its answers rest on rows that only a process holds."""
    due = Reactor("monitoring.due")

    @due.on(Ticked)
    def ticked(event: Ticked, _: Fact, read: Reader) -> Iterable[Reaction]:
        for tenant in read.tenants(views.due):
            yield from _tenant(read.other(tenant), event.instant, books, closer)

    return due


# --- money -------------------------------------------------------------------------

# From the start, so that a check does not depend on when monitoring was first run.
money = Reactor("monitoring.money", from_start=True)


@money.on(KpiRecorded)
def kpi_recorded(event: KpiRecorded, fact: Fact, read: Reader) -> Iterator[Reaction]:
    span = event.period_start, event.period_end
    return _checking(event.model, fact, read, *span)


@money.on(SloDefined)
def slo_defined(event: SloDefined, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _checking(event.model, fact, read)


@money.on(WindowClosed)
def window_closed(event: WindowClosed, fact: Fact, read: Reader) -> Iterator[Reaction]:
    return _checking(event.model, fact, read, event.start, event.end)


@money.on(WindowRestated)
def window_restated(
    event: WindowRestated, fact: Fact, read: Reader
) -> Iterator[Reaction]:
    return _checking(event.model, fact, read, event.start, event.end)


def _checking(
    model: str,
    fact: Fact,
    read: Reader,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Iterator[Reaction]:
    for check in checks(read, model, start, end):
        stream = stream_name("monitor", fact.tenant, model)
        yield Reaction(stream, MONITOR, check, part=check.slo)


# --- the clock ---------------------------------------------------------------------


def _tenant(
    read: Reader, instant: datetime, books: Books, closer: Closer
) -> Iterator[Reaction]:
    for one in fallen(read, views.due, instant):
        model = one.subject.partition("/")[0]
        for part, command in _commands(one, read, instant, books, closer):
            yield Reaction(
                stream_name("monitor", read.tenant, model),
                MONITOR,
                command,
                tenant=read.tenant,
                effective_at=instant,
                part=part,
            )


def _commands(
    one: Fallen, read: Reader, instant: datetime, books: Books, closer: Closer
) -> Iterator[tuple[str, MonitorCommand]]:
    match one.kind:
        case views.CADENCE:
            yield from _cadences(one.subject, read, instant, books, closer)
        case views.MATURITY:
            window = read.get(views.windows, one.subject)
            if window is not None:
                yield one.subject, _restating(window, read, instant, closer)
        case views.ALERT:
            model, _, alert = one.subject.partition("/")
            yield one.subject, MarkOverdue(model=model, alert=alert)


def _restating(
    window: views.WindowRow, read: Reader, instant: datetime, closer: Closer
) -> CloseWindow:
    which = (window.model, window.version, window.environment)
    found = closer.found(read, *which, window.start, window.end, instant)
    return CloseWindow(
        model=window.model,
        version=window.version,
        environment=window.environment,
        start=window.start,
        end=window.end,
        found=found,
    )


def _cadences(
    model: str, read: Reader, instant: datetime, books: Books, closer: Closer
) -> Iterator[tuple[str, MonitorCommand]]:
    row = read.get(views.monitors, model)
    if row is None or row.next_due_at is None or row.event.cadence_hours is None:
        return
    cadence = timedelta(hours=row.event.cadence_hours)
    grace = timedelta(hours=row.event.grace_hours)
    due_at, expected = row.next_due_at, _is_live(read, model)
    for _ in range(MOST_CADENCES):
        if due_at > instant:
            return
        end = due_at - grace
        yield (
            f"{model}/{end.isoformat()}",
            _reaching(row, read, end - cadence, end, due_at, books, closer, expected),
        )
        yield from _late(row, read, due_at, books, closer)
        due_at += cadence


def _late(
    row: views.MonitorRow, read: Reader, due_at: datetime, books: Books, closer: Closer
) -> Iterator[tuple[str, MonitorCommand]]:
    """Restate what the clock closed, where rows came later than the watermark and since
    it last looked.
    """
    grid, model = grid_of(row.event), row.event.model
    if row.event.allowed_lateness_hours is None or grid is None:
        return
    book, now = books.of(read.tenant, model), micros(due_at)
    with book.lock:
        book.catch_up()
        spans = late_spans(book, grid, now - grid.cadence, now)
    for span in spans[:MOST_LATE]:
        window = read.get(views.windows, f"{model}/{_named(span)}")
        if window is not None:
            subject = f"{model}/{window.window}"
            part = f"late/{due_at.isoformat()}/{subject}"
            yield part, _restating(window, read, due_at, closer)


def _named(span: Span) -> str:
    return window_id(
        span.version, span.environment, instant(span.start), instant(span.end)
    )


def _reaching(
    row: views.MonitorRow,
    read: Reader,
    start: datetime,
    end: datetime,
    due_at: datetime,
    books: Books,
    closer: Closer,
    expected: bool,  # noqa: FBT001  # said by name in the command
) -> ReachCadence:
    model = row.event.model
    book = books.of(read.tenant, model)
    with book.lock:
        book.catch_up()
        rows = rows_between(book, start, end)
    closings = (
        tuple(
            Due(
                version=version,
                environment=environment,
                found=closer.found(
                    read, model, version, environment, start, end, due_at
                ),
            )
            for version, environment in sorted(rows)
        )
        if row.event.closed_by == "clock"
        else ()
    )
    return ReachCadence(
        model=model,
        start=start,
        end=end,
        due_at=due_at,
        rows=rows.total(),
        expected=expected,
        closings=closings,
        owner=known.owner(read, model),
    )


def _is_live(read: Reader, model: str) -> bool:
    """A model that is suspended, retired or nowhere deployed may be silent."""
    about = read.get(views.models, model)
    if about is None or about.status != "active":
        return False
    versions = read.scan(views.versions, f"{model}/")
    return any(share > 0 for _, row in versions for share in row.shares.values())

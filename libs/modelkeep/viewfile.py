"""The writing side of a view file: an overlay an event, a transaction a batch.

SQLite lets go of the interpreter at every statement, and in a busy process getting it
back is what costs. So a batch is written in a few statements of many rows, keys are
numbered here, and what fits is remembered instead of asked for.
"""

from __future__ import annotations

import contextlib
import logging
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

import apsw

from modelkeep import rowstore
from modelkeep.store.port import Recorded
from modelkeep.views import AnyView, fact

_KID: Final = itemgetter(0)
V = TypeVar("V", int | bytes | None, str | int, int | str | bytes | None)
log = logging.getLogger(__name__)

CACHED_ROWS: Final = 200_000
UNSAVED: Final = 1_000
"""How far a checkpoint may lag, in positions: of SQLite's, a tenth as many events."""
MOST_ROWS: Final = 256
"""In one statement; the rest goes in powers of two, so that few texts are prepared."""


class Halt(NamedTuple):
    """A view met an event it cannot apply, and stopped there rather than skip it."""

    position: int
    event: str
    reason: str


class _Cell:
    """A key's interned id (0: none yet) and current row, as remembered."""

    __slots__ = ("body", "kid", "row")

    def __init__(self, kid: int, body: bytes | None, row: object | None) -> None:
        self.kid, self.body, self.row = kid, body, row


Address = tuple[int, str, str]
"""View id, tenant, key."""


class ViewFile:
    """Belongs to one thread. `position` is where the open batch has come."""

    def __init__(self, connection: apsw.Connection, views: dict[str, AnyView]) -> None:
        self._connection = connection
        self.position = self._saved = rowstore.position(connection)
        self.vids = rowstore.view_ids(connection)
        self._by_event: dict[str, list[tuple[AnyView, int]]] = {}
        for view in views.values():
            for event in view.applies:
                self._by_event.setdefault(event, []).append(
                    (view, self.vids[view.name])
                )
        self._next_kid = rowstore.last_kid(connection) + 1
        self._cells: dict[Address, _Cell] = {}
        # True while every key of the file is in `_cells`: what is not there is new.
        self._complete = self._next_kid == 1
        self._touched: dict[Address, _Cell] = {}
        # Rows of history and of times, each all in one list.
        self._past: list[int | bytes | None] = []
        self._times: list[str | int] = []
        self._latest = self._known_at_max()

    def _known_at_max(self) -> str:
        found = self._connection.execute("select max(known_at) from times").get
        return str(found or "")

    def apply(self, recorded: Recorded) -> Halt | None:
        """Take one event into the open batch, or say why it cannot be taken."""
        handlers = self._by_event.get(recorded.name)
        try:
            if handlers:
                self._apply(recorded, handlers)
            known_at = _known_at(recorded)
        except Exception as error:
            log.exception("event %s cannot be applied", recorded.uuid)
            return Halt(recorded.position, recorded.name, f"{error}")
        if known_at > self._latest:
            self._latest = known_at
            self._times += (known_at, recorded.position)
        self.position = recorded.position
        return None

    def _apply(self, recorded: Recorded, handlers: list[tuple[AnyView, int]]) -> None:
        seen = fact(recorded)
        overlays = []
        for view, vid in handlers:
            rows = Overlay(self, view, vid, seen.tenant)
            view.applies[recorded.name](seen.event, seen, rows)
            overlays.append(rows)
        for rows in overlays:  # all of the event, or nothing of it
            self._keep(rows, recorded.position)

    def _keep(self, rows: Overlay, position: int) -> None:
        view, vid, tenant = rows.view, rows.vid, rows.tenant
        for key, row in rows.changes.items():
            address = vid, tenant, key
            cell = self._cells.get(address) or self.cell(address, view)
            body = None if row is None else view.dump(row)
            if body == cell.body:
                continue
            cell.body, cell.row = body, row
            if not cell.kid:
                cell.kid, self._next_kid = self._next_kid, self._next_kid + 1
            self._touched[address] = cell
            self._past += (cell.kid, position, body)

    def cell(self, address: Address, view: AnyView) -> _Cell:
        found = self._cells.get(address)
        if found is None:
            found = self._cells[address] = self._fetch(address, view)
        return found

    def _fetch(self, address: Address, view: AnyView) -> _Cell:
        if not self._complete:
            for kid, body in self._connection.execute(
                "select kid, body from keys where vid = ? and tenant = ? and key = ?",
                address,
            ):
                return _Cell(kid, body, None if body is None else view.load(body))
        return _Cell(0, None, None)

    def commit(self) -> None:
        """Rows, history, times and checkpoint move together, or not at all. Where no
        row changed only the checkpoint would: it may lag by `UNSAVED`, and what lies
        between is then read again.
        """
        if self._past or self._times or self.position - self._saved > UNSAVED:
            self._save()

    def _save(self) -> None:
        connection = self._connection
        with rowstore.transaction(connection):
            self._write(
                "insert into keys values {} "
                "on conflict(kid) do update set body = excluded.body",
                [
                    value
                    for address, cell in self._touched.items()
                    for value in (cell.kid, *address, cell.body)
                ],
                width=5,
            )
            self._write(
                "insert into history values {} "
                "on conflict do update set body = excluded.body",
                _by_key(self._past),
                width=3,
            )
            self._write("insert into times values {}", self._times, width=2)
            connection.execute(
                "update meta set value = ? where name = 'position'", (self.position,)
            )
        self._saved = self.position
        self._touched.clear()
        self._past.clear()
        self._times.clear()
        if len(self._cells) > CACHED_ROWS:
            self._cells.clear()
            self._complete = False

    def _write(self, statement: str, values: list[V], *, width: int) -> None:
        """Insert rows of `width` values, all in one list."""
        at, rows = 0, MOST_ROWS
        while at < len(values):
            while at + rows * width > len(values):
                rows //= 2
            chunk = values[at : at + rows * width]
            self._connection.execute(_for_rows(statement, rows, width), chunk)
            at += len(chunk)

    def hurry(self) -> None:
        """Write as fast as can be: for a file that is thrown away if anything fails."""
        rowstore.hurry(self._connection)

    def close(self) -> None:
        """What was not committed is forgotten; a checkpoint that lags is brought up."""
        if not self._past and not self._times and self.position > self._saved:
            with contextlib.suppress(apsw.Error):  # it may as well lag
                self._save()
        self._connection.close()


def _known_at(recorded: Recorded) -> str:
    # Our own writers put it first; anybody else's JSON is parsed.
    metadata = recorded.metadata
    if metadata.startswith(b'{"known_at":"') and metadata[40:41] == b'"':
        return metadata[13:40].decode()
    return recorded.meta["known_at"]


class Overlay:
    """What one event changes in one view, until all its views have had it."""

    def __init__(self, file: ViewFile, view: AnyView, vid: int, tenant: str) -> None:
        self._file, self.view, self.vid, self.tenant = file, view, vid, tenant
        self.changes: dict[str, object | None] = {}

    def get(self, key: str) -> object | None:
        if key in self.changes:
            return self.changes[key]
        return self._file.cell((self.vid, self.tenant, key), self.view).row

    def put(self, key: str, row: object) -> None:
        self.changes[key] = row

    def delete(self, key: str) -> None:
        self.changes[key] = None


def _by_key(past: list[int | bytes | None]) -> list[int | bytes | None]:
    """Put rows of history as they lie in the file: each page is then visited once."""
    rows = sorted(zip(past[::3], past[1::3], past[2::3], strict=True), key=_KID)
    return list(chain.from_iterable(rows))


@cache
def _for_rows(statement: str, rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.format(", ".join([row] * rows))

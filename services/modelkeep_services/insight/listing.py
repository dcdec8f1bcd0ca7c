"""`List` and `Watch`: insight's own rows, for anybody's portal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.errors import Invalid
from modelkeep.paging import page
from modelkeep.service import Asked, Call
from modelkeep.views import AsOf, View
from modelkeep_services.insight.views import LISTED

BATCH: Final = 500
LOOK_S: Final = 0.05
HEARTBEAT_S: Final = 10.0
MAX_PREFIX: Final = 1_000


def list_rows(request: pb.ListRequest, asked: Asked) -> pb.ListResponse:
    view = _view(request.view)
    prefix = _prefix(request.prefix)
    rows, token = page(asked.read, view, request.page, prefix)
    return pb.ListResponse(
        rows=[_row(view, key, row) for key, row in rows], next_token=token
    )


async def watch(
    requests: AsyncIterator[pb.WatchRequest], call: Call
) -> AsyncIterator[pb.WatchResponse]:
    """Send a snapshot or what changed since a position, then changes as they come.

    A message holds about BATCH rows, and the next is read when the last was taken: a
    slow reader costs nothing here. Now and then a message without rows says that all
    is well and how far things are.
    """
    request = await anext(aiter(requests))
    view, prefix = _view(request.view), _prefix(request.prefix)
    if request.HasField("from_position"):
        position = request.from_position
        if position < 0:
            raise Invalid.field("from_position", "is negative")
    else:
        position = call.views.position
        async for message in _snapshot(view, prefix, call, position):
            yield message
    loop = asyncio.get_running_loop()
    spoke_at = loop.time()
    while True:
        if call.views.position > position:
            answer = await asyncio.to_thread(_changes, view, prefix, call, position)
            position = answer.position
            if answer.rows:
                yield answer
                spoke_at = loop.time()
            continue
        if loop.time() - spoke_at >= HEARTBEAT_S:
            yield pb.WatchResponse(position=position, caught_up=True)
            spoke_at = loop.time()
        await asyncio.sleep(LOOK_S)


async def _snapshot(
    view: View[object], prefix: str, call: Call, position: int
) -> AsyncIterator[pb.WatchResponse]:
    """Send every row as of one moment. Until the last message, resuming starts anew."""
    after: str | None = None
    while True:
        rows = await asyncio.to_thread(_scan, view, prefix, call, position, after)
        done = len(rows) < BATCH
        yield pb.WatchResponse(
            position=position if done else 0,
            rows=[_row(view, key, row) for key, row in rows],
            caught_up=done,
        )
        if done:
            return
        after = rows[-1][0]


def _scan(
    view: View[object], prefix: str, call: Call, position: int, after: str | None
) -> list[tuple[str, object]]:
    with call.views.reader(call.actor.tenant, AsOf(position)) as read:
        return read.scan(view, prefix, after=after, limit=BATCH)


def _changes(
    view: View[object], prefix: str, call: Call, after: int
) -> pb.WatchResponse:
    until = call.views.position
    with call.views.reader(call.actor.tenant, AsOf(until)) as read:
        found = read.changes(view, prefix, after=after, limit=BATCH)
    whole = len(found) < BATCH
    return pb.WatchResponse(
        position=until if whole else found[-1][0],
        rows=[_row(view, key, row) for _, key, row in found],
        caught_up=whole,
    )


def _view(name: str) -> View[object]:
    if not name:
        raise Invalid.field("view", f"is one of {', '.join(sorted(LISTED))}")
    found = LISTED.get(name)
    if found is None:
        raise Invalid.field("view", f"{name[:100]} is not one of {', '.join(LISTED)}")
    return found


def _prefix(prefix: str) -> str:
    if len(prefix) > MAX_PREFIX:
        raise Invalid.field("prefix", f"is longer than {MAX_PREFIX} characters")
    return prefix


def _row(view: View[object], key: str, row: object | None) -> pb.Row:
    if row is None:
        return pb.Row(key=key)
    return pb.Row(key=key, body=ParseDict(json.loads(view.dump(row)), Struct()))

"""The jars as a service: every kind of method, for tests of what stands around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from google.protobuf.message import Message
from tests.unit.jars import JAR, JARS, PutMarbles, order
from tests.unit.little_proto import declare, message_class

from modelkeep import errors
from modelkeep.api.common.v1 import common_pb2
from modelkeep.decider import Command, Context, decider
from modelkeep.errors import ModelkeepError, NotFound
from modelkeep.events.base import Event
from modelkeep.events.types import Sealed, Slug, Subject
from modelkeep.identity import FIRST_LINE, ROLES
from modelkeep.paging import page
from modelkeep.rpc import descriptor
from modelkeep.service import (
    Asked,
    Call,
    Host,
    Personal,
    Service,
    Target,
    read,
    stream,
    write,
)
from modelkeep.views import AnyView, Fact, Rows, View
from modelkeep.wire import fill

ENVELOPE: Final = (
    "string request_id = 1",
    "optional int64 expected_revision = 2",
    "google.protobuf.Timestamp effective_at = 3",
)
QUERY: Final = ("modelkeep.api.common.v1.AsOf as_of = 1", "int64 not_before = 2")
WRITTEN: Final = ("modelkeep.api.common.v1.Written written = 1",)

declare(
    "tests.jars.v1",
    {
        "PutMarblesRequest": [
            *ENVELOPE,
            "string jar = 10",
            "string colour = 11",
            "optional int32 count = 12",
        ],
        "PutMarblesResponse": WRITTEN,
        "LabelJarRequest": [
            *ENVELOPE,
            "string jar = 10",
            "string owner = 11",
            "string label = 12",
        ],
        "LabelJarResponse": WRITTEN,
        "Jar": [
            "string jar = 1",
            "int32 marbles = 2",
            "string colour = 3",
            "google.protobuf.Timestamp put_at = 4",
            "string put_by = 5",
        ],
        "GetJarRequest": [*QUERY, "string jar = 10"],
        "GetJarResponse": ["tests.jars.v1.Jar jar = 1"],
        "GetLabelRequest": [*QUERY, "string jar = 10"],
        "GetLabelResponse": ["string label = 1"],
        "ListJarsRequest": [*QUERY, "modelkeep.api.common.v1.Page page = 3"],
        "ListJarsResponse": ["repeated tests.jars.v1.Jar jars = 1", "string next = 2"],
        "FailRequest": [*QUERY, "string how = 10"],
        "FailResponse": [],
        "WatchJarsRequest": [],
        "WatchJarsResponse": ["int64 position = 1"],
        "PutManyRequest": ["string request_id = 1", "string jar = 2"],
        "PutManyResponse": ["int64 revision = 1"],
    },
    imports=["google/protobuf/timestamp.proto", common_pb2.DESCRIPTOR.name],
    services={
        "JarService": {
            "PutMarbles": "PutMarblesRequest -> PutMarblesResponse",
            "LabelJar": "LabelJarRequest -> LabelJarResponse",
            "GetJar": "GetJarRequest -> GetJarResponse",
            "GetLabel": "GetLabelRequest -> GetLabelResponse",
            "ListJars": "ListJarsRequest -> ListJarsResponse",
            "Fail": "FailRequest -> FailResponse",
            "WatchJars": "WatchJarsRequest -> stream WatchJarsResponse",
            "PutMany": "stream PutManyRequest -> stream PutManyResponse",
        }
    },
)
NAME: Final = "tests.jars.v1.JarService"


# `PB.Jar` is the message class `tests.jars.v1.Jar`.
PB: Final[Any] = SimpleNamespace(
    **{
        name: message_class(f"tests.jars.v1.{name}")
        for method in descriptor(NAME).methods
        for name in (method.input_type.name, method.output_type.name, "Jar")
    }
)


class JarLabelled(Event, name="tests.jar-labelled"):
    jar: Slug
    owner: Subject
    label: Sealed


class LabelJar(Command):
    jar: Slug
    owner: Subject
    label: Sealed


def decide_label(
    command: LabelJar, _: Sequence[JarLabelled], __: Context
) -> Sequence[JarLabelled]:
    return [JarLabelled(**dict(command))]


def evolve_label(
    labels: Sequence[JarLabelled], event: JarLabelled
) -> Sequence[JarLabelled]:
    return (*labels, event)


NO_LABELS: Sequence[JarLabelled] = ()
LABEL: Final = decider(NO_LABELS, decide_label, evolve_label)


@dataclass(frozen=True)
class LabelRow:
    label: Sealed


LABELS: Final = View("labels", LabelRow)


@LABELS.on(JarLabelled)
def labelled(event: JarLabelled, _: Fact, rows: Rows[LabelRow]) -> None:
    rows.put(event.jar, LabelRow(event.label))


def get_jar(request: Any, asked: Asked) -> Any:
    row = asked.read.get(JARS, request.jar)
    if row is None:
        raise NotFound("jar", request.jar)
    return PB.GetJarResponse(jar=fill(PB.Jar(), row))


def get_label(request: Any, asked: Asked) -> Any:
    row = asked.read.get(LABELS, request.jar)
    if row is None:
        raise NotFound("label", request.jar)
    opened = asked.host.keystore.open(asked.actor.tenant, "label", row.label)
    return PB.GetLabelResponse(label=opened)


def list_jars(request: Any, asked: Asked) -> Any:
    rows, token = page(asked.read, JARS, request.page)
    return PB.ListJarsResponse(
        jars=[fill(PB.Jar(), row) for _, row in rows], next=token
    )


FAILURES: Final[Mapping[str, ModelkeepError]] = {
    type(error).__name__: error
    for error in (
        errors.Invalid(
            errors.Violation("jar", "is cracked"), errors.Violation("lid.size", "big")
        ),
        errors.Unauthenticated("who?"),
        errors.Forbidden("not you"),
        errors.NotFound("jar", "big"),
        errors.AlreadyExists("again?"),
        errors.Refused("tests.rule", "jar big is broken", subject="big"),
        errors.Conflict("jar-main.big", 3, 7),
        errors.WrongVersion("jar-main.big", 3, 7),
        errors.Exhausted("enough"),
        errors.TooLarge("too much"),
        errors.DiskFull("no room"),
        errors.Late("too late"),
        errors.Unavailable("not now"),
        errors.Corrupt("what is this?"),
    )
}


def fail(request: Any, _: Asked) -> Any:  # declared above, not generated
    if request.how not in FAILURES:
        raise ZeroDivisionError("the secret of the house")
    raise FAILURES[request.how]


async def watch(_: AsyncIterator[Message], call: Call) -> AsyncIterator[Message]:
    position = -2
    while True:
        position = await asyncio.to_thread(call.views.wait_change, position, 0.02)
        yield PB.WatchJarsResponse(position=position)


async def put_many(requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Message]:
    async for one in requests:
        asked = order(
            PutMarbles(jar=one.jar), one.request_id, by=call.actor, at=call.now()
        )
        written = await asyncio.to_thread(call.execute, asked)
        yield PB.PutManyResponse(revision=written.revision)


def jar_stream(command: PutMarbles, _: Context) -> Target:
    return Target("jar", command.jar)


def label_stream(command: LabelJar, _: Context) -> Target:
    return Target("label", command.jar)


def jars_service(_: Host, *views: AnyView) -> Service:
    return Service(
        name="jars",
        descriptor=descriptor(NAME),
        writes=[
            write("PutMarbles", PutMarbles, JAR, jar_stream, FIRST_LINE | {"serving"}),
            write(
                "LabelJar",
                LabelJar,
                LABEL,
                label_stream,
                FIRST_LINE,
                sealed={"label": Personal("owner", "label")},
            ),
        ],
        reads=[
            read("GetJar", get_jar, ROLES),
            read("GetLabel", get_label, FIRST_LINE),
            read("ListJars", list_jars, ROLES),
            read("Fail", fail, ROLES),
        ],
        streams=[
            stream("WatchJars", watch, ROLES),
            stream("PutMany", put_many, FIRST_LINE),
        ],
        views=views or (JARS, LABELS),
    )

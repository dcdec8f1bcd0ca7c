"""Protobuf messages declared inside a test, in the words of a .proto file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_FIELD: Final = re.compile(
    r"(?:(optional|repeated) )?(map<(\w+), ([\w.]+)>|[\w.]+) (\w+) = (\d+)"
)
Messages = Mapping[str, Sequence[str]]
Enums = Mapping[str, Sequence[str]]
Methods = Mapping[str, str]


def declare(
    package: str,
    messages: Messages,
    *,
    imports: Sequence[str] = (),
    enums: Enums | None = None,
    services: Mapping[str, Methods] | None = None,
) -> None:
    """Register a file with Python's own pool: `"optional int64 age = 2"` is a field,
    `"PutRequest -> stream PutResponse"` a method.
    """
    file = FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3", dependency=imports
    )
    for name, words in (enums or {}).items():
        enum = file.enum_type.add(name=name)
        for number, word in enumerate(words):
            enum.value.add(name=word, number=number)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _field(package, message, field, enums or {})
    for name, methods in (services or {}).items():
        service = file.service.add(name=name)
        for rpc, types in methods.items():
            asks, _, answers = types.partition(" -> ")
            service.method.add(
                name=rpc,
                input_type=f".{package}.{asks.removeprefix('stream ')}",
                output_type=f".{package}.{answers.removeprefix('stream ')}",
                client_streaming=asks.startswith("stream "),
                server_streaming=answers.startswith("stream "),
            )
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


def message_class(full_name: str) -> type[Message]:
    return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))


def _field(package: str, message: DescriptorProto, said: str, enums: Enums) -> None:
    match = _FIELD.fullmatch(said)
    if match is None:
        raise ValueError(said)
    label, kind, key, value, name, number = match.groups()
    field = message.field.add(
        name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL
    )
    if label == "repeated" or key:
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if label == "optional":
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    if key:
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _field(package, entry, f"{key} key = 1", enums)
        _field(package, entry, f"{value} value = 2", enums)
        kind = f"{package}.{message.name}.{entry.name}"
    _type(package, field, kind, enums)


def _type(package: str, field: FieldDescriptorProto, kind: str, enums: Enums) -> None:
    if kind in enums:
        field.type = FieldDescriptorProto.TYPE_ENUM
        field.type_name = f".{package}.{kind}"
    elif "." in kind:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")

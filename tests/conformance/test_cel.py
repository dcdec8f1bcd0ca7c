"""The language of rules is CEL: its own conformance files say so, where they are.

They are not part of this project: cel-spec's `tests/simple/testdata` is looked for in
`fixtures/cel` of MODELKEEP_SHARED_DATA; where it is not, this is skipped by name.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from cel_expr_python import cel
from google.protobuf import text_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tests.conformance import cel_shapes

DATA: Final = Path(
    os.environ.get(
        "MODELKEEP_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"
    )
)
FOLDER: Final = DATA / "fixtures" / "cel"
CASES: Final = 1_192
LEAST: Final = 1_187
KNOWN: Final = frozenset(
    {
        "fields/qualified_identifier_resolution/map_value_repeat_key_heterogeneous",
        "fields/qualified_identifier_resolution/qualified_identifier_resolution_unchecked",
        "namespace/namespace/self_eval_container_lookup_unchecked",
    }
)
"""What the engine is known to answer otherwise."""

Shape: TypeAlias = Any
"""A message of `cel_shapes`: what it has is known when the tests run."""

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason="CEL's conformance files are not here: MODELKEEP_SHARED_DATA",
)
QUESTION_MARK: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\\?")
POOL: Final = cel_shapes.pool()
PRIMITIVES: Final = {
    "BOOL": cel.Type.BOOL,
    "INT64": cel.Type.INT,
    "UINT64": cel.Type.UINT,
    "DOUBLE": cel.Type.DOUBLE,
    "STRING": cel.Type.STRING,
    "BYTES": cel.Type.BYTES,
}


def test_the_engine_answers_as_the_specification_does() -> None:
    total, wrong = 0, {}
    for name, case in cases():
        total += 1
        said = disagreement(case)
        if said:
            wrong[name] = said
    assert total == CASES
    told = "\n".join(f"{name}: {said}" for name, said in wrong.items())
    assert set(wrong) == KNOWN, told
    assert total - len(wrong) >= LEAST


def cases() -> Iterator[tuple[str, Shape]]:
    for name in cel_shapes.CORE:
        text = (FOLDER / f"{name}.textproto").read_text(encoding="utf-8")
        # Protobuf's reader leaves this one escape as it stands.
        text = QUESTION_MARK.sub(r"\1?", text)
        file: Shape = cel_shapes.message(POOL, "t.SimpleTestFile")
        text_format.Parse(text, file, descriptor_pool=POOL)
        for section in file.section:
            for case in section.test:
                yield f"{name}/{section.name}/{case.name}", case


def disagreement(case: Shape) -> str:
    """Say what came out otherwise than it should; nothing when it did not."""
    wants_error = case.HasField("eval_error") or case.HasField("any_eval_errors")
    try:
        env = cel.NewEnv(
            POOL,
            variables={one.name: type_of(one.ident.type) for one in case.type_env},
            container=case.container or None,
        )
        compiled = env.compile(case.expr, disable_check=case.disable_check)
        given = {one.key: plain(one.value.value) for one in case.bindings}
        value = compiled.eval(env.Activation(given))
    except RuntimeError as refused:
        return "" if wants_error else f"refused: {str(refused)[:200]}"
    if value.type() == cel.Type.ERROR:
        return "" if wants_error else f"failed: {value.value()}"
    if wants_error:
        return f"gave {value.plain_value()!r}, not an error"
    wanted = case.value if case.HasField("value") else None
    if wanted is None:
        return "" if value.value() is True else f"gave {value.plain_value()!r}"
    return "" if same(value, wanted) else f"gave {value.plain_value()!r}, not {wanted}"


def type_of(said: Shape) -> cel.Type:
    match said.WhichOneof("kind") if said.DESCRIPTOR.oneofs else kind_of(said):
        case "primitive":
            return PRIMITIVES[primitive(said.primitive)]
        case "map_type":
            return cel.Type.Map(
                type_of(said.map_type.key_type), type_of(said.map_type.value_type)
            )
        case "list_type":
            return cel.Type.List(type_of(said.list_type.elem_type))
        case "message_type":
            return cel.Type(said.message_type)
    return cel.Type.DYN


def kind_of(said: Shape) -> str:
    [(field, _)] = said.ListFields()
    return str(field.name)


def primitive(number: int) -> str:
    enum = POOL.FindEnumTypeByName("t.Primitive")
    return str(enum.values_by_number[number].name)


def plain(value: Shape) -> object:
    kind = kind_of(value)
    if kind == "map_value":
        return {plain(one.key): plain(one.value) for one in value.map_value.entries}
    if kind == "list_value":
        return [plain(one) for one in value.list_value.values]
    if kind == "object_value":
        return unpacked(value.object_value)
    return None if kind == "null_value" else getattr(value, kind)


def unpacked(packed: Shape) -> Shape:
    found = cel_shapes.message(POOL, packed.type_url.rpartition("/")[2])
    found.ParseFromString(packed.value)
    return found


KINDS: Final = {
    "bool_value": cel.Type.BOOL,
    "int64_value": cel.Type.INT,
    "uint64_value": cel.Type.UINT,
    "double_value": cel.Type.DOUBLE,
    "string_value": cel.Type.STRING,
    "bytes_value": cel.Type.BYTES,
    "null_value": cel.Type.NULL,
}


NAMES: Final = {
    "NULL": "null_type",
    "TIMESTAMP": "google.protobuf.Timestamp",
    "DURATION": "google.protobuf.Duration",
}


def same(value: cel.Value, wanted: Shape) -> bool:
    kind, got = kind_of(wanted), value.plain_value()
    if kind in KINDS and value.type() != KINDS[kind]:
        return False
    if kind == "type_value":
        named: str = wanted.type_value
        return value.type() == cel.Type.TYPE and type_name(got) == named
    return equal(got, wanted)


def type_name(found: object) -> str:
    """The engine writes LIST<DYN> where the specification writes list."""
    name = found.name() if isinstance(found, cel.Type) else str(found)
    name = name.partition("<")[0]
    return NAMES.get(name) or name.lower()


def equal(got: object, wanted: Shape) -> bool:
    """Compare with Python's values: 1, 1.0 and true are three things."""
    kind = kind_of(wanted)
    if kind == "list_value":
        items = wanted.list_value.values
        return (
            isinstance(got, list)
            and len(got) == len(items)
            and all(map(equal, got, items))
        )
    if kind == "map_value":
        entries = {plain(one.key): one.value for one in wanted.map_value.entries}
        return (
            isinstance(got, dict)
            and got.keys() == entries.keys()
            and all(equal(got[key], value) for key, value in entries.items())
        )
    if kind == "object_value":
        return objects_equal(got, unpacked(wanted.object_value))
    if kind == "null_value":
        return got is None
    said = getattr(wanted, kind)
    if isinstance(got, bytearray):
        got = bytes(got)
    if isinstance(said, float) and math.isnan(said):
        return isinstance(got, float) and math.isnan(got)
    return type(got) is type(said) and got == said


def objects_equal(got: object, wanted: Shape) -> bool:
    match wanted.DESCRIPTOR.full_name:
        case "google.protobuf.Timestamp":
            when = Timestamp.FromString(wanted.SerializeToString())
            return got == when.ToDatetime(tzinfo=UTC)
        case "google.protobuf.Duration":
            span = Duration.FromString(wanted.SerializeToString())
            return got == timedelta(
                seconds=span.seconds, microseconds=span.nanos // 1_000
            )
    if isinstance(got, Message):
        said: bytes = wanted.SerializeToString(deterministic=True)
        return got.SerializeToString(deterministic=True) == said
    return False


def test_the_moments_of_a_comparison_are_read_as_python_reads_them() -> None:
    moment = cel.NewEnv(POOL).compile("timestamp('2009-02-13T23:31:30Z')").eval()
    assert moment.value() == datetime(2009, 2, 13, 23, 31, 30, tzinfo=UTC)

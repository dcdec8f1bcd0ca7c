"""The messages that CEL's conformance files are written in, as far as they use them.

Field numbers are theirs where bytes on the wire appear in a test, and ours elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

WELL_KNOWN: Final = (
    any_pb2,
    duration_pb2,
    empty_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
CORE: Final = (
    "basic",
    "comparisons",
    "conversions",
    "fields",
    "fp_math",
    "integer_math",
    "lists",
    "logic",
    "macros",
    "namespace",
    "parse",
    "plumbing",
    "string",
    "timestamps",
)
"""What the language is: the other files are of protobuf and of extensions."""

VALUE: Final = """
    null_value .google.protobuf.NullValue, bool_value bool, int64_value int64,
    uint64_value uint64, double_value double, string_value string, bytes_value bytes,
    enum_value .t.EnumValue, object_value .google.protobuf.Any, map_value .t.MapValue,
    list_value .t.ListValue, type_value string
"""
TEST: Final[Mapping[str, str]] = {
    "EnumValue": "type string, value int32",
    "Entry": "key .t.Value, value .t.Value",
    "MapValue": "entries *.t.Entry",
    "ListValue": "values *.t.Value",
    "Value": VALUE,
    "Status": "code int32, message string",
    "ErrorSet": "errors *.t.Status",
    "ErrorSetMatcher": "errors *.t.ErrorSet",
    "ExprValue": "value .t.Value, error .t.ErrorSet, unknown .google.protobuf.Empty",
    "MapType": "key_type .t.Type, value_type .t.Type",
    "ListType": "elem_type .t.Type",
    "Type": """
        primitive .t.Primitive, wrapper .t.Primitive, well_known .t.WellKnown,
        list_type .t.ListType, map_type .t.MapType, message_type string,
        dyn .google.protobuf.Empty, null .google.protobuf.NullValue, type .t.Type
    """,
    "Ident": "type .t.Type",
    "Decl": "name string, ident .t.Ident",
    "Binding": "key string, value .t.ExprValue",
    "SimpleTest": """
        name string, description string, expr string, disable_macros bool,
        disable_check bool, check_only bool, type_env *.t.Decl, container string,
        bindings *.t.Binding, value .t.Value, eval_error .t.ErrorSet,
        any_eval_errors .t.ErrorSetMatcher
    """,
    "Section": "name string, description string, test *.t.SimpleTest",
    "SimpleTestFile": "name string, description string, section *.t.Section",
}
ENUMS: Final[Mapping[str, str]] = {
    "Primitive": "NO_PRIMITIVE BOOL INT64 UINT64 DOUBLE STRING BYTES",
    "WellKnown": "NO_WELL_KNOWN ANY TIMESTAMP DURATION",
}
NAMES: Final = """
    as break const continue else for function if import let loop package namespace
    return var void while
"""
ALL_TYPES: Final = f"""
    single_int32 int32, single_int64 int64, single_uint32 uint32, single_uint64 uint64,
    single_sint32 sint32, single_sint64 sint64, single_fixed32 fixed32,
    single_fixed64 fixed64, single_sfixed32 sfixed32, single_sfixed64 sfixed64,
    single_float float, single_double double, single_bool bool, single_string string,
    single_bytes bytes, 100 single_any .google.protobuf.Any,
    single_value .google.protobuf.Value, single_struct .google.protobuf.Struct,
    list_value .google.protobuf.ListValue,
    single_duration .google.protobuf.Duration,
    single_timestamp .google.protobuf.Timestamp,
    single_bool_wrapper .google.protobuf.BoolValue,
    single_bytes_wrapper .google.protobuf.BytesValue,
    single_double_wrapper .google.protobuf.DoubleValue,
    single_float_wrapper .google.protobuf.FloatValue,
    single_int32_wrapper .google.protobuf.Int32Value,
    single_int64_wrapper .google.protobuf.Int64Value,
    single_string_wrapper .google.protobuf.StringValue,
    single_uint32_wrapper .google.protobuf.UInt32Value,
    single_uint64_wrapper .google.protobuf.UInt64Value,
    repeated_int32 *int32, repeated_int64 *int64, repeated_uint32 *uint32,
    repeated_uint64 *uint64, repeated_sint32 *sint32, repeated_sint64 *sint64,
    repeated_fixed32 *fixed32, repeated_fixed64 *fixed64, repeated_sfixed32 *sfixed32,
    repeated_sfixed64 *sfixed64, repeated_float *float, repeated_double *double,
    {", ".join(f"{name} bool" for name in NAMES.split())}
"""


def pool() -> descriptor_pool.DescriptorPool:
    """Return a pool with everything that the files and their expressions name."""
    made = descriptor_pool.DescriptorPool()
    for module in WELL_KNOWN:
        made.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    made.Add(_file("t", TEST, ENUMS, "proto2"))  # so that what is 0 is there
    for syntax in ("proto2", "proto3"):
        package = f"cel.expr.conformance.{syntax}"
        shapes = {
            "TestAllTypes": ALL_TYPES,
            "NestedTestAllTypes": (
                f"child .{package}.NestedTestAllTypes, payload .{package}.TestAllTypes"
            ),
        }
        made.Add(_file(package, shapes, {}, syntax))
    return made


def message(known: descriptor_pool.DescriptorPool, name: str) -> Message:
    return GetMessageClass(known.FindMessageTypeByName(name))()


def _file(
    package: str, shapes: Mapping[str, str], enums: Mapping[str, str], syntax: str
) -> descriptor_pb2.FileDescriptorProto:
    made = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto",
        package=package,
        syntax=syntax,
        dependency=[module.DESCRIPTOR.name for module in WELL_KNOWN],
    )
    for name, values in enums.items():
        enum = made.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for name, fields in shapes.items():
        shape = made.message_type.add(name=name)
        for number, said in enumerate(fields.split(","), 1):
            shape.field.append(_field(said.split(), number))
    return made


def _field(said: list[str], number: int) -> Field:
    if said[0].isdecimal():
        number, said = int(said[0]), said[1:]
    name, kind = said
    many, kind = kind.startswith("*"), kind.lstrip("*")
    field = Field(
        name=name,
        number=number,
        label=Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL,
    )
    if kind.startswith("."):
        enum = kind in {".google.protobuf.NullValue", ".t.Primitive", ".t.WellKnown"}
        field.type_name = kind
        field.type = Field.TYPE_ENUM if enum else Field.TYPE_MESSAGE
    else:
        field.type = Field.Type.Value(f"TYPE_{kind.upper()}")
    return field

"""Messages to values and back: absent is absent, and what is wrong is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

import pytest
from google.protobuf import duration_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from tests.unit.little_proto import declare, message_class

from modelkeep.errors import Invalid
from modelkeep.wire import checked, fill, parse, values

NOON: Final = datetime(2026, 1, 5, 12, 30, 15, 123456, tzinfo=UTC)
SCALARS: Final = (
    *("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64"),
    *("fixed32", "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes"),
)
WRAPPERS: Final = ("Double", "Int64", "Bool", "String", "Bytes", "UInt32")

declare(
    "tests.wire",
    {
        "Part": ["string name = 1", "optional int64 weight = 2", "TierSource why = 3"],
        "Everything": [
            *(f"{kind} a_{kind} = {n}" for n, kind in enumerate(SCALARS, 1)),
            *(f"optional {kind} o_{kind} = {n}" for n, kind in enumerate(SCALARS, 21)),
            *(f"repeated {kind} r_{kind} = {n}" for n, kind in enumerate(SCALARS, 41)),
            *(
                f"google.protobuf.{kind}Value w_{kind.lower()} = {n}"
                for n, kind in enumerate(WRAPPERS, 61)
            ),
            "TierSource source = 70",
            "optional TierSource o_source = 71",
            "repeated TierSource sources = 72",
            "tests.wire.Part part = 73",
            "repeated tests.wire.Part parts = 74",
            "map<string, int64> counts = 75",
            "map<string, tests.wire.Part> by_name = 76",
            "map<string, TierSource> why = 77",
            "google.protobuf.Timestamp at = 78",
            "repeated google.protobuf.Timestamp times = 79",
            "google.protobuf.Duration lasts = 80",
            "map<string, google.protobuf.Timestamp> when = 81",
            "string request_id = 90",
            "optional int64 expected_revision = 91",
            "google.protobuf.Timestamp effective_at = 92",
        ],
    },
    enums={
        "TierSource": [
            "TIER_SOURCE_UNSPECIFIED",
            "TIER_SOURCE_DERIVED",
            "TIER_SOURCE_BY_HAND",
        ]
    },
    imports=[
        one.DESCRIPTOR.name for one in (timestamp_pb2, duration_pb2, wrappers_pb2)
    ],
)
Everything: Any = message_class("tests.wire.Everything")
Part: Any = message_class("tests.wire.Part")
ZEROS: Final = {f"a_{kind}": 0 for kind in SCALARS if kind not in {"string", "bytes"}}


def said(message: Message) -> dict[str, object]:
    """Return what a message says beyond the zeros that no message can leave out."""
    found = values(message)
    return {k: v for k, v in found.items() if v or k not in ZEROS}


def refusal(message: Message) -> tuple[str, str]:
    with pytest.raises(Invalid) as invalid:
        values(message)
    (violation,) = invalid.value.violations
    return violation


class TestReading:
    def test_nothing_said_is_nothing_found_but_zeros(self) -> None:
        assert values(Everything()) == ZEROS

    @pytest.mark.parametrize("kind", SCALARS)
    def test_a_scalar_that_was_said_is_found(self, kind: str) -> None:
        value = {"string": "é", "bytes": b"\0", "bool": True}.get(kind, 3)
        given = Everything(
            **{f"a_{kind}": value, f"o_{kind}": value, f"r_{kind}": [value, value]}
        )
        assert said(given) == {
            f"a_{kind}": value,
            f"o_{kind}": value,
            f"r_{kind}": (value, value),
        }

    @pytest.mark.parametrize("kind", SCALARS)
    def test_an_optional_zero_differs_from_nothing(self, kind: str) -> None:
        zero = {"string": "", "bytes": b"", "bool": False}.get(kind, 0)
        assert said(Everything(**{f"o_{kind}": zero})) == {f"o_{kind}": zero}

    @pytest.mark.parametrize("kind", WRAPPERS)
    def test_a_wrapper_is_its_value_even_a_zero(self, kind: str) -> None:
        name = f"w_{kind.lower()}"
        for value in {"String": ("", "x"), "Bytes": (b"", b"x")}.get(kind, (0, 1)):
            assert said(Everything(**{name: {"value": value}})) == {name: value}

    def test_an_enum_is_spelled_as_in_the_log(self) -> None:
        given = Everything(source=1, o_source=2, sources=[2, 1], why={"a": 2})
        assert said(given) == {
            "source": "derived",
            "o_source": "by_hand",
            "sources": ("by_hand", "derived"),
            "why": {"a": "by_hand"},
        }

    @pytest.mark.parametrize(
        ("field", "number"),
        [("source", 99), ("source", -1), ("o_source", 7), ("o_source", 0)],
    )
    def test_an_unknown_enum_number_is_named(self, field: str, number: int) -> None:
        assert refusal(Everything(**{field: number})) == (
            field,
            f"{number} is not one of its values",
        )

    def test_an_unknown_enum_number_in_a_list_is_named(self) -> None:
        assert refusal(Everything(sources=[1, 0]))[0] == "sources"
        assert refusal(Everything(sources=[1, 9]))[0] == "sources"

    def test_what_is_wrong_within_is_named_by_its_path(self) -> None:
        wrong = Part(why=9)
        assert refusal(Everything(part=wrong))[0] == "part.why"
        assert refusal(Everything(parts=[Part(), wrong]))[0] == "parts.why"
        assert refusal(Everything(by_name={"x": wrong}))[0] == "by_name.why"
        assert refusal(Everything(why={"x": 9}))[0] == "why"
        assert refusal(Everything(when={"x": {"nanos": -1}}))[0] == "when"

    def test_an_unspecified_enum_is_absent(self) -> None:
        assert said(Everything(source=0)) == {}

    def test_a_message_is_read_within(self) -> None:
        given = Everything(part=Part(name="a", weight=0, why=1), parts=[Part(), Part()])
        assert said(given) == {
            "part": {"name": "a", "weight": 0, "why": "derived"},
            "parts": ({}, {}),
        }

    def test_an_empty_message_that_was_said_is_found(self) -> None:
        assert said(Everything(part=Part())) == {"part": {}}

    def test_maps_are_read(self) -> None:
        at = {"seconds": 60}
        given = Everything(
            counts={"a": 0, "b": 2}, by_name={"x": Part(weight=1)}, when={"t": at}
        )
        assert said(given) == {
            "counts": {"a": 0, "b": 2},
            "by_name": {"x": {"weight": 1}},
            "when": {"t": datetime(1970, 1, 1, 0, 1, tzinfo=UTC)},
        }

    def test_a_map_is_read_in_the_order_of_its_keys(self) -> None:
        keys = [f"k{n:02}" for n in range(40)]
        given = Everything(counts=dict.fromkeys(reversed(keys), 1))
        counts = said(given)["counts"]
        assert isinstance(counts, dict)
        assert list(counts) == keys

    def test_times_and_durations_are_read(self) -> None:
        given = Everything()
        given.at.FromDatetime(NOON)
        given.times.add().FromDatetime(NOON)
        given.lasts.FromTimedelta(timedelta(seconds=-1.5))
        assert said(given) == {
            "at": NOON,
            "times": (NOON,),
            "lasts": timedelta(seconds=-1.5),
        }

    @pytest.mark.parametrize(
        "stamp",
        [
            {"seconds": 253402300800},
            {"seconds": -62135596801},
            {"seconds": 2**62},
            {"seconds": 1, "nanos": -1},
            {"seconds": 1, "nanos": 2_000_000_000},
        ],
    )
    def test_an_impossible_time_is_named(self, stamp: dict[str, int]) -> None:
        assert refusal(Everything(at=stamp))[0] == "at"
        assert refusal(Everything(times=[stamp]))[0] == "times"

    def test_an_impossible_duration_is_named(self) -> None:
        assert refusal(Everything(lasts={"seconds": 2**62}))[0] == "lasts"

    def test_what_is_to_be_skipped_is_skipped(self) -> None:
        given = Everything(a_string="x", request_id="y", a_int64=3)
        found = values(given, skip=frozenset({"request_id", "a_int64"}))
        assert found["a_string"] == "x"
        assert not found.keys() & {"request_id", "a_int64"}


class Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weight: int = Field(default=1, ge=0, le=10)
    why: str | None = None


class TestChecking:
    def test_a_request_is_checked_as_a_command(self) -> None:
        assert parse(Order, Part(name="a", weight=3, why=2)) == Order(
            name="a", weight=3, why="by_hand"
        )

    def test_the_envelope_is_not_the_commands(self) -> None:
        class Nothing(BaseModel):
            model_config = ConfigDict(extra="ignore")

        given = Everything(request_id="x", expected_revision=3)
        assert not set(values(given, skip=frozenset(ZEROS))) - {
            "request_id",
            "expected_revision",
        }
        assert parse(Nothing, given) == Nothing()

    def test_everything_that_is_wrong_is_named_at_once(self) -> None:
        with pytest.raises(Invalid) as invalid:
            parse(Order, Part(weight=11))
        assert {v.field for v in invalid.value.violations} == {"name", "weight"}

    def test_what_is_wrong_deep_within_is_named_by_its_path(self) -> None:
        class Whole(BaseModel):
            parts: tuple[Order, ...]

        with pytest.raises(Invalid) as invalid:
            checked(Whole, {"parts": ({"name": "a"}, {"name": "b", "weight": -1})})
        assert [v.field for v in invalid.value.violations] == ["parts.1.weight"]

    def test_a_refusal_does_not_repeat_what_was_sent(self) -> None:
        with pytest.raises(Invalid) as invalid:
            checked(Order, {"name": "a", "weight": "a secret"})
        assert "a secret" not in str(invalid.value)


@dataclass(frozen=True)
class PartRow:
    name: str
    weight: int | None = None
    why: str = "derived"
    inner: str = "not for callers"


class Named(NamedTuple):
    name: str
    weight: int


class TestFilling:
    def test_a_row_fills_the_fields_the_message_has(self) -> None:
        assert fill(Part(), PartRow("a", 0)) == Part(name="a", weight=0, why=1)

    @pytest.mark.parametrize(
        "row", [{"name": "a", "weight": 2}, Order(name="a", weight=2), Named("a", 2)]
    )
    def test_any_row_will_do(self, row: object) -> None:
        assert fill(Part(), row) == Part(name="a", weight=2)

    def test_what_has_no_fields_is_no_row(self) -> None:
        with pytest.raises(TypeError, match="int has no fields"):
            fill(Part(), 3)

    def test_none_stays_unset(self) -> None:
        filled = fill(Part(), PartRow("a", None))
        assert not filled.HasField("weight")

    def test_an_empty_message_is_set_when_it_is_given(self) -> None:
        assert fill(Everything(), {"part": {}}).HasField("part")
        assert not fill(Everything(), {"part": None}).HasField("part")

    def test_a_time_elsewhere_is_the_same_time(self) -> None:
        there = NOON.astimezone(timezone(timedelta(hours=9)))
        assert fill(Everything(), {"at": there}) == fill(Everything(), {"at": NOON})

    def test_a_message_may_be_given_as_it_is(self) -> None:
        part = Part(name="a")
        assert fill(Everything(), {"part": part, "parts": [part]}) == Everything(
            part=part, parts=[part]
        )

    def test_a_word_that_is_no_enum_value_is_our_own_mistake(self) -> None:
        with pytest.raises(KeyError):
            fill(Part(), {"why": "nonsense"})

    @pytest.mark.parametrize(
        "row",
        [
            {
                f"a_{kind}": 3
                for kind in SCALARS
                if f"a_{kind}" in ZEROS and kind != "bool"
            },
            {
                f"o_{kind}": 0
                for kind in SCALARS
                if f"a_{kind}" in ZEROS and kind != "bool"
            },
            {"r_string": ("a", ""), "r_bytes": (b"",), "r_int64": (0, -1)},
            {"w_double": 0.0, "w_string": "", "w_bool": False, "w_bytes": b"x"},
            {"source": "derived", "sources": ("by_hand",), "why": {"a": "derived"}},
            {"part": {"name": "a", "weight": 0}, "parts": ({}, {"name": "b"})},
            {"counts": {"a": 0}, "by_name": {"x": {"weight": 2}}, "when": {"t": NOON}},
            {"at": NOON, "times": (NOON, NOON), "lasts": timedelta(days=-2)},
        ],
    )
    def test_what_is_filled_is_found(self, row: Mapping[str, object]) -> None:
        filled = Everything.FromString(fill(Everything(), row).SerializeToString())
        assert said(filled) == row


@given(
    at=st.datetimes(
        min_value=datetime(1, 1, 1),  # noqa: DTZ001  # hypothesis adds the zone
        max_value=datetime(9999, 12, 31),  # noqa: DTZ001  # as above
        timezones=st.just(UTC),
    ),
    names=st.lists(st.text().filter(bool)),
    weights=st.dictionaries(st.text(), st.integers(-(2**63), 2**63 - 1), min_size=1),
)
def test_any_row_survives_the_wire(
    at: datetime, names: list[str], weights: dict[str, int]
) -> None:
    row = {
        "at": at,
        "parts": tuple({"name": name} for name in names),
        "counts": weights,
    }
    filled = Everything.FromString(fill(Everything(), row).SerializeToString())
    assert said(filled) == {name: value for name, value in row.items() if value}

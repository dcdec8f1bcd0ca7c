"""Model files say what they are; those that lie are refused, and none is run."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.formats import Unreadable, describe
from modelkeep.formats.described import LONGEST, MAX_SAID


def safetensors(header: object, data: bytes = b"") -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


TWO = safetensors(
    {
        "__metadata__": {"format": "pt"},
        "b": tensor([2], 24, 28, "BF16"),
        "a": tensor([2, 3], 0, 24),
    },
    bytes(28),
)


def gguf(keys: list[tuple[str, int, bytes]], tensors: list[bytes]) -> bytes:
    said = b"".join(_text(k) + struct.pack("<I", kind) + v for k, kind, v in keys)
    counts = struct.pack("<IQQ", 3, len(tensors), len(keys))
    return b"GGUF" + counts + said + b"".join(tensors)


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _shape(*sizes: int) -> bytes:
    shape = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
    return _text("w") + shape + struct.pack("<IQ", 0, 0)


WORDS = struct.pack("<IQ", 8, 2) + _text("hello") + _text("world")
LLAMA = gguf(
    [
        ("general.architecture", 8, _text("llama")),
        ("tokenizer.ggml.tokens", 9, WORDS),
        ("scores", 9, struct.pack("<IQ", 6, 2) + bytes(8)),
        ("llama.block_count", 4, struct.pack("<I", 32)),
    ],
    [_shape(4, 5), _shape(7)],
)


def onnx(*, outside: bool = False, domain: str = "") -> bytes:
    module: Any = pytest.importorskip("onnx", reason="the extra `demo` is missing")
    h = module.helper
    weights = h.make_tensor("w", module.TensorProto.FLOAT, [2, 3], [0.0] * 6)
    if outside:
        weights.data_location = module.TensorProto.EXTERNAL
        weights.external_data.add(key="location", value="/etc/passwd")
    inner = h.make_graph([], "then", [], [], [weights])
    nodes = [
        h.make_node("Custom", ["x"], ["y"], domain=domain),
        h.make_node("If", ["y"], ["z"], then_branch=inner, else_branch=inner),
    ]
    graph = h.make_graph(nodes, "g", [], [], [weights])
    model = h.make_model(graph, producer_name="us")
    h.set_model_props(model, {"trained_on": "book"})
    return bytes(model.SerializeToString())


def test_safetensors_say_their_tensors() -> None:
    found = describe(BytesIO(TWO))
    assert (found.format, found.tensors, found.parameters) == ("safetensors", 2, 8)
    assert found.says == {"format": "pt"}
    assert not found.carries_code


def test_gguf_says_its_keys_and_its_tensors() -> None:
    found = describe(BytesIO(LLAMA))
    assert (found.format, found.tensors, found.parameters) == ("gguf", 2, 27)
    assert found.says == {"general.architecture": "llama", "llama.block_count": "32"}


def test_onnx_says_who_made_it_and_what_it_needs() -> None:
    found = describe(BytesIO(onnx()))
    assert (found.format, found.tensors, found.parameters) == ("onnx", 3, 18)
    assert found.says["producer_name"] == "us"
    assert found.says["trained_on"] == "book"
    assert not found.points_outside
    assert not found.carries_code


def test_onnx_that_points_outside_is_named_and_not_followed() -> None:
    found = describe(BytesIO(onnx(outside=True)))
    assert found.points_outside
    assert "nobody follows" in found.notes[0]


def test_onnx_with_operators_of_others_carries_code() -> None:
    found = describe(BytesIO(onnx(domain="com.evil")))
    assert found.carries_code
    assert "com.evil" in found.notes[0]


def test_what_can_carry_code_is_named_and_left_shut() -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({}))
    for raw, name in (
        (pickle.dumps({"a": 1}), "pickle"),
        (packed.getvalue(), "zip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "hdf5"),
    ):
        found = describe(BytesIO(raw))
        assert (found.format, found.carries_code) == (name, True)


@pytest.mark.parametrize("raw", [b"", b"hello", bytes(100), b"\x80", b"GGU"])
def test_what_nobody_knows_is_unknown(raw: bytes) -> None:
    assert describe(BytesIO(raw)).format == "unknown"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (struct.pack("<Q", 1 << 40) + b"{}", "the most"),
        (struct.pack("<Q", 99) + b"{}", "more than there are"),
        (safetensors([]).replace(b"[]", b"{]"), "JSON"),
        (safetensors({"a": 1}), "no object"),
        (safetensors({"a": {"shape": [1]}}), "lacks"),
        (safetensors({"a": tensor([1], 0, 4)}, bytes(3)), "belongs to no tensor"),
        (safetensors({"a": tensor([1], 0, 4)}, bytes(5)), "belongs to no tensor"),
        (safetensors({"a": tensor([1], 1, 5)}, bytes(5)), "belongs to no tensor"),
        (safetensors({"a": tensor([9], 0, 4)}, bytes(4)), "as long as its shape"),
        (safetensors({"a": tensor([-1], 0, 4)}, bytes(4)), "lacks"),
        (safetensors({"a": tensor([1] * 99, 0, 4)}, bytes(4)), "dimensions"),
        (safetensors({"__metadata__": {"a": 1}}), "text to text"),
        (
            safetensors({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, bytes(4)),
            "belongs to no tensor",
        ),
        (struct.pack("<Q", 16) + b'{"a":1,"a":2}   ', "twice"),
        (struct.pack("<Q", 60_000) + b'{"a":' * 12_000, "JSON"),
    ],
)
def test_safetensors_that_lie_are_refused(raw: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        describe(BytesIO(raw))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"GGUF", "more than there are"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "more than there are"),
        (gguf([("k", 8, struct.pack("<Q", 1 << 60))], []), "bytes"),
        (gguf([("k", 99, b"")], []), "no kind"),
        (gguf([("k", 9, struct.pack("<IQ", 9, 1) * 9)], []), "no kind"),
        (gguf([("k", 9, struct.pack("<IQ", 0, 1 << 62))], []), "more than there are"),
        (gguf([], [_text("w") + struct.pack("<I", 1 << 30)]), "dimensions"),
    ],
)
def test_gguf_that_lies_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        describe(BytesIO(raw))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x08\x07", "no graph"),
        (b"\x08", "more than there are"),
        (b"\x08" + b"\xff" * 20, "does not end"),
        (b"\x08\x07\x3a\x7f", "too long"),
        (b"\x08\x07\x3b", "begins no field"),
        (b"\x08\x07" + b"\x3a\x02\x32\x00" * 2 + b"\x3a", "more than there are"),
    ],
)
def test_onnx_that_lies_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        describe(BytesIO(raw))


def test_graphs_that_lie_in_each_other_for_ever_are_refused() -> None:
    graph = b""
    for _ in range(40):
        inner = b"\x32" + _varint(len(graph)) + graph  # an attribute's graph
        node = b"\x2a" + _varint(len(inner)) + inner
        graph = b"\x0a" + _varint(len(node)) + node
    raw = b"\x08\x07\x3a" + _varint(len(graph)) + graph
    with pytest.raises(Unreadable, match="too deep"):
        describe(BytesIO(raw))


def test_what_a_file_says_of_itself_is_cut_to_a_screen() -> None:
    said = {str(n): "x" * 999 for n in range(999)}
    found = describe(BytesIO(safetensors({"__metadata__": said})))
    assert len(found.says) == MAX_SAID
    assert max(map(len, found.says.values())) == LONGEST


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(found) + bytes([value])


@settings(max_examples=300)
@given(st.data())
def test_no_file_is_read_wrong_or_for_ever(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([TWO, LLAMA, onnx()])))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    try:
        describe(BytesIO(bytes(whole[:end])))
    except Unreadable as refused:
        assert str(refused)  # noqa: PT017  # whatever it is, it is said


@given(st.binary(max_size=200))
def test_whatever_the_bytes_nothing_else_is_raised(raw: bytes) -> None:
    for head in (b"", b"GGUF", b"\x08", bytes([len(raw)]) + bytes(7) + b"{"):
        try:
            describe(BytesIO(head + raw))
        except Unreadable:
            continue

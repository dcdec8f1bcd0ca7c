"""Files and documents that people and other programs hand in, with good examples."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from tests.faults.parser import Parser, json_of
from tests.unit.test_inventory_cards import CARD
from tests.unit.test_model_formats import LLAMA, TWO

from modelkeep import pages, paging
from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.bounds import check
from modelkeep.errors import Corrupt, Invalid, ModelkeepError
from modelkeep.events import load_all
from modelkeep.events.base import decode
from modelkeep.formats import Unreadable, describe
from modelkeep.stats.alarm_budget import AlarmDocument
from modelkeep_services.backup import restore
from modelkeep_services.backup.manifest import NAME, Kept, Manifest
from modelkeep_services.cli import rescore
from modelkeep_services.insight.documents import read_health
from modelkeep_services.inventory.cards import read_card
from modelkeep_services.monitoring import plain_yaml

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "events"
PAGE: Final = b"MTAw"
ALARMS: Final = b"""\
format: modelkeep.alarm-budget/1
version: alarms-7
false_alarms: 2
period: year
shares: {features: 3, performance: 1}
tolerance: {relative: 0.2, confidence: 0.99}
odds: [1.2, 3]
"""


def file_parsers(folder: Path) -> Mapping[str, Parser]:
    unreadable = (Unreadable,)
    return {
        "safetensors": Parser(_model_file, [TWO], unreadable),
        "gguf": Parser(_model_file, [LLAMA], unreadable),
        "onnx": Parser(_model_file, [_onnx()], unreadable),
        "card": Parser(read_card, [CARD], (Invalid,)),
        "yaml": Parser(_yaml, [b"a: [1, {b: c}]\n", b'"x": 1.5e3\ny: |\n  z\n']),
        "alarms": Parser(_alarms, [ALARMS], (Invalid,)),
        **_rescored(folder),
        "backup": Parser(
            partial(_unpacked, folder / "b"), [_a_backup()], (ModelkeepError, OSError)
        ),
        "event": Parser(_event, _events(), (Corrupt,)),
        "page": Parser(_paged, [PAGE], (Invalid,)),
        "bounds": Parser(_bounded, [b"\x08\x0a\x12\x04MTAw"], (Invalid, DecodeError)),
    }


def _onnx() -> bytes:
    """A graph with a tensor, a node with an attribute, and operators of a domain."""
    tensor = _field(5, b"\x08\x02\x08\x03\x10\x01" + _field(8, b"w"))
    node = _field(1, _field(4, b"If") + _field(7, b"d") + _field(5, _field(6, tensor)))
    packed = _field(5, _field(1, b"\x02\x03\x04"))
    props = _field(14, _field(1, b"trained") + _field(2, b"book"))
    graph = _field(7, node + tensor + packed + _field(15, _field(1, b"\x08\x02")))
    return b"\x08\x07" + _field(2, b"us") + graph + _field(8, b"\x10\x0d") + props


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes, as protobuf writes one, of fewer than 128 of them."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])


def _model_file(raw: bytes) -> None:
    told = describe(io.BytesIO(raw))
    json.dumps(vars(told), default=str).encode()
    f"{told.parameters or 0:,} {told.tensors or 0:,}".encode()


def _yaml(raw: bytes) -> None:
    plain_yaml.read("document", raw.decode(errors="replace"))


def _alarms(raw: bytes) -> None:
    AlarmDocument.from_yaml(raw.decode(errors="replace"))


def _rescored(folder: Path) -> Mapping[str, Parser]:
    """Documents that history is scored by again, from files."""
    path = folder / "document.yaml"

    def reading(reader: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def read(raw: bytes) -> object:
            path.write_bytes(raw)
            return rescore.read("document", path, reader)

        return read

    root = Path(rescore.__file__).parents[1]
    rubric = (root / "inventory/documents/tier-rubric-v1.yaml").read_bytes()
    health = (root / "insight/documents/health-v2.yaml").read_bytes()
    rates = (root / "debt/rates.v1.json").read_bytes()
    return {
        "rubric": Parser(reading(rescore._rubric), [rubric], (Invalid,)),
        "health": Parser(reading(read_health), [health], (Invalid,)),
        "rates": Parser(reading(rescore._card), [rates], (Invalid,)),
    }


def _a_backup() -> bytes:
    """The archive of a backup of two small files."""
    content = {"ledger.db": b"0123456789", "keys/writer.key": b"1"}
    files = tuple(
        Kept(path, len(raw), "0" * 64, path.startswith("keys"))
        for path, raw in content.items()
    )
    made = Manifest("o", 1, 0, "00" * 32, "", "2013-04-01", keys=True, files=files)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, raw in {NAME: made.encode(), **content}.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return out.getvalue()


def _unpacked(folder: Path, raw: bytes) -> None:
    """Nothing comes to lie outside the folder, whatever the archive says."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    archive = folder / "a.tar"
    archive.write_bytes(raw)
    try:
        restore._unpacked(archive, folder / "in")
    finally:
        assert sorted(folder.iterdir()) == [archive, folder / "in"]


def _events() -> list[bytes]:
    """An event of each shape that was ever written: name, version, what it says."""
    load_all()
    return [
        json.dumps([*_shape(path), json.loads(path.read_bytes())["example"]]).encode()
        for path in sorted(GOLDEN.glob("*.json"))
    ]


def _shape(path: Path) -> tuple[str, int]:
    name, _, version = path.stem.rpartition(".v")
    return name, int(version)


def _event(raw: bytes) -> None:
    match json_of(raw, Corrupt):
        case [str(name), int(version), said]:
            decode(name, version, json.dumps(said).encode())


def _paged(raw: bytes) -> None:
    token = raw.decode(errors="replace")
    pages.page_of(list(range(300)), Page(size=10, token=token))
    paging._key(token)


def _bounded(raw: bytes) -> None:
    check(Page.FromString(raw))

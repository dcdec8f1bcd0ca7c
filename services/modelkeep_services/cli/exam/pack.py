"""All of it in one archive, with a signed list of what is in it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from modelkeep import __version__
from modelkeep.api.audit.v1.audit_pb2 import GetCheckpointRequest
from modelkeep.api.common.v1.common_pb2 import AsOf
from modelkeep.api.insight.v1.insight_pb2 import GetBoardRequest
from modelkeep.api.insight.v1.insight_pb2_grpc import InsightServiceStub
from modelkeep.api.inventory.v1.inventory_pb2 import GetCardRequest
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.api.policy.v1.policy_pb2 import GetBundleRequest
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.errors import Invalid, Unavailable
from modelkeep.home import Home
from modelkeep.keyring import Purpose, purpose_key
from modelkeep.node import Build
from modelkeep.proof import dsse, durable, exam
from modelkeep_services.cli import export_log, screen
from modelkeep_services.cli.asking import AUDITOR, Absent, Asking
from modelkeep_services.cli.connect import connected
from modelkeep_services.cli.exam import page, sheet
from modelkeep_services.cli.exam.cells import Row, as_csv, as_json_lines, stamp
from modelkeep_services.cli.exam.checker import add, checker
from modelkeep_services.cli.exam.tables import SERVICES, TABLES, fetch, names
from modelkeep_services.cli.moments import moment
from modelkeep_services.insight.board import render

LEAVES: Final = "leaves"
"""For those who hold the ledger against them: here is the log itself."""

EXAMS: Final = Purpose("modelkeep-exams", "exam.key", exam.KEYS)
MAPPED: Final = ("file", "field", "about", *sheet.REGIMES)
LACKED: Final = ("model", "field", "about", *sheet.REGIMES)


class Wanted(NamedTuple):
    """Where to, of when, and whether with the log itself."""

    out: Path
    as_of: str = "now"
    with_log: bool = True


@dataclass
class Pack:
    """An archive on its way; what is in it is hashed as it goes in."""

    archive: zipfile.ZipFile
    files: list[Mapping[str, object]] = field(default_factory=list)

    def add(self, name: str, content: bytes) -> None:
        add(self.archive, name, content)
        digest = hashlib.sha256(content).hexdigest()
        self.files.append({"name": name, "sha256": digest, "size": len(content)})

    def add_file(self, name: str, path: Path) -> None:
        """A file that may be larger than memory."""
        found, size = hashlib.sha256(), 0
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with path.open("rb") as file, self.archive.open(entry, "w") as there:
            while piece := file.read(exam.PIECE):
                there.write(piece)
                found.update(piece)
                size += len(piece)
        self.files.append({"name": name, "sha256": found.hexdigest(), "size": size})


def run(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    wanted: Wanted,
    *,
    as_json: bool,
) -> None:
    """Write an exam pack. Raises Invalid where `out` is there already."""
    out, when, with_log = wanted
    if out.exists():
        raise Invalid.field("out", f"{out} is there already")
    as_of = moment(when)
    needed = {name: builds[name] for name in (*SERVICES, "audit")}
    part = out.with_name(f"{out.name}.part")
    try:
        with (
            screen.progress("reading the log") as tell,
            connected(home, needed, AUDITOR, store_url=store_url, tell=tell) as there,
            zipfile.ZipFile(part, "w") as archive,
        ):
            asking, pack = Asking(there, quiet=True), Pack(archive)
            about = _filled(home, store_url, asking, pack, as_of, with_log=with_log)
            _seal(home, pack, about)
        part.replace(out)
        durable.sync_folder(out.parent)
    except OSError as error:
        raise Unavailable(f"{out} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    _say(out, about, pack, as_json=as_json)


def _filled(
    home: Home,
    store_url: str | None,
    asking: Asking,
    pack: Pack,
    as_of: AsOf,
    *,
    with_log: bool,
) -> page.About:
    # What is signed first is what the log then holds, at the least.
    signed = asking(asking.audit.GetCheckpoint, GetCheckpointRequest()).checkpoint
    about = page.About(
        signed.origin,
        _named(as_of),
        stamp(datetime.now(UTC).replace(microsecond=0)),
        __version__,
        signed.size,
        with_log,
    )
    tables = _tables(asking, as_of)
    lines = sheet.inventory(tables)
    lacking = sheet.gaps(lines)
    fields = tuple(one.name for one in sheet.FIELDS)
    pack.add("inventory.csv", as_csv(fields, lines))
    pack.add("inventory.jsonl", as_json_lines(lines))
    pack.add("mapping.csv", as_csv(MAPPED, sheet.mapping()))
    pack.add("gaps.csv", as_csv(LACKED, lacking))
    for table in TABLES:
        rows = tables[table.name]
        pack.add(f"tables/{table.name}.csv", as_csv(names(table), rows))
        pack.add(f"tables/{table.name}.jsonl", as_json_lines(rows))
    for name, content in _documents(asking, as_of, tables, signed.note):
        pack.add(name, content)
    _proofs(home, store_url, pack, as_of, with_log=with_log)
    pack.add("modelkeep-verify.pyz", checker())
    listed = [page.Listing(t.name, t.title, len(tables[t.name])) for t in TABLES]
    pack.add("index.html", page.render(about, listed, lines, lacking))
    return about


def _tables(asking: Asking, as_of: AsOf) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    models: list[str] = []
    with screen.progress("asking the services") as tell:
        for done, table in enumerate(TABLES):
            tell(done, len(TABLES))
            found[table.name] = list(fetch(asking, table, as_of, models))
            models = [str(one["model"]) for one in found["models"]]
    return found


def _documents(
    asking: Asking, as_of: AsOf, tables: Mapping[str, list[Row]], note: str
) -> Iterator[tuple[str, bytes]]:
    insight = asking.there.stub("insight", InsightServiceStub)
    board = asking(insight.GetBoard, GetBoardRequest(as_of=as_of))
    yield "board.html", render(board, checkpoint=note).encode()
    inventory = asking.there.stub("inventory", InventoryServiceStub)
    known: set[object] = set()
    for one in tables["versions"]:
        digest = one["card_digest"]
        if digest in known | {None, ""}:
            continue
        known.add(digest)
        model, version = str(one["model"]), str(one["version"])
        asked = GetCardRequest(as_of=as_of, model=model, version=version)
        plain = str(digest).removeprefix("sha256:")
        try:
            card = asking(inventory.GetCard, asked).card
        except Absent:  # its digest is in the table: it is gone, and that shows
            continue
        yield f"cards/{plain}.cdx.json", card
    policy = asking.there.stub("policy", PolicyServiceStub)
    for one in tables["bundles"]:
        digest = str(one["bundle"])
        text = asking(policy.GetBundle, GetBundleRequest(bundle=digest)).text
        yield f"rules/{digest.removeprefix('sha256:')}.yaml", text.encode()


def _proofs(
    home: Home, store_url: str | None, pack: Pack, as_of: AsOf, *, with_log: bool
) -> None:
    for path in sorted(home.published.iterdir()):
        if path.is_file() and path.name != LEAVES:
            pack.add_file(f"proofs/{path.name}", path)
    if not with_log:
        return
    until = as_of.time.ToJsonString() if as_of.HasField("time") else None
    with TemporaryDirectory(dir=Path(pack.archive.filename or ".").parent) as folder:
        log = Path(folder) / "log.jsonl"
        export_log.write(home, store_url, export_log.Asked(log, None, until))
        pack.add_file("proofs/log.jsonl", log)


def _named(as_of: AsOf) -> str:
    if as_of.HasField("time"):
        return as_of.time.ToJsonString()
    if as_of.HasField("position"):
        return f"position {as_of.position}"
    return stamp(datetime.now(UTC).replace(microsecond=0))


def _seal(home: Home, pack: Pack, about: page.About) -> None:
    body = json.dumps(
        {
            "format": exam.FORMAT,
            "origin": about.origin,
            "as_of": about.as_of,
            "made_at": about.made_at,
            "program": about.version,
            "files": pack.files,
        },
        separators=(",", ":"),
    )
    envelope = dsse.seal(exam.KIND, body.encode(), purpose_key(home, EXAMS))
    add(pack.archive, exam.MANIFEST, envelope)


def _say(out: Path, about: page.About, pack: Pack, *, as_json: bool) -> None:
    size = out.stat().st_size
    if as_json:
        screen.say_json(
            {
                "out": str(out),
                "origin": about.origin,
                "as_of": about.as_of,
                "events": about.size,
                "files": len(pack.files),
                "bytes": size,
            }
        )
        return
    screen.line(f"{len(pack.files)} files of {about.origin}, as of {about.as_of}")
    screen.line(f"in {out} ({size:,} bytes)")
    screen.line(f"check it: modelkeep-verify exam {out} --key {exam.KEYS}")

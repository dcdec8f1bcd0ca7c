"""Whatever reads bytes of others, fed with bytes that are nearly right.

    python -m tests.faults.fuzz                        a second for each parser
    python -m tests.faults.fuzz --seconds 3600 note    an hour of one

Each input is a good one, spoiled in a few places: bits, pieces cut, doubled, moved or
spliced with another, numbers made extreme, and words that have hurt parsers before. A
parser may refuse it in the words it promises, or read it; anything else it raises, and
anything that takes a second of processor time, is a failure and is printed with its
seed. A line of JSON tells of each parser.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from google.protobuf.message import DecodeError
from tests.unit.test_inventory_importing import HEADER, RECIPE
from tests.unit.test_monitoring_odcs import LOANS

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.decisions.rows import Schema
from modelkeep.errors import Corrupt, Invalid, ModelkeepError
from modelkeep.identity import Gatekeeper, LocalIssuer
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.defaults import NAMES, text
from modelkeep.proof import dsse, note, verdict
from modelkeep.proof.checkpoint import Checkpoint, open_signed
from modelkeep.proof.errors import ProofError
from modelkeep.proof.ledger_file import LedgerFile
from modelkeep.proof.merkle import Frontier
from modelkeep.proof.note import SigningKey
from modelkeep.proof.survey import survey
from modelkeep.store.port import ANY, NewEvent
from modelkeep.store.sqlite import SqliteStore
from modelkeep.wire import values
from modelkeep_services.backup.manifest import Kept, Manifest
from modelkeep_services.cli.moments import moment
from modelkeep_services.inventory.importing import plan, read_mapping
from modelkeep_services.monitoring import columns, odcs

MOST_S: Final = 1.0
HANGS_S: Final = 30
SHOWN: Final = 5
KEY: Final = SigningKey("fuzz.example", bytes(range(32)))
WORDS: Final = (
    b"",
    b"\0",
    b"\n\n",
    b"\r",
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"9" * 400,
    b"99999999999999999999",
    b"[" * 3_000,
    b'{"a":' * 3_000,
    b"&a [*a,*a,*a]",
    b"*a",
    b"<<: *a",
    b"!!python/object/apply:os.system ['true']",
    b"!!binary x",
    b"? ",
    b"- - - - - -",
    b"%YAML 9.9",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH JOINER}".encode(),
    "\N{EM DASH} ".encode(),
    b"=cmd|' /C calc'!A0",
    b'"' * 99,
    b"../../etc/passwd",
    b"2013-02-30",
    b"(a+)+$",
    b"\xff" * 9,
    b"\x0b" * 200,
)


class Parser(NamedTuple):
    """`read` raises one of `refuses`, or reads."""

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]
    refuses: tuple[type[BaseException], ...] = (ModelkeepError,)


@dataclass
class Told:
    """What became of one parser. `wrong` names the first failures."""

    parser: str
    runs: int = 0
    read: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    wrong: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


# --- spoiling ----------------------------------------------------------------------


def spoiled(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    found = chance.choice(seeds)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        found = _once(chance, found, seeds)
    return found


def _once(chance: random.Random, raw: bytes, seeds: Sequence[bytes]) -> bytes:
    at, to = sorted(chance.randrange(len(raw) + 1) for _ in range(2))
    to = min(to, at + chance.choice((1, 4, 30, 3_000)))
    other = chance.choice(seeds)
    flipped = bytes([raw[at] ^ 1 << chance.randrange(8)]) if at < len(raw) else b""
    left, right = chance.choice(
        (
            (raw[:at] + flipped, raw[at + 1 :]),
            (raw[:at], raw[to:]),
            (raw[:to] + raw[at:to] * chance.choice((1, 2, 50)), raw[to:]),
            (raw[:at], other[chance.randrange(len(other) + 1) :]),
            (raw[:at] + chance.randbytes(chance.choice((1, 2, 8))), raw[to:]),
            (raw[:at], b""),
            (raw[:at] + chance.choice(WORDS), raw[to:]),
            (raw[:at] + chance.choice(WORDS), raw[to:]),
        )
    )
    return left + right


@contextmanager
def unless_it_hangs() -> Iterator[None]:
    def over(*_: object) -> None:
        raise TimeoutError(f"hangs for {HANGS_S} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(HANGS_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(
    name: str,
    parser: Parser,
    *,
    seed: int,
    seconds: float = 0.0,
    runs: int = 0,
) -> Told:
    """Run for so much processor time, or so many runs, whichever is given."""
    told, started = Told(name), time.process_time()
    while told.runs < runs or time.process_time() - started < seconds:
        chance = random.Random(f"{name}-{seed}-{told.runs}")  # noqa: S311, to repeat it
        raw = spoiled(chance, parser.seeds)
        began = time.process_time()
        try:
            with unless_it_hangs():
                parser.read(raw)
            told.read += 1
        except parser.refuses:
            told.refused += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            _fail(told, f"{type(error).__name__}: {error}", seed)
        took = time.process_time() - began
        told.slowest_ms = max(told.slowest_ms, round(took * 1e3, 1))
        if took > MOST_S:
            _fail(told, f"took {took:.1f} s", seed)
        told.runs += 1
    return told


def _fail(told: Told, what: str, seed: int) -> None:
    kind = what.partition(":")[0]
    told.failures[kind] += 1
    if told.failures[kind] <= SHOWN:
        told.wrong.append(f"seed {seed}, run {told.runs}: {what[:300]}")


# --- what is read, and good examples of it -----------------------------------------


def parsers(folder: Path) -> Mapping[str, Parser]:
    """All of them; `folder` is for those that read files."""
    signed = KEY.sign_note(
        Checkpoint(KEY.name, 1024, bytes(32), ("time 2013-04-01T00:00:00Z",)).encode()
    )
    body = dsse.open_sealed(_statement(), [KEY.verifier], dsse.IN_TOTO).body
    proof = (ProofError,)
    return {
        "note": Parser(_note, [signed, signed * 2], proof),
        "key": Parser(
            lambda raw: note.VerifierKey.parse(raw.decode(errors="surrogateescape")),
            [str(KEY.verifier).encode()],
            proof,
        ),
        "dsse": Parser(_dsse, [_statement(), dsse.seal("x/y", b"{}", KEY)], proof),
        "statement": Parser(verdict.parse, [body], proof),
        "edge": Parser(
            lambda raw: Frontier.load(len(raw) % 99, raw), [bytes(96)], proof
        ),
        "bundle": Parser(_bundle, [_small_bundle()]),
        "contract": Parser(_contract, [LOANS.encode()]),
        "mapping": Parser(partial(_mapping, folder / "map.yaml"), [RECIPE.encode()]),
        "table": Parser(partial(_table, folder), _tables()),
        "batch": Parser(_batch, [_observed()], (Invalid, DecodeError)),
        "request": Parser(_request, _requests(), (Invalid, DecodeError)),
        "schema": Parser(
            Schema.from_json, [_schema()], (ValueError, KeyError, TypeError)
        ),
        "manifest": Parser(Manifest.parse, [_manifest()], (Corrupt,)),
        "moment": Parser(
            lambda raw: moment(raw.decode(errors="replace")),
            [b"2013-06-30", b"2013-06-30T12:00:00+02:00", b"1240", b"now"],
        ),
        "token": Parser(*_tokens(folder)),
        "ledger": Parser(
            partial(_ledger, folder / "read.db"), [_a_ledger(folder)], proof
        ),
    }


def _note(raw: bytes) -> None:
    note.parse(raw)
    open_signed(raw, [KEY.verifier])


def _statement() -> bytes:
    digest = "sha256:" + "0" * 64
    predicate = {
        "digest": verdict.version_digest([digest]),
        "outcome": "ALLOW",
        "expires": "2013-06-30T00:00:00+00:00",
        "position": 10,
    }
    return verdict.seal("https://modelkeep.dev/v1", {"m": digest}, predicate, KEY)


def _dsse(raw: bytes) -> None:
    body = dsse.open_sealed(raw, [KEY.verifier], dsse.IN_TOTO).body
    verdict.parse(body)


def _small_bundle() -> bytes:
    """The shortest of the library, whose parts all others have too."""
    return min((text(name) for name in NAMES), key=len).encode()


def _bundle(raw: bytes) -> None:
    load_bundle(raw.decode(errors="replace"))


def _contract(raw: bytes) -> None:
    odcs.read(raw.decode(errors="replace"))


def _mapping(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    read_mapping(path)


def _tables() -> list[bytes]:
    row = "Retail,1,Fraud  guard,LLM,stop fraud,Cards; Wires,2024-05-01,0.02,Emil B\n"
    return [(HEADER + row).encode(), (HEADER + row * 30).encode("utf-8-sig")]


def _table(folder: Path, raw: bytes) -> None:
    mapping, table = folder / "good.yaml", folder / "table.csv"
    if not mapping.exists():
        mapping.write_text(RECIPE)
    table.write_bytes(raw)
    plan(table, read_mapping(mapping))


def _observed() -> bytes:
    rows = 5
    return pb.ObserveRequest(
        batch=str(UUID(int=1)),
        model="late",
        version="v1",
        rows=rows,
        decision_ids=b"".join(UUID(int=one).bytes for one in range(rows)),
        times=(1_700_000_000_000_000).to_bytes(8, "little") * rows,
        scores=b"\0\0\0\0\0\0\xe0\x3f" * rows,
        columns=[
            pb.Column(name="x", values=bytes(8 * rows), validity=b"\x1f"),
            pb.Column(
                name="w", dtype=pb.DTYPE_UTF8, values=bytes(4 * rows), dictionary=["a"]
            ),
        ],
    ).SerializeToString()


def _batch(raw: bytes) -> None:
    columns.decisions(pb.ObserveRequest.FromString(raw))


def _requests() -> list[bytes]:
    artifact = inv.Artifact(name="m", digest="sha256:" + "a" * 64, size=1)
    version = inv.RegisterVersionRequest(
        request_id=str(UUID(int=1)),
        model="fraud",
        version="v1",
        artifacts=[artifact] * 3,
    )
    version.effective_at.FromJsonString("2013-06-30T00:00:00Z")
    return [version.SerializeToString()]


def _request(raw: bytes) -> None:
    values(inv.RegisterVersionRequest.FromString(raw))


def _schema() -> bytes:
    return Schema("late", "v1", "prod", "", (("x", "f64"), ("w", "utf8"))).to_json()


def _manifest() -> bytes:
    files = (Kept("ledger.db", 10, "0" * 64), Kept("keys/writer.key", 1, "1" * 64))
    return Manifest("o", 1, 0, "00" * 32, "", "2013-04-01", False, files).encode()  # noqa: FBT003


def _tokens(
    folder: Path,
) -> tuple[Callable[[bytes], object], list[bytes]]:
    issuer = LocalIssuer.open(folder)
    token = issuer.issue("dana", frozenset({"owner"})).encode()
    gatekeeper = Gatekeeper([issuer])
    return lambda raw: gatekeeper.identify(raw.decode(errors="replace")), [token]


def _a_ledger(folder: Path) -> bytes:
    ledger = folder / "good.db"
    meta = b'{"known_at":"2013-04-01T00:00:00.000000Z","schema_version":"1"}'
    with SqliteStore(ledger, origin="fuzz.example/ledger") as store:
        for stream in range(10):
            some = [
                NewEvent(UUID(int=number), "tests.fuzzed", 1, b'{"a":1}', meta)
                for number in range(stream * 30, stream * 30 + 30)
            ]
            store.append(f"fuzz-main.{stream}", some, expected=ANY)
    return ledger.read_bytes()


def _ledger(path: Path, raw: bytes) -> None:
    for beside in path.parent.glob(f"{path.name}*"):
        beside.unlink()
    path.write_bytes(raw)
    with LedgerFile(path) as file:
        survey(file, sizes=[0, 100, 300])
        file.faults(5)


# --- the command -------------------------------------------------------------------


def main() -> int:
    given = argparse.ArgumentParser(description="Feed parsers what is nearly right.")
    given.add_argument("names", nargs="*", help="which [all]")
    given.add_argument("--seconds", type=float, default=1.0, help="of each, of CPU")
    given.add_argument("--seed", type=int, default=1)
    asked = given.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        known = parsers(Path(folder))
        for name in asked.names or known:
            told = fuzz(name, known[name], seed=asked.seed, seconds=asked.seconds)
            bad += told.failures.total()
            print(json.dumps(vars(told)), flush=True)  # noqa: T201  # an answer
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

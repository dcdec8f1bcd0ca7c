"""An insider with the file, SQL and patience, against the verifier."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest
from tests.attacks import (
    EVENTS,
    KEY,
    ORIGIN,
    SIGNED,
    WRITER,
    Attack,
    attack,
    delete,
    edit,
    insert,
    loosen,
    metadata,
    put,
    rehash,
    renumber,
    sql,
    write,
)

from modelkeep.proof.__main__ import main
from modelkeep.proof.evidence import gather
from modelkeep.proof.ledger_file import LedgerFile, Unreadable
from modelkeep.proof.merkle import leaf_hash
from modelkeep.proof.note import SigningKey, VerifierKey
from modelkeep.proof.report import Report
from modelkeep.proof.signer import Signer
from modelkeep.proof.verify import check_file, differences, verify
from modelkeep.store.port import NO_STREAM, NewEvent
from modelkeep.store.sqlite import SqliteStore


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    write(folder / "ledger.db")
    signer = Signer(
        KEY, ORIGIN, state=folder / "signer", published=folder / "published"
    )
    with SqliteStore(folder / "ledger.db") as store:
        for size in SIGNED:
            signer.sign(store.frozen_tree(size), time="2013-04-01T00:00:00Z")
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    for name in ("ledger.db", "published"):
        source = original / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return tmp_path


def check(folder: Path, *, writers: list[VerifierKey] | None = None) -> Report:
    evidence = gather(folder / "published", [KEY.verifier])
    with LedgerFile(folder / "ledger.db") as ledger:
        return verify(ledger, evidence, writers=writers)


def kinds(report: Report) -> set[str]:
    return set(report.counts)


def leaves(report: Report, kind: str) -> list[int | None]:
    return [problem.leaf for problem in report.problems if problem.kind == kind]


def forget_leaves(folder: Path) -> None:
    (folder / "published" / "leaves").unlink()


def test_an_honest_ledger_is_proven(folder: Path) -> None:
    report = check(folder)
    assert report.problems == []
    assert (report.exit_code, report.events, report.streams) == (0, EVENTS, 7)
    assert (report.proven, report.checkpoints, report.agreeing) == (690, 3, 3)
    assert report.tail.events == 10
    assert report.tail.since is not None
    assert report.vouched is None


def test_its_writers_are_vouched_for(folder: Path) -> None:
    report = check(folder, writers=[WRITER.verifier])
    assert report.exit_code == 0
    assert report.vouched is not None
    assert report.vouched.events == {"writer.example": EVENTS}


def test_other_writers_do_not_vouch(folder: Path) -> None:
    report = check(folder, writers=[KEY.verifier])
    assert report.exit_code == 1
    assert report.counts["writer"] == 100
    assert report.vouched is not None
    assert report.vouched.doubtful == EVENTS


@pytest.mark.parametrize("index", [0, 255, 256, 449, 689])
@pytest.mark.parametrize("cover", [(), (rehash,)])
@pytest.mark.parametrize("published", [True, False])
def test_an_altered_event_is_found(
    folder: Path, index: int, cover: tuple[Attack, ...], *, published: bool
) -> None:
    if not published:
        forget_leaves(folder)
    attack(folder, edit(index), *cover)
    report = check(folder)
    assert report.exit_code == 1
    whole = max((size for size in SIGNED if size <= index), default=0)
    assert report.proven == whole
    assert "root" in kinds(report)
    if published or not cover:
        altered = next(one for one in report.problems if one.kind == "altered")
        assert (altered.leaf, altered.stream, altered.version, altered.name) == (
            index,
            f"model-acme.{index // 5 % 7}",
            index // 35 * 5 + index % 5,
            "inventory.model-registered",
        )
        assert report.counts["altered"] == 1
    else:
        wrong = next(size for size in SIGNED if size > index)
        said = next(one.text for one in report.problems if one.kind == "root")
        assert f"the first {whole} events are as signed, the first {wrong}" in said


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("metadata", b'{"tenant":"evil"}'),
        ("id", bytes(16)),
        ("schema_version", 9),
        ("version", 77),
        ("sid", 3),
    ],
)
def test_every_part_of_an_event_is_covered(
    folder: Path, column: str, value: object
) -> None:
    drop = sql("drop index event_in_stream")
    attack(folder, drop, put(100, column, value), rehash)
    report = check(folder)
    assert leaves(report, "altered") == [100]


def test_a_renamed_stream_is_found(folder: Path) -> None:
    attack(folder, sql("update stream set name = 'model-evil.0' where sid = 1"), rehash)
    report = check(folder)
    assert report.counts["altered"] > 90
    assert leaves(report, "altered")[:6] == [0, 1, 2, 3, 4, 35]


def test_when_it_was_recorded_is_not_covered_and_the_screen_says_so(
    folder: Path,
) -> None:
    attack(folder, sql("update event set recorded_at = 7"))
    report = check(folder)
    assert report.exit_code == 0
    assert "recorded_at" in report.screen()


@pytest.mark.parametrize("cover", [(), (renumber, rehash)])
@pytest.mark.parametrize("published", [True, False])
def test_a_deleted_event_is_found(
    folder: Path, cover: tuple[Attack, ...], *, published: bool
) -> None:
    if not published:
        forget_leaves(folder)
    attack(folder, delete(300), *cover)
    report = check(folder)
    assert report.exit_code == 1
    assert report.proven == 200
    if not cover:
        assert leaves(report, "order") == [300]
        assert "comes after 1 that are missing" in report.screen()
        assert kinds(report) >= {"version", "tree"}
    if published and not cover:
        assert leaves(report, "missing") == [300]
    if published and cover:
        # what follows in its stream has new versions, and so are other events
        assert leaves(report, "altered")[:4] == [300, 301, 302, 303]
        assert leaves(report, "missing") == [304]


@pytest.mark.parametrize("cover", [(), (renumber, rehash)])
def test_an_inserted_event_is_found(folder: Path, cover: tuple[Attack, ...]) -> None:
    attack(folder, insert(300), *cover)
    report = check(folder)
    assert report.exit_code == 1
    assert report.proven == 200
    if cover:
        assert 300 in leaves(report, "inserted") + leaves(report, "altered")
    else:
        assert leaves(report, "order") == [300]
        assert leaves(report, "inserted") == [300]


def test_a_shortened_ledger_is_found(folder: Path) -> None:
    attack(folder, sql("delete from event where position >= 5000"), rehash)
    report = check(folder)
    assert report.exit_code == 1
    assert report.proven == 450
    assert "690 events were signed, 500 are there" in report.screen()
    assert leaves(report, "missing")[:2] == [500, 501]
    assert report.counts["missing"] == 190


def test_two_events_exchanged_are_found(folder: Path) -> None:
    attack(
        folder,
        sql("update event set position = -1 where position = 1000"),
        sql("update event set position = 1000 where position = 2000"),
        sql("update event set position = 2000 where position = -1"),
        rehash,
    )
    report = check(folder)
    assert leaves(report, "altered") == [100, 200]


def test_a_back_dated_event_at_the_end_needs_the_writers_keys(folder: Path) -> None:
    """Legal to Merkle: only the missing signature gives it away."""

    def add(db: sqlite3.Connection) -> None:
        db.execute(
            """
            insert into event
            select position + 10, sid, version + 1, nid, schema_version, recorded_at,
                   ?, leaf, ?, ?
            from event where position = (select max(position) from event)
            """,
            (bytes(16), b"forged", metadata(1)),
        )

    attack(folder, add, rehash)
    assert check(folder).exit_code == 0
    assert check(folder).tail.events == 11
    report = check(folder, writers=[WRITER.verifier])
    assert report.exit_code == 1
    assert leaves(report, "writer") == [EVENTS]


def test_an_altered_tail_is_found_by_its_hash_or_its_writer(folder: Path) -> None:
    attack(folder, edit(695))
    report = check(folder)
    assert report.exit_code == 1
    assert leaves(report, "altered") == [695]
    assert report.proven == 690
    attack(folder, rehash)
    assert check(folder).exit_code == 0
    writers = check(folder, writers=[WRITER.verifier])
    assert 695 in leaves(writers, "writer")


@pytest.mark.parametrize(
    "change",
    [
        (sql("insert into name values (99, 'inventory.retired')"), put(697, "nid", 99)),
        (put(697, "id", bytes(16)),),
        (put(697, "schema_version", 2),),
    ],
    ids=["name", "id", "schema version"],
)
def test_an_event_renamed_in_the_tail_needs_the_writers_keys(
    folder: Path, change: tuple[Attack, ...]
) -> None:
    attack(folder, *change, rehash)
    assert check(folder).exit_code == 0
    report = check(folder, writers=[WRITER.verifier])
    assert kinds(report) == {"writer"}
    assert leaves(report, "writer") == [695, 696, 697, 698, 699]


def test_a_changed_hash_does_not_discredit_its_event(folder: Path) -> None:
    attack(folder, sql("update event set leaf = ? where position = 1000", bytes(32)))
    report = check(folder)
    assert report.exit_code == 1
    assert kinds(report) == {"hash"}
    assert leaves(report, "hash") == [100]
    assert report.proven == 690


@pytest.mark.parametrize(
    "spoil",
    [
        sql("update node set hash = ?", bytes(32)),
        sql("delete from node"),
        sql("insert into node values (8, 77, ?)", bytes(32)),
        sql("update tree set frontier = ?", b""),
        sql("update tree set size = 5"),
        sql("delete from tree"),
        sql("insert into tree values (0, ?)", b""),
    ],
)
def test_a_spoiled_tree_is_reported_apart(folder: Path, spoil: Attack) -> None:
    attack(folder, spoil)
    report = check(folder)
    assert kinds(report) == {"tree"}
    assert report.proven == 690


@pytest.mark.parametrize("column", ["sid", "version", "nid", "schema_version", "id"])
@pytest.mark.parametrize("value", [None, -1, 1.5, "text", b"bytes", 1 << 62])
def test_a_malformed_row_is_survived_and_named(
    folder: Path, column: str, value: object
) -> None:
    attack(folder, loosen, put(250, column, value))
    report = check(folder)
    assert report.exit_code == 1
    assert 250 in leaves(report, "malformed") + leaves(report, "altered")
    assert report.events == EVENTS
    assert report.proven == 200


@pytest.mark.parametrize("column", ["leaf", "data", "metadata"])
@pytest.mark.parametrize("value", [None, 7, 1.5, "text", b""])
def test_a_row_without_its_bytes_is_survived_and_named(
    folder: Path, column: str, value: object
) -> None:
    attack(folder, loosen, put(250, column, value))
    report = check(folder, writers=[WRITER.verifier])
    assert report.exit_code == 1
    kind = "hash" if column == "leaf" else "altered"
    assert leaves(report, kind) == [250]


@pytest.mark.parametrize("value", [None, 2501, -5, "text", b"", 1.5, 1 << 62])
def test_a_position_that_is_none_is_survived(folder: Path, value: object) -> None:
    attack(folder, loosen, put(250, "position", value))
    report = check(folder)
    assert report.exit_code == 1
    assert "order" in kinds(report)


def test_a_stream_that_is_no_text_is_survived(folder: Path) -> None:
    def spoil(db: sqlite3.Connection) -> None:
        db.execute("create table loose as select * from stream")
        db.execute("drop table stream")
        db.execute("alter table loose rename to stream")
        db.execute("update stream set name = cast(x'ff' as text) where sid = 2")
        db.execute("update stream set name = null where sid = 3")

    attack(folder, spoil)
    report = check(folder)
    assert report.exit_code == 1
    assert report.counts["malformed"] == 200
    assert len(leaves(report, "malformed")) == 100


def test_a_terminal_is_not_commanded_by_a_name(folder: Path) -> None:
    attack(folder, sql("update name set name = ?", "\x1b[2Jgone"), rehash)
    screen = check(folder).screen()
    assert "\\x1b[2Jgone" in screen
    assert "\x1b" not in screen


def test_another_ledgers_name_is_noticed(folder: Path) -> None:
    attack(folder, sql("update ledger set origin = 'other'"))
    report = check(folder)
    assert kinds(report) == {"origin"}


def test_an_index_that_hides_an_event_is_noticed(folder: Path) -> None:
    """The table is as signed, and whoever reads by stream misses an event."""

    def hide(db: sqlite3.Connection) -> None:
        db.execute("create table copy as select * from event where position <> 2500")
        db.execute("create unique index elsewhere on copy (sid, version)")
        (root,) = db.execute(
            "select rootpage from sqlite_master where name = 'elsewhere'"
        ).fetchone()
        db.execute("pragma writable_schema = on")
        db.execute("delete from sqlite_master where name in ('copy', 'elsewhere')")
        db.execute(
            "update sqlite_master set rootpage = ? where name = 'event_in_stream'",
            (root,),
        )

    attack(folder, hide)
    evidence = gather(folder / "published", [KEY.verifier])
    with LedgerFile(folder / "ledger.db") as ledger:
        report = verify(ledger, evidence)
        assert report.proven == 690
        check_file(ledger, report)
    assert report.exit_code == 1
    assert kinds(report) == {"file"}
    assert "event_in_stream" in report.screen()


def test_a_page_of_rubbish_is_damage(folder: Path) -> None:
    path = folder / "ledger.db"
    raw = bytearray(path.read_bytes())
    at = raw.index(b'{"n":350}') // 8192 * 8192
    raw[at : at + 8192] = os.urandom(8192)
    path.write_bytes(raw)
    report = check(folder)
    assert report.exit_code == 1


@pytest.mark.parametrize("seed", range(60))
def test_any_flipped_bit_is_survived_and_never_proves_more(
    folder: Path, seed: int
) -> None:
    path = folder / "ledger.db"
    raw = bytearray(path.read_bytes())
    at = int.from_bytes(leaf_hash(b"%d" % seed)[:8], "big") % len(raw)
    raw[at] ^= 1 << seed % 8
    path.write_bytes(raw)
    try:
        report = check(folder)
    except Unreadable:
        return
    assert report.proven <= 690
    assert report.exit_code in {0, 1}


def test_two_signed_histories_are_told(folder: Path) -> None:
    evil = folder / "evil"
    signer = Signer(KEY, ORIGIN, state=evil / "signer", published=evil / "published")

    class Other:
        size = 100

        def leaves(self, start: int, end: int) -> list[bytes]:
            return [leaf_hash(b"%d" % n) for n in range(start, end)]

        def nodes(self, _level: int, _start: int, _end: int) -> list[bytes]:
            return []

    note = signer.sign(Other())
    with (folder / "published" / "checkpoints").open("ab") as file:
        file.write(note)
    report = check(folder)
    assert kinds(report) == {"forked"}
    assert report.proven == 690


def test_checkpoints_of_others_prove_nothing(folder: Path) -> None:
    stranger = SigningKey(ORIGIN, bytes([9]) * 32)
    forged = "bank.example/ledger\n700\n" + "A" * 43 + "=\n"
    with (folder / "published" / "checkpoints").open("ab") as file:
        file.write(stranger.sign_note(forged))
        file.write(b"rubbish\n\n\xff\n")
    report = check(folder)
    assert (report.exit_code, report.proven, report.ignored) == (0, 690, 1)
    assert "1 checkpoints are not signed by the key" in report.screen()


def test_published_leaves_that_are_not_signed_accuse_nobody(folder: Path) -> None:
    path = folder / "published" / "leaves"
    raw = bytearray(path.read_bytes())
    raw[32 * 5] ^= 1
    path.write_bytes(raw)
    assert check(folder).exit_code == 0
    attack(folder, edit(300), rehash)
    report = check(folder)
    assert report.exit_code == 1
    assert leaves(report, "altered") == []


def history(text: str) -> list[bytes]:
    return [leaf_hash(letter.encode()) for letter in text]


@pytest.mark.parametrize(
    ("signed", "found", "wanted"),
    [
        ("abcdef", "abcdef", []),
        ("abcdef", "abcdefgh", []),
        ("abcdef", "abXdef", [(2, 2)]),
        ("abcdef", "abdef", [(2, None)]),
        ("abcdef", "abXcdef", [(None, 2)]),
        ("abcdef", "abc", [(3, None), (4, None), (5, None)]),
        ("abcdef", "bacdef", [(0, 0), (1, 1)]),
        ("abcdef", "bXdef", [(0, None), (2, 1)]),
        ("abc", "", [(0, None), (1, None), (2, None)]),
        ("", "abc", []),
    ],
)
def test_histories_are_compared(
    signed: str, found: str, wanted: list[tuple[int | None, int | None]]
) -> None:
    told = list(differences(history(signed), history(found)))
    assert told == wanted


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("ledger*")}


def test_verifying_leaves_no_trace(folder: Path) -> None:
    before = bytes_of(folder)
    assert check(folder).exit_code == 0
    assert bytes_of(folder) == before


@pytest.fixture
def crashed(original: Path, tmp_path: Path) -> Iterator[Path]:
    """A ledger whose newest events are in the write-ahead log only, and no index."""
    shutil.copytree(original / "published", tmp_path / "published")
    shutil.copy(original / "ledger.db", tmp_path / "live.db")
    with closing(sqlite3.connect(tmp_path / "live.db")) as db:
        db.execute("pragma wal_autocheckpoint = 0")
        attack_in = edit(100)
        db.execute("drop trigger event_stays")
        attack_in(db)
        db.commit()
        shutil.copy(tmp_path / "live.db", tmp_path / "ledger.db")
        shutil.copy(tmp_path / "live.db-wal", tmp_path / "ledger.db-wal")
        yield tmp_path


def test_a_write_ahead_log_is_read_without_a_trace(crashed: Path) -> None:
    before = bytes_of(crashed)
    assert set(before) == {"ledger.db", "ledger.db-wal"}
    report = check(crashed)
    assert leaves(report, "altered") == [100]
    assert bytes_of(crashed) == before


def test_a_live_ledger_is_verified_beside_its_writer(folder: Path) -> None:
    with SqliteStore(folder / "ledger.db") as store:
        event = NewEvent(UUID(int=9), "inventory.model-retired", 1, b"{}", metadata(1))
        store.append("model-acme.new", [event], expected=NO_STREAM)
        report = check(folder)
        assert (report.exit_code, report.events) == (0, EVENTS + 1)
        store.append("model-acme.new", [event._replace(id=UUID(int=8))], expected=0)
    assert check(folder).events == EVENTS + 2


def test_a_file_written_to_meanwhile_is_not_judged(folder: Path) -> None:
    evidence = gather(folder / "published", [KEY.verifier])
    with LedgerFile(folder / "ledger.db") as ledger:
        os.utime(folder / "ledger.db", (1, 1))
        with pytest.raises(Unreadable, match="verify it again"):
            verify(ledger, evidence)


# the command


def run(folder: Path, *arguments: object) -> int:
    key = folder / "key.pub"
    key.write_text(f"# the log's key\n{KEY.verifier}\n")
    return main(
        [
            str(folder / "ledger.db"),
            "--checkpoint",
            str(folder / "published"),
            "--key",
            str(key),
            *map(str, arguments),
        ]
    )


def test_the_command_proves(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    out, err = capsys.readouterr()
    assert "the first 690 events are those that were signed" in out
    assert "10 events after the checkpoint" in out
    assert len(out.splitlines()) < 24
    assert err == ""


def test_the_command_names_what_was_altered(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attack(folder, edit(300), rehash)
    assert run(folder) == 1
    out, _ = capsys.readouterr()
    assert (
        "event 300 (model-acme.4@40 inventory.model-registered) is not the one that"
        " was signed"
    ) in out
    assert len(out.splitlines()) < 24


def test_a_thousand_faults_fit_a_screen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attack(folder, sql("update event set data = x'00'"))
    assert run(folder) == 1
    out, _ = capsys.readouterr()
    assert len(out.splitlines()) < 40
    assert "690 altered" in out


def test_the_command_speaks_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writers = folder / "writers"
    writers.write_text(f"{WRITER.verifier}\n")
    assert run(folder, "--json", "--writers", writers) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "proven"
    assert told["proven"] == 690
    assert told["checkpoint"]["time"] == "2013-04-01T00:00:00Z"
    assert told["writers"] == {"events": {"writer.example": 700}, "doubtful": 0}
    attack(folder, edit(300))
    assert run(folder, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "tampered"
    assert {"kind": "altered", "leaf": 300}.items() <= told["problems"][1].items()


def test_the_newest_checkpoint_is_enough(folder: Path) -> None:
    latest = folder / "published" / "checkpoint"
    assert run(folder, "--checkpoint", latest, "--key", KEY.verifier) == 0


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("no ledger", lambda folder: (folder / "ledger.db").unlink()),
        ("no database", lambda folder: (folder / "ledger.db").write_text("x" * 999)),
        ("empty", lambda folder: (folder / "ledger.db").write_bytes(b"")),
        ("no checkpoints", lambda folder: shutil.rmtree(folder / "published")),
        (
            "empty checkpoints",
            lambda folder: [
                path.write_bytes(b"") for path in (folder / "published").iterdir()
            ],
        ),
        (
            "another database",
            lambda folder: attack(folder, sql("drop table node")),
        ),
        (
            "a view in a table's place",
            lambda folder: attack(
                folder,
                sql("alter table event rename to hidden"),
                sql("create view event as select * from hidden"),
            ),
        ),
    ],
)
def test_what_cannot_be_verified_is_not_called_tampered(
    folder: Path,
    what: str,
    how: Callable[[Path], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    how(folder)
    assert run(folder) == 2, what
    assert "modelkeep-verify: " in capsys.readouterr().err
    assert run(folder, "--json") == 2
    assert json.loads(capsys.readouterr().out)["verdict"] == "not verified"


def test_a_key_of_nobody_verifies_nothing(folder: Path) -> None:
    stranger = SigningKey(ORIGIN, bytes([9]) * 32)
    assert run(folder, "--key", stranger.verifier) == 2
    assert run(folder, "--key", "no key") == 2
    assert run(folder, "--key", "a+b+c") == 2


def test_bad_arguments_are_not_called_tampered() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["ledger.db"])
    assert stopped.value.code == 2


def test_the_verifier_runs_where_nothing_else_is_installed(folder: Path) -> None:
    """Whatever the rest of the system needs cannot even be imported."""
    program = """
import sys
for name in ("grpc", "google", "numpy", "pydantic", "apsw", "modelkeep.errors",
             "modelkeep.store", "modelkeep.events", "modelkeep.api"):
    sys.modules[name] = None
from modelkeep.proof.__main__ import main
code = main(sys.argv[1:])
loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module}
others = loaded - sys.stdlib_module_names - {"modelkeep", "cryptography"}
assert not {name for name in others if not name.startswith("_")}, others
sys.exit(code)
"""
    libs = Path(__file__).parents[2] / "libs"
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            program,
            str(folder / "ledger.db"),
            "--checkpoint",
            str(folder / "published"),
            "--key",
            str(KEY.verifier),
        ],
        env={"PYTHONPATH": os.pathsep.join([str(libs), *site_of("cryptography")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "PROVEN" in done.stdout


def site_of(package: str) -> list[str]:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return [str(Path(spec.origin).parents[1])]


def test_a_person_who_waits_sees_how_far_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hours = count(step=3600)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("modelkeep.proof.__main__.time.monotonic", lambda: next(hours))
    assert run(folder) == 0
    out, err = capsys.readouterr()
    assert "512 of 700 events" in err
    assert err.endswith("\r\x1b[K")
    assert "512 of" not in out

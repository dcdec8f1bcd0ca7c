"""A piece of the log as a file: proven by itself, and never with a byte changed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.asserted import Log, agreed, deployed

from modelkeep.proof import export
from modelkeep.proof.__main__ import main
from modelkeep.proof.checkpoint import Checkpoint, stamped
from modelkeep.proof.errors import Malformed
from modelkeep.proof.evidence import Evidence, Unchecked, Unusable
from modelkeep.proof.leaf import Leafer
from modelkeep.proof.merkle import Leaves, edge_at, leaf_hash, root_of
from modelkeep.proof.note import SigningKey, VerifierKey
from modelkeep.proof.report import Report
from modelkeep.proof.verify_export import verify_export
from modelkeep.proof.vouching import Vouching
from modelkeep.proof.writers import Signable, sign_append
from modelkeep.store.port import Recorded

ORIGIN: Final = "bank.example/ledger"
KEY: Final = SigningKey(ORIGIN, bytes(range(32)))
WRITER: Final = SigningKey("writer.example", bytes(32))
MANY: Final = 60
SIGNED: Final = 56
NAME: Final = "inventory.model-registered"

Spoil = Callable[[list[bytes]], object]


def recorded() -> list[Recorded]:
    """Three streams, in appends of four events, signed by their writer."""
    found: list[Recorded] = []
    for first in range(0, MANY, 4):
        stream, version = f"model-acme.{first // 4 % 3}", first // 12 * 4
        around = b'{"tenant":"acme","known_at":"2013-04-01T00:00:%02dZ"}' % (first % 60)
        told = [
            Signable(UUID(int=n).bytes, NAME, 1, b'{"n":"%d \xc3\xa9"}' % n, around)
            for n in range(first, first + 4)
        ]
        signed = sign_append(WRITER, stream, version, told)
        told[-1] = told[-1]._replace(metadata=signed)
        for n, (id_, name, schema, data, metadata) in enumerate(told):
            at = (first + n) * 10
            found.append(
                Recorded(at, stream, version + n, id_, name, schema, 7, data, metadata)
            )
    return found


EVENTS: Final = recorded()
LEAVES: Final = [
    Leafer(ORIGIN).leaf(e.stream, e.version, e.id, *e[4:6], *e[7:]) for e in EVENTS
]


def note(size: int, *, key: SigningKey = KEY, root: bytes | None = None) -> bytes:
    signed = root or root_of(LEAVES[:size])
    time = stamped("2013-04-02T00:00:00Z")
    return key.sign_note(Checkpoint(ORIGIN, size, signed, (time,)).encode())


def piece(
    first: int = 0, end: int = SIGNED, *, raw: bytes | None = None
) -> list[bytes]:
    """The lines of an export."""
    file = io.BytesIO()
    raw = note(SIGNED) if raw is None else raw
    head = export.head(ORIGIN, Leaves(LEAVES), first, end, SIGNED, raw)
    assert export.write(file, head, EVENTS[first:end]) == end - first
    return file.getvalue().splitlines(keepends=True)


def outside(*sizes: int, root: bytes | None = None) -> Evidence:
    found = [
        Unchecked(
            Checkpoint(ORIGIN, size, root or root_of(LEAVES[:size])),
            note(size, root=root),
        )
        for size in sizes
    ]
    return Evidence(found, [KEY.verifier])


def check(
    tmp_path: Path,
    lines: Sequence[bytes],
    evidence: Evidence | None = None,
    *,
    writers: Sequence[VerifierKey] | None = None,
) -> Report:
    path = tmp_path / "piece"
    path.write_bytes(b"".join(lines))
    return verify_export(path, [KEY.verifier], evidence, writers=writers)


@pytest.mark.parametrize(
    ("first", "end"),
    [(0, 56), (0, 1), (0, 32), (1, 56), (31, 33), (32, 56), (55, 56), (17, 40)],
)
def test_any_piece_is_proven(tmp_path: Path, first: int, end: int) -> None:
    report = check(tmp_path, piece(first, end))
    assert report.problems == []
    assert (report.exit_code, report.proven) == (0, end - first)
    assert (report.size, report.time) == (SIGNED, "2013-04-02T00:00:00Z")
    screen = report.screen()
    assert "came in the export itself" in screen
    assert ("other events that were signed" in screen) == (end - first < SIGNED)
    if first:
        assert f"events {first} to {end - 1} of 56 are those" in screen


@given(size=st.integers(0, MANY))
def test_an_edge_is_the_one_that_grew(size: int) -> None:
    edge = edge_at(Leaves(LEAVES), size)
    assert edge.root() == root_of(LEAVES[:size])
    edge.extend(LEAVES[size:])
    assert edge.root() == root_of(LEAVES)


def edited(name: str, value: object) -> Spoil:
    def spoil(lines: list[bytes]) -> None:
        told = json.loads(lines[9])
        assert told[name] != value
        told[name] = value
        lines[9] = json.dumps(told).encode() + b"\n"

    return spoil


def headed(name: str, change: Callable[[object], object]) -> Spoil:
    def spoil(lines: list[bytes]) -> None:
        told = json.loads(lines[0])
        told[name] = change(told[name])
        lines[0] = json.dumps(told, separators=(",", ":")).encode() + b"\n"

    return spoil


def exchanged(lines: list[bytes]) -> None:
    lines[9], lines[10] = lines[10], lines[9]


SPOILED: Final = {
    "stream": edited("stream", "model-acme.9"),
    "version": edited("version", 77),
    "id": edited("id", str(UUID(int=999))),
    "name": edited("name", "inventory.retired"),
    "schema": edited("schema_version", 2),
    "data": edited("data", "{}"),
    "metadata": edited("metadata", "{}"),
    "left out": lambda lines: lines.pop(9),
    "cut short": lambda lines: lines.pop(),
    "put in": lambda lines: lines.insert(9, lines[9]),
    "added": lambda lines: lines.append(lines[-1]),
    "exchanged": exchanged,
    "no JSON": lambda lines: lines.insert(9, b"rubbish\n"),
    "no object": lambda lines: lines.insert(9, b"[]\n"),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
@pytest.mark.parametrize(("first", "end"), [(0, 56), (17, 40)])
def test_a_piece_with_anything_changed_is_not_proven(
    tmp_path: Path, spoil: Spoil, first: int, end: int
) -> None:
    lines = piece(first, end)
    spoil(lines)
    report = check(tmp_path, lines)
    assert (report.exit_code, report.proven) == (1, 0)
    assert "root" in report.counts


def test_when_it_was_recorded_is_in_no_hash(tmp_path: Path) -> None:
    lines = piece()
    edited("recorded_at", 8)(lines)
    assert check(tmp_path, lines).exit_code == 0


@pytest.mark.parametrize(
    "spoil",
    [
        headed("first", lambda n: n + 1),  # type: ignore[operator]  # a number
        headed("end", lambda n: n - 1),  # type: ignore[operator]
        headed("size", lambda n: n + 1),  # type: ignore[operator]
        headed("edge", lambda _: ""),
        headed("proof", lambda nodes: nodes[1:]),  # type: ignore[index]
        headed("proof", lambda nodes: [*nodes, nodes[0]]),  # type: ignore[index, misc]
        headed("origin", lambda _: "bank.example/other"),
        headed("checkpoint", lambda _: note(54).decode()),
        headed("checkpoint", lambda _: note(56, root=leaf_hash(b"")).decode()),
    ],
)
def test_a_head_that_lies_proves_nothing(tmp_path: Path, spoil: Spoil) -> None:
    lines = piece(17, 40)
    spoil(lines)
    try:
        report = check(tmp_path, lines)
    except Malformed:
        return
    assert (report.exit_code, report.proven) == (1, 0)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_a_head_is_read_or_refused(rubbish: bytes, at: int) -> None:
    line = piece(17, 40)[0]
    for spoiled in (rubbish, line[:at] + rubbish + line[at:], line[:at]):
        try:
            export.Head.parse(spoiled)
            export.decode(spoiled)
        except Malformed:
            continue


def test_a_checkpoint_of_others_is_none(tmp_path: Path) -> None:
    stranger = SigningKey(ORIGIN, bytes([9]) * 32)
    with pytest.raises(Unusable, match="signed by none of the keys"):
        check(tmp_path, piece(raw=note(SIGNED, key=stranger)))


def test_a_checkpoint_held_elsewhere_is_compared_where_the_piece_tells(
    tmp_path: Path,
) -> None:
    report = check(tmp_path, piece(17, 40), outside(5, 17, 30, 40, 56))
    assert (report.exit_code, report.checkpoints, report.agreeing) == (0, 5, 5)
    assert "5 of 5 checkpoints agree" in report.screen()
    report = check(tmp_path, piece(17, 40), outside(5, 50))
    assert "the checkpoints given: none is of a size" in report.screen()


def test_witnesses_of_the_beginning_say_nothing_of_a_piece_from_the_middle(
    tmp_path: Path,
) -> None:
    vouching = Vouching(asked=True, cosigned=5, witnesses=["w1.example"])
    for first, said in ((0, True), (17, False)):
        report = check(tmp_path, piece(first, 40), outside(5, 40))
        report.vouching = vouching
        assert ("5 events were cosigned by w1.example" in report.screen()) is said


@pytest.mark.parametrize("size", [17, 30, 40, 56])
def test_another_history_that_was_signed_is_told(tmp_path: Path, size: int) -> None:
    other = outside(size, root=leaf_hash(b"another"))
    report = check(tmp_path, piece(17, 40), other)
    assert report.exit_code == 1
    assert f"another history was signed at {size} events" in report.screen()


def test_what_differs_is_named_where_the_leaves_were_published(tmp_path: Path) -> None:
    published = tmp_path / "leaves"
    published.write_bytes(b"".join(LEAVES[:SIGNED]))
    evidence = outside(SIGNED)
    evidence.leaves = published
    lines = piece(17, 40)
    edited("data", "{}")(lines)
    report = check(tmp_path, lines, evidence)
    assert [one.leaf for one in report.problems if one.kind == "altered"] == [25]
    lines = piece(17, 40)
    lines.pop(9)
    report = check(tmp_path, lines, evidence)
    assert [one.leaf for one in report.problems if one.kind == "missing"] == [25]


def test_writers_are_asked_of_whole_appends(tmp_path: Path) -> None:
    report = check(tmp_path, piece(), writers=[WRITER.verifier])
    assert report.vouched is not None
    assert (report.vouched.events, report.vouched.cut) == ({"writer.example": 56}, 0)
    report = check(tmp_path, piece(17, 42), writers=[WRITER.verifier])
    assert report.exit_code == 0
    assert report.vouched is not None
    assert (report.vouched.events, report.vouched.cut) == ({"writer.example": 20}, 5)
    assert "who wrote 5 events, whose appends are cut in two" in report.screen()
    report = check(tmp_path, piece(17, 42), writers=[KEY.verifier])
    assert report.vouched is not None
    assert report.vouched.doubtful == 20


def test_bytes_that_are_no_text_come_back() -> None:
    odd = EVENTS[0]._replace(data=b"\xff\x00", metadata=b"\xc3")
    line = export.encode(odd)
    assert json.loads(line)["data64"] == "/wA="
    assert export.decode(line)[5:] == (b"\xff\x00", b"\xc3")


def test_an_endless_line_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LONGEST_LINE", 600)
    report = check(tmp_path, [*piece()[:5], b"x" * 5000])
    assert report.exit_code == 1
    assert "a line of more than 600 bytes, after 4 events" in report.screen()


# --- the command


def run(path: Path, *arguments: str) -> int:
    return main([str(path), "--key", str(KEY.verifier), *arguments])


def test_the_command_knows_an_export_by_its_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "piece"
    path.write_bytes(b"".join(piece(17, 40)))
    assert run(path) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Export      {path}\n")
    assert len(out.splitlines()) < 24
    held = tmp_path / "held"
    held.write_bytes(note(30))
    assert run(path, "--checkpoint", str(held)) == 0
    assert "2 of 2 checkpoints agree" in capsys.readouterr().out
    assert run(path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["piece"] == {"first": 17, "end": 40, "outside": False}
    path.write_bytes(b"".join(piece(17, 40)[:-1]))
    assert run(path) == 1
    assert "1 events are missing" in capsys.readouterr().out


def test_an_assertion_needs_all_that_was_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "piece"
    path.write_bytes(b"".join(piece(17, 40)))
    assert run(path, "--assert", "all") == 2
    assert "an assertion needs all events" in capsys.readouterr().err


def test_an_assertion_over_a_whole_export_names_the_contrary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log()
    log.add("model.fraud", deployed(agreed(log)))
    log.add("model.fraud", deployed("nowhere"))
    found = [
        Recorded(n * 10, s.stream, s.version, s.id, *s[4:6], 0, *s[6:])
        for n, s in enumerate(log.seen())
    ]
    leaves = [Leafer(ORIGIN).leaf(*s[1:]) for s in log.seen()]
    signed = Checkpoint(ORIGIN, len(found), root_of(leaves))
    raw = KEY.sign_note(signed.encode())
    path = tmp_path / "piece"
    with path.open("wb") as file:
        head = export.head(ORIGIN, Leaves(leaves), 0, len(found), len(found), raw)
        export.write(file, head, found)
    assert run(path, "--assert", "promotions-had-quorum") == 1
    out = capsys.readouterr().out
    assert "names no verdict that stands before it (nowhere)" in out
    assert f"of all {len(found)} events of the kinds that could tell" in out


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b'{"format":"modelkeep export v2"}']
)
def test_what_is_no_export_is_told_in_one_line(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "piece"
    path.write_bytes(content)
    assert run(path) == 2
    told = capsys.readouterr().err
    assert told.startswith("modelkeep-verify: ")
    assert len(told.splitlines()) == 1
    assert run(tmp_path / "nowhere") == 2
    assert "there is no" in capsys.readouterr().err


def test_witnesses_are_asked_about_checkpoints_and_need_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, policy = tmp_path / "piece", tmp_path / "policy"
    path.write_bytes(b"".join(piece()))
    policy.write_text("quorum none\n")
    assert run(path, "--witnesses", str(policy)) == 2
    assert "go with --checkpoint" in capsys.readouterr().err

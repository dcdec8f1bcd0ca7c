"""A signed verdict in the hands of a deployer, who has the file, a key and a clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelkeep.events.inventory import Artifact
from modelkeep.events.inventory import version_digest as ledgers
from modelkeep.proof import dsse, verdict
from modelkeep.proof.__main__ import main
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import SigningKey

KEY = SigningKey.generate("modelkeep-verdicts")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = b"the weights"


def predicate(files: dict[str, str], **parts: Any) -> dict[str, Any]:
    return {
        "verdict": "ALLOW",
        "action": "promote",
        "model": "credit",
        "version": "v1",
        "digest": verdict.version_digest(files.values()),
        "environment": "prod",
        "bundle": "sha256:" + "b" * 64,
        "issuedAt": NOW.isoformat(),
        "expiresAt": (NOW + timedelta(days=14)).isoformat(),
        **parts,
    }


class Desk:
    """A folder with an artifact, a public key, and a verdict on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model, self.key = folder / "model.onnx", folder / "verdicts.vkeys"
        self.file = folder / "verdict.dsse.json"
        self.model.write_bytes(MODEL)
        self.key.write_text(f"{KEY.verifier}\n")
        self.files = {"model.onnx": verdict_digest(self.model)}

    def write(self, kind: str = verdict.VERDICT, **parts: Any) -> None:
        said = predicate(self.files, **parts)
        self.file.write_bytes(verdict.seal(kind, self.files, said, KEY))

    def verify(self, *more: str, at: str = "2026-03-02T00:00:00Z") -> int:
        asked = ["verdict", str(self.file), "--key", str(self.key), "--at", at]
        return main([*asked, *more])


def verdict_digest(file: Path) -> str:
    from modelkeep.proof.verdict_file import digest_of  # noqa: PLC0415  # beside its use

    return digest_of(file)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_allow_for_this_file_here_and_now_holds(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.write()
    bundle = "sha256:" + "b" * 64
    wanted = ["--action", "promote", "--environment", "prod", "--bundle", bundle]
    assert desk.verify("--artifact", str(desk.model), *wanted) == 0
    said = capsys.readouterr().out
    assert "ALLOW to promote credit v1 in prod" in said
    assert "model.onnx is its artifact model.onnx" in said
    assert "not proven here: that it was not revoked since" in said
    assert said.endswith("It holds.\n")


def test_the_digest_of_a_version_is_the_ledgers() -> None:
    files = [
        Artifact(name=name, digest=f"sha256:{name * 64}", media_type="x", size=1)
        for name in "ba"
    ]
    assert verdict.version_digest(one.digest for one in files) == ledgers(files)


@pytest.mark.parametrize(
    ("parts", "more", "code", "said"),
    [
        ({"verdict": "DENY"}, [], 1, "✗ DENY to promote"),
        ({"verdict": "REVOKED"}, [], 1, "✗ REVOKED"),
        ({"verdict": "PENDING"}, [], 3, "Approvals are still owed"),
        ({"verdict": "PENDING"}, ["--environment", "dev"], 1, "do not act"),
        ({"expiresAt": NOW.isoformat()}, [], 1, "✗ good until 2026-03-01"),
        ({"expiresAt": ""}, [], 1, "until when"),
        ({"expiresAt": "2027-01-01T00:00:00"}, [], 1, "no zone"),
        ({"expiresAt": "soon"}, [], 1, "is no time"),
        ({"issuedAt": "2026-03-09T00:00:00Z"}, [], 1, "in the future"),
        ({"issuedAt": None}, [], 1, "when it was issued"),
        ({}, ["--action", "deploy"], 1, "✗ action is promote"),
        ({}, ["--environment", "dev"], 1, "✗ environment is prod"),
        ({}, ["--bundle", "sha256:0"], 1, "✗ bundle is sha256:bbb"),
        ({}, ["--use", "lending"], 1, "✗ use is unsaid"),
        ({"maxTrafficShare": 0.1}, ["--share", "0.2"], 1, "✗ share 0.1"),
        ({"maxTrafficShare": 0.1}, ["--share", "0.1"], 0, "✓ share 0.1"),
        ({"digest": "sha256:" + "0" * 64}, [], 1, "do not make the digest"),
        ({"model": "\x1b[31mred"}, [], 0, "\\x1b[31mred"),
    ],
)
def test_each_thing_that_is_not_as_it_must_be_is_named(  # a table
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
    parts: dict[str, Any],
    more: list[str],
    code: int,
    said: str,
) -> None:
    desk.write(**parts)
    assert desk.verify(*more) == code
    told = capsys.readouterr().out
    assert said in told
    assert "\x1b" not in told


def test_another_file_is_none_of_its_artifacts(desk: Desk) -> None:
    desk.write()
    desk.model.write_bytes(MODEL + b"!")
    assert desk.verify("--artifact", str(desk.model)) == 1


def test_a_letter_changed_is_an_altered_verdict(desk: Desk) -> None:
    desk.write()
    whole = json.loads(desk.file.read_bytes())
    other = dsse.seal(dsse.IN_TOTO, b'{"verdict":"ALLOW"}', SigningKey.generate("x"))
    whole["payload"] = json.loads(other)["payload"]
    desk.file.write_text(json.dumps(whole))
    assert desk.verify() == 1


def test_another_key_proves_nothing(desk: Desk) -> None:
    desk.write()
    desk.key.write_text(f"{SigningKey.generate('modelkeep-verdicts').verifier}\n")
    assert desk.verify() == 1


def test_a_permit_is_no_verdict(desk: Desk) -> None:
    desk.write(verdict.PERMIT)
    assert desk.verify() == 1


def test_a_statement_without_artifacts_or_with_two_of_a_name_is_refused() -> None:
    named = {"name": "m", "digest": {"sha256": "0" * 64}}
    wrong: list[Any] = [
        [],
        None,
        [{"name": "m"}],
        [named, named],
        [{"name": "m", "digest": {"sha256": "A" * 64}}],
        [{"name": "m", "digest": {"sha256": "0" * 63}}],
    ]
    for subjects in wrong:
        statement = {
            "_type": verdict.STATEMENT,
            "predicateType": verdict.VERDICT,
            "predicate": {},
            "subject": subjects,
        }
        with pytest.raises(Malformed):
            verdict.parse(json.dumps(statement).encode())


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff\xfe", b"{" * 9_999])
def test_what_is_no_verdict_is_refused_and_not_a_crash(desk: Desk, raw: bytes) -> None:
    desk.file.write_bytes(raw)
    assert desk.verify() == 1


def test_no_file_no_key_and_no_time_cannot_be_checked(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.verify("--json") == 2
    assert json.loads(capsys.readouterr().out)["verdict"] == "not checked"
    desk.write()
    desk.key.write_text("# nobody\n")
    assert desk.verify() == 2
    with pytest.raises(SystemExit) as refused:
        desk.verify(at="2026-03-02")
    assert refused.value.code == 2


def test_programs_get_json(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write()
    assert desk.verify("--json", "--artifact", str(desk.model)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "holds"
    assert said["subjects"] == desk.files
    assert said["predicate"]["model"] == "credit"
    assert all(one["holds"] for one in said["checks"])

"""Artifacts in a life: kept, signed, hashed again when somebody wants to promote."""

from __future__ import annotations

import json
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import grpc
import pytest
from tests.integration.conftest import Serve, Served
from tests.unit.signed_models import FILES, KEY, SIGNATURE
from typer.testing import CliRunner, Result

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.api.policy.v1 import policy_pb2 as pol
from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.objects import artifacts_of
from modelkeep_services.__main__ import app

OTHERS = b"not what was signed"


def digest_of(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


@pytest.fixture
def served(serve: Serve) -> Served:
    served = serve("inventory", "policy")
    request = inv.RegisterModelRequest(
        model="loans",
        title="Who pays back",
        kind=inv.MODEL_KIND_TRAINED,
        purpose="to lend",
        owner="olga",
        approved_uses=["lending"],
    )
    stub = InventoryServiceStub(served.channel)
    served.call(stub.RegisterModel, request, "owner")
    publishers = served.node.home.publishers
    publishers.mkdir(parents=True)
    (publishers / "acme.pub").write_bytes(KEY)
    return served


def register(served: Served, version: str, *contents: bytes) -> str:
    """A version of these files; return its digest."""
    artifacts = [
        inv.Artifact(
            name=f"file-{n}", digest=digest_of(one), media_type="x/y", size=len(one)
        )
        for n, one in enumerate(contents)
    ]
    stub = InventoryServiceStub(served.channel)
    request = inv.RegisterVersionRequest(
        model="loans", version=version, artifacts=artifacts
    )
    served.call(stub.RegisterVersion, request, "engineer")
    served.settle()
    about = inv.GetVersionRequest(model="loans", version=version)
    return str(served.call(stub.GetVersion, about, "engineer").version.digest)


def attach(served: Served, version: str, digest: str, raw: bytes = SIGNATURE) -> None:
    request = inv.AttachSignatureRequest(
        model="loans", version=version, digest=digest, signature=raw
    )
    stub = InventoryServiceStub(served.channel)
    served.call(stub.AttachSignature, request, "engineer")
    served.settle()


def asked(served: Served, version: str, action: str = "promote") -> pol.Verdict:
    stub = PolicyServiceStub(served.channel)
    request = pol.EvaluateRequest(
        action=action,
        model="loans",
        version=version,
        environment="prod",
        use="lending",
    )
    verdict: pol.Verdict = served.call(stub.Evaluate, request, "engineer").verdict
    return verdict


def facts(served: Served, verdict: pol.Verdict) -> Facts:
    stub = PolicyServiceStub(served.channel)
    request = pol.GetVerdictRequest(request=verdict.request)
    found = served.call(stub.GetVerdict, request, "auditor")
    return Facts.FromString(found.grounds.facts)


# --- signatures ----------------------------------------------------------------------


def test_a_publishers_signature_is_recorded_with_the_version_it_covers(
    served: Served,
) -> None:
    digest = register(served, "v1", FILES["a.onnx"])
    attach(served, "v1", digest)
    attach(served, "v1", digest)
    stub = InventoryServiceStub(served.channel)
    about = inv.GetVersionRequest(model="loans", version="v1")
    (signed,) = served.call(stub.GetVersion, about, "auditor").version.signatures
    assert (signed.publisher, signed.others) == ("acme", 1)
    assert signed.by.subject == "a-engineer"
    kept = artifacts_of(served.node.home)
    assert kept.found(signed.signature_digest, within_s=9) == digest_of(SIGNATURE)
    assert list(facts(served, asked(served, "v1")).version.signed_by) == ["acme"]


def refused(
    served: Served, version: str, digest: str, raw: bytes = SIGNATURE
) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as error:
        attach(served, version, digest, raw)
    return error.value


def test_a_signature_over_other_files_is_not_this_versions(served: Served) -> None:
    digest = register(served, "v1", FILES["a.onnx"], OTHERS)
    error = refused(served, "v1", digest)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "acme did not sign file-1" in str(error.details())


def test_a_signature_by_nobody_who_is_trusted_counts_for_nothing(
    served: Served,
) -> None:
    digest = register(served, "v1", FILES["a.onnx"])
    (served.node.home.publishers / "acme.pub").unlink()
    error = refused(served, "v1", digest)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "no publisher that is trusted" in str(error.details())


def test_what_is_no_signature_and_no_version_is_named(served: Served) -> None:
    digest = register(served, "v1", FILES["a.onnx"])
    error = refused(served, "v1", digest, b"{}")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "signature" in str(error.details())
    assert refused(served, "v9", digest).code() is grpc.StatusCode.NOT_FOUND


# --- hashed again --------------------------------------------------------------------


@pytest.mark.parametrize("action", ["promote", "deploy"])
def test_what_is_stored_is_hashed_again_when_it_is_asked_for(
    served: Served, action: str
) -> None:
    objects = artifacts_of(served.node.home)
    register(served, "v1", *FILES.values())
    none = asked(served, "v1", action)
    assert facts(served, none).version.artifacts.value == "absent"
    for content in FILES.values():
        objects.put(BytesIO(content))
    verified = asked(served, "v1", action)
    assert facts(served, verified).version.artifacts.value == "verified"


def test_a_file_that_was_changed_is_denied_whatever_the_rules_say(
    served: Served,
) -> None:
    content = FILES["a.onnx"]
    register(served, "v1", content)
    kept = artifacts_of(served.node.home).put(BytesIO(content)).digest
    (served.node.home.artifacts / kept.removeprefix("sha256:")).write_bytes(OTHERS)
    verdict = asked(served, "v1")
    assert verdict.verdict == pol.VERDICT_KIND_DENY
    assert "no longer what its digest says" in verdict.reasons[0]
    stub = PolicyServiceStub(served.channel)
    again = pol.ReplayVerdictRequest(request=verdict.request)
    assert served.call(stub.ReplayVerdict, again, "auditor").same


# --- the command ---------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (tmp_path / "acme.pub").write_bytes(KEY)
    (tmp_path / "m.sig").write_bytes(SIGNATURE)
    return folder


def artifact(home: Path, *said: object) -> Result:
    arguments = ["artifact", *map(str, said), "--home", str(home)]
    return CliRunner().invoke(app, arguments)


def test_a_file_is_kept_shown_and_given_back(home: Path, folder: Path) -> None:
    kept = artifact(home, "put", folder / "a.onnx", "--json")
    assert kept.exit_code == 0, kept.output
    (one,) = json.loads(kept.output)["artifacts"]
    assert one["digest"] == digest_of(FILES["a.onnx"])
    shown = artifact(home, "show", one["digest"])
    assert "5 bytes" in shown.output
    out = folder.parent / "back"
    assert artifact(home, "get", one["digest"], "--out", out).exit_code == 0
    assert out.read_bytes() == FILES["a.onnx"]
    assert artifact(home, "check", one["digest"]).exit_code == 0


def test_what_rotted_is_said_and_never_given_out(home: Path, folder: Path) -> None:
    artifact(home, "put", folder / "a.onnx")
    digest = digest_of(FILES["a.onnx"])
    (kept,) = (home / "artifacts").iterdir()
    kept.write_bytes(OTHERS)
    checked = artifact(home, "check", digest)
    assert (checked.exit_code, "changed" in checked.output) == (1, True)
    out = folder.parent / "back"
    assert artifact(home, "get", digest, "--out", out).exit_code != 0
    assert not out.exists()
    assert [one.name for one in folder.parent.iterdir() if "back" in one.name] == []


def test_a_folder_is_held_to_its_publishers_signature(home: Path, folder: Path) -> None:
    sig = folder.parent / "m.sig"
    by = ["--signature", sig, "--key", folder.parent / "acme.pub"]
    good = artifact(home, "verify", folder, *by)
    assert (good.exit_code, "signed by acme: approved" in good.output) == (0, True)
    (folder / "a.onnx").write_bytes(OTHERS)
    (folder / "more").write_bytes(OTHERS)
    (folder / "tok.json").unlink()
    bad = artifact(home, "verify", folder, *by)
    assert bad.exit_code == 1
    for wrong in ("a.onnx was changed", "more was not signed", "tok.json is missing"):
        assert wrong in bad.output


def test_a_publisher_is_trusted_by_name_and_not_by_two_keys(
    home: Path, folder: Path
) -> None:
    sig, key = folder.parent / "m.sig", folder.parent / "acme.pub"
    assert artifact(home, "verify", folder, "--signature", sig).exit_code == 1
    assert artifact(home, "trust", "acme", key).exit_code == 0
    assert artifact(home, "verify", folder, "--signature", sig).exit_code == 0
    assert (home / "keys/publishers/acme.pub").stat().st_mode & 0o077 == 0
    key.write_bytes(KEY + b"\n")
    again = artifact(home, "trust", "acme", key)
    assert "another key" in str(again.exception)


@pytest.mark.parametrize(
    "said",
    [
        ("put", "{folder}/none"),
        ("show", "sha256:12"),
        ("get", "sha256:" + "0" * 64, "--out", "{folder}/a.onnx"),
        ("trust", "../x", "{folder}/../acme.pub"),
        ("trust", "acme", "{folder}/a.onnx"),
        ("verify", "{folder}/a.onnx", "--signature", "{folder}/../m.sig"),
        ("verify", "{folder}", "--signature", "{folder}/a.onnx"),
        ("attach", "loans", "v1", "--signature", "{folder}/../m.sig"),
    ],
)
def test_bad_input_is_named(home: Path, folder: Path, said: tuple[str, ...]) -> None:
    (folder.parent / "home").mkdir()
    arguments = [one.format(folder=folder) for one in said]
    done = artifact(home, *arguments)
    assert done.exit_code != 0
    assert str(done.exception)


def test_a_link_in_a_signed_folder_is_refused(home: Path, folder: Path) -> None:
    (folder / "a.onnx").unlink()
    (folder / "a.onnx").symlink_to("/etc/passwd")
    key, sig = folder.parent / "acme.pub", folder.parent / "m.sig"
    done = artifact(home, "verify", folder, "--signature", sig, "--key", key)
    assert "is a link" in str(done.exception)

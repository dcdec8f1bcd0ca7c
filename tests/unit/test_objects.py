"""Objects under their digest: one contract for a folder and for a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Lock, Thread

import pytest

from modelkeep.errors import Invalid, Late, NotFound, Unavailable
from modelkeep.home import Home
from modelkeep.objects import Objects, artifacts_of, hexadecimal, open_objects
from modelkeep.objects.disk import Disk

CONTENT = bytes(range(256)) * 9_000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
ABSENT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server that speaks S3, and the address of a bucket of its.

    It answers one request at a time: it closes a file that is copied over, also under
    the feet of an answer that reads it, which S3 does not.
    """
    moto = pytest.importorskip(
        "moto.moto_server.werkzeug_app", reason="moto[s3,server] is not installed"
    )
    serving, boto3 = (pytest.importorskip(one) for one in ("werkzeug.serving", "boto3"))
    answers, turn = moto.DomainDispatcherApplication(moto.create_backend_app), Lock()

    def one_at_a_time(*request: object) -> list[bytes]:
        with turn:
            return list(answers(*request))

    server = serving.make_server(
        "127.0.0.1",
        0,
        one_at_a_time,
        threaded=True,
        request_handler=moto.MotoRequestHandler,
    )
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host, port = server.host, server.port
    secrets = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secrets.items():
            patch.setenv(name, value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        client = boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1"
        )
        client.create_bucket(Bucket="models")
        client.close()
        yield f"?scheme=http&endpoint_override={host}:{port}&region=us-east-1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=["disk", "bucket"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "disk":
        return open_objects(tmp_path / "kept")
    options = request.getfixturevalue("s3")
    return open_objects(f"s3://models/{tmp_path.name}{options}")


def test_what_is_put_comes_back_under_its_digest(objects: Objects) -> None:
    assert objects.put(BytesIO(CONTENT)) == (DIGEST, len(CONTENT))
    assert objects.put(BytesIO(CONTENT)) == (DIGEST, len(CONTENT))
    with objects.open(DIGEST) as content:
        assert content.read() == CONTENT
    with objects.open(hexadecimal(DIGEST)) as content:
        content.seek(256)
        assert content.read(3) == b"\0\1\2"
    assert objects.found(DIGEST, within_s=60) == DIGEST


def test_an_empty_file_is_a_file(objects: Objects) -> None:
    kept = objects.put(BytesIO())
    assert objects.found(kept.digest, within_s=60) == kept.digest


def test_what_is_not_there_is_said_to_be(objects: Objects) -> None:
    with pytest.raises(NotFound, match=ABSENT), objects.open(ABSENT):
        pass
    with pytest.raises(NotFound):
        objects.found(ABSENT, within_s=60)


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "sha256:", "sha256:" + "A" * 64, "x" * 9_999]
)
def test_a_name_that_is_no_digest_is_no_path(objects: Objects, name: str) -> None:
    with pytest.raises(Invalid, match="no SHA-256"), objects.open(name):
        pass


def test_hashing_ends_when_its_time_is_over(objects: Objects) -> None:
    objects.put(BytesIO(CONTENT))
    with pytest.raises(Late):
        objects.found(DIGEST, within_s=-1)


def test_many_may_put_the_same_at_once(objects: Objects) -> None:
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: objects.put(BytesIO(CONTENT)), range(8)))
    assert set(kept) == {(DIGEST, len(CONTENT))}
    assert objects.found(DIGEST, within_s=60) == DIGEST


# --- a folder ------------------------------------------------------------------------


def test_other_bytes_on_the_disk_are_found_and_put_right(tmp_path: Path) -> None:
    objects = open_objects(tmp_path)
    objects.put(BytesIO(CONTENT))
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(CONTENT[:-1] + b"!")
    assert objects.found(DIGEST, within_s=60) != DIGEST
    objects.put(BytesIO(CONTENT))
    assert objects.found(DIGEST, within_s=60) == DIGEST


def test_a_put_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Breaks(BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Disk(tmp_path).put(Breaks())
    assert not list(tmp_path.iterdir())


def test_others_on_the_machine_read_nothing(tmp_path: Path) -> None:
    objects = open_objects(tmp_path / "kept")
    objects.put(BytesIO(CONTENT))
    assert not (tmp_path / "kept").stat().st_mode & 0o077
    (kept,) = (tmp_path / "kept").iterdir()
    assert not kept.stat().st_mode & 0o077


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="file"):
        open_objects(tmp_path / "file" / "kept").put(BytesIO(CONTENT))


# --- where --------------------------------------------------------------------------


def test_a_homes_artifacts_are_in_it_unless_it_is_told_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    artifacts_of(home).put(BytesIO(CONTENT))
    assert len(list(home.artifacts.iterdir())) == 1
    monkeypatch.setenv("MODELKEEP_ARTIFACTS", str(tmp_path / "elsewhere"))
    with pytest.raises(NotFound):
        artifacts_of(home).found(DIGEST, within_s=60)


@pytest.mark.parametrize(
    "where",
    [
        "ftp://host/x",
        "http://host/x",
        "s3://key:secret@bucket/x",
        "s3://b/x?acl=public",
    ],
)
def test_other_addresses_and_credentials_in_one_are_refused(where: str) -> None:
    with pytest.raises(Invalid, match="artifacts") as refused:
        open_objects(where)
    assert "secret" not in str(refused.value)


def test_a_bucket_that_does_not_answer_is_unavailable() -> None:
    away = open_objects(
        "s3://models/x?scheme=http&endpoint_override=127.0.0.1:9&region=us-east-1"
    )
    with pytest.raises(Unavailable, match="s3://models/x"):
        away.found(DIGEST, within_s=60)

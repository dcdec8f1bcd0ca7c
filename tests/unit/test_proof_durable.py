"""Files that survive power loss: whole whatever their size, and whatever the system."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import pytest

from modelkeep.proof import durable

SIZES = (
    0,
    1,
    durable.LARGE - 1,
    durable.LARGE,
    durable.LARGE + 1,
    2 * durable.PIECE + 4_097,
)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_any_size_is_replaced_whole(tmp_path: Path, size: int) -> None:
    path, content = tmp_path / "object", os.urandom(size)
    path.write_bytes(b"older")

    durable.replace(path, memoryview(content).cast("b"), mode=0o600)

    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("start", [0, 1, mmap.PAGESIZE])
def test_memory_is_written_from_where_it_lies(
    tmp_path: Path, size: int, start: int
) -> None:
    path, content = tmp_path / "object", os.urandom(size)
    with mmap.mmap(-1, start + size) as room, memoryview(room) as whole:
        whole[start:] = content
        with whole[start:] as told:
            durable.replace(path, told)
    assert path.read_bytes() == content


def test_where_the_cache_cannot_be_passed_a_large_file_is_written_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int, __: memoryview) -> None:
        raise OSError(errno.EINVAL, "not aligned as this disk wants it")

    path, content = tmp_path / "object", os.urandom(durable.LARGE + 1)
    for name, value in (("_write_pages", refuse), ("_PAST_THE_CACHE", None)):
        with monkeypatch.context() as patched:
            patched.setattr(durable, name, value)
            durable.replace(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]
        path.unlink()


def test_a_disk_that_is_full_is_said_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int, __: memoryview) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    path = tmp_path / "object"
    path.write_bytes(b"older")
    monkeypatch.setattr(durable, "_write_pages", full)
    monkeypatch.setattr(durable, "_PAST_THE_CACHE", 0)
    with pytest.raises(OSError, match="no space left"):
        durable.replace(path, bytes(durable.LARGE))
    assert path.read_bytes() == b"older"

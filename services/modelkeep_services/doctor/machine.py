"""What the machine is made of: its disk, its clock, its libraries."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from typing import Final, NamedTuple

import apsw

from modelkeep.errors import Unavailable
from modelkeep.store.reserve import reserved
from modelkeep.store.sqlite_file import check_sqlite
from modelkeep_services.doctor.finding import Finding, fail, ok, warn

MIB: Final = 1 << 20
SYNCS: Final = 25
BLOCK: Final = bytes(4_096)
TOO_QUICK_S: Final = 20e-6
"""A flash drive with a capacitor takes more; what answers sooner wrote nothing."""
TOO_SLOW_S: Final = 50e-3
MOUNTS: Final = Path("/proc/self/mountinfo")
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
LAYERED: Final = frozenset({"overlay", "aufs", "fuse-overlayfs", "fuse.fuse-overlayfs"})
NETWORKED: Final = re.compile(
    r"nfs4?|cifs|smb3?|smbfs|9p|afs|ceph|glusterfs|lustre|beegfs"
    r"|fuse\.(sshfs|s3fs|glusterfs|ceph|rclone|gcsfuse|blobfuse2?)"
)
THIS_IS_LATER_THAN: Final = datetime(2025, 1, 1, tzinfo=UTC)
SKEW_S: Final = 60.0
NAMED: Final = re.compile(r"([A-Za-z0-9_.-]+)[^;]*?>=\s*([0-9][0-9.]*)")


class Mount(NamedTuple):
    point: str
    kind: str


def machine(folder: Path, recorded_at: int | None) -> Iterator[Finding]:
    """Look at the machine under `folder`. `recorded_at` is the stamp of the ledger's
    last event, in microseconds since 1970.
    """
    yield file_system(mount_of(folder, MOUNTS))
    yield honest_sync(folder)
    yield free_space(folder)
    yield clock(datetime.now(UTC), recorded_at)
    yield sqlite_version(apsw.sqlite_lib_version())
    yield libraries()


def mount_of(folder: Path, mounts: Path) -> Mount | None:
    """Find what `folder` lies on; None where the system does not tell."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    found = Mount("", "")
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        under = folder.is_relative_to(point)
        if under and after and len(point) >= len(found.point):
            found = Mount(point, after.split()[0])
    return found if found.kind else None


def file_system(mount: Mount | None) -> Finding:
    check = "disk.filesystem"
    if mount is None:
        return warn(
            check,
            "this system does not tell what the home lies on",
            "see that it is a local disk",
        )
    said = f"{mount.kind} at {mount.point}"
    if mount.kind in IN_MEMORY:
        return warn(
            check,
            f"{said}: it is gone when the machine stops",
            "move the home to a disk (--home)",
        )
    if mount.kind in LAYERED:
        return warn(
            check,
            f"{said}: a container's own layer, gone with it",
            "mount a volume and put the home there",
        )
    if NETWORKED.fullmatch(mount.kind):
        return fail(
            check,
            f"{said}: its locks do not hold what the ledger needs",
            "move the home to a local disk, or use a networked store (--store)",
        )
    return ok(check, said)


def sync_times(folder: Path, clock: Callable[[], float]) -> Sequence[float]:
    """Return what an overwrite and its fsync took, `SYNCS` times, in seconds."""
    took = []
    with NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        for _ in range(SYNCS):
            started = clock()
            os.pwrite(file.fileno(), BLOCK, 0)
            os.fsync(file.fileno())
            took.append(clock() - started)
    return took


def honest_sync(
    folder: Path, *, clock: Callable[[], float] = time.perf_counter
) -> Finding:
    check = "disk.fsync"
    try:
        took = median(sync_times(folder, clock))
    except OSError as error:
        return fail(
            check,
            f"{folder} cannot be written to: {error.strerror}",
            "free space, or give the home to who runs it",
        )
    said = f"a write reaches the disk in {took * 1e3:.3f} ms (median of {SYNCS})"
    if took < TOO_QUICK_S:
        return warn(
            check,
            f"{said}: no disk is that quick, so something keeps it in memory",
            "switch the volatile write cache off, or use another disk; until then a"
            " power cut may cost acknowledged events",
        )
    if took > TOO_SLOW_S:
        return warn(
            check,
            f"{said}: about {1 / took:.0f} appends a second, one at a time",
            "use a faster disk, or write in parallel: appends share a sync",
        )
    return ok(check, said)


def free_space(folder: Path) -> Finding:
    check, floor = "disk.space", reserved()
    free = shutil.disk_usage(folder).free
    said = f"{free / MIB:,.0f} MiB free; appends are refused below {floor // MIB:,}"
    if free < floor:
        return fail(check, said, "free space: reads go on, writes do not")
    if free < 4 * floor:
        return warn(check, said, "free space before writes are refused")
    return ok(check, said)


def clock(now: datetime, recorded_at: int | None) -> Finding:
    check = "machine.clock"
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < THIS_IS_LATER_THAN:
        return fail(check, f"{said}: that is past", "set the clock; use NTP")
    ahead = 0.0 if recorded_at is None else recorded_at / 1e6 - now.timestamp()
    if ahead > SKEW_S:
        return fail(
            check,
            f"{said}: the ledger's last event was recorded {ahead:,.0f} s later",
            "set the clock: it went back, or the machine that wrote was ahead",
        )
    return ok(check, said)


def sqlite_version(version: str) -> Finding:
    try:
        check_sqlite(version)
    except Unavailable as error:
        return fail("software.sqlite", str(error), "install a newer apsw")
    return ok("software.sqlite", f"SQLite {version}")


def libraries() -> Finding:
    check = "software.libraries"
    try:
        floors = metadata.requires("modelkeep") or []
    except metadata.PackageNotFoundError:
        return warn(
            check,
            "modelkeep runs from a folder: nothing says what it needs",
            "install it with pip",
        )
    old = too_old(floors, installed)
    if old:
        return fail(check, "; ".join(old), "install modelkeep[server] anew")
    return ok(
        check, f"those of {len(floors)} requirements that are here are new enough"
    )


def installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def too_old(
    requirements: Sequence[str], version_of: Callable[[str], str | None]
) -> list[str]:
    """Say which installed packages are older than what is asked of them."""
    found = {}
    for one in requirements:
        named = NAMED.match(one)
        if named is None:
            continue
        name, floor = named.groups()
        version = version_of(name)
        if version is not None and _numbers(version) < _numbers(floor):
            found[name] = f"{name} {version} is older than {floor}"
    return list(found.values())


def _numbers(version: str) -> tuple[int, ...]:
    parts = re.match(r"[0-9.]*", version)
    return tuple(int(one) for one in (parts[0] if parts else "").split(".") if one)

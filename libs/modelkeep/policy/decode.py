"""The optional decoder: facts from their bytes, several times as fast as by protobuf.

    python -m modelkeep.policy.decode        build it, beside this file, with `cc`

It is C (`decode.c`) and needs the headers of the Python it is built for. It reads facts
in the form that they are kept in and declines all others, so protobuf stays the
reference: it reads what was declined, and everything where nothing was built, or where
what was built does not agree with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final, Self, TypeAlias, TypeVar, cast

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.facts import stored_form
from modelkeep.policy.layout import Layout, Made, Unreadable

SOURCE: Final = Path(__file__).with_suffix(".c")
BUILT: Final = SOURCE.with_name(f"_decode{sysconfig.get_config_var('EXT_SUFFIX')}")

T = TypeVar("T", bound=tuple[object, ...])
Read: TypeAlias = "Callable[[bytes], tuple[object, ...] | None]"
"""Returns a value a slot; None for bytes that protobuf shall read."""
Peek: TypeAlias = "Callable[[bytes], tuple[str | None, int | None, str | None] | None]"


class Compiled:
    """What was built. Any thread may call what it makes."""

    def __init__(self, module: ModuleType) -> None:
        self._decoder, self._record = module.Decoder, module.Record

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return None where it cannot be used here."""
        try:
            loader = ExtensionFileLoader("_decode", str(path))
            spec = spec_from_file_location("_decode", path, loader=loader)
            if spec is None:
                return None
            module = module_from_spec(spec)
            loader.exec_module(module)
            found = cls(module)
        except (ImportError, AttributeError):
            return None
        return found if found._agrees() else None

    def reader(self, made: Made) -> Read:
        """Raises Unreadable for what no decoder can be made of."""
        try:
            return cast("Read", self._decoder(*made).read)
        except ValueError as refused:
            raise Unreadable(str(refused)) from None

    def record(self, of: type[T]) -> Callable[..., T]:
        """Return what makes one NamedTuple of all its fields, in their order."""
        names = getattr(of, "_fields", ())
        return cast("Callable[..., T]", self._record(of, len(names)))

    def _agrees(self) -> bool:
        """Whether it tells what protobuf would: a value of each kind, and none."""
        layout = Layout()
        rows = layout.rows(("approvals",), ("issuer", "roles", "at", "approved"))
        slots = [
            layout.value("action"),
            layout.value("model", "tier"),
            layout.value("evidence", "psi_max"),
            layout.value("model", "retired"),
            layout.texts("actor", "roles"),
            layout.doubles("evidence", "metrics"),
            layout.column(("evidence", "features"), ("psi",)),
            rows,
        ]
        stored = stored_form(_sample())
        try:
            read = self.reader(layout.made())
        except (Unreadable, TypeError):
            return False
        values, none = read(stored), read(b"")
        if values is None or none is None or read(stored[:-1]) is not None:
            return False
        told = [values[slot] for slot in slots]
        nothing = [none[slot] for slot in slots]
        voice = ("hr", ("validator",), 2_000_000_003, True)
        wanted = ["é", -1, 0.25, False, ["a", ""], {"ks": 0.0}, [0.5, 0.0], (voice,)]
        return told == wanted and nothing == [*(None,) * 4, [], {}, [], ()]


@lru_cache(maxsize=1)
def compiled() -> Compiled | None:
    """Return what was built, if it can be used here."""
    return Compiled.load(BUILT) if BUILT.exists() else None


def peeking(built: Compiled) -> Peek:
    """What tells the action, tier and environment that bytes ask of, None for each
    that is not there, and not whether the rest are facts.
    """
    layout = Layout()
    for names in (("action",), ("model", "tier"), ("env",)):
        layout.value(*names)
    return cast("Peek", built.reader(layout.peeking()))


def _sample() -> Facts:
    facts = Facts()
    facts.action.value, facts.model.tier.value = "é", -1
    facts.model.retired.value, facts.evidence.psi_max.value = False, 0.25
    facts.actor.roles.extend(("a", ""))
    facts.evidence.metrics["ks"] = 0.0
    for psi in (0.5, 0.0):
        facts.evidence.features.add().psi.value = psi
    one = facts.approvals.add()
    one.issuer.value, one.approved.value = "hr", True
    one.roles.append("validator")
    one.at.seconds, one.at.nanos = 2, 3
    return facts


def build(into: Path = BUILT) -> None:
    """Compile. Raises CalledProcessError or FileNotFoundError without a C compiler, or
    without the headers of this Python.
    """
    fresh = into.with_name(into.name + ".new")
    compiler = os.environ.get("CC", "cc")
    headers = sysconfig.get_paths()["include"]
    said = ["-O3", "-shared", "-fPIC", f"-I{headers}", "-o", str(fresh), str(SOURCE)]
    subprocess.run([compiler, *said], check=True)  # noqa: S603  # whoever builds chose it
    fresh.replace(into)


def main() -> int:
    build()
    found = Compiled.load(BUILT) is not None
    said = "is used" if found else "is not used: it does not agree with protobuf"
    sys.stdout.write(f"{BUILT} was built and {said}\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())

"""Which bundle decides, compiled and remembered; and the one the program came with.

A tenant that has never had a bundle gets the packaged one, as events of its own log:
their ids are derived, so that however many processes start, it is installed once.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from typing import Final
from uuid import uuid5

from modelkeep.decider import Actor, Context
from modelkeep.errors import Invalid, Refused, Unavailable, Violation
from modelkeep.ledger import EVENT_IDS, Order, stream_name
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.defaults import baseline
from modelkeep.policy.program import Program
from modelkeep.policy.trial import Trial, tried
from modelkeep.service import Host
from modelkeep.views import Reader
from modelkeep_services.policy import views
from modelkeep_services.policy.domain.bundle import BUNDLE, Checked, InstallBundle

REMEMBERED: Final = 16
SHOWN: Final = 10


@dataclass(frozen=True)
class InForce:
    """`digest` is the bundle as it stands in the log. The program that reads it now may
    be another than approved it; `same_engine` says whether it is not.
    """

    digest: str
    name: str
    version: str
    program: Program

    @property
    def same_engine(self) -> bool:
        return self.program.bundle.digest == self.digest


class Programs:
    """Compiled bundles by digest. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, InForce] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, digest: str, text: str) -> InForce:
        with self._lock:
            found = self._known.get(digest)
            if found is None:
                bundle = load_bundle(text)
                found = InForce(digest, bundle.name, bundle.version, bundle.compile())
                self._known[digest] = found
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(digest)
            return found


def stored(read: Reader, digest: str, programs: Programs) -> InForce:
    """Compile a bundle of the log. Raises Unavailable when this program cannot."""
    row = read.get(views.texts, digest)
    if row is None:
        raise Unavailable(f"the text of bundle {digest} is not known yet")
    try:
        return programs.load(digest, row.text)
    except Invalid as error:
        raise Unavailable(f"bundle {digest} no longer reads: {error}") from None


def in_force(read: Reader, host: Host, programs: Programs) -> InForce:
    """Return the bundle that decides for a tenant; install the packaged one if none."""
    active = views.active(read)
    if active is not None:
        return stored(read, active.bundle, programs)
    install(host, read.tenant)
    packaged = package()
    return programs.load(packaged.checked.bundle, packaged.text)


@cache
def package() -> InstallBundle:
    text = baseline()
    bundle = load_bundle(text)
    checked = Checked(
        bundle=bundle.digest,
        version=bundle.version,
        tests=len(bundle.document.tests),
    )
    return InstallBundle(name=bundle.name, text=text, checked=checked)


def install(host: Host, tenant: str) -> None:
    """Put the packaged bundle in force, unless the tenant ever had that name."""
    command = package()
    stream = stream_name("bundle", tenant, command.name)
    actor = Actor("modelkeep", "policy", frozenset({"reactor"}), tenant, human=False)
    now = host.clock.now()
    context = Context(actor, now, now, str(uuid5(EVENT_IDS, f"{stream}/install")))
    # Of two programs with two baselines, who comes first has installed it.
    whole = hashlib.sha256(f"install {command.name}".encode()).hexdigest()
    host.ledger.execute(Order(stream, BUNDLE, command, context, whole))


def check(name: str, text: str) -> Checked:
    """Read, compile and test a proposed bundle, in a process of its own.

    Raises Invalid with every violation; Refused when it has no tests, or they fail.
    """
    trial = _tried(text)
    if trial.name != name:
        raise Invalid.field("name", f"the document calls itself {trial.name}")
    if not trial.tests:
        raise Refused("policy.bundle-tested", f"{name} has no tests", subject=name)
    if failed := trial.failed:
        more = f" and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        raise Refused(
            "policy.bundle-tests-pass",
            f"{len(failed)} of {trial.tests} tests of {name} fail: "
            + " | ".join(failed[:SHOWN])
            + more,
            subject=name,
        )
    return Checked(bundle=trial.digest, version=trial.version, tests=trial.tests)


def _tried(text: str) -> Trial:
    try:
        return tried(text)
    except Invalid as error:
        found = [Violation(f"text.{v.field}", v.description) for v in error.violations]
        raise Invalid(*found) from None

"""Which bundle decides, compiled and remembered; and those the program came with.

A tenant that has never had a bundle gets one of the library, as events of its own log:
their ids are derived, so that however many processes start, it is installed once. A
tenant that has ever had one changes it by proposing another.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final
from uuid import uuid5

from modelkeep.decider import Actor, Context
from modelkeep.errors import (
    Invalid,
    Refused,
    Unavailable,
    Violation,
)
from modelkeep.events.policy import BundleActivated
from modelkeep.ledger import EVENT_IDS, Order, stream_name
from modelkeep.policy import defaults
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.loosening import loosened
from modelkeep.policy.program import Program, program_of
from modelkeep.policy.trial import Trial, tried
from modelkeep.service import Host
from modelkeep.views import Reader
from modelkeep_services.policy import views
from modelkeep_services.policy.domain.bundle import (
    BUNDLE,
    UNKNOWN,
    Checked,
    InstallBundle,
    Standing,
)

REMEMBERED: Final = 16
SHOWN: Final = 10
LISTED: Final = 50
LONGEST: Final = 4_000
STARTER: Final = defaults.NAMES[0]


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
    """Compiled bundles by digest. Thread-safe. `starter` is the name, in the library,
    of what a tenant begins with.
    """

    def __init__(self, starter: str = STARTER) -> None:
        self.starter = starter
        self._known: OrderedDict[str, InForce] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, digest: str, text: str) -> InForce:
        with self._lock:
            found = self._known.get(digest)
            if found is None:
                program = compiled(text)
                bundle = program.bundle
                found = InForce(digest, bundle.name, bundle.version, program)
                self._known[digest] = found
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            self._known.move_to_end(digest)
            return found


@lru_cache(REMEMBERED)
def compiled(text: str) -> Program:
    """Text to program, always the same and a fifth of a second's work.

    Raises Invalid with every violation.
    """
    return program_of(load_bundle(text))


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
    """Return the bundle that decides for a tenant; install the starter if none."""
    active = views.active(read)
    if active is not None:
        return stored(read, active.bundle, programs)
    install(host, read.tenant, programs.starter)
    packaged = package(programs.starter)
    return programs.load(packaged.checked.bundle, packaged.text)


@cache
def package(name: str = STARTER) -> InstallBundle:
    text = defaults.text(name)
    bundle = compiled(text).bundle
    checked = Checked(
        bundle=bundle.digest,
        version=bundle.version,
        tests=len(bundle.document.tests),
    )
    return InstallBundle(name=bundle.name, text=text, checked=checked)


def install(
    host: Host, tenant: str, starter: str = STARTER, *, insist: bool = False
) -> None:
    """Put a bundle of the library in force, unless the tenant ever had any in force.

    Raises Refused, where one insists, for a tenant that has others and never had this.
    """
    begun = [name for name in defaults.NAMES if _was_in_force(host, tenant, name)]
    if insist and begun and starter not in begun:
        raise Refused(
            "policy.dual-control",
            f"{tenant} began with {begun[0]}; to change its rules, propose {starter}",
            subject=starter,
        )
    if begun:
        return
    command = package(starter)
    stream = stream_name("bundle", tenant, command.name)
    actor = Actor("modelkeep", "policy", frozenset({"reactor"}), tenant, human=False)
    now = host.clock.now()
    context = Context(actor, now, now, str(uuid5(EVENT_IDS, f"{stream}/install")))
    # Of two programs with two baselines, who comes first has installed it.
    whole = hashlib.sha256(f"install {command.name}".encode()).hexdigest()
    host.ledger.execute(Order(stream, BUNDLE, command, context, whole))


def _was_in_force(host: Host, tenant: str, name: str) -> bool:
    """Ask the log: views may lag, and a second beginning would undo what was agreed."""
    recorded = host.store.read_stream(stream_name("bundle", tenant, name))
    return any(one.name == BundleActivated.event_name for one in recorded)


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


def compared(read: Reader, text: str, position: int) -> Standing:
    """Hold a bundle that reads against the one in force. What cannot be compared, for
    there is none or it no longer reads, counts as looser.
    """
    active = views.active(read)
    before = read.get(views.texts, active.bundle) if active is not None else None
    if active is None or before is None:
        return Standing(stood_at=position)
    return Standing(
        current=active.bundle,
        stood_at=position,
        loosens=_loosens(before.text, text),
        lines_changed=_lines_changed(before.text, text),
    )


def _loosens(before: str, after: str) -> tuple[str, ...]:
    """Compiled in this process: whoever comes here has passed its trial."""
    try:
        old, new = compiled(before).bundle, compiled(after).bundle
    except Invalid:
        return (UNKNOWN,)
    found = [str(one)[:LONGEST] for one in loosened(old, new)]
    more = [f"and {len(found) - LISTED} more"] if len(found) > LISTED else []
    return (*found[:LISTED], *more)


def _lines_changed(before: str, after: str) -> int:
    """Lines that came or that went, whichever are more; moved ones are no change."""
    had, has = Counter(before.split("\n")), Counter(after.split("\n"))
    return max((has - had).total(), (had - has).total())


def failure(name: str, digest: str, text: str) -> str:
    """Say why this program cannot put a bundle in force; empty when it can."""
    try:
        checked = check(name, text)
    except (Invalid, Refused) as error:
        return str(error)[:LONGEST]
    if checked.bundle != digest:
        return f"this program reads it as {checked.bundle}: its engine is another"
    return ""

"""Verdicts of a plan that is asked often: what `program.py` says, sooner.

`native.py` writes a plan's conditions as one Python function; here that function also
gives what their explanations show, since every fact is already at hand. All else that a
plan says is the same every time and made once: who denies, by what the rules came to,
and the words of each rule. What cannot be written down is asked of the program, a rule
or the whole question. A test holds both against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import groupby
from math import isfinite
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.policy.approvals import (
    VOICE,
    Duty,
    Heard,
    Hearing,
    Owed,
    count,
    hearing,
    tally,
)
from modelkeep.policy.approvals import settled as seats_filled
from modelkeep.policy.bundle import ASSERTING, Bundle
from modelkeep.policy.decode import Compiled as Built
from modelkeep.policy.engine import Bound, Rejected
from modelkeep.policy.engine import Rule as Compiled
from modelkeep.policy.explain import (
    MAX_SHOWN,
    Comparison,
    Operand,
    Plain,
    Side,
    View,
    Walk,
    elapsed,
    shown,
)
from modelkeep.policy.facts import Kind, Path
from modelkeep.policy.layout import Layout
from modelkeep.policy.native import (
    FALSE,
    NANOS,
    SKIPPED,
    TRUE,
    UNANSWERED,
    NoAnswer,
    Untranslated,
    Writer,
    conditional,
    message,
    slot,
)
from modelkeep.policy.native import counted as counted_by
from modelkeep.policy.quorum import Person
from modelkeep.policy.ruling import (
    Half,
    Head,
    Noted,
    Owing,
    Plan,
    Step,
    concluded,
    denies,
    fits,
    noted,
    permitted,
    result,
    seen,
    stated,
)
from modelkeep.policy.verdict import (
    Decision,
    Outcome,
    RuleResult,
    Verdict,
)

Barred: TypeAlias = "tuple[str, dict[Person, str]] | None"
"""What seats are counted by: a digest, and who may not fill them (a plain pair is the
same key); None: not all of it is there.
"""
OUTCOMES: Final = (Outcome.MISSING, Outcome.FALSE, Outcome.TRUE, Outcome.SKIPPED)
ANSWERS: Final[dict[int, tuple[bool, bool]]] = {
    SKIPPED: (False, False),
    FALSE: (True, False),
    TRUE: (True, True),
}
"""What a rule's halves said, by what it came to."""
MOST_KNOWN: Final = 4_096
MICRO: Final = 1_000
SPANS: Final = ((86_400 * 10**6, "d"), (3_600 * 10**6, "h"), (60 * 10**6, "m"))
new: Final = tuple.__new__
EPOCH: Final = datetime.fromisoformat("1970-01-01")
CLOCK: Final = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60)]
"""Every minute of a day."""


class Settled(NamedTuple):
    """What follows from what every rule came to, but for people.

    `quiet`: nothing in it needs words. `whole`: what was required is there.
    """

    outcomes: tuple[Outcome, ...]
    denies: tuple[bool, ...]
    denied: bool
    quiet: bool
    whole: bool
    owed: tuple[tuple[int, Duty], ...]
    untold: bool
    noted: Noted


G = TypeVar("G", Facts, bytes)
Spoken: TypeAlias = "tuple[tuple[Barred, ...], Hearing]"
"""What each duty is counted by, and what people said."""
Told: TypeAlias = "tuple[Settled, tuple[RuleResult, ...], tuple[Barred, ...], Hearing]"


@dataclass(frozen=True)
class Way(Generic[G]):
    """What a plan says of facts in one form. `gate` gives None where it denies."""

    gate: Callable[[G], Spoken | None]
    tell: Callable[[G], Told]


class Quick:
    """One plan. Raises Untranslated for a plan whose facts cannot be read."""

    def __init__(self, bundle: Bundle, plan: Plan, built: Built | None = None) -> None:
        """With what was built, bytes can be asked as they are."""
        self.plan = plan
        self.known: dict[tuple[int, ...], Settled] = {}
        self._message: Way[Facts] = self._way(bundle)
        self._flat: Way[bytes] | None = None
        if built is not None:
            with suppress(Untranslated):
                self._flat = self._way(bundle, built)

    def _way(self, bundle: Bundle, built: Built | None = None) -> Way[G]:
        def teller() -> Teller:
            layout = None if built is None else Layout()
            return Teller(bundle, self.plan, built, layout, settle=self.settled)

        gate, tell = teller().gate(), teller().tell()
        return Way(
            cast("Callable[[G], Spoken | None]", gate),
            cast("Callable[[G], Told]", tell),
        )

    def settled(self, said: tuple[int, ...]) -> Settled:
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        found = self.known[said] = settle(self.plan, said)
        return found

    def decide(self, given: Facts) -> Decision | None:
        """The decision alone; None where only the program can tell."""
        return self._decided(self._message, given)

    def decide_bytes(self, stored: bytes) -> Decision | None:
        return None if self._flat is None else self._decided(self._flat, stored)

    def _decided(self, way: Way[G], given: G) -> Decision | None:
        try:
            spoken = way.gate(given)
        except (ArithmeticError, NoAnswer, Rejected):
            return None
        if spoken is None:
            return Decision.DENY
        owed, (duties, heard) = False, spoken
        for one, known in zip(self.plan.owing, duties, strict=True):
            if known is None:
                continue
            filled = seats_filled(one.duty, heard, *known)
            if filled is None:
                return Decision.DENY
            owed = owed or not filled
        return Decision.PENDING if owed else Decision.ALLOW

    def explain(self, given: Facts, head: Head) -> Verdict | None:
        """The verdict; None where only the program can tell."""
        return self._explained(self._message, given, head)

    def explain_bytes(self, stored: bytes, head: Head) -> Verdict | None:
        """The same of bytes; None, too, for those that are not as facts are kept."""
        return None if self._flat is None else self._explained(self._flat, stored, head)

    def _explained(self, way: Way[G], given: G, head: Head) -> Verdict | None:
        try:
            settled, results, barred, heard = way.tell(given)
        except (ArithmeticError, NoAnswer, Rejected):
            return None
        if settled.untold:
            return None
        counts = [
            count(duty, message(given))
            if (known := barred[number]) is None
            else tally(duty, heard, *known)
            for number, duty in settled.owed
        ]
        if not settled.quiet or [one for one in counts if one.rejected or one.missing]:
            needed = [] if settled.whole else lacking(self.plan, message(given))
            noted = settled.noted
            return concluded(self.plan, head, results, noted, needed, counts, [])
        owed: tuple[Owed, ...] = ()
        said: tuple[Heard, ...] = ()
        for one in counts:
            owed, said = owed + one.owed, said + one.heard
        decision = Decision.PENDING if owed else Decision.ALLOW
        sentences = tuple([one.sentence() for one in owed]) if owed else ()
        stated, proposed = self.plan.stated, settled.noted.commands
        return new(
            Verdict,
            (decision, *head, results, (), owed, said, proposed, (), stated, sentences),
        )


def lacking(plan: Plan, given: Facts) -> list[str]:
    return [path.text for path in plan.require if not stated(path.read(given))]


def settle(plan: Plan, said: tuple[int, ...]) -> Settled:
    of_rules, of_duties = said[1 : len(plan.steps) + 1], said[len(plan.steps) + 1 :]
    results = [
        RuleResult(
            step.policy.id,
            step.rule.id,
            step.policy.kind,
            step.rule.severity,
            OUTCOMES[one],
            denies(step.policy, step.rule, OUTCOMES[one]),
        )
        for step, one in zip(plan.steps, of_rules, strict=True)
    ]
    results = list(permitted(results))
    known = noted(plan, results)
    told = dict(zip((one.duty for one in conditional(plan)), of_duties, strict=True))
    seated = [one.duty for one in plan.owing if one.duty.seats]
    owed = [(n, duty) for n, duty in enumerate(seated) if told.get(duty, TRUE) == TRUE]
    whole, untold = said[0] == TRUE, UNANSWERED in of_duties
    denied = bool(known.denying) or bool(plan.unmatched) or not whole or untold
    noisy = denied or bool(known.warning) or bool(known.escalating)
    return Settled(
        tuple(one.outcome for one in results),
        tuple(one.denies for one in results),
        denied,
        not noisy,
        whole,
        tuple(owed),
        untold,
        known,
    )


# --- writing it --------------------------------------------------------------------


@dataclass
class Teller(Writer):
    """Writes what the rules came to, and what their operands were."""

    settle: Callable[[tuple[int, ...]], Settled] | None = None
    number: int = 0
    constants: dict[str, str] = field(default_factory=dict)

    def gate(self) -> object:
        """None as soon as something denies; else what each duty is counted by."""
        self.read, heard = self._shown_or_counted(), self._heard()
        if self.plan.unmatched:
            self.lines.append("return None")
            return self._made()
        for policy, steps in groupby(self.plan.steps, key=lambda one: one.policy):
            self._pass(policy.kind, list(steps))
        for path in self._paths():
            self._once(path)
        self.lines.append(f"if ({self._needed()}) != {TRUE}: return None")
        told = [self._counted_by(one) for one in self.plan.owing]
        self.lines.append(f"return ({''.join(told)}), {heard}")
        return self._made()

    def _pass(self, kind: str, steps: Sequence[Step]) -> None:
        granted = []
        for step in steps:
            if kind in ASSERTING and step.rule.severity != "block":
                continue  # it warns, and nobody asked for words
            for half in step.halves:
                for path in (*half.paths, *(path for path, _ in half.lists)):
                    self._once(path)
            number = self._rule(step)
            if kind == "permit":
                granted.append(f"{number} == {TRUE}")
                continue
            stops = {"forbid": f"!= {FALSE}", "trigger": f"not in ({FALSE}, {TRUE})"}
            self.lines.append(
                f"if {number} {stops.get(kind, f'< {TRUE}')}: return None"
            )
        if granted:
            self.lines.append(f"if not ({' or '.join(granted)}): return None")

    def _once(self, path: Path) -> None:
        if path.text not in self.there:
            self._read(path)

    def _counted_by(self, one: Owing) -> str:
        """Nothing for a duty that is not owed, or has no seats."""
        if one.when is not None:
            self.lines.append(f"owed = {self._owed(one)}")
            self.lines.append(f"if owed == {UNANSWERED}: return None")
        if not one.duty.seats:
            return "None, "
        people = self._people(one.duty)
        if one.when is None:
            return f"{people}, "
        name = self._name()
        self.lines.append(f"{name} = ({people}) if owed == {TRUE} else None")
        return f"{name}, "

    def _name(self) -> str:
        self.number += 1
        return f"d{self.number}"

    def _shown_or_counted(self) -> set[str]:
        seated = [one.duty for one in self.plan.owing if one.duty.seats]
        read = {path.text for path in self.plan.paths}
        return read | {path.text for path in counted_by(seated)}

    def tell(self) -> object:
        heard = self._heard()
        self._settle()
        self.lines.append("outcomes, denies = settled[0], settled[1]")
        told = [self._result(n, step) for n, step in enumerate(self.plan.steps)]
        barred = self._barred()
        self.lines.append(f"return settled, ({''.join(told)}), {barred}, {heard}")
        return self._made()

    def _settle(self) -> None:
        self.read = self._shown_or_counted()
        told = self._numbers()
        names = [f"n{n}" for n in range(len(told))]
        for name, one in zip(names, told, strict=True):
            self.lines.append(f"{name} = {one}")
        owner = getattr(self.settle, "__self__", None)
        self.given |= {"new": new, "settle": self.settle}
        self.given["known"] = owner.known if isinstance(owner, Quick) else {}
        self.lines.append(f"said = ({', '.join(names)},)")
        self.lines.append("settled = known.get(said) or settle(said)")

    def _given(self, value: object, kind: str = "k") -> str:
        """A name for a constant."""
        name = f"{kind}{len(self.given)}"
        self.given[name] = value
        return name

    def _text(self, text: Plain | tuple[str, ...]) -> str:
        """Words and limits as Python writes them, or a name for the others."""
        plain = isinstance(text, (bool, int, str, tuple))
        if plain or (isinstance(text, float) and isfinite(text)):
            return repr(text)
        known = self.constants.get(repr(text))
        if known is None:
            known = self.constants[repr(text)] = self._given(text)
        return known

    # --- people --------------------------------------------------------------------

    def _heard(self) -> str:
        """What people said, where seats are theirs; before anything else is read."""
        if not any(one.duty.seats for one in self.plan.owing):
            return "None"
        if self.layout is None:
            self.given["hearing"] = hearing
            return "hearing(g)"
        voices = self.layout.rows(("approvals",), VOICE)
        now = self.layout.value("now")
        share = self.layout.value("deployment", "traffic_share")
        return f"({slot(now)}, {slot(share)}, {slot(voices)})"

    def _barred(self) -> str:
        duties = [one.duty for one in self.plan.owing if one.duty.seats]
        return f"({''.join(f'{self._people(one)}, ' for one in duties)})"

    def _people(self, duty: Duty) -> str:
        """Who comes first in the bundle's order names the reason, so goes in last."""
        entries = [
            self._who(issuer.text, subject.text) for issuer, subject in duty.excluding
        ]
        people = f"{{{', '.join(reversed(entries))}}}"
        wanted = " and ".join(dict.fromkeys(self._countable(duty)))
        return f"({self.values[duty.bound_to.text]}, {people}) if {wanted} else None"

    def _who(self, issuer: str, subject: str) -> str:
        who = self._text(issuer.removesuffix(".issuer").removesuffix("[]"))
        if "[]" not in issuer:
            return f"({self.values[issuer]}, {self.values[subject]}): {who}"
        pairs = f"zip({self.columns[issuer]}, {self.columns[subject]})"
        return f"**dict.fromkeys({pairs}, {who})"

    # --- rules ---------------------------------------------------------------------

    def _result(self, n: int, step: Step) -> str:
        number = f"n{n + 1}"
        slow = self._given(partial(self._slow, step), "slow")
        asked = f"{slow}(g, {number}, denies[{n}])"
        shown = self._shown(step)
        if not shown:
            return f"{asked}, "
        fast = self._fast(n, step, shown, number)
        if len(shown) == len(step.halves) + 1:
            return f"({fast} if {number} else {asked}), "
        few = " or ".join(f"{number} == {one}" for one in shown)
        return f"({fast} if {few} else {asked}), "

    def _fast(self, n: int, step: Step, shown: dict[int, str], number: str) -> str:
        when = shown.get(SKIPPED)
        said = shown.get(TRUE) or shown.get(FALSE) or when
        if when is not None and said != when:
            said = f"({when} if {number} == {SKIPPED} else {said})"
        fields = [
            self._text(step.policy.id),
            self._text(step.rule.id),
            self._text(step.policy.kind),
            self._text(step.rule.severity),
            f"outcomes[{n}]",
            f"denies[{n}]",
            str(said),
            "()",
            self._text(step.rule.message or ""),
            "''",
            self._text(step.references),
        ]
        return self._record(RuleResult, fields)

    def _shown(self, step: Step) -> dict[int, str]:
        """The operands' text by what the rule came to, where they can be written."""
        found: dict[int, str] = {}
        both = self.bundle.rules[step.policy.id, step.rule.id].both
        last, compiled = step.halves[-1], both[-1]
        for number, half, rule, holds in (
            (FALSE, last, compiled, False),
            (TRUE, last, compiled, True),
            (SKIPPED, step.halves[0], both[0], False),
        ):
            if number == SKIPPED and len(both) == 1:
                continue
            try:
                found[number] = self._operands(half, rule, holds=holds)
            except Untranslated:
                continue
        return found

    def _operands(self, half: Half, rule: Compiled, *, holds: bool) -> str:
        return f"({''.join(self._operand(one, rule, holds) for one in half.atoms)})"

    def _operand(self, atom: Comparison | Walk, rule: Compiled, holds: bool) -> str:  # noqa: FBT001
        if isinstance(atom, Walk):
            fields = self._walked(atom, holds=holds)
        else:
            left, right = atom.left, atom.right
            said = ["''", "''", "None"]
            if right is not None:
                words = [self._text(atom.op), self._text(right.text)]
                said = [*words, self._side(right, rule)]
            fields = [self._text(left.text), self._side(left, rule), *said, "()"]
        return f"{self._record(Operand, fields)}, "

    def _record(self, of: type[RuleResult | Operand], fields: Sequence[str]) -> str:
        """A NamedTuple of these, made without its own `__new__`, which is slow."""
        name, given = of.__name__, ", ".join(fields)
        if self.built is None:
            self.given[name] = of
            return f"new({name}, ({given}))"
        self.given.setdefault(name, self.built.record(of))
        return f"{name}({given})"

    def _walked(self, atom: Walk, *, holds: bool) -> list[str]:
        items = self.values.get(atom.over)
        if items is None or "[]" in atom.over or holds is (atom.kind != "all"):
            raise Untranslated(atom.over)  # it names the items that decided it
        limits = [f"{name} = {shown(self.plan.limits[name])}" for name in atom.params]
        return [
            self._text(atom.over),
            f"len({items})",
            self._text(atom.kind),
            self._text(atom.body),
            self._text(", ".join(limits)) if limits else "None",
            "()",
        ]

    def _side(self, side: Side, rule: Compiled) -> str:
        if side.const is not None:
            return self._text(side.const)
        if side.computed is not None and side.node is not None:
            return self._computed(side, rule)
        if side.text in self.plan.limits:
            return self._text(self.plan.limits[side.text])
        path = next((p for p in self.plan.paths if p.text == side.text), None)
        if path is None or "[]" in side.text:
            raise Untranslated(side.text)
        value = self.values[side.text]
        if path.kind is Kind.TIMESTAMP:
            self.given["stamp"] = stamp
            return f"stamp({value})"
        if path.kind is Kind.LIST and texts(path.hops[-1].field, side.text):
            return f"{value}[:{MAX_SHOWN}]"
        if path.kind in {Kind.BOOL, Kind.INT, Kind.DOUBLE, Kind.STRING}:
            return value
        raise Untranslated(side.text)

    def _computed(self, side: Side, rule: Compiled) -> str:
        if side.node is None:
            raise Untranslated(side.text)
        kind = rule.checked.type_of(side.node)
        said = self._node(side.node, {}, rule.checked)
        if kind == "duration":
            self.given["lasting"] = lasting
            return f"lasting({said})"
        if kind not in {"int", "double", "string", "bool"}:
            raise Untranslated(side.text)
        return said

    def _slow(  # as the program does it
        self,
        step: Step,
        stored: Facts | bytes,
        number: int,
        denying: bool,  # noqa: FBT001
    ) -> RuleResult:
        """What is not written down, or lacks its facts."""
        given = message(stored)
        paths = [p for half in step.halves for p in half.paths]
        paths += [p for half in step.halves for p, _ in half.lists]
        if number == UNANSWERED:
            # Its facts are not all there, so nothing is asked of the engine.
            values = {path.text: path.read(given) for path in paths}
            view = View(values, self.plan.limits, Bound(None))
            fit = [True if fits(one, view) else None for one in step.halves]
            return result(step, view, fit)._replace(denies=denying)
        view = seen(self.plan, given, self.bundle.engine)
        answers = ANSWERS[number][-len(step.halves) :]
        return result(step, view, [*answers])._replace(denies=denying)


def texts(field: str, text: str) -> bool:
    """Whether a list holds words: those of messages are shown by the program."""
    at = Facts.DESCRIPTOR
    for name in text.split("."):
        found = at.fields_by_name[name]
        if found.message_type is None:
            return name == field
        at = found.message_type
    return False


@lru_cache(maxsize=4_096)
def dated(day: int) -> str:
    """Write a day since 1970."""
    return (EPOCH + timedelta(days=day)).date().isoformat()


def stamp(nanos: int) -> str:
    """Write a moment as protobuf does, from nanoseconds since 1970.

    >>> stamp(0), stamp(1_500_000_000), stamp(-1)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500Z', '1969-12-31T23:59:59.999999999Z')
    """  # noqa: E501 - as long as it is
    seconds, rest = divmod(nanos, NANOS)
    day, second = divmod(seconds, 86_400)
    said = f"{dated(day)}T{CLOCK[second // 60]}:{CLOCK[second % 60][3:]}"
    if not rest:
        return f"{said}Z"
    for size, digits in ((10**6, 3), (10**3, 6), (1, 9)):
        if rest % size == 0:
            return f"{said}.{rest // size:0{digits}}Z"
    raise AssertionError(nanos)


def lasting(nanos: int) -> str:
    """Write a span; raise NoAnswer for one finer than the engine gives."""
    micros, rest = divmod(nanos, MICRO)
    if rest:
        raise NoAnswer("finer than a microsecond")
    for size, unit in SPANS:
        if micros % size == 0 != micros:
            return f"{micros // size}{unit}"
    return elapsed(micros / 10**6)

"""A candidate bundle on history: what it would have said of the questions once asked.

Each verdict stored the facts it was given on, so the candidate answers the very same
question. This is first order and nothing more: a verdict that flips would have changed
what happened after it, and what would have been asked then is not known.

Three answers are possible of a candidate, and a fourth of history: where the candidate
needs a fact that the bundle of then never asked for, and that is not among the facts,
nobody can say what it would have been. Such a verdict is *not evaluable*: neither an
allow nor a deny. A fact that was asked for then and was missing is missing evidence, as
it was then.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import a2b_base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.errors import Invalid
from modelkeep.policy import facts as reading
from modelkeep.policy.batch import Asked, Asking, Batch
from modelkeep.policy.bundle import OWED
from modelkeep.policy.facts import DESCRIPTOR_DIGEST, MAX_BYTES, Gap, Path
from modelkeep.policy.native import counted, message
from modelkeep.policy.program import Program
from modelkeep.policy.ruling import Half, Plan, short
from modelkeep.policy.verdict import Outcome
from modelkeep_services.policy.backtest_report import (
    INCOMPLETE,
    NOT_EVALUABLE,
    NOT_IN_BUNDLE,
    UNCOVERED,
    Assumed,
    Cell,
    Exemplar,
    Report,
    Rule,
)
from modelkeep_services.policy.history import Around, Given, Past, Period
from modelkeep_services.policy.judge import Answer
from modelkeep_services.policy.replay import again
from modelkeep_services.policy.stored_artifacts import CHANGED

EXEMPLARS: Final = 3
SENTENCES: Final = 5


LATEST: Final = datetime.max.replace(tzinfo=UTC)
EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Came:
    """What the candidate says of one question; often of many."""

    verdict: str
    denying: frozenset[str]
    lacking: tuple[str, ...] = ()
    """Facts it needs and that history does not have."""
    denied_anyway: bool = False
    """Not evaluable, and yet stopped by a rule that has all its facts."""
    owed: int = 0
    proposals: frozenset[str] = frozenset()
    escalating: int = 0
    why: str = ""


@dataclass(eq=False)
class Hit:
    """An answer of rules alone, what it comes to, and how often it was given."""

    asking: Asking
    came: Came
    count: int = 0


def backtest(
    candidate: Program,
    history: Iterable[Past],
    around: Around,
    period: Period,
    assumed: Assumed | None = None,
) -> Report:
    """Ask the candidate everything that was asked in a period."""
    bundle = candidate.bundle
    report = Report(
        bundle.digest,
        bundle.name,
        bundle.version,
        period,
        assumed or Assumed(),
        rules={
            f"{policy}/{rule}": Rule(f"{policy}/{rule}")
            for policy, rule in candidate.halves
            if rule != OWED
        },
        prices=around.prices,
    )
    Backtest(candidate, around, report).run(history)
    return report


class Backtest:
    """One run. What many verdicts have in common is counted once, at the end."""

    def __init__(self, candidate: Program, around: Around, report: Report) -> None:
        self._candidate, self._around, self._report = candidate, around, report
        self._batch = Batch(candidate)
        self._hits: dict[Asked, Hit] = {}
        self._quiet: dict[tuple[Came, int | None, str, str, int], int] = {}
        self._asked_then: dict[tuple[str, str, str, str | None], frozenset[str]] = {}

    def run(self, history: Iterable[Past]) -> None:
        report = self._report
        first, last = LATEST, EARLIEST
        for past in history:
            first, last = min(first, past.known_at), max(last, past.known_at)
            self._take(past, self._answer(past.given))
        for asked, hit in self._hits.items():
            self._tally(hit.asking, asked, hit.count)
        for (came, tier, action, was, escalated), count in self._quiet.items():
            self._count(came, tier, action, was, escalated, count)
        report.verdicts = sum(cell.count for cell in report.cells.values())
        if report.verdicts:
            report.first, report.last = first, last

    # --- the candidate's answer ----------------------------------------------------

    def _answer(self, given: Given) -> Came:
        raw = a2b_base64(given.facts)
        # The shortest way, without reading all of the facts; often it is enough.
        asking = self._batch.asking_bytes(raw)
        told = asking.ask_bytes(raw) if asking is not None else None
        if asking is None or told is None or given.envelope is not None:
            return self._read(given, raw)
        asked, spoken, artifacts = told
        if artifacts == CHANGED or self._of_people(given, asked, spoken):
            return self._read(given, raw)
        return self._known(given, raw, asking, asked)

    def _read(self, given: Given, raw: bytes) -> Came:
        try:
            facts = Facts.FromString(raw)
        except DecodeError:
            return self._unreadable("its facts cannot be read")
        if given.descriptor != DESCRIPTOR_DIGEST and _strange(facts):
            return self._unreadable("its facts have fields that this program has not")
        fits = len(raw) <= MAX_BYTES and given.envelope is None
        asking = self._batch.asking(facts) if fits else None
        asked = asking.ask(facts) if asking is not None else None
        if asking is None or asked is None:
            return self._judged(given, facts)
        spoken, artifacts = len(facts.approvals), facts.version.artifacts.value
        if artifacts == CHANGED or self._of_people(given, asked, spoken):
            return self._judged(given, facts)
        return self._known(given, facts, asking, asked)

    def _of_people(self, given: Given, asked: Asked, spoken: int) -> bool:
        """Whether the answer depends on what people said or allowed."""
        if asked.denied:
            return bool(given.waivers)
        return bool(asked.owed and (given.approvals or spoken))

    def _known(
        self, given: Given, facts: Facts | bytes, asking: Asking, asked: Asked
    ) -> Came:
        """What an answer of rules alone comes to."""
        hit = self._hits.get(asked)
        if hit is None:
            hit = self._hits[asked] = Hit(asking, _came(asked))
        hit.count += 1
        if asked.denied and (asked.lacks or not asked.complete):
            lacking = self._lacking(given, message(facts), asking.plan, asked)
            if lacking:
                sure = {asked.rules[n] for n in asked.lacks}
                anyway = bool(asked.denying - sure) or not asked.covered
                return Came(NOT_EVALUABLE, frozenset(), lacking, anyway)
        return hit.came

    def _judged(self, given: Given, facts: Facts) -> Came:
        """The long way, as it is done live."""
        try:
            answer = again(self._candidate, given, facts)
        except Invalid as error:
            return self._unreadable(str(error))
        for said in answer.rules:
            rule = self._report.rules[said.rule]
            rule.asked += said.outcome != "skipped"
            rule.unanswered += said.outcome in {"missing", "empty", "error"}
            rule.fired += _fires(
                said.kind, said.severity, said.outcome, denies=said.denies
            )
        denying = frozenset(one.rule for one in answer.rules if one.denies)
        lacking = self._not_there(given, facts, answer)
        if answer.verdict == "deny" and lacking:
            sure = {o.rule for o in answer.rules if o.denies and not o.missing}
            return Came(NOT_EVALUABLE, frozenset(), lacking, bool(sure))
        return Came(
            answer.verdict,
            denying,
            owed=sum(one.count for one in answer.owed)
            if answer.verdict == "pending"
            else 0,
            proposals=frozenset(
                f"{one.rule}: {one.command}" for one in answer.proposals
            ),
            escalating=len(answer.escalations),
            why=INCOMPLETE if answer.rules else NOT_IN_BUNDLE,
        )

    def _unreadable(self, why: str) -> Came:
        self._report.unreadable[why] += 1
        return Came(NOT_EVALUABLE, frozenset(), why=why)

    # --- what history lacks --------------------------------------------------------

    def _lacking(
        self, given: Given, facts: Facts, plan: Plan, asked: Asked
    ) -> tuple[str, ...]:
        found = dict.fromkeys(
            text
            for n in asked.lacks
            if asked.rules[n] in asked.denying
            for text in _absent(plan.steps[n].halves, facts)
        )
        if not asked.complete:
            duties = [
                *asked.owed,
                *(one.duty for one in asked.untold if one.duty.seats),
            ]
            paths = [*plan.require, *counted(duties)]
            whens = [one.when for one in asked.untold if one.when is not None]
            found |= dict.fromkeys(_absent(whens, facts))
            found |= dict.fromkeys(p.text for p in paths if _gone(p, facts))
        return tuple(text for text in found if self._unasked(given, facts, text))

    def _not_there(self, given: Given, facts: Facts, answer: Answer) -> tuple[str, ...]:
        return tuple(t for t in answer.missing if self._unasked(given, facts, t))

    def _unasked(self, given: Given, facts: Facts, text: str) -> bool:
        """Whether nobody asked for a fact when the verdict was given."""
        if given.descriptor != DESCRIPTOR_DIGEST:
            return True  # the facts of then may have had no such field
        env = facts.env.value if facts.HasField("env") else None
        tier = str(facts.model.tier.value)
        key = (given.bundle, facts.action.value, tier, env)
        known = self._asked_then.get(key)
        if known is None:
            known = self._asked_then[key] = self._reads(key, facts)
        return text not in known and text not in given.missing

    def _reads(
        self, key: tuple[str, str, str, str | None], facts: Facts
    ) -> frozenset[str]:
        """Every fact that the bundle of then looked at for such a question."""
        always = {"action", "model.tier", "env"}
        program = self._around.program(key[0])
        if program is None or program.unknown(facts) is not None:
            return frozenset(always)
        plan = program.plan(key[1:])
        paths = [*plan.paths, *plan.require, *counted(plan.duties)]
        return frozenset(always | {path.text for path in paths})

    # --- counting ------------------------------------------------------------------

    def _take(self, past: Past, came: Came) -> None:
        given = past.given
        same = came.verdict == given.verdict
        if same and not (given.owed or given.proposals or came.proposals):
            # Nothing to show: most of history, counted at the end.
            escalated = len(given.escalations)
            key = (came, given.tier, given.action, given.verdict, escalated)
            self._quiet[key] = self._quiet.get(key, 0) + 1
            return
        cell = self._count(
            came, given.tier, given.action, given.verdict, len(given.escalations), 1
        )
        if not same and len(cell.exemplars) < EXEMPLARS:
            cell.exemplars.append(self._exemplar(past, came))
        report = self._report
        if came.verdict == NOT_EVALUABLE:
            report.lacking.update(came.lacking)
            return
        if not same:
            report.flipped.add(given.model)
            self._blame(past, came)
        if given.verdict == "pending":
            report.approvals_were += sum(one.count for one in given.owed)
        were = {f"{one.rule}: {one.command}" for one in given.proposals}
        report.proposals_gained.update(came.proposals - were)
        report.proposals_lost.update(were - came.proposals)

    def _count(
        self,
        came: Came,
        tier: int | None,
        action: str,
        was: str,
        escalated: int,
        count: int,
    ) -> Cell:
        report, key = self._report, (tier, action, was, came.verdict)
        cell = report.cells.get(key)
        if cell is None:
            cell = report.cells[key] = Cell(*key)
        cell.count += count
        if came.verdict == NOT_EVALUABLE:
            report.not_evaluable += count
            report.denied_anyway += count * came.denied_anyway
            return cell
        report.escalations_were += count * escalated
        report.escalations_are += count * came.escalating
        report.approvals_are += count * came.owed
        return cell

    def _blame(self, past: Past, came: Came) -> None:
        """Say which rules a flip to a deny, or from one, is of."""
        was = past.stopped_by()
        if came.verdict == "deny":
            for name in came.denying - was or came.denying or {came.why}:
                rule = self._report.rules.setdefault(name, Rule(name))
                rule.stops += 1
                self._example(rule, past, came)
        elif past.given.verdict == "deny":
            for name in was or {INCOMPLETE}:
                rule = self._report.freed.setdefault(name, Rule(name))
                rule.frees += 1
                self._example(rule, past, came)

    def _example(self, rule: Rule, past: Past, came: Came) -> None:
        if len(rule.exemplars) < EXEMPLARS:
            rule.exemplars.append(self._exemplar(past, came))

    def _exemplar(self, past: Past, came: Came) -> Exemplar:
        given = past.given
        if came.lacking:
            says = tuple(f"history has no {text}" for text in came.lacking)
        elif came.verdict == NOT_EVALUABLE:
            says = (came.why,)
        else:
            facts = Facts.FromString(b64decode(given.facts))
            says = again(self._candidate, given, facts).reasons
        return Exemplar(
            given.request,
            past.event,
            given.model,
            past.known_at,
            given.verdict,
            came.verdict,
            says[:SENTENCES] or ("nothing stops it",),
        )

    def _tally(self, asking: Asking, asked: Asked, count: int) -> None:
        unanswered = set(asked.lacks)
        for n, (name, outcome) in enumerate(
            zip(asked.rules, asked.outcomes, strict=True)
        ):
            if outcome is Outcome.SKIPPED:
                continue
            rule, step = self._report.rules[name], asking.plan.steps[n]
            rule.asked += count
            rule.unanswered += count if n in unanswered else 0
            fires = _fires(
                step.policy.kind,
                step.rule.severity,
                outcome.value.lower(),
                denies=name in asked.denying,
            )
            rule.fired += count if fires else 0


def _strange(facts: Facts) -> bool:
    return len(UnknownFieldSet(facts)) > 0


def _came(asked: Asked) -> Came:
    proposals = frozenset(f"{c.policy}/{c.rule}: {c.command}" for c in asked.commands)
    escalating = len(asked.escalating)
    if asked.denied:
        why = INCOMPLETE if asked.covered else UNCOVERED
        return Came(
            "deny", asked.denying, proposals=proposals, escalating=escalating, why=why
        )
    verdict = "pending" if asked.seats else "allow"
    return Came(
        verdict,
        frozenset(),
        owed=asked.seats,
        proposals=proposals,
        escalating=escalating,
    )


def _fires(kind: str, severity: str, outcome: str, *, denies: bool) -> bool:
    """Whether a rule made itself felt: it stopped, warned, or proposed something."""
    if kind == "trigger":
        return outcome != "false"
    warned = severity == "warn" and outcome not in {"true", "skipped"}
    return denies or warned


def _absent(halves: Iterable[Half], facts: Facts) -> Iterator[str]:
    for half in halves:
        yield from (path.text for path in half.paths if _missing(path, facts))
        for path, least in half.lists:
            if short(path.read(facts), least):
                yield path.text


def _missing(path: Path, facts: Facts) -> bool:
    return reading.gap(path.read(facts)) is Gap.MISSING


def _gone(path: Path, facts: Facts) -> bool:
    value = path.read(facts)
    return value == [] or reading.gap(value) is Gap.MISSING

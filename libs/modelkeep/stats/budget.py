"""The risk budget: the bad events a model may still spend, and how fast it spends them.

An accepted rate p0 costs nothing; at the limit p1, kept up for the whole period of N
expected events, everything is spent. With an observed rate p:

    burn  = (p - p0) / (p1 - p0)               1 empties the budget at the period's end
    spent = sum n (p - p0) / (N (p1 - p0))     never below 0
    b_max = (1 - p0) / (p1 - p0)               the burn when every event is bad

Alerting on two windows, a long one that proves and a short one that shows it still
burns, follows Beyer et al., "The Site Reliability Workbook" (2018), chapter 5; there
p0 = 0. Standard library only. Events are counted in slots by the time of the *decision*
(its cohort), so a late outcome restates the slot it belongs to; sums of slots do not
depend on the order in which they arrived. Times are whole seconds since 1970, UTC.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from modelkeep.errors import Invalid
from modelkeep.stats.wilson import NORMAL_95, wilson

HOUR: Final = 3_600
MINUTE: Final = 60
DAY: Final = 24 * HOUR


class Severity(StrEnum):
    PAGE = "page"
    TICKET = "ticket"


class HardStop(StrEnum):
    """What an exhausted budget demands."""

    ROLLBACK = "rollback"
    THROTTLE = "throttle"
    HUMAN = "human"


class Rule(NamedTuple):
    """Alert when burn reaches `burn`, or b_max / `ceiling_share` where that is lower.

    `long` and `short` are seconds, or runs for a batch model. A `ceiling_share` of 0
    leaves `burn` alone.
    """

    name: str
    severity: Severity
    burn: float
    ceiling_share: float
    long: int
    short: int


CONTINUOUS: Final = (
    Rule("fast", Severity.PAGE, 14.4, 4, HOUR, 5 * MINUTE),
    Rule("slow", Severity.PAGE, 6, 8, 6 * HOUR, 30 * MINUTE),
    Rule("creep", Severity.TICKET, 1, 0, 3 * DAY, 6 * HOUR),
)
BATCH: Final = (
    Rule("fast", Severity.PAGE, 14.4, 4, 1, 1),
    Rule("slow", Severity.PAGE, 6, 8, 3, 1),
    Rule("creep", Severity.TICKET, 1, 0, 9, 3),
)


@dataclass(frozen=True, slots=True)
class BudgetDocument:
    """Everything that may be argued about; the defaults are the house's."""

    version: str
    continuous: tuple[Rule, ...] = CONTINUOUS
    batch: tuple[Rule, ...] = BATCH
    least_threshold: float = 1.0
    """A b_max below 8 would page on a burn that does not even exhaust the budget."""
    least_events: float = 10.0
    """A budget of fewer bad events than this is noise: the period is lengthened."""
    low_volume: float = 1_000.0
    """Below so many trials in the long window, the Wilson lower bound must exceed."""
    z: float = NORMAL_95
    hard_stop: HardStop = HardStop.HUMAN

    def __post_init__(self) -> None:
        for rule in (*self.continuous, *self.batch):
            if not 0 < rule.short <= rule.long or rule.burn <= 0:
                raise Invalid.field("rules", f"{rule.name} has no sensible windows")


@dataclass(frozen=True, slots=True)
class Budget:
    """What one kind of bad event may cost a model from `start` to `end`.

    `accepted` is p0, `limit` p1, `expected` N, the events foreseen from start to end.
    `batch`: its slots are runs, and rules count runs instead of seconds.
    """

    accepted: float
    limit: float
    expected: float
    start: int
    end: int
    batch: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.accepted < self.limit <= 1:
            raise Invalid.field("limit", "needs 0 <= accepted < limit <= 1")
        if not 0 < self.expected < math.inf:
            raise Invalid.field("expected", "needs some events")
        if self.end <= self.start:
            raise Invalid.field("end", "a period ends after it starts")

    @property
    def room(self) -> float:
        """Return p1 - p0."""
        return self.limit - self.accepted

    @property
    def events(self) -> float:
        """Return the bad events beyond the accepted ones that may be spent."""
        return self.expected * self.room

    @property
    def steepest(self) -> float:
        """Return b_max, the burn when every event is bad."""
        return (1 - self.accepted) / self.room


class Slot(NamedTuple):
    """The decisions of one stretch of time, or one run, that began at `start`.

    `bad` of `n` have an outcome and it is bad. `pending` more are without outcome;
    `pending_bad` of those are expected to turn out bad (label-free), and burn
    provisionally until a later version of this slot corrects them. `trials` is how many
    independent ones the n stand for, n unless told: the decisions of a window that is
    judged as a whole (AUC) are one.
    """

    start: int
    n: int
    bad: float
    pending: int = 0
    pending_bad: float = 0.0
    trials: float | None = None


class Counted(NamedTuple):
    """Chances to go bad, of which `bad` did; `pending` chances have yet to show."""

    n: int
    bad: int
    pending: int = 0

    def without(self, part: Counted) -> Counted:
        """Late outcomes may have reached the part alone: nothing falls below 0."""
        n = max(0, self.n - part.n)
        bad = min(n, max(0, self.bad - part.bad))
        return Counted(n, bad, max(0, self.pending - part.pending))


class Stretch(NamedTuple):
    """What was counted of one version (`of`) from `start` until before `end`."""

    of: str
    start: int
    end: int
    counted: Counted


class Rate(NamedTuple):
    """What was observed over some slots."""

    n: float
    bad: float
    trials: float
    pending: float

    @property
    def share(self) -> float:
        return self.bad / self.n


@dataclass(frozen=True, slots=True)
class Firing:
    """A rule that fires, with everything that made it."""

    rule: str
    severity: Severity
    threshold: float
    long_burn: float
    long_burn_low: float
    short_burn: float
    events: float
    provisional: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A budget at an instant. Shares are rounded to 4 decimals.

    `spent` is confirmed and provisional together, `low` its lower bound.
    """

    at: int
    spent: float
    low: float
    confirmed: float
    provisional: float
    elapsed: float
    burn: float | None
    firing: tuple[Firing, ...]
    exhausted_at: int | None
    hard_stop: HardStop | None
    unattended_change: bool
    document: str


class Permission(NamedTuple):
    rule: str
    reason: str
    allowed: bool


def window_slot(start: int, decisions: int, *, out_of_band: bool) -> Slot:
    """Return the slot of a window that is judged as a whole, such as an AUC.

    >>> window_slot(0, 500, out_of_band=True).bad
    500
    """
    return Slot(start, decisions, decisions if out_of_band else 0, trials=1.0)


def counted_once(stretches: Sequence[Stretch]) -> list[Counted]:
    """Return each stretch's counts without those of the stretches that lie within it:
    a week is judged and its days are counted, and each decision counts in the
    narrowest that holds it. Stretches that overlap otherwise are left as they are.

    >>> week = Stretch("v1", 0, 7 * DAY, Counted(700, 70))
    >>> monday = Stretch("v1", 0, DAY, Counted(100, 30))
    >>> counted_once([week, monday])
    [Counted(n=600, bad=40, pending=0), Counted(n=100, bad=30, pending=0)]
    """
    found = [stretch.counted for stretch in stretches]
    widest: dict[str, list[Stretch]] = {}
    # What lies within a stretch ends no later and begins no earlier: it comes first.
    order = sorted(
        range(len(stretches)), key=lambda i: (stretches[i].end, -stretches[i].start)
    )
    for place in order:
        stretch = stretches[place]
        before = widest.setdefault(stretch.of, [])
        while before and before[-1].start >= stretch.start:
            found[place] = found[place].without(before.pop().counted)
        before.append(stretch)
    return found


def burn(n: float, bad: float, budget: Budget) -> float | None:
    """Return the burn of `bad` out of `n`, None of nothing. Below p0 it is negative.

    p0 = 1 %, p1 = 3 %: 5 bad of 100 burn (.05 - .01) / .02 = 2.

    >>> round(burn(100, 5, Budget(0.01, 0.03, 1000, 0, 30 * DAY)), 12)
    2.0
    """
    return None if n == 0 else (bad / n - budget.accepted) / budget.room


def spent(slots: Iterable[Slot], budget: Budget) -> float:
    """Return the share of the budget spent, 0 or more, 1 when exhausted.

    The sum is clipped at the end, not slot by slot: a good week pays for a bad one
    whichever came first. Events outside the period do not count.

    >>> month = Budget(0.01, 0.03, 1000, 0, 30 * DAY)
    >>> round(spent([Slot(0, 100, 5), Slot(DAY, 100, 0)], month), 12)
    0.15
    """
    rate = total(_inside(slots, budget))
    return max(0.0, _excess(rate.n, rate.bad, budget) / budget.events)


def spent_low(slots: Iterable[Slot], budget: Budget, document: BudgetDocument) -> float:
    """Return the lower bound of spent: the rate is taken at its Wilson lower bound."""
    rate = total(_inside(slots, budget))
    if rate.n == 0:
        return 0.0
    bad = rate.n * _low(rate, document)
    return max(0.0, _excess(rate.n, bad, budget) / budget.events)


def total(slots: Iterable[Slot]) -> Rate:
    """Add the slots up, provisional events included."""
    kept = [_checked(slot) for slot in slots]
    return Rate(
        n=math.fsum(slot.n + slot.pending for slot in kept),
        bad=math.fsum(slot.bad + slot.pending_bad for slot in kept),
        trials=math.fsum(_trials(slot) for slot in kept),
        pending=math.fsum(slot.pending for slot in kept),
    )


def threshold(rule: Rule, budget: Budget, document: BudgetDocument) -> float:
    """Return the burn from which `rule` fires.

    p0 = 10 %, p1 = 20 %: b_max = 9, so 14.4 becomes 9 / 4.

    >>> tight = Budget(0.10, 0.20, 1000, 0, 30 * DAY)
    >>> round(threshold(CONTINUOUS[0], tight, BudgetDocument("d")), 12)
    2.25
    """
    at = rule.burn
    if rule.ceiling_share:
        at = min(at, budget.steepest / rule.ceiling_share)
    return max(at, document.least_threshold)


def firing(
    slots: Sequence[Slot], budget: Budget, now: int, document: BudgetDocument
) -> tuple[Firing, ...]:
    """Return the rules that fire at `now`, gravest first.

    `slots` may reach back before the period: windows do not stop at its edge. A slot
    belongs to the window that its start lies in, so slots should be no longer than the
    shortest window. A short window without events shows nothing: the latest slot of
    the long window that has some is asked instead.
    """
    rules = document.batch if budget.batch else document.continuous
    known = sorted(
        (s for s in slots if s.start < now and s.n + s.pending),
        key=lambda slot: slot.start,
    )
    found = (_try(rule, known, budget, now, document) for rule in rules)
    return tuple(fired for fired in found if fired is not None)


def exhausted_at(
    slots: Sequence[Slot],
    budget: Budget,
    now: int,
    document: BudgetDocument,
) -> int | None:
    """Return when the budget runs out at the speed of the longest rule's window.

    That may be after the period's end; None when nothing is being spent, `now` when it
    is exhausted already.
    """
    left = 1 - spent(slots, budget)
    if left <= 0:
        return now
    recent, seconds = _recent(slots, budget, now, document)
    rate = total(recent)
    speed = _excess(rate.n, rate.bad, budget) / budget.events
    if speed <= 0 or seconds <= 0:
        return None
    return now + math.ceil(left * seconds / speed)


def status(
    slots: Sequence[Slot], budget: Budget, now: int, document: BudgetDocument
) -> Status:
    """Return everything about the budget at `now`; later slots are not looked at."""
    known = [slot for slot in slots if slot.start < now]
    spent_now, low = spent(known, budget), spent_low(known, budget, document)
    without = [slot._replace(pending=0, pending_bad=0.0) for slot in known]
    confirmed = spent(without, budget)
    recent = total(_recent(known, budget, now, document)[0])
    elapsed = min(1.0, max(0.0, (now - budget.start) / (budget.end - budget.start)))
    speed = burn(recent.n, recent.bad, budget)
    return Status(
        at=now,
        spent=round(spent_now, 4),
        low=round(low, 4),
        confirmed=round(confirmed, 4),
        # what pending labels add; good ones may give back what others spent
        provisional=round(spent_now - confirmed, 4),
        elapsed=round(elapsed, 4),
        burn=None if speed is None else round(speed, 4),
        firing=firing(known, budget, now, document),
        exhausted_at=exhausted_at(known, budget, now, document),
        hard_stop=document.hard_stop if spent_now >= 1 else None,
        unattended_change=spent_now < 1 and low <= elapsed,
        document=document.version,
    )


def may_change(state: Status, *, attended: bool, remedy: bool) -> Permission:
    """Say whether a change may go ahead. `remedy`: it cures what burns this budget."""
    if remedy:
        return Permission(
            "budget.remedy", "it remedies the burning cause", allowed=True
        )
    if state.hard_stop is not None:
        reason = f"the budget is exhausted ({state.spent:.0%} spent)"
        return Permission(
            "budget.exhausted", f"{reason}: {state.hard_stop}", allowed=False
        )
    if not attended and not state.unattended_change:
        reason = f"at least {state.low:.0%} is spent, {state.elapsed:.0%} has elapsed"
        return Permission("budget.ahead", f"{reason}: a person decides", allowed=False)
    return Permission("budget.left", f"{state.spent:.0%} spent", allowed=True)


def lengthened(budget: Budget, document: BudgetDocument) -> Budget:
    """Return the budget over as many whole periods as give it `least_events`.

    N (p1 - p0) = 200 * .02 = 4 events a month: three months hold 12.

    >>> month = Budget(0.01, 0.03, 200, 0, 30 * DAY)
    >>> longer = lengthened(month, BudgetDocument("d"))
    >>> longer.expected, longer.end // DAY
    (600, 90)
    """
    periods = math.ceil(document.least_events / budget.events - 1e-9)
    if periods <= 1:
        return budget
    length = budget.end - budget.start
    return replace(
        budget,
        expected=budget.expected * periods,
        end=budget.start + length * periods,
    )


class Line(NamedTuple):
    """One budget in a business line.

    `worth` is the money (minor units) that all of it stands for, None where no SLO maps
    its metric to money.
    """

    business_line: str
    budget: str
    spent: float
    worth: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class RolledUp:
    """A business line in one currency. Money is in minor units.

    `worst` is the most spent of all its budgets, those without money (`unmapped`)
    included: money must not hide them.
    """

    business_line: str
    currency: str
    worth: int
    spent: int
    share: float | None
    worst: str
    worst_spent: float
    unmapped: tuple[str, ...]


def roll_up(lines: Iterable[Line]) -> tuple[RolledUp, ...]:
    """Add budgets up by business line and currency; currencies are never mixed.

    Lines without any money come with an empty currency. Sorted by name.
    """
    by_line: dict[str, list[Line]] = {}
    for line in lines:
        by_line.setdefault(line.business_line, []).append(line)
    return tuple(
        _rolled(name, currency, members)
        for name, members in sorted(by_line.items())
        for currency in _currencies(members)
    )


def _currencies(members: Sequence[Line]) -> list[str]:
    return sorted({m.currency for m in members if m.worth is not None}) or [""]


def _rolled(name: str, currency: str, members: Sequence[Line]) -> RolledUp:
    mapped = [
        (m.worth, round(m.spent * m.worth))
        for m in members
        if m.worth is not None and m.currency == currency
    ]
    worth = sum(whole for whole, _ in mapped)
    money = sum(part for _, part in mapped)
    worst = max(members, key=lambda member: (member.spent, member.budget))
    return RolledUp(
        business_line=name,
        currency=currency,
        worth=worth,
        spent=money,
        share=round(money / worth, 4) if worth else None,
        worst=worst.budget,
        worst_spent=round(worst.spent, 4),
        unmapped=tuple(sorted(m.budget for m in members if m.worth is None)),
    )


def _excess(n: float, bad: float, budget: Budget) -> float:
    return bad - n * budget.accepted


def _low(rate: Rate, document: BudgetDocument) -> float:
    return wilson(rate.share * rate.trials, rate.trials, document.z).low


def _inside(slots: Iterable[Slot], budget: Budget) -> list[Slot]:
    return [slot for slot in slots if budget.start <= slot.start < budget.end]


def _trials(slot: Slot) -> float:
    return slot.n + slot.pending if slot.trials is None else slot.trials


def _checked(slot: Slot) -> Slot:
    if not (0 <= slot.bad <= slot.n and 0 <= slot.pending_bad <= slot.pending):
        raise Invalid.field("bad", f"{slot.bad} of {slot.n} at {slot.start}")
    return slot


def _recent(
    slots: Sequence[Slot], budget: Budget, now: int, document: BudgetDocument
) -> tuple[list[Slot], int]:
    """Return the slots of the longest rule's window, and the seconds it covers."""
    rules = document.batch if budget.batch else document.continuous
    length = max(rule.long for rule in rules)
    known = sorted((s for s in slots if s.start < now), key=lambda slot: slot.start)
    if budget.batch:
        runs = known[-length:]
        return runs, now - runs[0].start if runs else 0
    found = [slot for slot in known if slot.start >= now - length]
    # a young model has not seen the whole window
    oldest = known[0].start if known else now
    return found, min(length, now - oldest)


def _try(
    rule: Rule,
    known: Sequence[Slot],
    budget: Budget,
    now: int,
    document: BudgetDocument,
) -> Firing | None:
    if budget.batch:
        long, short = known[-rule.long :], known[-rule.short :]
    else:
        long = [slot for slot in known if slot.start >= now - rule.long]
        short = [slot for slot in long if slot.start >= now - rule.short] or long[-1:]
    if not long:
        return None
    proof, still = total(long), total(short)
    at = threshold(rule, budget, document)
    low = (_low(proof, document) - budget.accepted) / budget.room
    long_burn = (proof.share - budget.accepted) / budget.room
    short_burn = (still.share - budget.accepted) / budget.room
    proven = low if proof.trials < document.low_volume else long_burn
    if proven < at or short_burn < at:
        return None
    return Firing(
        rule=rule.name,
        severity=rule.severity,
        threshold=round(at, 4),
        long_burn=round(long_burn, 4),
        long_burn_low=round(low, 4),
        short_burn=round(short_burn, 4),
        events=proof.n,
        provisional=proof.pending > 0,
    )

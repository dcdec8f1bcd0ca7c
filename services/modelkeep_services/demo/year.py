"""A real year: three models come under governance, serve, drift, are questioned.

Nothing is staged: alerts, verdicts and refusals are what the services make of the data.
The one drill, a vendor's silent replacement, is labelled so. Days are New York's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import ClassVar, Final

import grpc
import numpy as np

from modelkeep.api.common.v1 import common_pb2 as com
from modelkeep.api.insight.v1 import insight_pb2 as ins
from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.monitoring.v1 import monitoring_pb2 as mon
from modelkeep.api.policy.v1 import policy_pb2 as pol
from modelkeep_services.demo import (
    artifacts,
    clinic,
    credit,
    flights,
    training,
)
from modelkeep_services.demo.cast import ask
from modelkeep_services.demo.decisions import Columns, Numbers, Rows
from modelkeep_services.demo.live import INTAKE, NOBODY, Live
from modelkeep_services.demo.onboarding import (
    PROD,
    Build,
    add_version,
    approve,
    attach_card,
    deploy,
    evaluate,
    record_lineage,
    register,
    validate,
)
from modelkeep_services.demo.portfolios import CLINIC, CREDIT, FLIGHTS
from modelkeep_services.demo.story import DAY, Story, halves, instant

OPENS: Final = "2013-04-01"
CLOSES: Final = "2014-01-01"
DRILL: Final = "2013-10-01"
WARNINGS: Final = "wrong-warnings"
TWO_DAYS: Final = 8
"""Files, at most; in older ones everybody has landed or been given up."""
SIX_HOURS: Final = np.timedelta64(6, "h")
WARN_FROM: Final = 0.30
"""A flight is flagged from this chance of a late arrival on."""


@dataclass
class Year(Story):
    """Three models, from April to December."""

    opens: ClassVar[np.datetime64] = flights.midnight(OPENS)
    closes: ClassVar[np.datetime64] = np.datetime64(CLOSES)

    flights: Live = field(kw_only=True)
    credit: Live = field(kw_only=True)
    clinic: Live = field(kw_only=True)
    book: tuple[Columns, Numbers] | None = None
    suspended: bool = False
    burning: bool = False
    """Whether a rule of the flights' budget fired after the last file."""
    slots: list[tuple[np.datetime64, np.datetime64]] = field(default_factory=list)
    """The files of two days, oldest first."""
    told_burning: set[tuple[str, str]] = field(default_factory=set)
    watched: int = 0
    paged: int = 0

    @property
    def everybody(self) -> tuple[Live, ...]:
        return self.flights, self.credit, self.clinic

    # --- before it opens ------------------------------------------------------------

    def prepare(self) -> None:
        """Register, tier, build, validate, gate and deploy all three."""
        self.stage.tick(instant(flights.midnight("2013-03-25")))
        for live in self.everybody:
            register(self.desks, self.cast, live.plan)
        self.stage.level()
        for live in self.everybody:
            model = self.get(live.plan.model)
            self.tell.say(
                self.at(), f"{live.plan.model}: registered, tier {model.tier}"
            )
        self._agree()
        self._first_flights()
        self._first_credit()
        self._first_clinic()

    def _agree(self) -> None:
        """What is watched, what an hour of harm costs (an assumption), and budgets."""
        for live, maturity in (
            (self.flights, 24.0),
            (self.credit, 24.0 * 365),
            (self.clinic, 24.0 * 6),
        ):
            request = mon.ConfigureMonitorRequest(
                model=live.plan.model,
                cadence_hours=24.0 * 7,
                grace_hours=24.0 * 9,
                closed_by=mon.CLOSED_BY_CALLER,
                outcome_maturity_hours=maturity,
                feature_sla_hours={"weather": 3.0} if live.feeds else {INTAKE: 24.0},
                reason_codes_compulsory=live.reason_codes,
                play=f"{live.plan.model}-play",
            )
            request.anchor.FromDatetime(instant(flights.midnight(OPENS)))
            ask(self.cast.dana, self.desks.monitoring.ConfigureMonitor, request)
        ask(
            self.cast.omar,
            self.desks.inventory.DefineSlo,
            inv.DefineSloRequest(
                model=FLIGHTS.model,
                slo="warnings-in-time",
                metric="calibration_gap",
                nominal=0.02,
                warning=0.05,
                hard=0.10,
                direction=inv.DIRECTION_RISES,
                money_per_hour=com.Money(minor=120_000, currency="USD"),
                kpi="rebooking-cost",
                play="recalibrate-or-retrain",
            ),
        )
        for model, budget, metric, p0, p1, events in (
            (FLIGHTS.model, WARNINGS, "errors", 0.25, 0.40, 82_000),
            (CLINIC.model, "wrong-readings", "errors", 0.05, 0.25, 90),
        ):
            ask(
                self.cast.rita,
                self.desks.insight.DefineBudget,
                ins.DefineBudgetRequest(
                    model=model,
                    budget=budget,
                    kind=ins.BUDGET_KIND_DEGRADATION,
                    metric=metric,
                    p0=p0,
                    p1=p1,
                    expected_events=events,
                    period=ins.PERIOD_QUARTER,
                    batch=model == CLINIC.model,
                    slo="warnings-in-time" if model == FLIGHTS.model else "",
                ),
            )
        for line, share in (
            ("operations", 0.8),
            ("consumer-lending", 0.5),
            ("diagnostics", 0.25),
        ):
            ask(
                self.cast.rita,
                self.desks.inventory.SetAppetite,
                inv.SetAppetiteRequest(
                    business_line=line,
                    text=f"{line} may spend {share:.0%} of its models' risk budgets",
                    share=share,
                ),
            )

    def _first_flights(self) -> None:
        until = flights.midnight("2013-03-25")
        build, held = self.train(self.flights, "v1", flights.JANUARY, until)
        digest = add_version(self.desks, self.cast, self.stage.home, FLIGHTS, build)
        self.stage.level()
        self.refused("promoted without card or lineage", FLIGHTS, build)
        attach_card(self.desks, self.cast, FLIGHTS, build, digest)
        record_lineage(self.desks, self.cast, FLIGHTS, build, digest)
        self.baseline(self.flights, build, held)
        self.open(self.flights, build, held, self.stated(build, FLIGHTS))

    def _first_credit(self) -> None:
        found = credit.load()
        self.book = (found.book, found.book_outcome)
        graph = training.fit(CREDIT.recipe, found.book, found.book_outcome, "book")
        measured = training.cross_validated(
            CREDIT.recipe, found.book, found.book_outcome
        )
        build = Build(
            "v1",
            graph,
            {"cross-validated on its own book": measured},
            "book",
            training.snapshot(found.book, found.book_outcome),
            training.moved(*halves(found.book)),
        )
        digest = add_version(self.desks, self.cast, self.stage.home, CREDIT, build)
        self.stage.level()
        attach_card(self.desks, self.cast, CREDIT, build, digest)
        record_lineage(self.desks, self.cast, CREDIT, build, digest)
        validate(self.desks, self.cast, CREDIT, build, digest)
        self.baseline_of(self.credit, build, found.book, found.book_outcome)
        self.stage.level()
        verdict = evaluate(
            self.desks,
            self.cast.dana,
            "promote",
            CREDIT,
            "v1",
            share=1.0,
            evidence=self.stated(build, CREDIT),
        )
        self.tell.say(self.at(), f"credit-default v1: {_owed(verdict)}", "warn")
        self._own_approver(verdict)
        for person in (self.cast.rita, self.cast.vik, self.cast.bea):
            verdict = approve(self.desks, person, verdict, "looked at it")
        self.stage.level()
        deploy(self.desks, self.cast, CREDIT, verdict, 1.0)
        self.tell.say(
            self.at(),
            "credit-default v1: Rita, Vik and Bea approved; it serves",
            "good",
        )
        self.credit.serve(self.stage, build, np.arange(200), self.since())

    def _own_approver(self, verdict: pol.Verdict) -> None:
        try:
            approve(self.desks, self.cast.dana, verdict, "I built it, it is fine")
        except grpc.RpcError as refused:
            self.tell.say(
                self.at(), f"dana approves her own: refused, {_why(refused)}", "bad"
            )
        else:
            raise AssertionError("a developer approved her own model")

    def _first_clinic(self) -> None:
        book, malignant, _ = clinic.load()
        graph = clinic.deliver("as approved", book, malignant)
        measured = training.cross_validated(CLINIC.recipe, book, malignant)
        build = Build(
            "v4.1",
            graph,
            {"the vendor's own figures": measured},
            "vendor",
            training.snapshot(book, malignant),
            training.moved(*halves(book)),
        )
        self.builds[CLINIC.model, build.version] = build
        digest = add_version(self.desks, self.cast, self.stage.home, CLINIC, build)
        self.stage.level()
        attach_card(self.desks, self.cast, CLINIC, build, digest)
        record_lineage(self.desks, self.cast, CLINIC, build, digest)
        validate(self.desks, self.cast, CLINIC, build, digest)
        self.baseline_of(self.clinic, build, book, malignant)
        self.stage.level()
        verdict = evaluate(
            self.desks,
            self.cast.dana,
            "promote",
            CLINIC,
            build.version,
            share=1.0,
            evidence=self.stated(build, CLINIC),
        )
        for person in (self.cast.rita, self.cast.vik, self.cast.bea):
            verdict = approve(self.desks, person, verdict, "second readings only")
        self.stage.level()
        deploy(self.desks, self.cast, CLINIC, verdict, 1.0)
        self.tell.say(
            self.at(), "biopsy-reading v4.1 (vendor): approved; it serves", "good"
        )
        self.clinic.serve(self.stage, build, np.arange(100), self.since())

    # --- the drill, and a review that nobody did --------------------------------------

    def special(self, day: np.datetime64) -> None:
        match str(day):
            case "2013-04-02":
                self._schedule_review()
            case "2013-10-01":
                self._swap()
            case "2013-10-15":
                self._catch()
            case "2013-11-01":
                self._restore()
            case "2013-11-15":
                self._review()

    def _schedule_review(self) -> None:
        request = inv.ScheduleReviewRequest(
            model=CREDIT.model, review="half-year", kind="half-yearly"
        )
        request.due_at.FromDatetime(instant(_midnight(np.datetime64("2013-10-02"))))
        ask(self.cast.rita, self.desks.inventory.ScheduleReview, request)

    def _review(self) -> None:
        ask(
            self.cast.rita,
            self.desks.inventory.CompleteReview,
            inv.CompleteReviewRequest(
                model=CREDIT.model,
                review="half-year",
                outcome=inv.REVIEW_OUTCOME_SATISFACTORY,
                notes="late by six weeks; no default has matured, scores are stable",
            ),
        )
        self.tell.say(
            self.at(), f"{CREDIT.model}: the overdue review is done, its debt is cured"
        )

    def _swap(self) -> None:
        book, malignant, _ = clinic.load()
        graph = clinic.deliver("silent replacement", book, malignant)
        digest = artifacts.digest_of(graph)
        self.clinic.model = artifacts.opened(graph, digest)
        self.tell.say(self.at(), "DRILL: the vendor swaps its model and says nothing")

    def _catch(self) -> None:
        """Vik runs the approved file on logged rows and compares."""
        approved = self.builds[CLINIC.model, "v4.1"]
        model = artifacts.opened(approved.graph, approved.digest)
        start = _midnight(np.datetime64(DRILL))
        rows = self.clinic.decisions.between(
            start, _midnight(np.datetime64("2013-10-15"))
        )
        again = model.score(self.clinic.decisions.take(rows))
        differ = sum(
            artifacts.rerun(float(said), float(now)) == "different"
            for said, now in zip(self.clinic.scores[rows], again, strict=True)
        )
        request = inv.RaiseFindingRequest(
            model=CLINIC.model,
            finding="vendor-swap",
            title="Answers are not those of the approved version",
            detail=f"{differ} of {len(rows)} scores are not the approved file's",
            severity=com.SEVERITY_HIGH,
            vector=com.RISK_VECTOR_GOVERNANCE_LAPSE,
            owner=self.cast.omar.subject,
            version=approved.version,
        )
        request.due_at.FromDatetime(self.at() + timedelta(days=10))
        ask(self.cast.vik, self.desks.inventory.RaiseFinding, request)
        ask(
            self.cast.rita,
            self.desks.inventory.Suspend,
            inv.SuspendRequest(model=CLINIC.model, reason="vendor swap (drill)"),
        )
        self.suspended = True
        self.tell.say(
            self.at(),
            f"DRILL: rescoring finds {differ} of {len(rows)} answers different; a "
            "finding is raised and the model suspended",
            "bad",
        )

    def _restore(self) -> None:
        approved = self.builds[CLINIC.model, "v4.1"]
        self.clinic.model = artifacts.opened(approved.graph, approved.digest)
        ask(
            self.cast.omar,
            self.desks.inventory.RespondToFinding,
            inv.RespondToFindingRequest(
                model=CLINIC.model,
                finding="vendor-swap",
                response="the vendor delivers the approved file again, by digest",
            ),
        )
        ask(
            self.cast.vik,
            self.desks.inventory.CloseFinding,
            inv.CloseFindingRequest(
                model=CLINIC.model,
                finding="vendor-swap",
                evidence="rescored 20 logged rows with the approved file: equal",
            ),
        )
        ask(
            self.cast.rita,
            self.desks.inventory.Resume,
            inv.ResumeRequest(model=CLINIC.model, reason="the approved file is back"),
        )
        self.suspended = False
        self.tell.say(self.at(), "DRILL: the approved file is back; the model resumes")

    # --- a day ----------------------------------------------------------------------

    def steps(self) -> Sequence[np.datetime64]:
        count = int((self.closes - np.datetime64(OPENS)) / DAY)
        return [np.datetime64(OPENS) + n * DAY for n in range(count)]

    def play(self, day: np.datetime64) -> None:
        """Decide, learn, move the clock to the day's end, close what is complete."""
        start, end = _midnight(day), _midnight(day + DAY)
        self.special(day)
        if str(day).endswith("-01") and day > np.datetime64(OPENS):
            self.challenge(self.flights, _midnight(day))
        if str(day).endswith("-20") and (month := _month_after(day)) < np.datetime64(
            CLOSES
        ):
            self.begin_training(self.flights, _midnight(month))
        if _weekday(day) == 0:
            self.attend(day)
        *early, (last, _) = pairwise(self._files(start, end))
        for since, until in early:
            self._log(self.flights, since, until)
            self.stage.tick(instant(until))
            self._watch(since, until, again=0)
        before = self.flights.decisions.between(start - DAY, start)
        self._log(self.flights, last, end, before)
        self._log(self.credit, start, end)
        if not self.suspended:
            self._log(self.clinic, start, end)
        self.flights.think_ahead(self.flights.decisions.between(end, end + DAY))
        self.stage.tick(instant(end))
        self._watch(last, end, again=TWO_DAYS)
        if _weekday(day) == 0:  # outcomes of Sunday's flights are in by Monday's end
            week = _midnight(day - 7 * DAY)
            self.close(self.flights, week, start)
            self.close(self.credit, week, start)
            self.close(self.clinic, _midnight(day - 14 * DAY), week)
        self.stage.level()

    def _log(
        self,
        live: Live,
        start: np.datetime64,
        end: np.datetime64,
        given_up: Rows = NOBODY,
    ) -> None:
        self.decided += live.decide(live.decisions.between(start, end))
        self.learned += live.learn(start, end, given_up)

    # --- how fast the flights' budget burns -------------------------------------------

    def _files(self, start: np.datetime64, end: np.datetime64) -> list[np.datetime64]:
        """Cut a day into the files its flights are logged in: one, or one every six
        hours after a night on which the budget burnt, so that the window of six hours
        has something to look at. A day may have 23 or 25 hours.
        """
        self.watched += self.burning
        return [*(start + SIX_HOURS * n for n in range(4 if self.burning else 1)), end]

    def _watch(self, start: np.datetime64, end: np.datetime64, *, again: int) -> None:
        """Count the file just logged, and `again` so many before it, whose aircraft
        have landed by now; what fires decides how the next day is logged.
        """
        self.slots = [*(s for s in self.slots if s[1] > end - 2 * DAY), (start, end)]
        at = max(self._count(*slot) for slot in self.slots[-1 - again :])
        request = ins.GetBudgetRequest(
            not_before=at, model=FLIGHTS.model, budget=WARNINGS
        )
        found = ask(self.cast.omar, self.desks.insight.GetBudget, request).budget
        self.burning = bool(found.firing)
        self.paged += any(rule.severity == "page" for rule in found.firing)
        for rule in found.firing:
            self._first_burning(rule)

    def _count(self, start: np.datetime64, end: np.datetime64) -> int:
        """Return the position from which on the budget knows."""
        at = 0
        for version in self.flights.served(start, end):
            request = mon.CountSlotRequest(
                model=FLIGHTS.model, version=version, environment=PROD
            )
            request.start.FromDatetime(instant(start))
            request.end.FromDatetime(instant(end))
            said = ask(self.cast.dana, self.desks.monitoring.CountSlot, request)
            at = max(at, said.written.position)
        return at

    def _first_burning(self, rule: ins.Firing) -> None:
        """Tell the viewer of the first ticket and the first page of each version."""
        kind = (self.flights.version, rule.severity)
        if kind in self.told_burning:
            return
        self.told_burning.add(kind)
        over = "6 hours" if rule.rule == "slow" else "3 days"
        flying = ", some still in the air" if rule.provisional else ""
        then = "; its flights are logged every six hours until it eases"
        self.tell.say(
            self.at(),
            f"{rule.severity} at {self.at():%H:%M} UTC, {FLIGHTS.model} "
            f"{self.flights.version}: {WARNINGS} burns {rule.long_burn:.1f} over "
            f"{over} ({rule.events:.0f} flights{flying}; at least "
            f"{rule.long_burn_low:.1f}), limit {rule.threshold:.1f}"
            f"{then if rule.severity == 'ticket' else ''}",
            "bad" if rule.severity == "page" else "warn",
        )

    def finish(self) -> None:
        if self.watched:
            self.tell.say(
                self.at(),
                f"{FLIGHTS.model}: {self.watched} days were logged every six hours; "
                f"after {self.paged} of those files the budget paged",
            )


def _weekday(day: np.datetime64) -> int:
    """Monday is 0."""
    return (int(day.astype("datetime64[D]").astype(np.int64)) + 3) % 7


def _month_after(day: np.datetime64) -> np.datetime64:
    return np.datetime64(day.astype("datetime64[M]") + 1, "D")


def _midnight(day: np.datetime64) -> np.datetime64:
    return flights.midnight(str(day.astype("datetime64[D]")))


def _owed(verdict: pol.Verdict) -> str:
    owed = ", ".join(one.role for one in verdict.owed)
    return f"pending, owed by {owed}" if owed else "; ".join(verdict.reasons[:2])


def _why(refused: grpc.RpcError) -> str:
    details: Callable[[], str] | None = getattr(refused, "details", None)
    return details() if details else str(refused)

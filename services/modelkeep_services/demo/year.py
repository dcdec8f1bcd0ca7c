"""A real year: three models come under governance, serve, drift, are questioned.

Nothing is staged: alerts, verdicts and refusals are what the services make of the data.
The one drill, a vendor's silent replacement, is labelled so. Days are New York's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import grpc
import numpy as np

from modelkeep.api.common.v1 import common_pb2 as com
from modelkeep.api.insight.v1 import insight_pb2 as ins
from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.monitoring.v1 import monitoring_pb2 as mon
from modelkeep.api.policy.v1 import policy_pb2 as pol
from modelkeep.identity import LOCAL_ISSUER
from modelkeep_services.demo import (
    artifacts,
    clinic,
    credit,
    flights,
    logbook,
    training,
)
from modelkeep_services.demo.cast import Cast, Desks, ask
from modelkeep_services.demo.decisions import Columns, Numbers, Rows
from modelkeep_services.demo.explain import importance, typical
from modelkeep_services.demo.live import INTAKE, Live
from modelkeep_services.demo.onboarding import (
    PROD,
    Build,
    Portfolio,
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
from modelkeep_services.demo.stage import CALL_S, Stage
from modelkeep_services.demo.telling import Teller, Tone

DAY: Final = np.timedelta64(1, "D")
OPENS: Final = "2013-04-01"
CLOSES: Final = "2014-01-01"
HELD_OUT_DAYS: Final = 14
TRAILING_DAYS: Final = 90
BASELINE_ROWS: Final = 6_000
DRILL: Final = "2013-10-01"
DRIFT_RULES: Final = ("drift/worst", "drift/features")
EXCEPTION_DAYS: Final = 60
WARN_FROM: Final = 0.30
"""A flight is flagged from this chance of a late arrival on."""


@dataclass
class Year:
    """The story's state; every method is a scene."""

    stage: Stage
    desks: Desks
    cast: Cast
    tell: Teller
    flights: Live
    credit: Live
    clinic: Live
    builds: dict[tuple[str, str], Build] = field(default_factory=dict)
    book: tuple[Columns, Numbers] | None = None
    decided: int = 0
    learned: int = 0
    alerted: set[tuple[str, int]] = field(default_factory=set)
    replaced_at: np.datetime64 | None = None
    suspended: bool = False

    @property
    def everybody(self) -> tuple[Live, ...]:
        return self.flights, self.credit, self.clinic

    def at(self) -> datetime:
        if self.stage.now is None:
            raise AssertionError("the clock has not been set")
        return self.stage.now

    # --- before it opens ------------------------------------------------------------

    def prepare(self) -> None:
        """Register, tier, build, validate, gate and deploy all three."""
        self.stage.tick(_instant(flights.midnight("2013-03-25")))
        for live in self.everybody:
            register(self.desks, self.cast, live.plan)
        self.stage.level()
        for live in self.everybody:
            model = self._get(live.plan.model)
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
            request.anchor.FromDatetime(_instant(flights.midnight(OPENS)))
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
            (FLIGHTS.model, "wrong-warnings", "errors", 0.25, 0.32, 82_000),
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
                    batch=True,
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
        build, held = self._train("v1", flights.JANUARY, until)
        digest = add_version(self.desks, self.cast, self.stage.home, FLIGHTS, build)
        self.stage.level()
        self._refused("promoted without card or lineage", FLIGHTS, build)
        attach_card(self.desks, self.cast, FLIGHTS, build, digest)
        record_lineage(self.desks, self.cast, FLIGHTS, build, digest)
        self._baseline(self.flights, build, held)
        self._open(self.flights, build, held, self._stated(build, FLIGHTS))

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
            training.moved(*_halves(found.book)),
        )
        digest = add_version(self.desks, self.cast, self.stage.home, CREDIT, build)
        attach_card(self.desks, self.cast, CREDIT, build, digest)
        record_lineage(self.desks, self.cast, CREDIT, build, digest)
        validate(self.desks, self.cast, CREDIT, build, digest)
        self._baseline_of(self.credit, build, found.book, found.book_outcome)
        self.stage.level()
        verdict = evaluate(
            self.desks,
            self.cast.dana,
            "promote",
            CREDIT,
            "v1",
            share=1.0,
            evidence=self._stated(build, CREDIT),
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
        self.credit.serve(self.stage.home, build, np.arange(200), self._since())

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
            training.moved(*_halves(book)),
        )
        self.builds[CLINIC.model, build.version] = build
        digest = add_version(self.desks, self.cast, self.stage.home, CLINIC, build)
        attach_card(self.desks, self.cast, CLINIC, build, digest)
        record_lineage(self.desks, self.cast, CLINIC, build, digest)
        validate(self.desks, self.cast, CLINIC, build, digest)
        self._baseline_of(self.clinic, build, book, malignant)
        self.stage.level()
        verdict = evaluate(
            self.desks,
            self.cast.dana,
            "promote",
            CLINIC,
            build.version,
            share=1.0,
            evidence=self._stated(build, CLINIC),
        )
        for person in (self.cast.rita, self.cast.vik, self.cast.bea):
            verdict = approve(self.desks, person, verdict, "second readings only")
        self.stage.level()
        deploy(self.desks, self.cast, CLINIC, verdict, 1.0)
        self.tell.say(
            self.at(), "biopsy-reading v4.1 (vendor): approved; it serves", "good"
        )
        self.clinic.serve(self.stage.home, build, np.arange(100), self._since())

    # --- building -------------------------------------------------------------------

    def _train(
        self, version: str, start: np.datetime64, until: np.datetime64
    ) -> tuple[Build, Rows]:
        """Fit on whole days before the held-out ones; return those, to measure on.

        They are the version's baseline too: in-sample figures would flatter it.
        """
        year = self.flights.decisions
        held = until - HELD_OUT_DAYS * DAY
        graph, rows = training.fit_known(FLIGHTS.recipe, year, start, held)
        model = artifacts.opened(graph, artifacts.digest_of(graph))
        later = year.known(year.between(held, until), by=until)
        measured = training.quality(model.score(year.take(later)), year.outcome[later])
        span = f"{np.datetime_as_string(start, 'D')}/{np.datetime_as_string(held, 'D')}"
        build = Build(
            version,
            graph,
            {f"{HELD_OUT_DAYS} held-out days": measured},
            span,
            training.snapshot(year.take(rows), year.outcome[rows]),
            training.moved(year.take(rows), year.take(later)),
        )
        self.builds[FLIGHTS.model, version] = build
        return build, later

    def _stated(self, build: Build, plan: Portfolio) -> pol.StatedEvidence:
        figures = next(iter(build.measured.values()))
        return pol.StatedEvidence(
            performance_metric="auc",
            performance=round(figures.auc, 4),
            sample_size=figures.n,
            feature_count=len(plan.recipe.features),
            features=[
                pol.FeatureFigure(name=name, psi=round(psi, 4))
                for name, psi in build.drift.items()
            ],
        )

    def _baseline(self, live: Live, build: Build, rows: Rows) -> None:
        chosen = rows[:: max(1, len(rows) // BASELINE_ROWS)]
        year = live.decisions
        self._baseline_of(live, build, year.take(chosen), year.outcome[chosen])

    def _baseline_of(
        self, live: Live, build: Build, columns: Columns, outcome: Numbers
    ) -> None:
        """What drift is measured against, with what each feature weighs."""
        model = artifacts.opened(build.graph, build.digest)
        scores = model.score(columns)
        weights = importance(
            model, {n: v[:2000] for n, v in columns.items()}, typical(columns)
        )
        header = mon.BaselineHeader(
            model=live.plan.model,
            version=build.version,
            baseline=f"{build.version}-training",
            importances=weights,
            threshold=live.adverse,
        )
        requests = []
        for start in range(0, len(scores), logbook.MOST_ROWS):
            cut = slice(start, start + logbook.MOST_ROWS)
            said = np.where(np.isnan(outcome[cut]), 2, np.nan_to_num(outcome[cut]))
            requests.append(
                mon.RegisterBaselineRequest(
                    request_id=self.cast.dana.next_id() if start == 0 else "",
                    header=header if start == 0 else None,
                    columns=[logbook.column(n, v[cut]) for n, v in columns.items()],
                    scores=scores[cut].astype("<f8").tobytes(),
                    outcomes=said.astype(np.uint8).tobytes(),
                )
            )
        list(
            self.desks.monitoring.RegisterBaseline(
                iter(requests), timeout=CALL_S, metadata=self.cast.dana.metadata
            )
        )

    def _open(
        self, live: Live, build: Build, rows: Rows, evidence: pol.StatedEvidence
    ) -> bool:
        """Ask for promotion; deploy what is allowed, say what is refused."""
        self.stage.level()
        verdict = self._promotion(live, build, evidence)
        if verdict.verdict == pol.VERDICT_KIND_DENY and _only_drift(verdict):
            self._except(live.plan, verdict)
            verdict = self._promotion(live, build, evidence)
        if verdict.verdict != pol.VERDICT_KIND_ALLOW:
            self._say(live, build, f"refused, {_reasons(verdict)}", "bad")
            return False
        replace = bool(live.version)
        deploy(self.desks, self.cast, live.plan, verdict, 1.0, replace=replace)
        live.serve(self.stage.home, build, rows, self._since())
        self._say(live, build, "it serves", "good")
        return True

    def _promotion(
        self, live: Live, build: Build, evidence: pol.StatedEvidence
    ) -> pol.Verdict:
        verdict = evaluate(
            self.desks,
            self.cast.dana,
            "promote",
            live.plan,
            build.version,
            share=1.0,
            evidence=evidence,
        )
        self.stage.level()
        return verdict

    def _except(self, plan: Portfolio, verdict: pol.Verdict) -> None:
        """The season moves the weather: a dated departure, with an owner and a debt."""
        for rule in DRIFT_RULES:
            request = pol.GrantExceptionRequest(
                exception=f"season-{rule.replace('/', '-')}-{self.at():%Y%m%d}",
                model=plan.model,
                rule=rule,
                reason="weather follows the season; ranking is watched by AUC instead",
                owner=com.Person(issuer=LOCAL_ISSUER, subject=self.cast.omar.subject),
            )
            request.until.FromDatetime(self.at() + timedelta(days=EXCEPTION_DAYS))
            ask(self.cast.rita, self.desks.policy.GrantException, request)
        self.stage.level()
        self.tell.say(
            self.at(),
            f"{plan.model}: {_reasons(verdict)}; Rita grants an exception for "
            f"{EXCEPTION_DAYS} days, and it is debt",
            "warn",
        )

    def _say(self, live: Live, build: Build, what: str, tone: Tone) -> None:
        self.tell.say(self.at(), f"{live.plan.model} {build.version}: {what}", tone)

    def _refused(self, what: str, plan: Portfolio, build: Build) -> None:
        verdict = evaluate(
            self.desks, self.cast.dana, "promote", plan, build.version, share=1.0
        )
        if verdict.verdict != pol.VERDICT_KIND_DENY:
            raise AssertionError(f"{plan.model} was {what}: {verdict}")
        reasons = "; ".join(verdict.reasons[:3])
        self.tell.say(self.at(), f"{plan.model} {what}: refused, {reasons}", "bad")

    # --- a month --------------------------------------------------------------------

    def challenge(self, day: np.datetime64) -> None:
        """Train on the trailing months; whoever loses on held-out days is refused."""
        until = _midnight(day)
        version = f"v{sum(model == FLIGHTS.model for model, _ in self.builds) + 1}"
        build, held = self._train(version, until - TRAILING_DAYS * DAY, until)
        outcome = self.flights.decisions.outcome[held]
        champion = training.quality(self.flights.scores[held], outcome)
        ours = next(iter(build.measured.values()))
        digest = add_version(self.desks, self.cast, self.stage.home, FLIGHTS, build)
        attach_card(self.desks, self.cast, FLIGHTS, build, digest)
        record_lineage(self.desks, self.cast, FLIGHTS, build, digest)
        self._baseline(self.flights, build, held)
        evidence = self._stated(build, FLIGHTS)
        evidence.champion_performance = round(champion.auc, 4)
        self.tell.say(
            self.at(),
            f"{FLIGHTS.model} {version} challenges {self.flights.version}: AUC "
            f"{ours.auc:.3f} against {champion.auc:.3f} on held-out days",
        )
        if self._open(self.flights, build, held, evidence):
            self.replaced_at = day

    def attend(self, day: np.datetime64) -> None:
        """On Mondays people work through their alerts."""
        request = mon.ListAlertsRequest(open_only=True, page=com.Page(size=1_000))
        found = ask(self.cast.omar, self.desks.monitoring.ListAlerts, request)
        for alert in found.alerts:
            if alert.status == mon.ALERT_STATUS_OPEN:
                ask(
                    self.cast.omar,
                    self.desks.monitoring.AcknowledgeAlert,
                    mon.AcknowledgeAlertRequest(model=alert.model, alert=alert.alert),
                )
                self._first_of_its_kind(alert)
            elif (answer := self._answer(alert, day)) is not None:
                true_alarm, reason = answer
                ask(
                    self.cast.omar,
                    self.desks.monitoring.ResolveAlert,
                    mon.ResolveAlertRequest(
                        model=alert.model,
                        alert=alert.alert,
                        true_alarm=true_alarm,
                        reason=reason,
                    ),
                )

    def _answer(self, alert: mon.Alert, day: np.datetime64) -> tuple[bool, str] | None:
        if alert.kind == mon.ALERT_KIND_FEATURE_DRIFT:
            return False, "the season: the ranking holds, and an exception is on file"
        raised = np.datetime64(alert.raised_at.ToDatetime(), "D")
        if self.replaced_at is not None and raised < self.replaced_at <= day:
            return True, "the version that it was about was replaced"
        return None

    def _first_of_its_kind(self, alert: mon.Alert) -> None:
        """Tell the viewer of the first alert of each kind a model has."""
        kind = (alert.model, alert.kind)
        if kind in self.alerted:
            return
        self.alerted.add(kind)
        money = ""
        if alert.HasField("money_per_hour"):
            an_hour = alert.money_per_hour.minor / 100
            basis = mon.MoneyBasis.Name(alert.money_basis).rpartition("_")[2].lower()
            money = f", ${an_hour:,.0f} an hour ({basis})"
        self.tell.say(
            self.at(),
            f"alert, {alert.model}: {alert.cause}; owner {alert.owner}, "
            f"play {alert.play or 'none'}{money}",
            "warn",
        )

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
        request.due_at.FromDatetime(_instant(_midnight(np.datetime64("2013-10-02"))))
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

    def days(self) -> Sequence[np.datetime64]:
        count = int((np.datetime64(CLOSES) - np.datetime64(OPENS)) / DAY)
        return [np.datetime64(OPENS) + n * DAY for n in range(count)]

    def live(self, day: np.datetime64) -> None:
        """Decide, learn, move the clock to the day's end, close what is complete."""
        start, end = _midnight(day), _midnight(day + DAY)
        self.special(day)
        if str(day).endswith("-01") and day > np.datetime64(OPENS):
            self.challenge(day)
        if _weekday(day) == 0:
            self.attend(day)
        for live in self.everybody:
            if live is self.clinic and self.suspended:
                continue
            rows = live.decisions.between(start, end)
            self.decided += live.decide(self.desks, self.cast.serving, rows)
            self.learned += live.learn(self.desks, self.cast.serving, start, end)
        before = self.flights.decisions.between(start - DAY, start)
        self.flights.give_up(self.desks, self.cast.serving, before, end)
        self.stage.tick(_instant(end))
        if _weekday(day) == 0:  # outcomes of Sunday's flights are in by Monday's end
            week = _midnight(day - 7 * DAY)
            self._close(self.flights, week, start)
            self._close(self.credit, week, start)
            self._close(self.clinic, _midnight(day - 14 * DAY), week)
        self.stage.level()

    def _close(self, live: Live, start: np.datetime64, end: np.datetime64) -> None:
        if not len(live.decisions.between(start, end)) or start < _midnight(
            np.datetime64(OPENS)
        ):
            return
        for version in live.served(start, end):
            request = mon.CloseWindowRequest(
                model=live.plan.model, version=version, environment=PROD
            )
            request.start.FromDatetime(_instant(start))
            request.end.FromDatetime(_instant(end))
            ask(self.cast.dana, self.desks.monitoring.CloseWindow, request)

    def _since(self) -> np.datetime64:
        return np.datetime64(self.at().replace(tzinfo=None), "ms")

    def some_decision(self) -> str:
        """Name a decision of the year: a flagged flight of its middle, if any was."""
        logged = np.flatnonzero(~np.isnan(self.flights.scores))
        flagged = logged[self.flights.scores[logged] >= WARN_FROM]
        chosen = flagged if len(flagged) else logged
        return logbook.spelled(self.flights.ids, int(chosen[len(chosen) // 2]))

    def _get(self, model: str) -> inv.Model:
        return ask(
            self.cast.axel,
            self.desks.inventory.GetModel,
            inv.GetModelRequest(model=model),
        ).model


def _weekday(day: np.datetime64) -> int:
    """Monday is 0."""
    return (int(day.astype("datetime64[D]").astype(np.int64)) + 3) % 7


def _halves(columns: Columns) -> tuple[Columns, Columns]:
    """Even and odd rows: how far chance alone moves features of a table undated."""
    return (
        {name: values[::2] for name, values in columns.items()},
        {name: values[1::2] for name, values in columns.items()},
    )


def _only_drift(verdict: pol.Verdict) -> bool:
    return all(reason.startswith("drift/") for reason in verdict.reasons)


def _reasons(verdict: pol.Verdict) -> str:
    return "; ".join(verdict.reasons[:2])


def _midnight(day: np.datetime64) -> np.datetime64:
    return flights.midnight(str(day.astype("datetime64[D]")))


def _instant(moment: np.datetime64) -> datetime:
    micros = int(moment.astype("datetime64[us]").astype(np.int64))
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _owed(verdict: pol.Verdict) -> str:
    owed = ", ".join(one.role for one in verdict.owed)
    return f"pending, owed by {owed}" if owed else "; ".join(verdict.reasons[:2])


def _why(refused: grpc.RpcError) -> str:
    details: Callable[[], str] | None = getattr(refused, "details", None)
    return details() if details else str(refused)

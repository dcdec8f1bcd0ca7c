"""A story's common scenes: train, ask for promotion, challenge, close, work alerts.

Nothing is staged: alerts, verdicts and refusals are what the services make of the data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final, NamedTuple, TypeAlias

import numpy as np

from modelkeep import Client
from modelkeep.api.common.v1 import common_pb2 as com
from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.monitoring.v1 import monitoring_pb2 as mon
from modelkeep.api.policy.v1 import policy_pb2 as pol
from modelkeep.identity import LOCAL_ISSUER
from modelkeep_services.demo import artifacts, training
from modelkeep_services.demo.cast import Cast, Desks, ask
from modelkeep_services.demo.decisions import (
    Columns,
    Decisions,
    Numbers,
    Rows,
    moments,
)
from modelkeep_services.demo.explain import importance, typical
from modelkeep_services.demo.live import Live
from modelkeep_services.demo.onboarding import (
    PROD,
    Build,
    Portfolio,
    add_version,
    attach_card,
    deploy,
    evaluate,
    record_lineage,
)
from modelkeep_services.demo.stage import Stage
from modelkeep_services.demo.telling import Teller, Tone

DAY: Final = np.timedelta64(1, "D")
BASELINE_ROWS: Final = 6_000
DRIFT_RULES: Final = ("drift/worst", "drift/features")
EXCEPTION_DAYS: Final = 60


_Key: TypeAlias = tuple[str, str, np.datetime64, np.datetime64]
_trainer: Final = ThreadPoolExecutor(1, thread_name_prefix="trainer")


class _Training(NamedTuple):
    """What a build depends on, beside the data: it looks at nothing later."""

    plan: Portfolio
    version: str
    start: np.datetime64
    until: np.datetime64
    held_out: int

    @property
    def key(self) -> _Key:
        return self.plan.model, self.version, self.start, self.until

    def run(self, year: Decisions) -> tuple[Build, Rows]:
        held = self.until - self.held_out * DAY
        graph, rows = training.fit_known(self.plan.recipe, year, self.start, held)
        model = artifacts.opened(graph, artifacts.digest_of(graph))
        later = year.known(year.between(held, self.until), by=self.until)
        measured = training.quality(model.score(year.take(later)), year.outcome[later])
        first, last = np.datetime_as_string([self.start, held], "D")
        build = Build(
            self.version,
            graph,
            {f"{self.held_out} held-out days": measured},
            f"{first}/{last}",
            training.snapshot(year.take(rows), year.outcome[rows]),
            training.moved(year.take(rows), year.take(later)),
        )
        return build, later


@dataclass
class Story(ABC):
    """A story's state; every method is a scene."""

    held_out: ClassVar[int] = 14
    """Whole days that a build is measured on, and has not learnt from."""
    trailing: ClassVar[int] = 90
    opens: ClassVar[np.datetime64]

    stage: Stage
    desks: Desks
    cast: Cast
    tell: Teller
    builds: dict[tuple[str, str], Build] = field(default_factory=dict)
    begun: dict[_Key, Future[tuple[Build, Rows]]] = field(default_factory=dict)
    """What is being trained before it is asked for."""
    decided: int = 0
    learned: int = 0
    alerted: set[tuple[str, int]] = field(default_factory=set)
    replaced_at: np.datetime64 | None = None

    @property
    @abstractmethod
    def everybody(self) -> tuple[Live, ...]:
        """Every model of the story; the first is the one to ask about."""

    @abstractmethod
    def prepare(self) -> None:
        """Play what comes before the first step."""

    @abstractmethod
    def steps(self) -> Sequence[np.datetime64]:
        """Name the steps: days, or months."""

    @abstractmethod
    def play(self, step: np.datetime64, /) -> None:
        """Play one step."""

    def finish(self) -> None:  # noqa: B027  # most stories have nothing to add
        """Say what is left to say after the last step."""

    def at(self) -> datetime:
        if self.stage.now is None:
            raise AssertionError("the clock has not been set")
        return self.stage.now

    def train(
        self, live: Live, version: str, start: np.datetime64, until: np.datetime64
    ) -> tuple[Build, Rows]:
        """Fit on whole days before the held-out ones; return those, to measure on.

        They are the version's baseline too: in-sample figures would flatter it.
        """
        task = _Training(live.plan, version, start, until, self.held_out)
        begun = self.begun.pop(task.key, None)
        build, later = begun.result() if begun else task.run(live.decisions)
        self.builds[live.plan.model, version] = build
        return build, later

    def begin_training(self, live: Live, until: np.datetime64) -> None:
        """Train the next challenger while others do something else."""
        task = self._challenger(live, until)
        self.begun[task.key] = _trainer.submit(task.run, live.decisions)

    def _challenger(self, live: Live, until: np.datetime64) -> _Training:
        count = sum(model == live.plan.model for model, _ in self.builds)
        start = until - self.trailing * DAY
        return _Training(live.plan, f"v{count + 1}", start, until, self.held_out)

    def stated(self, build: Build, plan: Portfolio) -> pol.StatedEvidence:
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

    def baseline(self, live: Live, build: Build, rows: Rows) -> None:
        chosen = rows[:: max(1, len(rows) // BASELINE_ROWS)]
        year = live.decisions
        self.baseline_of(live, build, year.take(chosen), year.outcome[chosen])

    def baseline_of(
        self, live: Live, build: Build, columns: Columns, outcome: Numbers
    ) -> None:
        """What drift is measured against, with what each feature weighs."""
        model = artifacts.opened(build.graph, build.digest)
        scores = model.score(columns)
        weights = importance(
            model, {n: v[:2000] for n, v in columns.items()}, typical(columns)
        )
        known = [None if np.isnan(one) else int(one) for one in outcome]
        with Client(
            self.stage.address("monitoring"),
            model=live.plan.model,
            version=build.version,
            token=self.cast.dana.token,
        ) as client:
            client.register_baseline(
                f"{build.version}-training",
                columns,
                scores,
                outcomes=known,
                importances=weights,
                threshold=live.adverse,
                request_id=self.cast.dana.next_id(),
            )

    def open(
        self, live: Live, build: Build, rows: Rows, evidence: pol.StatedEvidence
    ) -> bool:
        """Ask for promotion; deploy what is allowed, say what is refused."""
        self.stage.level()
        verdict = self._promotion(live, build, evidence)
        if verdict.verdict == pol.VERDICT_KIND_DENY and _only_drift(verdict):
            self._except(live.plan, verdict)
            verdict = self._promotion(live, build, evidence)
        if verdict.verdict != pol.VERDICT_KIND_ALLOW:
            self.say(live, build, f"refused, {_reasons(verdict)}", "bad")
            return False
        replace = bool(live.version)
        deploy(self.desks, self.cast, live.plan, verdict, 1.0, replace=replace)
        live.serve(self.stage, build, rows, self.since())
        self.say(live, build, "it serves", "good")
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

    def say(self, live: Live, build: Build, what: str, tone: Tone) -> None:
        self.tell.say(self.at(), f"{live.plan.model} {build.version}: {what}", tone)

    def refused(self, what: str, plan: Portfolio, build: Build) -> None:
        verdict = evaluate(
            self.desks, self.cast.dana, "promote", plan, build.version, share=1.0
        )
        self.stage.level()  # what answers it is written before what comes next
        if verdict.verdict != pol.VERDICT_KIND_DENY:
            raise AssertionError(f"{plan.model} was {what}: {verdict}")
        reasons = "; ".join(verdict.reasons[:3])
        self.tell.say(self.at(), f"{plan.model} {what}: refused, {reasons}", "bad")

    def challenge(self, live: Live, until: np.datetime64) -> None:
        """Train on the trailing days; whoever loses on held-out days is refused."""
        plan, task = live.plan, self._challenger(live, until)
        version = task.version
        build, held = self.train(live, version, task.start, until)
        digest = add_version(self.desks, self.cast, self.stage.home, plan, build)
        self.stage.level()
        attach_card(self.desks, self.cast, plan, build, digest)
        record_lineage(self.desks, self.cast, plan, build, digest)
        self.baseline(live, build, held)
        evidence = self.stated(build, plan)
        told = f"{plan.model} {version}: AUC {evidence.performance:.3f}"
        if live.version:
            outcome = live.decisions.outcome[held]
            champion = training.quality(live.scores[held], outcome)
            evidence.champion_performance = round(champion.auc, 4)
            told += f" challenges {live.version}'s {champion.auc:.3f}"
        self.tell.say(self.at(), f"{told} on {self.held_out} held-out days")
        if self.open(live, build, held, evidence):
            self.replaced_at = until

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

    def close(self, live: Live, start: np.datetime64, end: np.datetime64) -> None:
        if not len(live.decisions.between(start, end)) or start < self.opens:
            return
        for version in live.served(start, end):
            request = mon.CloseWindowRequest(
                model=live.plan.model, version=version, environment=PROD
            )
            request.start.FromDatetime(instant(start))
            request.end.FromDatetime(instant(end))
            ask(self.cast.dana, self.desks.monitoring.CloseWindow, request)

    def since(self) -> np.datetime64:
        return np.datetime64(self.at().replace(tzinfo=None), "ms")

    def some_decision(self) -> str:
        """Name a decision of the story: a flagged case of its middle, if any was."""
        live = self.everybody[0]
        logged = np.flatnonzero(~np.isnan(live.scores))
        flagged = logged[live.scores[logged] >= live.adverse]
        chosen = flagged if len(flagged) else logged
        return str(live.ids[chosen[len(chosen) // 2]])

    def get(self, model: str) -> inv.Model:
        return ask(
            self.cast.axel,
            self.desks.inventory.GetModel,
            inv.GetModelRequest(model=model),
        ).model


def halves(columns: Columns) -> tuple[Columns, Columns]:
    """Even and odd rows: how far chance alone moves features of a table undated."""
    return (
        {name: values[::2] for name, values in columns.items()},
        {name: values[1::2] for name, values in columns.items()},
    )


def _only_drift(verdict: pol.Verdict) -> bool:
    return all(reason.startswith("drift/") for reason in verdict.reasons)


def _reasons(verdict: pol.Verdict) -> str:
    return "; ".join(verdict.reasons[:2])


def instant(moment: np.datetime64) -> datetime:
    [found] = moments(np.array([moment]))
    return found

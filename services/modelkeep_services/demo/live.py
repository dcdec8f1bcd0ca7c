"""A model at work in the story: scores cases, explains them, logs them, is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from modelkeep.api.monitoring.v1 import monitoring_pb2 as pb
from modelkeep.home import Home
from modelkeep_services.demo import artifacts, latency, logbook
from modelkeep_services.demo.artifacts import Artifact
from modelkeep_services.demo.cast import Desks
from modelkeep_services.demo.decisions import Decisions, Numbers, Rows
from modelkeep_services.demo.explain import Explainer, typical
from modelkeep_services.demo.onboarding import PROD, Build, Portfolio
from modelkeep_services.demo.stage import Person

INTAKE: Final = "intake"
"""The feed of a model whose inputs are taken when it is asked."""


@dataclass
class Live:
    """`version` is what serves; `real` is what answers, should somebody swap it."""

    plan: Portfolio
    decisions: Decisions
    adverse: float
    reason_codes: bool = False
    version: str = ""
    terms: list[tuple[str, np.datetime64]] = field(default_factory=list)
    """Which version served, since when."""
    model: Artifact | None = None
    explainer: Explainer | None = None
    ids: logbook.Ids = field(init=False)
    scores: Numbers = field(init=False)
    samples: Numbers = field(default_factory=latency.load)

    def __post_init__(self) -> None:
        every = np.arange(len(self.decisions))
        at = self.decisions.decided_at
        self.ids = logbook.mint(self.plan.model, at, every)
        self.scores = np.full(len(self.decisions), np.nan)

    @property
    def feeds(self) -> bool:
        """Whether its inputs come from feeds that may stop."""
        return bool(self.decisions.read_at)

    def served(self, start: np.datetime64, end: np.datetime64) -> list[str]:
        """Name the versions that served in [start, end)."""
        ends = [*(since for _, since in self.terms[1:]), np.datetime64("NaT")]
        ends = ends[: len(self.terms)]
        return [
            version
            for (version, since), until in zip(self.terms, ends, strict=True)
            if since < end and (np.isnat(until) or until > start)
        ]

    def serve(self, home: Home, build: Build, rows: Rows, since: np.datetime64) -> None:
        """Load a version from the archive; `rows` are what its makers had seen."""
        self.version = build.version
        self.terms.append((build.version, since))
        self.model = artifacts.load(
            artifacts.path_of(home.artifacts, build.digest), build.digest
        )
        reference = typical(self.decisions.take(rows))
        self.explainer = Explainer(self.model, self.plan.recipe.groups, reference)

    def decide(self, desks: Desks, serving: Person, rows: Rows) -> int:
        """Score, explain and log these cases; return how many were logged."""
        if not len(rows) or self.model is None or self.explainer is None:
            return 0
        columns = self.decisions.take(rows)
        scores = self.model.score(columns)
        self.scores[rows] = scores
        contributions = self.explainer.contributions(columns, scores)
        valid = self.explainer.valid(contributions, scores)
        figures = {
            "scores": scores.astype("<f8").tobytes(),
            "latency_ms": latency.of(rows, self.samples).astype("<f8").tobytes(),
            "explained": valid.astype(np.uint8).tobytes(),
            "reason_codes": self._reasons(scores, contributions),
        }
        header = pb.ObserveRequest(
            model=self.plan.model,
            version=self.version,
            environment=PROD,
            use=self.plan.use,
            readings=self._readings(rows),
        )
        return logbook.observe(
            desks,
            serving,
            header,
            self.ids[rows],
            self.decisions.decided_at[rows],
            columns,
            figures,
            self.decisions.references[rows],
        )

    def _reasons(self, scores: Numbers, contributions: Numbers) -> bytes:
        """A refusal owes reason codes, where they are compulsory."""
        if not self.reason_codes or self.explainer is None:
            return bytes([2]) * len(scores)
        given = self.explainer.reasons(contributions)
        owed = scores >= self.adverse
        said = [2 if not o else int(bool(g)) for o, g in zip(owed, given, strict=True)]
        return bytes(said)

    def _readings(self, rows: Rows) -> list[pb.Reading]:
        found = []
        taken_now = {INTAKE: self.decisions.decided_at}
        for feed, read_at in (self.decisions.read_at or taken_now).items():
            taken = read_at[rows]
            if not np.isnat(taken).all():
                last = np.nanmax(taken).astype("datetime64[us]").astype(np.int64)
                found.append(pb.Reading(feed=feed, last_at=int(last)))
        return found

    def learn(
        self, desks: Desks, serving: Person, start: np.datetime64, end: np.datetime64
    ) -> int:
        """Log what became true in [start, end), of what was decided and logged."""
        rows = self.decisions.matured(start, end)
        rows = rows[~np.isnan(self.scores[rows])]
        return logbook.outcomes(
            desks,
            serving,
            self.plan.model,
            self.ids[rows],
            self.decisions.outcome[rows],
            self.decisions.known_at[rows],
        )

    def give_up(
        self, desks: Desks, serving: Person, rows: Rows, at: np.datetime64
    ) -> int:
        """Say of cancelled and diverted flights that no outcome will come."""
        rows = rows[
            np.isnat(self.decisions.known_at[rows]) & ~np.isnan(self.scores[rows])
        ]
        never = np.full(len(rows), np.nan)
        known = np.full(len(rows), at, dtype="datetime64[ms]")
        return logbook.outcomes(
            desks, serving, self.plan.model, self.ids[rows], never, known
        )

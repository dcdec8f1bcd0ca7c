"""A model at work in the story: scores cases, explains them, logs them, is told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np

from modelkeep import Client
from modelkeep.objects import artifacts_of
from modelkeep.sdk.batches import Flags
from modelkeep_services.demo import artifacts, latency
from modelkeep_services.demo.artifacts import Artifact
from modelkeep_services.demo.decisions import (
    Columns,
    Decisions,
    Numbers,
    Rows,
    Words,
    moments,
)
from modelkeep_services.demo.explain import Explainer, typical
from modelkeep_services.demo.onboarding import Build, Portfolio
from modelkeep_services.demo.stage import Stage

NOBODY: Final = np.arange(0)
INTAKE: Final = "intake"
"""The feed of a model whose inputs are taken when it is asked."""


_ahead: Final = ThreadPoolExecutor(1, thread_name_prefix="ahead")


class Scored(NamedTuple):
    """Cases as a model scores and explains them. `contributions`: one row a case."""

    rows: Rows
    columns: Columns
    scores: Numbers
    contributions: Numbers

    def of(self, rows: Rows) -> Scored | None:
        """The same of some of these cases, None when some are not among them."""
        at = np.searchsorted(self.rows, rows)
        if not len(self.rows) or at.max() >= len(self.rows):
            return None
        if not np.array_equal(self.rows[at], rows):
            return None
        columns = {name: values[at] for name, values in self.columns.items()}
        return Scored(rows, columns, self.scores[at], self.contributions[at])


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
    client: Client | None = None
    ids: Words = field(init=False)
    """As the SDK derives them from when a decision was made and its reference: the same
    story has the same ids. Empty until it was decided."""
    scores: Numbers = field(init=False)
    samples: Numbers = field(default_factory=latency.load)
    thought: tuple[Artifact, Future[Scored]] | None = None
    """What is being scored before it is asked for, and by which model."""

    def __post_init__(self) -> None:
        self.ids = np.full(len(self.decisions), "", dtype="U36")
        self.scores = np.full(len(self.decisions), np.nan)

    @property
    def log(self) -> Client:
        if self.client is None:
            raise AssertionError(f"no version of {self.plan.model} has served")
        return self.client

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

    def serve(
        self, stage: Stage, build: Build, rows: Rows, since: np.datetime64
    ) -> None:
        """Load a version from the archive; `rows` are what its makers had seen."""
        self.version = build.version
        self.client = stage.logger(self.plan.model, build.version)
        self.terms.append((build.version, since))
        self.model = artifacts.load(artifacts_of(stage.home), build.digest)
        reference = typical(self.decisions.take(rows))
        self.explainer = Explainer(self.model, self.plan.recipe.groups, reference)

    def decide(self, rows: Rows) -> int:
        """Score, explain and log these cases; return how many there were."""
        if not len(rows) or self.model is None or self.explainer is None:
            return 0
        _, columns, scores, contributions = self._scored(rows)
        at = moments(self.decisions.decided_at[rows])
        references = self.decisions.references[rows].tolist()
        self.scores[rows] = scores
        self.ids[rows] = self.log.log_many(
            columns,
            scores,
            decision_ids=self.log.decision_ids(at, references),
            latency_ms=latency.of(rows, self.samples),
            use=self.plan.use,
            explained=self.explainer.valid(contributions, scores).tolist(),
            reason_codes=self._reasons(scores, contributions),
            references=references,
            at=at,
            readings=self._readings(rows),
        )
        return len(rows)

    def think_ahead(self, rows: Rows) -> None:
        """Score these cases while others do something else: they come next."""
        if len(rows) and self.model is not None and self.explainer is not None:
            score = _score(self.decisions, self.model, self.explainer, rows)
            self.thought = self.model, _ahead.submit(score)

    def _scored(self, rows: Rows) -> Scored:
        if self.model is None or self.explainer is None:
            raise AssertionError(f"no version of {self.plan.model} has served")
        if self.thought is not None and self.thought[0] is self.model:
            known = self.thought[1].result().of(rows)
            if known is not None:
                return known
        return _score(self.decisions, self.model, self.explainer, rows)()

    def _reasons(self, scores: Numbers, contributions: Numbers) -> Flags:
        """A refusal owes reason codes, where they are compulsory."""
        if not self.reason_codes or self.explainer is None:
            return None
        given = self.explainer.reasons(contributions)
        owed = (scores >= self.adverse).tolist()
        return [bool(g) if o else None for o, g in zip(owed, given, strict=True)]

    def _readings(self, rows: Rows) -> dict[str, datetime]:
        found = {}
        taken_now = {INTAKE: self.decisions.decided_at}
        for feed, read_at in (self.decisions.read_at or taken_now).items():
            taken = read_at[rows]
            if not np.isnat(taken).all():
                [found[feed]] = moments(np.array([np.nanmax(taken)]))
        return found

    def learn(
        self, start: np.datetime64, end: np.datetime64, given_up: Rows = NOBODY
    ) -> int:
        """Log what became true in [start, end) of what was decided and logged, and that
        nothing ever will of those of `given_up` that are cancelled or diverted; return
        how many came true.
        """
        year = self.decisions
        true = year.matured(start, end)
        true = true[~np.isnan(self.scores[true])]
        never = given_up[np.isnat(year.known_at[given_up])]
        never = never[~np.isnan(self.scores[never])]
        came: list[int | None] = year.outcome[true].astype(np.int64).tolist()
        known = np.append(year.known_at[true], np.full(len(never), end))
        ids = self.ids[np.append(true, never)].tolist()
        if not ids:  # nothing was logged, so nothing need serve
            return 0
        outcomes = came + [None] * len(never)
        # Together, so that the same day makes the same batch.
        self.log.outcomes_many(zip(ids, outcomes, moments(known), strict=True))
        return len(true)


def _score(
    decisions: Decisions, model: Artifact, explainer: Explainer, rows: Rows
) -> Callable[[], Scored]:
    def score() -> Scored:
        columns = decisions.take(rows)
        scores = model.score(columns)
        return Scored(rows, columns, scores, explainer.contributions(columns, scores))

    return score

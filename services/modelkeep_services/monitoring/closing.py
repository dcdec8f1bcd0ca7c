"""What a window's command is given before it is decided: figures, owner, limits."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import numpy as np

from modelkeep.errors import NotFound
from modelkeep.service import Asked
from modelkeep.views import Reader
from modelkeep_services.monitoring import known, views
from modelkeep_services.monitoring.asking import require_model
from modelkeep_services.monitoring.book import Books
from modelkeep_services.monitoring.commands import (
    CloseWindow,
    Closing,
    ConfigureMonitor,
    CountSlot,
    RecordDisposition,
)
from modelkeep_services.monitoring.kinds import keep_recorded
from modelkeep_services.monitoring.windows import (
    Question,
    answer,
    basis_of,
    counts,
)


class Closer:
    def __init__(self, books: Books) -> None:
        self._books = books

    def prepare(self, command: CloseWindow, asked: Asked) -> CloseWindow:
        """Raises NotFound for a version the inventory does not know."""
        _known_version(asked.read, command)
        found = self.found(
            asked.read,
            command.model,
            command.version,
            command.environment,
            command.start,
            command.end,
            asked.now,
        )
        return command.model_copy(update={"found": found})

    def prepare_slot(self, command: CountSlot, asked: Asked) -> CountSlot:
        """Raises NotFound for a version the inventory does not know."""
        read, model = asked.read, command.model
        _known_version(read, command)
        question = _question(
            read,
            model,
            command.version,
            command.environment,
            command.start,
            command.end,
            asked.now,
        )
        book = self._books.of(read.tenant, model)
        with book.lock:
            book.catch_up()
            found = counts(book, question)
        return command.model_copy(update={"found": found})

    def prepare_monitor(
        self, command: ConfigureMonitor, asked: Asked
    ) -> ConfigureMonitor:
        """Raises NotFound for a model that nobody registered, and Refused for another
        kind of outcomes than those that are recorded.
        """
        model = require_model(asked.read, command.model)
        book = self._books.of(asked.read.tenant, model)
        if command.outcome_kind is not None:
            with book.lock:
                book.catch_up()
                keep_recorded(model, book.outcome_kind, command.outcome_kind)
        return command

    def prepare_disposition(
        self, command: RecordDisposition, asked: Asked
    ) -> RecordDisposition:
        """Raises NotFound for a decision the model did not log."""
        decision = UUID(command.decision)
        ids = np.frombuffer(decision.bytes, dtype=np.uint8).reshape(1, 16)
        book = self._books.of(asked.read.tenant, command.model)
        with book.lock:
            book.catch_up()
            if not book.ids.find(ids).known.all():
                raise NotFound("decision", f"{command.model}/{decision}")
        return command

    def found(
        self,
        read: Reader,
        model: str,
        version: str,
        environment: str,
        start: datetime,
        end: datetime,
        now: datetime,
    ) -> Closing:
        asked = _question(read, model, version, environment, start, end, now)
        limits = asked.limits
        contract = read.get(views.contracts, model)
        book = self._books.of(read.tenant, model)
        with book.lock:
            book.catch_up()
            found = answer(book, asked)
        return Closing(
            figures=found.figures,
            method=found.method,
            profile=found.profile,
            score_outcomes=found.score_outcomes,
            errors=found.errors,
            owner=known.owner(read, model),
            slos=known.slos(read, model),
            explanation_coverage=limits.explanation_coverage,
            explanation_p95_ms=limits.explanation_p95_ms,
            quarantine=contract is not None
            and contract.event.on_breach == "quarantine",
        )


def _known_version(read: Reader, command: CloseWindow | CountSlot) -> None:
    version = f"{command.model}/{command.version}"
    if read.get(views.versions, version) is None:
        raise NotFound("version", version)


def _question(
    read: Reader,
    model: str,
    version: str,
    environment: str,
    start: datetime,
    end: datetime,
    now: datetime,
) -> Question:
    monitor = known.monitor(read, model)
    reference = known.reference(read, model, version)
    return Question(
        version=version,
        environment=environment,
        start=start,
        end=end,
        now=now,
        maturity_hours=monitor.outcome_maturity_hours,
        reference=reference,
        limits=known.limits(read, model),
        slas=monitor.feature_sla_hours,
        basis=basis_of(reference, monitor),
    )

"""Since when something was wrong, as later found: pure decisions, a stream a subject.

A person's word stands against a restatement's; of two restatements the earlier one
counts, of two people the later word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import Refused
from modelkeep.events.attention import OnsetEstablished
from modelkeep.events.monitoring import Uuid
from modelkeep.events.types import Instant, Slug, Text


class EstablishOnset(Command):
    """Of an incident, or of an alert of a model. `detected_at` is added by the service:
    nothing can begin after it was seen.
    """

    incident: Slug | None = None
    model: Slug | None = None
    alert: Slug | None = None
    onset: Instant
    reason: Text
    evidence: Annotated[tuple[Uuid, ...], Field(max_length=50)] = ()
    basis: Literal["person", "restatement"] = "person"
    detected_at: Instant | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if self.incident is not None and (self.model or self.alert):
            raise ValueError("say an incident, or a model and an alert, not both")
        if self.incident is None and not (self.model and self.alert):
            raise ValueError("say an incident, or a model and an alert")
        return self

    @property
    def subject(self) -> str:
        return self.incident or f"{self.model}.{self.alert}"


@dataclass(frozen=True)
class OnsetState:
    onset: datetime | None = None
    by_person: bool = False


def decide(
    command: EstablishOnset, state: OnsetState, context: Context
) -> Sequence[OnsetEstablished]:
    person = command.basis == "person"
    if person and not context.actor.human:
        raise Refused(
            "monitoring.people-judge",
            f"{context.actor.subject} is not a person",
            subject=command.subject,
        )
    if command.detected_at is not None and command.onset > command.detected_at:
        raise Refused(
            "monitoring.onset-before-detection",
            f"it was detected at {command.detected_at}, before that onset",
            subject=command.subject,
        )
    if state.onset == command.onset and state.by_person == person:
        return []
    if not person and not _earlier(command, state):
        return []
    said = dict(command)
    del said["detected_at"]
    by = context.actor.person
    return [OnsetEstablished(**said, replaces=state.onset, by=by)]


def _earlier(command: EstablishOnset, state: OnsetState) -> bool:
    if state.by_person:
        return False
    return state.onset is None or command.onset < state.onset


def evolve(_: OnsetState, event: OnsetEstablished) -> OnsetState:
    return OnsetState(event.onset, event.basis == "person")


ONSET: Final = decider(OnsetState(), decide, evolve)

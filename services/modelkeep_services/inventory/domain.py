"""What may happen to a model, decided without looking at anything but its past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelkeep.decider import Command, Context, decider
from modelkeep.errors import Refused
from modelkeep.events.inventory import ModelKind, ModelRegistered
from modelkeep.events.types import Slug, Subject, Text, Title

ModelEvent = ModelRegistered


class RegisterModel(Command):
    model: Slug
    title: Title
    kind: ModelKind
    purpose: Text
    owner: Subject


ModelCommand = RegisterModel


@dataclass(frozen=True)
class ModelState:
    registered: bool = False


def decide(
    command: ModelCommand, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    match command:
        case RegisterModel():
            if state.registered:
                raise Refused(
                    "inventory.registered-once",
                    f"model {command.model} is registered",
                    subject=command.model,
                )
            issuer = context.actor.issuer
            return [ModelRegistered(**dict(command), owner_issuer=issuer)]


def evolve(state: ModelState, event: ModelEvent) -> ModelState:
    match event:
        case ModelRegistered():
            return ModelState(registered=True)


MODEL = decider(ModelState(), decide, evolve)

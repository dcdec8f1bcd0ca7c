"""What serves: a version in an environment, by a verdict in this very stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from modelkeep.decider import Context
from modelkeep.errors import Invalid, NotFound
from modelkeep.events import inventory as e
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory.refusing import refuse, the_version
from modelkeep_services.inventory.state import ModelEvent, ModelState, Serving

DEPLOYS: Final = frozenset({"promote", "deploy"})
SETS_TRAFFIC: Final = frozenset({"set_traffic"})
WHOLE: Final = 1 + 1e-9
"""Shares are floats: ten tenths are a whole."""


def deploy(
    command: c.Deploy, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    the_version(state, command.model, command.version, command.digest)
    _standing(command.model, state)
    _allowed(command, command.verdict_source, DEPLOYS, state, context)
    known = state.serving.get((command.environment, command.version))
    if known is not None:
        same_verdict = known.verdict == command.verdict_source
        if known.withdrawn and same_verdict:
            refuse(
                "verdict-spent",
                f"version {command.version} was rolled back from: "
                "it needs another verdict",
                command.verdict_source,
            )
        if same_verdict and known.share == command.share and not command.replace:
            return ()
    yielded = _yielded(command, state, context) if command.replace else []
    if not command.replace:
        _fits(command, state)
    said = command.model_dump(exclude={"replace"})
    return [*yielded, e.Deployed(**said, by=context.actor.person)]


def _yielded(
    command: c.Deploy, state: ModelState, context: Context
) -> list[ModelEvent]:
    return [
        e.TrafficSet(
            model=command.model,
            version=one.version,
            digest=one.digest,
            environment=one.environment,
            share=0.0,
            previous_share=one.share,
            by=context.actor.person,
        )
        for one in state.in_environment(command.environment)
        if one.version != command.version and one.share > 0
    ]


def set_traffic(
    command: c.SetTraffic, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    the_version(state, command.model, command.version, command.digest)
    known = state.serving.get((command.environment, command.version))
    if known is None or known.withdrawn:
        refuse(
            "deployed-first",
            f"version {command.version} is not deployed in {command.environment}",
            f"{command.model}/{command.version}",
        )
    if command.share == known.share:
        return ()
    if command.share > known.share:
        _more(command, state, context)
    return [
        e.TrafficSet(
            **dict(command), previous_share=known.share, by=context.actor.person
        )
    ]


def _more(command: c.SetTraffic, state: ModelState, context: Context) -> None:
    if command.verdict_source is None:
        raise Invalid.field("verdict_source", "is compulsory for more traffic")
    _standing(command.model, state)
    _allowed(command, command.verdict_source, SETS_TRAFFIC, state, context)
    _fits(command, state)


def _standing(model: str, state: ModelState) -> None:
    if state.suspended:
        refuse("suspended", f"model {model} is suspended", model)


def _allowed(
    command: c.Deploy | c.SetTraffic,
    source: str,
    actions: frozenset[str],
    state: ModelState,
    context: Context,
) -> None:
    """Refuse unless this stream holds that ALLOW, for exactly this."""
    found = state.verdicts.get(source)
    if found is None:
        refuse("verdict-known", f"no verdict {source} was received", source)
    said = found.said
    if said.verdict != "allow":
        refuse("verdict-allows", f"verdict {source} is {said.verdict}", source)
    if found.void:
        refuse("verdict-in-force", f"verdict {source} is void: {found.void}", source)
    if said.expires_at is not None and context.now >= said.expires_at:
        refuse(
            "verdict-unexpired", f"verdict {source} expired {said.expires_at}", source
        )
    if said.digest != command.digest:
        refuse(
            "verdict-digest",
            f"verdict {source} is for {said.digest}, not {command.digest}",
            source,
        )
    if said.environment != command.environment:
        refuse(
            "verdict-environment",
            f"verdict {source} is for {said.environment}, not {command.environment}",
            source,
        )
    if said.action not in actions:
        refuse(
            "verdict-action",
            f"verdict {source} allows to {said.action}, "
            f"not to {' or '.join(sorted(actions))}",
            source,
        )
    if said.max_traffic_share is not None and command.share > said.max_traffic_share:
        refuse(
            "verdict-share",
            f"verdict {source} allows a share of {said.max_traffic_share:g}, "
            f"not {command.share:g}",
            source,
        )


def _fits(command: c.Deploy | c.SetTraffic, state: ModelState) -> None:
    others = math.fsum(
        one.share
        for one in state.in_environment(command.environment)
        if one.version != command.version
    )
    if others + command.share > WHOLE:
        refuse(
            "shares-of-one",
            f"other versions have {others:g} of {command.environment}: "
            f"{command.share:g} more is beyond the whole",
            f"{command.model}/{command.environment}",
        )


def roll_back(
    command: c.Rollback, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    here = state.in_environment(command.environment)
    left = _left(command, here)
    again = _last_good(command, left, here, state)
    return [
        e.RolledBack(
            model=command.model,
            environment=command.environment,
            from_version=left.version,
            from_digest=left.digest,
            to_version=again.version,
            to_digest=again.digest,
            share=min(1.0, math.fsum((left.share, again.share))),
            verdict_source=again.verdict,
            reason=command.reason,
            by=context.actor.person,
        )
    ]


def _left(command: c.Rollback, here: Sequence[Serving]) -> Serving:
    serves = [one for one in here if one.share > 0]
    if command.from_version is not None:
        serves = [one for one in serves if one.version == command.from_version]
    if not serves:
        refuse(
            "serving-first",
            f"{command.from_version or command.model} has no traffic in "
            f"{command.environment}: there is nothing to roll back from",
            f"{command.model}/{command.environment}",
        )
    return serves[-1]


def _last_good(
    command: c.Rollback,
    left: Serving,
    here: Sequence[Serving],
    state: ModelState,
) -> Serving:
    """What was deployed before, was not itself rolled back from, and is approved."""
    if command.to_version is not None and command.to_version not in state.versions:
        raise NotFound("version", f"{command.model}/{command.to_version}")
    good = [
        one
        for one in here
        if one.version != left.version
        and not one.withdrawn
        and not state.verdicts[one.verdict].void
        and command.to_version in {None, one.version}
    ]
    if not good:
        refuse(
            "last-good",
            f"{command.to_version or 'what was there before'} was not deployed in "
            f"{command.environment}, was rolled back from, or is approved no more",
            f"{command.model}/{command.environment}",
        )
    return good[-1]


def suspend(
    command: c.Suspend, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    if state.suspended:
        return ()
    return [e.Suspended(**dict(command), by=context.actor.person)]


def resume(
    command: c.Resume, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    if not state.suspended:
        return ()
    return [e.Resumed(**dict(command), by=context.actor.person)]


def retire(
    command: c.Retire, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    if state.retired:
        return ()
    serves = sorted(
        f"{one.version} in {one.environment}"
        for one in state.serving.values()
        if one.share > 0
    )
    if serves:
        refuse(
            "retire-idle",
            f"model {command.model} still serves: {', '.join(serves)}",
            command.model,
        )
    cancelled = [
        e.ReviewCancelled(
            model=command.model,
            review=name,
            kind=review.kind,
            due_at=review.due_at,
            reason="the model is retired",
        )
        for name, review in state.reviews.items()
        if review.open
    ]
    return [e.Retired(**dict(command), by=context.actor.person), *cancelled]


def served_after_retirement(
    command: c.RecordServedAfterRetirement, state: ModelState, _: Context
) -> Sequence[ModelEvent]:
    if not state.retired or command.source in state.served_after:
        return ()
    return [e.RetiredModelServed(**dict(command))]

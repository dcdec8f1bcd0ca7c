"""What is built: versions, cards, validations, verdicts and changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelkeep.decider import Context
from modelkeep.errors import Invalid, NotFound
from modelkeep.events import inventory as e
from modelkeep_services.inventory import commands as c
from modelkeep_services.inventory.refusing import builds, refuse, the_version
from modelkeep_services.inventory.state import ModelEvent, ModelState

SECOND_LINE: Final = frozenset({"risk_officer", "validator", "policy_author"})


def register_version(
    command: c.RegisterVersion, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    digest = e.version_digest(command.artifacts)
    if command.digest is not None and command.digest != digest:
        raise Invalid.field("digest", f"the artifacts make it {digest}")
    if command.parent is not None and command.parent not in state.versions:
        raise NotFound("version", f"{command.model}/{command.parent}")
    known = state.versions.get(command.version)
    if known is not None:
        if known.said.digest == digest:
            return ()
        refuse(
            "version-immutable",
            f"version {command.model}/{command.version} is {known.said.digest}",
            f"{command.model}/{command.version}",
        )
    said = dict(command) | {"digest": digest}
    return [e.VersionRegistered(**said, registered_by=context.actor.person)]


def attach_card(
    command: c.AttachCheckedCard, state: ModelState, _: Context
) -> Sequence[ModelEvent]:
    version = the_version(state, command.model, command.version, command.digest)
    if version.card_digest == command.card_digest:
        return ()
    known = {one.digest for one in version.said.artifacts}
    if command.hashes and not known & set(command.hashes):
        refuse(
            "card-of-version",
            f"the card speaks of other artifacts than {command.version}'s",
            f"{command.model}/{command.version}",
        )
    return [e.CardAttached(**command.model_dump(exclude={"hashes"}))]


def attach_signature(
    command: c.AttachCheckedSignature, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    version = the_version(state, command.model, command.version, command.digest)
    if command.signature_digest in version.signatures:
        return ()
    known, signed = {one.digest for one in version.said.artifacts}, set(command.files)
    if left := [one.name for one in version.said.artifacts if one.digest not in signed]:
        refuse(
            "signature-of-version",
            f"{command.publisher} did not sign {', '.join(left[:10])}",
            f"{command.model}/{command.version}",
        )
    said = command.model_dump(exclude={"files"})
    others = len(signed - known)
    return [e.VersionSigned(**said, others=others, by=context.actor.person)]


def record_validation(
    command: c.RecordValidation, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    version = the_version(state, command.model, command.version, command.digest)
    who = context.actor.person
    if role := builds(state, who, version):
        refuse(
            "validator-independent",
            f"{who.subject} is {role}: somebody else must validate {command.model}",
            f"{command.model}/{command.version}",
        )
    if command.valid_until is not None and command.valid_until <= context.now:
        raise Invalid.field("valid_until", "is past")
    return [e.ValidationRecorded(**dict(command), validator=who)]


def record_verdict(
    command: c.RecordVerdict, state: ModelState, _: Context
) -> Sequence[ModelEvent]:
    if command.source in state.verdicts or state.retired:
        return ()
    return [e.VerdictReceived(**dict(command))]


def record_revocation(
    command: c.RecordRevocation, state: ModelState, _: Context
) -> Sequence[ModelEvent]:
    gone = tuple(
        source
        for source, one in state.verdicts.items()
        if one.said.request == command.request and not one.void
    )
    return [e.VerdictRevoked(**dict(command), verdicts=gone)] if gone else ()


def classify_change(
    command: c.ClassifyChange, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    version = the_version(state, command.model, command.version)
    if command.change in state.changes:
        refuse("change-once", f"change {command.change} is classified", command.change)
    if command.envelope is not None:
        _covered(command, command.envelope, state, context)
    elif not command.material:
        _harmless(command, state, context)
    digest = version.said.digest
    voids = (
        source
        for source, one in state.verdicts.items()
        if command.material and one.said.digest == digest and not one.void
    )
    return [
        e.ChangeClassified(
            **dict(command) | {"material": bool(command.material)},
            digest=digest,
            voids=tuple(voids),
            by=context.actor.person,
        )
    ]


def _covered(
    command: c.ClassifyChange, envelope: str, state: ModelState, context: Context
) -> None:
    found = state.envelopes.get(envelope)
    if found is None:
        raise NotFound("envelope", f"{command.model}/{envelope}")
    if context.now >= found.until:
        refuse("envelope-open", f"envelope {envelope} ended on {found.until}", envelope)
    if beyond := sorted(set(command.kinds) - set(found.kinds)):
        refuse(
            "envelope-covers",
            f"envelope {envelope} does not cover {', '.join(beyond)}",
            envelope,
        )


def _harmless(command: c.ClassifyChange, state: ModelState, context: Context) -> None:
    """In the upper tiers those who build do not decide what is harmless."""
    independent = context.actor.roles & SECOND_LINE and not builds(
        state, context.actor.person
    )
    if state.tier in {1, 2} and not independent:
        refuse(
            "materiality-second-line",
            f"in tier {state.tier} the second line says that {command.change} "
            "is not material",
            command.change,
        )


def approve_envelope(
    command: c.ApproveEnvelope, state: ModelState, context: Context
) -> Sequence[ModelEvent]:
    if command.until <= context.now:
        raise Invalid.field("until", "is past")
    if role := builds(state, context.actor.person):
        refuse(
            "envelope-independent",
            f"{context.actor.subject} is {role}",
            command.envelope,
        )
    said = e.EnvelopeApproved(**dict(command), approved_by=context.actor.person)
    return () if state.envelopes.get(command.envelope) == said else (said,)

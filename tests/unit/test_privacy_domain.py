"""Who may have what erased, what forbids it, and what no service may forget to say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import Union, get_args, get_origin

import pytest

from modelkeep.errors import NotFound
from modelkeep.events import load_all
from modelkeep.events.base import known_events
from modelkeep.events.privacy import (
    ErasureApproved,
    ErasureExpired,
    ErasureRejected,
    ErasureRequested,
    ErasureStopped,
    HoldPlaced,
    HoldReleased,
    NamedKey,
    SubjectKeyDestroyed,
)
from modelkeep.events.types import Sealed
from modelkeep.testing import actor, given
from modelkeep.testing.deciding import COMMAND_ID, NOON, Past
from modelkeep_services.privacy import views
from modelkeep_services.privacy.domain import (
    ERASURE,
    HOLD,
    ApproveErasure,
    ExpireErasure,
    Holding,
    PlaceFoundHold,
    ProposeErasure,
    RecordDestruction,
    RejectErasure,
    ReleaseHold,
    RequestFoundErasure,
    StopErasure,
)
from modelkeep_services.privacy.retention import look_at

PAT = actor("pat", "privacy_officer")
ROB = actor("rob", "risk_officer")
ROBOT = actor("privacy.clock", "reactor", issuer="modelkeep", human=False)
KEYS = (
    NamedKey(key_id="a" * 32, purpose="contact"),
    NamedKey(key_id="b" * 32, purpose="approval"),
)
UNTIL = NOON + timedelta(days=30)
ASK = RequestFoundErasure(
    subject="erin",
    about="c" * 64,
    subject_keys=KEYS,
    basis="objection",
    reason="ticket 12",
    until=UNTIL,
)
REQUESTED = ErasureRequested(
    erasure=COMMAND_ID,
    about="c" * 64,
    subject_keys=KEYS,
    basis="objection",
    reason="ticket 12",
    by=PAT.person,
    until=UNTIL,
)
APPROVED = ErasureApproved(
    erasure=COMMAND_ID, subject_keys=KEYS, by=ROB.person, until=UNTIL
)
APPROVE = ApproveErasure(erasure=COMMAND_ID)


def requested() -> Past:
    return given(ERASURE, REQUESTED)


class TestErasure:
    def test_it_takes_two_people_and_then_the_keys_are_gone(self) -> None:
        past = given(ERASURE).when(ASK, by=PAT).then(REQUESTED)
        past = past.when(APPROVE, by=ROB).then(APPROVED)
        gone = [
            SubjectKeyDestroyed(erasure=COMMAND_ID, **one.model_dump()) for one in KEYS
        ]
        past = past.when(RecordDestruction(erasure=COMMAND_ID)).then(*gone)
        past.when(RecordDestruction(erasure=COMMAND_ID)).then_nothing()
        past.when(APPROVE, by=ROB).then_nothing()

    def test_what_happened_does_not_say_to_whom(self) -> None:
        said = REQUESTED.model_dump_json() + APPROVED.model_dump_json()
        assert "erin" not in said

    def test_nobody_approves_their_own(self) -> None:
        requested().when(APPROVE, by=PAT).then_refused("privacy.separation-of-duties")
        # By issuer and subject: the same name elsewhere is another person.
        other = actor("pat", "privacy_officer", issuer="elsewhere")
        requested().when(APPROVE, by=other).and_then()

    def test_a_machine_decides_nothing(self) -> None:
        reject = RejectErasure(erasure=COMMAND_ID, reason="no")
        for command in (APPROVE, reject):
            requested().when(command, by=ROBOT).then_refused("privacy.person")

    def test_a_hold_wins(self) -> None:
        held = ApproveErasure(
            erasure=COMMAND_ID, holds=(Holding(hold="h-1", matter="Smith v. Bank"),)
        )
        outcome = requested().when(held, by=ROB)
        outcome.then_refused("privacy.legal-hold")
        assert "h-1 (Smith v. Bank)" in str(outcome.error)

    def test_an_approved_one_stops_at_a_hold_that_came_first(self) -> None:
        stop = StopErasure(erasure=COMMAND_ID, hold="h-1")
        past = given(ERASURE, REQUESTED, APPROVED)
        past = past.when(stop, by=ROBOT).then(
            ErasureStopped(erasure=COMMAND_ID, subject_keys=KEYS, hold="h-1")
        )
        past.when(RecordDestruction(erasure=COMMAND_ID)).then_nothing()
        past.when(APPROVE, by=ROB).then_refused("privacy.erasure-open")

    def test_it_is_rejected_once(self) -> None:
        reject = RejectErasure(erasure=COMMAND_ID, reason="still a customer")
        past = (
            requested()
            .when(reject, by=PAT)
            .then(
                ErasureRejected(
                    erasure=COMMAND_ID,
                    subject_keys=KEYS,
                    by=PAT.person,
                    reason="still a customer",
                    until=UNTIL,
                )
            )
        )
        past.when(reject, by=PAT).then_nothing()
        outcome = past.when(APPROVE, by=ROB)
        outcome.then_refused("privacy.erasure-open")
        assert str(outcome.error).endswith("is rejected")

    def test_it_expires(self) -> None:
        expire = ExpireErasure(erasure=COMMAND_ID)
        requested().when(expire, at=UNTIL - timedelta(seconds=1)).then_nothing()
        outcome = requested().when(APPROVE, by=ROB, at=UNTIL)
        outcome.then_refused("privacy.erasure-open")
        assert str(outcome.error).endswith("is expired")
        requested().when(expire, at=UNTIL).then(
            ErasureExpired(erasure=COMMAND_ID, subject_keys=KEYS, until=UNTIL)
        )

    def test_what_cannot_be_erased_is_said_precisely(self) -> None:
        none = ASK.model_copy(update={"subject_keys": ()})
        given(ERASURE).when(none, by=PAT).then_raises(NotFound)
        gone = none.model_copy(update={"gone": "erasure e-1 on 2026-01-01"})
        outcome = given(ERASURE).when(gone, by=PAT)
        outcome.then_refused("privacy.already-erased")
        assert "erasure e-1 on 2026-01-01" in str(outcome.error)
        bundled = none.model_copy(update={"bundled": True})
        given(ERASURE).when(bundled, by=PAT).then_refused("privacy.one-key")
        waiting = ASK.model_copy(update={"waiting": "e-1"})
        given(ERASURE).when(waiting, by=PAT).then_refused("privacy.one-erasure")

    def test_an_unknown_one_is_not_found(self) -> None:
        for command in (APPROVE, ExpireErasure(erasure="x")):
            given(ERASURE).when(command, by=ROB).then_raises(NotFound)

    def test_the_clock_proposes_and_one_person_agrees(self) -> None:
        propose = ProposeErasure(
            erasure="e-2",
            subject_keys=KEYS,
            reason="it is over",
            until=UNTIL,
            document="retention-1",
        )
        past = given(ERASURE).when(propose, by=ROBOT).and_then()
        past.when(propose, by=ROBOT).then_nothing()
        past.when(ApproveErasure(erasure="e-2"), by=PAT).and_then()


class TestHolds:
    PLACE = PlaceFoundHold(hold="h-1", matter="Smith v. Bank", reason="a letter")
    PLACED = HoldPlaced(
        hold="h-1", matter="Smith v. Bank", reason="a letter", by=PAT.person
    )

    def test_a_hold_is_placed_and_released_once(self) -> None:
        release = ReleaseHold(hold="h-1", reason="settled")
        given(HOLD).when(release).then_raises(NotFound)
        past = given(HOLD).when(self.PLACE, by=PAT).then(self.PLACED)
        past.when(self.PLACE, by=PAT).then_refused("privacy.hold-once")
        released = HoldReleased(hold="h-1", by=ROB.person, reason="settled")
        past = past.when(release, by=ROB).then(released)
        past.when(release, by=ROB).then_nothing()
        past.when(self.PLACE, by=PAT).then_refused("privacy.hold-once")

    def test_after_an_approval_it_is_too_late(self) -> None:
        late = self.PLACE.model_copy(update={"too_late": "e-1"})
        given(HOLD).when(late, by=PAT).then_refused("privacy.too-late")

    @pytest.mark.parametrize(
        ("about", "purposes", "forbids"),
        [
            (None, (), True),
            ("c" * 64, (), True),
            ("d" * 64, (), False),
            (None, ("contact",), True),
            (None, ("approval",), False),
        ],
    )
    def test_it_stands_for_whom_and_what_it_says(
        self,
        about: str | None,
        purposes: tuple[str, ...],
        forbids: bool,  # noqa: FBT001  # a table's column
    ) -> None:
        row = views.HoldRow("h", about, purposes, "m", "r", PAT.person, NOON)
        assert row.forbids("c" * 64, "contact") is forbids
        # A key for all purposes is held by a hold for any.
        assert row.forbids("c" * 64, "") is (about != "d" * 64)


class TestNothingIsForgotten:
    def test_every_sealed_field_of_every_event_is_known(self) -> None:
        """Whoever seals another field tells where it is and how long it is kept."""
        load_all()
        sealed = {
            name
            for name, event in known_events().items()
            if event.__module__.startswith("modelkeep.")
            for field in event.model_fields.values()
            if _is_sealed(field.rebuild_annotation())
        }
        assert len(sealed) >= 3
        assert set(views.fields.applies) == sealed
        assert sealed <= set(views.kept.applies)


def _is_sealed(kind: object) -> bool:
    if get_origin(kind) is Union or type(kind).__name__ == "UnionType":
        return any(_is_sealed(one) for one in get_args(kind) if one is not NoneType)
    return kind is Sealed


def test_the_clock_looks_on_the_first_of_the_next_month() -> None:
    for day, then in (("2026-01-01", "2026-02-01"), ("2026-12-31", "2027-01-01")):
        assert look_at(datetime.fromisoformat(day).replace(tzinfo=UTC)) == (
            datetime.fromisoformat(then).replace(tzinfo=UTC)
        )

"""Two people, a hold, the clock: what is erased over real sockets, and what is not."""

from __future__ import annotations

import shutil
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import Message
from tests.integration.bad_inputs.debt import told
from tests.integration.conftest import Serve, Served
from tests.integration.policy_desk import refused
from tests.integration.privacy_office import (
    DAY,
    MORNING,
    PAM,
    PAT,
    ROB,
    Office,
    stamp,
)

from modelkeep.api.common.v1.common_pb2 import AsOf, Page
from modelkeep.api.privacy.v1 import privacy_pb2 as pb
from modelkeep.decider import Actor, Context
from modelkeep.events.inventory import RoleAssigned
from modelkeep.events.privacy import SubjectKeyDestroyed
from modelkeep.events.types import Sealed
from modelkeep.identity import LOCAL_ISSUER
from modelkeep.keystore import ERASED, EVERY_PURPOSE, Keystore
from modelkeep.ledger import Order, body_hash
from modelkeep.rowstore import transaction
from modelkeep_services.privacy.domain import (
    ERASURE,
    ApproveErasure,
)
from modelkeep_services.privacy.reactions import carry_out

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture(scope="module")
def served(serve_once: Serve) -> Served:
    found = serve_once("inventory", "privacy", scenario=True)
    office = Office(found)
    office.tick(MORNING)
    office.model()
    return found


@pytest.fixture
def office(served: Served) -> Office:
    return Office(served)


@pytest.fixture
def erin(office: Office) -> str:
    """Somebody with a contact, who no other test knows."""
    subject = f"erin-{uuid4().hex[:8]}"
    office.contact(subject, f"{subject}@bank.example")
    office.settle()
    return subject


def destroyed(served: Served) -> list[str]:
    name = SubjectKeyDestroyed.event_name
    return [one.data.decode() for one in served.store.read_all() if one.name == name]


class TestTwoPeople:
    def test_what_two_people_agree_to_is_erased(
        self, office: Office, erin: str
    ) -> None:
        assert office.personal(subject=erin) == [f"{erin}@bank.example"]
        asked = office.request(erin)
        assert asked.status == pb.ERASURE_STATUS_REQUESTED
        assert [one.subject for one in asked.keys] == [erin]
        assert asked.until.ToDatetime(tzinfo=UTC) == MORNING + 30 * DAY
        done = office.approve(asked.erasure)
        assert done.status == pb.ERASURE_STATUS_DESTROYED
        assert (done.requested_by.subject, done.decided_by.subject) == ("pat", "rob")
        (key,) = done.keys
        assert key.HasField("destroyed_at")
        assert key.subject == ERASED
        assert office.personal(erasure=done.erasure) == [ERASED]

    def test_the_log_says_which_key_and_not_whose(
        self, office: Office, erin: str
    ) -> None:
        key_id = office.key_of(erin)
        before = destroyed(office.served)
        office.erase(erin)
        (told,) = [one for one in destroyed(office.served) if one not in before]
        assert key_id in told
        assert erin not in told
        ours = b"".join(
            one.data + one.metadata
            for one in office.served.store.read_all()
            if one.name.startswith("privacy.")
        )
        assert erin.encode() not in ours

    def test_before_the_erasure_it_reads_erased_too(
        self, office: Office, erin: str
    ) -> None:
        head = office.served.store.head()
        done = office.erase(erin)
        then = AsOf(position=head)
        asked = pb.ListPersonalRequest(subject=erin, as_of=then)
        assert [one.text for one in office.ask(asked).fields] == [ERASED]
        with pytest.raises(grpc.RpcError):
            office.ask(pb.GetErasureRequest(erasure=done.erasure, as_of=then))

    def test_who_asked_may_not_agree(self, office: Office, erin: str) -> None:
        asked = office.request(erin)
        refused(
            lambda: office.approve(asked.erasure, PAT),
            PRECONDITION,
            "privacy.separation-of-duties",
        )
        assert office.personal(subject=erin) == [f"{erin}@bank.example"]
        office.approve(asked.erasure, PAM)
        assert office.personal(erasure=asked.erasure) == [ERASED]

    def test_a_rejected_one_touches_nothing(self, office: Office, erin: str) -> None:
        asked = office.request(erin)
        refused(lambda: office.request(erin), PRECONDITION, "privacy.one-erasure")
        told = office.ask(
            pb.RejectErasureRequest(erasure=asked.erasure, reason="still employed"), ROB
        ).erasure
        assert told.status == pb.ERASURE_STATUS_REJECTED
        assert told.said == "still employed"
        refused(
            lambda: office.approve(asked.erasure), PRECONDITION, "privacy.erasure-open"
        )
        assert office.personal(subject=erin) == [f"{erin}@bank.example"]
        assert office.request(erin).erasure != asked.erasure

    def test_what_cannot_be_erased_is_said(self, office: Office, erin: str) -> None:
        refused(lambda: office.request("nobody"), grpc.StatusCode.NOT_FOUND)
        refused(lambda: office.request(erin, "approval"), grpc.StatusCode.NOT_FOUND)
        refused(lambda: office.approve("no-such"), grpc.StatusCode.NOT_FOUND)
        office.erase(erin)
        refused(lambda: office.request(erin), PRECONDITION, "privacy.already-erased")

    def test_a_retry_is_answered_even_when_the_keys_are_gone(
        self, office: Office, erin: str
    ) -> None:
        key = str(uuid4())
        first = office.request(erin, request_id=key)
        office.approve(first.erasure)
        asked = pb.RequestErasureRequest(
            request_id=key,
            subject=erin,
            basis=pb.BASIS_OBJECTION,
            reason="ticket 12",
        )
        again = office.ask(asked)
        assert again.written.replayed
        assert again.erasure.erasure == first.erasure
        asked.reason = "ticket 13"
        refused(lambda: office.ask(asked), grpc.StatusCode.ALREADY_EXISTS)
        asked.reason, asked.subject = "ticket 12", "somebody-else"
        refused(lambda: office.ask(asked), grpc.StatusCode.ALREADY_EXISTS)

    def test_a_retried_approval_destroys_once(self, office: Office, erin: str) -> None:
        asked = office.request(erin)
        before = len(destroyed(office.served))
        for _ in range(2):
            office.approve(asked.erasure)
        assert len(destroyed(office.served)) == before + 1

    def test_somebody_who_comes_back_can_be_erased_again(
        self, office: Office, erin: str
    ) -> None:
        first = office.erase(erin)
        office.contact(erin, "new@bank.example")
        office.settle()
        assert office.personal(subject=erin) == [ERASED, "new@bank.example"]
        second = office.erase(erin)
        assert second.keys[0].key_id != first.keys[0].key_id
        assert office.personal(subject=erin) == [ERASED, ERASED]

    def test_a_reason_that_names_them_is_refused(
        self, office: Office, erin: str
    ) -> None:
        asked = pb.RequestErasureRequest(
            subject=erin,
            basis=pb.BASIS_OBJECTION,
            reason=f"{erin.upper()} has written to us",
        )
        refused(lambda: office.ask(asked), grpc.StatusCode.INVALID_ARGUMENT)

    def test_another_tenants_people_are_theirs(self, office: Office, erin: str) -> None:
        other = Office(office.served, tenant="other")
        refused(lambda: other.request(erin), grpc.StatusCode.NOT_FOUND)
        asked = office.request(erin)
        refused(lambda: other.approve(asked.erasure), grpc.StatusCode.NOT_FOUND)

    @pytest.mark.parametrize(
        ("request_", "role"),
        [
            (pb.RequestErasureRequest(subject="e"), "risk_officer"),
            (pb.ApproveErasureRequest(erasure="e"), "operator"),
            (pb.PlaceHoldRequest(hold="h"), "operator"),
            (pb.ReleaseHoldRequest(hold="h"), "auditor"),
            (pb.ListPersonalRequest(subject="e"), "risk_officer"),
            (pb.ListErasuresRequest(), "engineer"),
        ],
    )
    def test_each_role_has_its_part(
        self, office: Office, request_: Message, role: str
    ) -> None:
        denied = grpc.StatusCode.PERMISSION_DENIED
        refused(lambda: office.ask(request_, (role, "x")), denied)


class TestHolds:
    @pytest.mark.parametrize("whom", ["them", "everybody"])
    def test_a_hold_wins_and_is_named(
        self, office: Office, erin: str, whom: str
    ) -> None:
        hold = f"case-{uuid4().hex[:8]}"
        office.hold(hold, erin if whom == "them" else "")
        asked = office.request(erin)
        assert list(asked.holds) == [hold]
        with pytest.raises(grpc.RpcError) as error:
            office.approve(asked.erasure)
        assert error.value.code() is PRECONDITION
        assert f"hold {hold} (Smith v. Bank) forbids" in str(error.value.details())
        office.release(hold)
        assert office.approve(asked.erasure).status == pb.ERASURE_STATUS_DESTROYED

    def test_a_hold_for_another_purpose_or_person_does_not(
        self, office: Office, erin: str
    ) -> None:
        office.hold(f"case-{erin}-1", "somebody-else")
        office.hold(f"case-{erin}-2", erin, "disposition")
        assert office.erase(erin).status == pb.ERASURE_STATUS_DESTROYED

    def test_a_hold_that_came_first_stops_what_was_approved_without_it(
        self, office: Office, erin: str
    ) -> None:
        """As another process would, whose views had not heard of the hold."""
        asked = office.request(erin)
        hold = f"case-{erin}"
        office.hold(hold, erin)
        actor = Actor(LOCAL_ISSUER, "rob", frozenset({"risk_officer"}), "main")
        command = ApproveErasure(erasure=asked.erasure)
        now = office.served.node.host.clock.now()
        order = Order(
            f"erasure-main.{asked.erasure}",
            ERASURE,
            command,
            Context(actor, now, now, str(uuid4())),
            body_hash(command),
        )
        office.served.node.ledger.execute(order)
        office.settle()
        found = office.get(asked.erasure)
        assert found.status == pb.ERASURE_STATUS_STOPPED
        assert list(found.holds) == [hold]
        assert office.personal(subject=erin) == [f"{erin}@bank.example"]

    def test_holds_are_listed_with_whom_they_are_for(
        self, office: Office, erin: str
    ) -> None:
        hold = f"case-{erin}"
        office.hold(hold, erin)
        asked = pb.ListHoldsRequest(page=Page(size=1_000))
        (found,) = [one for one in office.ask(asked).holds if one.hold == hold]
        assert (found.subject, found.matter) == (erin, "Smith v. Bank")
        office.release(hold)
        assert hold not in [one.hold for one in office.ask(asked).holds]
        asked.released = True
        (over,) = [one for one in office.ask(asked).holds if one.hold == hold]
        assert over.release_reason == "settled"


class TestOldHomes:
    def test_a_key_for_all_purposes_goes_as_a_whole_or_not_at_all(
        self, office: Office
    ) -> None:
        """What an older home sealed still opens, and is erased like the rest."""
        host = office.served.node.host
        subject, key_id, key = "olden", uuid4().hex, bytes(range(32))
        with transaction(host.keystore._file):  # as it is when an old one is opened
            host.keystore._put(key_id, "main", subject, EVERY_PURPOSE, key)
        nonce = bytes(12)
        text = AESGCM(key).encrypt(nonce, b"o@bank.example", b"main|contact")
        sealed = Sealed(
            key_id=key_id,
            nonce=b64encode(nonce).decode(),
            ciphertext=b64encode(text).decode(),
        )
        told(
            office.served,
            "model-of-old",
            RoleAssigned(
                model="old",
                role="engineer",
                subject=subject,
                issuer=LOCAL_ISSUER,
                contact=sealed,
            ),
        )
        assert office.personal(subject=subject) == ["o@bank.example"]
        refused(
            lambda: office.request(subject, "contact"), PRECONDITION, "privacy.one-key"
        )
        office.hold("case-old", subject, "contact")
        asked = office.request(subject)
        refused(lambda: office.approve(asked.erasure), PRECONDITION)
        office.release("case-old")
        office.approve(asked.erasure)
        assert office.personal(subject=subject) == [ERASED]


class TestKeystore:
    def test_an_older_keystore_is_brought_up_to_the_log(
        self, office: Office, erin: str, tmp_path: Path
    ) -> None:
        """A backup put back: what the log says is destroyed is destroyed again."""
        host = office.served.node.host
        carry_out(host)
        host.keystore._forget()
        backup = tmp_path / "backup.db"
        shutil.copy(host.home.subjects, backup)
        office.erase(erin)
        sealed_in = office.ask(pb.ListPersonalRequest(subject=erin)).fields[0].key_id
        with Keystore(backup, host.keystore._service) as old:
            assert old.whose("main", sealed_in) is not None
            there = host.__class__(host.home, host.store, host.ledger, host.clock, old)
            assert carry_out(there) == 1
            assert old.whose("main", sealed_in) is None
            assert carry_out(there) == 0
            assert old.heard == host.store.head()

    def test_the_keys_turn_when_ordered(self, office: Office, erin: str) -> None:
        key = str(uuid4())
        for _ in range(2):  # the second is a retry
            office.ask(
                pb.TurnKeysRequest(
                    request_id=key, reason="a backup was lost", end_previous=True
                )
            )
            office.settle()
        epochs = office.ask(pb.ListEpochsRequest()).epochs
        assert [one.HasField("ended") for one in epochs] == [True] * (
            len(epochs) - 1
        ) + [False]
        before = len(epochs)
        assert office.personal(subject=erin) == [f"{erin}@bank.example"]
        office.ask(pb.TurnKeysRequest(reason="a drill"))
        office.settle()
        epochs = office.ask(pb.ListEpochsRequest()).epochs
        assert len(epochs) == before + 1
        assert not epochs[-2].HasField("ended")
        assert epochs[-1].keys > 0


class TestRetention:
    @pytest.fixture
    def office(self, serve: Serve) -> Office:
        office = Office(serve("inventory", "privacy", scenario=True))
        office.tick(MORNING)
        office.model()
        office.contact("erin", "erin@bank.example")
        return office

    def due(self, office: Office, by: datetime) -> list[str]:
        asked = pb.ListDueRequest(by=stamp(by))
        return [one.key.subject for one in office.ask(asked).due]

    def proposed(self, office: Office) -> list[pb.Erasure]:
        asked = pb.ListErasuresRequest(status=pb.ERASURE_STATUS_REQUESTED)
        return list(office.ask(asked).erasures)

    def test_what_is_in_use_is_never_due(self, office: Office) -> None:
        assert self.due(office, MORNING + 36_500 * DAY) == []
        office.tick(MORNING + 400 * DAY)
        assert self.proposed(office) == []

    def test_the_clock_proposes_and_a_person_agrees(self, office: Office) -> None:
        office.leave("erin")
        office.settle()
        over = MORNING + 365 * DAY
        assert self.due(office, over - timedelta(seconds=1)) == []
        assert self.due(office, over) == ["erin"]
        office.tick(over)  # the clock looks on the first of the next month
        assert self.proposed(office) == []
        office.tick(datetime(2027, 4, 1, tzinfo=UTC))
        (proposed,) = self.proposed(office)
        assert proposed.basis == pb.BASIS_RETENTION
        assert proposed.document == "retention-1"
        assert proposed.requested_by.subject == "privacy.clock"
        assert office.personal(subject="erin") == ["erin@bank.example"]
        office.approve(proposed.erasure, PAT)
        assert office.personal(subject="erin") == [ERASED]
        assert self.due(office, MORNING + 36_500 * DAY) == []
        office.tick(datetime(2027, 5, 1, tzinfo=UTC))
        assert self.proposed(office) == []

    def test_one_that_nobody_decides_expires_and_comes_again(
        self, office: Office
    ) -> None:
        office.leave("erin")
        office.tick(datetime(2027, 4, 1, tzinfo=UTC))
        (first,) = self.proposed(office)
        office.tick(datetime(2027, 5, 1, tzinfo=UTC))
        assert self.proposed(office) == []
        told = office.get(first.erasure)
        assert told.status == pb.ERASURE_STATUS_EXPIRED
        office.tick(datetime(2027, 8, 1, tzinfo=UTC))  # 90 days on, and the next first
        (second,) = self.proposed(office)
        assert second.erasure != first.erasure
        assert second.keys == first.keys

    def test_a_hold_wins_against_retention(self, office: Office) -> None:
        office.leave("erin")
        office.hold("case-1", "erin")
        office.tick(datetime(2027, 4, 1, tzinfo=UTC))
        assert self.proposed(office) == []
        asked = pb.ListDueRequest()
        assert [list(one.holds) for one in office.ask(asked).due] == [["case-1"]]
        office.release("case-1")
        office.settle()
        office.tick(datetime(2027, 5, 1, tzinfo=UTC))
        assert len(self.proposed(office)) == 1

    def test_the_periods_are_a_document(self, office: Office) -> None:
        found = office.ask(pb.GetRetentionRequest())
        assert found.document == "retention-1"
        assert found.digest.startswith("sha256:")
        kept = {one.kind: one.erased_by_key for one in found.classes}
        assert kept == {
            "contact": True,
            "approval": True,
            "disposition": True,
            "decisions": False,
        }

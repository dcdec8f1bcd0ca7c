"""The command's small parts: moments, steps of a proof, what a terminal is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import grpc
import pytest

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.errors import Corrupt, Invalid, Unavailable
from modelkeep.proof.checkpoint import Checkpoint, stamped
from modelkeep.proof.leaf import event_leaf
from modelkeep.proof.merkle import Leaves, inclusion_proof, leaf_hash, root_of
from modelkeep.proof.note import SigningKey
from modelkeep_services.cli import screen, why
from modelkeep_services.cli.asking import Absent, refusal
from modelkeep_services.cli.moments import moment
from modelkeep_services.cli.proofs import steps

SIGNED_AT = "2013-04-01T00:00:00Z"
KEY = SigningKey("bank.example/ledger", bytes(range(32)))
OTHER = SigningKey("bank.example/ledger", bytes(32))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2013-06-30", datetime(2013, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2013-06-30T12:00", datetime(2013, 6, 30, 12, tzinfo=UTC)),
        ("2013-06-30T12:00:00+02:00", datetime(2013, 6, 30, 10, tzinfo=UTC)),
        ("2013-06-30 12:00Z", datetime(2013, 6, 30, 12, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_people_mean_it(written: str, meant: datetime) -> None:
    assert moment(written).time.ToDatetime(tzinfo=UTC) == meant


def test_a_number_is_a_position_and_now_is_no_bound() -> None:
    assert moment("0").position == 0
    assert moment("now").WhichOneof("moment") is None


@pytest.mark.parametrize(
    "written", ["", "yesterday", "-3", "2013-13-01", "12:00", "9" * 40, "1.5"]
)
def test_what_is_no_moment_is_refused(written: str) -> None:
    with pytest.raises(Invalid):
        moment(written)


def proven() -> pb.RowProof:
    """A row in a batch in an event in a signed log of five."""
    rows = [b"row %d" % n for n in range(9)]
    leaves = [leaf_hash(row) for row in rows]
    root = root_of(leaves)
    event = pb.Event(
        id=str(uuid4()),
        stream="decisions-main.credit",
        version=3,
        name="monitoring.batch-recorded",
        schema_version=1,
        data=f'{{"root":"sha256:{root.hex()}"}}',
        metadata="{}",
    )
    leaf = event_leaf(
        KEY.name,
        event.stream,
        event.version,
        UUID(event.id).bytes,
        event.name,
        event.schema_version,
        event.data.encode(),
        event.metadata.encode(),
    )
    log = [bytes([n]) * 32 for n in range(4)]
    log.insert(2, leaf)
    checkpoint = Checkpoint(KEY.name, 5, root_of(log), (stamped(SIGNED_AT),))
    return pb.RowProof(
        row=rows[4],
        index=4,
        rows=9,
        proof=inclusion_proof(Leaves(leaves), 4, 9),
        root=root,
        found_root=root,
        event=event,
        inclusion=pb.Inclusion(
            event_id=event.id,
            leaf=leaf,
            index=2,
            proof=inclusion_proof(Leaves(log), 2, 5),
            checkpoint=pb.Checkpoint(
                note=KEY.sign_note(checkpoint.encode()).decode(),
                origin=checkpoint.origin,
                size=5,
                root=checkpoint.root,
                time=SIGNED_AT,
                key=str(KEY.verifier),
            ),
        ),
    )


def holds(proof: pb.RowProof, key: SigningKey = KEY) -> list[bool]:
    return [step.holds for step in steps(proof, key.verifier)]


def test_an_honest_proof_holds_at_every_step() -> None:
    assert holds(proven()) == [True] * 4


def test_another_row_is_not_in_the_batch() -> None:
    proof = proven()
    proof.row = b"row 5"
    assert holds(proof) == [False, True, True, True]


def test_another_batch_is_not_in_the_event() -> None:
    proof = proven()
    proof.event.data = '{"root":"sha256:' + "0" * 64 + '"}'
    assert holds(proof) == [True, False, False, True]


@pytest.mark.parametrize("field", ["stream", "name", "metadata"])
def test_another_event_is_not_in_the_log(field: str) -> None:
    proof = proven()
    setattr(proof.event, field, "other")
    assert holds(proof) == [True, True, False, True]


def test_a_log_signed_by_another_key_is_not_this_one() -> None:
    assert holds(proven(), OTHER) == [True, True, True, False]


def test_a_checkpoint_that_says_something_else_was_not_signed() -> None:
    proof = proven()
    proof.inclusion.checkpoint.size = 6
    assert holds(proof)[3] is False


@pytest.mark.parametrize("data", ["", "[]", "{}", '{"root":1}'])
def test_an_event_that_names_no_root_proves_nothing(data: str) -> None:
    proof = proven()
    proof.event.data = data
    assert holds(proof)[1] is False


def test_a_terminal_is_not_commanded_by_what_the_ledger_says() -> None:
    assert screen.clean("a\x1b[31mred\x07") == "a\\x1b[31mred\\x07"
    assert screen.word("\x1b]0;title").plain == "\\x1b]0;title"


def test_a_digest_is_shortened_to_what_is_recognised() -> None:
    assert screen.short("sha256:" + "ab" * 32) == "sha256:abababababab"


def refused(code: grpc.StatusCode, details: str) -> grpc.RpcError:
    """What a stub raises."""
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, nothing, nothing, details=details)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, Invalid),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.DATA_LOSS, Corrupt),
        (grpc.StatusCode.NOT_FOUND, Absent),
    ],
)
def test_a_refusal_over_the_wire_is_an_error_of_ours(
    code: grpc.StatusCode, kind: type[Exception]
) -> None:
    error = refusal(refused(code, "decision: must be a UUID"))
    assert type(error) is kind
    assert str(error) == "decision: must be a UUID"


def test_a_rule_that_was_set_aside_says_by_what() -> None:
    rule = pb.Rule(rule="drift/worst", text="psi is 1.75", waived_by="season-2013")
    assert why.grounds(rule) == "psi is 1.75; set aside by exception season-2013"
    rule.waived_by = ""
    assert why.grounds(rule) == "psi is 1.75"

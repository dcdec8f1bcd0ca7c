"""The writer's signature: what it covers, and who stands for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from multiprocessing import active_children

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.proof import crowd, writers
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import SigningKey
from modelkeep.proof.writers import (
    Signable,
    Writers,
    Written,
    append_message,
    attach,
    check_writers,
    detach,
    sign_append,
)

ALICE = SigningKey("serving.example", bytes(32))
MALLORY = SigningKey("mallory.example", bytes([1]) * 32)
META = b'{"tenant":"acme","n":"%d"}'
NAME = "inventory.model-registered"


def event(n: int) -> Signable:
    return Signable(bytes([n % 256] * 16), NAME, 1, b"data %d" % n, META % n)


def alone(data: bytes, metadata: bytes) -> Signable:
    return Signable(bytes(16), NAME, 1, data, metadata)


def appended(
    stream: str, first: int, many: int, *, leaf: int = 0, key: SigningKey = ALICE
) -> list[Written]:
    """An append of so many events, signed."""
    events = [event(n) for n in range(first, first + many)]
    signed = sign_append(key, stream, first, events)
    events[-1] = events[-1]._replace(metadata=signed)
    return [
        Written(leaf + n, stream, first + n, written)
        for n, written in enumerate(events)
    ]


def test_the_message_is_as_described() -> None:
    events = [
        Signable(b"i" * 16, "x.a", 1, b"a", b"{}"),
        Signable(b"j" * 16, "x.b", 2, b"b", b"[]"),
    ]
    message = append_message("model-acme.fraud", 12, events)
    head = b"modelkeep append v1\nmodel-acme.fraud\n12\n"
    first = [sha256(part).digest() for part in (b"x.a", b"a", b"{}")]
    second = [sha256(part).digest() for part in (b"x.b", b"b", b"[]")]
    body = [b"i" * 16, b"\0" * 7 + b"\1", *first, b"j" * 16, b"\0" * 7 + b"\2", *second]
    assert message == head + b"".join(body)


@given(st.dictionaries(st.text(), st.text(), min_size=1))
def test_a_signature_comes_off_as_it_went_on(members: dict[str, str]) -> None:
    metadata = json.dumps(members, separators=(",", ":")).encode()
    signed = sign_append(ALICE, "s", 0, [alone(b"data", metadata)])
    assert json.loads(signed)["signature"].startswith(ALICE.key_id + ":1:")
    unsigned, signature = detach(signed)
    assert unsigned == metadata
    assert signature is not None
    assert attach(metadata, signature) == signed


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"{}",
        b"{ }",
        b"[]",
        b'{"a":"b"} ',
        sign_append(ALICE, "s", 0, [alone(b"", b'{"a":"b"}')]),
    ],
)
def test_some_metadata_cannot_be_signed(metadata: bytes) -> None:
    signature = f"{ALICE.key_id}:1:{'A' * 86}=="
    with pytest.raises(Malformed):
        attach(metadata, signature)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "nonsense",
        f"c74f20a3:1:{'A' * 86}",
        f"c74f20a3:0:{'A' * 86}==",
        f"C74F20A3:1:{'A' * 86}==",
        f'c74f20a3:1:{"A" * 85}"==',
        f"c74f20a3:1:{'A' * 90}==",
    ],
)
def test_what_is_no_signature_is_not_attached(signature: str) -> None:
    with pytest.raises(Malformed):
        attach(b'{"a":"b"}', signature)


@given(st.binary(max_size=300))
def test_anything_may_be_metadata(metadata: bytes) -> None:
    assert detach(metadata) == (metadata, None)


def test_honest_appends_are_vouched_for() -> None:
    events = [*appended("a", 0, 3), *appended("b", 0, 1, leaf=3)]
    events += appended("a", 3, 2, leaf=4)
    vouched = check_writers(events, [ALICE.verifier, MALLORY.verifier])
    assert vouched.events == {"serving.example": 6}
    assert vouched.doubtful == 0


def test_appends_may_lie_across_each_other() -> None:
    left, right = appended("a", 0, 2), appended("b", 0, 2)
    mixed = [left[0], right[0], right[1], left[1]]
    assert check_writers(mixed, [ALICE.verifier]).doubtful == 0


def doubts(events: list[Written]) -> list[tuple[int, str]]:
    found = check_writers(events, [ALICE.verifier]).doubts
    return [(doubt.version, doubt.reason) for doubt in found]


def test_an_event_without_a_writer_is_doubtful() -> None:
    loose = Written(9, "a", 3, event(3))
    assert doubts([*appended("a", 0, 3), loose]) == [(3, "signed by nobody")]
    events = [loose._replace(version=0), *appended("a", 1, 2)]
    assert doubts(events) == [(0, "signed by nobody")]


def test_a_writer_nobody_named_is_doubtful() -> None:
    found = doubts(appended("a", 0, 2, key=MALLORY))
    assert [version for version, _ in found] == [0, 1]
    assert MALLORY.key_id in found[0][1]


CHANGES: list[Callable[[Signable], Signable]] = [
    lambda honest: honest._replace(id=bytes([255] * 16)),
    lambda honest: honest._replace(name="inventory.retired"),
    lambda honest: honest._replace(schema_version=2),
    lambda honest: honest._replace(data=b"changed"),
    lambda honest: honest._replace(metadata=honest.metadata.replace(b"acme", b"evil")),
]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_event_is_doubtful_with_its_append(
    at: int, change: Callable[[Signable], Signable]
) -> None:
    events = appended("a", 0, 3)
    events[at] = events[at]._replace(event=change(events[at].event))
    assert [version for version, _ in doubts(events)] == [0, 1, 2]


def test_an_append_cannot_be_moved() -> None:
    there = appended("a", 0, 2)
    elsewhere = [event._replace(stream="b") for event in there]
    assert len(doubts(elsewhere)) == 2
    later = [event._replace(version=event.version + 1) for event in there]
    assert len(doubts(later)) == 2


def test_an_append_cannot_lose_an_event() -> None:
    assert doubts(appended("a", 0, 3)[1:]) == [
        (1, "its append had 3 events, not 2"),
        (2, "its append had 3 events, not 2"),
    ]


def test_what_waits_for_a_signature_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_PENDING", 10)
    following = Writers([ALICE.verifier], keep=5)
    for n in range(100):
        following.take(Written(n, "a", n, event(7)))
    assert len(following._waiting["a"]) == 10
    vouched = following.finish()
    assert vouched.doubtful == 100
    assert len(vouched.doubts) == 5


# --- many at once


def many(appends: int, *, wrong: frozenset[int] = frozenset()) -> list[Written]:
    """Appends of one event, some of them signed by somebody else for that key's id."""
    found: list[Written] = []
    for n in range(appends):
        (written,) = appended("s", n, 1, leaf=n)
        if n in wrong:
            other = written.event._replace(data=b"other")
            written = written._replace(event=other)
        found.append(written)
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_whoever_checks_them_the_same_signatures_do_not_fit(processes: int) -> None:
    wrong = frozenset({0, 255, 256, 600})
    with crowd.checking(processes) as check:
        following = Writers([ALICE.verifier], check=check)
        for one in many(601, wrong=wrong):
            following.take(one)
        vouched = following.finish()
    assert vouched.events == {"serving.example": 597}
    assert {doubt.leaf for doubt in vouched.doubts} == wrong
    assert [doubt.leaf for doubt in vouched.doubts] == sorted(wrong)
    assert vouched.doubts[0].reason == "the signature by serving.example does not fit"


def test_a_key_that_was_used_before_still_travels() -> None:
    assert ALICE.verifier.verifies(b"m", ALICE.sign(b"m"))
    with crowd.checking(2) as check:
        following = Writers([ALICE.verifier], check=check)
        for one in many(300):
            following.take(one)
        assert following.finish().doubtful == 0


def test_no_process_is_left_when_the_reading_fails() -> None:
    def read() -> None:
        with crowd.checking(2) as check:
            check([])
            raise Malformed("the ledger")

    with pytest.raises(Malformed):
        read()
    assert not active_children()

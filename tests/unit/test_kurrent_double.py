"""The double of KurrentDB, asked by the unmodified client: the rules it was built to.

It tests our side, not KurrentDB; here we only keep the double from drifting.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kurrentdbclient import KurrentDBClient, NewEvent, RecordedEvent, StreamState
from kurrentdbclient.exceptions import (
    GrpcError,
    NotFoundError,
    StreamIsDeletedError,
    WrongCurrentVersionError,
)
from tests.doubles.kurrentdb import Double

from modelkeep import errors
from modelkeep.store import port
from modelkeep.store.kurrent import KurrentStore

S = "s-t.1"
ANY, NO_STREAM, EXISTS = StreamState.ANY, StreamState.NO_STREAM, StreamState.EXISTS


def event(name: str = "n.a") -> NewEvent:
    return NewEvent(type=name, data=b"{}", id=uuid4())


@pytest.fixture
def double() -> Iterator[Double]:
    with Double(remembered=8) as double:
        yield double


@pytest.fixture
def client(double: Double) -> Iterator[KurrentDBClient]:
    with KurrentDBClient(double.uri) as client:
        yield client


Append = Callable[[list[NewEvent], int | StreamState], int]


@pytest.fixture
def append(client: KurrentDBClient) -> Append:
    def append(events: list[NewEvent], expected: int | StreamState) -> int:
        return client.append_to_stream(S, current_version=expected, events=events)

    return append


def test_both_ways_in_have_the_same_rules(
    client: KurrentDBClient, double: Double
) -> None:
    one = event()
    first = client.append_event(S, current_version=NO_STREAM, event=one)
    again = client.append_to_stream(S, current_version=NO_STREAM, events=[one])
    assert first == again
    for wrong in (4, NO_STREAM):
        with pytest.raises(WrongCurrentVersionError) as single:
            client.append_event(S, current_version=wrong, event=event())
        with pytest.raises(WrongCurrentVersionError) as listed:
            client.append_to_stream(S, current_version=wrong, events=[event()])
        assert single.value.actual_version == listed.value.actual_version == 0
    assert double.calls == {"Append": 3, "BatchAppend": 3}


def test_part_of_an_append_that_is_known_is_not_a_retry(append: Append) -> None:
    known = [event(), event(), event()]
    append(known, NO_STREAM)
    for expected in (NO_STREAM, ANY, EXISTS):
        with pytest.raises(WrongCurrentVersionError) as partly:
            append([known[0], event()], expected)
        assert partly.value.actual_version == 2
    with pytest.raises(WrongCurrentVersionError):
        append(known, 0)


def test_any_forgets_what_is_no_longer_recent(
    client: KurrentDBClient, append: Append
) -> None:
    one = event()
    first = append([one], ANY)
    assert append([one], ANY) == first
    append([event() for _ in range(8)], ANY)
    assert append([one], ANY) > first
    assert client.get_current_version(S) == 9


def test_what_exists_must_exist(append: Append) -> None:
    with pytest.raises(WrongCurrentVersionError) as missing:
        append([event()], EXISTS)
    assert missing.value.actual_version is NO_STREAM


def test_a_deleted_stream_goes_on_where_it_ended(
    client: KurrentDBClient, append: Append
) -> None:
    append([event(), event()], NO_STREAM)
    client.delete_stream(S, current_version=1)
    with pytest.raises(NotFoundError):
        client.get_stream(S)
    with pytest.raises(WrongCurrentVersionError):
        append([event()], EXISTS)
    append([event()], NO_STREAM)
    assert [e.stream_position for e in client.get_stream(S)] == [2]
    assert len([e for e in client.read_all() if e.stream_name == S]) == 3


def test_a_tombstone_is_for_ever(client: KurrentDBClient, append: Append) -> None:
    append([event()], NO_STREAM)
    client.tombstone_stream(S, current_version=0)
    with pytest.raises(StreamIsDeletedError):
        append([event()], ANY)
    with pytest.raises(StreamIsDeletedError):
        client.get_stream(S)


def test_where_a_read_begins(client: KurrentDBClient, append: Append) -> None:
    append([event() for _ in range(5)], NO_STREAM)
    every = list(client.read_all())
    middle = every[2].commit_position
    forwards = client.read_all(commit_position=middle)
    backwards = client.read_all(commit_position=middle, backwards=True)
    assert [e.stream_position for e in forwards] == [2, 3, 4]
    assert [e.stream_position for e in backwards] == [1, 0]
    with client.subscribe_to_all(commit_position=middle) as subscription:
        assert next(subscription).stream_position == 3
    with client.subscribe_to_stream(S, stream_position=1) as subscription:
        assert next(subscription).stream_position == 2
    with pytest.raises(GrpcError, match="invalid position"):
        list(client.read_all(commit_position=middle + 1))


def test_the_clients_own_filters_hide_and_admit_too_much(
    client: KurrentDBClient, append: Append
) -> None:
    append([event("Result"), event("A"), event("AB"), event("xB")], NO_STREAM)
    assert "Result" not in [e.type for e in client.read_all()]
    loose = client.read_all(filter_include=("A", "B"))
    assert [e.type for e in loose] == ["A", "AB", "xB"]


def test_a_filtered_subscription_reports_how_far_it_has_come(
    client: KurrentDBClient, double: Double, append: Append
) -> None:
    append([event("dull") for _ in range(40)], NO_STREAM)
    heard: list[RecordedEvent] = []
    with client.subscribe_to_all(
        filter_include=("keen",),
        filter_by_prefix=True,
        include_checkpoints=True,
        include_caught_up=True,
        window_size=4,
        checkpoint_interval_multiplier=2,
    ) as subscription:
        while not (heard and heard[-1].is_caught_up):
            heard.append(next(subscription))
    marks = [e.commit_position for e in heard if e.is_checkpoint]
    records = [r.position for r in double.log.all()]
    assert marks[:5] == records[7::8]
    assert heard[-1].commit_position == marks[-1] == records[-1]


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes]:
    """A key and a certificate of itself for 127.0.0.1, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "double")])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3))
        .add_extension(x509.SubjectAlternativeName([here]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, built.public_bytes(pem)


def test_tls_and_credentials_come_in_the_uri(
    tmp_path: Path, certificate: tuple[bytes, bytes]
) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(certificate[1])
    new = port.NewEvent(uuid4(), "n.a", 1, b"{}", b'{"schema_version":"1"}')
    with Double(account=("admin", "s3cret"), tls=certificate) as double:
        place = f"127.0.0.1:{double.port}?TlsCaFile={trusted}"
        with KurrentStore(f"kurrentdb://admin:s3cret@{place}") as store:
            assert store.append(S, [new], expected=port.NO_STREAM).version == 0
            with store.subscribe() as subscription:
                assert len(subscription.poll(20).events) == 1
        with KurrentStore(f"kurrentdb://admin:wr0ng@{place}") as stranger:
            with pytest.raises(errors.Unavailable, match="credentials") as refused:
                stranger.append(S, [new], expected=port.NO_STREAM)
            assert "wr0ng" not in str(refused.value)
            subscription = stranger.subscribe()
            with pytest.raises(errors.Unavailable, match="credentials"):
                subscription.poll(20)

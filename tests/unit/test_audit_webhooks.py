"""Checkpoints are told to webhooks, signed as Standard Webhooks says."""

from __future__ import annotations

import base64
import hmac
import json
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from tests.unit.test_outbound import server

from modelkeep.errors import Invalid, Unavailable
from modelkeep.home import Home
from modelkeep.outbound import Destination
from modelkeep.proof.checkpoint import Checkpoint, stamped
from modelkeep.proof.cosignature import WitnessKey
from modelkeep.proof.merkle import Leaves, leaf_hash
from modelkeep.proof.note import SigningKey
from modelkeep_services.audit.outside import (
    HOSTS,
    SECRET,
    TIMESTAMPS,
    WEBHOOKS,
    WITNESSES,
    Outside,
)
from modelkeep_services.audit.signed import Signed
from modelkeep_services.audit.webhooks import (
    Webhook,
    of_checkpoint,
    secret_of,
    signature,
)

KEY = SigningKey("bank.example/ledger", bytes(range(32)))
NODES = Leaves([leaf_hash(b"1")])
TOLD = Checkpoint(
    KEY.name, 1, NODES.leaves(0, 1)[0], (stamped("2026-01-01T00:00:00Z"),)
)
SIGNED = Signed(KEY.sign_note(TOLD.encode()), TOLD, NODES)
BYTES = bytes(range(24))
WITNESS = WitnessKey.of(SigningKey("witness.example/w1", bytes(32)))


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    told = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_checkpoint_is_told_with_its_note() -> None:
    with server(204) as (url, seen):
        hook = Webhook(Destination.parse(f"{url}/in"), BYTES, lambda: 1614265330.9)
        hook.tell(of_checkpoint(SIGNED))
        hook.tell(of_checkpoint(SIGNED))
    path, headers, body = seen[0]
    assert path == "/in"
    assert headers["Content-Type"] == "application/cloudevents+json"
    message = f"{headers['webhook-id']}.1614265330.".encode() + body
    digest = base64.b64encode(hmac.new(BYTES, message, sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    event = json.loads(body)
    assert event["id"] == headers["webhook-id"]
    assert event["type"] == "modelkeep.checkpoint.signed"
    assert event["time"] == "2021-02-25T15:02:10.900000Z"
    assert event["data"]["note"].encode() == SIGNED.note
    assert event["data"]["size"] == 1
    assert seen[1][1]["webhook-id"] == headers["webhook-id"]


@pytest.mark.parametrize("status", [300, 302, 400, 410, 500])
def test_what_is_not_taken_is_not_delivered(status: int) -> None:
    with server(status) as (url, _):
        hook = Webhook(Destination.parse(url), BYTES)
        with pytest.raises(Unavailable, match=f"answered {status}"):
            hook.tell(of_checkpoint(SIGNED))


# --- the secret ---------------------------------------------------------------------


def test_a_secret_is_made_once_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "webhook.secret"
    secret = secret_of(path)
    assert secret_of(path) == secret
    assert len(secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("whsec_")


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_AAAA", "whsec_*", base64.b64encode(BYTES).decode()]
)
def test_what_is_no_secret_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Invalid, match="whsec_"):
        secret_of(path)


def test_a_secret_that_others_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    secret_of(path)
    path.chmod(0o640)
    with pytest.raises(Invalid, match="open to others"):
        secret_of(path)


# --- the environment ----------------------------------------------------------------


def test_nothing_is_called_unless_told(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert Outside.configured(home, {}) == Outside()
    assert not home.keys.exists()


def test_the_environment_says_who_is_told(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_text(f"witness w {WITNESS} http://[::1]:8084/w\nquorum w\n")
    outside = Outside.configured(
        Home(tmp_path),
        {
            WEBHOOKS: "https://a.example/x  http://127.0.0.1:1/y",
            WITNESSES: str(policy),
        },
    )
    assert list(map(str, outside.webhooks)) == [
        "https://a.example/x",
        "http://127.0.0.1:1/y",
    ]
    assert len(outside.secret) == 32
    assert str(outside.witnesses["w"]) == "http://[::1]:8084/w"
    assert outside.policy_text == policy.read_bytes()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {WEBHOOKS: "http://a.example/"},
            "http://a.example/' is not https",
        ),
        ({WEBHOOKS: "https://a.example/", HOSTS: "b.example"}, "not among the hosts"),
        ({WEBHOOKS: "https://a.example/", SECRET: "/nowhere/s"}, SECRET),
        ({WITNESSES: "/nowhere"}, WITNESSES),
        ({WITNESSES: "POLICY:nonsense\n"}, "line 1: 'nonsense' is no line"),
        ({WITNESSES: f"POLICY:witness w {WITNESS}\nquorum w\n"}, "no quorum w"),
        (
            {WITNESSES: f"POLICY:witness w {WITNESS} http://w.example\nquorum w\n"},
            "not https",
        ),
        ({TIMESTAMPS: "https://tsa.example/"}, "MODELKEEP_TIMESTAMP"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    given = dict(environment)
    if given.get(WITNESSES, "").startswith("POLICY:"):
        path = tmp_path / "policy"
        path.write_text(given[WITNESSES].removeprefix("POLICY:"))
        given[WITNESSES] = str(path)
    if given.get(SECRET, "").startswith("/nowhere"):
        (tmp_path / "file").touch()
        given[SECRET] = str(tmp_path / "file" / "secret")
    with pytest.raises(Invalid, match=said):
        Outside.configured(Home(tmp_path), given)

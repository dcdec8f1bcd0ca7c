"""Who is asking, what is sealed for whom, and which process answers."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from modelkeep import identity
from modelkeep.errors import Corrupt, Forbidden, Unauthenticated, Unavailable
from modelkeep.events.types import Sealed
from modelkeep.home import Home
from modelkeep.identity import (
    AUDIENCE,
    CACHED_S,
    KEYS_S,
    LOCAL_ISSUER,
    ROLES,
    Gatekeeper,
    Identity,
    LocalIssuer,
    OidcIssuer,
    private_key,
    renew_writer_key,
    require,
    write_private,
    writer_key,
)
from modelkeep.keystore import ERASED, Keystore
from modelkeep.proof.note import VerifierKey
from modelkeep.running import address_of, claim
from modelkeep.testing import actor

ROOT = Path(__file__).parents[2]
HOUR: Final = timedelta(hours=1)


def claims(**changed: object) -> dict[str, Any]:
    """What a good local token says; None leaves a claim out."""
    now = datetime.now(UTC)
    said: dict[str, object] = {
        "iss": LOCAL_ISSUER,
        "aud": AUDIENCE,
        "sub": "dana",
        "iat": now,
        "exp": now + HOUR,
        "tenant": "main",
        "roles": ["owner"],
    }
    return {k: v for k, v in (said | changed).items() if v is not None}


@pytest.fixture(scope="module")
def issuer() -> LocalIssuer:
    return LocalIssuer(Ed25519PrivateKey.generate())


def signed(issuer: LocalIssuer, **changed: object) -> str:
    return jwt.encode(claims(**changed), issuer.key, algorithm="EdDSA")


class TestLocalTokens:
    def test_a_good_token_says_who(self, issuer: LocalIssuer) -> None:
        token = issuer.issue("dana", frozenset({"owner"}), tenant="acme")
        who = issuer.verify(token).actor
        assert (who.issuer, who.subject) == (LOCAL_ISSUER, "dana")
        assert (who.roles, who.tenant, who.human) == (
            frozenset({"owner"}),
            "acme",
            True,
        )

    def test_a_machine_is_not_human_whatever_its_roles(
        self, issuer: LocalIssuer
    ) -> None:
        machine = issuer.issue("ci", frozenset({"owner"}), machine=True)
        serving = issuer.issue("gate", frozenset({"serving"}), models=frozenset("m"))
        assert not issuer.verify(machine).actor.human
        assert not issuer.verify(serving).actor.human
        assert issuer.verify(serving).actor.models == {"m"}

    def test_roles_nobody_defined_are_nothing(self, issuer: LocalIssuer) -> None:
        who = issuer.verify(signed(issuer, roles=["emperor", "owner", 7])).actor
        assert who.roles == {"owner"}
        for nothing in ("owner", None, {"owner": True}):
            assert not issuer.verify(signed(issuer, roles=nothing)).actor.roles

    def test_without_a_tenant_it_is_the_usual_one(self, issuer: LocalIssuer) -> None:
        assert issuer.verify(signed(issuer, tenant=None)).actor.tenant == "main"

    @pytest.mark.parametrize("missing", ["iss", "aud", "sub", "iat", "exp"])
    def test_a_token_must_say_everything(
        self, issuer: LocalIssuer, missing: str
    ) -> None:
        with pytest.raises(Unauthenticated):
            issuer.verify(signed(issuer, **{missing: None}))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"iss": "elsewhere"},
            {"aud": "others"},
            {"aud": []},
            {"sub": 7},
            {"exp": datetime.now(UTC) - timedelta(hours=2)},
            {"iat": datetime.now(UTC) + timedelta(hours=5)},
            {"nbf": datetime.now(UTC) + timedelta(hours=5)},
            {"exp": datetime.now(UTC) + timedelta(days=31)},
            {"iat": 0},
            {"exp": "soon"},
        ],
    )
    def test_a_token_that_says_something_wrong_is_refused(
        self, issuer: LocalIssuer, wrong: dict[str, object]
    ) -> None:
        with pytest.raises(Unauthenticated):
            issuer.verify(signed(issuer, **wrong))

    @pytest.mark.parametrize(
        "tenant", ["", "a.b", "a-b", "../x", "é", "x" * 41, 7, ["main"], "a b", "a\n"]
    )
    def test_a_tenant_is_a_short_word(
        self, issuer: LocalIssuer, tenant: object
    ) -> None:
        with pytest.raises(Unauthenticated):
            issuer.verify(signed(issuer, tenant=tenant))

    def test_a_token_nobody_signed_is_refused(self, issuer: LocalIssuer) -> None:
        unsigned = jwt.encode(claims(), "", algorithm="none")
        with pytest.raises(Unauthenticated):
            issuer.verify(unsigned)

    def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
        self, issuer: LocalIssuer
    ) -> None:
        public = issuer.key.public_key()
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        with pytest.raises(Unauthenticated):
            issuer.verify(jwt.encode(claims(), raw, algorithm="HS256"))

    def test_a_token_that_was_changed_is_refused(self, issuer: LocalIssuer) -> None:
        head, _, signature = signed(issuer).split(".")
        body = json.dumps(claims(roles=["auditor"], iat=1, exp=2)).encode()
        changed = base64.urlsafe_b64encode(body).rstrip(b"=").decode()
        with pytest.raises(Unauthenticated):
            issuer.verify(f"{head}.{changed}.{signature}")

    def test_another_key_of_the_same_name_is_refused(self, issuer: LocalIssuer) -> None:
        with pytest.raises(Unauthenticated):
            issuer.verify(signed(LocalIssuer(Ed25519PrivateKey.generate())))


class TestFiles:
    def test_a_home_has_a_token_for_every_role_readable_by_its_owner(
        self, tmp_path: Path
    ) -> None:
        issuer = LocalIssuer.open(tmp_path / "keys")
        issuer.write_tokens(tmp_path / "tokens")
        files = sorted((tmp_path / "tokens").iterdir())
        assert [file.name for file in files] == [f"{r}.token" for r in sorted(ROLES)]
        again = LocalIssuer.open(tmp_path / "keys")
        for file in files:
            assert file.stat().st_mode & 0o777 == 0o600
            assert again.verify(file.read_text()).actor.roles == {file.stem}
        assert (tmp_path / "keys" / "issuer.pem").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o700

    def test_who_writes_a_key_first_has_written_it(self, tmp_path: Path) -> None:
        path = tmp_path / "keys" / "key.pem"
        first = private_key(path)
        write_private(path, b"another", exclusive=True)
        assert private_key(path).private_bytes_raw() == first.private_bytes_raw()
        assert [file.name for file in path.parent.iterdir()] == ["key.pem"]

    def test_many_who_make_a_key_at_once_have_the_same(self, tmp_path: Path) -> None:
        made: list[bytes] = []
        together = threading.Barrier(6)

        def make() -> None:
            together.wait()
            made.append(private_key(tmp_path / "key.pem").private_bytes_raw())

        makers = [threading.Thread(target=make) for _ in range(6)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        assert len(made) == 6
        assert len(set(made)) == 1

    def test_the_writers_key_is_kept_and_its_public_half_told(
        self, tmp_path: Path
    ) -> None:
        keys = tmp_path / "keys"
        first = writer_key(keys)
        assert writer_key(keys).sign(b"x") == first.sign(b"x")
        (line,) = (keys / "writers.vkeys").read_text().splitlines()
        assert VerifierKey.parse(line).verifies(b"x", first.sign(b"x"))
        assert (keys / "writer.key").stat().st_mode & 0o777 == 0o600

    def test_another_writers_key_leaves_the_first_known(self, tmp_path: Path) -> None:
        keys = tmp_path / "keys"
        first = writer_key(keys)
        second = renew_writer_key(keys)
        assert writer_key(keys) == second != first
        lines = (keys / "writers.vkeys").read_text().splitlines()
        assert lines == [str(first.verifier), str(second.verifier)]
        assert (keys / "writer.key").stat().st_mode & 0o777 == 0o600


@dataclass
class Provider:
    """An identity provider on loopback: it serves its keys and counts who asks."""

    key: rsa.RSAPrivateKey
    uri: str = ""
    asked: int = 0
    up: bool = True
    kids: list[str] = field(default_factory=lambda: ["one"])

    def jwks(self) -> bytes:
        public: dict[str, Any] = RSAAlgorithm.to_jwk(
            self.key.public_key(), as_dict=True
        )
        return json.dumps(
            {"keys": [{**public, "kid": k, "use": "sig"} for k in self.kids]}
        ).encode()

    def token(self, algorithm: str = "RS256", kid: str = "one", **said: object) -> str:
        key: Any = self.key if algorithm == "RS256" else _pem(self.key)
        return jwt.encode(
            claims(iss="https://id.example", aud="ours", **said),
            key,
            algorithm=algorithm,
            headers={"kid": kid},
        )


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    """The public key without the marks by which PyJWT would refuse it as a secret."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der)


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider(
        rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    )

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # its name is the method's
            provider.asked += 1
            self.send_response(200 if provider.up else 503)
            self.end_headers()
            self.wfile.write(provider.jwks())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        provider.uri = f"http://127.0.0.1:{server.server_port}/keys"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield provider
        server.shutdown()
        thread.join()


@pytest.fixture
def oidc(provider: Provider) -> OidcIssuer:
    return OidcIssuer("https://id.example", "ours", provider.uri)


class TestAnEnterprisesTokens:
    def test_a_good_token_says_who(self, provider: Provider, oidc: OidcIssuer) -> None:
        who = oidc.verify(provider.token(roles=["validator"])).actor
        assert (who.issuer, who.subject) == ("https://id.example", "dana")
        assert who.roles == {"validator"}

    def test_it_lives_an_hour_at_most(
        self, provider: Provider, oidc: OidcIssuer
    ) -> None:
        long = provider.token(exp=datetime.now(UTC) + 2 * HOUR)
        with pytest.raises(Unauthenticated, match="lives longer"):
            oidc.verify(long)

    def test_a_public_key_is_no_secret(
        self, provider: Provider, oidc: OidcIssuer
    ) -> None:
        with pytest.raises(Unauthenticated):
            oidc.verify(provider.token("HS256"))

    def test_a_token_nobody_signed_is_refused(self, oidc: OidcIssuer) -> None:
        said = claims(iss="https://id.example", aud="ours")
        unsigned = jwt.encode(said, "", algorithm="none", headers={"kid": "one"})
        with pytest.raises(Unauthenticated):
            oidc.verify(unsigned)

    def test_a_key_it_does_not_publish_is_refused(
        self, provider: Provider, oidc: OidcIssuer
    ) -> None:
        with pytest.raises(Unauthenticated):
            oidc.verify(provider.token(kid="another"))

    def test_a_key_published_since_is_fetched(
        self,
        provider: Provider,
        oidc: OidcIssuer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(identity, "KEYS_S", 0.001)
        oidc.verify(provider.token())
        provider.kids.append("two")
        time.sleep(0.01)
        assert oidc.verify(provider.token(kid="two")).actor.subject == "dana"

    def test_a_key_that_was_withdrawn_is_refused(
        self,
        provider: Provider,
        oidc: OidcIssuer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(identity, "KEYS_S", 0.001)
        oidc.verify(provider.token())
        provider.kids[:] = ["two"]
        time.sleep(0.01)
        with pytest.raises(Unauthenticated):
            oidc.verify(provider.token())

    def test_its_keys_are_not_asked_for_at_every_call(
        self, provider: Provider, oidc: OidcIssuer
    ) -> None:
        for number in range(5):
            oidc.verify(provider.token(sub=f"person{number}"))
        assert provider.asked == 1

    def test_without_its_keys_nothing_is_known_yet(
        self, provider: Provider, oidc: OidcIssuer
    ) -> None:
        provider.up = False
        with pytest.raises(Unavailable, match=r"https://id\.example"):
            oidc.verify(provider.token())
        provider.up = True
        assert oidc.verify(provider.token())


class TestTheGatekeeper:
    def test_a_token_goes_to_the_issuer_it_names(
        self, issuer: LocalIssuer, provider: Provider, oidc: OidcIssuer
    ) -> None:
        gate = Gatekeeper([issuer, oidc])
        assert gate.identify(signed(issuer)).actor.issuer == LOCAL_ISSUER
        theirs = gate.identify(provider.token())
        assert theirs.actor.issuer == "https://id.example"

    def test_an_issuer_nobody_named_is_unknown(self, issuer: LocalIssuer) -> None:
        with pytest.raises(Unauthenticated, match="not known here"):
            Gatekeeper([issuer]).identify(signed(issuer, iss="elsewhere"))
        with pytest.raises(Unauthenticated, match="not one"):
            Gatekeeper([issuer]).identify("nonsense")

    def test_a_token_is_remembered_for_a_minute_at_most(
        self, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = datetime.now(UTC).timestamp()
        checks: list[str] = []

        class Counting(LocalIssuer):
            def verify(self, token: str) -> Identity:
                checks.append(token)
                return super().verify(token)

        gate, token = Gatekeeper([Counting(issuer.key)]), signed(issuer)
        assert gate.recall(token) is None
        for later, times in ((0, 1), (1, 1), (CACHED_S - 1, 1), (CACHED_S + 1, 2)):
            monkeypatch.setattr(time, "time", lambda later=later: now + later)
            gate.identify(token)
            assert len(checks) == times
        assert CACHED_S + KEYS_S <= 60

    def test_a_token_is_not_remembered_beyond_its_own_end(
        self, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = datetime.now(UTC)
        ending = signed(issuer, exp=now - timedelta(seconds=30))  # within the leeway
        gate = Gatekeeper([issuer])
        gate.identify(ending)
        assert gate.recall(ending) is not None
        later = now.timestamp() + 45
        monkeypatch.setattr(time, "time", lambda: later)
        assert gate.recall(ending) is None

    def test_a_refusal_is_not_remembered_as_anything_else(
        self, issuer: LocalIssuer
    ) -> None:
        gate, bad = Gatekeeper([issuer]), signed(issuer, aud="others")
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                gate.identify(bad)
            assert gate.recall(bad) is None

    def test_a_token_too_long_to_be_one_is_not_read(self, issuer: LocalIssuer) -> None:
        with pytest.raises(Unauthenticated, match="too long"):
            Gatekeeper([issuer]).identify(signed(issuer, pad="x" * 9_000))

    def test_only_so_many_are_remembered(
        self, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(identity, "CACHED_TOKENS", 3)
        gate = Gatekeeper([issuer])
        tokens = [signed(issuer, sub=f"person{n}") for n in range(5)]
        for token in tokens:
            gate.identify(token)
        remembered = [gate.recall(token) is not None for token in tokens]
        assert remembered == [False, False, True, True, True]

    def test_a_role_is_required_by_name(self) -> None:
        require(actor("dana", "owner"), frozenset({"owner", "engineer"}), "Retire")
        with pytest.raises(Forbidden, match="Retire is for owner; dana is auditor"):
            require(actor("dana", "auditor"), frozenset({"owner"}), "Retire")


@pytest.fixture
def keystore(tmp_path: Path) -> Iterator[Keystore]:
    with Keystore(tmp_path / "keys" / "subjects.db") as keystore:
        yield keystore


class TestSealing:
    def test_what_is_sealed_opens_again(self, keystore: Keystore) -> None:
        for text in ("Erin Example", "", "é" * 500):
            sealed = keystore.seal("main", "erin", "post", "name", text)
            assert keystore.open("main", "name", sealed) == text
            assert text == "" or text not in sealed.model_dump_json()

    def test_each_sealing_differs_under_one_key(self, keystore: Keystore) -> None:
        one, two = (
            keystore.seal("main", "erin", "post", "name", "Erin") for _ in range(2)
        )
        assert one.key_id == two.key_id
        assert one.nonce != two.nonce
        assert one.ciphertext != two.ciphertext

    def test_a_subject_has_a_key_in_each_tenant_for_each_purpose(
        self, keystore: Keystore
    ) -> None:
        keys = {
            keystore.seal(tenant, subject, purpose, "name", "x").key_id
            for tenant in ("main", "other")
            for subject in ("erin", "dana")
            for purpose in ("post", "study")
        }
        assert len(keys) == 8

    def test_without_its_key_it_is_erased(self, keystore: Keystore) -> None:
        sealed = keystore.seal("main", "erin", "post", "name", "Erin")
        gone = sealed.model_copy(update={"key_id": "0" * 32})
        assert keystore.open("main", "name", gone) == ERASED

    def test_a_ciphertext_moved_elsewhere_does_not_open(
        self, keystore: Keystore
    ) -> None:
        sealed = keystore.seal("main", "erin", "post", "name", "Erin")
        for tenant, name in (("main", "address"), ("other", "name")):
            with pytest.raises(Corrupt):
                keystore.open(tenant, name, sealed)

    @pytest.mark.parametrize("part", ["nonce", "ciphertext"])
    @pytest.mark.parametrize("changed", ["", "AAAA", "!", "AAAAAAAAAAAAAAAA"])
    def test_a_ciphertext_that_was_changed_does_not_open(
        self, keystore: Keystore, part: str, changed: str
    ) -> None:
        sealed = keystore.seal("main", "erin", "post", "name", "Erin")
        with pytest.raises(Corrupt, match="name does not open"):
            keystore.open("main", "name", sealed.model_copy(update={part: changed}))

    def test_a_pseudonym_is_the_same_each_time_and_each_subjects_own(
        self, keystore: Keystore, tmp_path: Path
    ) -> None:
        name = keystore.pseudonym("main", "erin", "post", "Erin")
        with Keystore(tmp_path / "keys" / "subjects.db") as again:
            assert again.pseudonym("main", "erin", "post", "Erin") == name
        others = [
            keystore.pseudonym("main", "erin", "post", "Erin "),
            keystore.pseudonym("main", "dana", "post", "Erin"),
            keystore.pseudonym("other", "erin", "post", "Erin"),
        ]
        assert len({name, *others}) == 4

    def test_two_processes_share_the_keys(
        self, keystore: Keystore, tmp_path: Path
    ) -> None:
        with Keystore(tmp_path / "keys" / "subjects.db") as other:
            sealed: Sealed = other.seal("main", "erin", "post", "name", "Erin")
            assert keystore.open("main", "name", sealed) == "Erin"

    def test_the_keys_are_readable_by_their_owner_alone(
        self, keystore: Keystore, tmp_path: Path
    ) -> None:
        keystore.seal("main", "erin", "post", "name", "Erin")
        for file in (tmp_path / "keys").iterdir():
            assert file.stat().st_mode & 0o077 == 0
        assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


CLAIMING: Final = """
import sys, pathlib
from modelkeep.home import Home
from modelkeep.running import claim
with claim(Home(pathlib.Path(sys.argv[1])), "jars") as mine:
    mine.answers_on("127.0.0.1:4321")
    print("mine", flush=True)
    sys.stdin.read()
"""


class TestWhichProcessAnswers:
    def test_a_second_process_is_told_where_the_first_answers(
        self, tmp_path: Path
    ) -> None:
        home = Home(tmp_path)
        program = [sys.executable, "-c", CLAIMING, str(tmp_path)]
        with subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == "mine\n"
            assert address_of(home, "jars") == "127.0.0.1:4321"
            with (
                pytest.raises(
                    Unavailable, match=r"jars of .* runs on 127\.0\.0\.1:4321"
                ),
                claim(home, "jars"),
            ):
                pass
            first.kill()
        assert address_of(home, "jars") is None
        with claim(home, "jars") as mine:
            assert address_of(home, "jars") is None
            mine.answers_on("127.0.0.1:99")
            assert address_of(home, "jars") == "127.0.0.1:99"
            mine.answers_on("[::1]:7")
            assert address_of(home, "jars") == "[::1]:7"

    def test_services_do_not_stand_in_each_others_way(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        with claim(home, "jars"), claim(home, "lids"):
            assert address_of(home, "boxes") is None

    def test_who_only_asks_does_not_hold_it(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        with claim(home, "jars"):
            pass
        assert address_of(home, "jars") is None
        with claim(home, "jars"):
            pass


def test_a_home_is_found_where_it_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELKEEP_HOME", raising=False)
    assert Home.find().root == tmp_path / ".modelkeep"
    monkeypatch.setenv("MODELKEEP_HOME", str(tmp_path / "there"))
    assert Home.find().root == tmp_path / "there"
    assert Home.find(Path("here")).root == tmp_path / "here"
    assert Home.find().make().root.stat().st_mode & 0o777 == 0o700

"""`modelkeep erase` as people run it, on a home that is at rest."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.commands import Done, good, good_alone, run
from tests.integration.conftest import serving
from tests.integration.privacy_office import Office

from modelkeep.home import Home
from modelkeep.identity import LocalIssuer

ERIN = "erin@bank.example"
OFFICER = "privacy_officer"
BASIS = ("--basis", "objection", "--reason", "ticket 12")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where a contact was left, and nothing runs."""
    with serving(tmp_path_factory.mktemp("made")) as serve:
        office = Office(serve("inventory", "privacy"))
        office.model()
        office.contact("erin", ERIN)
        office.settle()
        return office.served.node.home.root


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "home"
    shutil.copytree(made, copy)
    return copy


def asked(home: Path) -> str:
    told = json.loads(good(home, "erase", "request", "erin", *BASIS, "--json"))
    assert told["status"] == "ERASURE_STATUS_REQUESTED"
    return str(told["erasure"])


def said(done: Done) -> tuple[int, str]:
    """A refusal is one line."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def test_two_people_erase_and_it_is_told(home: Path) -> None:
    told = good_alone(home, "erase", "request", "erin", *BASIS)
    (erasure,) = re.findall(r"Erasure (\S+)", told)
    assert re.search(r"status +requested", told)
    assert re.search(r"asked by +local-privacy_officer", told)
    assert re.search(r"open until +20\d\d", told)
    told = good(home, "erase", "approve", erasure)
    assert re.search(r"status +destroyed", told)
    assert re.search(r"decided by +local-risk_officer", told)
    assert "[erased]" in told
    assert "erin" not in told
    told = good(home, "erase", "show", "--erasure", erasure)
    assert re.search(r"inventory.role-assigned +contact +contact +\[erased\]", told)


@pytest.mark.slow
def test_what_is_left_holds_up(home: Path) -> None:
    assert ERIN in good(home, "erase", "show", "--subject", "erin")
    erasure = asked(home)
    code, why = said(run(home, "erase", "approve", erasure, "--role", OFFICER))
    assert (code, "another person must agree" in why) == (1, True)
    good(home, "erase", "approve", erasure)
    told = good(home, "erase", "list")
    assert re.search(rf"{erasure} +destroyed +\[erased\]", told)
    assert erasure not in good(home, "erase", "list", "--status", "requested")
    code, why = said(run(home, "erase", "request", "erin", *BASIS))
    assert (code, f"erased already, by erasure {erasure}" in why) == (1, True)
    # The views are those of a replay, the log what was signed.
    good(home, "replay")
    good(home, "checkpoint")
    good(home, "verify")


@pytest.mark.slow
def test_a_rejected_one_is_told_with_its_reason(home: Path) -> None:
    erasure = asked(home)
    told = good(home, "erase", "reject", erasure, "--reason", "still employed")
    assert re.search(r"status +rejected", told)
    assert re.search(r"because +still employed", told)


@pytest.mark.slow
def test_a_hold_wins_until_it_is_released(home: Path) -> None:
    erasure = asked(home)
    hold = ("case-1", "--matter", "Smith v. Bank", "--reason", "a letter")
    told = good(home, "erase", "hold", "place", *hold, "--subject", "erin")
    assert told == "hold case-1 stands\n"
    code, why = said(run(home, "erase", "approve", erasure))
    assert code == 1
    assert "hold case-1 (Smith v. Bank) forbids erasure" in why
    assert re.search(r"case-1 +Smith v. Bank +erin +all", good(home, *HOLDS))
    release = ("hold", "release", "case-1", "--reason", "settled")
    assert good(home, "erase", *release) == "hold case-1 is released\n"
    assert "case-1" not in good(home, *HOLDS)
    assert "case-1" in good(home, *HOLDS, "--released")
    good(home, "erase", "approve", erasure)


HOLDS = ("erase", "hold", "list")


@pytest.mark.slow
def test_the_keys_epochs_are_shown_and_turned(home: Path) -> None:
    told = json.loads(good(home, "erase", "keys", "--json"))
    (first,) = told["epochs"]
    turn = ("--turn", "--end-previous", "--reason", "a backup was lost")
    told = json.loads(good(home, "erase", "keys", *turn, "--json"))
    assert told["epochs"][0]["epoch"] == first["epoch"]
    assert [("ended" in one) for one in told["epochs"]] == [True, False]
    assert ERIN in good(home, "erase", "show", "--subject", "erin")


@pytest.mark.slow
def test_what_is_due_and_how_long_things_are_kept(home: Path) -> None:
    assert good(home, "erase", "due").split() == [
        "due", "on", "purpose", "subject", "key", "holds",
    ]  # fmt: skip
    told = good(home, "erase", "retention")
    assert re.search(r"retention-1 sha256:\w+", told)
    assert re.search(r"decisions +2,557 days +not at all", told)


@pytest.mark.slow
def test_a_persons_own_token_is_used(home: Path) -> None:
    issuer = LocalIssuer.open(Home(home).keys)
    pat = issuer.issue("pat", frozenset({"privacy_officer"}))
    told = good(home, "erase", "request", "erin", *BASIS, env={"MODELKEEP_TOKEN": pat})
    assert re.search(r"asked by +pat ", told)


WRONG = [
    (("request", "erin", "--basis", "whim", "--reason", "r"), "basis"),
    (("keys", "--turn"), "reason"),
]
MORE_WRONG = [
    (("request", "erin", "--basis", "objection", "--reason", ""), "reason"),
    (("request", "erin", *BASIS, "--purpose", "A B"), "purposes"),
    (("request", "erin", *BASIS, "--request-id", "one"), "request-id"),
    (("request", "erin", *BASIS, "--role", "king"), "role"),
    (("list", "--status", "lost"), "status"),
    (("show",), "subject"),
    (("due", "--by", "soon"), "by"),
]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [*WRONG, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE_WRONG)],
)
def test_bad_input_is_one_line_that_names_it(
    home: Path, arguments: tuple[str, ...], named: str
) -> None:
    code, why = said(run(home, "erase", *arguments))
    assert code == 2, why
    assert why.startswith(f"modelkeep: {named}"), why


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("request", "nobody", *BASIS), "no subject with personal fields"),
        (("approve", "no-such"), "no erasure no-such"),
        (("request", "erin", *BASIS, "--role", "engineer"), "is for"),
    ],
)
def test_a_no_is_one_line(home: Path, arguments: tuple[str, ...], words: str) -> None:
    code, why = said(run(home, "erase", *arguments))
    assert (code, words in why) == (1, True), why


@pytest.mark.slow
def test_there_is_nothing_to_ask_without_a_ledger(tmp_path: Path) -> None:
    code, why = said(run(tmp_path / "none", "erase", "list"))
    assert (code, "no ledger" in why) == (1, True)

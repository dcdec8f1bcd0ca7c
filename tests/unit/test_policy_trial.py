"""A candidate is tried under limits: what needs too much ends its process, not ours."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from modelkeep.errors import Invalid
from modelkeep.policy import trial
from modelkeep.policy.bundle import load_bundle
from modelkeep.policy.check import run_tests
from modelkeep.policy.defaults import baseline


def test_a_candidate_is_read_and_tested_as_here() -> None:
    bundle = load_bundle(baseline())
    found = trial.tried(baseline())
    assert (found.name, found.version) == (bundle.name, bundle.version)
    assert (found.digest, found.tests) == (bundle.digest, len(run_tests(bundle)))
    assert not found.failed


def test_a_test_that_fails_is_named() -> None:
    loose = baseline().replace(
        "psi_max: {type: double, default: 0.25, tier: {1: 0.10",
        ("psi_max: {type: double, default: 0.25, tier: {1: 0.30"),
    )
    failed = trial.tried(loose).failed
    assert failed
    assert all(": expected " in one for one in failed)


def test_every_violation_comes_back() -> None:
    broken = baseline().replace("version.card_present", "version.card_presnt")
    with pytest.raises(Invalid, match="undefined field 'card_presnt'"):
        trial.tried(broken)


@pytest.mark.parametrize("text", ["", "\x00", "\ud800", "a: &b [*b, *b]", "x" * 70_000])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        trial.tried(text)


# Where the limits are: the compiler itself was made bounded, so nothing that is known
# reaches them. They are shown to hold with a program that means to.
GREEDY = {
    "memory": "held = b'x' * (trial.MEMORY_BYTES + (64 << 20))",
    "processor time": "while True: pass",
}


@pytest.mark.parametrize("needs", GREEDY)
def test_a_process_under_limits_cannot_take_more(needs: str) -> None:
    program = (
        "from modelkeep.policy import trial; trial.CPU_S = 1; trial.limit(); "
        "import sys\ntry:\n    "
        + GREEDY[needs]
        + "\nexcept MemoryError:\n    sys.exit(7)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True
    )
    ends = {7} if needs == "memory" else {-signal.SIGXCPU, -signal.SIGKILL}
    assert done.returncode in ends


def test_a_process_that_ended_is_told_as_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Invalid, match="to compile and test"):
        trial.tried(baseline())

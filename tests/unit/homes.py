"""A home with a log that was signed, and the command on it in this very process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.asserted import Log, agreed, deployed

from modelkeep.home import Home
from modelkeep.proof import durable
from modelkeep.proof.evidence import LATEST
from modelkeep_services.__main__ import main

Command = Callable[..., int]
"""Runs `modelkeep` with these arguments; returns its exit code."""


def signed_home(root: Path, log: Log | None = None) -> Home:
    """A promotion, signed on 2013-05-01."""
    home = Home(root).make()
    if log is None:
        log = Log()
        log.add("model.fraud", deployed(agreed(log)))
    *_, key = log.sign(root, time="2013-05-01T00:00:00.000000Z")
    home.checkpoints.mkdir()
    for name in ("leaves", LATEST):
        durable.replace(
            home.checkpoints / name, (root / "published" / name).read_bytes()
        )
    durable.replace(home.checkpoints / "checkpoint.vkey", key.encode())
    return home


def command(home: Home, monkeypatch: pytest.MonkeyPatch) -> Command:
    def run(*arguments: object) -> int:
        said = [str(one) for one in arguments]
        monkeypatch.setattr(sys, "argv", ["modelkeep", *said, "--home", str(home.root)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run

"""`modelkeep checkpoint rotate`: another key signs, by the word of the old one."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

from modelkeep.errors import Refused, Unavailable
from modelkeep.home import Home
from modelkeep.identity import renew_writer_key
from modelkeep.proof.errors import ProofError
from modelkeep_services.audit.signing import rotate
from modelkeep_services.cli import screen


def run(home: Home, *, compromised: bool, as_json: bool) -> None:
    """Raises Refused when nothing was signed, Unavailable when a file cannot be had."""
    try:
        told = rotate(home, home.published, datetime.now(UTC), compromised=compromised)
    except FileNotFoundError:
        raise Refused(
            "checkpoint.key", f"nothing was signed yet in {home.root}"
        ) from None
    except ProofError as error:
        raise Refused("checkpoint.key", str(error)) from None
    except OSError as error:
        raise Unavailable(f"the key cannot be changed: {error}") from None
    if as_json:
        screen.say_json(
            {
                "old": str(told.old),
                "new": str(told.new),
                "size": told.size,
                "time": told.time,
                "compromised": told.compromised,
            }
        )
        return
    screen.fact("was", str(told.old))
    screen.fact("is now", str(told.new))
    screen.fact("from", f"{told.size:,} events on, {told.time}")
    screen.fact("published", str(home.published))
    if told.compromised:
        warning = "nobody is led to it by the old one: hand the new key over yourself"
        screen.fact("NOTE", Text(warning, "bold red"))


def run_writer(home: Home, *, as_json: bool) -> None:
    """Raises Unavailable when a file cannot be had."""
    try:
        key = renew_writer_key(home.keys)
    except OSError as error:
        raise Unavailable(f"the key cannot be changed: {error}") from None
    if as_json:
        screen.say_json({"writer": str(key.verifier)})
        return
    screen.fact("writer", str(key.verifier))
    screen.fact("signs", "what processes append that start from now on")

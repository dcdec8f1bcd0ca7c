"""How the verifier speaks: to a terminal that obeys nothing of it, or to programs."""

from __future__ import annotations

import json
import sys


def clean(text: str) -> str:
    r"""Leave nothing in a line that a terminal obeys, nor an end of it: what is quoted
    is somebody's text, and must not add a line of its own.

    >>> clean("a\x1b[2J\nPROVEN")
    'a\\x1b[2J\\nPROVEN'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def say_json(content: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(content, indent=2) + "\n")

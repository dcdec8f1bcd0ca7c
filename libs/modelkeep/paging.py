"""Lists come in pages: bounded, resumable, the same as-of moment for each."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Final, TypeVar

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.errors import Invalid
from modelkeep.views import Reader, View

R = TypeVar("R")

DEFAULT_SIZE: Final = 100
MAX_SIZE: Final = 1_000


def page(
    read: Reader, view: View[R], asked: Page, prefix: str = ""
) -> tuple[list[tuple[str, R]], str]:
    """Return (key, row) pairs and the token of the next page ("" at the end).

    Raises Invalid for a size beyond MAX_SIZE or a token that is not one of ours.
    """
    size = asked.size or DEFAULT_SIZE
    if size > MAX_SIZE:
        raise Invalid.field("page.size", f"is more than {MAX_SIZE}")
    rows = read.scan(view, prefix, after=_key(asked.token), limit=size + 1)
    if len(rows) <= size:
        return rows, ""
    return rows[:size], urlsafe_b64encode(rows[size - 1][0].encode()).decode()


def _key(token: str) -> str | None:
    if not token:
        return None
    try:
        return b64decode(token, altchars=b"-_", validate=True).decode()
    except (Base64Error, UnicodeError, ValueError):
        raise Invalid.field("page.token", "is not one this service gave") from None

"""Pages of what is computed whole: the token is how many came before."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import TypeVar

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.errors import Invalid
from modelkeep.paging import DEFAULT_SIZE, MAX_SIZE

T = TypeVar("T")


def page_of(rows: Sequence[T], asked: Page) -> tuple[Sequence[T], str]:
    """Return a part and the token of the next ("" at the end).

    Ask for every page as of the same moment. Raises Invalid for a size beyond MAX_SIZE
    or a token that is not one of ours.
    """
    size = asked.size or DEFAULT_SIZE
    if size > MAX_SIZE:
        raise Invalid.field("page.size", f"is more than {MAX_SIZE}")
    start = _start(asked.token)
    end = start + size
    more = end < len(rows)
    return rows[start:end], _token(end) if more else ""


def _token(end: int) -> str:
    return urlsafe_b64encode(b"%d" % end).decode()


def _start(token: str) -> int:
    if not token:
        return 0
    try:
        start = int(urlsafe_b64decode(token.encode()).decode("ascii"))
    except (Base64Error, ValueError):
        start = -1
    if start < 0:
        raise Invalid.field("page.token", "is not one this service gave")
    return start

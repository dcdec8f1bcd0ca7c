"""What monitoring's queries share: a model that must be known, pages of rows kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.errors import NotFound
from modelkeep.paging import DEFAULT_SIZE, page
from modelkeep.views import Reader, View
from modelkeep_services.monitoring import views
from modelkeep_services.monitoring.columns import slug_of

R = TypeVar("R")


def require_model(reader: Reader, model: str) -> str:
    found = slug_of("model", model)
    if reader.get(views.models, found) is None:
        raise NotFound("model", found)
    return found


def kept(
    reader: Reader, view: View[R], asked: Page, prefix: str, keep: Callable[[R], bool]
) -> tuple[list[R], str]:
    """Return one page of the rows that `keep` keeps, and the next page's token."""
    found: list[R] = []
    size, token = asked.size or DEFAULT_SIZE, asked.token
    while True:
        left = Page(size=size - len(found), token=token)
        rows, token = page(reader, view, left, prefix)
        found += [row for _, row in rows if keep(row)]
        if not token or len(found) >= size:
            return found, token

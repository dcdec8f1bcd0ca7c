"""How long what is kept of people is kept: a versioned document, read once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from modelkeep.events.types import Slug, Text, Value

IN_FORCE: Final = "retention.v1.json"
Days = Annotated[int, Field(ge=1, le=36_525)]


class RetentionClass(Value):
    """`since` is what a period is counted from."""

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+$", max_length=40)]
    says: Text
    keep_days: Days
    since: Literal["said", "role_ended"]
    erased_by_key: bool

    @property
    def keep(self) -> timedelta:
        return timedelta(days=self.keep_days)


class Retention(Value):
    version: Slug
    says: Text
    erasure_open_days: Days
    propose_again_days: Days
    classes: tuple[RetentionClass, ...]

    @property
    def open_for(self) -> timedelta:
        return timedelta(days=self.erasure_open_days)

    @property
    def again_after(self) -> timedelta:
        return timedelta(days=self.propose_again_days)

    @property
    def of(self) -> Mapping[str, RetentionClass]:
        return {one.kind: one for one in self.classes}


_TEXT: Final = (files(__package__) / "documents" / IN_FORCE).read_bytes()
RETENTION: Final = Retention.model_validate_json(_TEXT)
DIGEST: Final = f"sha256:{sha256(_TEXT).hexdigest()}"


def look_at(due: datetime) -> datetime:
    """The clock looks on the first of the month after something fell due: one tick for
    all of it, whoever it is of.
    """
    first = due.astimezone(UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return (first + timedelta(days=32)).replace(day=1)

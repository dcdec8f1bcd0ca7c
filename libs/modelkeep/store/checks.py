"""What every engine refuses before it writes anything: one rule for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelkeep.errors import Invalid, TooLarge
from modelkeep.store.port import ANY, EXISTS, MAX_APPEND_BYTES, NO_STREAM, NewEvent

# No spaces, controls or surrogates; `$` begins the names of KurrentDB's own streams.
STREAM_NAME = re.compile(
    r"[^\s$\x00-\x1f\x7f-\x9f\ud800-\udfff]"
    r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,511}"
)


def check_stream(stream: str) -> None:
    if not STREAM_NAME.fullmatch(stream):
        raise Invalid.field(
            "stream",
            f"{stream[:64]!r} is not a name: 1 to 512 characters, no spaces or"
            " controls, not beginning with $",
        )


def check_append(stream: str, events: Sequence[NewEvent], expected: int) -> None:
    """Raise Invalid or TooLarge for an append that no engine may accept."""
    check_stream(stream)
    if expected < NO_STREAM and expected not in (ANY, EXISTS):
        raise Invalid.field("expected", f"{expected} is neither a version nor a state")
    if not events:
        raise Invalid.field("events", "there are none to append")
    if len({event.id for event in events}) != len(events):
        raise Invalid.field("events", "two events of one append have the same id")
    for event in events:
        if not event.name or event.name.startswith("$"):
            raise Invalid.field("events", f"{event.name!r} is not a name of an event")
    size = sum(len(event.data) + len(event.metadata) for event in events)
    if size > MAX_APPEND_BYTES:
        raise TooLarge(
            f"the append to {stream} has {size} bytes, more than {MAX_APPEND_BYTES}"
        )

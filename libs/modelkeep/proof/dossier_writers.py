"""Who wrote a dossier's events: the signatures that their metadata carries.

A writer signs an append, in the metadata of its last event (`writers.py`). Of an append
whose other events are not in the dossier, that signature cannot be checked here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from modelkeep.proof.dossier import Cited, Dossier
from modelkeep.proof.note import VerifierKey
from modelkeep.proof.writers import Signable, append_message, detach


class Written(NamedTuple):
    """How many events a known writer signed for, by whom, and those whose signature
    does not fit.
    """

    events: int
    names: Sequence[str]
    wrong: Sequence[Cited]


def written(dossier: Dossier, keys: Sequence[VerifierKey]) -> Written:
    known = {key.id.hex(): key for key in keys}
    places = {(one.stream, one.version): one for one in dossier.events.values()}
    count, names, wrong = 0, dict[str, None](), list[Cited]()
    for last in places.values():
        _, signature = detach(last.metadata.encode())
        if signature is None:
            continue
        key_id, number, content = signature.split(":")
        events = _append(places, last, int(number))
        key = known.get(key_id)
        if key is None or events is None:
            continue
        message = append_message(
            last.stream, events[0].version, [_signable(one) for one in events]
        )
        if key.verifies(message, base64.b64decode(content)):
            count += len(events)
            names[key.name] = None
        else:
            wrong.append(last)
    return Written(count, list(names), wrong)


def _append(
    places: Mapping[tuple[str, int], Cited], last: Cited, count: int
) -> list[Cited] | None:
    """Return the events of an append; None when one of them is not here."""
    if count > len(places):
        return None
    found = [
        places.get((last.stream, version))
        for version in range(last.version - count + 1, last.version + 1)
    ]
    return None if None in found else [one for one in found if one is not None]


def _signable(event: Cited) -> Signable:
    metadata, _ = detach(event.metadata.encode())
    return Signable(
        event.id.bytes,
        event.name,
        event.schema_version,
        event.data.encode(),
        metadata,
    )

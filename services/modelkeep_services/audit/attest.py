"""The digest of each view as it stood at a moment: the same rows, the same digest.

SHA-256 over each row in key order: the key's and the row's lengths in bytes, in decimal
and each followed by a colon, before their bytes (the row as JSON).
"""

from __future__ import annotations

from hashlib import sha256
from typing import cast

from modelkeep.views import Reader, View
from modelkeep_services.audit.views import VIEWS


def digests(read: Reader) -> dict[str, str]:
    return {view.name: _digest(read, cast("View[object]", view)) for view in VIEWS}


def _digest(read: Reader, view: View[object]) -> str:
    whole = sha256()
    for key, row in read.scan(view):
        for part in (key.encode(), view.dump(row)):
            whole.update(b"%d:%b" % (len(part), part))
    return whole.hexdigest()

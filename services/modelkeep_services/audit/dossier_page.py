"""A dossier as one static HTML file: no script, no request, and the signed file inside.

Made of the signed file alone: the same file gives the same page, byte for byte.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache

from jinja2 import Template

from modelkeep.proof.dossier import Dossier
from modelkeep.static_page import template
from modelkeep_services.audit.dossier_words import page_of


def render(said: Dossier, envelope: bytes, unproven: Sequence[str] = ()) -> str:
    """Return a whole HTML page of a dossier and the envelope that it was read from."""
    return _template().render(
        page=page_of(said, unproven),
        decision=said.id,
        digest=hashlib.sha256(envelope).hexdigest(),
        envelope=b64encode(envelope).decode(),
    )


@cache
def _template() -> Template:
    return template("modelkeep_services.audit", "dossier.html.j2")

"""A dossier on paper: PDF/A-3, with the signed file attached to it.

Typst sets it, from the same words as the page; it is an extra (`pdf`), reads nothing
but what it is given, and gives the same bytes for the same file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from types import ModuleType
from typing import Final

from modelkeep.errors import Corrupt, Unavailable
from modelkeep.proof.dossier import Dossier
from modelkeep_services.audit.dossier_words import Page, Table, page_of

STANDARD: Final = "a-3b"
PLAIN: Final = "1.7"
LONG: Final = re.compile(r"\S{25,}")
EVERY: Final = 8
"""Characters of an unbroken word between places where a line may end."""


def require() -> ModuleType:
    """Return the typesetter. Raises Unavailable where it is not installed."""
    try:
        import typst  # noqa: PLC0415, an extra
    except ImportError:
        raise Unavailable(
            "paper needs the extra `pdf`: pip install 'modelkeep[pdf]'; or print the"
            " page (--html)"
        ) from None
    found: ModuleType = typst
    return found


def render(said: Dossier, envelope: bytes, unproven: Sequence[str] = ()) -> bytes:
    """Return a PDF of a dossier and the envelope that it was read from.

    Where the fonts lack a character it is no PDF/A, which forbids that, but a plain PDF
    in which the character is a box. Raises Unavailable without the extra.
    """
    typst = require()
    page = page_of(said, unproven)
    inputs = {
        "page": json.dumps(_plain(page, said, envelope), ensure_ascii=False),
        "envelope": envelope.decode(),
    }
    try:
        return _set(typst, inputs, STANDARD)
    except typst.TypstError:
        try:
            return _set(typst, inputs, PLAIN)
        except typst.TypstError as error:
            raise Corrupt(f"it cannot be set on paper: {error}") from None


def _set(typst: ModuleType, inputs: dict[str, str], standard: str) -> bytes:
    source = resources.files("modelkeep_services.audit") / "templates" / "dossier.typ"
    paper: bytes = typst.compile(
        source.read_bytes(),
        format="pdf",
        sys_inputs=inputs,
        pdf_standards=standard,
        ignore_system_fonts=True,
    )
    return paper


def _plain(page: Page, said: Dossier, envelope: bytes) -> dict[str, object]:
    """Return the page as data, without what a screen folds away."""
    found: dict[str, object] = asdict(page)
    found["sections"] = [
        {
            "title": section.title,
            "note": section.note,
            "facts": [
                {"name": fact.name, "cell": _cell(fact.cell._asdict())}
                for fact in section.facts
            ],
            "tables": [
                {
                    "columns": list(table.columns),
                    "caption": table.caption,
                    "widest": _widest(table),
                    "rows": [[_cell(c._asdict()) for c in row] for row in table.rows],
                }
                for table in section.tables
            ],
        }
        for section in page.sections
    ]
    found["glance"] = [
        {"name": fact.name, "cell": fact.cell._asdict()} for fact in page.glance
    ]
    found["events"] = [
        one._asdict() | {"data": "", "says": _broken(one.says)} for one in page.events
    ]
    found |= {
        "decision": str(said.id),
        "issued": list(said.issued_at.timetuple()[:6]),
        "digest": hashlib.sha256(envelope).hexdigest(),
        "attached": f"dossier-{said.id}.json",
    }
    return found


def _widest(table: Table) -> int:
    """Return the column that takes what room the others leave."""
    said = [
        sum(len(row[n].text) for row in table.rows) for n in range(len(table.columns))
    ]
    return said.index(max(said, default=0)) if said else 0


def _cell(found: dict[str, object]) -> dict[str, object]:
    return found | {"text": _broken(str(found["text"]))}


def _broken(text: str) -> str:
    """Let lines end within digests, which have no spaces."""
    return LONG.sub(_opened, text)


def _opened(word: re.Match[str]) -> str:
    whole = word.group()
    parts = (whole[at : at + EVERY] for at in range(0, len(whole), EVERY))
    return "\N{ZERO WIDTH SPACE}".join(parts)

"""The bundle's format as a JSON Schema, for editors; `load_bundle` checks far more."""

from __future__ import annotations

from typing import Final

from modelkeep.policy.bundle import Document

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, object]:
    """Return the schema of a bundle's YAML, read as JSON."""
    said = Document.model_json_schema(by_alias=True)
    return {
        "$schema": DIALECT,
        **said,
        "title": "Modelkeep policy bundle",
        "description": "What may be asked, what must hold, who must agree.",
    }

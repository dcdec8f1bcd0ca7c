"""CycloneDX 1.6 model cards: what one must say, and where it is kept.

A card is kept as the bytes that came, under their SHA-256, in the home's artifacts.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final, NamedTuple

from modelkeep.errors import Corrupt, Invalid
from modelkeep.objects import Objects
from modelkeep_services.inventory.commands import MAX_CARD_BYTES

SPEC_VERSIONS: Final = ("1.5", "1.6")
KIND: Final = "machine-learning-model"
MAX_DEPTH: Final = 64


class Card(NamedTuple):
    """`hashes` are the artifacts it says it is about, as `sha256:…`."""

    digest: str
    hashes: tuple[str, ...]


def read_card(content: bytes) -> Card:
    """Raises Invalid, naming what is missing, unless this is a model card."""
    document = _parsed(content)
    if document.get("bomFormat") != "CycloneDX":
        raise Invalid.field("card", "bomFormat is not CycloneDX")
    if document.get("specVersion") not in SPEC_VERSIONS:
        raise Invalid.field("card", f"specVersion is not {' or '.join(SPEC_VERSIONS)}")
    models = [one for one in _components(document) if one.get("type") == KIND]
    if not models:
        raise Invalid.field("card", f"no component is of type {KIND}")
    carded = [one for one in models if isinstance(one.get("modelCard"), dict)]
    if not carded:
        raise Invalid.field("card", f"its {KIND} has no modelCard")
    if not all(isinstance(one.get("name"), str) and one["name"] for one in carded):
        raise Invalid.field("card", f"its {KIND} has no name")
    hashes = tuple(sorted({h for one in carded for h in _hashes(one)}))
    return Card(_digest(content), hashes)


def _parsed(content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid.field("card", f"is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Invalid.field("card", "is not a JSON object")
    return document


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _components(document: dict[str, object]) -> list[dict[str, object]]:
    """Those listed, and the one the document is about."""
    metadata = document.get("metadata")
    about = metadata.get("component") if isinstance(metadata, dict) else None
    listed = document.get("components")
    return [
        one
        for one in [about, *(listed if isinstance(listed, list) else [])]
        if isinstance(one, dict)
    ]


def _hashes(component: dict[str, object]) -> list[str]:
    said = component.get("hashes")
    return [
        f"sha256:{one['content'].lower()}"
        for one in (said if isinstance(said, list) else [])
        if isinstance(one, dict)
        and one.get("alg") == "SHA-256"
        and isinstance(one.get("content"), str)
    ]


def load_card(objects: Objects, digest: str) -> bytes:
    """Raises NotFound where it is not kept, Corrupt where it is another's bytes."""
    with objects.open(digest) as kept:
        content = kept.read(MAX_CARD_BYTES)
    if _digest(content) != digest:
        raise Corrupt(f"card {digest} is not what was kept")
    return content


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()

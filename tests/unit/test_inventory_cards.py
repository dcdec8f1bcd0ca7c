"""Model cards: read strictly, kept under their digest."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from pathlib import Path

import pytest

from modelkeep.errors import Corrupt, NotFound
from modelkeep.objects import open_objects
from modelkeep_services.inventory.cards import load_card, read_card

SHARED = Path(
    os.environ.get(
        "MODELKEEP_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"
    )
)
SAMPLES = SHARED / "fixtures" / "cyclonedx"
CARD = (
    b'{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":'
    b'{"type":"machine-learning-model","name":"m","modelCard":{},'
    b'"hashes":[{"alg":"SHA-256","content":"AB"},{"alg":"MD5","content":"x"}]}}}'
)


def test_the_component_a_document_is_about_may_hold_the_card() -> None:
    card = read_card(CARD)
    assert card.digest == "sha256:" + hashlib.sha256(CARD).hexdigest()
    assert card.hashes == ("sha256:ab",)


@pytest.mark.skipif(not SAMPLES.exists(), reason="no MODELKEEP_SHARED_DATA")
def test_the_specifications_own_samples_are_cards() -> None:
    for sample in sorted(SAMPLES.glob("valid-machine-learning*.json")):
        read_card(sample.read_bytes())


def test_a_card_is_kept_once_and_comes_back_whole(tmp_path: Path) -> None:
    objects, card = open_objects(tmp_path / "artifacts"), read_card(CARD)
    assert objects.put(BytesIO(CARD)).digest == card.digest
    objects.put(BytesIO(CARD))
    assert load_card(objects, card.digest) == CARD
    assert len(list((tmp_path / "artifacts").iterdir())) == 1


def test_a_card_of_a_home_of_before_is_found(tmp_path: Path) -> None:
    digest = hashlib.sha256(CARD).hexdigest()
    (tmp_path / f"{digest}.cdx.json").write_bytes(CARD)
    assert load_card(open_objects(tmp_path), f"sha256:{digest}") == CARD


def test_a_card_that_was_changed_or_lost_is_not_given_out(tmp_path: Path) -> None:
    objects, card = open_objects(tmp_path), read_card(CARD)
    with pytest.raises(NotFound):
        load_card(objects, card.digest)
    objects.put(BytesIO(CARD))
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(CARD + b" ")
    with pytest.raises(Corrupt):
        load_card(objects, card.digest)

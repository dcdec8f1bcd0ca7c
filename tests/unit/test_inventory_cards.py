"""Model cards: read strictly, kept under their digest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from modelkeep.errors import Corrupt, NotFound
from modelkeep_services.inventory.cards import load_card, read_card, save_card

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
    card = read_card(CARD)
    save_card(tmp_path / "artifacts", card, CARD)
    save_card(tmp_path / "artifacts", card, CARD)
    assert load_card(tmp_path / "artifacts", card.digest) == CARD
    assert [path.suffix for path in (tmp_path / "artifacts").iterdir()] == [".json"]


def test_a_card_that_was_changed_or_lost_is_not_given_out(tmp_path: Path) -> None:
    card = read_card(CARD)
    with pytest.raises(NotFound):
        load_card(tmp_path, card.digest)
    save_card(tmp_path, card, CARD)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(CARD + b" ")
    with pytest.raises(Corrupt):
        load_card(tmp_path, card.digest)

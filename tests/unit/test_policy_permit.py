"""What a bundle says of permits: closed unless said, and never for long."""

from __future__ import annotations

import pytest

from modelkeep.errors import Invalid
from modelkeep.policy.bundle import Permit, load_bundle
from modelkeep.policy.defaults import baseline

SAID = (
    "permit: {lasts: 15m, refresh: 5m, on_unreachable: {3: open, 4: open}, grace: 4h}"
)


def with_permit(text: str) -> str:
    assert SAID in baseline()
    return baseline().replace(SAID, text)


def test_an_action_that_says_nothing_is_closed_everywhere() -> None:
    permit = load_bundle(baseline()).document.actions["promote"].permit
    assert permit == Permit()
    assert {permit.unreachable(tier) for tier in (None, 1, 2, 3, 4)} == {"closed"}


def test_the_packaged_bundle_is_open_where_little_can_be_lost() -> None:
    permit = load_bundle(baseline()).document.actions["admit"].permit
    said = [permit.unreachable(tier) for tier in (1, 2, 3, 4)]
    assert said == ["closed", "closed", "open", "open"]
    assert permit.unreachable(None) == "closed"


def test_a_bundle_that_does_not_speak_of_permits_keeps_its_digest() -> None:
    without = with_permit("")
    # As published before permits were known: what is not said is not hashed.
    assert load_bundle(without).digest == load_bundle(without + "\n# more\n").digest
    assert load_bundle(without).digest != load_bundle(baseline()).digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("permit: {lasts: 5m, refresh: 5m}", "comes no sooner than the permit's end"),
        ("permit: {lasts: 25h, refresh: 5m}", "is longer than 24h"),
        ("permit: {grace: 73h}", "is longer than 72h"),
        ("permit: {on_unreachable: {1: ajar}}", "'closed' or 'open'"),
        ("permit: {on_unreachable: {5: open}}", "on_unreachable"),
        ("permit: {on_unreachable: open}", "on_unreachable"),
        ("permit: {for_ever: true}", "for_ever"),
    ],
)
def test_what_would_hold_too_long_does_not_load(text: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        load_bundle(with_permit(text))
    assert words in str(refused.value)

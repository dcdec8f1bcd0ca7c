"""Every shape ever written stays readable, and a shape changes only with its version.

A golden file holds an event's JSON schema and one example as stored. `python -m
tests.golden.write` adds what is missing; it never changes what is there.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelkeep.events import load_all
from modelkeep.events.base import decode, encode, known_events, known_upcasters

load_all()
HERE = Path(__file__).parent / "events"
# Other tests declare events of their own.
EVENTS = {
    name: event
    for name, event in known_events().items()
    if event.__module__.startswith("modelkeep.")
}
FILES = sorted(HERE.glob("*.json"))


def named(path: Path) -> tuple[str, int]:
    name, _, version = path.stem.rpartition(".v")
    return name, int(version)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_event_has_a_golden_file(name: str) -> None:
    path = HERE / f"{name}.v{EVENTS[name].event_version}.json"
    assert path.exists(), "run `python -m tests.golden.write` and look at what it wrote"


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_a_shape_changes_only_with_its_version(name: str) -> None:
    path = HERE / f"{name}.v{EVENTS[name].event_version}.json"
    golden = json.loads(path.read_text())
    assert EVENTS[name].model_json_schema() == golden["schema"], (
        f"{name} changed its shape: raise its version and add an upcaster"
    )


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_shape_ever_written_is_read(path: Path) -> None:
    name, version = named(path)
    stored = json.dumps(json.loads(path.read_text())["example"]).encode()
    event = decode(name, version, stored)
    assert decode(name, event.event_version, encode(event)) == event


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_older_version_has_an_upcaster(path: Path) -> None:
    name, version = named(path)
    if version < EVENTS[name].event_version:
        assert (name, version) in known_upcasters()

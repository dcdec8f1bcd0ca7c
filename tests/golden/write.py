"""Write the golden files that are missing: `python -m tests.golden.write`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.golden.examples import example

from modelkeep.events import load_all
from modelkeep.events.base import encode, known_events

HERE = Path(__file__).parent / "events"


def main(prefixes: list[str]) -> None:
    """With prefixes (`inventory.`), only events whose name begins with one of them."""
    load_all()
    HERE.mkdir(exist_ok=True)
    for name, event in sorted(known_events().items()):
        path = HERE / f"{name}.v{event.event_version}.json"
        if not event.__module__.startswith("modelkeep."):
            continue
        if path.exists() or (prefixes and not name.startswith(tuple(prefixes))):
            continue
        golden = {
            "schema": event.model_json_schema(),
            "example": json.loads(encode(example(event))),
        }
        path.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
        sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The language the services share: one module a service, frozen models, named facts.

Import `load_all()` where a stranger's events must be readable too (audit, replay).
"""

from __future__ import annotations

from importlib import import_module

MODULES = (
    "clock",
    "inventory",
    "lineage",
    "policy",
    "monitoring",
    "attention",
    "alarm_watch",
    "findings",
    "debt",
    "insight",
    "privacy",
)


def load_all() -> None:
    """Import every module of events, so that `base.decode` knows every name."""
    for module in MODULES:
        import_module(f"modelkeep.events.{module}")

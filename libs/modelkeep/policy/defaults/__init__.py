"""Bundles to start from, as text; a bundle becomes one's own by being edited."""

from __future__ import annotations

from importlib.resources import files


def baseline() -> str:
    return (files(__name__) / "baseline.yaml").read_text(encoding="utf-8")

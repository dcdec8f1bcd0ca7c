"""What holds for all tests: how many examples a property is tried with."""

from __future__ import annotations

from hypothesis import settings

# `make test` asks for `fast`; `make test-all` tries each property as often as usual.
settings.register_profile("fast", max_examples=35)

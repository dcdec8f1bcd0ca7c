"""Modelkeep: bookkeeping for models. `from modelkeep import Client` is the SDK."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelkeep.client import Client
    from modelkeep.sdk.admit import NotAdmitted

__version__ = "0.1.0"
__all__ = ["Client", "NotAdmitted", "__version__"]


def __getattr__(name: str) -> object:
    # Lazy (PEP 562): the verifier needs neither grpcio nor protobuf.
    if name == "Client":
        return import_module("modelkeep.client").Client
    if name == "NotAdmitted":
        return import_module("modelkeep.sdk.admit").NotAdmitted
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

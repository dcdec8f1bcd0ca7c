"""Which services there are, and how each is built."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final, cast

from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep.service import Host, Service
from modelkeep.views import AnyView

SERVICES: Final = (
    "inventory",
    "lineage",
    "policy",
    "monitoring",
    "debt",
    "insight",
    "audit",
    "privacy",
)


def build(name: str, **more: str | bool) -> Build:
    """Name a service's factory; its module is imported when it is built."""

    def make(host: Host) -> Service:
        module = import_module(f"modelkeep_services.{name}.service")
        return cast("Callable[..., Service]", module.service)(host, **more)

    return make


def builds(
    names: tuple[str, ...] = SERVICES,
    *,
    policy: str | None = None,
    carries: bool = False,
) -> Mapping[str, Build]:
    """`policy` names the bundle that a ledger without any begins with; `carries` says
    that checkpoints are taken to whom the environment names.
    """
    more: dict[str, dict[str, str | bool]] = {"audit": {"carries": carries}}
    if policy is not None:
        more["policy"] = {"starter": policy}
    return {name: build(name, **more.get(name, {})) for name in names}


def views(name: str) -> Sequence[AnyView]:
    """Return a service's views, without the service."""
    module = import_module(f"modelkeep_services.{name}.service")
    return cast("Sequence[AnyView]", module.VIEWS)


def projector(home: Home, log: str, names: Sequence[str]) -> list[str]:
    """Return the command that keeps views; the descriptor to tell is added to it."""
    where = ["--home", str(home.root), "--store", log]
    program = [sys.executable, "-m", "modelkeep_services", "project"]
    return [*program, *where, *names, "--tells"]

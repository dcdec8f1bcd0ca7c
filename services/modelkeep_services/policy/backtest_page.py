"""A backtest as one static HTML file: no script, no request, every word escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from jinja2 import Template

from modelkeep import __version__
from modelkeep.static_page import template

FIRST_ORDER = (
    "First order: each past question is asked again on the facts of then. What a"
    " verdict that flips would have changed afterwards is not simulated."
)


def render(said: Mapping[str, object], digest: str) -> str:
    """Return a whole page of a backtest's document."""
    return _template().render(
        said=said, digest=digest, version=__version__, first_order=FIRST_ORDER
    )


@cache
def _template() -> Template:
    return template("modelkeep_services.policy", "backtest.html.j2")

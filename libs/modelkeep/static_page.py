"""A page as one static HTML file: how each is made of the template beside its code.

Every word is escaped but what is markup already; a word that a template asks for and
nobody gave is an error, not a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(
    package: str, name: str, filters: Mapping[str, Callable[..., object]] | None = None
) -> Template:
    """Read the template `name` in the folder `templates` of a package."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(name)

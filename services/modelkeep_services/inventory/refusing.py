"""What several decisions refuse alike."""

from __future__ import annotations

from typing import Final, NoReturn

from modelkeep.errors import NotFound, Refused
from modelkeep.events.inventory import Role
from modelkeep.events.types import Person
from modelkeep_services.inventory.state import Finding, ModelState, Version

BUILDERS: Final[tuple[Role, ...]] = ("owner", "engineer", "business_owner")
CHALLENGERS: Final[tuple[Role, ...]] = ("risk_officer", "validator")


def refuse(rule: str, message: str, subject: str = "") -> NoReturn:
    raise Refused(f"inventory.{rule}", message, subject=subject)


def the_version(
    state: ModelState, model: str, version: str, digest: str | None = None
) -> Version:
    """Raises NotFound; refuses another digest than was registered."""
    found = state.versions.get(version)
    if found is None:
        raise NotFound("version", f"{model}/{version}")
    if digest is not None and digest != found.said.digest:
        refuse(
            "same-digest",
            f"version {model}/{version} is {found.said.digest}, not {digest}",
            f"{model}/{version}",
        )
    return found


def the_finding(state: ModelState, model: str, finding: str) -> Finding:
    found = state.findings.get(finding)
    if found is None:
        raise NotFound("finding", f"{model}/{finding}")
    return found


def builds(state: ModelState, who: Person, version: Version | None = None) -> str:
    """Say in which role somebody made or owns it; empty when in none."""
    for role in BUILDERS:
        if who in state.holders(role):
            return f"its {role.replace('_', ' ')}"
    if version is not None and version.said.registered_by == who:
        return "who registered the version"
    return ""

"""What changed between two bundles, part by part: a rule is found by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from pydantic import JsonValue

from modelkeep.policy.bundle import Bundle, Document

Place: TypeAlias = tuple[str, ...]
Parts: TypeAlias = "Mapping[str, Parts | JsonValue]"
UNSAID = None


class Change(NamedTuple):
    """`before` is None for what is new, `after` for what is gone."""

    place: Place
    before: JsonValue
    after: JsonValue

    def sentence(self) -> str:
        """Say it in one line.

        >>> Change(("params", "psi_max", "tier", "1"), 0.1, 0.2).sentence()
        'params.psi_max.tier.1: 0.1 -> 0.2'
        """
        where = ".".join(self.place)
        if self.before is UNSAID:
            return f"{where}: new, {_spelled(self.after)}"
        if self.after is UNSAID:
            return f"{where}: gone, was {_spelled(self.before)}"
        return f"{where}: {_spelled(self.before)} -> {_spelled(self.after)}"


def changes(old: Bundle, new: Bundle) -> list[Change]:
    """Return what differs, in the order of the new document."""
    return list(_between((), _parts(old.document), _parts(new.document)))


def _parts(document: Document) -> dict[str, object]:
    """Policies, rules and tests by name; an order among them says nothing."""
    said = document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for policy in said["policies"]:
        policy["rules"] = _named(policy.get("rules", []), "id")
    said["policies"] = _named(said["policies"], "id")
    said["tests"] = _named(said.get("tests", []), "name")
    return dict(said)


def _named(parts: list[dict[str, object]], key: str) -> dict[str, object]:
    return {
        str(one[key]): {name: value for name, value in one.items() if name != key}
        for one in parts
    }


def _between(place: Place, old: object, new: object) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*new, *old]):
            yield from _between((*place, name), old.get(name), new.get(name))
    elif old != new:
        yield Change(place, _plain(old), _plain(new))


def _plain(value: object) -> JsonValue:
    return value  # type: ignore[return-value]  # dumped as JSON


def _spelled(value: JsonValue) -> str:
    if isinstance(value, list):
        return ", ".join(map(_spelled, value)) or "nothing"
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_spelled(v)}" for k, v in value.items()) or "nothing"
    return str(value)

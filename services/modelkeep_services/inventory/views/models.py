"""Models as they are described: one row each, their people, and the uses they serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from modelkeep.events import inventory as e
from modelkeep.events.types import Money, Person
from modelkeep.views import Fact, Rows, View

PRODUCTION: Final = "prod"


@dataclass(frozen=True)
class ModelRow:
    """`reason` says why it is suspended or retired. `shares` is by environment and
    version.
    """

    model: str
    title: str
    kind: str
    purpose: str
    owner: str
    owner_issuer: str
    registered_at: datetime
    event_id: str
    business_line: str | None = None
    vendor: e.Vendor | None = None
    approved_uses: tuple[str, ...] = ()
    boundaries: e.Boundaries = ()
    evidence_owed: tuple[str, ...] = ()
    is_model: bool | None = None
    scope_rationale: str | None = None
    tier: int | None = None
    derived_tier: int | None = None
    tier_source: str | None = None
    drivers: e.Drivers | None = None
    rubric: str | None = None
    override_reason: str | None = None
    override_expires_at: datetime | None = None
    regime_flags: tuple[str, ...] = ()
    versions: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    suspended: bool = False
    retired_at: datetime | None = None
    reason: str | None = None

    @property
    def lifecycle(self) -> str:
        if self.retired_at is not None:
            return "retired"
        if self.suspended:
            return "suspended"
        serves = {place.split("/")[0] for place, s in self.shares.items() if s > 0}
        if serves:
            return "live" if PRODUCTION in serves else "deployed"
        return "developed" if self.versions else "registered"


models = View("models", ModelRow)


@models.on(e.ModelRegistered)
def registered(event: e.ModelRegistered, fact: Fact, rows: Rows[ModelRow]) -> None:
    rows.put(
        event.model,
        ModelRow(**dict(event), registered_at=fact.effective_at, event_id=str(fact.id)),
    )


def _change(rows: Rows[ModelRow], model: str, fact: Fact, **said: object) -> None:
    row = rows.get(model)
    if row is not None:
        rows.put(model, replace(row, event_id=str(fact.id), **said))  # type: ignore[arg-type]  # fields of the row, by name


@models.on(e.ScopeDecided)
def scoped(event: e.ScopeDecided, fact: Fact, rows: Rows[ModelRow]) -> None:
    said = {"is_model": event.is_model, "scope_rationale": event.rationale}
    _change(rows, event.model, fact, **said)


@models.on(e.UsesApproved)
def uses_approved(event: e.UsesApproved, fact: Fact, rows: Rows[ModelRow]) -> None:
    _change(rows, event.model, fact, approved_uses=event.uses)


@models.on(e.BoundariesSet)
def bounded(event: e.BoundariesSet, fact: Fact, rows: Rows[ModelRow]) -> None:
    _change(rows, event.model, fact, boundaries=event.boundaries)


@models.on(e.ModelClassified)
def classified(event: e.ModelClassified, fact: Fact, rows: Rows[ModelRow]) -> None:
    _change(
        rows,
        event.model,
        fact,
        tier=event.tier,
        derived_tier=event.derived_tier,
        tier_source=event.source,
        drivers=event.drivers,
        rubric=event.rubric,
        override_reason=event.reason,
        override_expires_at=event.expires_at,
        regime_flags=event.regime_flags,
    )


@models.on(e.OverrideExpired)
def override_expired(
    event: e.OverrideExpired, fact: Fact, rows: Rows[ModelRow]
) -> None:
    _change(
        rows,
        event.model,
        fact,
        tier=event.tier,
        tier_source="derived",
        override_reason=None,
        override_expires_at=None,
    )


@models.on(e.RoleAssigned)
def owned(event: e.RoleAssigned, fact: Fact, rows: Rows[ModelRow]) -> None:
    if event.role == "owner":
        said = {"owner": event.subject, "owner_issuer": event.issuer}
        _change(rows, event.model, fact, **said)


@models.on(e.VersionRegistered)
def built(event: e.VersionRegistered, fact: Fact, rows: Rows[ModelRow]) -> None:
    row = rows.get(event.model)
    if row is not None:
        _change(rows, event.model, fact, versions=row.versions + 1)


@models.on(e.Deployed)
def deployed(event: e.Deployed, fact: Fact, rows: Rows[ModelRow]) -> None:
    _share(rows, event, fact, {event.version: event.share})


@models.on(e.TrafficSet)
def traffic_set(event: e.TrafficSet, fact: Fact, rows: Rows[ModelRow]) -> None:
    _share(rows, event, fact, {event.version: event.share})


@models.on(e.RolledBack)
def rolled_back(event: e.RolledBack, fact: Fact, rows: Rows[ModelRow]) -> None:
    shares = {event.from_version: 0.0, event.to_version: event.share}
    _share(rows, event, fact, shares)


def _share(
    rows: Rows[ModelRow],
    event: e.Deployed | e.TrafficSet | e.RolledBack,
    fact: Fact,
    shares: Mapping[str, float],
) -> None:
    row = rows.get(event.model)
    if row is not None:
        new = {f"{event.environment}/{name}": share for name, share in shares.items()}
        kept = dict(sorted({**row.shares, **new}.items()))
        _change(rows, event.model, fact, shares=kept)


@models.on(e.Suspended)
def suspended(event: e.Suspended, fact: Fact, rows: Rows[ModelRow]) -> None:
    _change(rows, event.model, fact, suspended=True, reason=event.reason)


@models.on(e.Resumed)
def resumed(event: e.Resumed, fact: Fact, rows: Rows[ModelRow]) -> None:
    _change(rows, event.model, fact, suspended=False, reason=None)


@models.on(e.Retired)
def retired(event: e.Retired, fact: Fact, rows: Rows[ModelRow]) -> None:
    said = {"retired_at": fact.effective_at, "reason": event.reason}
    _change(rows, event.model, fact, **said)


# --- people ------------------------------------------------------------------------


@dataclass(frozen=True)
class RoleRow:
    model: str
    role: str
    subject: str
    issuer: str
    since: datetime
    event_id: str


roles = View("roles", RoleRow)
"""By `model/role/issuer subject`."""


def role_key(model: str, role: str, issuer: str, subject: str) -> str:
    return f"{model}/{role}/{issuer} {subject}"


@roles.on(e.ModelRegistered)
def first_owner(event: e.ModelRegistered, fact: Fact, rows: Rows[RoleRow]) -> None:
    _hold(rows, fact, event.model, "owner", event.owner, event.owner_issuer)


@roles.on(e.RoleAssigned)
def assigned(event: e.RoleAssigned, fact: Fact, rows: Rows[RoleRow]) -> None:
    _hold(rows, fact, event.model, event.role, event.subject, event.issuer)


def _hold(
    rows: Rows[RoleRow], fact: Fact, model: str, role: str, subject: str, issuer: str
) -> None:
    rows.put(
        role_key(model, role, issuer, subject),
        RoleRow(model, role, subject, issuer, fact.effective_at, str(fact.id)),
    )


@roles.on(e.RoleVacated)
def vacated(event: e.RoleVacated, _: Fact, rows: Rows[RoleRow]) -> None:
    rows.delete(role_key(event.model, event.role, event.issuer, event.subject))


# --- uses --------------------------------------------------------------------------


@dataclass(frozen=True)
class UseRow:
    use: str
    model: str
    exposure_share: float
    tier: int
    event_id: str
    way_back: bool = False


uses = View("uses", UseRow)
"""By `use/model`; and under `/model`, as a `way_back`, the use that it serves now."""


@uses.on(e.ModelClassified)
def used(event: e.ModelClassified, fact: Fact, rows: Rows[UseRow]) -> None:
    drivers = event.drivers
    was = rows.get(f"/{event.model}")
    if was is not None and was.use != drivers.use:
        rows.delete(f"{was.use}/{event.model}")
    row = UseRow(
        drivers.use,
        event.model,
        drivers.exposure_share,
        event.tier,
        str(fact.id),
    )
    rows.put(f"{drivers.use}/{event.model}", row)
    rows.put(f"/{event.model}", replace(row, way_back=True))


@uses.on(e.OverrideExpired)
def used_at_tier(event: e.OverrideExpired, fact: Fact, rows: Rows[UseRow]) -> None:
    was = rows.get(f"/{event.model}")
    if was is not None:
        row = replace(was, tier=event.tier, event_id=str(fact.id))
        rows.put(f"/{event.model}", row)
        rows.put(f"{row.use}/{event.model}", replace(row, way_back=False))


@uses.on(e.Retired)
def unused(event: e.Retired, _: Fact, rows: Rows[UseRow]) -> None:
    was = rows.get(f"/{event.model}")
    if was is not None:
        rows.delete(f"{was.use}/{event.model}")
        rows.delete(f"/{event.model}")


# --- appetites ---------------------------------------------------------------------


@dataclass(frozen=True)
class AppetiteRow:
    business_line: str
    text: str
    share: float | None
    money: Money | None
    set_by: Person
    at: datetime
    event_id: str


appetites = View("appetites", AppetiteRow)


@appetites.on(e.AppetiteSet)
def appetite_set(event: e.AppetiteSet, fact: Fact, rows: Rows[AppetiteRow]) -> None:
    row = AppetiteRow(**dict(event), at=fact.effective_at, event_id=str(fact.id))
    rows.put(event.business_line, row)

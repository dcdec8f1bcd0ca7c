"""The inventory as examiners ask for it: one line a model, each field with its clauses.

The clauses are those of the texts' own lists of inventory fields and of what high-risk
systems must document. They say where a field is asked for; not that it is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from modelkeep_services.cli.exam.cells import Row, text

US: Final = "SR 26-2"
UK: Final = "SS1/23"
CANADA: Final = "OSFI E-23"
EU: Final = "EU AI Act"
REGIMES: Final = (US, UK, CANADA, EU)

Tables = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Known:
    """All rows of one model, by table; `model` is its row of `models`."""

    model: Row
    tables: Tables

    def all(self, table: str) -> Sequence[Row]:
        return self.tables.get(table, ())

    def last(self, table: str) -> Row:
        rows = self.all(table)
        return rows[-1] if rows else {}

    @property
    def version(self) -> Row:
        """The version that serves the most; else the latest that was registered."""
        serving = max(
            self.serving, key=lambda one: _number(one.get("share")), default={}
        )
        named = {one.get("version"): one for one in self.all("versions")}
        newest = max(self.all("versions"), key=_registered, default={})
        return named.get(serving.get("version"), newest)

    @property
    def serving(self) -> Sequence[Row]:
        return [one for one in self.all("deployments") if _number(one.get("share")) > 0]


class Field(NamedTuple):
    """A column, what it says, where it is asked for, and how it is told. What is not
    `owed` may be empty: nothing is lacking.
    """

    name: str
    about: str
    asked: Mapping[str, str]
    told: Callable[[Known], object]
    owed: bool = True


def inventory(tables: Tables) -> list[Row]:
    """One line a model, in the order of `models`."""
    apart = {name: _by_model(rows) for name, rows in tables.items()}
    lines: list[Row] = []
    for one in tables.get("models", ()):
        mine = {name: by.get(one.get("model"), []) for name, by in apart.items()}
        known = Known(one, mine)
        lines.append({field.name: field.told(known) for field in FIELDS})
    return lines


def gaps(lines: Iterable[Row]) -> list[Row]:
    """What a regime asks for and the ledger does not know, model by model."""
    return [
        {
            "model": line["model"],
            "field": field.name,
            "about": field.about,
            **{regime: field.asked.get(regime, "") for regime in REGIMES},
        }
        for line in lines
        for field in FIELDS
        if field.asked and field.owed and not text(line[field.name])
    ]


def mapping() -> list[Row]:
    """Which field answers which clause."""
    return [
        {
            "file": "inventory.csv",
            "field": field.name,
            "about": field.about,
            **{regime: field.asked.get(regime, "") for regime in REGIMES},
        }
        for field in FIELDS
    ]


def _by_model(rows: Sequence[Row]) -> dict[object, list[Row]]:
    found: dict[object, list[Row]] = {}
    for one in rows:
        found.setdefault(one.get("model"), []).append(one)
    return found


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _registered(version: Row) -> str:
    return text(version.get("registered_at"))


# --- how a field is told -------------------------------------------------------------


def _of(name: str) -> Callable[[Known], object]:
    return lambda known: known.model.get(name)


def _version(name: str) -> Callable[[Known], object]:
    return lambda known: known.version.get(name)


def _health(name: str) -> Callable[[Known], object]:
    return lambda known: known.last("health").get(name)


def _holders(role: str) -> Callable[[Known], object]:
    return lambda known: [
        str(one["subject"]) for one in known.all("roles") if one.get("role") == role
    ]


def _listed(table: str, name: str) -> Callable[[Known], object]:
    """The different values of a column, in order."""

    def told(known: Known) -> object:
        found = (text(one.get(name)) for one in known.all(table))
        return list(dict.fromkeys(one for one in found if one))

    return told


def _reliances(name: str) -> Callable[[Known], object]:
    """What a validation relied on, each with the monitor that would notice."""

    def told(known: Known) -> object:
        found = known.version.get(f"validation.{name}")
        if not isinstance(found, Sequence) or isinstance(found, str):
            return None
        return [_reliance(one) for one in found if isinstance(one, Mapping)]

    return told


def _reliance(one: Mapping[str, object]) -> str:
    monitor = one.get("monitor")
    return (
        f"{one.get('text')} (monitor: {monitor})" if monitor else str(one.get("text"))
    )


def _serving(known: Known) -> object:
    return [
        f"{one.get('version')} in {one.get('environment')}, "
        f"{_number(one.get('share')):.0%}"
        for one in known.serving
    ]


def _updated(known: Known) -> object:
    return _latest(one.get("since") for one in known.serving)


def _latest(found: Iterable[object]) -> datetime | None:
    return max((one for one in found if isinstance(one, datetime)), default=None)


def _first(found: Iterable[object]) -> datetime | None:
    return min((one for one in found if isinstance(one, datetime)), default=None)


def _open(table: str, status: str = "status") -> Callable[[Known], list[Row]]:
    over = {
        "closed",
        "resolved",
        "cured",
        "completed",
        "cancelled",
        "expired",
        "withdrawn",
    }
    return lambda known: [
        one for one in known.all(table) if one.get(status) not in over
    ]


def _count(table: str) -> Callable[[Known], object]:
    return lambda known: len(_open(table)(known))


def _findings(known: Known) -> object:
    return [
        f"{one.get('finding')}: {one.get('title')} ({one.get('severity')}, "
        f"{one.get('status')}, due {text(one.get('due_at'))[:10]})"
        for one in _open("findings")(known)
    ]


def _next_review(known: Known) -> object:
    return _first(one.get("due_at") for one in _open("reviews")(known))


def _last_review(known: Known) -> object:
    return _latest(one.get("completed_at") for one in known.all("reviews"))


def _exceptions(known: Known) -> object:
    return [
        f"{one.get('rule')} until {text(one.get('until'))[:10]}: {one.get('reason')}"
        for one in known.all("exceptions")
        if one.get("status") == "granted"
    ]


def _approved_by(known: Known) -> object:
    """Who said yes to the version that serves, in the verdicts of its digest."""
    digest, found = known.version.get("digest"), dict[str, None]()
    for one in known.all("verdicts"):
        heard = one.get("approvals")
        if one.get("digest") != digest or not isinstance(heard, Sequence):
            continue
        for word in heard:
            if isinstance(word, Mapping) and word.get("approved"):
                by = word.get("by")
                found[str(by.get("subject") if isinstance(by, Mapping) else by)] = None
    return list(found)


def _budget(known: Known) -> object:
    return max(
        (_number(one.get("spent")) for one in known.all("budgets")), default=None
    )


def _debt(known: Known) -> object:
    rows = _open("liabilities")(known)
    return sum(int(_number(one.get("carrying"))) for one in rows) if rows else 0


def _watch(name: str) -> Callable[[Known], object]:
    return lambda known: known.last("monitors").get(name)


FIELDS: Final = (
    # identity
    Field(
        "model",
        "Its name here",
        {US: "inventory", UK: "1.2(c)", CANADA: "app. 1", EU: "annex VIII"},
        _of("model"),
    ),
    Field(
        "title",
        "Its name in the business",
        {CANADA: "app. 1", EU: "annex VIII"},
        _of("title"),
    ),
    Field(
        "kind",
        "Trained, rulebook, spreadsheet, vendor or generative",
        {CANADA: "app. 1"},
        _of("kind"),
    ),
    Field(
        "is_model",
        "Whether it was decided to be a model",
        {US: "scope", UK: "1.1"},
        _of("is_model"),
    ),
    Field("scope_rationale", "Why", {US: "scope", UK: "1.1"}, _of("scope_rationale")),
    Field(
        "lifecycle",
        "Where it is in its life",
        {UK: "1.2(c)", CANADA: "app. 1"},
        _of("lifecycle"),
    ),
    Field(
        "vendor",
        "Who supplied it",
        {US: "third parties", UK: "2.6", CANADA: "app. 1", EU: "art. 25"},
        _of("vendor.name"),
        owed=False,
    ),
    Field(
        "business_line",
        "Which business it serves",
        {US: "inventory", CANADA: "app. 1"},
        _of("business_line"),
    ),
    # use
    Field(
        "purpose",
        "What it is for",
        {US: "inventory", UK: "1.2(c)", CANADA: "app. 1", EU: "annex IV 1(a)"},
        _of("purpose"),
    ),
    Field(
        "approved_uses",
        "What it may be used for",
        {US: "inventory", UK: "1.2(c)", CANADA: "app. 1", EU: "art. 13"},
        _of("approved_uses"),
    ),
    Field(
        "boundaries",
        "Where it was shown to work",
        {UK: "1.2(c)", EU: "annex IV 3"},
        _of("boundaries"),
    ),
    # risk
    Field(
        "tier",
        "Its tier in force, 1 the riskiest",
        {US: "materiality", UK: "1.3", CANADA: "app. 1"},
        _of("tier"),
    ),
    Field(
        "derived_tier",
        "What the rubric alone says",
        {US: "materiality", UK: "1.3"},
        _of("derived_tier"),
    ),
    Field("tier_source", "Derived, or an override", {UK: "1.3"}, _of("tier_source")),
    Field("override_reason", "Why it was overridden", {}, _of("override_reason")),
    Field("override_expires_at", "Until when", {}, _of("override_expires_at")),
    Field(
        "exposure",
        "Exposure, 1 to 4",
        {US: "materiality", UK: "1.3"},
        _of("drivers.exposure"),
    ),
    Field(
        "purpose_score",
        "Purpose, 1 to 4",
        {US: "materiality", UK: "1.3"},
        _of("drivers.purpose"),
    ),
    Field("harm", "Harm to customers, 1 to 4", {EU: "art. 9"}, _of("drivers.harm")),
    Field("complexity", "Complexity, 1 to 4", {UK: "1.3"}, _of("drivers.complexity")),
    Field(
        "regime_flags",
        "What a regime itself calls high-risk",
        {EU: "art. 6"},
        _of("regime_flags"),
        owed=False,
    ),
    # build
    Field(
        "version",
        "The version that serves, or the latest",
        {CANADA: "app. 1", EU: "annex IV 1(c)"},
        _version("version"),
    ),
    Field(
        "version_digest",
        "Digest of its files",
        {EU: "annex IV 1(c)"},
        _version("digest"),
    ),
    Field(
        "card_digest",
        "Digest of its model card",
        {EU: "art. 11"},
        _version("card_digest"),
    ),
    Field(
        "manifest",
        "Digest of its data, features, code and run",
        {US: "inventory", CANADA: "app. 1", EU: "annex IV 2(d)"},
        _version("manifest"),
    ),
    Field(
        "assumptions",
        "What its validation took for granted",
        {UK: "1.2(c)", CANADA: "app. 1"},
        _reliances("assumptions"),
    ),
    Field(
        "limitations",
        "What it cannot do",
        {US: "limitations", UK: "1.2(c)", CANADA: "app. 1", EU: "annex IV 3"},
        _reliances("limitations"),
    ),
    # people
    Field(
        "owner",
        "Who answers for it",
        {US: "roles", UK: "2.3", CANADA: "app. 1", EU: "art. 26"},
        _of("owner"),
    ),
    Field(
        "engineers", "Who makes it", {UK: "2.3", CANADA: "app. 1"}, _holders("engineer")
    ),
    Field(
        "business_owners",
        "Whose business it serves",
        {UK: "2.3"},
        _holders("business_owner"),
    ),
    Field(
        "validators",
        "Who challenges it",
        {US: "roles", UK: "4.1", CANADA: "app. 1"},
        _holders("validator"),
    ),
    Field(
        "risk_officers", "Who watches its risk", {UK: "2.3"}, _holders("risk_officer")
    ),
    Field(
        "approved_by",
        "Who approved the version",
        {CANADA: "app. 1", EU: "art. 14"},
        _approved_by,
    ),
    # validation
    Field(
        "validation_outcome",
        "Approved, conditional or rejected",
        {US: "validation", UK: "4.2"},
        _version("validation.outcome"),
    ),
    Field(
        "validated_at",
        "When it was last validated",
        {US: "validation", UK: "4.2"},
        _version("validation.at"),
    ),
    Field(
        "validation_conditions",
        "Within which limits",
        {US: "use before validation", UK: "5.1"},
        _version("validation.conditions"),
        owed=False,
    ),
    Field(
        "valid_until",
        "Until when",
        {US: "use before validation", UK: "5.1"},
        _version("validation.valid_until"),
        owed=False,
    ),
    Field(
        "last_review",
        "The last review that was done",
        {UK: "1.2(c)", CANADA: "app. 1"},
        _last_review,
    ),
    Field(
        "next_review",
        "The next that is planned",
        {US: "validation", CANADA: "app. 1"},
        _next_review,
    ),
    Field(
        "open_findings",
        "What is to be remedied",
        {US: "inventory", UK: "1.2(c)"},
        _findings,
        owed=False,
    ),
    Field(
        "exceptions",
        "Departures from policy in force",
        {US: "inventory", UK: "5.1"},
        _exceptions,
        owed=False,
    ),
    # operation
    Field(
        "serving",
        "What serves where, with its share",
        {UK: "1.2(c)", CANADA: "app. 1"},
        _serving,
    ),
    Field(
        "last_update",
        "When what serves last changed",
        {US: "inventory", CANADA: "app. 1"},
        _updated,
    ),
    Field(
        "monitoring_cadence_hours",
        "How often it is looked at",
        {US: "monitoring", UK: "4.3", CANADA: "app. 1", EU: "art. 72"},
        _watch("cadence_hours"),
    ),
    Field(
        "health_index",
        "0 to 100; empty where it is not rated",
        {US: "inventory", UK: "1.2(c)", CANADA: "app. 1", EU: "art. 72"},
        _health("index"),
    ),
    Field(
        "health_colour",
        "Whether it functions as it should",
        {US: "inventory", UK: "1.2(c)", CANADA: "app. 1"},
        _health("colour"),
    ),
    Field("health_worst", "Its worst component", {}, _health("worst")),
    Field("health_at", "Of when", {US: "inventory", UK: "1.2(c)"}, _health("at")),
    Field("budget_spent", "Of its worst risk budget; 1 is all of it", {}, _budget),
    Field(
        "open_alerts", "Alerts that nobody resolved", {EU: "art. 72"}, _count("alerts")
    ),
    Field(
        "open_incidents",
        "Incidents that are open",
        {EU: "art. 73"},
        _count("incidents"),
    ),
    Field(
        "plays",
        "What is done when it fails",
        {US: "monitoring", UK: "5.2"},
        _listed("monitors", "play"),
    ),
    Field("debt_points", "What its open debts charge each 30 days", {}, _debt),
    Field(
        "retired_at",
        "When it was retired",
        {CANADA: "app. 1"},
        _of("retired_at"),
        owed=False,
    ),
    Field("retired_because", "Why", {CANADA: "app. 1"}, _of("reason"), owed=False),
)

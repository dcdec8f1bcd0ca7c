"""An Open Data Contract Standard 3 document to what is checked, and what is not.

The format, its JSON Schema included, is the package `open-data-contract-standard`'s
(Bitol, Linux Foundation; MIT). What a document promises of values and is not checked
here comes back as `Unenforced`: nothing is left out in silence. What only describes
(titles, tags, owners, examples) promises nothing and is not listed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Protocol, cast

from modelkeep.errors import Invalid
from modelkeep.events.monitoring import Unenforced
from modelkeep.wire import checked
from modelkeep_services.monitoring import plain_yaml
from modelkeep_services.monitoring.commands import Terms
from modelkeep_services.monitoring.plain_yaml import Plain

if TYPE_CHECKING:
    from jsonschema import Draft201909Validator
    from jsonschema.exceptions import ValidationError
    from open_data_contract_standard.model import (
        DataQuality,
        OpenDataContractStandard,
        SchemaObject,
        SchemaProperty,
        ServiceLevelAgreementProperty,
    )

FIELD: Final = "document"
MOST_UNENFORCED: Final = 1_000
LONGEST: Final = 200

KINDS: Final = {
    "string": "string",
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
    "date": "moment",
    "timestamp": "moment",
}
HOURS: Final = {
    **dict.fromkeys(("s", "second", "seconds"), 1 / 3600),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 1 / 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 1.0),
    **dict.fromkeys(("d", "day", "days"), 24.0),
    **dict.fromkeys(("w", "week", "weeks"), 168.0),
    **dict.fromkeys(("y", "yr", "year", "years"), 8_766.0),
}
FRESH: Final = frozenset({"latency", "ly", "freshness"})
COUNTED: Final = {
    "nullValues": ("max_null_rate", "max_nulls"),
    "missingValues": ("max_null_rate", "max_nulls"),
    "invalidValues": ("max_invalid_rate", "max_invalids"),
    "duplicateValues": ("max_duplicate_rate", "max_duplicates"),
}
OPERATORS: Final = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
ASIDE: Final = {
    "servers": "where the data are is not checked",
    "roles": "access is granted elsewhere",
}


class _HasQuality(Protocol):
    quality: list[DataQuality] | None


@dataclass
class _Found:
    """One column's promises while they are read."""

    place: str
    said: dict[str, object]


@dataclass
class _Reading:
    columns: dict[str, _Found] = field(default_factory=dict)
    unenforced: list[Unenforced] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    def leave(self, place: str, promise: object, reason: str) -> None:
        self.unenforced.append(
            Unenforced(place=_line(place), promise=_line(promise), reason=_line(reason))
        )


def read(document: str, schema_object: str | None = None) -> Terms:
    """Raises Invalid for what is no ODCS 3 document, or promises nothing of a table."""
    plain = plain_yaml.read(FIELD, document)
    _valid(plain)
    contract = _format().model_validate(plain)
    at, table = _chosen(contract.schema_ or [], schema_object)
    reading = _Reading()
    place = f"schema[{at}]"
    for number, column in enumerate(table.properties or []):
        _property(reading, f"{place}.properties[{number}]", column)
    _table(reading, place, table)
    for number, sla in enumerate(contract.slaProperties or []):
        _sla(reading, f"slaProperties[{number}]", sla, table.name or "")
    for section, why in ASIDE.items():
        if plain.get(section):
            reading.leave(section, section, why)
    if not reading.columns:
        raise Invalid.field(FIELD, f"{place} names no column")
    return checked(
        Terms,
        {
            "columns": tuple(one.said for one in reading.columns.values()),
            "schema_object": table.name,
            "document_digest": f"sha256:{sha256(document.encode()).hexdigest()}",
            "document_version": contract.version,
            "unenforced": tuple(reading.unenforced[:MOST_UNENFORCED]),
            **reading.rows,
        },
    )


@cache
def _format() -> type[OpenDataContractStandard]:
    # Built on import in 0.2 s, and few servers ever see a document.
    try:
        from open_data_contract_standard.model import (  # noqa: PLC0415
            OpenDataContractStandard,
        )
    except ModuleNotFoundError:
        raise Invalid.field(
            FIELD, "is read with open-data-contract-standard: install modelkeep[server]"
        ) from None
    return OpenDataContractStandard


@cache
def _schema() -> Draft201909Validator:
    # Beside some packages its import takes a second and more.
    from jsonschema import Draft201909Validator  # noqa: PLC0415

    told = files(_format().__module__.partition(".")[0]).joinpath("schema.json")
    return Draft201909Validator(json.loads(told.read_text(encoding="utf-8")))


def _valid(plain: Mapping[str, Plain]) -> None:
    version = str(plain.get("apiVersion", ""))
    if plain.get("kind") != "DataContract" or not version.startswith("v3."):
        raise Invalid.field(
            FIELD, "is no Open Data Contract Standard 3: kind, apiVersion"
        )
    # The pydantic model lets through what the schema refuses (`logicalType: strng`).
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    wrong = best_match(e for e in _schema().iter_errors(plain) if not _slip(e))
    if wrong is not None:
        raise Invalid.field(FIELD, f"{wrong.json_path}: {wrong.message[:LONGEST]}")


def _slip(error: ValidationError) -> bool:
    """Whether the schema, and not the document, is wrong: 3.2.0 asks every property
    without a logicalType for a map.
    """
    asked = error.validator, error.validator_value
    return asked == ("required", ["map"]) and "logicalType" not in cast(
        "Mapping[str, object]", error.instance
    )


def _chosen(
    tables: Sequence[SchemaObject], wanted: str | None
) -> tuple[int, SchemaObject]:
    named = [(at, one) for at, one in enumerate(tables) if wanted in {None, one.name}]
    if len(named) != 1:
        names = ", ".join(str(one.name) for one in tables[:20])
        raise Invalid.field(
            "schema_object", f"must be one of the document's tables: {names}"
        )
    return named[0]


# --- columns -----------------------------------------------------------------------


def _property(reading: _Reading, place: str, column: SchemaProperty) -> None:
    name = column.physicalName or column.name or ""
    said: dict[str, object] = {"column": name}
    if name in reading.columns:
        reading.leave(place, name, f"{reading.columns[name].place} has this name")
        return
    reading.columns[name] = _Found(place, said)
    if column.properties or column.items or getattr(column, "map", None):
        reading.leave(place, "nested values", "a column here holds single values")
    _kind(reading, place, column, said)
    if column.required or column.primaryKey:
        said["max_null_rate"] = 0.0
    if column.unique:
        said["max_duplicate_rate"] = 0.0
    options = column.logicalTypeOptions or {}
    for option in options:
        _option(reading, f"{place}.logicalTypeOptions", option, options[option], said)
    values = [one.value for one in getattr(column, "enum", None) or []]
    if values:
        said["categories"] = _spelled(values)
    if column.relationships:
        reading.leave(place, "relationships", "other data are not looked into")
    _checks(reading, place, column, said)


def _kind(
    reading: _Reading, place: str, column: SchemaProperty, said: dict[str, object]
) -> None:
    kind = KINDS.get(column.logicalType or "")
    if kind is not None:
        said["kind"] = kind
    elif column.logicalType:
        reading.leave(
            place, f"logicalType {column.logicalType}", "no column here has this type"
        )
    elif column.physicalType:
        reading.leave(
            place, f"physicalType {column.physicalType}", "it is the source's own"
        )


def _option(
    reading: _Reading, place: str, option: str, value: object, said: dict[str, object]
) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    kept = {
        "minimum": "minimum",
        "maximum": "maximum",
        "exclusiveMinimum": "exclusive_minimum",
        "exclusiveMaximum": "exclusive_maximum",
        "minLength": "min_length",
        "maxLength": "max_length",
    }.get(option)
    if kept is not None and number and said.get("kind") != "moment":
        said[kept] = value
        return
    why = {
        "pattern": "a stranger's regular expression is not run",
        "format": "formats differ from tool to tool",
    }.get(option, "no rule here says this")
    reading.leave(f"{place}.{option}", f"{option} {value}", why)


# --- quality -----------------------------------------------------------------------


def _checks(
    reading: _Reading, place: str, of: _HasQuality, said: dict[str, object] | None
) -> None:
    for number, check in enumerate(of.quality or []):
        at = f"{place}.quality[{number}]"
        why = _check(reading, at, check, said)
        if why:
            reading.leave(at, _told(check), why)
            continue
        if check.severity and check.severity.lower() != "error":
            reading.leave(at, f"severity {check.severity}", "every breach counts alike")
        if check.schedule:
            reading.leave(at, f"schedule {check.schedule}", "every batch is checked")


def _check(
    reading: _Reading, place: str, check: DataQuality, said: dict[str, object] | None
) -> str:
    """Take a check over, or say why it cannot be."""
    metric = check.metric or check.rule
    if (check.type or "library") != "library" or metric is None:
        return f"a check of type {check.type or 'library'} is not run"
    if metric == "rowCount":
        return _row_count(reading, check)
    if metric not in COUNTED or said is None:
        return f"{metric} is not counted {'here' if said else 'across columns'}"
    limit = _limit(check)
    if limit is None:
        return "only a limit from above is checked"
    arguments = check.arguments or {}
    why = _arguments(metric, arguments, said)
    if why:
        return why
    rate, count = COUNTED[metric]
    said[rate if (check.unit or "").lower() == "percent" else count] = limit
    for other in sorted(arguments.keys() - {"validValues", "missingValues"}):
        reading.leave(f"{place}.arguments.{other}", other, "it is not understood")
    return ""


def _arguments(
    metric: str, arguments: Mapping[str, object], said: dict[str, object]
) -> str:
    if metric == "invalidValues":
        values = arguments.get("validValues")
        if not isinstance(values, list):
            return "without validValues nothing is invalid"
        said["categories"] = _spelled(values)
    if metric == "missingValues":
        values = arguments.get("missingValues")
        if isinstance(values, list):
            said["missing_words"] = _spelled(values)
    return ""


def _limit(check: DataQuality) -> float | int | None:
    """Return the most that is tolerated: a share where the unit is percent."""
    used = [name for name in OPERATORS if getattr(check, name) is not None]
    if len(used) != 1:
        return None
    bound = getattr(check, used[0])
    if isinstance(bound, bool) or not isinstance(bound, int | float) or bound < 0:
        return None
    percent = (check.unit or "").lower() == "percent"
    if used[0] == "mustBeLessOrEqualTo" or (used[0] == "mustBe" and bound == 0):
        return bound / 100 if percent else math.floor(bound)
    if used[0] == "mustBeLessThan" and bound > 0:
        return math.nextafter(bound / 100, 0) if percent else math.ceil(bound) - 1
    return None


def _row_count(reading: _Reading, check: DataQuality) -> str:
    found: dict[str, int] = {}
    if isinstance(check.mustBe, int):
        found = {"least_rows": check.mustBe, "most_rows": check.mustBe}
    if check.mustBeGreaterThan is not None:
        found["least_rows"] = math.floor(check.mustBeGreaterThan) + 1
    if check.mustBeGreaterOrEqualTo is not None:
        found["least_rows"] = math.ceil(check.mustBeGreaterOrEqualTo)
    if check.mustBeLessThan is not None:
        found["most_rows"] = math.ceil(check.mustBeLessThan) - 1
    if check.mustBeLessOrEqualTo is not None:
        found["most_rows"] = math.floor(check.mustBeLessOrEqualTo)
    if check.mustBeBetween is not None:
        low, high = check.mustBeBetween
        found = {"least_rows": math.ceil(low), "most_rows": math.floor(high)}
    if not found or (check.unit or "rows").lower() != "rows":
        return "this limit on the number of rows is not checked"
    reading.rows |= found
    return ""


def _table(reading: _Reading, place: str, table: SchemaObject) -> None:
    _checks(reading, place, table, None)
    keys = [
        column.physicalName or column.name
        for column in table.properties or []
        if column.primaryKey
    ]
    if len(keys) == 1:
        reading.columns[keys[0] or ""].said["max_duplicate_rate"] = 0.0
    elif keys:
        reading.leave(
            place, f"primary key {keys}", "rows are told apart by one column at a time"
        )
    if table.relationships:
        reading.leave(place, "relationships", "other data are not looked into")


def _sla(
    reading: _Reading, place: str, sla: ServiceLevelAgreementProperty, table: str
) -> None:
    promise = f"{sla.property} {sla.value} {sla.unit or ''}".strip()
    unit = HOURS.get((sla.unit or "").lower())
    value = sla.value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if (sla.property or "").lower() not in FRESH or unit is None or not number:
        reading.leave(place, promise, _no_freshness(sla.property or ""))
        return
    for element in (sla.element or "").split(","):
        owner, _, name = element.strip().rpartition(".")
        found = reading.columns.get(name) if owner in {"", table} else None
        if found is None or found.said.get("kind") not in {None, "moment"}:
            why = f"{element.strip() or 'no element'} is no column of moments of it"
            reading.leave(place, promise, why)
        else:
            found.said |= {
                "kind": "moment",
                "max_age_hours": float(cast("float", value)) * unit,
            }


def _no_freshness(name: str) -> str:
    if name.lower() in {"frequency", "fy"}:
        return "declare a cadence with ConfigureMonitor"
    return "of service levels only latency in a unit of time is checked"


# --- words -------------------------------------------------------------------------


def _spelled(values: Sequence[object]) -> tuple[str, ...]:
    """Say values as a column's words are said; a null is no word."""
    return tuple(_word(value) for value in values if value is not None)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _told(check: DataQuality) -> str:
    operators = " ".join(
        f"{name} {getattr(check, name)}"
        for name in OPERATORS
        if getattr(check, name) is not None
    )
    what = check.metric or check.rule or check.type or "check"
    words = check.name or check.description or check.query or ""
    return f"{what} {operators} {words}"


def _line(text: object) -> str:
    """Make one printable line of it, not too long."""
    words = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return words[:LONGEST] or "-"

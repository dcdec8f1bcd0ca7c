"""An inventory that exists as a table, brought in: planned in full, then sent.

A mapping says which column becomes which field. `plan` reads the whole table, writes
nothing and lists every problem; `run` sends what was planned, with request ids that
follow from what is sent, so that a second run imports nothing twice.

    register:
      model: {template: "{Agency}-{ID}", slug: true}
      title: {column: Name, max_length: 200}
      kind: {column: Technique, map: {LLM: generative}, default: trained}
      purpose: {column: Purpose}
      owner: {constant: model-office}
    classify:
      exposure_share: {column: Share}
      purpose: {constant: 2}
    roles:
    - {role: {constant: engineer}, subject: {column: Developer, slug: true}}
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple
from uuid import NAMESPACE_OID, uuid5

import grpc
from google.protobuf.message import Message
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelkeep import wire, yaml_document
from modelkeep.api.inventory.v1 import inventory_pb2 as pb
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.decider import Command
from modelkeep.errors import Invalid, Refused, Violation
from modelkeep.proof.times import in_utc
from modelkeep_services.inventory import commands as c

MAX_BYTES: Final = 64 << 20
MAX_ROWS: Final = 100_000
MAX_CELL: Final = 100_000
MAX_MAPPING_BYTES: Final = 1 << 20
REQUEST_IDS: Final = uuid5(NAMESPACE_OID, "modelkeep.inventory.import")
AT_ONCE: Final = 16
TIMEOUT_S: Final = 30.0
ATTEMPTS: Final = 3
BESIDE: Final = ("effective_at", "contact")
"""Fields of a request that are not the command's."""

Metadata = Sequence[tuple[str, str]]


# --- what becomes what -------------------------------------------------------------


class Source(BaseModel):
    """Where a field's value comes from: a column, a template of columns, or a constant;
    and what is done to it, in this order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str | None = None
    template: str | None = None
    constant: str | int | float | bool | None = None
    default: str | int | float | bool | None = None
    """When the cell is empty."""
    map: dict[str, str | int | float | bool] | None = None
    """What each value becomes; one that is not here is a problem, or the default."""
    one_line: bool = False
    slug: bool = False
    max_length: Annotated[int, Field(ge=1)] | None = None
    split: str | None = None
    """A list: the cell cut at this."""

    @property
    def columns(self) -> tuple[str, ...]:
        if self.column is not None:
            return (self.column,)
        return tuple(PLACE.findall(self.template or ""))


PLACE: Final = re.compile(r"\{([^{}]+)\}")
Fields = dict[str, Source]


class Recipe(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Literal["utf-8", "utf-8-sig"] = "utf-8-sig"
    empty: tuple[str, ...] = ()
    """Cells that say nothing, such as `N/A`."""
    register_: Fields = Field(alias="register")
    classify: Fields = Field(default_factory=dict)
    roles: tuple[Fields, ...] = ()


def read_mapping(path: Path) -> Recipe:
    """Raises Invalid, naming every part that is wrong."""
    with path.open("rb") as file:
        text = file.read(MAX_MAPPING_BYTES + 1)
    if len(text) > MAX_MAPPING_BYTES:
        raise Invalid.field("mapping", f"is larger than {MAX_MAPPING_BYTES} bytes")
    told = yaml_document.read("mapping", text)
    try:
        return Recipe.model_validate(told)
    except ValidationError as error:
        raise Invalid(
            *(
                Violation(".".join(str(part) for part in e["loc"]), e["msg"])
                for e in error.errors(include_url=False, include_input=False)
            )
        ) from None


# --- the plan ----------------------------------------------------------------------


class Problem(NamedTuple):
    """What is wrong where. `row` is the table's, its header being 1; 0 is the file."""

    row: int
    column: str
    value: str
    reason: str


class Planned(NamedTuple):
    row: int
    rpc: str
    request: Message


@dataclass(frozen=True)
class Plan:
    """Requests in the order in which they may be sent: registrations first."""

    requests: tuple[Planned, ...]
    problems: tuple[Problem, ...]
    rows: int


@dataclass(frozen=True)
class _Kind:
    """One request a row: which, by which fields, checked as which command."""

    rpc: str
    fields: Fields
    command: type[Command]


def plan(table: Path, recipe: Recipe) -> Plan:
    """Read everything, send nothing."""
    problems: list[Problem] = []
    requests: dict[str, list[Planned]] = {}
    seen: dict[str, int] = {}
    rows = 0
    for number, row in _rows(table, recipe, problems):
        rows += 1
        for kind in _kinds(recipe):
            planned = _request(number, row, kind, recipe, problems)
            if planned is None:
                continue
            if kind.rpc == "RegisterModel":
                _once(planned, recipe, seen, problems)
            requests.setdefault(kind.rpc, []).append(planned)
    order = ("RegisterModel", "ClassifyRisk", "AssignRole")
    ordered = [one for rpc in order for one in requests.get(rpc, ())]
    return Plan(tuple(ordered), tuple(sorted(set(problems))), rows)


def _kinds(recipe: Recipe) -> Iterator[_Kind]:
    yield _Kind("RegisterModel", recipe.register_, c.RegisterModel)
    if recipe.classify:
        yield _Kind("ClassifyRisk", recipe.classify, c.ClassifyRisk)
    for role in recipe.roles:
        yield _Kind("AssignRole", role, c.AssignRole)


def _rows(
    table: Path, recipe: Recipe, problems: list[Problem]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row by its number; what cannot be read becomes a problem."""
    text = _text(table, recipe.encoding, problems)
    if text is None:
        return
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=recipe.delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not _usable(header, recipe, problems):
            return
        for number, cells in enumerate(reader, start=2):
            if number > MAX_ROWS + 1:
                problems.append(
                    Problem(number, "", "", f"there are more than {MAX_ROWS} rows")
                )
                return
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append(
                    Problem(
                        number, "", "", f"has {len(cells)} cells, not {len(header)}"
                    )
                )
                continue
            said = ("" if cell.strip() in recipe.empty else cell for cell in cells)
            yield number, dict(zip(header, said, strict=True))
    except csv.Error as error:
        problems.append(Problem(reader.line_num, "", "", f"cannot be read: {error}"))


def _text(table: Path, encoding: str, problems: list[Problem]) -> str | None:
    with table.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        problems.append(Problem(0, "", "", f"is larger than {MAX_BYTES} bytes"))
        return None
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        bad = content[error.start : error.end].hex()
        problems.append(Problem(line, "", bad, f"is not {encoding}: {error.reason}"))
        return None


def _usable(header: Sequence[str], recipe: Recipe, problems: list[Problem]) -> bool:
    """Whether every column that is mapped is there, once."""
    known = len(problems)
    if not header:
        problems.append(Problem(0, "", "", "has no header"))
    twice = sorted({one for one in header if header.count(one) > 1})
    problems += [Problem(1, name, "", "is there more than once") for name in twice]
    wanted = {
        name
        for kind in _kinds(recipe)
        for source in kind.fields.values()
        for name in source.columns
    }
    lost = sorted(wanted - set(header))
    problems += [
        Problem(1, name, "", "is mapped, but is not a column") for name in lost
    ]
    return len(problems) == known


def _request(
    number: int,
    row: Mapping[str, str],
    kind: _Kind,
    recipe: Recipe,
    problems: list[Problem],
) -> Planned | None:
    fields = dict(kind.fields)
    fields.setdefault("model", recipe.register_.get("model", Source()))
    found: dict[str, object] = {}
    wrong = len(problems)
    for name, source in fields.items():
        try:
            value = _value(row, source)
        except ValueError as error:
            problems.append(_problem(number, row, source, str(error)))
            continue
        if value is not None and value != "":
            _set(found, name, value)
    if len(problems) > wrong or (kind.rpc == "AssignRole" and "subject" not in found):
        return None  # a role that nobody fills is not a problem
    return _checked(number, row, fields, found, kind, problems)


def _checked(
    number: int,
    row: Mapping[str, str],
    fields: Fields,
    found: dict[str, object],
    kind: _Kind,
    problems: list[Problem],
) -> Planned | None:
    """Check as the service will, and make the message."""
    said = {name: value for name, value in found.items() if name not in BESIDE}
    request: Message = getattr(pb, f"{kind.rpc}Request")()
    try:
        wire.fill(request, wire.checked(kind.command, said))
        wire.fill(request, _beside(found))
    except Invalid as invalid:
        for field, why in invalid.violations:
            source = fields.get(field) or fields.get(field.split(".")[0]) or Source()
            problems.append(_problem(number, row, source, f"{field}: {why}"))
        return None
    body = request.SerializeToString(deterministic=True)
    request_id = uuid5(REQUEST_IDS, f"{kind.rpc}/{body.hex()}")
    request.request_id = str(request_id)  # type: ignore[attr-defined]  # every write has one
    return Planned(number, kind.rpc, request)


def _beside(found: Mapping[str, object]) -> dict[str, object]:
    """What travels beside the command. A time without an offset is UTC."""
    said = {name: found[name] for name in BESIDE if name in found}
    if "effective_at" in said:
        try:
            said["effective_at"] = in_utc(str(said["effective_at"]))
        except (ValueError, OverflowError) as error:
            raise Invalid.field("effective_at", str(error)) from None
    return said


def _problem(
    number: int, row: Mapping[str, str], source: Source, reason: str
) -> Problem:
    value = " | ".join(row.get(name, "") for name in source.columns)
    if not source.columns and source.constant is not None:
        value = str(source.constant)
    return Problem(number, ", ".join(source.columns), value[:200], reason)


def _once(
    planned: Planned, recipe: Recipe, seen: dict[str, int], problems: list[Problem]
) -> None:
    model: str = planned.request.model  # type: ignore[attr-defined]  # a registration names one
    first = seen.setdefault(model, planned.row)
    if first != planned.row:
        columns = ", ".join(recipe.register_["model"].columns)
        reason = f"is the same model as row {first}"
        problems.append(Problem(planned.row, columns, model, reason))


# --- a cell becomes a value --------------------------------------------------------


def _value(row: Mapping[str, str], source: Source) -> object:
    """Raises ValueError for a value that has no recipe."""
    if source.constant is not None:
        return source.constant
    text = _filled(row, source).strip()
    if not text:
        return source.default
    if source.split is not None:
        parts = [part.strip() for part in text.split(source.split)]
        found = [_made(part, source) for part in parts if part]
        return list(dict.fromkeys(found))
    return _made(text, source)


def _filled(row: Mapping[str, str], source: Source) -> str:
    if source.column is not None:
        return row[source.column]
    if source.template is not None:
        return PLACE.sub(lambda place: row[place[1]].strip(), source.template)
    return ""


def _made(text: str, source: Source) -> str | int | float | bool:
    if source.map is not None:
        known = source.map.get(text, source.default)
        if known is None:
            raise ValueError("is a value that the mapping does not know")
        return known
    if source.one_line:
        text = " ".join(text.split())
    if source.slug:
        text = slugify(text)
    return (
        text if source.max_length is None else text[: source.max_length].rstrip("-. ")
    )


def slugify(text: str) -> str:
    """Make a name of words.

    >>> slugify("  Zürich: Crédit/Retail #2 ")
    'zurich-credit-retail-2'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9._]+", "-", plain.lower()).strip("-._")


def _set(found: dict[str, object], name: str, value: object) -> None:
    """`vendor.name` is a field of a message."""
    head, _, rest = name.partition(".")
    if not rest:
        found[head] = value
        return
    inner = found.setdefault(head, {})
    if isinstance(inner, dict):
        _set(inner, rest, value)


# --- the run -----------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    """`again` had been imported before. Failures name the row they came from."""

    written: int
    again: int
    failures: tuple[Problem, ...]


def run(
    planned: Plan,
    channel: grpc.Channel,
    metadata: Metadata,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Imported:
    """Send the plan; `progress` is told how many of how many are done.

    Raises Refused for a plan with problems. What a row's registration was refused for
    does not stop the others.
    """
    if planned.problems:
        raise Refused(
            "inventory.import-clean", f"the plan has {len(planned.problems)} problems"
        )
    stub = InventoryServiceStub(channel)
    done, written, again = 0, 0, 0
    failures: list[Problem] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for part in _phases(planned.requests):
            sent = pool.map(lambda one: _send(stub, one, metadata), part)
            for one, outcome in zip(part, sent, strict=True):
                done += 1
                progress(done, len(planned.requests))
                if isinstance(outcome, str):
                    failures.append(_failure(one, outcome))
                elif outcome:
                    written += 1
                else:
                    again += 1
    return Imported(written, again, tuple(failures))


def _phases(requests: Iterable[Planned]) -> list[list[Planned]]:
    """A model is registered before it is classified, and then staffed."""
    phases: dict[str, list[Planned]] = {}
    for one in requests:
        phases.setdefault(one.rpc, []).append(one)
    return list(phases.values())


def _failure(one: Planned, reason: str) -> Problem:
    model: str = one.request.model  # type: ignore[attr-defined]  # every request here names one
    return Problem(one.row, one.rpc, model, reason)


def _send(stub: InventoryServiceStub, one: Planned, metadata: Metadata) -> bool | str:
    """Whether it was new; or why it failed. The same id is tried again."""
    call = getattr(stub, one.rpc)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            written = call(one.request, metadata=metadata, timeout=TIMEOUT_S).written
        except grpc.RpcError as error:
            passing = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}
            if error.code() in passing and attempt < ATTEMPTS:
                continue
            return f"{error.code().name}: {error.details()}"
        return bool(written.changed and not written.replayed)
    return "unreachable"


def as_json(problems: Iterable[Problem]) -> str:
    """For other programs: one object a line."""
    return "\n".join(json.dumps(one._asdict()) for one in problems)

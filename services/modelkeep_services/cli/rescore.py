"""`modelkeep rescore`: all history under another tier, health or debt document.

The same functions score as in the services, by another document; nothing is written to
the ledger. Views that health needs are built beside it and thrown away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, TypeVar, cast

from pydantic import ValidationError
from rich.text import Text

from modelkeep import yaml_document
from modelkeep.errors import Invalid
from modelkeep.events.base import decode
from modelkeep.events.inventory import ModelClassified, OverrideExpired
from modelkeep.home import Home
from modelkeep.store.port import Filter, Store
from modelkeep.views import Reader
from modelkeep.viewset import ViewSet
from modelkeep_services.cli import screen
from modelkeep_services.cli.backtest import ledger
from modelkeep_services.debt import repricing
from modelkeep_services.debt.liability import LiabilityEvent
from modelkeep_services.debt.rates import MICRO, RateCard, read_card
from modelkeep_services.debt.views import EVENTS as DEBT
from modelkeep_services.insight import reindexing
from modelkeep_services.insight.documents import HealthRules, Loaded, read_health
from modelkeep_services.insight.views import VIEWS as INSIGHT
from modelkeep_services.insight.views import inventory
from modelkeep_services.inventory import retiering, rubric

T = TypeVar("T")
LARGEST: Final = 400_000
MOST_POINTS: Final = 200_000
SHOWN: Final = 200


class Documents(NamedTuple):
    """Paths; None is not asked for."""

    rubric: Path | None = None
    health: Path | None = None
    debt: Path | None = None


@dataclass(frozen=True)
class Span:
    """[start, end] by the ledger's clock, None is open; `step` is between looks."""

    start: datetime | None
    end: datetime | None
    step: timedelta


def run(
    home: Home,
    store_url: str | None,
    asked: Documents,
    span: Span,
    tenant: str,
    *,
    as_json: bool,
) -> None:
    """Raises Invalid for a document that is none, or a period that cannot be."""
    if not any(asked):
        raise Invalid.field("rubric", "name a --rubric, --health or --debt document")
    if span.start is not None and span.end is not None and span.start >= span.end:
        raise Invalid.field("from", "is not before `to`")
    tiers = None if asked.rubric is None else read("rubric", asked.rubric, _rubric)
    health = None if asked.health is None else read("health", asked.health, read_health)
    card = None if asked.debt is None else read("debt", asked.debt, _card)
    said: dict[str, object] = {"from": _iso(span.start), "to": _iso(span.end)}
    with ledger(home, store_url) as store:
        last = _last(store, tenant)
        if tiers is not None:
            said["tiers"] = _tiers(store, tenant, span, tiers, quiet=as_json)
        if health is not None:
            said["health"] = _health(store, tenant, span, last, health, quiet=as_json)
        if card is not None:
            said["debt"] = _debt(store, tenant, span, last, card, quiet=as_json)
    if as_json:
        screen.say_json(said)


# --- documents -----------------------------------------------------------------------


def read(field: str, path: Path, reader: Callable[[bytes], T]) -> T:
    """Raises Invalid, naming the document's field that is wrong."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Invalid.field(field, f"{path}: {error.strerror}") from None
    if len(text) > LARGEST:
        raise Invalid.field(field, f"{path} is longer than {LARGEST:,} bytes")
    try:
        return reader(text)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"])) or "the document"
        raise Invalid.field(field, f"{path}: {place}: {wrong['msg']}") from None
    except (Invalid, TypeError) as error:  # such as a day, which JSON cannot say
        raise Invalid.field(field, f"{path}: {error}") from None


def _rubric(text: bytes) -> rubric.Rubric:
    return retiering.checked(rubric.read(text))


def _card(text: bytes) -> RateCard:
    """In YAML, of which JSON is a part."""
    return read_card(json.dumps(yaml_document.read("document", text)).encode())


# --- the log -------------------------------------------------------------------------


def _last(store: Store, tenant: str) -> datetime:
    """The latest moment that the ledger knows of."""
    found = datetime.min.replace(tzinfo=UTC)
    for recorded in store.read_all():
        meta = recorded.meta
        if meta.get("tenant") in {tenant, ""}:
            found = max(found, datetime.fromisoformat(meta["known_at"]))
    return found


def _events(
    store: Store, tenant: str, names: tuple[str, ...]
) -> Iterator[tuple[object, datetime, str]]:
    for recorded in store.read_all(only=Filter("name", names)):
        meta = recorded.meta
        if recorded.name in names and meta.get("tenant") == tenant:
            event = decode(recorded.name, recorded.schema_version, recorded.data)
            known_at = datetime.fromisoformat(meta["known_at"])
            yield event, known_at, str(recorded.uuid)


# --- tiers ---------------------------------------------------------------------------


def _tiers(
    store: Store, tenant: str, span: Span, found: rubric.Rubric, *, quiet: bool
) -> dict[str, object]:
    names = (ModelClassified.event_name, OverrideExpired.event_name)
    history = (
        (event, known_at, id_)
        for event, known_at, id_ in _events(store, tenant, names)
        if isinstance(event, ModelClassified | OverrideExpired)
        and (span.end is None or known_at < span.end)
    )
    every = [
        one
        for one in retiering.retiered(history, found)
        if span.start is None or one.until is None or one.until > span.start
    ]
    moved = [one for one in every if one.moved]
    models = {one.model for one in every}
    now = [one for one in moved if one.until is None]
    if not quiet:
        screen.heading(f"Tiers by {found.title}")
        screen.line(
            f"  {len({one.model for one in moved})} of {len(models)} models move,"
            f" {len(now)} of them at the end of the period"
        )
        rows: list[screen.Row] = [
            [
                one.model,
                f"{one.was} → {one.now}",
                screen.spelled(one.since)[:16],
                "" if one.until is None else screen.spelled(one.until)[:16],
                one.why(),
            ]
            for one in moved[:SHOWN]
        ]
        if rows:
            screen.table(["model", "tier", "since", "until", "drivers"], rows)
    return {
        "rubric": found.title,
        "digest": found.digest,
        "models": len(models),
        "moved": [
            {
                "model": one.model,
                "was": one.was,
                "now": one.now,
                "since": _iso(one.since),
                "until": _iso(one.until),
                "event": one.event,
                "why": one.why(),
                "drivers_were": one.drivers_were.model_dump(mode="json"),
                "drivers_are": one.drivers_are.model_dump(mode="json"),
            }
            for one in moved
        ],
    }


# --- health --------------------------------------------------------------------------


def _health(
    store: Store,
    tenant: str,
    span: Span,
    last: datetime,
    found: Loaded[HealthRules],
    *,
    quiet: bool,
) -> dict[str, object]:
    end = min(span.end or last, last)
    with _insight(store) as views:
        with views.reader(tenant) as head:
            rows = [row for _, row in head.scan(inventory.models)]
        first = min((row.registered_at for row in rows), default=end)
        start = max(span.start or first, first)
        steps = int((end - start) / span.step) + 2 if start < end else 1
        if steps * len(rows) > MOST_POINTS:
            raise Invalid.field(
                "every",
                f"{steps:,} moments of {len(rows):,} models are too many:"
                " take longer steps, or a shorter period",
            )
        at = reindexing.moments(start, end, span.step)

        def as_of(moment: datetime) -> AbstractContextManager[Reader]:
            return views.reader_of(tenant, lambda read: read.when(moment))

        with screen.progress("scoring health") as tell:
            points = []
            for n, moment in enumerate(at, 1):
                points += list(reindexing.points(as_of, [moment], found))
                tell(n, len(at))
    moved = reindexing.stretches(points)
    models = {point.model for point in points}
    if not quiet:
        _show_health(moved, len(models), len(at), found)
    return {
        "document": found.stamp.version,
        "digest": found.stamp.digest,
        "models": len(models),
        "moments": len(at),
        "moved": [
            {**one.__dict__, "since": _iso(one.since), "until": _iso(one.until)}
            for one in moved
        ],
    }


def _show_health(
    moved: list[reindexing.Stretch], models: int, at: int, found: Loaded[HealthRules]
) -> None:
    screen.heading(f"Health by {found.stamp.version}")
    some = len({one.model for one in moved})
    screen.line(f"  {some} of {models} models change their band, of {at} moments each")
    rows: list[screen.Row] = [
        [
            one.model,
            Text.assemble(screen.word(one.was), " → ", screen.word(one.now)),
            f"{_index(one.index_was)} → {_index(one.index_is)}",
            screen.spelled(one.since)[:16],
            screen.spelled(one.until)[:16],
            f"{one.worst}: {one.cause}",
        ]
        for one in moved[:SHOWN]
    ]
    if rows:
        screen.table(["model", "band", "index", "since", "until", "worst"], rows)


def _index(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


@contextmanager
def _insight(store: Store) -> Iterator[ViewSet]:
    """Insight's views of the whole log, in a folder that goes away."""
    with TemporaryDirectory(prefix="modelkeep-") as folder:
        views = ViewSet("insight", INSIGHT, store, Path(folder) / "insight.db")
        try:
            views.catch_up()
            yield views
        finally:
            views.close()


# --- debt ----------------------------------------------------------------------------


def _debt(
    store: Store,
    tenant: str,
    span: Span,
    last: datetime,
    card: RateCard,
    *,
    quiet: bool,
) -> dict[str, object]:
    end = min(span.end or last, last)
    names = (ModelClassified.event_name, *(one.event_name for one in DEBT))
    fold = repricing.Repricing(card)
    for event, known_at, _ in _events(store, tenant, names):
        if known_at <= end:
            fold.take(cast("LiabilityEvent | ModelClassified", event))
    every = fold.found(span.start, end)
    moved = [one for one in every if one.moved]
    if not quiet:
        screen.heading(f"Debt by {card.card}")
        screen.line(
            f"  {len(moved)} of {len(every)} liabilities change;"
            f" charged {_points(sum(one.charge_was for one in every))} →"
            f" {_points(sum(one.charge_is for one in every))} points"
        )
        rows: list[screen.Row] = [
            [
                one.model,
                one.title,
                f"{_points(one.charge_was)} → {_points(one.charge_is)}",
                f"{_points(one.carrying_was)} → {_points(one.carrying_is)}",
                f"{one.minutes_were / 60:,.1f} → {one.minutes_are / 60:,.1f} h",
            ]
            for one in moved[:SHOWN]
        ]
        if rows:
            screen.table(
                ["model", "liability", "charged", "a 30 days now", "to cure"], rows
            )
    return {
        "card": card.card,
        "liabilities": len(every),
        "charged_micro": {
            "was": sum(one.charge_was for one in every),
            "now": sum(one.charge_is for one in every),
        },
        "moved": [one.__dict__ for one in moved],
    }


def _points(micro: int) -> str:
    return f"{micro / MICRO:,.2f}"


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat()

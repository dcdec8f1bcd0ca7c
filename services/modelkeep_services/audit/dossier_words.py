"""A dossier in words: sections of facts and tables, each with the events behind it.

Made of the signed file alone, so that any page of it, on a screen or on paper, can be
made again by whoever holds the file. What is shown is read from the events; older ones
may lack a field, and then nothing is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, cast

from modelkeep.proof.dossier import EPOCH, Cited, Claim, Dossier, Moment
from modelkeep.proof.errors import ProofError
from modelkeep.proof.row import NEVER

MOST_REFS: Final = 12
TONES: Final[Mapping[str, str]] = {
    "green": "good",
    "allow": "good",
    "approved": "good",
    "true": "good",
    "within": "good",
    "amber": "warn",
    "pending": "warn",
    "conditional": "warn",
    "slowed": "warn",
    "medium": "warn",
    "red": "bad",
    "deny": "bad",
    "rejected": "bad",
    "false": "bad",
    "missing": "bad",
    "error": "bad",
    "exhausted": "bad",
    "high": "bad",
    "critical": "bad",
    "overdue": "bad",
    "overridden": "warn",
}
OUTCOMES: Final = {0: "no", 1: "yes", NEVER: "it will never be known"}


class Cell(NamedTuple):
    """What is said; `refs` number the events it rests on."""

    text: str
    refs: Sequence[int] = ()
    tone: str = ""
    mono: bool = False


class Fact(NamedTuple):
    name: str
    cell: Cell


@dataclass
class Table:
    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)
    caption: str = ""


@dataclass
class Section:
    title: str
    note: str = ""
    facts: list[Fact] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    text: str = ""
    """Long, and folded away on a screen: a model card."""

    @property
    def empty(self) -> bool:
        return not (self.facts or self.text or any(t.rows for t in self.tables))


class Line(NamedTuple):
    """An event in the list at the end."""

    number: int
    id: str
    name: str
    known_at: str
    effective_at: str
    place: str
    rank: str
    by: str
    says: str
    data: str


@dataclass
class Page:
    title: str
    lead: str
    glance: list[Fact]
    sections: list[Section]
    gaps: Sequence[str]
    unproven: Sequence[str]
    events: list[Line]
    checkpoint: str
    signer: str


def page_of(said: Dossier, unproven: Sequence[str] = ()) -> Page:
    """`unproven` is what the file cannot prove, as its verifier says it."""
    book = _Book(said)
    schema = said.schema
    sections = [
        _decision(book),
        _model(book),
        _verdicts(book),
        _lineage(book),
        _state(book),
        _open(book),
        _learned(book),
        _proof(book),
    ]
    return Page(
        title=f"{schema.model} {schema.version}",
        lead=_lead(book),
        glance=_glance(book),
        sections=[one for one in sections if not one.empty],
        gaps=said.gaps,
        unproven=unproven,
        events=list(book.lines()),
        checkpoint=said.checkpoint,
        signer=", ".join(str(key) for key in said.signed_by),
    )


class _Book:
    """The dossier, and the numbers that its events have on the page."""

    def __init__(self, said: Dossier) -> None:
        self.said = said
        self._numbers = {one: n for n, one in enumerate(said.events, 1)}

    def claims(self, moment: Moment, kind: str) -> list[Claim]:
        return [one for one in moment.claims if one.kind == kind]

    def events(self, claim: Claim) -> list[Cited]:
        known = self.said.events
        return [known[one] for one in claim.events if one in known]

    def last(self, claim: Claim, *names: str) -> Cited | None:
        """Return the last of its events with one of these names."""
        found = [e for e in self.events(claim) if e.name.partition(".")[2] in names]
        return found[-1] if found else None

    def refs(self, events: Iterable[Cited | str]) -> list[int]:
        ids = [one if isinstance(one, str) else str(one.id) for one in events]
        return [self._numbers[one] for one in ids if one in self._numbers][:MOST_REFS]

    def cell(
        self, text: str, events: Iterable[Cited | str] = (), *, mono: bool = False
    ) -> Cell:
        return Cell(text, self.refs(events), TONES.get(text, ""), mono)

    def lines(self) -> Iterator[Line]:
        for number, event in enumerate(self.said.events.values(), 1):
            around = event.around
            yield Line(
                number=number,
                id=str(event.id),
                name=event.name,
                known_at=_when(around.get("known_at")),
                effective_at=_when(around.get("effective_at")),
                place=f"{event.stream}@{event.version}",
                rank=f"{event.rank + 1:,}",
                by=str(around.get("actor_subject", "")),
                says=says(event),
                data=_pretty(event.data),
            )


# --- the top of the page -----------------------------------------------------------


def _lead(book: _Book) -> str:
    said = book.said
    schema, then = said.schema, said.then
    model = _first(book, then, "model")
    titled = _word(book.last(model, "model-registered"), "title") if model else ""
    named = f"{titled} ({schema.model})" if titled else schema.model
    use = f" for {schema.use}" if schema.use else ""
    score = _number(said.decision.score)
    decided = f"On {spelled(said.at)}, version {schema.version} of {named} scored"
    parts = [f"{decided} this case {score} in {schema.environment}{use}."]
    let = [c for c in book.claims(then, "verdict") if c.derived.get("let_it_serve")]
    for claim in let:
        given = book.last(claim, "verdict-given")
        people = _people(book, claim)
        approved = f", approved by {', '.join(people)}" if people else ""
        parts.append(
            f"It served because policy allowed to {_word(given, 'action')} it on"
            f" {_known(given)}{approved}."
        )
    alerts, findings = (len(book.claims(then, k)) for k in ("alert", "finding"))
    parts.append(
        f"Open on the model were {_count(alerts, 'alert')} and"
        f" {_count(findings, 'finding')}."
    )
    return " ".join(parts)


def _people(book: _Book, claim: Claim) -> list[str]:
    return [
        f"{_person(one.said.get('by'))} ({_list(one.said.get('roles'))})"
        for one in book.events(claim)
        if one.name == "policy.approved"
    ]


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _glance(book: _Book) -> list[Fact]:
    said = book.said
    found = [Fact("Score", Cell(_number(said.decision.score)))]
    found.append(Fact("Outcome", Cell(_became(said))))
    for claim in book.claims(said.now, "disposition"):
        event = book.last(claim, "disposition-recorded")
        found.append(
            Fact("A person", book.cell(_word(event, "disposition"), claim.events))
        )
    health = _first(book, said.then, "health")
    if health is not None:
        event = book.last(health, "health-band-changed")
        cell = book.cell(_word(event, "to_band"), health.events)
        text = f"{cell.text} {_index(event)}".strip()
        found.append(Fact("Health then", cell._replace(text=text)))
    spent = [
        (float(cast("float", c.derived["spent"])), c)
        for c in book.claims(said.then, "budget")
        if isinstance(c.derived.get("spent"), int | float)
    ]
    if spent:
        share, claim = max(spent, key=lambda one: one[0])
        tone = TONES.get(str(claim.derived.get("status")), "")
        found.append(
            Fact("Budget spent", Cell(f"{share:.0%}", book.refs(claim.events), tone))
        )
    return found


def _became(said: Dossier) -> str:
    known = said.outcome
    if known is None:
        return "not known yet"
    if known.value is None:
        return OUTCOMES[NEVER]
    return f"{known.value:g}" if known.is_number else OUTCOMES[int(known.value)]


# --- the decision ------------------------------------------------------------------


def _decision(book: _Book) -> Section:
    said = book.said
    row, schema = said.decision, said.schema
    rests = [said.proven.event]
    found = Section("The decision", "As logged.")
    facts: list[tuple[str, str]] = [
        ("decision", str(said.id)),
        ("by", f"{schema.model} {schema.version} in {schema.environment}"),
        ("at", spelled(said.at)),
        ("score", _number(row.score)),
        ("use", schema.use),
        ("caller's id", row.reference or ""),
        ("latency", "" if row.latency_ms is None else f"{_number(row.latency_ms)} ms"),
        ("explained", _yes(row.explained)),
        ("reason codes", _reasons(row.reason_codes)),
    ]
    found.facts += [Fact(name, book.cell(text, rests)) for name, text in facts if text]
    _outcome(book, found)
    table = Table(("feature", "type", "value"), caption="What it saw")
    for (name, dtype), value in zip(schema.columns, row.values, strict=True):
        text = "missing" if value is None else _number(value)
        table.rows.append([Cell(name), Cell(dtype), Cell(text)])
    found.tables.append(table)
    return found


def _outcome(book: _Book, found: Section) -> None:
    said = book.said
    if said.outcome is not None:
        at = spelled(EPOCH + timedelta(microseconds=said.outcome.known_at))
        text = f"{_became(said)}, known {at}"
        found.facts.append(
            Fact("outcome", book.cell(text, [said.outcome.proven.event]))
        )
    for claim in book.claims(said.now, "disposition"):
        event = book.last(claim, "disposition-recorded")
        by, why = _person(_of(event, "by")), _word(event, "reason")
        text = f"{_word(event, 'disposition')} by {by}: {why}{_comment(book, event)}"
        found.facts.append(Fact("a person", book.cell(text, claim.events)))


def _comment(book: _Book, event: Cited | None) -> str:
    if event is None:
        return ""
    text = book.said.personal.get(f"{event.id}/comment", "")
    return f" ({text})" if text else ""


def _yes(said: bool | None) -> str:  # noqa: FBT001  # a row's own value
    return "" if said is None else "yes" if said else "no"


def _reasons(said: bool | None) -> str:  # noqa: FBT001  # a row's own value
    return "not owed" if said is None else "given" if said else "owed and missing"


# --- what decided ------------------------------------------------------------------


def _model(book: _Book) -> Section:
    then = book.said.then
    found = Section("The model and its version", "As known when it decided.")
    for claim in book.claims(then, "model"):
        found.facts += _model_facts(book, claim)
    for claim in book.claims(then, "version"):
        found.facts += _version_facts(book, claim)
    for claim in book.claims(then, "deployment"):
        event = book.last(claim, "deployed", "traffic-set", "rolled-back")
        share = _of(event, "share")
        text = f"in {_word(event, 'environment')} since {_known(event)}"
        if isinstance(share, int | float):
            text = f"{share:.0%} of traffic {text}"
        found.facts.append(Fact("served", book.cell(text, claim.events)))
    for claim in book.claims(then, "autonomy"):
        event = book.last(claim, "autonomy-raised", "autonomy-lowered")
        text = f"{_word(event, 'to_level')} for {_word(event, 'use')}"
        found.facts.append(Fact("autonomy", book.cell(text, claim.events)))
    for claim in book.claims(then, "validation"):
        found.facts.append(_validation(book, claim))
    for claim in book.claims(then, "card") or book.claims(book.said.now, "card"):
        event = book.last(claim, "card-attached")
        digest = _word(event, "card_digest")
        found.facts.append(
            Fact("model card", book.cell(digest, claim.events, mono=True))
        )
    found.text = _pretty(book.said.card) if book.said.card else ""
    return found


def _model_facts(book: _Book, claim: Claim) -> Iterator[Fact]:
    made = book.last(claim, "model-registered")
    if made is not None:
        yield Fact("model", book.cell(_word(made, "title"), [made]))
        yield Fact("purpose", book.cell(_word(made, "purpose"), [made]))
        yield Fact("kind", book.cell(_word(made, "kind"), [made]))
        vendor = _of(made, "vendor")
        if isinstance(vendor, dict):
            yield Fact("vendor", book.cell(_words(vendor), [made]))
    tier = book.last(claim, "model-classified", "override-expired")
    if tier is not None:
        text = f"{_word(tier, 'tier')} ({_word(tier, 'source') or 'derived'})"
        yield Fact("tier", book.cell(text, [tier]))
    owners = [
        one
        for one in book.events(claim)
        if one.name == "inventory.model-registered" or one.said.get("role") == "owner"
    ]
    if owners:
        owner = owners[-1].said
        yield Fact(
            "owner", book.cell(_plain(owner.get("subject", owner.get("owner"))), owners)
        )
    uses = book.last(claim, "uses-approved") or made
    listed = _of(uses, "uses") or _of(uses, "approved_uses")
    if listed and uses is not None:
        yield Fact("approved uses", book.cell(_list(listed), [uses]))
    state = book.last(claim, "suspended", "resumed", "retired")
    if state is not None:
        yield Fact("state", book.cell(says(state), [state]))


def _version_facts(book: _Book, claim: Claim) -> Iterator[Fact]:
    event = book.last(claim, "version-registered")
    if event is None:
        return
    digest = _word(event, "digest")
    yield Fact("version digest", book.cell(digest, [event], mono=True))
    for one in _objects(event.said.get("artifacts")):
        text = f"{_plain(one.get('name'))} {_plain(one.get('digest'))}"
        yield Fact("artifact", book.cell(text, [event], mono=True))
    if event.said.get("manifest"):
        yield Fact("manifest", book.cell(_word(event, "manifest"), [event], mono=True))
    by = _person(event.said.get("registered_by"))
    yield Fact("registered", book.cell(f"by {by}, {_known(event)}", [event]))


def _validation(book: _Book, claim: Claim) -> Fact:
    event = book.last(claim, "validation-recorded")
    by = _person(_of(event, "validator"))
    limits = [_plain(one.get("text")) for one in _objects(_of(event, "limitations"))]
    limited = f"; limitations: {'; '.join(limits)}" if limits else ""
    text = f"{_word(event, 'outcome')} by {by}, {_known(event)}{limited}"
    return Fact("validation", book.cell(text, claim.events))


# --- what let it through -----------------------------------------------------------


def _verdicts(book: _Book) -> Section:
    then = book.said.then
    found = Section(
        "What let it serve",
        "The rules, the values they were given, and the people who answered.",
    )
    claims = book.claims(then, "verdict")
    let = [one for one in claims if one.derived.get("let_it_serve")]
    for claim in let:
        _verdict(book, claim, found)
    others = Table(
        ("request", "asked to", "answer", "on"), caption="Other answers on it"
    )
    for claim in (one for one in claims if one not in let):
        given = book.last(claim, "verdict-given")
        last = book.last(claim, "verdict-given", "verdict-settled")
        asked = f"{_word(given, 'action')} in {_word(given, 'environment') or '-'}"
        others.rows.append(
            [
                book.cell(claim.key, claim.events),
                Cell(asked),
                book.cell(_word(last, "verdict")),
                Cell(_known(given)),
            ]
        )
    found.tables.append(others)
    exceptions = Table(("exception", "rule", "until", "why"), caption="Exceptions then")
    for claim in book.claims(then, "exception"):
        event = book.last(claim, "exception-granted")
        exceptions.rows.append(
            [
                book.cell(claim.key, claim.events),
                Cell(_word(event, "rule")),
                Cell(_day(_of(event, "until"))),
                Cell(_word(event, "reason")),
            ]
        )
    found.tables.append(exceptions)
    evidence = Table(("evidence", "known", "by", "says"), caption="Evidence it cites")
    for claim in book.claims(then, "evidence"):
        for event in book.events(claim):
            actor = str(event.around.get("actor_subject", ""))
            evidence.rows.append(
                [
                    book.cell(event.name, [event]),
                    Cell(_known(event)),
                    Cell(actor),
                    Cell(says(event)),
                ]
            )
    found.tables.append(evidence)
    return found


def _verdict(book: _Book, claim: Claim, found: Section) -> None:
    given = book.last(claim, "verdict-given")
    last = book.last(claim, "verdict-given", "verdict-settled")
    if given is None or last is None:
        return
    said = given.said
    where = f" in {_word(given, 'environment')}" if said.get("environment") else ""
    found.facts += [
        Fact("answer", book.cell(_word(last, "verdict"), [given, last])),
        Fact("asked", Cell(f"{claim.key}: to {_word(given, 'action')} it{where}")),
        Fact("asked by", Cell(f"{_person(said.get('requested_by'))}, {_known(given)}")),
        Fact(
            "rules",
            Cell(f"{_word(given, 'bundle_name')} {_word(given, 'bundle_version')}"),
        ),
        Fact("rules' digest", Cell(_word(given, "bundle"), mono=True)),
    ]
    for one in book.events(claim):
        if one.name in {"policy.approved", "policy.rejected"}:
            found.facts.append(_answer(book, one))
    revoked = book.last(claim, "verdict-revoked")
    if revoked is not None:
        text = f"{_word(revoked, 'reason')}, {_known(revoked)}"
        found.facts.append(
            Fact("revoked", book.cell(text, [revoked])._replace(tone="bad"))
        )
    rules = Table(("rule", "outcome", "on what"), caption="Every rule that spoke")
    for rule in _objects(said.get("rules")):
        if rule.get("outcome") != "skipped":
            waived = rule.get("waived_by")
            aside = f"; set aside by exception {waived}" if waived else ""
            rules.rows.append(
                [
                    Cell(_plain(rule.get("rule"))),
                    Cell(_plain(rule.get("outcome")), tone=_leaning(rule)),
                    Cell(_grounds(rule) + aside),
                ]
            )
    found.tables.append(rules)


def _answer(book: _Book, event: Cited) -> Fact:
    name = "approval" if event.name == "policy.approved" else "refusal"
    by, roles = _person(event.said.get("by")), _list(event.said.get("roles"))
    conditions = _list(event.said.get("conditions"))
    limited = f"; if {conditions}" if conditions else ""
    why = _word(event, "reason")
    text = (
        f"{by}{f' as {roles}' if roles else ''}, {_known(event)}{limited}"
        f"{f': {why}' if why else ''}{_comment(book, event)}"
    )
    return Fact(name, book.cell(text, [event]))


def _leaning(rule: Mapping[str, object]) -> str:
    """A rule that does not hold may be one that forbids: good news, and no colour."""
    if rule.get("denies") is True:
        return "bad"
    if rule.get("waived_by"):
        return "warn"
    return "good" if rule.get("outcome") == "true" else ""


def _grounds(rule: Mapping[str, object]) -> str:
    missing = _list(rule.get("missing"))
    if missing:
        return f"missing: {missing}"
    found = []
    for one in _objects(rule.get("operands")):
        text = f"{_plain(one.get('text'))} = {_number(one.get('value'))}"
        if one.get("op"):
            limit = one.get("limit", one.get("limit_text"))
            text += f" {_plain(one.get('op'))} {_number(limit)}"
        found.append(text)
    return "; ".join(found) or _plain(rule.get("text"))


# --- where it came from, and how it did ---------------------------------------------


def _lineage(book: _Book) -> Section:
    found = Section("Where it came from", "Nearest first, as known when it decided.")
    for claim in book.claims(book.said.then, "manifest"):
        cell = book.cell(claim.key, claim.events, mono=True)
        found.facts.append(Fact("manifest", cell))
    table = Table(("what", "name", "relation", "digest", "owner"))
    for claim in book.claims(book.said.then, "lineage"):
        node, link = book.last(claim, "node-recorded"), book.last(claim, "linked")
        where = _word(node, "namespace")
        name = _word(node, "name")
        table.rows.append(
            [
                book.cell(_word(node, "kind").replace("_", " "), claim.events),
                Cell(f"{where} {name}".strip()),
                Cell(_word(link, "relation")),
                Cell(_word(node, "digest")[:19], mono=True),
                Cell(_word(node, "owner")),
            ]
        )
    found.tables.append(table)
    return found


def _state(book: _Book) -> Section:
    then = book.said.then
    found = Section("Health and budget then")
    for claim in book.claims(then, "health"):
        event = book.last(claim, "health-band-changed")
        cell = book.cell(_word(event, "to_band"), claim.events)
        text = f"{cell.text} {_index(event)}: {_word(event, 'cause')}"
        found.facts.append(Fact("health", cell._replace(text=text)))
    for claim in book.claims(then, "window"):
        event = book.last(claim, "window-closed", "window-restated")
        cell = book.cell(_window(event), claim.events)
        found.facts.append(Fact("last window", cell))
    for claim in book.claims(then, "baseline"):
        event = book.last(claim, "baseline-registered")
        rows = _of(event, "rows")
        text = f"{claim.key}, {rows:,} rows" if isinstance(rows, int) else claim.key
        found.facts.append(Fact("baseline", book.cell(text, claim.events)))
    table = Table(
        ("budget", "of", "accepted", "limit", "counted", "spent", "status"),
        caption="Risk budgets",
    )
    for claim in book.claims(then, "budget"):
        defined, derived = book.last(claim, "budget-defined"), claim.derived
        counted = ""
        if "events" in derived:
            counted = f"{derived.get('bad_events')} bad of {derived.get('events')}"
        spent = derived.get("spent")
        table.rows.append(
            [
                book.cell(_word(defined, "budget") or claim.key, claim.events),
                Cell(f"{_word(defined, 'kind')} {_word(defined, 'metric')}".strip()),
                Cell(_figure(defined, "p0")),
                Cell(_figure(defined, "p1")),
                Cell(counted),
                Cell(f"{spent:.0%}" if isinstance(spent, int | float) else ""),
                book.cell(_plain(derived.get("status"))),
            ]
        )
    found.tables.append(table)
    return found


def _window(event: Cited | None) -> str:
    figures = _of(event, "figures")
    if event is None or not isinstance(figures, dict):
        return ""
    told = [
        f"{_plain(one.get('metric'))} {_number(one.get('value'))}"
        for one in _objects(figures.get("performance"))
    ]
    period = f"{_day(_of(event, 'start'))} to {_day(_of(event, 'end'))}"
    rows = figures.get("rows")
    counted = f", {rows:,} decisions" if isinstance(rows, int) else ""
    return f"{period}{counted}{': ' * bool(told)}{', '.join(told)}"


def _open(book: _Book) -> Section:
    then = book.said.then
    found = Section("Open then")
    alerts = Table(("alert", "severity", "cause", "raised", "status"), caption="Alerts")
    for claim in book.claims(then, "alert"):
        event = book.last(claim, "alert-raised")
        alerts.rows.append(
            [
                book.cell(_word(event, "alert") or claim.key, claim.events),
                book.cell(_word(event, "severity")),
                Cell(_word(event, "cause")),
                Cell(_known(event)),
                Cell(_plain(claim.derived.get("status"))),
            ]
        )
    findings = Table(
        ("finding", "severity", "title", "owner", "due", "status"), caption="Findings"
    )
    for claim in book.claims(then, "finding"):
        event = book.last(claim, "finding-raised")
        findings.rows.append(
            [
                book.cell(_word(event, "finding") or claim.key, claim.events),
                book.cell(_word(event, "severity")),
                Cell(_word(event, "title")),
                Cell(_word(event, "owner")),
                Cell(_day(_of(event, "due_at"))),
                Cell(_plain(claim.derived.get("status"))),
            ]
        )
    found.tables += [alerts, findings]
    if found.empty:
        found.facts.append(Fact("none", Cell("no alert and no finding was open")))
    return found


# --- what was learned later ---------------------------------------------------------


class Learned(NamedTuple):
    """Something known at the second moment and not at the first. `about_then`: it was
    so when the decision was made, and was only learned later.
    """

    claim: Claim
    event: Cited
    about_then: bool


def learned(said: Dossier) -> list[Learned]:
    """Return what was learned after the decision, in the order in which it was."""
    before = {event for claim in said.then.claims for event in claim.events}
    found: dict[str, Learned] = {}
    for claim in said.now.claims:
        for one in claim.events:
            event = said.events.get(one)
            if event is None or one in before:
                continue
            if one not in found or claim.derived.get("holds_the_decision"):
                found[one] = Learned(claim, event, event.effective_at <= said.at)
    return sorted(found.values(), key=lambda one: one.event.rank)


def _learned(book: _Book) -> Section:
    said = book.said
    found = Section(
        "Known then against known now",
        "What the ledger learned after the decision. “Then” marks what was already so"
        " when it was made, and was not known yet.",
    )
    table = Table(("known", "what", "says", "about"))
    if said.outcome is not None:
        at = spelled(EPOCH + timedelta(microseconds=said.outcome.known_at))
        table.rows.append(
            [
                Cell(at),
                book.cell("outcome", [said.outcome.proven.event]),
                Cell(f"the outcome: {_became(said)}"),
                Cell("the decision"),
            ]
        )
    for claim, event, about_then in learned(said):
        own = claim.derived.get("holds_the_decision")
        what = "its own window" if own else claim.kind
        about = "the decision" if own or claim.kind == "disposition" else "since"
        table.rows.append(
            [
                Cell(_known(event)),
                book.cell(what, [event]),
                Cell(says(event)),
                Cell("then", tone="warn") if about_then else Cell(about),
            ]
        )
    found.tables.append(table)
    return found


# --- the proof ---------------------------------------------------------------------


def _proof(book: _Book) -> Section:
    said = book.said
    found = Section(
        "The proof",
        "A page proves nothing: the signed file in it does. Save that and check it with"
        " modelkeep-verify dossier FILE --key checkpoint.vkey, without any network or"
        " service.",
    )
    proven = said.proven
    found.facts += [
        Fact("row", Cell(said.subject, mono=True)),
        Fact(
            "its batch",
            book.cell(f"row {proven.place + 1:,} of {proven.rows:,}", [proven.event]),
        ),
        Fact("root", Cell(_root(said, proven.event), mono=True)),
        Fact("events", Cell(f"{len(said.events):,}, each with its way to the root")),
        Fact("ledger", Cell(said.origin)),
        Fact("dossier of", Cell(spelled(said.issued_at))),
        Fact("then", Cell(spelled(said.then.time))),
        Fact("now", Cell(spelled(said.now.time))),
    ]
    return found


def _root(said: Dossier, event: str) -> str:
    found = said.events.get(event)
    return _word(found, "root") if found is not None else ""


# --- words -------------------------------------------------------------------------


def says(event: Cited) -> str:
    """Say in a few words what an event is."""
    teller = SAYS.get(event.name)
    return teller(event) if teller is not None else ""


def _joined(*names: str) -> Callable[[Cited], str]:
    def tell(event: Cited) -> str:
        return ", ".join(word for n in names if (word := _word(event, n)))

    return tell


SAYS: Final[Mapping[str, Callable[[Cited], str]]] = {
    "inventory.model-registered": _joined("title", "owner"),
    "inventory.model-classified": lambda e: f"tier {_word(e, 'tier')}",
    "inventory.role-assigned": _joined("role", "subject"),
    "inventory.role-vacated": _joined("role", "subject"),
    "inventory.uses-approved": lambda e: _list(e.said.get("uses")),
    "inventory.version-registered": _joined("version"),
    "inventory.card-attached": _joined("version", "card_digest"),
    "inventory.validation-recorded": lambda e: (
        f"{_word(e, 'outcome')} by {_person(e.said.get('validator'))}"
    ),
    "inventory.deployed": _joined("version", "environment"),
    "inventory.traffic-set": _joined("version", "environment", "share"),
    "inventory.rolled-back": lambda e: (
        f"from {_word(e, 'from_version')} to {_word(e, 'to_version')}"
    ),
    "inventory.suspended": lambda e: f"suspended: {_word(e, 'reason')}",
    "inventory.resumed": lambda e: f"resumed {_word(e, 'reason')}".strip(),
    "inventory.retired": lambda e: f"retired: {_word(e, 'reason')}",
    "inventory.finding-raised": _joined("severity", "title"),
    "inventory.finding-responded": lambda _: "responded to",
    "inventory.finding-closed": lambda _: "closed",
    "inventory.finding-overdue": lambda _: "overdue",
    "inventory.risk-accepted": _joined("reason"),
    "policy.verdict-given": _joined("action", "verdict"),
    "policy.verdict-settled": _joined("action", "verdict"),
    "policy.verdict-revoked": lambda e: f"revoked: {_word(e, 'reason')}",
    "policy.approved": lambda e: f"approved by {_person(e.said.get('by'))}",
    "policy.rejected": lambda e: f"rejected by {_person(e.said.get('by'))}",
    "policy.bundle-proposed": _joined("name", "version"),
    "policy.bundle-approved": _joined("name"),
    "policy.bundle-activated": _joined("name"),
    "policy.exception-granted": _joined("rule", "reason"),
    "lineage.node-recorded": _joined("kind", "name"),
    "lineage.linked": _joined("relation"),
    "monitoring.batch-recorded": lambda e: f"{_count_of(e, 'rows')} decisions",
    "monitoring.outcomes-recorded": lambda e: f"{_count_of(e, 'rows')} outcomes",
    "monitoring.baseline-registered": _joined("baseline"),
    "monitoring.window-closed": _window,
    "monitoring.window-restated": lambda e: f"restated: {_window(e)}",
    "monitoring.alert-raised": _joined("severity", "cause"),
    "monitoring.alert-acknowledged": lambda _: "acknowledged",
    "monitoring.alert-resolved": lambda e: f"resolved: {_word(e, 'reason')}",
    "monitoring.disposition-recorded": _joined("disposition", "reason"),
    "monitoring.autonomy-raised": _joined("use", "to_level"),
    "monitoring.autonomy-lowered": _joined("use", "to_level"),
    "insight.health-band-changed": lambda e: (
        f"{_word(e, 'to_band')} {_index(e)}: {_word(e, 'cause')}"
    ),
    "insight.budget-defined": _joined("budget", "kind", "metric"),
    "insight.budget-slowed": lambda e: f"{_word(e, 'budget')} slowed",
    "insight.budget-eased": lambda e: f"{_word(e, 'budget')} eased",
    "insight.budget-exhausted": lambda e: f"{_word(e, 'budget')} exhausted",
}


def spelled(at: datetime) -> str:
    """Microseconds only where there are some: a decision's time is exact."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _when(value: object) -> str:
    try:
        return spelled(datetime.fromisoformat(str(value))) if value else ""
    except ValueError:
        return str(value)


def _day(value: object) -> str:
    return _when(value)[:10]


def _known(event: Cited | None) -> str:
    if event is None:
        return ""
    try:
        return spelled(event.known_at)
    except ProofError:
        return ""


def _first(book: _Book, moment: Moment, kind: str) -> Claim | None:
    return next(iter(book.claims(moment, kind)), None)


def _of(event: Cited | None, name: str) -> object:
    return None if event is None else event.said.get(name)


def _word(event: Cited | None, name: str) -> str:
    return _plain(_of(event, name))


def _figure(event: Cited | None, name: str) -> str:
    value = _of(event, name)
    return "" if value is None else _number(value)


def _index(event: Cited | None) -> str:
    value = _of(event, "index")
    return f"{value:.1f}" if isinstance(value, int | float) else ""


def _count_of(event: Cited, name: str) -> str:
    value = event.said.get(name)
    return f"{value:,}" if isinstance(value, int) else ""


def _plain(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case int() | float():
            return _number(value)
    return json.dumps(value, ensure_ascii=False)


def _number(value: object) -> str:
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.6g}"
    return _plain(value) if isinstance(value, bool | str | None) else str(value)


def _list(value: object) -> str:
    return ", ".join(map(_plain, value)) if isinstance(value, list) else ""


def _words(value: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_plain(one)}" for name, one in value.items() if one)


def _person(value: object) -> str:
    return _plain(value.get("subject")) if isinstance(value, dict) else ""


def _objects(value: object) -> list[dict[str, object]]:
    return [o for o in value if isinstance(o, dict)] if isinstance(value, list) else []


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text

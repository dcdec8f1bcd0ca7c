"""No sequence of commands lets a tier-1 promotion through without its quorum.

People ask, approve, reject, lend, change, retry and are late, in any order; commands
that were prepared on an old look at the ledger are decided later; reactions come when
they come, and twice. What is then allowed is held against an oracle that reads the log
alone and shares no code with what decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from modelkeep.decider import Actor, Command, Context, decider
from modelkeep.errors import ModelkeepError
from modelkeep.events import inventory as says
from modelkeep.events import policy as said
from modelkeep.events.base import Event
from modelkeep.events.clock import Ticked
from modelkeep.events.lineage import CompletenessAssessed
from modelkeep.events.types import Person
from modelkeep.home import Home
from modelkeep.ledger import (
    Ledger,
    Order,
    body_hash,
    derived_command_id,
    stream_name,
)
from modelkeep.proof.note import SigningKey
from modelkeep.service import Asked, Host
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing.deciding import NOON, actor
from modelkeep.views import AsOf, Fact, fact
from modelkeep.viewset import ViewSet
from modelkeep_services.policy import envelopes, seen
from modelkeep_services.policy.domain import delegation, envelope, request, seats
from modelkeep_services.policy.domain.request import StatedEvidence
from modelkeep_services.policy.in_force import Programs
from modelkeep_services.policy.reactions import REACTORS
from modelkeep_services.policy.service import VIEWS, writes

DIGESTS: Final = {"v1": "sha256:" + "a" * 64, "v2": "sha256:" + "b" * 64}
ENVELOPE: Final = "monthly"
QUORUM: Final = {
    1: ("risk_officer", "validator", "business_owner"),
    2: ("risk_officer", "validator"),
}
MAX_AGE: Final = timedelta(hours=336)
PROGRAMS: Final = Programs()
WRITES: Final = {row.rpc: row for row in writes(PROGRAMS, SigningKey.generate("tests"))}

EVE: Final = actor("eve", "engineer", "risk_officer")
BO: Final = actor("bo", "engineer", "validator")
OLGA: Final = actor("olga", "owner", "business_owner", "risk_officer")
DEV: Final = actor("dev", "engineer", "validator")
REG: Final = actor("reg", "risk_officer", "engineer")
ROB: Final = actor("rob", "risk_officer")
VERA: Final = actor("vera", "validator")
BEN: Final = actor("ben", "business_owner")
PAT: Final = actor("pat", "risk_officer", "validator")
RITA: Final = actor("rita", "risk_officer", "validator", "business_owner")
VIK: Final = actor("vik", "policy_author", "engineer")
BOT: Final = actor("bot", "risk_officer", human=False)
PEOPLE: Final = (EVE, BO, OLGA, DEV, REG, ROB, VERA, BEN, PAT, RITA, VIK, BOT)
ASKERS: Final = (EVE, BO, VIK, REG, OLGA)

people = st.sampled_from(PEOPLE)
GROUPS: Final = (
    (ROB, VERA, BEN),
    (ROB, VERA),
    (PAT, VERA, BEN),
    (PAT, RITA),
    (VIK, RITA, BEN),
    (VIK, BEN, PAT),
    (ROB, VIK, BEN),
    (EVE, BO, BEN),
    (VIK, PAT, BEN, RITA),
    (OLGA, DEV, REG),
)
# Where nearly everything is refused, nothing is tried.
useful = st.sampled_from((ROB, VERA, BEN, PAT, RITA, VIK, ROB, VERA, BEN))
versions = st.sampled_from(("v1", "v1", "v2"))


class Say(Command):
    """Carries nothing: the events are the decider's."""


class World:
    """Policy's own commands, views and reactors over a ledger, without a network."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "ledger.db")
        self.ledger = Ledger(self.store)
        self.views = ViewSet("policy", VIEWS, self.store, folder / "views.db")
        self.now, self.numbers = NOON, 0
        clock = SimpleNamespace(now=lambda: self.now)
        host = SimpleNamespace(
            store=self.store, ledger=self.ledger, clock=clock, home=Home(folder)
        )
        self.host = cast("Host", host)
        self.reacted = -1

    def close(self) -> None:
        self.views.close()
        self.ledger.close()
        self.store.close()

    def number(self) -> str:
        self.numbers += 1
        return str(UUID(int=self.numbers))

    def say(self, *events: Event) -> None:
        order = Order(
            stream_name("model", "main", "credit"),
            decider(None, lambda _, __, ___: events, lambda _, __: None),
            Say(),
            Context(OLGA, self.now, self.now, self.number()),
            "world",
        )
        self.ledger.execute(order)

    def prepared(self, rpc: str, command: Command, by: Actor) -> Order:
        """What the table's row makes of a command now; it is decided when submitted."""
        row, number = WRITES[rpc], self.number()
        context = Context(by, self.now, self.now, number)
        target = row.target(command, context)
        whole = body_hash(command)
        head = self.store.head()
        self.views.catch_up()
        if row.prepare is not None:
            with self.views.reader("main", AsOf(head)) as read:
                asked = Asked(by, self.now, read, self.host, head, number)
                command = row.prepare(command, asked)
        stream = stream_name(target.category, "main", target.key)
        return Order(stream, row.decider, command, context, whole)

    def facts(self, after: int = -1) -> Iterator[Fact]:
        return (fact(one) for one in self.store.read_all(after=after))

    def react(self, *, twice: bool = False) -> None:
        """Answer every event that has not been answered; those that follow too."""
        since = -1 if twice else self.reacted
        while news := list(self.facts(since)):
            for one in news:
                self._answer(one)
            since = self.reacted = news[-1].position

    def _answer(self, cause: Fact) -> None:
        self.views.catch_up()
        for reactor in REACTORS:
            if not reactor.wants(cause.event.event_name, cause.stream):
                continue
            with self.views.reader(cause.tenant, AsOf(cause.position)) as read:
                react = reactor.reacts[cause.event.event_name]
                reactions = list(react(cause.event, cause, read))
            for one in reactions:
                name = type(one.command).__name__ + one.part
                number = derived_command_id(cause.id, reactor.name, one.stream, name)
                by = Actor("modelkeep", "policy", frozenset(), "main", human=False)
                context = Context(
                    by, self.now, cause.effective_at, number, str(cause.id)
                )
                order = Order(
                    one.stream,
                    one.decider,
                    one.command,
                    context,
                    body_hash(one.command),
                )
                attempt(self.ledger, order)


def attempt(ledger: Ledger, order: Order) -> bool:
    """Refusals are an answer; nothing else is."""
    try:
        ledger.execute(order)
    except ModelkeepError:
        return False
    return True


# --- what must be so, from the log alone -------------------------------------------


@dataclass
class Oracle:
    """The log, read as a reader without our code would."""

    facts: list[Fact]
    lent: dict[str, said.Delegated] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.facts:
            match one.event:
                case said.Delegated() as event:
                    self.lent[event.delegation] = event
                case said.DelegationRevoked() as event:
                    self.ended[event.delegation] = one.position

    def allowed(self, now: datetime) -> Iterator[tuple[Fact, said.VerdictSettled]]:
        """What still lets something through."""
        revoked = {
            f.event.request
            for f in self.facts
            if isinstance(f.event, said.VerdictRevoked)
        }
        for one in self.facts:
            event = one.event
            if not isinstance(event, said.VerdictSettled) or event.verdict != "allow":
                continue
            over = event.expires_at is not None and event.expires_at <= now
            if event.action == "promote" and event.request not in revoked and not over:
                yield one, event

    def wrong(self, now: datetime) -> Iterator[str]:
        for one, event in self.allowed(now):
            if event.tier not in QUORUM:
                continue
            given = self.given(event.request)
            if any(self.voids(given.position, event.digest)):
                yield f"{event.request} outlived a change"
            if event.envelope is not None:
                yield from self.outside(event, given)
            elif not self.quorate(event, one):
                yield f"{event.request} has no quorum"

    def given(self, request: str) -> Fact:
        return next(
            f
            for f in self.facts
            if isinstance(f.event, said.VerdictGiven) and f.event.request == request
        )

    def voids(self, after: int, digest: str | None) -> Iterator[int]:
        """Positions of what voids approvals of a digest, as the log tells it."""
        tier = None
        for one in self.facts:
            match one.event:
                case says.ModelClassified() as event:
                    riskier = tier is not None and event.tier < tier
                    tier = event.tier
                    if riskier and one.position > after:
                        yield one.position
                case says.ChangeClassified() as event:
                    mine = event.digest in {None, digest}
                    if event.material and mine and one.position > after:
                        yield one.position
                case says.FindingRaised() as event:
                    if event.severity == "critical" and one.position > after:
                        yield one.position

    def quorate(self, event: said.VerdictSettled, settled: Fact) -> bool:
        last = max(
            (p for p in self.voids(-1, event.digest) if p < settled.position),
            default=-1,
        )
        words: dict[Person, Fact] = {}
        for one in self.facts:
            if not last < one.position < settled.position:
                continue
            word = one.event
            if isinstance(word, said.Approved | said.Rejected) and (
                word.action,
                word.digest,
                word.environment,
            ) == (event.action, event.digest, event.environment):
                words[word.by] = one
        out = {p.person for p in (OLGA, DEV, REG)} | {event.requested_by}
        yes = [
            one
            for who, one in words.items()
            if who not in out and self.good(one, settled.known_at)
        ]
        return self.seated(QUORUM[event.tier or 1], yes, out)

    def good(self, one: Fact, at: datetime) -> bool:
        word = one.event
        if not isinstance(word, said.Approved):
            return False
        fresh = at < word.at + MAX_AGE
        return fresh and (word.expires_at is None or at < word.expires_at)

    def seated(
        self, seats: Sequence[str], yes: Sequence[Fact], out: set[Person]
    ) -> bool:
        """Whether some people, each once and each for one authority, fill the seats."""
        choices = [
            [
                (one.actor, authority)
                for one in yes
                for authority in self.authorities(one, seat, out)
            ]
            for seat in seats
        ]
        return any(
            len({who for who, _ in picked}) == len(seats)
            and len({authority for _, authority in picked}) == len(seats)
            for picked in product(*choices)
        )

    def authorities(self, one: Fact, seat: str, out: set[Person]) -> Iterator[Person]:
        """Whose authority a person has for a seat: their own, or a lender's."""
        if seat in one.roles:
            yield one.actor
        for by in getattr(one.event, "lent", ()):
            lent = self.lent.get(by.delegation)
            if lent is None or lent.role != seat or lent.to != one.actor:
                continue
            ended = self.ended.get(by.delegation, one.position + 1)
            in_time = one.known_at < lent.until and ended > one.position
            holds = any(p.person == lent.lender and seat in p.roles for p in PEOPLE)
            if in_time and holds and lent.lender not in out:
                yield lent.lender

    def outside(self, event: said.VerdictSettled, given: Fact) -> Iterator[str]:
        """Whether an envelope was not one: unapproved, used up, or voided before."""
        name = f"{event.request} by envelope"
        proposed = next(
            f for f in self.facts if isinstance(f.event, said.EnvelopeProposed)
        )
        terms = cast("said.EnvelopeProposed", proposed.event)
        if terms.tier != event.tier:
            yield f"{name} of another tier"
        yes = [f for f in self.facts if isinstance(f.event, said.EnvelopeApproved)]
        out = {p.person for p in (OLGA, DEV)} | {terms.by}
        fit = [f for f in yes if f.actor not in out]
        if not self.seated(QUORUM[terms.tier], fit, out):
            yield f"{name} without a quorum"
        uses = [f for f in self.facts if isinstance(f.event, said.EnvelopeUsed)]
        mine = [f for f in uses if cast("Any", f.event).request == event.request]
        if len(uses) > terms.terms.uses or len(mine) != 1:
            yield f"{name} used too often"
        stood = cast("said.VerdictGiven", given.event).stood_at
        for one in self.facts:
            if isinstance(one.event, says.UsesApproved) and (
                proposed.position < one.position <= stood
            ):
                yield f"{name} for other uses"
            if isinstance(one.event, said.EnvelopeVoided) and (
                one.position < mine[0].position
            ):
                yield f"{name} that was void"


# --- the machine -------------------------------------------------------------------


class Sequences(RuleBasedStateMachine):
    """Anything may happen at any time; what was prepared may be decided later."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.held: list[Order] = []
        self.done: list[Order] = []

    def teardown(self) -> None:
        self.check()
        self.world.close()
        self.folder.cleanup()

    @initialize(
        before=st.sampled_from(("lent", "nothing", "enveloped", "lent")),
        by=st.sampled_from(ASKERS),
    )
    def begin(self, before: str, by: Actor) -> None:
        """Where everything must come about by chance, little does."""
        self.world.say(*model())
        if before == "lent":
            self.rita_lends_all()
        if before == "enveloped":
            self.propose_envelope(EVE, hold=False)
            self.all_approve_the_envelope()
        self.ask(by, "v1", hold=False)

    def do(self, rpc: str, command: Command, by: Actor, *, hold: bool = False) -> None:
        row = WRITES[rpc]
        if not by.roles & row.roles:
            return
        try:
            order = self.world.prepared(rpc, command, by)
        except ModelkeepError:
            return
        if hold:
            self.held.append(order)
        else:
            self.done.append(order)
            attempt(self.world.ledger, order)

    def requests(self) -> list[said.VerdictGiven]:
        found = (f.event for f in self.world.facts())
        return [e for e in found if isinstance(e, said.VerdictGiven)]

    @rule(
        by=st.sampled_from(ASKERS),
        version=versions,
        hold=st.booleans(),
        soon=st.booleans(),
    )
    def ask(
        self,
        by: Actor,
        version: str,
        hold: bool,  # noqa: FBT001  # drawn
        soon: bool = False,  # noqa: FBT001, FBT002  # drawn
    ) -> None:
        evidence = StatedEvidence.model_validate(
            {"features": [{"name": "a", "psi": 0.01}, {"name": "b", "psi": 0.02}]}
        )
        command = request.Evaluate(
            action="promote",
            model="credit",
            version=version,
            environment="prod",
            use="lending",
            evidence=evidence,
            approvals_due_at=self.world.now + timedelta(hours=24) if soon else None,
        )
        self.do("Evaluate", command, by, hold=hold)

    @precondition(lambda self: self.requests())
    @rule(by=useful, back=st.integers(0, 2), hold=st.booleans())
    def approve(self, by: Actor, back: int, hold: bool) -> None:  # noqa: FBT001  # drawn
        one = self.one(back)
        command = request.Approve(request=one.request, digest=str(one.digest))
        self.do("Approve", command, by, hold=hold and back == 0)

    @precondition(lambda self: self.requests())
    @rule(by=people, back=st.integers(0, 2))
    def anybody_approves(self, by: Actor, back: int) -> None:
        self.approve(by, back, hold=False)

    @precondition(lambda self: self.requests())
    @rule(group=st.sampled_from(GROUPS))
    def some_approve(self, group: tuple[Actor, ...]) -> None:
        """Nearly a quorum, or one: what is rare by chance alone."""
        for by in group:
            self.approve(by, 0, hold=False)

    @precondition(lambda self: self.requests())
    @rule(by=useful, days=st.integers(1, 20))
    def approve_for_a_while(self, by: Actor, days: int) -> None:
        one = self.one(0)
        command = request.ApproveWithConditions(
            request=one.request,
            digest=str(one.digest),
            max_traffic_share=0.1,
            expires_at=self.world.now + timedelta(days=days),
        )
        self.do("ApproveWithConditions", command, by)

    @precondition(lambda self: self.requests())
    @rule(by=useful)
    def reject(self, by: Actor) -> None:
        one = self.one(0)
        command = request.Reject(
            request=one.request, digest=str(one.digest), reason="no"
        )
        self.do("Reject", command, by)

    def one(self, back: int) -> said.VerdictGiven:
        found = self.requests()
        return found[max(0, len(found) - 1 - back)]

    @rule(by=people, to=people, role=st.sampled_from(QUORUM[1]))
    def lend(self, by: Actor, to: Actor, role: str) -> None:
        command = delegation.Delegate(
            delegation=f"{by.subject}-{to.subject}-{role.replace('_', '-')}",
            to=to.person,
            role=role,
            until=self.world.now + timedelta(days=3),
            reason="on leave",
        )
        self.do("Delegate", command, by)

    def rita_lends_all(self) -> None:
        for role, to in zip(QUORUM[1], (VIK, PAT, BEN), strict=True):
            self.lend(RITA, to, role)
        self.lend(RITA, VIK, "validator")

    @rule(by=people, to=people, role=st.sampled_from(QUORUM[1]))
    def take_back(self, by: Actor, to: Actor, role: str) -> None:
        name = f"{by.subject}-{to.subject}-{role.replace('_', '-')}"
        command = delegation.RevokeDelegation(delegation=name, reason="back")
        self.do("RevokeDelegation", command, by)

    @rule(by=st.sampled_from((EVE, VIK)), hold=st.booleans())
    def propose_envelope(self, by: Actor, hold: bool) -> None:  # noqa: FBT001  # drawn
        terms = envelope.BoundedTerms(
            model="credit",
            actions=("promote",),
            features=("a", "b"),
            until=NOON + timedelta(days=60),
            uses=2,
        )
        command = envelope.ProposeEnvelope(
            envelope=ENVELOPE, terms=terms, reason="the same on fresher data"
        )
        self.do("ProposeEnvelope", command, by, hold=hold)

    @rule(by=st.sampled_from((ROB, VERA, BEN, PAT, RITA, VIK, OLGA, EVE)))
    def approve_envelope(self, by: Actor) -> None:
        for one in self.world.facts():
            if isinstance(one.event, said.EnvelopeProposed):
                command = envelope.ApproveEnvelope(
                    envelope=ENVELOPE, digest=one.event.digest
                )
                self.do("ApproveEnvelope", command, by)

    def all_approve_the_envelope(self) -> None:
        for by in (ROB, VERA, BEN):
            self.approve_envelope(by)

    @rule(version=versions)
    def change(self, version: str) -> None:
        self.world.say(
            says.ChangeClassified(
                model="credit",
                change=f"change-{self.world.numbers}",
                version=version,
                digest=DIGESTS[version],
                kinds=("data",),
                material=True,
                rationale="the bureau changed",
                by=ROB.person,
            ),
            validated(version),
        )

    @rule(tier=st.sampled_from((1, 1, 2)))
    def classify(self, tier: int) -> None:
        self.world.say(classified(tier))

    @rule()
    def other_uses(self) -> None:
        self.world.say(
            says.UsesApproved(model="credit", uses=("lending",), by=ROB.person)
        )

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 9))
    def decide_what_was_held(self, which: int) -> None:
        order = self.held.pop(which % len(self.held))
        self.done.append(order)
        attempt(self.world.ledger, order)

    @precondition(lambda self: self.done)
    @rule(which=st.integers(0, 9))
    def retry(self, which: int) -> None:
        attempt(self.world.ledger, self.done[-1 - which % len(self.done)])

    @rule(hours=st.sampled_from((1, 24, 80, 340)))
    def later(self, hours: int) -> None:
        """Time goes by; whether the clock says so is another matter."""
        self.world.now += timedelta(hours=hours)

    @rule()
    def tick(self) -> None:
        now = self.world.now
        order = Order(
            "clock",
            decider(None, lambda _, __, ___: [Ticked(instant=now)], lambda _, __: None),
            Say(),
            Context(BOT, now, now, self.world.number()),
            "tick",
        )
        self.world.ledger.execute(order)

    @rule(twice=st.booleans())
    def react(self, twice: bool) -> None:  # noqa: FBT001  # drawn
        self.world.react(twice=twice)

    @invariant()
    def nothing_is_allowed_by_too_few(self) -> None:
        """Before its reactions too: only what overtakes a verdict waits for them."""
        oracle = Oracle(list(self.world.facts()))
        oracle.ended.clear()
        late = [w for w in oracle.wrong(self.world.now) if w.endswith("no quorum")]
        assert not [w for w in late if not self.overtaken(oracle, w.split()[0])], late

    @staticmethod
    def overtaken(oracle: Oracle, request: str) -> bool:
        given = oracle.given(request)
        event = cast("said.VerdictGiven", given.event)
        return any(oracle.voids(event.stood_at, event.digest))

    def check(self) -> None:
        """Once every event was answered, all of it holds."""
        self.world.react()
        wrong = list(Oracle(list(self.world.facts())).wrong(self.world.now))
        assert not wrong, wrong


def model() -> Iterator[Event]:
    yield says.ModelRegistered(
        model="credit",
        title="Who pays back",
        kind="trained",
        purpose="to lend",
        owner="olga",
        owner_issuer="tests",
        approved_uses=("lending",),
    )
    yield says.RoleAssigned(
        model="credit", role="engineer", subject="dev", issuer="tests"
    )
    yield classified(1)
    for version, digest in DIGESTS.items():
        yield says.VersionRegistered(
            model="credit",
            version=version,
            digest=digest,
            artifacts=(says.Artifact(name="m", digest=digest, media_type="o", size=1),),
            feature_count=2,
            registered_by=REG.person,
        )
        yield says.CardAttached(
            model="credit", version=version, digest=digest, card_digest=digest, size=1
        )
        yield validated(version)
        yield CompletenessAssessed(
            node="model_version:" + digest[-64:],
            model="credit",
            version=version,
            digest=digest,
            standard="lineage-1",
            share=1.0,
            present=(),
            missing=(),
        )


def classified(tier: int) -> Event:
    numbers = (
        "exposure",
        "purpose",
        "harm",
        "materiality",
        "method",
        "input_uncertainty",
        "opacity",
        "autonomy",
        "complexity",
    )
    drivers = {"use": "lending", "exposure_share": 0.01, **dict.fromkeys(numbers, 2)}
    return says.ModelClassified.model_validate(
        {
            "model": "credit",
            "tier": tier,
            "derived_tier": tier,
            "source": "derived",
            "drivers": drivers,
            "rubric": "tiers 1",
            "rubric_digest": DIGESTS["v1"],
            "by": ROB.person,
        }
    )


def validated(version: str) -> Event:
    return says.ValidationRecorded.model_validate(
        {
            "model": "credit",
            "version": version,
            "digest": DIGESTS[version],
            "outcome": "approved",
            "validator": Person(issuer="tests", subject="val"),
            "metrics": {"auc": 0.78, "sample_size": 1000},
        }
    )


QUIET: Final = (HealthCheck.too_slow, HealthCheck.filter_too_much)


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(12, 30), pytest.param(60, 40, marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_no_sequence_promotes_without_its_quorum(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Sequences,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=QUIET,
        ),
    )


# --- the oracle can fail -----------------------------------------------------------


class Played(Sequences):
    """The same moves by hand; `wrong` is what the oracle makes of them."""

    def wrong(self) -> list[str]:
        self.world.react()
        return list(Oracle(list(self.world.facts())).wrong(self.world.now))

    def close(self) -> None:
        self.world.close()
        self.folder.cleanup()


@pytest.fixture
def played() -> Iterator[Played]:
    made = Played()
    yield made
    made.close()


def test_a_lender_who_counts_twice_is_seen(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_of_them(
        approvals: Sequence[said.Approval], _: object
    ) -> dict[Person, frozenset[str]]:
        return {
            one.by: frozenset(one.roles) | {by.role for by in one.lent}
            for one in approvals
        }

    monkeypatch.setattr(seats, "voices", all_of_them)
    played.begin("lent", EVE)
    played.some_approve((VIK, RITA, BEN))
    assert played.wrong()


def test_a_party_that_approves_is_seen(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "barred", lambda *_: {})
    monkeypatch.setattr(seats, "why_not", lambda *_: None)
    played.begin("nothing", EVE)
    played.some_approve((OLGA, DEV, REG))
    assert played.wrong()


def test_what_was_said_before_a_change_is_seen(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a request that was denied since, so that nothing is left to revoke."""
    monkeypatch.setattr(seen, "voids_after", lambda *_: ())
    assert late_words(played)


def test_what_was_said_before_a_change_does_not_count(played: Played) -> None:
    assert not late_words(played)


def late_words(played: Played) -> list[str]:
    played.world.say(*model())
    played.ask(EVE, "v1", hold=False, soon=True)
    played.some_approve((ROB, VERA))
    played.later(24)
    played.tick()
    played.world.react()
    played.change("v1")
    played.ask(EVE, "v1", hold=False)
    played.some_approve((BEN,))
    return played.wrong()


def test_an_envelope_for_other_uses_is_seen(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelopes, "rests", lambda *_: True)
    played.begin("enveloped", EVE)
    assert not played.wrong()
    played.other_uses()
    played.ask(EVE, "v1", hold=False)
    assert any("other uses" in one for one in played.wrong())

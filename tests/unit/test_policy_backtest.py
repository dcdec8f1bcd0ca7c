"""A candidate on history: what flips, what cannot be told, and what was said then."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.compiled import compiled

from modelkeep.api.policy.v1.facts_pb2 import Facts
from modelkeep.errors import Invalid
from modelkeep.events.base import encode
from modelkeep.events.policy import Approval, VerdictGiven, Waiver
from modelkeep.events.types import Money, Person
from modelkeep.policy.bundle import Bundle, load_bundle
from modelkeep.policy.check import changed
from modelkeep.policy.defaults import baseline
from modelkeep.policy.facts import from_document
from modelkeep.policy.program import Program, program_of
from modelkeep_services.policy.backtest import backtest
from modelkeep_services.policy.backtest_page import render
from modelkeep_services.policy.backtest_report import (
    NOT_EVALUABLE,
    NOT_IN_BUNDLE,
    Assumed,
    Report,
    digest,
    document,
)
from modelkeep_services.policy.history import Around, Given, Past, Period
from modelkeep_services.policy.judge import judge
from modelkeep_services.policy.replay import exact

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STRICTER = (
    baseline()
    .replace("version: 1.0.0", "version: 2.0.0")
    .replace("{1: 0.10, 2: 0.20}", "{1: 0.02, 2: 0.20}")
)
LOOSER = (
    baseline()
    .replace("version: 1.0.0", "version: 2.0.0")
    .replace("{1: 0.10, 2: 0.20}", "{1: 0.60, 2: 0.20}")
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(baseline())


@pytest.fixture(scope="module")
def around(bundle: Bundle) -> Around:
    return Around({bundle.digest: bundle.text})


Ask = Callable[..., VerdictGiven]


@pytest.fixture
def ask(bundle: Bundle) -> Ask:
    """Ask the packaged bundle, about a fixture of its own with changes, and keep it."""

    def asked(
        fixture: str = "promote-tier-1",
        request: str = "r1",
        waivers: tuple[Waiver, ...] = (),
        approvals: tuple[Approval, ...] = (),
        **changes: object,
    ) -> VerdictGiven:
        named = {key.replace("__", "."): value for key, value in changes.items()}
        kept = {key: value for key, value in named.items() if value is not None}
        gone = [key for key, value in named.items() if value is None]
        facts = from_document(changed(bundle.document.fixtures[fixture], kept, gone))
        return given(bundle, facts, request, waivers, approvals)

    return asked


def given(
    bundle: Bundle,
    facts: Facts,
    request: str = "r1",
    waivers: tuple[Waiver, ...] = (),
    approvals: tuple[Approval, ...] = (),
) -> VerdictGiven:
    said = judge(
        program_of(bundle),
        facts,
        waivers=waivers,
        approvals=approvals,
        parties=(),
        now=facts.now.ToDatetime(tzinfo=UTC),
    )
    return VerdictGiven.model_validate(
        {
            "request": request,
            "action": facts.action.value,
            "model": "credit",
            "tier": facts.model.tier.value or None,
            "bundle": bundle.digest,
            "bundle_name": bundle.name,
            "bundle_version": bundle.version,
            "facts": b64encode(said.facts).decode(),
            "stood_at": 7,
            "waivers": waivers,
            "approvals": approvals,
            "requested_by": Person(issuer="hr", subject="eve"),
            "human": True,
            "expires_at": START + timedelta(days=30),
            **said.said,
        }
    )


def past(*events: VerdictGiven) -> Iterable[Past]:
    for n, event in enumerate(events):
        data = encode(event)
        at = START + timedelta(hours=n)
        yield Past(f"event-{n}", at, Given.model_validate_json(data), data)


def tried(
    text: str, around: Around, *events: VerdictGiven, minutes: float | None = None
) -> Report:
    candidate = program_of(load_bundle(text))
    return backtest(candidate, past(*events), around, Period(), Assumed(minutes))


def cells(report: Report) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for cell in report.cells.values():
        key = cell.was, cell.now
        found[key] = found.get(key, 0) + cell.count
    return found


def test_the_bundle_in_force_flips_nothing_of_its_own(
    bundle: Bundle, around: Around, ask: Ask
) -> None:
    events = [
        given(bundle, from_document(one)) for one in bundle.document.fixtures.values()
    ]
    events += [
        ask(evidence__psi_max=0.5),
        ask(evidence__lineage_complete=None),
        ask(approvals=()),
        ask(model__tier=None),
        ask(action="dance"),
    ]
    report = tried(baseline(), around, *events)
    assert report.verdicts == len(events)
    assert report.flips == report.not_evaluable == 0
    assert not report.proposals_gained
    assert not report.proposals_lost


def test_history_comes_out_alike_with_a_decoder_and_without(
    bundle: Bundle, around: Around, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkeep.policy.program.compiled", compiled)
    whole = [from_document(one) for one in bundle.document.fixtures.values()]
    events = [given(bundle, facts) for facts in whole]
    for value in ("changed", "verified"):
        for facts in whole:
            facts.version.artifacts.value = value
        events += [given(bundle, facts) for facts in whole]
    events += [
        ask(evidence__psi_max=0.5),
        ask(evidence__psi_max="NaN"),
        ask(evidence__lineage_complete=None),
        ask(approvals=()),
        ask(model__tier=None),
        ask(action="dance"),
    ]
    reports = [
        backtest(
            Program(load_bundle(STRICTER), flat=flat), past(*events), around, Period()
        )
        for flat in (True, False)
    ]
    assert document(reports[0]) == document(reports[1])
    assert reports[0].flips > 0
    denied = [cell for cell in reports[0].cells.values() if cell.now == "deny"]
    assert sum(cell.count for cell in denied) >= len(whole)  # those that were changed


def test_a_tighter_limit_stops_what_it_should_and_says_so(
    around: Around, ask: Ask
) -> None:
    report = tried(STRICTER, around, ask(request="r1"), ask("deploy", request="r2"))
    assert cells(report) == {("pending", "deny"): 1, ("allow", "allow"): 1}
    assert (report.flips, report.tightened, report.loosened) == (1, 1, 0)
    rule = report.rules["drift/worst"]
    assert (rule.stops, rule.fired, rule.asked) == (1, 1, 1)
    (one,) = rule.exemplars
    assert (one.request, one.event, one.was, one.now) == (
        "r1",
        "event-0",
        "pending",
        "deny",
    )
    assert "evidence.psi_max" in one.says[0]
    assert "0.02" in one.says[0]


def test_a_looser_limit_frees_what_the_rule_of_then_stopped(
    around: Around, ask: Ask
) -> None:
    event = ask(evidence__psi_max=0.5)
    assert event.verdict == "deny"
    report = tried(LOOSER, around, event)
    assert report.loosened == 1
    assert report.freed["drift/worst"].frees == 1


def needing(rule: str) -> str:
    """The packaged bundle with one more rule on evidence."""
    card = "  - {id: card, assert: version.card_present"
    assert card in baseline()
    more = f'  - {{id: more, assert: "{rule}"}}\n{card}'
    return baseline().replace("version: 1.0.0", "version: 2.0.0").replace(card, more)


def test_a_fact_that_nobody_asked_for_is_not_evaluable(
    around: Around, ask: Ask
) -> None:
    text = needing("evidence.explained_share >= 0.9")
    events = [ask(), *(ask(evidence__explained_share=share) for share in (0.95, 0.5))]
    report = tried(text, around, *events)
    assert cells(report) == {
        ("pending", NOT_EVALUABLE): 1,
        ("pending", "pending"): 1,
        ("pending", "deny"): 1,
    }
    assert report.not_evaluable == 1
    assert report.lacking == {"evidence.explained_share": 1}
    assert report.flips == 1, "what cannot be told is no flip"


def test_what_other_rules_stop_anyway_is_counted_beside_it(
    around: Around, ask: Ask
) -> None:
    event = ask(evidence__psi_max=0.9)
    report = tried(needing("evidence.explained_share >= 0.9"), around, event)
    assert cells(report) == {("deny", NOT_EVALUABLE): 1}
    assert report.denied_anyway == 1


def test_evidence_that_was_asked_for_and_missing_is_missing_still(
    around: Around, ask: Ask
) -> None:
    event = ask(evidence__lineage_complete=None)
    report = tried(STRICTER, around, event)
    assert cells(report) == {("deny", "deny"): 1}


def test_facts_of_another_schema_lack_what_they_do_not_have(
    around: Around, ask: Ask
) -> None:
    event = ask(evidence__lineage_complete=None)
    other = event.model_copy(update={"descriptor": "sha256:" + "0" * 64})
    report = tried(baseline(), around, other)
    assert cells(report) == {("deny", NOT_EVALUABLE): 1}


def test_facts_that_cannot_be_read_are_not_evaluable(around: Around, ask: Ask) -> None:
    event = ask().model_copy(update={"facts": b64encode(b"\xff\xff").decode()})
    report = tried(baseline(), around, event)
    assert report.not_evaluable == 1
    assert report.unreadable == {"its facts cannot be read": 1}


def test_facts_with_fields_of_another_schema_are_not_evaluable(
    around: Around, ask: Ask
) -> None:
    raw = b"\xfa\x7f\x02hi"  # field 2047, which no schema of ours has
    event = ask().model_copy(
        update={
            "facts": b64encode(raw).decode(),
            "descriptor": "sha256:" + "0" * 64,
        }
    )
    report = tried(baseline(), around, event)
    assert list(report.unreadable) == [
        "its facts have fields that this program has not"
    ]


def test_an_action_that_the_candidate_does_not_know_is_denied(
    around: Around, ask: Ask
) -> None:
    text = (
        baseline()
        .replace("version: 1.0.0", "version: 2.0.0")
        .replace("\n  suspend:\n    all_of", "\n  pause:\n    all_of")
        .replace("[rollback, suspend]", "[rollback, pause]")
    )
    report = tried(text, around, ask("suspend"))
    assert cells(report) == {("allow", "deny"): 1}
    assert report.rules[NOT_IN_BUNDLE].stops == 1
    assert NOT_IN_BUNDLE not in report.never_asked()


def test_a_waiver_sets_aside_for_the_candidate_what_it_set_aside_then(
    around: Around, ask: Ask
) -> None:
    until = START + timedelta(days=30)
    waiver = Waiver(exception="ex", rule="drift/worst", until=until)
    event = ask(evidence__psi_max=0.5, waivers=(waiver,), approvals=PEOPLE)
    assert event.verdict == "allow"
    report = tried(STRICTER, around, event)
    assert cells(report) == {("allow", "allow"): 1}


def approval(subject: str, *roles: str) -> Approval:
    who = Person(issuer="hr", subject=subject)
    at = datetime(2026, 2, 28, 12, tzinfo=UTC)
    return Approval(by=who, roles=roles, at=at, request="r1")


PEOPLE = (
    approval("rob", "risk_officer"),
    approval("vera", "validator"),
    approval("ben", "business_owner"),
)


def test_approvals_count_for_the_candidate_as_they_counted_then(
    around: Around, ask: Ask
) -> None:
    event = ask(approvals=PEOPLE)
    assert event.verdict == "allow"
    assert cells(tried(LOOSER, around, event)) == {("allow", "allow"): 1}


def test_reviewers_hours_need_an_assumption(around: Around, ask: Ask) -> None:
    assert tried(STRICTER, around, ask()).hours() is None
    report = tried(STRICTER, around, ask(), minutes=20.0)
    assert (report.approvals_were, report.approvals_are) == (3, 0)
    assert report.hours() == (1.0, 0.0)


@pytest.mark.parametrize("minutes", [-1.0, math.nan, math.inf])
def test_an_impossible_assumption_is_refused(minutes: float) -> None:
    with pytest.raises(Invalid, match="minutes_per_approval"):
        Assumed(minutes)


def test_money_is_known_where_an_objective_has_a_price(
    bundle: Bundle, ask: Ask
) -> None:
    price = Money(minor=1_250_00, currency="EUR")
    around = Around({bundle.digest: bundle.text}, {"credit": {"auc": price}})
    report = tried(STRICTER, around, ask())
    assert report.money() == {"EUR": 125_000}
    assert report.unpriced() == []
    assert tried(STRICTER, Around(around.texts), ask()).unpriced() == ["credit"]


def watching(psi: float) -> str:
    """The packaged bundle with another limit where none is said for a tier."""
    limit = "psi_max: {type: double, default: 0.25, tier: {1: 0.10"
    assert limit in baseline()
    return (
        baseline()
        .replace("version: 1.0.0", "version: 2.0.0")
        .replace(limit, limit.replace("0.25", f"{psi:.2f}"))
    )


def test_proposals_gained_and_lost_are_counted(around: Around, ask: Ask) -> None:
    event = ask("monitor", evidence__psi_max=0.22)
    report = tried(watching(0.20), around, event)
    assert report.proposals_gained == {"retrain-on-drift/drifted: StartRetraining": 1}
    was = ask("monitor", evidence__psi_max=0.3)
    report = tried(watching(0.90), around, was)
    assert report.proposals_lost == {"retrain-on-drift/drifted: StartRetraining": 1}


def test_rules_that_tell_nothing_apart_are_named(around: Around, ask: Ask) -> None:
    report = tried(STRICTER, around, ask())
    assert "drift/worst" in report.always_fired()
    assert "standing/retired" in report.never_fired()
    assert "rollback/approved" in report.never_asked()


def test_the_same_history_gives_the_same_report_digest(
    around: Around, ask: Ask
) -> None:
    one, two = (document(tried(STRICTER, around, ask())) for _ in range(2))
    assert digest(one) == digest(two)
    other = document(tried(STRICTER, around, ask("deploy")))
    assert digest(other) != digest(one)
    assert json.loads(json.dumps(one)) == one


def test_an_empty_history_is_a_report_too(around: Around) -> None:
    said = document(tried(STRICTER, around))
    assert said["verdicts"] == 0
    assert "There is no verdict" in render(said, digest(said))


def test_a_page_escapes_whatever_it_is_told(around: Around, ask: Ask) -> None:
    event = ask(request="r1", evidence__validation_outcome="<script>alert(1)</script>")
    nasty = baseline().replace("version: 1.0.0", "version: 2.0.0")
    report = tried(nasty, around, event.model_copy(update={"verdict": "allow"}))
    page = render(document(report), "sha256:0")
    assert "<script" not in page
    # What is let through is nothing to be glad of: it warns.
    assert '<b class="looser">' in page
    assert ".looser { color: var(--warn); }" in page
    assert "&lt;script&gt;" in page


# --- exact replay --------------------------------------------------------------------


def test_every_past_verdict_comes_out_exactly_the_same(
    bundle: Bundle, around: Around
) -> None:
    events = [
        (f"e{n}", given(bundle, from_document(one)))
        for n, one in enumerate(bundle.document.fixtures.values())
    ]
    found = exact(events, around)
    assert (found.verdicts, found.differ) == (len(events), ())


def test_a_verdict_that_was_forged_is_named(around: Around, ask: Ask) -> None:
    event = ask(evidence__psi_max=0.5).model_copy(update={"verdict": "allow"})
    found = exact([("e0", event)], around)
    assert [(one.request, one.event, one.what) for one in found.differ] == [
        ("r1", "e0", ("verdict differs",))
    ]


def test_a_bundle_that_the_log_lacks_cannot_be_replayed(ask: Ask) -> None:
    (one,) = exact([("e0", ask())], Around()).differ
    assert "is not in the log" in one.what[0]

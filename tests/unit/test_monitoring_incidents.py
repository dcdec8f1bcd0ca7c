"""What may happen to an incident: given events, when a command comes, then events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from modelkeep.errors import NotFound
from modelkeep.events.attention import (
    Cause,
    GroupedAlert,
    IncidentAcknowledged,
    IncidentGrew,
    IncidentLeft,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
)
from modelkeep.testing.deciding import NOON, Past, actor, given
from modelkeep_services.monitoring.incidents import (
    INCIDENT,
    RULES,
    AcknowledgeIncident,
    GroupAlert,
    MergeIncident,
    ReleaseAlert,
    ResolveIncident,
    SettleIncident,
    cause_stream,
    stream_of,
)

CAUSE = Cause(
    kind="dataset", node="dataset:" + "a" * 64, name="bookings", rule="named-input"
)
FIRST = f"{stream_of(CAUSE)}-1"
MACHINE = actor("cron", "operator", human=False)
REOPENS = timedelta(hours=RULES.reopen_hours)


def alert(name: str = "one", model: str = "m") -> GroupedAlert:
    return GroupedAlert(
        model=model,
        alert=name,
        kind="feature_drift",
        vector="data_drift",
        severity="high",
    )


def group(name: str = "one", model: str = "m") -> GroupAlert:
    return GroupAlert(cause=CAUSE, alert=alert(name, model))


def opened() -> Past:
    return given(INCIDENT).when(group()).and_then()


def resolved() -> Past:
    resolve = ResolveIncident(incident=FIRST, true_alarm=True, reason="repaired")
    return opened().when(resolve).and_then()


def only(events: Any) -> Any:
    [event] = events
    return event


def test_the_first_alert_of_a_cause_opens_an_incident() -> None:
    event = only(given(INCIDENT).when(group()).events)
    assert isinstance(event, IncidentOpened)
    assert event.incident == FIRST
    assert cause_stream(event.incident) == stream_of(CAUSE)
    assert event.document.version == "incidents-1"


def test_another_model_makes_it_grow() -> None:
    opened().when(group("two", "n")).then(
        IncidentGrew(incident=FIRST, alert=alert("two", "n"))
    )


def test_an_alert_is_grouped_once() -> None:
    past = opened()
    past.when(group()).then_nothing()
    resolved().when(group()).then_nothing()


def test_whoever_comes_first_the_members_are_the_same() -> None:
    names = ["one", "two", "three"]
    found = set()
    for order in (names, names[::-1], ["two", "three", "one"]):
        past = given(INCIDENT)
        for name in order:
            past = past.when(group(name)).and_then()
        state: Any = past.state
        found.add((state.latest, state.incidents[FIRST].alerts))
    assert found == {(FIRST, frozenset({"m/one", "m/two", "m/three"}))}


def test_a_new_alert_soon_after_the_end_reopens_it() -> None:
    outcome = resolved().when(group("two"), at=NOON + REOPENS)
    assert only(outcome.events) == IncidentReopened(incident=FIRST, alert=alert("two"))
    grown = outcome.and_then().when(group("three"))
    assert isinstance(only(grown.events), IncidentGrew)


def test_a_new_alert_long_after_the_end_is_another_incident() -> None:
    later = NOON + REOPENS + timedelta(seconds=1)
    event = only(resolved().when(group("two"), at=later).events)
    assert isinstance(event, IncidentOpened)
    assert event.incident == f"{stream_of(CAUSE)}-2"


def test_people_acknowledge_and_resolve_once() -> None:
    anna = actor("anna")
    past = (
        opened()
        .when(AcknowledgeIncident(incident=FIRST), by=anna)
        .then(IncidentAcknowledged(incident=FIRST, by=anna.person))
    )
    past.when(AcknowledgeIncident(incident=FIRST), by=anna).then_nothing()
    resolve = ResolveIncident(incident=FIRST, true_alarm=False, reason="a test feed")
    outcome = past.when(resolve, by=anna)
    assert only(outcome.events) == IncidentResolved(
        incident=FIRST,
        by=anna.person,
        true_alarm=False,
        reason="a test feed",
        reopens_until=NOON + REOPENS,
    )
    outcome.and_then().when(resolve).then_refused("monitoring.incident-open")


def test_a_program_neither_acknowledges_nor_resolves() -> None:
    resolve = ResolveIncident(incident=FIRST, true_alarm=True, reason="r")
    for command in (AcknowledgeIncident(incident=FIRST), resolve):
        opened().when(command, by=MACHINE).then_refused("monitoring.people-judge")


def test_it_ends_with_the_last_of_its_alerts() -> None:
    past = opened().when(group("two")).and_then()
    one = SettleIncident(incident=FIRST, settled=frozenset({"m/one"}))
    past.when(one, by=MACHINE).then_nothing()
    both = SettleIncident(incident=FIRST, settled=frozenset({"m/one", "m/two"}))
    event = only(past.when(both, by=MACHINE).events)
    assert isinstance(event, IncidentResolved)
    assert event.by is None


def test_an_alert_leaves_for_another_cause_and_the_last_one_ends_it() -> None:
    other = CAUSE.model_copy(update={"name": "elsewhere"})
    leave = ReleaseAlert(incident=FIRST, alert=alert("one"), cause=other)
    past = opened().when(group("two")).and_then()
    past = past.when(leave, by=MACHINE).then(
        IncidentLeft(incident=FIRST, alert=alert("one"), cause=other)
    )
    past.when(leave, by=MACHINE).then_nothing()
    last = leave.model_copy(update={"alert": alert("two")})
    left, over = past.when(last, by=MACHINE).events
    assert isinstance(left, IncidentLeft)
    assert isinstance(over, IncidentResolved)
    back = past.when(group("one"))
    assert isinstance(only(back.events), IncidentGrew)


def test_of_several_inputs_a_consequence_goes_with_the_first_by_id() -> None:
    into_b = MergeIncident(incident=FIRST, into="inc-b-1")
    into_a = MergeIncident(incident=FIRST, into="inc-a-1")
    rule = "consequence-of-input"
    past = opened().when(into_b).and_then()
    past = past.when(into_a).then(
        IncidentMerged(incident=FIRST, into="inc-a-1", rule=rule, replaces="inc-b-1")
    )
    past.when(into_b).then_nothing()
    past = opened().when(into_a).and_then()
    past.when(into_b).then_nothing()
    over = into_b.model_copy(update={"over": "inc-a-1"})
    [again] = past.when(over).events
    assert isinstance(again, IncidentMerged)
    assert (again.into, again.replaces) == ("inc-b-1", "inc-a-1")


def test_an_incident_nobody_opened_is_not_found() -> None:
    acknowledge = AcknowledgeIncident(incident="inc-0-1")
    given(INCIDENT).when(acknowledge).then_raises(NotFound)

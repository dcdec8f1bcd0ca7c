"""What may happen to a monitor: given events, when a command comes, then events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from modelkeep.errors import NotFound
from modelkeep.events.base import Event
from modelkeep.events.monitoring import (
    AlertAcknowledged,
    AlertOverdue,
    AlertRaised,
    AlertRepeated,
    AlertResolved,
    CadenceReached,
    ColumnContract,
    ContractRegistered,
    FeatureFigure,
    MoneyChecked,
    MonitorConfigured,
    SilenceDetected,
    SlotCounted,
    SlotCounts,
    WindowClosed,
    WindowFigures,
    WindowRestated,
)
from modelkeep.events.types import Money
from modelkeep.testing.deciding import NOON, Outcome, Past, actor, given
from modelkeep_services.monitoring.commands import (
    AcknowledgeAlert,
    CheckMoney,
    CloseWindow,
    Closing,
    ConfigureMonitor,
    CountSlot,
    FollowIncident,
    MarkOverdue,
    RaiseAlert,
    ReachCadence,
    RecordDisposition,
    RegisterBaseline,
    RegisterContract,
    ResolveAlert,
    Terms,
)
from modelkeep_services.monitoring.domain import MONITOR
from modelkeep_services.monitoring.naming import window_id
from modelkeep_services.monitoring.rules import Slo

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
START = datetime(2026, 1, 4, tzinfo=UTC)
MACHINE = actor("cron", "operator", human=False)
DECISION = "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a"


def figures(psi: float = 0.01, **changes: Any) -> WindowFigures:
    x = FeatureFigure(feature="x", psi=psi, lo=0.1, hi=0.25, n=500, importance=1.0)
    return WindowFigures(rows=500, features=(x,), **changes)


def closing(found: WindowFigures, **changes: Any) -> CloseWindow:
    about = Closing(figures=found, method="windows/1", owner="olga", **changes)
    return CloseWindow(
        model="m", version="v", start=START, end=START + DAY, found=about
    )


def closed(found: WindowFigures, **changes: Any) -> Past:
    return given(MONITOR).when(closing(found, **changes)).and_then()


def only(outcome: Outcome, kind: type[Event]) -> list[Any]:
    return [event for event in outcome.events if isinstance(event, kind)]


def drifted() -> tuple[Past, AlertRaised]:
    outcome = given(MONITOR).when(closing(figures(psi=0.5)))
    [alert] = only(outcome, AlertRaised)
    return outcome.and_then(), alert


def test_a_quiet_window_closes_without_an_alert() -> None:
    outcome = given(MONITOR).when(closing(figures()))
    assert [type(event) for event in outcome.events] == [WindowClosed]


def test_a_window_that_is_not_over_does_not_close() -> None:
    given(MONITOR).when(closing(figures()), at=START).then_refused(
        "monitoring.window-over"
    )


def counting(found: SlotCounts | None) -> CountSlot:
    return CountSlot(
        model="m", version="v", start=START, end=START + 6 * HOUR, found=found
    )


def test_a_slot_is_counted_and_judged_by_nobody() -> None:
    worst = SlotCounts(rows=300, outcomes=300, bad={"errors": 300})
    outcome = given(MONITOR).when(counting(worst))
    assert [type(event) for event in outcome.events] == [SlotCounted]


def test_a_slot_is_counted_again_only_when_outcomes_have_changed_it() -> None:
    early = SlotCounts(rows=300, outcomes=10, pending=290)
    past = given(MONITOR).when(counting(early)).and_then()
    assert not past.when(counting(early)).events
    late = early.model_copy(update={"outcomes": 300, "pending": 0})
    [event] = past.when(counting(late)).events
    assert isinstance(event, SlotCounted)
    assert event.counts.outcomes == 300


def test_a_slot_that_is_not_over_is_not_counted() -> None:
    given(MONITOR).when(counting(SlotCounts(rows=1)), at=START).then_refused(
        "monitoring.window-over"
    )


def test_drift_beyond_what_the_sample_allows_is_an_alert() -> None:
    _, alert = drifted()
    assert (alert.kind, alert.feature, alert.owner) == ("feature_drift", "x", "olga")
    assert (alert.vector, alert.severity) == ("data_drift", "high")
    assert alert.due_at == NOON + timedelta(hours=168)


def test_money_comes_from_the_slo_and_is_an_assumption() -> None:
    slo = Slo(
        slo="steady",
        metric="feature_psi",
        warning=0.2,
        hard=0.3,
        direction="rises",
        money_per_hour=Money(minor=5_000, currency="EUR"),
        play="retrain",
    )
    outcome = given(MONITOR).when(closing(figures(psi=0.5), slos=(slo,)))
    [alert] = only(outcome, AlertRaised)
    assert alert.money_per_hour == Money(minor=5_000, currency="EUR")
    assert (alert.money_basis, alert.play, alert.slo) == (
        "assumption",
        "retrain",
        "steady",
    )


def test_an_alert_says_what_kpis_made_of_its_money() -> None:
    slo = Slo(
        slo="steady",
        metric="feature_psi",
        warning=0.2,
        hard=0.3,
        direction="rises",
        money_per_hour=Money(minor=5_000, currency="EUR"),
        money_basis="contradicted",
        money_check=DECISION,
    )
    outcome = given(MONITOR).when(closing(figures(psi=0.5), slos=(slo,)))
    [alert] = only(outcome, AlertRaised)
    assert (alert.money_basis, alert.money_check) == ("contradicted", DECISION)
    free = slo.model_copy(update={"money_per_hour": None})
    outcome = given(MONITOR).when(closing(figures(psi=0.5), slos=(free,)))
    [alert] = only(outcome, AlertRaised)
    assert (alert.money_basis, alert.money_check) == (None, None)


def test_a_check_of_money_is_recorded_when_it_says_something_new() -> None:
    check = CheckMoney(
        model="m",
        slo="steady",
        kpi="revenue",
        verdict="not_yet",
        because="too few",
        declared=Money(minor=5_000, currency="EUR"),
        tolerance=0.5,
        periods_in_band=1,
        periods_out_of_band=0,
        left_out=0,
        hours_beyond=0,
        slo_defined=DECISION,
        method="hourly-cost/1",
    )
    past = given(MONITOR).when(check, by=MACHINE).and_then()
    past.when(check, by=MACHINE).then_nothing()
    more = check.model_copy(update={"periods_in_band": 2})
    [said] = past.when(more, by=MACHINE).events
    assert isinstance(said, MoneyChecked)
    assert said.periods_in_band == 2


def test_an_open_alert_is_repeated_not_raised_again() -> None:
    past, alert = drifted()
    later = closing(figures(psi=0.6)).model_copy(
        update={"start": START - DAY, "end": START}
    )
    outcome = past.when(later)
    assert not only(outcome, AlertRaised)
    [repeat] = only(outcome, AlertRepeated)
    assert (repeat.alert, repeat.value) == (alert.alert, 0.6)


def test_a_resolved_alert_may_be_raised_by_another_window() -> None:
    past, alert = drifted()
    resolve = ResolveAlert(
        model="m", alert=alert.alert, true_alarm=True, reason="a new airport"
    )
    past = past.when(resolve).and_then()
    later = closing(figures(psi=0.6)).model_copy(
        update={"start": START - DAY, "end": START}
    )
    [second] = only(past.when(later), AlertRaised)
    assert second.alert != alert.alert


def test_closing_again_does_nothing_unless_the_figures_changed() -> None:
    past = closed(figures(pending=10))
    past.when(closing(figures(pending=10))).then_nothing()
    outcome = past.when(closing(figures(pending=0, outcomes=10)))
    [restated] = only(outcome, WindowRestated)
    assert (restated.restatement, restated.figures.outcomes) == (1, 10)
    assert not only(outcome, WindowClosed)


def test_a_restated_window_says_when_it_would_have_matured() -> None:
    due = START + 9 * DAY
    past = closed(figures(matures_at=due, pending=3))
    [restated] = only(past.when(closing(figures(mature=True))), WindowRestated)
    assert restated.replaces_matures_at == due


def test_a_window_that_raised_an_alert_does_not_raise_it_again_when_restated() -> None:
    past, _ = drifted()
    outcome = past.when(closing(figures(psi=0.5, outcomes=3)))
    assert [type(event) for event in outcome.events] == [WindowRestated]


def test_restating_a_window_does_not_repeat_what_its_rows_broke() -> None:
    past, _ = drifted()
    later = closing(figures(psi=0.6)).model_copy(
        update={"start": START - DAY, "end": START}
    )
    past = past.when(later).and_then()
    outcome = past.when(closing(figures(psi=0.5, outcomes=3)))
    assert [type(event) for event in outcome.events] == [WindowRestated]


def test_alerts_are_acknowledged_once_and_resolved_once() -> None:
    past, alert = drifted()
    acknowledge = AcknowledgeAlert(model="m", alert=alert.alert)
    somebody = actor()
    past = past.when(acknowledge).then(
        AlertAcknowledged(model="m", alert=alert.alert, by=somebody.person)
    )
    past.when(acknowledge).then_nothing()
    resolve = ResolveAlert(
        model="m", alert=alert.alert, true_alarm=False, reason="a holiday"
    )
    past = past.when(resolve).then(
        AlertResolved(
            model="m",
            alert=alert.alert,
            by=somebody.person,
            true_alarm=False,
            reason="a holiday",
            due_at=alert.due_at,
        )
    )
    past.when(resolve).then_refused("monitoring.alert-open")
    past.when(acknowledge).then_refused("monitoring.alert-open")


def test_machines_do_not_judge_alerts() -> None:
    past, alert = drifted()
    resolve = ResolveAlert(
        model="m", alert=alert.alert, true_alarm=False, reason="a holiday"
    )
    past.when(resolve, by=MACHINE).then_refused("monitoring.people-judge")
    disposition = RecordDisposition(
        model="m", decision=DECISION, disposition="accepted", reason="fine"
    )
    past.when(disposition, by=MACHINE).then_refused("monitoring.people-judge")


def test_an_alert_nobody_raised_is_unknown() -> None:
    unknown = AcknowledgeAlert(model="m", alert="alert-1")
    given(MONITOR).when(unknown).then_raises(NotFound)


def test_an_alert_is_overdue_once_and_not_when_resolved() -> None:
    past, alert = drifted()
    overdue = MarkOverdue(model="m", alert=alert.alert)
    outcome = past.when(overdue)
    [event] = only(outcome, AlertOverdue)
    assert (event.severity, event.owner) == ("high", "olga")
    outcome.and_then().when(overdue).then_nothing()
    resolve = ResolveAlert(
        model="m", alert=alert.alert, true_alarm=True, reason="repaired"
    )
    past.when(resolve).and_then().when(overdue).then_nothing()


def configured(**changes: Any) -> Past:
    command = ConfigureMonitor(
        model="m", cadence_hours=24, anchor=START, grace_hours=2, **changes
    )
    return given(MONITOR).when(command).and_then()


def reaching(past: Past, *, rows: int, expected: bool = True) -> Outcome:
    end = START + 2 * DAY
    return past.when(
        ReachCadence(
            model="m",
            start=end - DAY,
            end=end,
            due_at=end + timedelta(hours=2),
            rows=rows,
            expected=expected,
        ),
        by=MACHINE,
    )


def test_a_cadence_is_due_at_its_next_end_and_grace() -> None:
    command = ConfigureMonitor(model="m", cadence_hours=24, anchor=START, grace_hours=2)
    [event] = only(given(MONITOR).when(command), MonitorConfigured)
    # It is noon of the second day.
    assert event.next_due_at == START + 2 * DAY + timedelta(hours=2)


def test_configuring_the_same_again_changes_nothing() -> None:
    command = ConfigureMonitor(model="m", cadence_hours=24, anchor=START, grace_hours=2)
    configured().when(command).then_nothing()


def test_a_cadence_without_rows_is_silence_and_an_alert() -> None:
    outcome = reaching(configured(), rows=0)
    kinds = [type(event) for event in outcome.events]
    assert kinds == [CadenceReached, SilenceDetected, AlertRaised]


def test_a_model_nobody_expects_to_speak_may_be_silent() -> None:
    outcome = reaching(configured(), rows=0, expected=False)
    assert [type(event) for event in outcome.events] == [CadenceReached]


def test_a_cadence_that_was_replaced_is_not_reached() -> None:
    past = configured().when(ConfigureMonitor(model="m", cadence_hours=1)).and_then()
    reaching(past, rows=0).then_nothing()


def test_a_baseline_keeps_its_data() -> None:
    command = RegisterBaseline(
        model="m",
        version="v",
        baseline="spring",
        profile="{}",
        layout="l",
        rows=10,
        features=("x",),
    )
    past = given(MONITOR).when(command).and_then()
    past.when(command).then_nothing()
    other = command.model_copy(update={"profile": '{"rows":1}'})
    past.when(other).then_refused("monitoring.baseline-once")


def test_a_contract_that_binds_already_is_not_registered_again() -> None:
    command = RegisterContract(
        model="m",
        contract="c",
        columns=(ColumnContract(column="x", minimum=0.0),),
        on_breach="mark",
    )
    given(MONITOR).when(command).and_then().when(command).then_nothing()


def test_a_document_binds_by_what_was_read_of_it() -> None:
    command = RegisterContract(
        model="m", contract="c", document="kind: DataContract", on_breach="mark"
    )
    given(MONITOR).when(command).then_refused("monitoring.contract-promises")
    read = Terms(
        columns=(ColumnContract(column="x", minimum=0.0),),
        schema_object="loans",
        document_digest="sha256:" + "a" * 64,
        least_rows=3,
    )
    full = command.model_copy(update={"read": read})
    event = ContractRegistered(
        model="m",
        contract="c",
        columns=read.columns,
        on_breach="mark",
        document="kind: DataContract",
        document_digest=read.document_digest,
        schema_object="loans",
        least_rows=3,
    )
    given(MONITOR).when(full).then(event)


def test_what_contradicts_itself_is_invalid() -> None:
    with pytest.raises(ValidationError, match="start must lie before end"):
        CloseWindow(model="m", version="v", start=START, end=START)
    with pytest.raises(ValidationError, match="the clock closes windows"):
        ConfigureMonitor(model="m", closed_by="clock")
    column = ColumnContract(column="x", minimum=2.0, maximum=1.0)
    with pytest.raises(ValidationError, match="minimum exceeds"):
        RegisterContract(model="m", contract="c", columns=(column,), on_breach="mark")


def test_every_window_has_a_name_that_fits() -> None:
    long = window_id("v" * 100, "e" * 100, START, START + timedelta(microseconds=1))
    assert len(long) <= 100
    assert window_id("v", "prod", START, START + DAY) == (
        "v.prod.20260104t000000z.20260105t000000z"
    )


# --- what reactions order ----------------------------------------------------------


def stamping(occasion: str = "2026-01") -> RaiseAlert:
    return RaiseAlert(
        model="m",
        kind="rubber_stamping",
        vector="governance_lapse",
        severity="medium",
        metric="override_rate",
        value=0.0,
        threshold=0.01,
        n=500,
        owner="olga",
        cause="people overrode 0 of 500 decisions",
        occasion=occasion,
    )


def follow(alert: str, **said: Any) -> FollowIncident:
    return FollowIncident(model="m", alert=alert, by=actor("anna").person, **said)


def test_an_alert_of_no_window_is_raised_once_an_occasion() -> None:
    outcome = given(MONITOR).when(stamping(), by=MACHINE)
    [alert] = only(outcome, AlertRaised)
    assert (alert.window, alert.owner) == (None, "olga")
    assert alert.due_at == NOON + timedelta(hours=336)
    past = outcome.and_then()
    past.when(stamping("2026-02"), by=MACHINE).then_nothing()
    resolve = ResolveAlert(
        model="m", alert=alert.alert, true_alarm=False, reason="an easy month"
    )
    past = past.when(resolve).and_then()
    past.when(stamping(), by=MACHINE).then_nothing()
    assert only(past.when(stamping("2026-02"), by=MACHINE), AlertRaised)


def test_what_a_person_said_of_an_incident_is_said_of_its_alert() -> None:
    past, alert = drifted()
    [event] = past.when(follow(alert.alert), by=MACHINE).events
    assert event == AlertAcknowledged(
        model="m", alert=alert.alert, by=actor("anna").person
    )
    end = follow(alert.alert, true_alarm=True, reason="repaired")
    [resolved] = past.when(end, by=MACHINE).events
    assert isinstance(resolved, AlertResolved)
    assert (resolved.by.subject, resolved.due_at) == ("anna", alert.due_at)
    over = past.when(end, by=MACHINE).and_then()
    over.when(end, by=MACHINE).then_nothing()
    over.when(follow(alert.alert), by=MACHINE).then_nothing()

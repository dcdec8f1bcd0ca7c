"""A model's report stands alone: no request, no script, figures that lead to events."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from modelkeep.api.common.v1.common_pb2 import SEVERITY_HIGH, Money, Person
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.api.inventory.v1 import inventory_pb2
from modelkeep.api.monitoring.v1 import monitoring_pb2 as mon
from modelkeep_services.insight.report.page import (
    Disposed,
    Facts,
    Serving,
    Standing,
    render,
)
from modelkeep_services.insight.report.plots import Axis, Dot, Line, Span, chart
from modelkeep_services.insight.report.sections import page_of

CHROMIUM: Final = Path("/usr/bin/chromium")
HOSTILE: Final = "<script>alert(1)</script> & 'quoted' \"twice\""
START: Final = datetime(2026, 3, 2, tzinfo=UTC)
WEEK: Final = timedelta(days=7)


def stamp(at: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(at)
    return found


def event(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


def window(number: int, *, version: str = "v1", mature: bool = True) -> mon.Window:
    start = START + number * WEEK
    return mon.Window(
        model="credit",
        version=version,
        environment="prod",
        window=f"w{number}",
        start=stamp(start),
        end=stamp(start + WEEK),
        closed_at=stamp(start + WEEK),
        source=event(number),
        figures=mon.WindowFigures(
            rows=1_000,
            outcomes=900,
            pending=100,
            mature=mature,
            baseline="train",
            features=[
                mon.FeatureFigure(
                    feature=HOSTILE,
                    psi=0.02 + 0.3 * (number == 2),
                    lo=0.1,
                    hi=0.25,
                    n=1_000,
                    importance=1.0,
                    missing_rate=0.01 * number,
                    missing_lower=0.005 * number,
                    missing_upper=0.02 * number,
                    baseline_missing_rate=0.01,
                )
            ],
            latency_ms=mon.LatencyFigure(p50=2.0, p95=5.0, p99=9.0, n=1_000),
            explanation_coverage=0.98,
            performance=[
                mon.PerformanceFigure(
                    metric="auc",
                    value=0.8 - 0.01 * number,
                    lower=0.75,
                    upper=0.85,
                    n=900,
                    baseline=0.81,
                    baseline_lower=0.80,
                    baseline_upper=0.82,
                )
            ],
            breaches={"age.minimum": number} if number else {},
        ),
    )


def health(index: float) -> pb.Health:
    return pb.Health(
        model="credit",
        index=index,
        colour=pb.COLOUR_RED if index < 60 else pb.COLOUR_GREEN,
        worst="outcome_variance",
        cause=HOSTILE,
        evidence=[event(1)],
        components=[
            pb.Component(
                name="outcome_variance",
                weight=0.35,
                score=index,
                colour=pb.COLOUR_GREEN,
                evidence=[event(2)],
            )
        ],
        document=pb.Document(version="health-v1", digest="sha256:" + "a" * 64),
    )


def alert(*, resolved: bool) -> mon.Alert:
    found = mon.Alert(
        model="credit",
        alert=f"alert-{resolved}",
        kind=mon.ALERT_KIND_FEATURE_DRIFT,
        severity=SEVERITY_HIGH,
        feature="age",
        cause=HOSTILE,
        owner="olga",
        slo="steady",
        money_per_hour=Money(minor=120_000, currency="EUR"),
        money_basis=mon.MONEY_BASIS_ASSUMPTION,
        raised_at=stamp(START + WEEK),
        due_at=stamp(START + 2 * WEEK),
        status=mon.ALERT_STATUS_OPEN,
        source=event(40 + resolved),
    )
    if resolved:
        found.status = mon.ALERT_STATUS_RESOLVED
        found.resolved_at.CopyFrom(stamp(START + 2 * WEEK))
        found.resolved_by.CopyFrom(Person(subject="dana"))
        found.true_alarm, found.reason = True, "a new form"
    return found


def a_world() -> Facts:
    end = START + 4 * WEEK
    windows = [
        window(0),
        window(1),
        window(2, version="v2"),
        window(3, version="v2", mature=False),
    ]
    budget = pb.Budget(
        model="credit",
        budget="errors",
        metric="errors",
        p0=0.1,
        p1=0.2,
        spent=1.2,
        spent_low=0.9,
        elapsed=0.5,
        period_start=stamp(START),
        period_end=stamp(end),
        defined_by=event(50),
    )
    crossing = pb.Crossing(
        event_id=event(60),
        model="credit",
        what="health-band-changed",
        text="health green → red (50.0): age drifted",
        at=stamp(START + 2 * WEEK),
    )
    deployed = inventory_pb2.Deployment(
        model="credit", environment="prod", version="v2", share=1.0
    )
    rate = mon.GetOverrideRateResponse(
        accepted=80, overridden=15, escalated=5, rate=0.15, lower=0.09, upper=0.23
    )
    cells = [10] * 64
    return Facts(
        model=inventory_pb2.Model(model="credit", title=HOSTILE, owner="olga", tier=1),
        at=end,
        position="in a log of 99 events",
        start=START,
        end=end,
        environment="prod",
        standings=[
            Standing(START + n * WEEK, health(90.0 - 20 * n), [budget])
            for n in range(1, 5)
        ],
        crossings=[crossing],
        windows=windows,
        alerts=[alert(resolved=True), alert(resolved=False)],
        incidents=[
            mon.Incident(
                incident="i",
                cause=mon.Cause(kind=mon.CAUSE_KIND_DATASET, name="loans"),
                status=mon.ALERT_STATUS_OPEN,
                severity=SEVERITY_HIGH,
                alerts=2,
                open_alerts=1,
                opened_at=stamp(START + WEEK),
                started_at=stamp(START),
                source=event(70),
            )
        ],
        versions=[
            inventory_pb2.Version(
                model="credit", version="v2", registered_at=stamp(START)
            )
        ],
        serving=[Serving(START, event(80), [deployed])],
        disposed=[Disposed(START, end, rate)],
        compared=mon.CompareResponse(
            before=mon.Compared(baseline="train", rows=640, sources=[event(90)]),
            after=mon.Compared(version="v2", rows=640, windows=["w2", "w3"]),
            scores=mon.ScoreComparison(
                low=0.0, high=1.0, before=cells, after=cells, psi=0.0, lo=0.1, hi=0.25
            ),
            features=[
                mon.FeatureComparison(feature="age", not_comparable="other bins")
            ],
        ),
    )


class Reading(HTMLParser):
    """The tags, the anchors, the links and the drawings of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.unnamed = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        said = dict(attrs)
        if said.get("id"):
            self.anchors.add(str(said["id"]))
        if tag == "a":
            self.links.add(str(said["href"]))
        if tag == "svg" and not said.get("aria-label"):
            self.unnamed += 1


def written(facts: Facts) -> str:
    page = page_of(facts)
    events = [pb.EventSummary(id=one, name="a.b") for one in page.cited.numbers]
    return render(page, events, checkpoint="a note")


def newest(number: int, *, mature: bool = True) -> mon.Window:
    """A window that says all that windows can say, in hostile words where there are
    any.
    """
    found = window(number, mature=mature)
    [feature] = found.figures.features
    said = mon.FeatureFigure(
        js=0.1,
        js_by_chance=0.02,
        chi_square_p=0.0,
        chi_square_effect=0.05,
        ks=0.11,
        ks_most=0.13,
        ks_p=0.01,
        wasserstein=0.31,
        unseen=40,
        unseen_share=0.04,
        unseen_lower=0.03,
        baseline_unseen_upper=0.001,
        unseen_risen=True,
        unseen_examples=[HOSTILE],
        low=18,
        high=99,
        beyond=7,
        beyond_share=0.007,
        beyond_lower=0.003,
        beyond_by_chance=0.0001,
        beyond_left=True,
    )
    feature.MergeFrom(said)
    figures = found.figures
    figures.label_drift.CopyFrom(
        mon.LabelDriftFigure(
            difference=0.07,
            lower=0.05,
            upper=0.09,
            share=0.27,
            baseline_share=0.2,
            n=900,
            baseline_n=9_000,
        )
    )
    figures.concept_drift.CopyFrom(
        mon.ConceptDriftFigure(
            mix=0.02,
            rate=0.05,
            lower=0.03,
            upper=0.07,
            p=0.0,
            n=900,
            baseline_n=9_000,
            covered=0.99,
        )
    )
    figures.misfit.CopyFrom(
        mon.MisfitFigure(
            error=1.4,
            baseline_error=0.9,
            lower=0.3,
            upper=0.7,
            by_column={HOSTILE: 0.4},
            n=1_000,
            baseline_n=9_000,
        )
    )
    if not mature:
        figures.estimated.CopyFrom(
            mon.EstimatedPerformance(
                figures=[
                    mon.PerformanceFigure(
                        metric="auc", value=0.777, lower=0.76, upper=0.79, n=1_000
                    )
                ],
                n=1_000,
                caveat="blind to concept drift",
            )
        )
    figures.fairness.append(people())
    return found


def people() -> mon.FairnessFigure:
    ratio = mon.GroupGap(
        value=0.52,
        lower=0.4,
        upper=0.66,
        n=400,
        reference_n=500,
        judgement=mon.JUDGED_BREACHED,
    )
    withheld = mon.GroupGap(n=3, reference_n=500, judgement=mon.JUDGED_UNSURE)
    return mon.FairnessFigure(
        column="sex",
        reference="m",
        favourable=mon.FAVOURABLE_YES,
        groups=[
            mon.GroupFigure(group="m", n=500, favoured=250),
            mon.GroupFigure(group=HOSTILE, n=400, favoured=104, impact=ratio),
            mon.GroupFigure(group="few", n=3, favoured=0, impact=withheld),
        ],
    )


def newest_world() -> Facts:
    facts = a_world()
    review = mon.FindingsReview(
        model="credit",
        version="v1",
        environment="prod",
        start=stamp(START - WEEK),
        end=stamp(START + WEEK),
        rate=0.05,
        windows=4,
        tested=5,
        source=event(95),
    )
    review.discoveries.add(
        monitor=mon.WATCH_KIND_FEATURES,
        group=HOSTILE,
        n=4_000,
        log_e=33.0,
        number=2,
        level=0.001,
    )
    elsewhere = mon.FindingsReview()
    elsewhere.CopyFrom(review)
    elsewhere.environment, elsewhere.source = "staging", event(96)
    quarter = mon.FalseAlarmQuarter(
        model="credit", quarter="2026Q1", declared=1.0, expected=0.125, raised=2
    )
    compared = mon.CompareResponse()
    assert facts.compared is not None
    compared.CopyFrom(facts.compared)
    last = newest(3)
    compared.label_drift.CopyFrom(last.figures.label_drift)
    compared.concept_drift.CopyFrom(last.figures.concept_drift)
    compared.after.fairness.append(people())
    compared.after.estimated.CopyFrom(newest(3, mature=False).figures.estimated)
    metric = compared.performance.add(metric="auc", difference=-0.04)
    metric.before.value, metric.after.value = 0.81, 0.77
    compared.features[0].ClearField("not_comparable")
    compared.features[0].fine.CopyFrom(
        mon.FineComparison(
            wasserstein=0.4321,
            windows=2,
            low=18,
            high=99,
            beyond=7,
            beyond_share=mon.ShareFigure(value=0.0035),
        )
    )
    return replace(
        facts,
        windows=[*(newest(n) for n in range(3)), newest(3, mature=False)],
        compared=compared,
        false_alarms=mon.GetFalseAlarmsResponse(
            quarters=[quarter], reviews=[review, elsewhere]
        ),
    )


def test_everything_that_windows_say_is_on_the_page() -> None:
    html = written(newest_world())
    for said in (
        # groups, one too small to tell of
        "0.52 (0.40 to 0.66)",
        "■ breached",
        "26.0% of 400",
        "○ not enough to say",
        # labels and concept
        "+5.00% (+3.00% to +7.00%)",
        "27.00% of 900",
        "below 0.000001",
        # what scores promise
        "0.777 (0.760 to 0.790)",
        "blind to concept drift",
        "-0.040",
        # distances, strange values, columns together
        "0.110 and 0.130",
        "0.310",
        "4.00% (from 3.00%)",
        "18 to 99",
        "0.4321",
        "0.35% of 18 to 99",
        "+0.3000 to +0.7000",
        # the budget and what a review found
        "2026Q1",
        "0.125",
        "33.0",
        "6.9",
    ):
        assert said in html, said
    assert event(95) in html
    assert event(96) not in html, "another environment is not this report's"


def test_words_of_others_are_never_obeyed() -> None:
    html = written(newest_world())
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") > 10
    seen = Reading(html)
    assert not {"script", "img", "iframe", "link", "object"} & set(seen.tags)
    assert seen.unnamed == 0
    assert {link[1:] for link in seen.links} <= seen.anchors


def test_what_nobody_declared_is_a_line_and_no_empty_plot() -> None:
    html = written(a_world())
    for said in (
        "No groups are declared.",
        "no limit on it (misfit_rise)",
        "No window has mature outcomes",
        "No row had a value that the baseline does not know",
        "No budget of false alarms is declared",
    ):
        assert said in html


def test_errors_of_numbers_are_drawn_and_what_is_not_estimated_is_said() -> None:
    facts = a_world()
    for one in facts.windows:
        one.figures.outcome_kind = mon.OUTCOME_KIND_NUMBER
        del one.figures.performance[:]
        one.figures.performance.add(
            metric="rmse", value=8_123.456, lower=8_000.0, upper=8_250.0, n=900
        )
        one.figures.performance.add(
            metric="mean_error", value=-12.5, lower=-20.0, upper=-5.0, n=900
        )
    facts.windows[-1].figures.unestimated = "these outcomes are numbers"
    html = written(facts)
    assert "RMSE" in html
    assert "8123.456 (8000.000 to 8250.000)" in html
    assert "-12.500 (-20.000 to -5.000)" in html
    assert "Nothing is estimated before: these outcomes are numbers." in html


def test_the_page_asks_nothing_of_anybody() -> None:
    html = written(a_world())
    seen = Reading(html)
    assert not {"script", "img", "iframe", "link", "object"} & set(seen.tags)
    assert "<script>alert" not in html
    assert not re.search(r"(?:src|href)=\"(?!#)", html)
    assert "url(" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_every_small_number_leads_to_an_event() -> None:
    html = written(a_world())
    seen = Reading(html)
    assert {link[1:] for link in seen.links} <= seen.anchors
    for known in (1, 2, 40, 41, 50, 60, 70, 80, 90):
        assert event(known) in html


def test_every_plot_says_in_words_what_it_shows() -> None:
    seen = Reading(written(a_world()))
    assert seen.tags.count("svg") >= 10
    assert seen.unnamed == 0
    assert seen.tags.count("figcaption") == seen.tags.count("figure")


def test_an_immature_window_is_drawn_hollow_and_told_apart() -> None:
    facts = a_world()
    hollow = written(facts)
    ripe = written(replace(facts, windows=[window(n) for n in range(4)]))
    assert hollow.count('class="hole"') == ripe.count('class="hole"') + 1
    assert "(immature)" in hollow
    assert "(immature)" not in ripe
    assert "not yet" in hollow


def test_alerts_name_owner_money_and_how_they_ended() -> None:
    html = written(a_world())
    assert "1,200 EUR (assumption)" in html
    assert "by dana, a true alarm: a new form" in html
    assert "nobody has acknowledged it" in html
    assert "1,200 EUR an hour" in html


def test_what_was_not_there_is_said_and_not_drawn() -> None:
    facts = a_world()
    bare = Facts(
        model=facts.model,
        at=facts.at,
        position=facts.position,
        start=facts.start,
        end=facts.end,
        environment="prod",
        standings=[],
        unmatched="no window was closed",
    )
    html = written(bare)
    assert "Not compared: no window was closed." in html
    assert "No alert was raised." in html
    assert "svg" not in Reading(html).tags


def test_an_axis_ends_on_round_numbers_and_spells_them() -> None:
    axis = Axis.around([0.03, 0.47], "%", low=0.0)
    assert [text for _, text in axis.ticks()] == ["0 %", "20 %", "40 %", "60 %"]
    assert axis.at(0.0) == 1000.0
    assert Axis.around([]).at(0.5) == 500.0
    assert Axis.around([5.0, 5.0]).high > 5.0


def test_an_axis_of_differences_has_nothing_in_the_middle() -> None:
    axis = Axis.even([-0.03, 0.14], "%")
    assert (axis.low, axis.high, axis.at(0.0)) == (-0.2, 0.2, 500.0)
    assert [text for _, text in axis.ticks(3)] == ["-20 %", "0 %", "20 %"]
    assert Axis.even([]).high == 1.0


def test_time_is_cut_at_round_moments() -> None:
    quarter = Span(START, START + timedelta(days=91))
    assert [text for _, text in quarter.ticks()][:2] == ["2 Mar", "16 Mar"]
    day = Span(START, START + timedelta(days=1))
    assert [text for _, text in day.ticks()] == [
        "2 Mar",
        "06:00",
        "12:00",
        "18:00",
        "3 Mar",
    ]
    years = Span(START, START + timedelta(days=1_400))
    assert 2 <= len(years.ticks()) <= 9


def test_a_gap_breaks_a_line() -> None:
    dots = [Dot(START, 1.0), None, Dot(START + WEEK, 2.0)]
    drawn = chart(Span(START, START + WEEK), Axis(0, 2), [Line(dots)], "two dots")
    assert 'class="line c1" d="M0 500M1000 0"' in drawn


@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
@pytest.mark.parametrize("width", [400, 1280])
def test_a_browser_draws_it_without_a_request_at_any_width(
    tmp_path: Path, width: int
) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    path = tmp_path / "report.html"
    path.write_text(written(newest_world()))
    asked: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("request", lambda one: asked.append(one.url))
        page.on("console", lambda one: asked.append(one.text))
        page.goto(path.as_uri())
        # nothing sticks out, and every drawing has room
        assert page.evaluate("document.documentElement.scrollWidth") == width
        sizes = page.evaluate(
            "[...document.querySelectorAll('svg')].map(s => s.clientWidth)"
        )
        browser.close()
    assert asked == [path.as_uri()]
    assert min(sizes) > 150

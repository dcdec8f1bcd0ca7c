"""The board's page stands alone: no request, no script, no citation into nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

from modelkeep.api.common.v1.common_pb2 import SEVERITY_HIGH, Money
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep_services.insight.board import NEWEST, render

IDS = [f"00000000-0000-0000-0000-{number:012d}" for number in range(12)]
HOSTILE = "<script>alert(1)</script> & 'quoted' \"twice\""


def page() -> pb.GetBoardResponse:
    said = pb.GetBoardResponse(
        headline=[pb.Figure(label="models serving", shown="3 of 4", evidence=IDS)],
        business_lines=[
            pb.BusinessLine(
                business_line="lending",
                models=2,
                worth=Money(minor=100_000, currency="EUR"),
                spent=Money(minor=130_000, currency="EUR"),
                share=1.3,
                appetite=HOSTILE,
                appetite_share=0.2,
                within=False,
                red=1,
                evidence=IDS[:1],
            )
        ],
        debt=[pb.Debt(kind="technical", open=2, minutes=90, carrying_micro=2_500_000)],
        changes=[
            pb.Change(model="credit", direction="worse", text=HOSTILE, evidence=IDS[:2])
        ],
        top_risks=[
            pb.Remediation(
                rank=1, model="credit", title="x", severity=SEVERITY_HIGH, score=2.5
            )
        ],
        declared=[
            pb.DeclaredMoney(
                model="credit",
                slo="steady",
                declared=Money(minor=500_000, currency="EUR"),
                basis="contradicted",
                observed=Money(minor=20_000, currency="EUR"),
                lower=Money(minor=15_000, currency="EUR"),
                upper=Money(minor=25_000, currency="EUR"),
                because=HOSTILE,
                evidence=IDS[:2],
            ),
            pb.DeclaredMoney(
                model="credit",
                slo="untried",
                declared=Money(minor=700_000, currency="EUR"),
                basis="assumption",
            ),
        ],
        kpis=[pb.Kpi(kpi="k", title="Detection", value=60.0, unit="hours")],
        scorecard=[pb.ScorecardLine(model="credit", title="Credit", health=61.25)],
        events=[pb.EventSummary(id=one, name="a.b", says=HOSTILE) for one in IDS],
        documents=[pb.Document(version="health-v1", digest="sha256:" + "a" * 64)],
        events_left_out=3,
    )
    for at in (said.at, said.since, *(change.at for change in said.changes)):
        at.FromDatetime(datetime(2026, 3, 1, 9, 30, tzinfo=UTC))
    return said


class Reading(HTMLParser):
    """The tags, the anchors and the links of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in {"meta", "br", "link", "img"}:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in {"href", "src"} and value:
                self.links.add(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"


def test_declared_money_stands_beside_what_kpis_say() -> None:
    html = render(page())
    (section,) = re.findall(r'<h2 id="money">.*?</table>', html, re.DOTALL)
    assert "<td>contradicted</td>" in section
    assert "5,000 EUR" in section
    assert "200 EUR" in section
    assert "(150 EUR to 250 EUR)" in section
    assert "no KPI is compared with it" in section


def test_the_page_asks_nobody_for_anything() -> None:
    html = render(page())
    read = Reading(html)
    assert not read.tags & {"script", "link", "img", "iframe", "object", "form"}
    assert all(link.startswith("#") for link in read.links)
    assert not re.search(r"https?:|url\(|@import", html)
    assert "default-src 'none'" in html


def test_every_link_leads_to_something_on_the_page_and_every_tag_is_closed() -> None:
    read = Reading(render(page()))
    assert {link[1:] for link in read.links} <= read.anchors
    assert {f"e{number}" for number in range(1, 13)} <= read.anchors
    assert not read.open


def test_a_number_opens_its_events_and_says_how_many_more_there_are() -> None:
    html = render(page())
    opened = re.search(r"<details><summary>3 of 4</summary>(.*?)</details>", html)
    assert opened is not None
    assert opened[1].count("<li>") == 8
    assert "and 4 more" in opened[1]
    assert "and 3 more, in the log" in html


def test_older_changes_unfold_below_the_newest() -> None:
    said = page()
    change = said.changes[0]
    change.text = "one more alert"
    for _ in range(NEWEST + 2):
        said.changes.append(change)
    at_once, _, folded = render(said).partition("and 3 before these")
    assert at_once.count("one more alert") == NEWEST
    assert folded.count("one more alert") == 3


def test_what_events_say_cannot_become_part_of_the_page() -> None:
    html = render(page(), title=HOSTILE, checkpoint=HOSTILE)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_colour_is_never_the_only_sign() -> None:
    html = render(page())
    assert "■ beyond" in html
    assert "■ 1 red" in html
    assert "○ not rated" in html
    assert 'aria-label="worse"' in html


def test_an_empty_ledger_has_a_page_too() -> None:
    html = render(pb.GetBoardResponse())
    assert "No model is registered." in html
    assert "Nothing is owed." in html
    assert not Reading(html).open


def test_the_same_data_gives_the_same_page() -> None:
    assert render(page()) == render(page())

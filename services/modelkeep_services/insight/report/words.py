"""What the sections of a report share: limits, colours, and how a figure is spelled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from markupsafe import Markup

from modelkeep.api.common.v1 import common_pb2
from modelkeep.api.insight.v1 import insight_pb2 as pb
from modelkeep.api.monitoring.v1 import monitoring_pb2
from modelkeep_services.insight.report.page import Facts
from modelkeep_services.insight.report.plots import Dot, Mark, Span

SMALL_MOST: Final = 12
BARS_MOST: Final = 40
STYLES: Final = ("c1", "c2", "c3", "c4", "c5")
COLOURS: Final = {
    pb.COLOUR_GREEN: ("green", "● green"),
    pb.COLOUR_AMBER: ("amber", "▲ amber"),
    pb.COLOUR_RED: ("red", "■ red"),
}
SEVERITIES: Final = {4: "red", 3: "red", 2: "amber", 1: "c1"}

Windows = Sequence[monitoring_pb2.Window]


def span_of(facts: Facts) -> Span:
    return Span(facts.start, facts.end)


def is_inside(facts: Facts, when: datetime) -> bool:
    return facts.start <= when <= facts.end


def split(windows: Windows, dots: Sequence[Dot | None]) -> list[Dot | None]:
    """Break a line where another version takes over, or where a window is lacking."""
    found: list[Dot | None] = []
    before = ""
    for window, dot in zip(windows, dots, strict=True):
        if found and window.version != before:
            found.append(None)
        before = window.version
        if dot is not None:
            found.append(dot)
    return found


def takeovers(windows: Windows) -> list[Mark]:
    """Mark where a version decides for the first time, after the first."""
    first: dict[str, datetime] = {}
    for one in windows:
        first.setdefault(one.version, moment_of(one.start))
    return [Mark(at, f"{name} takes over") for name, at in list(first.items())[1:]]


def window_cells(window: monitoring_pb2.Window) -> list[str]:
    start, end = moment_of(window.start), moment_of(window.end)
    whole = all(not (one.hour or one.minute or one.second) for one in (start, end))
    form = "%Y-%m-%d" if whole else "%Y-%m-%d %H:%M"
    return [f"{start:{form}}", f"{end:{form}}", window.version]


def moment_of(value: Timestamp) -> datetime:
    return value.ToDatetime(tzinfo=UTC)


def day_of(value: datetime) -> str:
    return f"{value:%-d %b %Y}"


def bounded(value: float, lower: float, upper: float) -> str:
    return f"{value:.2%} ({lower:.2%} to {upper:.2%})"


def money_of(value: common_pb2.Money) -> str:
    return f"{value.minor / 100:,.0f} {value.currency}"


def index_of(health: pb.Health) -> str:
    return f"{health.index:.1f}" if health.HasField("index") else "not rated"


def score_of(part: pb.Component) -> str:
    return f"{part.score:.1f}" if part.HasField("score") else "not measured"


def coloured(colour: pb.Colour.ValueType) -> Markup:
    style, word = COLOURS.get(colour, ("grey", "○ not rated"))
    return Markup('<span class="colour {}">{}</span>').format(style, word)


def severity_of(value: common_pb2.Severity.ValueType) -> Markup:
    word = common_pb2.Severity.Name(value).removeprefix("SEVERITY_").lower()
    style = {"low": "grey", "medium": "amber"}.get(word, "red")
    return Markup('<span class="colour {}">{}</span>').format(style, word)


def kind_of(alert: monitoring_pb2.Alert) -> str:
    name = monitoring_pb2.AlertKind.Name(alert.kind).removeprefix("ALERT_KIND_")
    return name.lower().replace("_", " ")


def is_open(alert: monitoring_pb2.Alert) -> bool:
    return alert.status != monitoring_pb2.ALERT_STATUS_RESOLVED


def looked_at(rate: monitoring_pb2.GetOverrideRateResponse) -> int:
    return rate.accepted + rate.overridden + rate.escalated


def verdict_of(psi: float, lo: float, hi: float) -> str:
    if psi > hi:
        return "beyond the hard limit"
    return "beyond the warning limit" if psi > lo else "within its limits"

"""The sections of a model's report in the order in which they are read."""

from __future__ import annotations

from modelkeep_services.insight.report.alarms import alarms_section
from modelkeep_services.insight.report.attention import (
    alerts_section,
    incidents_section,
)
from modelkeep_services.insight.report.concept import (
    concept_section,
    together_section,
)
from modelkeep_services.insight.report.features import drift_section, missing_section
from modelkeep_services.insight.report.glance import headlines, lede
from modelkeep_services.insight.report.groups import fairness_section
from modelkeep_services.insight.report.health import budgets_section, health_section
from modelkeep_services.insight.report.operations import (
    contracts_section,
    operations_section,
    people_section,
    versions_section,
)
from modelkeep_services.insight.report.page import Citations, Facts, Page
from modelkeep_services.insight.report.performance import (
    performance_section,
    scores_section,
)
from modelkeep_services.insight.report.values import values_section


def page_of(facts: Facts) -> Page:
    cited = Citations()
    first = list(headlines(facts, cited))
    made = [
        health_section(facts, cited),
        performance_section(facts, cited),
        concept_section(facts, cited),
        fairness_section(facts, cited),
        scores_section(facts, cited),
        drift_section(facts, cited),
        missing_section(facts, cited),
        values_section(facts, cited),
        together_section(facts, cited),
        operations_section(facts, cited),
        alerts_section(facts, cited),
        incidents_section(facts, cited),
        alarms_section(facts, cited),
        budgets_section(facts, cited),
        versions_section(facts, cited),
        people_section(facts, cited),
        contracts_section(facts, cited),
    ]
    last = facts.standings[-1] if facts.standings else None
    used = [last.health.document, *(b.document for b in last.budgets)] if last else []
    documents = {one.version: one for one in used if one.version}
    return Page(
        title=facts.model.title,
        lede=lede(facts),
        headlines=first,
        sections=made,
        cited=cited,
        documents=list(documents.values()),
    )

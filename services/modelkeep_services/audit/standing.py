"""What stood around a version at one moment: who let it through, and how it did."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.views import Reader
from modelkeep.wire import fill
from modelkeep_services.audit import budgets
from modelkeep_services.audit.known import debt, insight, inventory, lineage, policy
from modelkeep_services.audit.known import monitoring as watched

VERDICTS: Final = 10
"""The last so many answers about a version."""


def standing(
    read: Reader, now: datetime, model: str, version: str, environment: str
) -> pb.Standing:
    """Tell everything known of a version as of the reader's moment, which is `now`."""
    answer = pb.Standing()
    _inventory(answer, read, model, version, environment)
    for verdict in policy.verdicts_of(read, model, version)[-VERDICTS:]:
        fill(answer.verdicts.add(), verdict)
    _monitoring(answer, read, model, version, environment)
    health = read.get(insight.health, model)
    if health is not None:
        fill(answer.health, health)
    for budget in budgets.standings(read, model, now):
        fill(answer.budgets.add(), budget)
    for _, exception in read.scan(policy.exceptions):
        if exception.model == model and exception.status == "in force":
            fill(answer.exceptions.add(), exception)
    for _, liability in read.scan(debt.liabilities):
        if liability.model == model and liability.status != "cured":
            fill(answer.liabilities.add(), liability)
    return answer


def _inventory(
    answer: pb.Standing, read: Reader, model: str, version: str, environment: str
) -> None:
    row = read.get(inventory.models, model)
    if row is not None:
        fill(answer.model, row)
    build = read.get(inventory.versions, f"{model}/{version}")
    if build is not None:
        fill(answer.version, build)
        for above in lineage.upstream(read, model, version, build.digest):
            fill(answer.lineage.add(), above.node)
            answer.lineage[-1].relation = above.relation
            answer.lineage[-1].distance = above.distance
    place = f"{model}/{environment}/{version}"
    deployment = read.get(inventory.deployments, place)
    if deployment is not None:
        fill(answer.deployment, deployment)
    for _, validation in read.scan(inventory.validations, f"{model}/{version}/"):
        fill(answer.validations.add(), validation)
    for _, finding in read.scan(inventory.findings, f"{model}/"):
        if finding.status != "closed":
            fill(answer.findings.add(), finding)


def _monitoring(
    answer: pb.Standing, read: Reader, model: str, version: str, environment: str
) -> None:
    baseline = read.get(watched.baselines, f"{model}/{version}")
    if baseline is not None:
        fill(answer.baseline, baseline)
    window = watched.last_window(read, model, version, environment)
    if window is not None:
        fill(answer.window, window)
    for _, alert in read.scan(watched.alerts, f"{model}/"):
        if alert.status != "resolved":
            fill(answer.alerts.add(), alert)

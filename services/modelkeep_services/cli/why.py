"""`modelkeep why`: a decision, and everything that it rested on when it was made."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.text import Text

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.home import Home
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import read_keys
from modelkeep.proof.note import VerifierKey
from modelkeep_services.audit.notary import published
from modelkeep_services.audit.signing import LOG_KEY
from modelkeep_services.cli import screen
from modelkeep_services.cli.as_of import changes
from modelkeep_services.cli.asking import Asking
from modelkeep_services.cli.proofs import Step, steps
from modelkeep_services.cli.screen import clean, fact, heading, line, point, word

CHANGES = 20
OUTCOMES = {0: "no", 1: "yes", 2: "it will never be known"}
RESCORED = {
    pb.RESCORE_RESULT_EQUAL: "equal",
    pb.RESCORE_RESULT_WITHIN_TOLERANCE: "within tolerance",
    pb.RESCORE_RESULT_DIFFERENT: "different",
    pb.RESCORE_RESULT_NOT_REEXECUTABLE: "not re-executable",
}


def run(
    asking: Asking, home: Home, decision: str, *, rescore: bool, as_json: bool
) -> int:
    """Return the exit code: 1 when a proof does not hold or the score is another."""
    request = pb.WhyRequest(decision=decision, rescore=rescore)
    answer = asking(asking.audit.Why, request)
    proven = list(steps(answer.proof, _key(home, answer.proof.inclusion.checkpoint)))
    if as_json:
        screen.say_json(answer)
    else:
        _show(answer, proven)
    held = all(step.holds for step in proven) and _intact(answer.proof)
    return 0 if held and answer.rescore.result != pb.RESCORE_RESULT_DIFFERENT else 1


def _intact(proof: pb.RowProof) -> bool:
    return proof.root == proof.found_root


def _key(home: Home, told: pb.Checkpoint) -> VerifierKey:
    """Take the key that was published, not the one that came with the answer."""
    try:
        return read_keys(str(published(home) / LOG_KEY))[0]
    except (ProofError, OSError):
        return VerifierKey.parse(told.key)


def _show(answer: pb.WhyResponse, proven: Sequence[Step]) -> None:
    _decision(answer.decision)
    then = answer.then
    heading("Then: what was known when it was made")
    _model(then)
    _origins(then)
    _verdicts(then)
    _condition(then)
    _since(answer)
    _proof(proven, answer.proof)
    if answer.HasField("rescore"):
        _rescored(answer.rescore)
    if answer.gaps:
        heading("Gaps")
        for gap in answer.gaps:
            point("!", "yellow", gap)


def _decision(said: pb.Decision) -> None:
    line(Text("Decision ", "bold"), said.decision)
    fact("by", f"{said.model} {said.version} in {said.environment}")
    fact("at", screen.instant(said.at))
    fact("score", f"{said.score:.6g}")
    if said.use:
        fact("use", said.use)
    if said.reference:
        fact("caller's id", said.reference)
    if said.HasField("latency_ms"):
        fact("latency", f"{said.latency_ms:.3g} ms")
    if said.HasField("explained"):
        fact("explained", "yes" if said.explained else "no")
    if said.HasField("reason_codes"):
        fact("reasons", "given" if said.reason_codes else "owed and missing")
    if said.HasField("outcome_known_at"):
        known = screen.instant(said.outcome_known_at)
        number = said.HasField("outcome_value")
        word = f"{said.outcome_value:g}" if number else OUTCOMES[said.outcome]
        fact("outcome", f"{word}, known {known}")
    if said.disposition:
        who = said.disposition_by.subject
        fact("a person", f"{said.disposition} ({who}): {said.disposition_reason}")
    values = ", ".join(f"{cell.name} {_cell(cell)}" for cell in said.features)
    fact("features", values or "none were logged")


def _cell(cell: pb.Cell) -> str:
    match cell.WhichOneof("value"):
        case "number":
            return f"{cell.number:.6g}"
        case "integer":
            return str(cell.integer)
        case "truth":
            return "true" if cell.truth else "false"
        case "text":
            return cell.text
    return "(missing)"


def _model(then: pb.Standing) -> None:
    model, version = then.model, then.version
    if then.HasField("model"):
        tier = f", tier {model.tier}" if model.HasField("tier") else ""
        fact("model", f"{model.title or model.model}{tier}, ", word(model.status))
        fact("owner", model.owner)
    if then.HasField("version"):
        fact("version", f"{version.version} {version.digest}")
        for artifact in version.artifacts:
            fact("artifact", f"{artifact.name} {artifact.digest}")
        by, when = version.registered_by.subject, screen.instant(version.registered_at)
        fact("registered", f"by {by}, {when}")
    if then.HasField("deployment"):
        serving = then.deployment
        since = screen.instant(serving.since)
        where = f"in {serving.environment} at {serving.share:.0%}"
        fact("deployed", f"{where} since {since}")
    for one in then.validations:
        said = f" by {one.validator.subject}, {screen.day(one.at)}"
        limits = f"; limitations: {'; '.join(one.limitations)}" * bool(one.limitations)
        fact("validation", word(one.outcome), said + limits)


def _origins(then: pb.Standing) -> None:
    for origin in then.lineage:
        digest = f" {origin.digest}" if origin.digest else ""
        fact(origin.kind.replace("_", " "), f"{origin.name}{digest}")


def _verdicts(then: pb.Standing) -> None:
    let_through = then.deployment.verdict_source
    for one in then.verdicts:
        heading(f"Verdict on {one.action} of {one.version} {one.environment}".rstrip())
        through = let_through and let_through in {one.event_id, one.settled_by}
        fact("answer", word(one.verdict), " (this let it through)" * bool(through))
        fact("asked", f"by {one.requested_by.subject}, {screen.instant(one.at)}")
        rules = f"{one.bundle_name} {one.bundle_version}, {screen.short(one.bundle)}"
        fact("rules", rules)
        if one.revoked:
            fact("revoked", Text(clean(one.revoked_for), "red"))
        spoke = [rule for rule in one.rules if rule.outcome != "skipped"]
        if spoke:
            screen.table(
                ["  rule", "outcome", "operands"],
                [[f"  {r.rule}", word(r.outcome), grounds(r)] for r in spoke],
            )
        for said in one.approvals:
            _approval(said)
        if one.covered_by:
            fact("envelope", clean(one.covered_by))
        if one.HasField("overdue_since"):
            fact("overdue", f"since {screen.instant(one.overdue_since)}")
        for owed in one.owed if one.verdict == "pending" else ():
            fact("owed", owed)


def grounds(rule: pb.Rule) -> str:
    """What a rule went by; a reader must not wonder how one that failed let it pass."""
    if not rule.waived_by:
        return _operands(rule)
    return f"{_operands(rule)}; set aside by exception {clean(rule.waived_by)}"


def _operands(rule: pb.Rule) -> str:
    if rule.missing:
        return f"missing: {', '.join(rule.missing)}"
    found = [
        f"{one.text} = {_plain(one.value)}"
        + (f" {one.op} {_plain(one.limit) or one.limit_text}" if one.op else "")
        for one in rule.operands
    ]
    return "; ".join(found) or rule.text


def _plain(value: str) -> str:
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return f"{found:.6g}" if isinstance(found, float) else str(found)


def _approval(said: pb.Approval) -> None:
    who = f" by {said.by.subject} ({said.by.issuer}) as {', '.join(said.roles)}"
    when = f", {screen.instant(said.at)}"
    why = f": {said.reason}" if said.reason else ""
    limits = f"; if {'; '.join(said.conditions)}" if said.conditions else ""
    fact("approval", word(said.answer), who + when + why + limits)


def _condition(then: pb.Standing) -> None:
    heading("Health and budget, as they stood then")
    if then.HasField("health"):
        one = then.health
        index = f" {one.index:.1f}" if one.HasField("index") else ""
        fact("health", word(one.band), f"{index}: {one.cause}")
    else:
        fact("health", "not known yet")
    for budget in then.budgets:
        _budget(budget)
    if then.HasField("window"):
        _window(then.window)
    for alert in then.alerts:
        cost = _money(alert)
        fact("alert", word(alert.severity), f" {alert.kind}: {alert.cause}{cost}")
    for finding in then.findings:
        fact("finding", word(finding.severity), f" {finding.title}")
    for exception in then.exceptions:
        until = screen.day(exception.until)
        fact("exception", f"{exception.rule} until {until}: {exception.reason}")
    for liability in then.liabilities:
        fact("debt", word(liability.severity), f" {liability.title}")


def _budget(one: pb.Budget) -> None:
    spent = f", {one.spent:.0%} spent" if one.HasField("spent") else ""
    counted = (
        f", {one.bad_events:,} bad of {one.events:,}"
        if one.HasField("bad_events")
        else ""
    )
    until = screen.day(one.period_end)
    fact("budget", f"{one.budget}: ", word(one.status), f"{spent}{counted} to {until}")


def _window(one: pb.Window) -> None:
    figures = ", ".join(f"{f.name} {f.value:.4g}" for f in one.performance)
    drift = (
        f"; {one.worst_feature} moved most (PSI {one.worst_psi:.3f},"
        f" limit {one.worst_limit:.3f})"
        if one.HasField("worst_psi")
        else ""
    )
    period = f"{screen.day(one.start)} to {screen.day(one.end)}, {one.rows:,} rows"
    fact("last window", f"{period}{': ' * bool(figures)}{figures}{drift}")


def _money(alert: pb.Alert) -> str:
    if not alert.HasField("money_per_hour"):
        return ""
    amount = alert.money_per_hour.minor / 100
    basis = f" ({alert.money_basis})" if alert.money_basis else ""
    return f"; {amount:,.2f} {alert.money_per_hour.currency} an hour{basis}"


def _since(answer: pb.WhyResponse) -> None:
    if not answer.changes:
        return
    heading("What has changed since")
    screen.table(
        ["what", "key", "field", "then", "now"], changes(answer.changes[:CHANGES])
    )
    more = len(answer.changes) - CHANGES
    if more > 0:
        line(f"  and {more:,} more: --json has them all")


def _proof(proven: Sequence[Step], proof: pb.RowProof) -> None:
    heading("Proof, checked here")
    if proof.not_proven:
        found = "holds for the columns" if _intact(proof) else "does not hold"
        said = f"{proof.not_proven}: its root {found} of its {proof.rows:,} rows"
        point("!", "yellow", said)
    for step in proven:
        if step.holds:
            point("+", "green", step.said)
        else:
            point("! not so:", "bold red", step.said)
    if not _intact(proof):
        point("!", "bold red", "the batch's rows are not those recorded")


def _rescored(found: pb.Rescore) -> None:
    heading("Run again")
    said = RESCORED.get(found.result, "unknown")
    good = found.result in {
        pb.RESCORE_RESULT_EQUAL,
        pb.RESCORE_RESULT_WITHIN_TOLERANCE,
    }
    fact("result", Text(said, "bold green" if good else "bold red"))
    fact("logged", repr(found.logged))
    if found.HasField("again"):
        fact("again", repr(found.again))
        fact("artifact", found.artifact)
    if found.reason:
        fact("because", found.reason)

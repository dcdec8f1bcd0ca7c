"""How a model comes under governance: inventory, tier, people, lineage, gate, traffic.

The same steps for every model of the story. What stops one (no card, a missing
validation, an approver who built it) is stopped by the services, not by this file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.lineage.v1 import lineage_pb2 as lin
from modelkeep.api.policy.v1 import policy_pb2 as pol
from modelkeep.events.lineage import VERSIONS
from modelkeep.home import Home
from modelkeep.identity import LOCAL_ISSUER
from modelkeep.objects import artifacts_of
from modelkeep_services.demo import artifacts, cards
from modelkeep_services.demo.cast import Cast, Desks, ask
from modelkeep_services.demo.recipes import Recipe, Statement
from modelkeep_services.demo.stage import Person
from modelkeep_services.demo.training import Quality

PROD = "prod"
ONNX = "application/vnd.onnx"


@dataclass(frozen=True)
class Portfolio:
    """A model as its owners describe it. `drivers` score 1 to 4."""

    model: str
    title: str
    kind: inv.ModelKind.ValueType
    use: str
    business_line: str
    statement: Statement
    recipe: Recipe
    data: cards.Dataset
    exposure_share: float
    drivers: Mapping[str, int]
    always_tier_one: Sequence[inv.AlwaysTierOne.ValueType] = ()
    black_box: bool = False
    vendor: inv.Vendor | None = None
    consumer: str = ""


@dataclass(frozen=True)
class Build:
    """One immutable build: the artifact's bytes and what was measured of it.

    `digest` is the artifact's, in hex, as the archive knows it; `named` as the ledger.
    """

    version: str
    graph: bytes
    measured: Mapping[str, Quality]
    trained_on: str
    snapshot: str
    """Digest of the very rows it learnt from."""
    drift: Mapping[str, float] = field(default_factory=dict)
    """How far each feature of what it was measured on is from what it learnt from."""
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", artifacts.digest_of(self.graph))

    @property
    def named(self) -> str:
        return f"sha256:{self.digest}"


def register(desks: Desks, cast: Cast, plan: Portfolio) -> None:
    """In the inventory, tiered, and with people in every compulsory role."""
    ask(
        cast.omar,
        desks.inventory.RegisterModel,
        inv.RegisterModelRequest(
            model=plan.model,
            title=plan.title,
            kind=plan.kind,
            purpose=plan.statement.purpose,
            owner=cast.omar.subject,
            business_line=plan.business_line,
            vendor=plan.vendor,
            approved_uses=[plan.use],
        ),
    )
    ask(
        cast.omar,
        desks.inventory.ClassifyRisk,
        inv.ClassifyRiskRequest(
            model=plan.model,
            use=plan.use,
            exposure_share=plan.exposure_share,
            always_tier_one=plan.always_tier_one,
            black_box=plan.black_box,
            purpose=plan.drivers["purpose"],
            harm=plan.drivers["harm"],
            method=plan.drivers["method"],
            input_uncertainty=plan.drivers["input_uncertainty"],
            opacity=plan.drivers["opacity"],
            autonomy=plan.drivers["autonomy"],
        ),
    )
    people = {
        inv.ROLE_ENGINEER: cast.dana,
        inv.ROLE_BUSINESS_OWNER: cast.bea,
        inv.ROLE_RISK_OFFICER: cast.rita,
        inv.ROLE_VALIDATOR: cast.vik,
        inv.ROLE_AUDITOR: cast.axel,
    }
    for role, person in people.items():
        ask(
            cast.omar,
            desks.inventory.AssignRole,
            inv.AssignRoleRequest(
                model=plan.model,
                role=role,
                subject=person.subject,
                issuer=LOCAL_ISSUER,
            ),
        )


def add_version(
    desks: Desks, cast: Cast, home: Home, plan: Portfolio, build: Build
) -> str:
    """Archive the artifact, register the version; return the digest it goes by."""
    artifacts.save(build.graph, artifacts_of(home))
    said = ask(
        cast.dana,
        desks.inventory.RegisterVersion,
        inv.RegisterVersionRequest(
            model=plan.model,
            version=build.version,
            artifacts=[
                inv.Artifact(
                    name=f"{plan.model}.onnx",
                    digest=build.named,
                    media_type=ONNX,
                    size=len(build.graph),
                )
            ],
            feature_count=len(plan.recipe.features),
        ),
    )
    found = ask(
        cast.dana,
        desks.inventory.GetVersion,
        inv.GetVersionRequest(
            not_before=said.written.position,
            model=plan.model,
            version=build.version,
        ),
    )
    return found.version.digest


def attach_card(
    desks: Desks, cast: Cast, plan: Portfolio, build: Build, digest: str
) -> None:
    card = cards.card(
        model=plan.model,
        version=build.version,
        digest=build.digest,
        recipe=plan.recipe,
        statement=plan.statement,
        data=plan.data,
        measured=build.measured,
        supplier=plan.vendor.name if plan.vendor else "",
    )
    ask(
        cast.dana,
        desks.inventory.AttachCard,
        inv.AttachCardRequest(
            model=plan.model, version=build.version, digest=digest, card=card
        ),
    )


def record_lineage(
    desks: Desks, cast: Cast, plan: Portfolio, build: Build, digest: str
) -> None:
    """Data, features, code, run and artifact of a version, in one durable manifest."""
    data = plan.data
    settings = json.dumps(plan.recipe.settings(), sort_keys=True)
    nodes = [
        lin.ManifestNode(
            key="data",
            kind=lin.NODE_KIND_DATASET,
            namespace=data.name.partition("/")[0],
            name=f"{data.name} {build.trained_on}",
            digest=build.snapshot,
            owner=cast.omar.subject,
            attributes={"file": f"sha256:{data.sha256}", "licence": data.licence},
        ),
        lin.ManifestNode(
            key="code",
            kind=lin.NODE_KIND_TRANSFORM,
            namespace="demo",
            name=f"recipe {plan.recipe.name}",
            digest=_digest(settings),
            owner=cast.dana.subject,
        ),
        lin.ManifestNode(
            key="run",
            kind=lin.NODE_KIND_RUN,
            namespace="demo",
            name=f"train {plan.model} {build.version}",
            digest=_digest(f"{settings} {build.trained_on}"),
            owner=cast.dana.subject,
        ),
        lin.ManifestNode(
            key="artifact",
            kind=lin.NODE_KIND_ARTIFACT,
            namespace="artifacts",
            name=f"{plan.model}.onnx",
            digest=build.named,
        ),
        lin.ManifestNode(
            key="version",
            kind=lin.NODE_KIND_MODEL_VERSION,
            namespace=VERSIONS,
            name=f"{plan.model}/{build.version}",
            digest=digest,
        ),
    ]
    links = [
        lin.ManifestLink(source="data", target="run", relation="trains"),
        lin.ManifestLink(source="code", target="run", relation="runs"),
        lin.ManifestLink(source="run", target="artifact", relation="makes"),
        lin.ManifestLink(source="artifact", target="version", relation="is"),
    ]
    for group, columns in plan.recipe.groups.items():
        key = f"view-{_digest(group)[7:15]}"
        nodes.append(
            lin.ManifestNode(
                key=key,
                kind=lin.NODE_KIND_FEATURE_VIEW,
                namespace=plan.model,
                name=group,
                digest=_digest(f"{settings} {','.join(columns)} {build.snapshot}"),
                owner=cast.dana.subject,
                ttl_hours=24 * 31,
            )
        )
        links += [
            lin.ManifestLink(source="data", target=key, relation="feeds"),
            lin.ManifestLink(source=key, target="run", relation="trains"),
        ]
    ask(
        cast.dana,
        desks.lineage.RecordManifest,
        lin.RecordManifestRequest(nodes=nodes, links=links),
    )


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def validate(
    desks: Desks, cast: Cast, plan: Portfolio, build: Build, digest: str
) -> None:
    """Vik has looked at it: what he measured, what he relied on."""
    figures = next(iter(build.measured.values()))
    ask(
        cast.vik,
        desks.inventory.RecordValidation,
        inv.RecordValidationRequest(
            model=plan.model,
            version=build.version,
            digest=digest,
            outcome=inv.VALIDATION_OUTCOME_APPROVED,
            metrics={"auc": round(figures.auc, 4), "brier": round(figures.brier, 4)},
            limitations=[inv.Reliance(text=one) for one in plan.statement.limitations],
            summary=f"{next(iter(build.measured))}: n={figures.n}",
        ),
    )


def evaluate(
    desks: Desks,
    person: Person,
    action: str,
    plan: Portfolio,
    version: str,
    *,
    share: float | None = None,
    evidence: pol.StatedEvidence | None = None,
    target_version: str = "",
) -> pol.Verdict:
    """Put a question to policy; the verdict is recorded whatever it is."""
    request = pol.EvaluateRequest(
        action=action,
        model=plan.model,
        version=version,
        environment=PROD,
        use=plan.use,
        evidence=evidence,
        target_version=target_version,
    )
    if share is not None:
        request.traffic_share = share
    return ask(person, desks.policy.Evaluate, request).verdict


def approve(
    desks: Desks, person: Person, verdict: pol.Verdict, word: str
) -> pol.Verdict:
    return ask(
        person,
        desks.policy.Approve,
        pol.ApproveRequest(
            request=verdict.request, digest=verdict.digest, comment=word
        ),
    ).verdict


def deploy(
    desks: Desks,
    cast: Cast,
    plan: Portfolio,
    verdict: pol.Verdict,
    share: float,
    *,
    replace: bool = False,
) -> None:
    """Give a version traffic, naming the verdict that allows it."""
    ask(
        cast.dana,
        desks.inventory.Deploy,
        inv.DeployRequest(
            model=plan.model,
            version=verdict.version,
            digest=verdict.digest,
            environment=PROD,
            share=share,
            verdict_source=verdict.settled_by,
            replace=replace,
        ),
    )

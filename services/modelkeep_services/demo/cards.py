"""The CycloneDX 1.6 model card that travels with a version: plain JSON.

It is written as JSON and not through an object model, because cyclonedx-python-lib
drops the `modelCard` when it writes what it read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from modelkeep_services.demo.recipes import Recipe, Statement
from modelkeep_services.demo.training import Quality

SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_ARCHITECTURES: Final = {
    "trees": ("gradient-boosted trees", "histogram gradient boosting, log loss"),
    "linear": ("generalised linear model", "logistic regression, ridge penalty"),
}


class Dataset(NamedTuple):
    name: str
    version: str
    sha256: str
    licence: str


def dataset(file: str) -> Dataset:
    """Look one of the shipped files up in `provenance.json`; KeyError if it is not."""
    text = (resources.files(__package__) / "data" / "provenance.json").read_text()
    entries = {entry["file"]: entry for entry in json.loads(text)["files"]}
    entry = entries[file]
    return Dataset(
        name=f"{entry['package']}/{file}",
        version=entry["package_version"],
        sha256=entry["sha256"],
        licence=entry["licence"],
    )


def card(  # a card is what it says
    *,
    model: str,
    version: str,
    digest: str,
    recipe: Recipe,
    statement: Statement,
    data: Dataset,
    measured: Mapping[str, Quality],
    supplier: str = "",
) -> bytes:
    """Return the card's bytes; the same facts give the same bytes.

    `digest` is the artifact's SHA-256 in hex; `measured` maps a slice (`held-out days,
    February and March`) to its figures.
    """
    data_ref = f"data:{data.name}@{data.version}"
    component: dict[str, object] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{model}@{version}",
        "name": model,
        "version": version,
        "description": statement.purpose,
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "modelCard": {
            "modelParameters": _parameters(recipe, statement, data_ref),
            "quantitativeAnalysis": {"performanceMetrics": _metrics(measured)},
            "considerations": {
                "users": list(statement.users),
                "useCases": [statement.purpose],
                "technicalLimitations": list(statement.limitations),
                "ethicalConsiderations": [
                    {"name": risk, "mitigationStrategy": answer}
                    for risk, answer in statement.risks.items()
                ],
            },
        },
    }
    if supplier:
        component["supplier"] = {"name": supplier}
    serial = uuid5(NAMESPACE_URL, f"{model}@{version}#{digest}")
    bom = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "components": [component, _data_component(data, data_ref)],
    }
    return json.dumps(bom, indent=1, sort_keys=True, allow_nan=False).encode()


def _parameters(
    recipe: Recipe, statement: Statement, data_ref: str
) -> dict[str, object]:
    family, architecture = _ARCHITECTURES[recipe.method]
    return {
        "approach": {"type": "supervised"},
        "task": statement.task,
        "architectureFamily": family,
        "modelArchitecture": architecture,
        "datasets": [{"ref": data_ref}],
        "inputs": [
            *({"format": f"{name}: float64"} for name in recipe.numbers),
            *({"format": f"{name}: string"} for name in recipe.words),
        ],
        "outputs": [{"format": "score: float64 probability"}],
    }


def _metrics(measured: Mapping[str, Quality]) -> list[dict[str, str]]:
    return [
        {"type": kind, "value": f"{value:.4f}", "slice": f"{part} (n={figures.n})"}
        for part, figures in measured.items()
        for kind, value in figures._asdict().items()
        if kind != "n" and not math.isnan(value)
    ]


def _data_component(data: Dataset, data_ref: str) -> dict[str, object]:
    return {
        "type": "data",
        "bom-ref": data_ref,
        "name": data.name,
        "version": data.version,
        "hashes": [{"alg": "SHA-256", "content": data.sha256}],
        "licenses": [{"license": {"name": data.licence}}],
        "data": [{"type": "dataset", "name": data.name}],
    }

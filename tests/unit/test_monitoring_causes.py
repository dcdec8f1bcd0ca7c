"""What an alert is caused by: lineage walked upstream, whoever alerts first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from modelkeep.events.attention import GroupedAlert
from modelkeep.events.lineage import node_id, version_node
from modelkeep_services.monitoring.causes import (
    Origin,
    cause_key,
    cause_of,
    downstream,
    family_of,
)

DIGEST = "sha256:" + "a" * 64


@dataclass
class Known:
    """Lineage in memory: what each node is called, and what links to it."""

    names: dict[str, Origin] = field(default_factory=dict)
    links: list[tuple[str, str]] = field(default_factory=list)

    def node(self, kind: str, name: str, *, owner: str | None = None) -> str:
        node = node_id(kind, "bank", name, owner=owner)
        self.names[node] = Origin(kind, name, owner)
        return node

    def version(self, model: str) -> str:
        return version_node(model, "v1", DIGEST)

    def link(self, *chain: str) -> None:
        self.links += list(pairwise(chain))

    def origin(self, node: str) -> Origin | None:
        return self.names.get(node)

    def above(self, node: str) -> list[str]:
        return sorted({source for source, target in self.links if target == node})

    def below(self, node: str) -> list[str]:
        return sorted({target for source, target in self.links if source == node})


def alert(
    kind: str = "feature_drift", vector: str = "data_drift", model: str = "m"
) -> GroupedAlert:
    return GroupedAlert.model_validate(
        {
            "model": model,
            "alert": "a",
            "version": "v1",
            "environment": "prod",
            "kind": kind,
            "vector": vector,
            "severity": "high",
        }
    )


def keys(known: Known, models: Iterable[str], feature: str) -> set[str]:
    return {
        cause_key(cause_of(alert(model=one), feature, known.version(one), known))
        for one in models
    }


def test_an_input_is_found_upstream_by_its_name() -> None:
    known = Known()
    view = known.node("feature_view", "weather", owner="wendy")
    known.link(view, known.version("m"))
    cause = cause_of(alert(), "weather", known.version("m"), known)
    assert (cause.kind, cause.node, cause.rule) == ("feature_view", view, "named-input")
    assert cause.owner == "wendy"


def test_forty_models_on_one_bad_dataset_have_one_cause() -> None:
    known = Known()
    dataset = known.node("dataset", "bookings")
    models = [f"m{n}" for n in range(40)]
    for n, model in enumerate(models):
        view = known.node("feature_view", f"view{n % 7}")
        run = known.node("run", f"run{n}")
        column = known.node("column", f"view{n % 7}.amount")
        known.link(dataset, run, view, column, known.version(model))
    assert keys(known, models, "amount") == {dataset}


def test_a_view_made_of_two_datasets_is_its_own_cause() -> None:
    known = Known()
    view = known.node("feature_view", "joined")
    for name in ("left", "right"):
        known.link(known.node("dataset", name), view)
    known.link(view, known.version("m"))
    assert keys(known, ["m"], "joined") == {view}


def test_where_no_name_fits_the_only_view_is_the_cause() -> None:
    known = Known()
    view = known.node("feature_view", "all-inputs")
    known.link(view, known.version("m"))
    cause = cause_of(alert(), "x", known.version("m"), known)
    assert (cause.node, cause.rule) == (view, "only-view")


def test_a_dataset_of_another_name_is_no_cause() -> None:
    known = Known()
    known.link(known.node("dataset", "training-2024"), known.version("m"))
    cause = cause_of(alert(), "x", known.version("m"), known)
    assert (cause.kind, cause.rule, cause.family) == ("model", "own", "inputs")


def test_a_feeder_models_inputs_are_its_own() -> None:
    known = Known()
    view = known.node("feature_view", "x")
    known.link(view, known.version("feeder"), known.version("m"))
    assert cause_of(alert(), "x", known.version("m"), known).rule == "own"


def test_a_models_own_troubles_are_apart_by_family() -> None:
    known = Known()
    version = known.version("m")
    told = [
        alert("latency", "operational_regression"),
        alert("unapproved_use", "governance_lapse"),
        alert("performance", "concept_shift"),
        alert("override_drift", "concept_shift"),
    ]
    assert [family_of(one) for one in told] == [
        "operations",
        "governance",
        "consequence",
        "people",
    ]
    assert len({cause_key(cause_of(one, None, version, known)) for one in told}) == 4


def test_lineage_in_a_circle_ends_the_climb() -> None:
    known = Known()
    one, other = known.node("feature_view", "x"), known.node("feature_view", "y")
    known.link(one, other, one)
    known.link(one, known.version("m"))
    assert keys(known, ["m"], "x") == {other}
    assert set(downstream([one], known.below)[0]) == {other, known.version("m")}


def test_names_beyond_a_titles_length_stay_apart() -> None:
    known = Known()
    long = [
        alert("latency", "operational_regression", model="m" * 99 + last)
        for last in "ab"
    ]
    told = [
        one.model_copy(update={"version": "v" * 100, "environment": "e" * 100})
        for one in long
    ]
    causes = [cause_of(one, None, None, known) for one in told]
    assert len({cause_key(one) for one in causes}) == 2

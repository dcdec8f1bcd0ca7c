"""What may be said of a node, and how its name follows from what is said."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from modelkeep.errors import Invalid
from modelkeep.events.lineage import (
    CompletenessAssessed,
    Linked,
    ManifestRecorded,
    NodeRecorded,
    node_id,
    version_node,
)
from modelkeep.testing import given
from modelkeep_services.lineage.domain import (
    MANIFEST,
    NODE,
    Assess,
    Link,
    ManifestLink,
    ManifestNode,
    RecordDataset,
    RecordManifest,
    RecordVersion,
)

DIGEST = "sha256:" + "a" * 64
LOANS = RecordDataset(namespace="s3://bank", name="loans", digest=DIGEST)
LOANS_ID = LOANS.recorded.node
VERSION_ID = version_node("credit", "v1", DIGEST)

texts = st.text(min_size=1, max_size=30)


@for_all(
    texts,
    texts,
    st.none() | texts,
    st.none() | st.integers(1, 99),
    st.dictionaries(texts, texts, max_size=4),
)
def test_an_id_is_the_digest_of_canonical_json(
    namespace: str, name: str, owner: str | None, ttl: int | None, more: dict[str, str]
) -> None:
    said = {
        "attributes": more or None,
        "digest": DIGEST,
        "kind": "feature_view",
        "name": name,
        "namespace": namespace,
        "owner": owner,
        "ttl_hours": ttl,
    }
    canonical = json.dumps(
        {key: value for key, value in said.items() if value is not None},
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    )
    assert (
        node_id(
            "feature_view",
            namespace,
            name,
            digest=DIGEST,
            owner=owner,
            ttl_hours=ttl,
            attributes=more,
        )
        == f"feature_view:{sha256(canonical.encode()).hexdigest()}"
    )


def test_a_node_is_recorded_once() -> None:
    past = given(NODE).when(LOANS).then(LOANS.recorded)
    past.when(LOANS).then_nothing()


def test_a_claimed_id_must_be_that_of_the_content() -> None:
    right = LOANS.model_copy(update={"node": LOANS_ID})
    wrong = LOANS.model_copy(update={"node": "dataset:" + "0" * 64})
    given(NODE).when(right).then(LOANS.recorded)
    given(NODE).when(wrong).then_refused("lineage.content-addressed")


def test_other_content_under_the_id_of_a_recorded_node_is_refused() -> None:
    other = RecordDataset(
        node=LOANS_ID, namespace="s3://bank", name="loans of June", digest=DIGEST
    )
    past = given(NODE, LOANS.recorded)
    past.when(other).then_refused("lineage.content-addressed")


def test_a_version_is_named_by_whoever_knows_its_digest() -> None:
    said = RecordVersion(model="credit", version="v1", digest=DIGEST)
    assert said.recorded.node == VERSION_ID
    given(NODE).when(said).then(said.recorded)


def test_a_link_is_made_once_a_relation() -> None:
    link = Link(source=LOANS_ID, target=VERSION_ID, relation="trains")
    linked = Linked(source_node=LOANS_ID, target_node=VERSION_ID, relation="trains")
    past = given(NODE).when(link).then(linked)
    past.when(link).then_nothing()
    other = link.model_copy(update={"relation": "tests"})
    assert len(past.when(other).events) == 1


def test_nothing_comes_from_itself() -> None:
    link = Link(source=LOANS_ID, target=LOANS_ID, relation="feeds")
    given(NODE).when(link).then_refused("lineage.no-self-link")


def test_completeness_is_said_when_it_changes() -> None:
    some = Assess(
        node=VERSION_ID,
        model="credit",
        version="v1",
        digest=DIGEST,
        standard="s-1",
        present=("dataset",),
        missing=("run", "artifact"),
    )
    past = given(NODE).when(some).and_then()
    past.when(some).then_nothing()
    more = some.model_copy(
        update={"present": ("dataset", "run"), "missing": ("artifact",)}
    )
    (event,) = past.when(more).events
    assert isinstance(event, CompletenessAssessed)
    assert event.share == 0.6667


# --- manifests ---------------------------------------------------------------------


def node(key: str, **said: object) -> ManifestNode:
    fields = {"kind": "dataset", "namespace": "s3", "name": key, "digest": DIGEST}
    return ManifestNode.model_validate(fields | {"key": key} | said)


def manifest(*nodes: ManifestNode, links: str = "") -> RecordManifest:
    """`links` such as "a>b b>c"."""
    pairs = (link.split(">") for link in links.split())
    return RecordManifest(
        nodes=nodes,
        links=tuple(
            ManifestLink(source=source, target=target, relation="feeds")
            for source, target in pairs
        ),
    )


VERSION = node("v", kind="model_version", namespace="models", name="credit/v1")


def test_a_manifest_is_one_append_of_its_nodes_its_links_and_itself() -> None:
    command = manifest(node("a"), VERSION, links="a>v")
    events = given(MANIFEST).when(command).events
    assert [type(event) for event in events] == [
        NodeRecorded,
        NodeRecorded,
        NodeRecorded,
        Linked,
        Linked,
        ManifestRecorded,
    ]
    itself, describes, end = events[2], events[4], events[5]
    assert isinstance(itself, NodeRecorded)
    assert itself.kind == "manifest"
    assert itself.name == "credit/v1"
    assert itself.digest == command.said_digest
    assert describes == Linked(
        source_node=itself.node, target_node=VERSION_ID, relation="describes"
    )
    assert isinstance(end, ManifestRecorded)
    assert (end.nodes, end.links, end.versions) == (2, 1, (VERSION_ID,))


def test_the_same_manifest_in_another_order_changes_nothing() -> None:
    past = given(MANIFEST).when(manifest(node("a"), VERSION, links="a>v")).and_then()
    again = manifest(VERSION, node("a"), node("a"), links="a>v a>v")
    past.when(again).then_nothing()


def test_a_manifest_claimed_under_another_digest_is_refused() -> None:
    command = manifest(node("a")).model_copy(update={"digest": DIGEST})
    given(MANIFEST).when(command).then_refused("lineage.content-addressed")


def test_the_roots_of_a_manifest_lead_to_all_that_is_linked_even_in_a_circle() -> None:
    command = manifest(*map(node, "abcdef"), links="a>b b>c d>e e>d")
    (*_, end) = given(MANIFEST).when(command).events
    ids = dict(zip("abcdef", command.contents.nodes, strict=True))
    assert isinstance(end, ManifestRecorded)
    assert ids["a"] in end.roots
    assert len({ids["d"], ids["e"]} & set(end.roots)) == 1
    assert len(end.roots) == 2


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"digest": None}, "nodes.0.digest"),
        ({"kind": "feature_view", "owner": "o"}, "nodes.0.ttl_hours"),
        ({"kind": "feature_view", "ttl_hours": 1}, "nodes.0.owner"),
        (
            {"kind": "feature_view", "owner": "o", "ttl_hours": 1, "digest": None},
            "nodes.0.digest",
        ),
        ({"kind": "consumer"}, "nodes.0.owner"),
        ({"kind": "manifest"}, "nodes.0.kind"),
        ({"ttl_hours": 1}, "nodes.0.ttl_hours"),
        ({"kind": "model_version"}, "nodes.0.namespace"),
        ({"kind": "model_version", "namespace": "models"}, "nodes.0.name"),
        (
            {"kind": "model_version", "namespace": "models", "name": "m/1"}
            | {"owner": "o"},
            "nodes.0",
        ),
    ],
)
def test_a_node_that_says_too_little_or_too_much_is_named(
    said: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        manifest(node("a", **said))
    assert [v.field for v in refused.value.violations] == [field]


@pytest.mark.parametrize("link", ["a>nowhere", "a>a", "nowhere>a"])
def test_a_link_joins_two_nodes(link: str) -> None:
    with pytest.raises(Invalid, match=r"links\.0"):
        manifest(node("a"), links=link)


def test_a_key_names_one_node() -> None:
    with pytest.raises(Invalid, match=r"nodes\.1\.key"):
        manifest(node("a"), node("a", name="another"))


def test_a_link_may_reach_a_node_of_another_call() -> None:
    command = manifest(node("a"), links=f"a>{VERSION_ID}")
    linked = given(MANIFEST).when(command).events[2]
    assert isinstance(linked, Linked)
    assert linked.target_node == VERSION_ID

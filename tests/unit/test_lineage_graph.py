"""Walks over the links: what they reach, and where they stop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelkeep_services.lineage.graph import Links, walk
from modelkeep_services.lineage.standard import STANDARD


def links(said: str) -> Links:
    """Read "a>b b>c": downstream of a is b."""
    keys = [f"{one.replace('>', '/')}/feeds" for one in said.split()]
    return lambda node, most: [key for key in keys if key[0] == node][:most]


def test_the_nearest_come_first() -> None:
    found = walk(["a"], links("a>b b>c a>d c>e"))
    assert found.depths == {"b": 1, "d": 1, "c": 2, "e": 3}
    assert not found.truncated


def test_a_circle_ends() -> None:
    found = walk(["a"], links("a>b b>c c>a c>b"))
    assert found.depths == {"b": 1, "c": 2}
    assert len(found.links) == 4


def test_a_diamond_is_reached_once_with_all_its_links() -> None:
    found = walk(["a"], links("a>b a>c b>d c>d"))
    assert found.depths == {"b": 1, "c": 1, "d": 2}
    assert len(found.links) == 4


def test_what_lies_beyond_the_depth_is_said_to_exist() -> None:
    assert walk(["a"], links("a>b b>c"), depth=1).truncated
    assert not walk(["a"], links("a>b b>a"), depth=1).truncated


def test_what_lies_beyond_the_limit_is_said_to_exist() -> None:
    wide = " ".join(f"a>{n}" for n in range(10))
    found = walk(["a"], links(wide), limit=4)
    assert (len(found.depths), found.truncated) == (4, True)
    assert not walk(["a"], links(wide), limit=10).truncated


def test_links_are_bounded_too() -> None:
    many = " ".join(["a>b"] * 100)
    found = walk(["a"], links(many), limit=2)
    assert (len(found.links), found.truncated) == (10, True)


def test_a_walk_reaches_what_it_may_not_pass() -> None:
    found = walk(["a"], links("a>b b>c a>d"), passes=lambda node: node != "b")
    assert set(found.depths) == {"b", "d"}


nodes = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(nodes, nodes), max_size=30))
def test_a_walk_reaches_the_transitive_closure(pairs: list[tuple[str, str]]) -> None:
    found = walk(["a"], links(" ".join(f"{a}>{b}" for a, b in pairs)))
    closure = {"a"}
    while more := {b for a, b in pairs if a in closure} - closure:
        closure |= more
    assert set(found.depths) == closure - {"a"}
    assert not found.truncated


def test_what_is_owed_depends_on_the_kind_of_model() -> None:
    assert len(STANDARD.owed("trained")) == 6
    assert STANDARD.owed(None) == STANDARD.owed("trained")
    assert STANDARD.owed("vendor") == ("artifact", "manifest")

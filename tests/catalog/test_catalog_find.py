"""Find against a naive matcher over random trees, against answers recorded from graphite-web, and by example."""

from __future__ import annotations

import fnmatch
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.recorded_globs import DEVIATIONS, check_like_recorded, make_tree, recorded

from carbonpy.catalog import Catalog, Node, adopt
from carbonpy.catalog.pattern import MAX_ALTERNATIVES
from carbonpy.errors import QueryError
from carbonpy.metric import encoded

# ---- the naive matcher: expand the braces, then match node by node with fnmatch ----


def branches_of(metrics: set[str]) -> set[str]:
    """Every proper prefix of the metrics."""
    return {".".join(nodes[:size]) for nodes in (m.split(".") for m in metrics) for size in range(1, len(nodes))}


def expanded(pattern: str) -> list[str]:
    """The pattern without its braces, outermost first; nothing if they do not balance."""
    start = pattern.find("{")
    if start < 0:
        return [] if "}" in pattern else [pattern]
    if "}" in pattern[:start]:
        return []
    options, depth = [""], 0
    for index in range(start, len(pattern)):
        character = pattern[index]
        depth += (character == "{") - (character == "}")
        if not depth:
            return [v for option in options for v in expanded(pattern[:start] + option + pattern[index + 1 :])]
        if character == "," and depth == 1:
            options.append("")
        elif index > start:
            options[-1] += character
    return []


def nodes_match(pattern: list[str], nodes: list[str], last: bool = True) -> bool:
    if not pattern:
        return not nodes
    if pattern[0] == "**":
        if all(part == "**" for part in pattern):
            return bool(nodes)
        return any(nodes_match(pattern[1:], nodes[skip:]) for skip in range(len(nodes)))
    if not nodes or not pattern[0]:
        return False
    return fnmatch.fnmatchcase(nodes[0], pattern[0]) and nodes_match(pattern[1:], nodes[1:])


def naive_find(metrics: set[str], pattern: str, leaves_only: bool = False) -> list[Node]:
    variants = [variant.split(".") for variant in expanded(pattern)]
    both = [(path, False) for path in branches_of(metrics) if not leaves_only] + [(path, True) for path in metrics]
    return sorted(
        Node(path, is_leaf) for path, is_leaf in both if any(nodes_match(v, path.split(".")) for v in variants)
    )


# ---- laws ----

PLAIN = st.text(alphabet="ab1-", min_size=1, max_size=3)
STRANGE = st.text(alphabet="ab1[]^-!{},*?é\U0010ffff", min_size=1, max_size=4)
NODES = st.one_of(st.sampled_from(["a", "b", "ab"]), PLAIN, STRANGE)
METRICS = st.sets(st.lists(NODES, min_size=1, max_size=4).map(".".join), max_size=25)
PARTS = st.one_of(
    st.sampled_from(["*", "**", "a", "b", "a*", "?", "{a,b}", "{a,b1}*", "[a-b]", "[!a]*", "{a*,ab*,b?}", "*{,1}"]),
    st.text(alphabet="ab1[]^-!{},*?é", min_size=0, max_size=6),
)
PATTERNS = st.one_of(
    st.lists(PARTS, min_size=1, max_size=4).map(".".join),
    st.text(alphabet="ab*?.{},[]!-", max_size=12),
)


@given(metrics=METRICS, patterns=st.lists(PATTERNS, min_size=5, max_size=15), leaves_only=st.booleans())
@settings(max_examples=300, deadline=None)
@example(metrics={"a"}, patterns=["[^a]", "[]]", "[!]]", "[b-a]", "[!b-a]", "[a-]", "[--b]", "["], leaves_only=False)
@example(
    metrics={"^", "-", "]", "[", "!"}, patterns=["[^]", "[^-]", "[!^]", "[]-]", "[+-^]", "[!]-]"], leaves_only=True
)
@example(metrics={"[a", "*a", "?b", "ba"}, patterns=["[*", "{[a,x*}", "{*a,x?}", "{?b,x*}"], leaves_only=True)
@example(metrics={"\ud7ffa", "\ue000", "é\U0010ffff"}, patterns=["\ud7ff*", "é*", "é\U0010ffff*"], leaves_only=True)
@example(metrics={"a.b.a.b", "a.a.a"}, patterns=["**.a.**", "**.**", "**.a.**.b", "a.**.{a,b}"], leaves_only=False)
@example(metrics={"b.a.c"}, patterns=["{b.a,b}.c", "{b.{a,x},y}.*", "{**,b}.c", "{**.a,b}.c"], leaves_only=False)
def test_find_agrees_with_a_naive_matcher(metrics: set[str], patterns: list[str], leaves_only: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        catalog = Catalog(f"{directory}/catalog.sqlite")
        catalog.add(metrics)
        for pattern in patterns:
            assert catalog.find(pattern, leaves_only) == naive_find(metrics, pattern, leaves_only), pattern
        catalog.close()


WIDE = [
    *(f"top.dc{n % 3}.host{n:04}.{leaf}" for n in range(1400) for leaf in ("cpu", "load.1m", "load.5m")),
    *(f"top.dc1.host{n:04}.c*" for n in range(5)),
    *(f"other.dc{n % 3}.h{n}.cpu" for n in range(1200)),
]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    catalog = Catalog(str(tmp_path_factory.mktemp("wide") / "catalog.sqlite"))
    catalog.add(WIDE)
    yield catalog
    catalog.close()


@pytest.mark.parametrize(
    "pattern",
    [
        "top.*.*.cpu",
        "top.*.*.load",
        "top.*.*.load.1m",
        "top.*.*.*.5m",
        "top.*.*.c\\*",
        "*.*.*.cpu",
        "*.*.*.*",
        "top.dc*.host*.c*",
        "top.dc*.host0*.load.*m",
        "top.dc*.host*.{cpu,load}",
        "t*.dc?.*.[cl]*",
        "*.dc*.h*.c?u",
        "{top,other}.*.h*.cpu",
        "top.**.cpu",
        "top.dc*.host*.nothing",
        "top.dc*.*.load.[!1]m",
    ],
)
@pytest.mark.parametrize("leaves_only", [False, True])
def test_wide_trees_are_searched_as_narrow_ones(wide: Catalog, pattern: str, leaves_only: bool) -> None:
    metrics = set(WIDE)
    if pattern == "top.*.*.c\\*":
        assert wide.find(pattern, leaves_only) == [Node(metric, True) for metric in WIDE if metric.endswith("c*")]
    else:
        assert wide.find(pattern, leaves_only) == naive_find(metrics, pattern, leaves_only)


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_no_text_makes_find_fail(catalog_of_one: Catalog, pattern: str) -> None:
    assert all(isinstance(node, Node) for node in catalog_of_one.find(pattern))


@pytest.fixture(scope="module")
def catalog_of_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    catalog = Catalog(str(tmp_path_factory.mktemp("one") / "catalog.sqlite"))
    catalog.add(["a.b", "disk;dc=1"])
    yield catalog
    catalog.close()


# ---- recorded from graphite-web ----


@pytest.fixture(scope="module")
def recorded_tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    root = make_tree(tmp_path_factory.mktemp("recorded") / "whisper")
    catalog = Catalog(str(root.parent / "catalog.sqlite"))
    for _ in adopt(str(root), catalog):
        pass
    yield catalog
    catalog.close()


@pytest.mark.parametrize("pattern", recorded())
def test_find_answers_as_graphite_web_did(recorded_tree: Catalog, pattern: str) -> None:
    check_like_recorded(pattern, recorded_tree.find(pattern))


def test_all_recorded_deviations_are_recorded_patterns() -> None:
    assert len(recorded()) == 57
    assert DEVIATIONS.keys() <= recorded().keys()


# ---- by example ----


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(str(tmp_path / "catalog.sqlite"))
    yield catalog
    catalog.close()


def test_a_backslash_takes_the_meaning_from_any_character(catalog: Catalog) -> None:
    catalog.add(["a.*", "a.x", "a.{b,c}", "a.b"])
    assert catalog.find(r"a.\*") == [Node("a.*", True)]
    assert catalog.find(r"a.\{b,c\}") == [Node("a.{b,c}", True)]
    assert catalog.find(r"a\.x") == catalog.find("a.x\\") == [Node("a.x", True)]


def test_a_branch_comes_before_the_leaf_of_the_same_path(catalog: Catalog) -> None:
    catalog.add(["a.b", "a.b.c"])
    assert catalog.find("a.*") == [Node("a.b", False), Node("a.b", True)]
    assert catalog.find("a.*", leaves_only=True) == [Node("a.b", True)]
    assert catalog.expand("a.*") == ["a.b"]


def test_expand_gives_sorted_distinct_paths(catalog: Catalog) -> None:
    catalog.add(["b.x", "a.x", "a.x.y", "c"])
    assert catalog.expand("*.*") == ["a.x", "b.x"]
    assert catalog.expand("*.*.*", leaves_only=True) == ["a.x.y"]


def test_a_tagged_metric_is_found_by_its_name_in_any_order_of_tags(catalog: Catalog) -> None:
    catalog.add(["disk.used;dc=1;host=a"])
    for spelling in ("disk.used;dc=1;host=a", "disk.used;host=a;dc=1"):
        assert catalog.find(spelling) == [Node("disk.used;dc=1;host=a", True)]
    assert catalog.find("disk.used;dc=1") == catalog.find("disk.used;dc=*;host=a") == catalog.find(";") == []


def test_a_tagged_metric_is_found_by_its_encoded_path_but_not_by_wildcards_at_the_top(catalog: Catalog) -> None:
    path = encoded("disk.used;dc=1")
    catalog.add(["disk.used;dc=1", "_tag.x"])
    assert catalog.find("_tagged.*.*.*") == catalog.find(path) == [Node(path, True)]
    assert catalog.find("_tagged") == [Node("_tagged", False)]
    assert catalog.names_of([path, "_tagged.no.such.path"]) == {path: "disk.used;dc=1"}
    for pattern in ("*", "**", "_*", "{_tagged*,x}", "*.*.*.*"):
        assert all(node.path.startswith("_tag.") or node.path == "_tag" for node in catalog.find(pattern)), pattern


def test_braces_with_thousands_of_literal_names_are_looked_up(catalog: Catalog) -> None:
    catalog.add(f"web{number}.load" for number in range(0, 3000, 2))
    names = ",".join(f"web{number}" for number in range(3000))
    assert len(catalog.find(f"{{{names}}}.load")) == 1500
    assert len(catalog.find(f"{{{names}}}.lo*")) == 1500


def test_braces_with_hundreds_of_wildcards_are_matched(catalog: Catalog) -> None:
    catalog.add(f"x.web{number}" for number in range(500))
    names = ",".join(f"?eb{number}" for number in range(0, 500, 2))
    assert len(catalog.find(f"x.{{{names}}}")) == 250


def test_braces_beyond_all_bounds_are_refused_with_a_sentence(catalog: Catalog) -> None:
    pattern = "{a,b}" * 40
    with pytest.raises(QueryError, match=f"more than {MAX_ALTERNATIVES} alternatives"):
        catalog.find(pattern)
    with pytest.raises(QueryError, match="alternatives"):
        catalog.find(".".join(["{a.b,c}"] * 40))


def test_a_find_does_not_wait_for_a_writer(catalog: Catalog) -> None:
    catalog.add(["a.b"])
    writer = sqlite3.connect(catalog.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM nodes")
    assert catalog.find("a.*") == [Node("a.b", True)]
    assert catalog.contains("a.b") and list(catalog.metrics()) == ["a.b"]
    writer.execute("ROLLBACK")
    writer.close()

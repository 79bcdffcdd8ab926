"""Names of results come from path expressions, nodes and tags."""

from datetime import timezone
from typing import Any

import numpy as np
import pytest

from carbonpy.errors import QueryError
from carbonpy.functions.context import Context, Shared
from carbonpy.functions.names import common_tags, node_or_tag, path_expressions, tags_of_name
from carbonpy.series.series import Series


class OnlyCalls:
    """Reads ``f(path...)`` and nothing else."""

    def first_path(self, text: str) -> str:
        inner = text.partition("(")[2]
        if not inner or " " in text:
            raise QueryError(f"{text!r} is no target")
        return inner.rstrip(")").split(",")[0]

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"names have no need for {name}")


CONTEXT = Context(0, 600, 600, timezone.utc, 0.0, OnlyCalls(), Shared())


def series(name: str, **fields: Any) -> Series:
    return Series(name, 0, 120, 60, np.array([1.0, np.nan]), **fields)


def test_each_path_expression_is_named_once_and_in_order():
    many = [series("b", path_expression="z.*"), series("a"), series("c", path_expression="z.*"), series("b")]
    assert path_expressions(many) == "z.*,a,b"
    assert path_expressions([]) == ""


@pytest.mark.parametrize(
    ("name", "nodes", "key"),
    [
        ("a.b.c", [0], "a"),
        ("a.b.c", [-1, 0], "c.a"),
        ("a.b.c", [1.0], "b"),
        ("a.b.c", [3], ""),
        ("a.b.c", [-4], ""),
        ("a.b.c", [1.5], ""),
        ("a.b.c", ["1"], ""),
        ("a.b.c", [float("nan"), float("inf"), 1], "..b"),
        ("a.b.c", [], ""),
        ("scale(a.b.c,2)", [1], "b"),
        ("load (of b.c)", [0], "load (of b"),
        ("", [0], ""),
        ("disk.used;dc=ab.cd;rack=1", [-1], "used"),
    ],
)
def test_nodes_are_taken_from_the_path(name, nodes, key):
    assert node_or_tag(series(name), nodes, CONTEXT) == key


def test_what_is_no_node_is_a_tag():
    tagged = series("disk.used;dc=x", tags={"name": "disk.used", "dc": "x", "7": "seven"})
    assert node_or_tag(tagged, ["dc", 0, "name", "none", 7], CONTEXT) == "x.disk.disk.used..seven"


def test_common_tags_are_those_that_all_share():
    first = series("a", tags={"name": "a", "dc": "x", "os": "linux"})
    second = series("b", tags={"name": "b", "os": "linux", "dc": "x"})
    third = series("b", tags={"name": "b", "os": "bsd", "dc": "x"})
    assert common_tags([first, second]) == {"dc": "x", "os": "linux"}
    assert common_tags([first, second, third]) == {"dc": "x"}
    assert common_tags([first]) == first.tags
    assert common_tags([]) == {}


def test_tags_are_read_from_a_name_unless_it_is_a_call():
    assert tags_of_name("cpu;dc=x") == {"name": "cpu", "dc": "x"}
    assert tags_of_name("a.b") == {"name": "a.b"}
    assert tags_of_name("p95Series(cpu;dc=x)") == {"name": "p95Series(cpu;dc=x)"}
    assert tags_of_name("cpu;dc=") == {"name": "cpu;dc="}

"""The table of functions: the same names, groups and parameters as graphite-web's, and every one documented."""

from __future__ import annotations

import inspect
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from carbonpy.expression.grammar import parse
from carbonpy.expression.plan import readings
from carbonpy.expression.tree import Call, Expression, Template
from carbonpy.functions import aggregates
from carbonpy.functions.declare import SERIES_LIST, SERIES_LISTS, Kind, Param, function
from carbonpy.functions.library import Library

GRAPHITE = json.loads((Path(__file__).parent.parent / "golden" / "gwfuncs.json").read_text())
LIBRARY = Library.standard()
NAMES = list(LIBRARY)
SHARED = sorted(set(GRAPHITE) & set(NAMES))
GROUPS = {"Combine", "Transform", "Calculate", "Filter Series", "Filter Data", "Sorting", "Alias", "Graph", "Special"}

#: (function, parameter) -> fields that differ from graphite-web's (None: not there), and why.
DIFFERENT: dict[tuple[str, str], tuple[dict[str, Any], str]] = {
    ("dashed", "dashLength"): ({"type": "float"}, "its documentation and its code take 2.5"),
    ("highest", "n"): ({"required": None, "default": 1}, "its code takes 1 where there is none"),
    ("lowest", "n"): ({"required": None, "default": 1}, "its code takes 1 where there is none"),
    ("legendValue", "valuesTypes"): (
        {"options": None},
        "its code takes any and writes (?); percentiles are types here",
    ),
}
EXAMPLE = re.compile(r"^Example: (.+)$", re.MULTILINE)


def code(name: str) -> Any:
    found = LIBRARY.find(name)
    assert found is not None
    return found.code


def params(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters as they can be compared: without suggestions, and without the aggregates that only carbonpy has."""
    ours = {"first"} | {name for name in NAMES if name not in GRAPHITE}
    kept = []
    for param in entry["params"]:
        param = {key: value for key, value in param.items() if key != "suggestions"}
        if param.get("default") == math.inf:
            param["default"] = "inf"
        if param["type"] in ("aggFunc", "aggOrSeriesFunc"):
            param["options"] = [option for option in param["options"] if option not in ours]
        kept.append(param)
    return kept


def expected(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters of graphite-web's as they are here."""
    changed = [{**param, **DIFFERENT.get((entry["name"], param["name"]), ({}, ""))[0]} for param in params(entry)]
    return [{key: value for key, value in param.items() if value is not None} for param in changed]


def test_every_function_of_graphite_web_is_here() -> None:
    assert sorted(set(GRAPHITE) - set(NAMES)) == []


def test_every_declared_difference_is_one() -> None:
    for (name, parameter), (fields, reason) in DIFFERENT.items():
        (there,) = (param for param in params(GRAPHITE[name]) if param["name"] == parameter)
        assert all(there.get(key) != value for key, value in fields.items()) and reason


@pytest.mark.parametrize("name", SHARED)
def test_a_function_is_declared_as_in_graphite_web(name: str) -> None:
    here, there = LIBRARY.description(name), GRAPHITE[name]
    assert here["group"] == there["group"]
    assert params(here) == expected(there)


@pytest.mark.parametrize("name", SHARED)
def test_aliases_are_aliases_in_both(name: str) -> None:
    others = {other for other in SHARED if GRAPHITE[other]["py"] == GRAPHITE[name]["py"]}
    assert {other for other in SHARED if code(other) is code(name)} == others
    found = LIBRARY.find(name)
    assert found is not None and found.declaration.aggregator == GRAPHITE[name]["aggregator"]


@pytest.mark.parametrize("name", NAMES)
def test_a_function_says_what_it_does_and_its_example_uses_it(name: str) -> None:
    found = LIBRARY.find(name)
    assert found is not None
    text = inspect.getdoc(found.code) or ""
    examples = EXAMPLE.findall(text)
    assert len(text.partition("Example:")[0].split()) >= 3, f"{name} says nothing"
    assert examples, f"{name} has no line Example: <target>"
    readings([parse(example) for example in examples], 0, 86400, LIBRARY)  # refuses what does not fit
    used = {used for example in examples for used in called(parse(example))}
    assert used & {found.declaration.name, *found.declaration.aliases}
    assert used <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_code_takes_what_the_declaration_says(name: str) -> None:
    found = LIBRARY.find(name)
    assert found is not None
    declaration = found.declaration
    assert declaration.group in GROUPS
    takes = list(inspect.signature(found.code).parameters.values())[found.takes_context :]
    variadic = bool(declaration.params) and declaration.params[-1].multiple
    assert [one.kind for one in takes if one.kind is one.VAR_POSITIONAL] == [
        inspect.Parameter.VAR_POSITIONAL
    ] * variadic
    assert len(takes) == len(declaration.params)
    assert not any(param.multiple for param in declaration.params[:-1])
    assert len({spelling for param in declaration.params for spelling in (param.name, *param.also)}) == sum(
        1 + len(param.also) for param in declaration.params
    )
    for param in declaration.params:
        assert param.name.isidentifier()
        assert not (param.required and param.default is not None)


@pytest.mark.parametrize("name", NAMES)
def test_a_description_is_strict_json_of_the_known_shape(name: str) -> None:
    entry = LIBRARY.description(name)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert list(entry) == ["name", "function", "description", "module", "group", "params"]
    assert entry["function"].startswith(f"{name}(")
    for param in entry["params"]:
        assert set(param) <= {"name", "type", "required", "default", "multiple", "options", "suggestions"}


def called(tree: Expression) -> set[str]:
    """Names of the functions in a tree."""
    if isinstance(tree, Template):
        return called(tree.body)
    if not isinstance(tree, Call):
        return set()
    inner = [*tree.arguments, *(value for _, value in tree.named)]
    return {tree.name}.union(*(called(one) for one in inner))


@function(
    "twice",
    SERIES_LIST,
    Param("how", Kind.AGG_FUNC, default="sum"),
    Param("limit", Kind.INT_OR_INF, default=math.inf, suggestions=(1, 2)),
    Param("nodes", Kind.NODE_OR_TAG, multiple=True),
    group="Special",
    aliases=("double",),
    aggregator=True,
)
def twice(context, series, how, limit, *nodes):  # type: ignore[no-untyped-def]
    """Do it twice.

    Example: twice(a)
    """
    return series


@function("once", SERIES_LISTS, Param("by", Kind.AGG_OR_SERIES_FUNC), group="Combine")
def once(*series):  # type: ignore[no-untyped-def]
    """Do it once."""
    return series


def test_a_description_is_made_from_the_declaration() -> None:
    small = Library([twice, once])
    assert small.description("double") == {
        "name": "double",
        "function": "double(seriesList, how='sum', limit=inf, *nodes)",
        "description": "Do it twice.\n\nExample: twice(a)",
        "module": "graphite.render.functions",
        "group": "Special",
        "params": [
            {"name": "seriesList", "type": "seriesList", "required": True},
            {
                "name": "how",
                "type": "aggFunc",
                "default": "sum",
                "options": sorted([*aggregates.AGGREGATES, *aggregates.ALIASES]),
            },
            {"name": "limit", "type": "intOrInf", "default": "inf", "suggestions": [1, 2]},
            {"name": "nodes", "type": "nodeOrTag", "multiple": True},
        ],
    }
    assert {"twice", "double"} <= set(small.description("once")["params"][1]["options"])
    with pytest.raises(KeyError):
        small.description("nosuch")


def test_a_library_knows_names_and_aliases_and_groups_them() -> None:
    small = Library([twice, once])
    assert list(small) == ["double", "once", "twice"] and len(small) == 3
    assert "double" in small and "nosuch" not in small
    assert small.find("double") == small.find("twice") and small.find("nosuch") is None
    assert small.groups() == {"Combine": ["once"], "Special": ["double", "twice"]}
    found, other = small.find("twice"), small.find("once")
    assert found is not None and found.takes_context
    assert other is not None and not other.takes_context


def test_two_functions_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="two functions are called twice"):
        Library([twice, twice])

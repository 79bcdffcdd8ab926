"""Aliases: other names for the same series.

The law: the name is all that changes.  Values, tags and the path expression stay, so that what is grouped
or combined afterwards is still known by what was asked for.  Of nested aliases the outer one wins, and it
sees the name that the inner one gave.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence

from carbonpy.errors import QueryError
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.names import node_or_tag
from carbonpy.functions.patterns import replacer
from carbonpy.series.series import Series

_POSITIONS = Param("pos", Kind.INTEGER, multiple=True)
#: From the first comma on: what follows the path in the text of a call.
_FURTHER_ARGUMENTS = re.compile(",.*$")


@function("alias", SERIES_LIST, Param("newName", Kind.STRING, required=True), group="Alias")
def alias(series: Sequence[Series], new_name: str) -> list[Series]:
    """Show series under another name.

    Example: alias(sales.widgets.largeBlue, 'Large Blue Widgets')
    """
    return [one.labelled(new_name) for one in series]


@function("aliasByMetric", SERIES_LIST, group="Alias")
def alias_by_metric(series: Sequence[Series]) -> list[Series]:
    """Show series under the last node of their names.

    Example: aliasByMetric(carbon.agents.graphite.creates)
    """
    return substr(series, -1, 0)


@function("aliasByNode", SERIES_LIST, Param("nodes", Kind.NODE_OR_TAG, required=True, multiple=True), group="Alias")
def alias_by_node(context: Context, series: Sequence[Series], *nodes: int | str) -> list[Series]:
    """Show series under nodes of their names or values of their tags, joined by dots; 0 is the first node.

    What there is not is left empty.  Of a name that is a call, the first path in it counts.

    Example: aliasByNode(servers.*.cpu.load5, 1, -1)
    """
    return [one.labelled(node_or_tag(one, nodes, context)) for one in series]


@function("aliasByTags", SERIES_LIST, Param("tags", Kind.NODE_OR_TAG, required=True, multiple=True), group="Alias")
def alias_by_tags(context: Context, series: Sequence[Series], *tags: int | str) -> list[Series]:
    """Show series under values of their tags or nodes of their names, joined by dots.

    Example: aliasByTags(seriesByTag('name=cpu'), 'server', 'name')
    """
    return alias_by_node(context, series, *tags)


@function(
    "aliasSub",
    SERIES_LIST,
    Param("search", Kind.STRING, required=True),
    Param("replace", Kind.STRING, required=True),
    group="Alias",
)
def alias_sub(context: Context, series: Sequence[Series], search: str, replace: str) -> list[Series]:
    r"""Replace all that a regular expression matches in the names of series; \1 is the pattern's first group.

    Example: aliasSub(ip.*TCP*, '^.*TCP(\d+)', '\1')
    """
    return _renamed(context, series, replacer(search, replace))


@function("aliasByBase64", SERIES_LIST, Param("nodeNum", Kind.NODE), group="Alias")
def alias_by_base64(series: Sequence[Series], node: int | None) -> list[Series]:
    """Decode names that are Base64, or the node with that number, counted from 1, of the metric's name.

    What is no Base64 of a text in UTF-8 stays as it is.

    Example: aliasByBase64(encoded.*.hits, 2)
    """
    if node is not None and node < 1:
        raise QueryError(f"there is no node {node}; aliasByBase64 counts nodes from 1")
    return [one.labelled(_decoded(one, node)) for one in series]


def _decoded(one: Series, node: int | None) -> str:
    if node is None:
        decoded = _from_base64(one.name)
        return one.name if decoded is None else decoded
    nodes = one.tags.get("name", one.name).split(".")
    decoded = _from_base64(nodes[node - 1]) if node <= len(nodes) else None
    return one.name if decoded is None else ".".join([*nodes[: node - 1], decoded, *nodes[node:]])


def _from_base64(text: str) -> str | None:
    """The text behind Base64 with its padding; None if there is none."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


@function("lower", SERIES_LIST, _POSITIONS, group="Alias", aliases=("toLowerCase",))
def lower(series: Sequence[Series], *positions: int) -> list[Series]:
    """Write names in lower case, or only the characters at some positions; 0 is the first, -1 the last.

    Example: lower(Servers.WEB1.Load)
    """
    return _cased(series, positions, str.lower)


@function("upper", SERIES_LIST, _POSITIONS, group="Alias", aliases=("toUpperCase",))
def upper(series: Sequence[Series], *positions: int) -> list[Series]:
    """Write names in upper case, or only the characters at some positions; 0 is the first, -1 the last.

    Example: upper(servers.web1.load, 0)
    """
    return _cased(series, positions, str.upper)


def _cased(series: Sequence[Series], positions: Sequence[int], case: Callable[[str], str]) -> list[Series]:
    if not positions:
        return [one.labelled(case(one.name)) for one in series]
    return [one.labelled(_cased_at(one.name, positions, case)) for one in series]


def _cased_at(name: str, positions: Sequence[int], case: Callable[[str], str]) -> str:
    """Positions that a name does not have are passed over: names differ in length."""
    characters = list(name)
    for position in positions:
        if -len(characters) <= position < len(characters):
            characters[position] = case(characters[position])
    return "".join(characters)


@function(
    "substr", SERIES_LIST, Param("start", Kind.NODE, default=0), Param("stop", Kind.NODE, default=0), group="Special"
)
def substr(series: Sequence[Series], start: int, stop: int) -> list[Series]:
    """Show series under the nodes of their names from `start` on and before `stop`; 0 is the first, -1 the last.

    `stop` 0 means to the end.  Of a name that is a call, the first path in the innermost call counts.

    Example: substr(carbon.agents.hostname.avgUpdateTime, 2, 4)
    """
    return [one.labelled(_nodes(one.name, start, stop)) for one in series]


def _nodes(name: str, start: int, stop: int) -> str:
    inside = name[name.rfind("(") + 1 :]
    if ")" in name:
        inside = name[name.rfind("(") + 1 : name.find(")")]
    return _FURTHER_ARGUMENTS.sub("", ".".join(inside.split(".")[start : stop or None]))


def _renamed(context: Context, series: Sequence[Series], rename: Callable[[str], str]) -> list[Series]:
    renamed = []
    for one in series:
        context.evaluator.pieces()
        renamed.append(one.labelled(rename(one.name)))
    return renamed

"""Series in groups, by parts of their names or by tags; each group is combined on its own.

The law: groups come in the order in which their first series does, and keep the order of their series.  A
group is called by its key.  A callback is an aggregate or any function that makes series of a list; of
several series that it makes the first one counts, and a group of which it makes none is left out.
``WithWildcards`` functions take the nodes of whole names, function text and all; the others take them of
the first path inside a name (`carbonpy.functions.names`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates
from carbonpy.functions.combine import combined, flat
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.names import node_or_tag
from carbonpy.series.series import Series

_CALLBACK = Param("callback", Kind.AGG_OR_SERIES_FUNC, required=True)
_POSITIONS = Param("position", Kind.NODE, multiple=True)
#: Functions that are not what the aggregate of their name is, and the other way round.
_NO_AGGREGATES = frozenset({"multiplySeries", "countSeries"})
_CALLED = {"avg": "average"}


def called_back(context: Context, callback: str, lists: Sequence[list[Series]]) -> Series | None:
    """The first series that `callback` makes of lists of series, one argument each; None if it makes none.

    Raises QueryError for an unknown function, one that cannot be called so, and one that gives no series.
    """
    if callback not in _NO_AGGREGATES and aggregates.find(callback) is not None:
        series = flat(lists)
        return combined(series, _CALLED.get(callback, callback), context.xff) if series else None
    made = context.evaluator.call(callback, lists, context)
    if made and not isinstance(made[0], Series):
        raise QueryError(f"{callback[:60]}() makes lists of series; name a function that combines series")
    return made[0] if made else None


def _grouped(series: Sequence[Series], key_of: Callable[[Series], str]) -> dict[str, list[Series]]:
    groups: dict[str, list[Series]] = {}
    for one in series:
        groups.setdefault(key_of(one), []).append(one)
    return groups


@function("group", Param("seriesLists", Kind.SERIES_LIST, multiple=True), group="Combine")
def group(*lists: Sequence[Series]) -> list[Series]:
    """All series of several lists in one, each as often as it comes.

    Example: group(servers.web.cpu, servers.db*.cpu)
    """
    return flat(lists)


def _without_nodes(context: Context, series: Sequence[Series], func: str, positions: Sequence[int]) -> list[Series]:
    left_out = frozenset(positions)
    groups = _grouped(
        series,
        lambda one: ".".join(node for index, node in enumerate(one.name.split(".")) if index not in left_out),
    )
    return [combined(many, func, context.xff).labelled(key) for key, many in groups.items()]


@function(
    "aggregateWithWildcards",
    SERIES_LIST,
    Param("func", Kind.AGG_FUNC, required=True),
    _POSITIONS,
    group="Combine",
)
def aggregate_with_wildcards(context: Context, series: Sequence[Series], func: str, *positions: int) -> list[Series]:
    """Combine all series whose names are the same but for the nodes at some positions (0 is the first).

    Example: aggregateWithWildcards(servers.*.cpu.*, 'max', 1)
    """
    return _without_nodes(context, series, func, positions)


def _with_wildcards(name: str, func: str, what: str) -> Callable[..., Any]:
    """The function `name` that combines by the aggregate `func` what differs in some nodes."""

    def combine(context: Context, series: Sequence[Series], *positions: int) -> list[Series]:
        return _without_nodes(context, series, func, positions)

    combine.__name__ = name
    combine.__doc__ = (
        f"{what} all series whose names are the same but for the nodes at some positions (0 is the first).\n\n"
        f"Example: {name}(servers.*.cpu.*, 1)\n"
    )
    return function(name, SERIES_LIST, _POSITIONS, group="Combine", aggregator=True)(combine)


FUNCTIONS = (
    _with_wildcards("sumSeriesWithWildcards", "sum", "Add"),
    _with_wildcards("averageSeriesWithWildcards", "average", "Average"),
    _with_wildcards("multiplySeriesWithWildcards", "multiply", "Multiply"),
)


def _by_key(context: Context, series: Sequence[Series], callback: str, key_of: Callable[[Series], str]) -> list[Series]:
    made = {key: called_back(context, callback, [many]) for key, many in _grouped(series, key_of).items()}
    return [one.labelled(key) for key, one in made.items() if one is not None]


@function(
    "groupByNode",
    SERIES_LIST,
    Param("nodeNum", Kind.NODE_OR_TAG, required=True),
    Param("callback", Kind.AGG_OR_SERIES_FUNC, default="average"),
    group="Combine",
)
def group_by_node(context: Context, series: Sequence[Series], node: int | str, callback: str) -> list[Series]:
    """Combine the series that have the same node, or the same value of a tag, by an aggregate or a function.

    Example: groupByNode(servers.*.cpu.*, 1, 'sum')
    """
    return _by_key(context, series, callback, lambda one: node_or_tag(one, (node,), context))


@function("groupByNodes", SERIES_LIST, _CALLBACK, Param("nodes", Kind.NODE_OR_TAG, multiple=True), group="Combine")
def group_by_nodes(context: Context, series: Sequence[Series], callback: str, *nodes: int | str) -> list[Series]:
    """Combine the series that have the same nodes, or values of tags, by an aggregate or a function.

    Example: groupByNodes(servers.*.cpu.*, 'sum', 1, 3)
    """
    return _by_key(context, series, callback, lambda one: node_or_tag(one, nodes, context))


@function("groupByTags", SERIES_LIST, _CALLBACK, Param("tags", Kind.TAG, required=True, multiple=True), group="Combine")
def group_by_tags(context: Context, series: Sequence[Series], callback: str, *tags: str) -> list[Series]:
    """Combine the series that have the same values of some tags by an aggregate or a function.

    Results are called like tagged series, by the name that all series share or else by the callback.

    Example: groupByTags(seriesByTag('name=cpu'), 'average', 'dc', 'os')
    """
    names = {one.tags.get("name", "") for one in series}
    shared = names.pop() if len(names) == 1 else callback
    chosen = sorted({tag for tag in tags if tag != "name"})

    def key_of(one: Series) -> str:
        first = one.tags.get("name", "") if "name" in tags else shared
        return ";".join([first, *(f"{tag}={one.tags.get(tag, '')}" for tag in chosen)])

    result = []
    for key, many in _grouped(series, key_of).items():
        made = called_back(context, callback, [many])
        if made is not None:
            # not parsed from the key: a tag that the group has not leaves an empty value there
            present = {tag: many[0].tags[tag] for tag in chosen if many[0].tags.get(tag)}
            tags_of_group = {"name": key.split(";", 1)[0], **present}
            result.append(made.changed(name=key, path_expression=key, tags=tags_of_group))
    return result


@function(
    "applyByNode",
    SERIES_LIST,
    Param("nodeNum", Kind.NODE, required=True),
    Param("templateFunction", Kind.STRING, required=True),
    Param("newName", Kind.STRING),
    group="Combine",
)
def apply_by_node(
    context: Context, series: Sequence[Series], node: int, template: str, new_name: str | None
) -> list[Series]:
    """Evaluate a target once for each prefix of names up to a node, put in wherever the target has %.

    Example: applyByNode(servers.*.disk.bytes_free, 1, 'divideSeries(%.disk.bytes_free, sumSeries(%.disk.*))', '%.free')
    """
    prefixes = set()
    for one in series:
        parts = one.name.split(".")
        if not -len(parts) <= node < len(parts):
            raise QueryError(f"{one.name[:80]} has no node {node}; its nodes are 0 to {len(parts) - 1}")
        prefixes.add(".".join(parts[: node % len(parts) + 1]))
    result = []
    for prefix in sorted(prefixes):
        for made in context.evaluator.target(template.replace("%", prefix), context):
            name = new_name.replace("%", prefix) if new_name else made.name
            result.append(made.changed(name=name, path_expression=prefix))
    return result


@function(
    "mapSeries",
    SERIES_LIST,
    Param("mapNodes", Kind.NODE_OR_TAG, required=True, multiple=True),
    group="Combine",
    aliases=("map",),
)
def map_series(context: Context, series: Sequence[Series], *nodes: int | str) -> list[list[Series]]:
    """Lists of the series that have the same nodes, or values of tags, for reduceSeries.

    Example: reduceSeries(mapSeries(servers.*.disk.*, 1), 'asPercent', 3, 'bytes_used', 'bytes_total')
    """
    return list(_grouped(series, lambda one: node_or_tag(one, nodes, context)).values())


@function(
    "reduceSeries",
    Param("seriesLists", Kind.SERIES_LISTS, required=True),
    Param("reduceFunction", Kind.STRING, required=True),
    Param("reduceNode", Kind.NODE, required=True),
    Param("reduceMatchers", Kind.STRING, required=True, multiple=True),
    group="Combine",
    aliases=("reduce",),
)
def reduce_series(
    context: Context, lists: Sequence[Sequence[Series]], callback: str, node: int, *matchers: str
) -> list[Series]:
    """Call a function with the series whose node is the first matcher, the second and so on, for each beginning of
    names before that node.  Where one of these series is missing there is no result.

    Example: reduceSeries(mapSeries(servers.*.disk.*, 1), 'asPercent', 3, 'bytes_used', 'bytes_total')
    """
    found: dict[str, dict[str, Series]] = {}
    for one in flat(lists):
        parts = one.name.split(".")
        if -len(parts) <= node < len(parts) and parts[node] in matchers:
            found.setdefault(f"{'.'.join(parts[:node])}.reduce.{callback}", {})[parts[node]] = one
    result = []
    for key, by_node in found.items():
        if all(matcher in by_node for matcher in matchers):
            made = called_back(context, callback, [[by_node[matcher]] for matcher in matchers])
            if made is not None:
                result.append(made.derived(key))
    return result

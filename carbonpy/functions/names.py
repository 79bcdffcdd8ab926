"""What results are called: the parts of names, paths and tags that many functions build new names from.

The law: nothing here looks at values.  A node is a dotted part of a name, counted from 0 or, negative,
from the end; a name that is the text of a call (it ends with ``)``) stands for the first path expression
inside it, so that functions group and alias ``scale(a.b,2)`` like ``a.b``.  What is neither a node nor a
tag of the series is the empty text, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from carbonpy.errors import QueryError
from carbonpy.functions.context import Context
from carbonpy.metric import tags_of
from carbonpy.series.series import Series

_CALL = re.compile(r"[A-Za-z_]\w*\(.*\)\Z", re.DOTALL)


def path_expressions(series: Sequence[Series]) -> str:
    """The distinct path expressions in the order they first come in, joined by commas."""
    return ",".join(dict.fromkeys(one.path_expression for one in series))


def node_or_tag(series: Series, nodes: Sequence[int | float | str], context: Context) -> str:
    """The chosen parts of a series' name, joined by dots.

    nodes: whole numbers choose nodes of the name before its tags, everything else is the name of a tag
    (so is a number beyond the nodes); a part that there is not is empty.  A name that ends with ``)``
    and is no target stands for itself.
    """
    parts = _path(series, context).split(";", 1)[0].split(".")
    return ".".join(_part(series, parts, node) for node in nodes)


def _path(series: Series, context: Context) -> str:
    if not series.name.endswith(")"):
        return series.name
    try:
        return context.evaluator.first_path(series.name)
    except QueryError:
        return series.name


def _part(series: Series, parts: Sequence[str], node: int | float | str) -> str:
    if isinstance(node, (int, float)) and -len(parts) <= node < len(parts) and node == int(node):
        return parts[int(node)]
    return series.tags.get(str(node), "")


def common_tags(series: Sequence[Series]) -> dict[str, str]:
    """The tags that all of `series` have with the same value, in the first one's order."""
    if not series:
        return {}
    common = dict(series[0].tags)
    for one in series[1:]:
        if one.tags is not series[0].tags:
            common = {tag: value for tag, value in common.items() if one.tags.get(tag) == value}
    return common


def tags_of_name(name: str) -> Mapping[str, str]:
    """The tags that a series gets from its name alone: those written in it, unless it is the text of a call."""
    return {"name": name} if _CALL.match(name) else tags_of(name)

"""Legends: names that tell values of their series.

The law: like aliases, these change the name and nothing else.  Numbers are written as graphite-web writes
them: as Python writes a float, or, with a system of units, with two digits and a prefix (k, M, G, T, P in
steps of 1000 or Ki, Mi, Gi, Ti, Pi in steps of 1024).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.patterns import replacer
from carbonpy.functions.ranking import figures
from carbonpy.series.series import Series

#: Name of a system of units -> (prefix, size), largest first.
SYSTEMS: dict[str, tuple[tuple[str, float], ...]] = {
    "binary": (("Pi", 1024.0**5), ("Ti", 1024.0**4), ("Gi", 1024.0**3), ("Mi", 1024.0**2), ("Ki", 1024.0)),
    "si": (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)),
}
_AGGREGATES = (*aggregates.AGGREGATES, *aggregates.ALIASES)
#: A format with a width or a precision that no legend needs.
_TOO_WIDE = re.compile(r"%[^A-Za-z%]*[0-9]{4}")
#: Characters of the texts that one call may add to every name.
_MOST_CHARACTERS = 500


def in_units(value: float, system: str) -> tuple[float, str]:
    """(value in the largest unit it reaches, the unit's prefix); a hair above a whole number is that number."""
    for prefix, size in SYSTEMS[system]:
        if abs(value) >= size:
            return _whole(value / size, value), prefix
    return _whole(value, value), ""


def _whole(scaled: float, value: float) -> float:
    if math.isfinite(scaled) and value > 1 and scaled - math.floor(scaled) < 1e-11:
        return float(math.floor(scaled))
    return scaled


@function(
    "legendValue",
    SERIES_LIST,
    Param(
        "valuesTypes",
        Kind.STRING,
        multiple=True,
        suggestions=tuple(sorted([*_AGGREGATES, *(f"{name}Series" for name in _AGGREGATES), *SYSTEMS])),
    ),
    group="Alias",
)
def legend_value(series: Sequence[Series], *types: str) -> list[Series]:
    """Append aggregates of the values to the names, for each of the types given.

    With `si` or `binary` as the last type numbers are written in units of that system and in columns.

    Example: legendValue(sales.widgets.largeBlue, 'avg', 'max', 'si')
    """
    system = types[-1] if types and types[-1] in SYSTEMS else None
    if sum(map(len, types)) > _MOST_CHARACTERS:
        raise QueryError(f"the types have more than {_MOST_CHARACTERS} characters; write fewer of them")
    names = [one.name for one in series]
    for kind in types[:-1] if system else types:
        texts = _texts(kind, series, system)
        if system:
            names = [f"{name:<20}{kind:<5}{text:<10}" for name, text in zip(names, texts)]
        else:
            names = [f"{name} ({kind}: {text})" for name, text in zip(names, texts)]
    return [one.labelled(name) for one, name in zip(series, names)]


def _texts(kind: str, series: Sequence[Series], system: str | None) -> list[str]:
    """The aggregate of each series as text."""
    if aggregates.find(kind) is None:
        return ["(?)"] * len(series)
    values = figures(kind, series).tolist()
    if system:
        return ["None" if value != value else "{:.2f}{}".format(*in_units(value, system)) for value in values]
    if kind.removesuffix("Series") == "count":
        return [str(int(value)) for value in values]
    return ["None" if value != value else str(value) for value in values]


@function(
    "aliasQuery",
    SERIES_LIST,
    Param("search", Kind.STRING, required=True),
    Param("replace", Kind.STRING, required=True),
    Param("newName", Kind.STRING, required=True),
    group="Alias",
)
def alias_query(context: Context, series: Sequence[Series], search: str, replace: str, new_name: str) -> list[Series]:
    r"""Show series under the last value of other series, whose names theirs become by a replacement.

    The new name has one place for the value, in printf's style.

    Example: aliasQuery(channel.power.*, 'channel\.power\.([0-9]+)', 'channel.frequency.\1', 'Channel %d MHz')
    """
    renamed = replacer(search, replace)
    queries = [renamed(one.name) for one in series]
    names = {query: _formatted(new_name, _last_value(context, query)) for query in dict.fromkeys(queries)}
    return [one.labelled(names[query]) for one, query in zip(series, queries)]


def _last_value(context: Context, query: str) -> float:
    context.evaluator.pieces()
    found = context.evaluator.target(query, context)
    if not found:
        raise QueryError(
            f"there is no series {query[:200]!r} to take the name from; mend the search or the replacement"
        )
    (value,) = figures("last", found[:1]).tolist()
    if value != value:
        raise QueryError(f"the series {found[0].name[:200]!r} has no value to take the name from; choose a longer time")
    return float(value)


def _formatted(text: str, value: float) -> str:
    if _TOO_WIDE.search(text):
        raise QueryError(f"the new name {text[:80]!r} asks for too many characters; use a smaller width")
    try:
        return text % value
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(
            f"the new name {text[:80]!r} cannot show {value:g}: {error}; write one place for it, such as %d or %.2f"
        ) from None


@function(
    "cactiStyle",
    SERIES_LIST,
    Param("system", Kind.STRING, options=("binary", "si")),
    Param("units", Kind.STRING),
    group="Special",
)
def cacti_style(series: Sequence[Series], system: str | None, units: str | None) -> list[Series]:
    """Append the last, the highest and the lowest value to the names, in columns as Cacti has them.

    With a system numbers are written in its units; `units` is written behind them.

    Example: cactiStyle(ganglia.*.net.bytes_out, 'si', 'b')
    """
    if units and len(units) > _MOST_CHARACTERS:
        raise QueryError(f"the units have more than {_MOST_CHARACTERS} characters; write a short text")
    write = _writer(system, units)
    width = max((len(one.name) for one in series), default=0)
    names = [f"{one.name:<{width}}" for one in series]
    for title, function_name in (("Current", "last"), ("Max", "max"), ("Min", "min")):
        values = figures(function_name, series).tolist()
        # the width follows from the whole part of the values, so that it may be too small for a small negative one
        width = max((len(write(_whole_part(value))) for value in values), default=0) + 3
        texts = ["nan" if value != value else write(value) for value in values]
        names = [f"{name} {title}:{text:<{width}}" for name, text in zip(names, texts)]
    return [one.labelled(f"{name} ") for one, name in zip(series, names)]


def _whole_part(value: float) -> float:
    """What stands in for a value when columns are measured: 3 for none, as for 0."""
    return float(math.trunc(value)) if math.isfinite(value) and value else 3.0


def _writer(system: str | None, units: str | None) -> Callable[[float], str]:
    behind = f" {{}}{units.replace('{', '{{').replace('}', '}}')}" if units else "{}"
    layout = f"{{:.2f}}{behind}"
    if system:
        chosen = system
        return lambda value: layout.format(*in_units(value, chosen))
    return lambda value: layout.format(value, "")

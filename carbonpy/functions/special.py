"""Special: how values become fewer, lines without data, events, and what to show where nothing is.

The law: series that come from no metric (`constantLine`, `events`, `randomWalk`) begin at the start of the
time asked for, are of bounded length, have the request's xFilesFactor, and are the same whenever the same
is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from carbonpy.errors import QueryError
from carbonpy.functions.context import Context
from carbonpy.functions.declare import SERIES_LIST, Kind, Param, function
from carbonpy.functions.names import tags_of_name
from carbonpy.series.consolidation import FUNCTIONS
from carbonpy.series.series import Series, Values

#: Slots of a series that is made up here.
_MOST_SLOTS = 5_000_000


@function("changed", SERIES_LIST, group="Special")
def changed(series: Sequence[Series]) -> list[Series]:
    """1 where a value differs from the last known one before it, else 0, also where there is no value.

    Example: changed(servers.web1.config.version)
    """
    return [one.derived(f"changed({one.name})", _changes(one.values)) for one in series]


def _changes(values: Values) -> Values:
    changes = np.zeros(len(values))
    known = np.flatnonzero(~np.isnan(values))
    changes[known[1:]] = values[known[1:]] != values[known[:-1]]
    return changes


@function(
    "consolidateBy",
    SERIES_LIST,
    Param("consolidationFunc", Kind.STRING, required=True, options=tuple(sorted(FUNCTIONS))),
    group="Special",
)
def consolidate_by(series: Sequence[Series], how: str) -> list[Series]:
    """Say how many values become one where a series has more than can be shown, or meets coarser ones.

    Example: consolidateBy(servers.web1.requests, 'sum')
    """
    return [
        one.derived(f'consolidateBy({one.name},"{how}")', consolidateBy=how).changed(consolidation=how)
        for one in series
    ]


@function("cumulative", SERIES_LIST, group="Special")
def cumulative(series: Sequence[Series]) -> list[Series]:
    """Add values up where many become one; short for consolidateBy with sum.

    Example: cumulative(sales.widgets)
    """
    return consolidate_by(series, "sum")


@function(
    "setXFilesFactor",
    SERIES_LIST,
    Param("xFilesFactor", Kind.FLOAT, required=True),
    group="Special",
    aliases=("xFilesFactor",),
)
def set_x_files_factor(context: Context, series: Sequence[Series], xff: float) -> list[Series]:
    """Say which share of values has to be known, from 0 to 1, for their aggregate to be so.

    It holds for these series and for everything that the request evaluates afterwards.

    Example: setXFilesFactor(servers.*.load, 0.5)
    """
    context.xff = xff
    return [one.changed(xff=xff, tags={**one.tags, "xFilesFactor": str(xff)}) for one in series]


@function(
    "fallbackSeries",
    SERIES_LIST,
    Param("fallback", Kind.SERIES_LIST, required=True),
    group="Special",
)
def fallback_series(series: Sequence[Series], fallback: Sequence[Series]) -> list[Series]:
    """The series, or others if there are none at all; series without values are series too.

    Example: fallbackSeries(servers.*.requests, constantLine(0))
    """
    return list(series or fallback)


@function("constantLine", Param("value", Kind.FLOAT, required=True), group="Special")
def constant_line(context: Context, value: float) -> list[Series]:
    """Draw a horizontal line at a value: three points, at the start, in the middle and at the end.

    Example: constantLine(123.456)
    """
    step = max(1, (context.end - context.start) // 2)
    count = min(3, (context.end - context.start) // step + 1)
    name = str(value)
    return [
        Series(
            name,
            context.start,
            context.end,
            step,
            np.full(count, value),
            path_expression=f"constantLine({name})",
            xff=context.xff,
            tags=tags_of_name(name),
        )
    ]


@function("events", Param("tags", Kind.STRING, required=True, multiple=True), group="Special")
def events(context: Context, *tags: str) -> list[Series]:
    """How many events with all of the tags were in each second; the tag `*` alone stands for any event.

    Example: events('deploy', 'production')
    """
    start, end = context.start, context.end
    _check_slots(end - start, "second")
    moments = np.asarray(context.shared.events(tags, start, end), dtype=np.int64)
    counts = np.bincount(moments[(moments >= start) & (moments < end)] - start, minlength=end - start)
    name = "events({})".format(", ".join(f'"{tag}"' for tag in tags))
    values = np.where(counts > 0, counts, np.nan)
    return [Series(name, start, end, 1, values, consolidation="sum", xff=context.xff, tags=tags_of_name(name))]


@function(
    "randomWalkFunction",
    Param("name", Kind.STRING, required=True),
    Param("step", Kind.INTEGER, default=60),
    group="Special",
    aliases=("randomWalk",),
)
def random_walk(context: Context, name: str, step: int) -> list[Series]:
    """A line that begins at 0 and goes up or down by half at most each step; for trying things without data.

    The same name, start and step give the same walk.

    Example: randomWalk('some.time.series', 60)
    """
    if step < 1:
        raise QueryError(f"a step of {step} seconds leads nowhere; make it at least 1")
    count = -(-(context.end - context.start) // step)
    _check_slots(count, f"{step} seconds")
    seed = hashlib.sha256(f"{name}\n{context.start}\n{step}".encode(errors="surrogatepass")).digest()
    steps = np.random.default_rng(int.from_bytes(seed[:16], "big")).random(count) - 0.5
    steps[:1] = 0.0
    return [Series(name, context.start, context.end, step, steps.cumsum(), xff=context.xff, tags=tags_of_name(name))]


def _check_slots(count: int, each: str) -> None:
    if count > _MOST_SLOTS:
        raise QueryError(f"one value every {each} makes {count} of them, more than {_MOST_SLOTS}; ask for less time")


@function("seriesByTag", Param("tagExpressions", Kind.STRING, required=True, multiple=True), group="Special")
def series_by_tag(*expressions: str) -> list[Series]:
    """All series whose tags fit every expression: `tag=value`, `tag!=value`, `tag=~regex` or `tag!=~regex`.

    A regular expression has to fit from the start of the value.  An expression that the empty value fits
    lets series without that tag through; at least one has to be of another kind.

    Example: seriesByTag('name=disk.used', 'datacenter=dc1', 'server=~web.*')
    """
    raise QueryError("seriesByTag is read like a path and cannot be called by its name; write it into the target")

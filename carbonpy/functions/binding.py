"""Arguments to parameters: what a client wrote, checked and converted as the declaration says.

The law: `bind` gives what the Python function is called with (beside its context), or raises a
QueryError whose sentence names the parameter.  Nothing else is ever raised for what a client wrote.
Conversion is what graphite-web does when it enforces its validation: 2 is 2.0 for a float, "true" and 1
are True for a boolean, an interval stays the text it is but has to be one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from carbonpy.errors import QueryError
from carbonpy.functions import aggregates
from carbonpy.functions.declare import Declaration, Kind, Param
from carbonpy.series import attime

#: Parameters that series go into.
SERIES_KINDS = frozenset({Kind.SERIES, Kind.SERIES_LIST, Kind.SERIES_LISTS})

#: Integers beyond this are no counts, nodes or steps of anything.
_LARGEST = 2**53


class Later:
    """Stands for an argument that is not known yet: any kind takes it, and the function's side of it is None."""


LATER: Final = Later()


def bind(
    declaration: Declaration,
    positional: Sequence[Any],
    named: Mapping[str, Any],
    knows: Callable[[str], bool] | None = None,
) -> list[Any]:
    """The arguments for the Python function: one per parameter in their order, then those of a `multiple` one.

    positional, named: plain values, lists of Series, or `LATER`.  None stands for the default.
    knows: whether there is a function of a name, for parameters that take one; None accepts any name.
    Raises QueryError for a missing, superfluous, unknown, doubled or unsuitable argument.
    """
    given = _by_name(declaration, positional, named)
    bound: list[Any] = []
    for param in declaration.params:
        values = given[param.name]
        if not param.multiple:
            bound.append(_value(param, values[0] if values else None, knows))
            continue
        if param.required and not values:
            raise _missing(param)
        bound.extend(_value(param, value, knows) for value in values)
    return bound


def parameter(declaration: Declaration, position: int) -> Param | None:
    """The parameter that the positional argument number `position` (from 0) belongs to; None if there is none."""
    params = declaration.params
    if position < len(params):
        return params[position]
    return params[-1] if params and params[-1].multiple else None


def parameter_named(declaration: Declaration, name: str) -> Param | None:
    """The parameter that a keyword argument `name` belongs to; None if there is none."""
    for param in declaration.params:
        if name == param.name or name in param.also:
            return param
    return None


def _by_name(declaration: Declaration, positional: Sequence[Any], named: Mapping[str, Any]) -> dict[str, list[Any]]:
    given: dict[str, list[Any]] = {param.name: [] for param in declaration.params}
    for position, value in enumerate(positional):
        param = parameter(declaration, position)
        if param is None:
            raise QueryError(f"too many arguments, {len(positional)} of at most {len(given)}; it takes {_takes(given)}")
        given[param.name].append(value)
    for name, value in named.items():
        param = parameter_named(declaration, name)
        if param is None:
            raise QueryError(f"there is no parameter {name[:60]}; it takes {_takes(given)}")
        if given[param.name]:
            raise QueryError(f"parameter {param.name} is given twice; leave one out")
        given[param.name].append(value)
    return given


def _takes(given: Mapping[str, Any]) -> str:
    return ", ".join(given) or "no arguments"


def _missing(param: Param) -> QueryError:
    return QueryError(f"parameter {param.name} is missing; it must be {_WANTED[param.kind]}")


def _value(param: Param, value: Any, knows: Callable[[str], bool] | None) -> Any:
    if value is LATER:
        return None
    if value is None and param.multiple:
        raise unsuitable(param, "none")
    if value is None:
        if param.required:
            raise _missing(param)
        return param.default
    if param.options and any(value is option for option in param.options if not isinstance(option, str)):
        return value  # such as False where a text is wanted
    try:
        converted = _CONVERTERS[param.kind](value)
    except (ValueError, OverflowError):
        raise unsuitable(param, _shown(value)) from None
    if param.options and not param.open and converted not in param.options:
        options = ", ".join(str(option) for option in param.options)
        raise QueryError(f"parameter {param.name} must be one of {options}, not {_shown(value)}")
    if param.kind is Kind.AGG_OR_SERIES_FUNC and aggregates.find(converted) is None and knows and not knows(converted):
        raise unsuitable(param, _shown(value))
    return converted


def unsuitable(param: Param, shown: str) -> QueryError:
    """The sentence about an argument that a parameter cannot take.  shown: the argument for the eye."""
    return QueryError(f"parameter {param.name} must be {_WANTED[param.kind]}, not {shown}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "lists of series" if any(isinstance(one, list) for one in value) else "series"
    return repr(value)[:80]


# Converters: a value that is neither None nor LATER to what the function gets; ValueError if it is not suitable.


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise ValueError


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    if isinstance(value, str) and len(value) > 40:
        raise ValueError
    number = int(value)
    if (isinstance(value, float) and number != value) or abs(number) > _LARGEST:
        raise ValueError
    return number


def _int_or_inf(value: Any) -> int | float:
    if value == math.inf or (isinstance(value, str) and value.lower() == "inf"):
        return math.inf
    return _integer(value)


def _interval(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    try:
        attime.parse_offset(value)
    except QueryError:
        raise ValueError from None
    return value


def _int_or_interval(value: Any) -> int | str:
    try:
        return _integer(value)
    except ValueError:
        return _interval(value)


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError
    return str(value)


def _date(value: Any) -> str:
    if isinstance(value, bool):
        raise ValueError
    return str(_integer(value)) if isinstance(value, int | float) else _text(value)


def _node_or_tag(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    return value if isinstance(value, str) else _integer(value) if value == int(value) else str(value)


def _aggregate(value: Any) -> str:
    if not isinstance(value, str) or aggregates.find(value) is None:
        raise ValueError
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _series(value: Any) -> Any:
    if not isinstance(value, list) or any(isinstance(one, list) for one in value):
        raise ValueError
    return value


def _lists(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError
    return value if all(isinstance(one, list) for one in value) else [_series(value)]


_CONVERTERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.AGG_FUNC: _aggregate,
    Kind.AGG_OR_SERIES_FUNC: _name,
    Kind.ANY: lambda value: value,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _date,
    Kind.FLOAT: _float,
    Kind.INTEGER: _integer,
    Kind.INT_OR_INF: _int_or_inf,
    Kind.INT_OR_INTERVAL: _int_or_interval,
    Kind.INTERVAL: _interval,
    Kind.NODE: _integer,
    Kind.NODE_OR_TAG: _node_or_tag,
    Kind.SERIES: _series,
    Kind.SERIES_LIST: _series,
    Kind.SERIES_LISTS: _lists,
    Kind.STRING: _text,
    Kind.TAG: _text,
}
_WANTED = {
    Kind.AGG_FUNC: f"an aggregation function ({', '.join(sorted([*aggregates.AGGREGATES, *aggregates.ALIASES]))}, p95)",
    Kind.AGG_OR_SERIES_FUNC: "an aggregation function such as 'sum' or the name of a function in quotes",
    Kind.ANY: "a value",
    Kind.BOOLEAN: "true or false",
    Kind.DATE: "a time in quotes, such as '-1h' or '10:00 yesterday'",
    Kind.FLOAT: "a number",
    Kind.INTEGER: "a whole number",
    Kind.INT_OR_INF: "a whole number or inf",
    Kind.INT_OR_INTERVAL: "a whole number of points or an interval in quotes such as '5min'",
    Kind.INTERVAL: "an interval in quotes such as '5min', '1h' or '-2d'",
    Kind.NODE: "the whole number of a node (0 is the first)",
    Kind.NODE_OR_TAG: "the whole number of a node (0 is the first) or a tag in quotes",
    Kind.SERIES: "a path or a call that gives series",
    Kind.SERIES_LIST: "a path or a call that gives series",
    Kind.SERIES_LISTS: "lists of series as mapSeries gives them",
    Kind.STRING: "a text in quotes",
    Kind.TAG: "a tag in quotes",
}

"""How a function of the query language is declared: its name, its parameters, its group, what it reads.

The law: a declaration is the only place that says what a function accepts.  Validation, ``/functions``,
the documentation and the test that every function has a docstring with an example all read it.  The
decorator only ties the declaration to the Python function; the table of all functions is made by
`carbonpy.functions.library` when somebody asks for it, so importing a family does no work.

Names and types of parameters are graphite-web's, because clients read them (``/functions``).  Where
graphite-web declares one name and understands another, `Param.also` has the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, TypeVar


class Kind(Enum):
    """Types of parameters, by the names that ``/functions`` gives them."""

    AGG_FUNC = "aggFunc"
    AGG_OR_SERIES_FUNC = "aggOrSeriesFunc"
    ANY = "any"
    BOOLEAN = "boolean"
    DATE = "date"
    FLOAT = "float"
    INTEGER = "integer"
    INT_OR_INF = "intOrInf"
    INT_OR_INTERVAL = "intOrInterval"
    INTERVAL = "interval"
    NODE = "node"
    NODE_OR_TAG = "nodeOrTag"
    SERIES = "series"
    SERIES_LIST = "seriesList"
    SERIES_LISTS = "seriesLists"
    STRING = "string"
    TAG = "tag"


@dataclass(frozen=True)
class Param:
    """One parameter.  Immutable.

    multiple: takes all arguments that are left (the last parameter only), none at all unless required.
    default: what the function gets when the argument is left out or None.
    options: the only values allowed (empty: any).  suggestions: what an editor may offer.
    also: further spellings of the name as a keyword.
    open: the options are not all there is, the function itself checks what it gets.
    """

    name: str
    kind: Kind
    required: bool = False
    multiple: bool = False
    default: Any = None
    options: tuple[Any, ...] = ()
    suggestions: tuple[Any, ...] = ()
    also: tuple[str, ...] = ()
    open: bool = False


#: The parameter nearly every function begins with.
SERIES_LIST = Param("seriesList", Kind.SERIES_LIST, required=True)
#: The parameter of functions that take any number of lists.
SERIES_LISTS = Param("seriesLists", Kind.SERIES_LIST, required=True, multiple=True)


class Window(NamedTuple):
    """A stretch of time to be read: seconds since the epoch, start exclusive as in a request."""

    start: int
    end: int


#: (start, end of the context, arguments as far as they are plain values, else None) -> windows over which the
#: function will ask for its first argument once more.  Known before any data is there, so that everything is
#: fetched at once; what cannot be known then is fetched when the function asks.
Reads = Callable[[int, int, Sequence[Any]], Sequence[Window]]


@dataclass(frozen=True)
class Declaration:
    """What a function is, beside its code.  Immutable.

    group: Combine, Transform, Calculate, Filter Series, Filter Data, Sorting, Alias, Graph or Special.
    aliases: other names for the very same thing.
    aggregator: whether it may be given by name where an aggOrSeriesFunc is wanted and is offered there.
    """

    name: str
    params: tuple[Param, ...]
    group: str
    aliases: tuple[str, ...] = ()
    aggregator: bool = False
    reads: Reads | None = None


F = TypeVar("F", bound=Callable[..., Any])


def function(
    name: str,
    *params: Param,
    group: str,
    aliases: tuple[str, ...] = (),
    aggregator: bool = False,
    reads: Reads | None = None,
) -> Callable[[F], F]:
    """Declare the Python function below it as the function `name` of the query language.

    The Python function is called with one argument per parameter in their order, converted to its
    kind, defaults filled in; those of a `multiple` parameter come as separate arguments at the end.
    If its first Python parameter is called ``context`` it gets the `Context` of the call before them.
    Its docstring is the documentation: one paragraph, then an ``Example:`` line with a whole target.
    """

    def tie(code: F) -> F:
        code.declaration = Declaration(name, params, group, aliases, aggregator, reads)  # type: ignore[attr-defined]
        return code

    return tie

"""What has to be read for some targets, known before anything is read.

The law: `readings` names every path of the targets with the time it is needed over, each once, so that
all can be fetched together.  Functions that evaluate their first argument over further times say so in their
declaration (`reads`); windows within windows add up.  What can only be known from values that were
read is not here; the evaluation asks for it when it turns up.

Arguments are bound here already, so that a wrong one is found before anything is read.  `arguments` is
what plan and evaluation have in common: which arguments are plain values and which are series.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from carbonpy.errors import QueryError
from carbonpy.expression.grammar import MOST_CHARACTERS, parse
from carbonpy.expression.tree import Call, Expression, Literal, Path, Template
from carbonpy.functions.binding import LATER, SERIES_KINDS, bind, parameter, parameter_named, unsuitable
from carbonpy.functions.declare import Kind, Param
from carbonpy.functions.library import Function, Library

#: Steps of one plan; functions that read again and again inside each other double them with every level.
MOST_STEPS = 50_000

#: Template variable -> its value.
Variables = Mapping[str, int | float | str]

BY_TAG = "seriesByTag"
_NUMBER = re.compile(r"-?[0-9.]+\Z")


class Reading(NamedTuple):
    """One thing to be read: a path pattern, or a whole ``seriesByTag(...)`` call, over a time.

    start, end: seconds since the epoch, start exclusive and end inclusive as in a request.
    """

    path: str
    start: int
    end: int


class Unread(NamedTuple):
    """An argument that is series: the tree to get them from."""

    tree: Expression


class Failure(QueryError):
    """A QueryError that names its function already."""


def readings(
    trees: Iterable[Expression],
    start: int,
    end: int,
    library: Library,
    variables: Variables | None = None,
    request: Variables | None = None,
) -> list[Reading]:
    """Everything that is to be read for `trees` over a time, in the order it is met, each once.

    variables: template variables in force.  request: the values that the request gives for variables
    (``template[name]``), which override those of every ``template()``.
    Raises QueryError for unknown functions, unsuitable arguments, and functions that read again too often.
    """
    trees = list(trees)  # kept, as the walk knows nodes by their identity
    walk = _Walk(library, request or {})
    for tree in trees:
        walk.visit(tree, start, end, variables or {})
    return list(walk.found)


def reading(path: str, start: int, end: int) -> Reading:
    """A reading; there is no time before 1970."""
    return Reading(path, max(0, start), max(0, end))


def tag_expressions(path: str) -> tuple[str, ...] | None:
    """The expressions of a reading of series by their tags; None if it is a reading of a path pattern."""
    if not path.startswith(BY_TAG + "("):
        return None
    tree = parse(path)
    values = [argument.value for argument in tree.arguments if isinstance(argument, Literal)]  # type: ignore[union-attr]
    return tuple(value for value in values if isinstance(value, str))


def arguments(call: Call, function: Function, variables: Variables) -> tuple[list[Any], dict[str, Any]]:
    """(positional, named) arguments of a call: plain values, and `Unread` for what series come from.

    Raises QueryError for a path or call where a plain value is wanted.
    """
    declaration = function.declaration
    positional = [
        _argument(parameter(declaration, position), tree, variables) for position, tree in enumerate(call.arguments)
    ]
    named = {name: _argument(parameter_named(declaration, name), tree, variables) for name, tree in call.named}
    return positional, named


def find(name: str, library: Library) -> Function:
    """The function called `name`.  Raises QueryError, with the name that was probably meant."""
    function = library.find(name)
    if function is None:
        near = difflib.get_close_matches(name[:60], list(library), n=1)
        hint = f"did you mean {near[0]}?" if near else "see /functions for those there are"
        raise Failure(f"there is no function {name[:60]}; {hint}")
    return function


def in_force(template: Template, variables: Variables, request: Variables) -> dict[str, int | float | str]:
    """The variables inside a template: those around it, its own, and the request's over all."""
    return {**variables, **dict(template.values), **request}


def substituted(path: Path, variables: Variables) -> Path:
    """`path` with each ``$name`` replaced by its value; of names that begin alike the longest counts."""
    if "$" not in path.typed or not variables:
        return path
    if path.typed.count("$") * max(len(str(value)) for value in variables.values()) > MOST_CHARACTERS:
        raise Failure(f"the values of template variables make the path {path.typed[:80]} too long; write shorter ones")
    names = "|".join(re.escape(name) for name in sorted(variables, key=len, reverse=True) if name)
    pattern = re.compile(rf"\$({names})" if names else r"(?!)")
    text, typed = (
        pattern.sub(lambda match: str(variables[match.group(1)]), original) for original in (path.text, path.typed)
    )
    return Path(text, typed, path.start, path.end)


def by_tag(call: Call, variables: Variables) -> Path:
    """A ``seriesByTag`` call as what is looked up: its text as typed.  Raises QueryError."""
    if call.named or not call.arguments:
        raise Failure(f"{BY_TAG}() takes tag expressions in quotes, such as {BY_TAG}('name=cpu', 'dc=~eu')")
    for argument in call.arguments:
        if not isinstance(argument, Literal) or not isinstance(argument.value, str):
            raise Failure(f"{BY_TAG}() takes only tag expressions in quotes, not {argument.typed[:80]}")
    return substituted(Path(call.typed, call.typed, call.start, call.end), variables)


def _argument(param: Param | None, tree: Expression, variables: Variables) -> Any:
    if isinstance(tree, Literal):
        return tree.value
    if param is None or param.kind in SERIES_KINDS:
        return Unread(tree)
    if isinstance(tree, Path):
        value = _variable(tree, variables)
        if value is not None and not (param.kind is Kind.ANY and isinstance(value, str)):
            return value
    if param.kind is Kind.ANY:
        return Unread(tree)
    raise unsuitable(param, f"{tree.typed[:80]} without quotes" if isinstance(tree, Path) else f"{tree.typed[:80]}")


def _variable(path: Path, variables: Variables) -> int | float | str | None:
    """The value of the template variable that the whole path is; a text that is a number becomes one."""
    value = variables.get(path.text[1:]) if path.text.startswith("$") else None
    if isinstance(value, str) and _NUMBER.match(value):
        try:
            return float(value)
        except ValueError:
            return value
    return value


class _Walk:
    """Visits trees.  found: the readings met so far, in order."""

    def __init__(self, library: Library, request: Variables) -> None:
        self.found: dict[Reading, None] = {}
        self._library = library
        self._request = request
        self._visited: set[tuple[int, int, int]] = set()

    def visit(self, tree: Expression, start: int, end: int, variables: Variables) -> None:
        step = (id(tree), start, end)  # a node has the same variables whenever it is visited
        if step in self._visited:
            return
        self._visited.add(step)
        if len(self._visited) > MOST_STEPS:
            raise QueryError("functions that read their series again are nested too deeply; nest fewer of them")
        if isinstance(tree, Path):
            self.found.setdefault(reading(substituted(tree, variables).text, start, end))
        elif isinstance(tree, Template):
            self.visit(tree.body, start, end, in_force(tree, variables, self._request))
        elif isinstance(tree, Call) and tree.name == BY_TAG:
            self.found.setdefault(reading(by_tag(tree, variables).text, start, end))
        elif isinstance(tree, Call):
            self._visit_call(tree, start, end, variables)

    def _visit_call(self, call: Call, start: int, end: int, variables: Variables) -> None:
        function = find(call.name, self._library)
        with naming(call.name):
            positional, named = arguments(call, function, variables)
            bound = bind(
                function.declaration,
                [LATER if isinstance(value, Unread) else value for value in positional],
                {name: LATER if isinstance(value, Unread) else value for name, value in named.items()},
                self._library.__contains__,
            )
        for value in (*positional, *named.values()):
            if isinstance(value, Unread):
                self.visit(value.tree, start, end, variables)
        first = argument_tree(call, function, 0)
        if first is None or isinstance(first, Literal) or function.declaration.reads is None:
            return
        with naming(call.name):
            windows = list(function.declaration.reads(start, end, bound))
        for window in windows:
            self.visit(first, window.start, window.end, variables)


def argument_tree(call: Call, function: Function, number: int) -> Expression | None:
    """The argument of a call for the parameter `number` (from 0), as written; None if it is left out."""
    if number < len(call.arguments):
        return call.arguments[number]
    param = parameter(function.declaration, number)
    names = (param.name, *param.also) if param is not None else ()
    return next((tree for name, tree in call.named if name in names), None)


@contextmanager
def naming(function: str) -> Iterator[None]:
    """``with naming("scale"):`` makes a QueryError from inside name the function, unless it does already."""
    try:
        yield
    except Failure:
        raise
    except QueryError as error:
        raise Failure(f"{function}(): {error}") from None

"""Trees to series: one evaluation answers the targets of one request.

The law: what is read is asked for all at once, as far as the plan knows it, and nothing is read twice.
Targets are evaluated one after the other, arguments from left to right, by one thread.  Whatever a
client writes ends in series or in a QueryError that names the function and the target; any other
exception is a defect of a function and is let through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timezone, tzinfo
from typing import Any, NamedTuple

from carbonpy.errors import QueryError
from carbonpy.expression import grammar
from carbonpy.expression.plan import (
    BY_TAG,
    Reading,
    Unread,
    Variables,
    argument_tree,
    arguments,
    by_tag,
    find,
    in_force,
    naming,
    reading,
    readings,
    substituted,
)
from carbonpy.expression.tree import Call, Expression, Path, Template
from carbonpy.functions.binding import bind
from carbonpy.functions.context import Context, Shared
from carbonpy.functions.library import Function, Library
from carbonpy.series.series import Series

Fetch = Callable[[Sequence[Reading]], Mapping[Reading, Sequence[Series]]]

#: Limits when none are given.
MOST_SERIES = 100_000
MOST_CALLS = 50_000
#: Functions at work at one time, those inside re-evaluated targets and arguments counted.
_MOST_NESTED = grammar.MOST_DEPTH


class _Frame(NamedTuple):
    """A function at work.  call: None if its arguments were values from the start."""

    call: Call | None
    function: Function | None
    variables: Variables


class Evaluation:
    """Answers targets.  For one thread at a time; to be thrown away after its request.

    It is the `carbonpy.functions.context.Evaluator` of the functions that it calls.
    """

    def __init__(
        self,
        library: Library,
        fetch: Fetch,
        *,
        start: int,
        end: int,
        now: int,
        tz: tzinfo = timezone.utc,
        xff: float = 0.0,
        templates: Mapping[str, str] | None = None,
        shared: Shared | None = None,
        check: Callable[[], None] = lambda: None,
        parse: Callable[[str], Expression] = grammar.parse,
        most_series: int = MOST_SERIES,
        most_calls: int = MOST_CALLS,
    ) -> None:
        """
        fetch: gives the series of each reading it is asked for, in the order they are to be shown; called with the
        whole plan first, then only for what turns up later, never twice for the same reading.
        start, end, now: seconds since the epoch, start exclusive and end inclusive.  xff: the request's xFilesFactor.
        templates: values of the request for template variables, which override those in targets.
        check: raises when the request has used up its time.  parse: target to tree.
        most_series: of one reading time, and of one function.  most_calls: of functions that targets call, not
        counting those that functions call with series.
        """
        self._library = library
        self._fetch = fetch
        self._templates = dict(templates or {})
        self._check = check
        self._parse = parse
        self._most_series = most_series
        self._calls_left = most_calls
        self._known: dict[Reading, Sequence[Series]] = {}
        self._counts: dict[tuple[int, int], int] = {}
        self._frames: list[_Frame] = []
        self._context = Context(start, end, now, tz, xff, self, shared or Shared())

    def evaluate(self, targets: Sequence[str]) -> list[Series]:
        """The series of all targets, in their order.  Raises QueryError, and what fetch and check raise."""
        trees = []
        plan: dict[Reading, None] = {}
        context = self._context
        for target in targets:
            try:
                tree = self._parse(target)
                trees.append(tree)
                plan.update(dict.fromkeys(self._readings(tree, context, {})))
            except QueryError as error:
                raise _about(target, error) from None
        self._read(list(plan))
        answer: list[Series] = []
        for target, tree in zip(targets, trees):
            try:
                answer.extend(self._series(tree, context, {}))
            except QueryError as error:
                raise _about(target, error) from None
        return answer

    # What functions ask for (the Evaluator protocol)

    def target(self, text: str, context: Context) -> list[Series]:
        """The series of a target given as text, over the context's time.  Raises QueryError."""
        variables = self._frames[-1].variables if self._frames else {}
        tree = self._parse(text)
        self._read(self._readings(tree, context, variables))
        return self._series(tree, context, variables)

    def argument(self, number: int, context: Context) -> list[Series]:
        """The series of the current call's argument over the context's time.  Raises QueryError."""
        frame = self._frames[-1]
        if frame.call is None or frame.function is None:
            raise QueryError(
                "it reads its series over another time and cannot do so as a callback; call it around them"
            )
        tree = argument_tree(frame.call, frame.function, number)
        if tree is None:
            raise QueryError(f"argument {number + 1} is missing; it is to be read again")
        self._read(self._readings(tree, context, frame.variables))
        return self._series(tree, context, frame.variables)

    def call(self, name: str, arguments: Sequence[Any], context: Context) -> list[Series]:
        """What the function `name` gives for arguments that are values already.  Raises QueryError."""
        function = find(name, self._library)
        variables = self._frames[-1].variables if self._frames else {}
        return self._run(name, function, list(arguments), {}, context, _Frame(None, None, variables))

    def knows(self, name: str) -> bool:
        """Whether there is a function of that name."""
        return name in self._library

    def first_path(self, text: str) -> str:
        """The first path inside `text`, see `carbonpy.expression.grammar.first_path`.  Raises QueryError."""
        return grammar.first_path(text)

    def pieces(self) -> None:
        """Raises when the request has used up its time."""
        self._check()

    # Evaluation

    def _series(self, tree: Expression, context: Context, variables: Variables) -> list[Series]:
        """As `_value`, for places where nothing but a list of series will do."""
        if isinstance(tree, Path):
            return self._read_series(substituted(tree, variables), context)
        value = self._value(tree, context, variables)
        if any(isinstance(one, list) for one in value):
            raise QueryError("the target gives lists of series; put it into reduceSeries()")
        return value

    def _value(self, tree: Expression, context: Context, variables: Variables) -> list[Any]:
        """Series, or lists of series from a function that makes such."""
        if isinstance(tree, Path):
            return self._read_series(substituted(tree, variables), context)
        if isinstance(tree, Template):
            return self._value(tree.body, context, in_force(tree, variables, self._templates))
        if not isinstance(tree, Call):
            raise QueryError(f"{tree.typed[:80]} is no series")
        if tree.name == BY_TAG:
            return self._read_series(by_tag(tree, variables), context)
        function = find(tree.name, self._library)
        self._calls_left -= 1
        if self._calls_left < 0:
            raise QueryError("the targets call functions too often; nest fewer that read their series again")
        with naming(tree.name):
            positional, named = arguments(tree, function, variables)
        values = [self._filled(value, context, variables) for value in positional]
        by_name = {name: self._filled(value, context, variables) for name, value in named.items()}
        return self._run(tree.name, function, values, by_name, context, _Frame(tree, function, variables))

    def _filled(self, value: Any, context: Context, variables: Variables) -> Any:
        return self._value(value.tree, context, variables) if isinstance(value, Unread) else value

    def _run(
        self,
        name: str,
        function: Function,
        positional: Sequence[Any],
        named: Mapping[str, Any],
        context: Context,
        frame: _Frame,
    ) -> list[Any]:
        self._check()
        if len(self._frames) >= _MOST_NESTED:
            raise QueryError("calls stand in calls too deeply; nest fewer of them")
        self._frames.append(frame)
        try:
            with naming(name):
                bound = bind(function.declaration, positional, named, self._library.__contains__)
                result: list[Any] = function.code(context, *bound) if function.takes_context else function.code(*bound)
                self._check_count(len(result))
        finally:
            self._frames.pop()
        return result

    # Reading

    def _readings(self, tree: Expression, context: Context, variables: Variables) -> list[Reading]:
        if isinstance(tree, Path):
            return [reading(substituted(tree, variables).text, context.start, context.end)]
        return readings([tree], context.start, context.end, self._library, variables, self._templates)

    def _read(self, wanted: Sequence[Reading]) -> None:
        missing = [one for one in wanted if one not in self._known]
        if not missing:
            return
        self._check()
        fetched = self._fetch(missing)
        for one in missing:
            series = fetched.get(one, ())
            self._known[one] = series
            window = (one.start, one.end)
            self._counts[window] = self._counts.get(window, 0) + len(series)
            self._check_count(self._counts[window])

    def _read_series(self, path: Path, context: Context) -> list[Series]:
        wanted = reading(path.text, context.start, context.end)
        self._read([wanted])
        typed, xff = path.typed, context.xff
        return [
            one if one.path_expression == typed and one.xff == xff else one.changed(path_expression=typed, xff=xff)
            for one in self._known[wanted]
        ]

    def _check_count(self, count: int) -> None:
        if count > self._most_series:
            raise QueryError(f"{count} series are too many; ask for at most {self._most_series}")


def _about(target: str, error: QueryError) -> QueryError:
    """The same error, with the target."""
    shown = target if len(target) <= 200 else target[:200] + "..."
    return QueryError(f"{error}; in the target {shown}")

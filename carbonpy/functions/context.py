"""What a function may know beside its arguments: the request's times, and the way back to the evaluator.

The law: a Context belongs to one call in one evaluation.  Functions read it; the only thing one may
set is `xff`, the request's xFilesFactor, which ``setXFilesFactor`` changes for all that is evaluated
after it.  `Shared` is what the calls of one request have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Protocol

from carbonpy.series import attime
from carbonpy.series.series import Series, Values


class Evaluator(Protocol):
    """The way back: what functions ask of the evaluation they are part of.  Every method raises QueryError."""

    def target(self, text: str, context: Context) -> list[Series]:
        """The series of a target given as text, over the context's time."""

    def argument(self, number: int, context: Context) -> list[Series]:
        """The series of the current call's argument (0 for the first) over the context's time."""

    def call(self, name: str, arguments: Sequence[Any], context: Context) -> list[Series]:
        """What the function `name` gives for arguments that are values already (lists of series among them)."""

    def knows(self, name: str) -> bool:
        """Whether there is a function of that name."""

    def first_path(self, text: str) -> str:
        """The first path expression inside `text` read as a target; raises QueryError if it is none."""

    def pieces(self) -> None:
        """Called now and then by long work; raises when the request has used up its time."""


@dataclass
class Shared:
    """What all calls of one request have in common.  One thread at a time.

    stacks: name of a stack -> the sums so far (``stacked`` adds to them across the targets of a request).
    events: (tags, start, end) -> the moments of events that have all the tags ("*": any event).
    """

    stacks: dict[str, Values] = field(default_factory=dict)
    events: Callable[[Sequence[str], int, int], Sequence[int]] = lambda tags, start, end: ()


@dataclass
class Context:
    """The surroundings of one call.

    start, end: the time asked for, seconds since the epoch (start exclusive, as in a request).
    now: the moment the request is about.  tz: its time zone.  xff: its xFilesFactor.
    """

    start: int
    end: int
    now: int
    tz: tzinfo
    xff: float
    evaluator: Evaluator
    shared: Shared

    def at(self, start: int, end: int) -> Context:
        """The same surroundings over another time; what is set in the copy stays in the copy."""
        return Context(start, end, self.now, self.tz, self.xff, self.evaluator, self.shared)

    def again(self, start: int, end: int) -> list[Series]:
        """The first argument of this call, evaluated over another time."""
        return self.evaluator.argument(0, self.at(start, end))

    def moment(self, text: str) -> int:
        """The moment that `text` (a date or an offset, see `carbonpy.series.attime`) means in this request."""
        return attime.parse(text, self.now, self.tz)

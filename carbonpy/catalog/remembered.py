"""Answers to patterns that were asked lately, as long as the catalogue stays the same.

The law: what is remembered is what a new search would find.  An answer is kept with the version of the catalogue from
before the search and given only while that is the version; so whoever changes the file, in any process, makes all
older answers void.  A dashboard asks the same patterns every few seconds, and new metrics come more seldom.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

#: Nodes in all remembered answers together (about 140 bytes each), and in one.
MOST, MOST_IN_ONE = 100_000, 50_000
#: Answers without a node take room too.
_LEAST_WEIGHT = 50

T = TypeVar("T")


class Remembered(Generic[T]):
    """Lists by question, the ones used last stay.  Safe from any thread."""

    def __init__(self, most: int = MOST, most_in_one: int = MOST_IN_ONE) -> None:
        self._most = most
        self._most_in_one = most_in_one
        self._answers: OrderedDict[Hashable, list[T]] = OrderedDict()
        self._version: Hashable = None
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, question: Hashable, version: Hashable) -> list[T] | None:
        """A copy of the answer, if there is one of this version."""
        with self._lock:
            if version != self._version or question not in self._answers:
                return None
            self._answers.move_to_end(question)
            return self._answers[question].copy()

    def put(self, question: Hashable, version: Hashable, answer: Sequence[T]) -> None:
        """Remember an answer; answers of other versions are forgotten."""
        if len(answer) > self._most_in_one:
            return
        with self._lock:
            if version != self._version:
                self._answers.clear()
                self._version, self._weight = version, 0
            if question in self._answers:
                self._weight -= _weight(self._answers.pop(question))
            self._answers[question] = list(answer)
            self._weight += _weight(answer)
            while self._weight > self._most:
                self._weight -= _weight(self._answers.popitem(last=False)[1])


def _weight(answer: Sequence[object]) -> int:
    return max(_LEAST_WEIGHT, len(answer))

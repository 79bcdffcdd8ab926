"""Several stores as one: this machine's and those of other machines.

The law: all stores are asked at once, each for everything, and the first store is the best (put the nearest there).
What several answer for one metric is merged slot by slot (`carbonpy.reading.replicas`).  A store that does not answer
costs its own metrics only and is named, in `Fetched.partial` and to `tell`; that nobody answers is an error.  A
QueryError of any store is the client's: it is raised, and so is whatever a check raises.

What changes the index of tags changes that of the first store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from carbonpy.errors import CarbonError, QueryError
from carbonpy.reading.replicas import merge_lists
from carbonpy.reading.store import Check, Fetched, Info, Node, Reading, Store, TagRow, no_check

#: What autocompletion offers unless told otherwise.
AUTOCOMPLETE_LIMIT = 100

T = TypeVar("T")


class Parallel(Protocol):
    """Runs calls, all at once if it can; what each returned or raised, in their order."""

    def __call__(self, calls: Sequence[Callable[[], T]], /) -> Sequence[T | BaseException]: ...


def one_after_other(calls: Sequence[Callable[[], T]]) -> list[T | BaseException]:
    """A Parallel that runs the calls in this thread."""
    answers: list[T | BaseException] = []
    for call in calls:
        try:
            answers.append(call())
        except Exception as error:
            answers.append(error)
    return answers


def tell_nobody(sentence: str) -> None:
    """The `tell` for which nobody listens."""


class ClusterStore:
    """A Store over the `stores`, at least one, best first.  Safe from any thread if they, `parallel` and `tell` are.

    tell: called with a sentence for each store that did not answer, in the thread that asked.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        parallel: Parallel = one_after_other,
        tell: Callable[[str], None] = tell_nobody,
    ) -> None:
        if not stores:
            raise ValueError("a cluster has at least one store")
        self._stores = list(stores)
        self._parallel = parallel
        self._tell = tell

    # ---- names

    def find(self, pattern: str, leaves_only: bool = False, since: int | None = None) -> list[Node]:
        """See Store.find: the nodes that any store knows."""
        answers, _ = self._ask(lambda store: store.find(pattern, leaves_only, since))
        return sorted({Node(node.path, node.is_leaf) for nodes in answers for node in nodes})

    def metrics(self) -> list[str]:
        """See Store.metrics."""
        return _union(self._ask(lambda store: store.metrics())[0])

    def info(self, metrics: Sequence[str]) -> dict[str, Info]:
        """See Store.info: of several answers that of the first store."""
        answers, _ = self._ask(lambda store: store.info(metrics))
        infos: dict[str, Info] = {}
        for answer in reversed(answers):
            infos.update(answer)
        return infos

    # ---- values

    def fetch_readings(self, readings: Sequence[Reading], now: int, check: Check = no_check) -> Fetched:
        """See Store.fetch_readings; `check` is called from several threads, but one at a time.

        Raises CarbonError when no store answers.
        """
        readings = list(dict.fromkeys(readings))
        lock = threading.Lock()

        def one_at_a_time(points: int) -> None:
            with lock:
                check(points)

        answers, failed = self._ask(lambda store: store.fetch_readings(readings, now, one_at_a_time))
        merged = Fetched(partial=failed)
        said: dict[str, None] = {}
        for reading in readings:
            merged.series[reading], sentences = merge_lists(answer.series.get(reading, []) for answer in answers)
            said.update(dict.fromkeys(sentences))
        for answer in answers:
            merged.partial += answer.partial
            for metric, info in answer.infos.items():
                merged.infos.setdefault(metric, info)
        merged.partial += said
        return merged

    # ---- tags

    def find_series(self, exprs: Sequence[str], limit: int | None = None) -> list[str]:
        """See TagStore.find_series."""
        return _union(self._ask(lambda store: store.find_series(exprs, limit))[0], limit)

    def tags(self, filter: str = "", limit: int | None = None) -> list[TagRow]:
        """See TagStore.tags; the id is that of the first store that has the tag."""
        answers, _ = self._ask(lambda store: store.tags(filter, limit))
        return _first_rows(answers, "tag")[:limit]

    def tag(self, name: str, filter: str = "", limit: int | None = None) -> TagRow | None:
        """See TagStore.tag; the count of a value is the largest, since stores may be replicas."""
        answers, _ = self._ask(lambda store: store.tag(name, filter, limit))
        found = [answer for answer in answers if answer is not None]
        if not found:
            return None
        values = _first_rows([answer["values"] for answer in found], "value")[:limit]
        counts: dict[str, int] = {}
        for answer in found:
            for row in answer["values"]:
                counts[row["value"]] = max(counts.get(row["value"], 0), row["count"])
        return {**found[0], "values": [{**row, "count": counts[row["value"]]} for row in values]}

    def auto_complete_tags(self, exprs: Sequence[str], prefix: str = "", limit: int | None = None) -> list[str]:
        """See TagStore.auto_complete_tags."""
        answers, _ = self._ask(lambda store: store.auto_complete_tags(exprs, prefix, limit))
        return _union(answers, AUTOCOMPLETE_LIMIT if limit is None else limit)

    def auto_complete_values(
        self, exprs: Sequence[str], tag: str, prefix: str = "", limit: int | None = None
    ) -> list[str]:
        """See TagStore.auto_complete_values."""
        answers, _ = self._ask(lambda store: store.auto_complete_values(exprs, tag, prefix, limit))
        return _union(answers, AUTOCOMPLETE_LIMIT if limit is None else limit)

    def tag_series(self, path: str) -> str:
        """See TagStore.tag_series."""
        return self._stores[0].tag_series(path)

    def tag_multi_series(self, paths: Sequence[str]) -> list[str]:
        """See TagStore.tag_multi_series."""
        return self._stores[0].tag_multi_series(paths)

    def del_series(self, paths: Sequence[str]) -> bool:
        """See TagStore.del_series."""
        return self._stores[0].del_series(paths)

    # ---- asking

    def _ask(self, question: Callable[[Store], T]) -> tuple[list[T], list[str]]:
        """What the stores that could be asked answered, in their order; sentences about the others.

        Raises CarbonError when none answered.
        """
        calls = [partial(question, store) for store in self._stores]
        given = self._parallel(calls) if len(calls) > 1 else one_after_other(calls)
        answers: list[T] = []
        failed: list[str] = []
        for answer in given:
            if not isinstance(answer, BaseException):
                answers.append(answer)
            elif isinstance(answer, (CarbonError, OSError)) and not isinstance(answer, QueryError):
                failed.append(str(answer))
            else:
                raise answer
        for sentence in failed:
            self._tell(sentence)
        if not answers:
            raise CarbonError(f"no store answered: {'; '.join(failed)}")
        return answers, failed


def _union(lists: Iterable[Sequence[str]], limit: int | None = None) -> list[str]:
    """All texts, sorted, each once; the first `limit`."""
    found = sorted({text for texts in lists for text in texts})
    return found if limit is None else found[: max(0, limit)]


def _first_rows(answers: Iterable[Sequence[TagRow]], key: str) -> list[TagRow]:
    """Rows by what they have under `key`, sorted, each once as it came first."""
    rows: dict[str, TagRow] = {}
    for answer in answers:
        for row in answer:
            rows.setdefault(str(row[key]), row)
    return [rows[name] for name in sorted(rows)]

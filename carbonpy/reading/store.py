"""What a query asks of where metrics are kept: names by pattern or tag, and readings of paths over time.

The law: a reading is (path, from, until); a path is a metric, a pattern or a call ``seriesByTag(...)``.  `Fetched`
holds a list of series for every reading that was asked, sorted by name, empty when nothing is there.  A store that
could not be asked is a sentence in `partial` and never an error, unless it is the only one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from carbonpy.metric import Node
from carbonpy.retention import Archive
from carbonpy.series.series import Series

__all__ = ["Check", "Fetched", "Info", "Node", "Reading", "Store", "TagRow", "TagStore", "no_check"]

#: (path, from, until): from is exclusive, until inclusive, in seconds since the epoch.
Reading = tuple[str, int, int]
#: Called with the number of points of each series that is read; raises to end the work.
Check = Callable[[int], None]
#: Tag, or value, with its id and more, as `/tags` writes it.
TagRow = dict[str, Any]


class Info(NamedTuple):
    """How the file of a metric is made.  Immutable."""

    method: str
    xff: float
    archives: tuple[Archive, ...]

    @property
    def max_retention(self) -> int:
        """Seconds that the file reaches back."""
        return max((archive.retention for archive in self.archives), default=0)


@dataclass
class Fetched:
    """What a store answered.  One thread at a time."""

    #: Series by reading, each list sorted by name.
    series: dict[Reading, list[Series]] = field(default_factory=dict)
    #: Sentences about what could not be asked, or was chosen among answers that differ.
    partial: list[str] = field(default_factory=list)
    #: By metric, for those that were read and whose file is known.
    infos: dict[str, Info] = field(default_factory=dict)

    def info(self, metric: str) -> Info | None:
        """How the file of a metric that was read is made; None if nobody said."""
        return self.infos.get(metric)

    @property
    def methods(self) -> Mapping[str, str]:
        """Aggregation method by metric."""
        return {metric: info.method for metric, info in self.infos.items()}


def no_check(points: int) -> None:
    """The Check that lets everything pass."""


class TagStore(Protocol):
    """Questions about tags.  All raise QueryError for what a client got wrong."""

    def find_series(self, exprs: Sequence[str], limit: int | None = None) -> list[str]:
        """The metrics that satisfy all tag expressions, sorted."""

    def tags(self, filter: str = "", limit: int | None = None) -> list[TagRow]:
        """``{"id", "tag"}`` of each tag that the regular expression `filter` matches, sorted."""

    def tag(self, name: str, filter: str = "", limit: int | None = None) -> TagRow | None:
        """``{"id", "tag", "values": [{"id", "value", "count"}]}``; None for a tag that no series has."""

    def auto_complete_tags(self, exprs: Sequence[str], prefix: str = "", limit: int | None = None) -> list[str]:
        """Tags, not used in `exprs`, of the series that satisfy them."""

    def auto_complete_values(
        self, exprs: Sequence[str], tag: str, prefix: str = "", limit: int | None = None
    ) -> list[str]:
        """Values of `tag` among the series that satisfy `exprs`."""

    def tag_series(self, path: str) -> str:
        """Put a series into the index; its canonical name."""

    def tag_multi_series(self, paths: Sequence[str]) -> list[str]:
        """`tag_series` of many."""

    def del_series(self, paths: Sequence[str]) -> bool:
        """Take series out of the index; True."""


class Store(TagStore, Protocol):
    """A place where metrics are kept: this machine, another one, or several.  Safe from any thread."""

    def find(self, pattern: str, leaves_only: bool = False, since: int | None = None) -> list[Node]:
        """The nodes that `pattern` matches, sorted.  With `since`, without metrics not written since then."""

    def fetch_readings(self, readings: Sequence[Reading], now: int, check: Check = no_check) -> Fetched:
        """All readings at once.  Raises what `check` raises."""

    def info(self, metrics: Sequence[str]) -> dict[str, Info]:
        """How the files of metrics are made, for those that are known."""

    def metrics(self) -> Sequence[str]:
        """All metrics, sorted."""

"""A series: values on a regular grid, with a name.

The law: a Series never changes.  Its values are float64 with NaN where there is no value (Graphite's
null), the array cannot be written through the series, and value i belongs to the moment
``start + i * step``.  ``end`` is exclusive and, for a series as it was fetched, ``start + step * count``;
it is a field of its own because Graphite's formats print it and its consolidation keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonpy.timespan import Span

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One named line of values.  Immutable, so it is safe in any thread.

    start, end, step: seconds since the epoch (end exclusive) and seconds.
    values: one float64 per slot, NaN for no value; made read-only here.
    path_expression: the text of the target that asked for it, exactly as it was typed.
    consolidation, xff: how values become fewer (see `carbonpy.series.consolidation`).
    tags: at least ``name``; values are always text.
    options: how to draw it (``lineWidth``, ``stacked``, ``color`` ...), by graphite-web's names.
    """

    name: str
    start: int
    end: int
    step: int
    values: Values
    path_expression: str = ""
    consolidation: str = "average"
    xff: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.step <= 0:
            raise ValueError(f"series {self.name!r} has a step of {self.step} seconds; a step is at least one")
        values = np.asarray(self.values, dtype=np.float64).view()
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        if not self.path_expression:
            object.__setattr__(self, "path_expression", self.name)
        if not self.tags:
            object.__setattr__(self, "tags", {"name": self.name})

    def __len__(self) -> int:
        return len(self.values)

    @property
    def span(self) -> Span:
        """The grid: one slot per value."""
        return Span(self.start, self.start + self.step * len(self.values), self.step)

    def timestamps(self) -> range:
        """The moment of each value."""
        return range(self.start, self.start + self.step * len(self.values), self.step)

    def points(self) -> list[tuple[float | None, int]]:
        """(value or None, timestamp) pairs in order: what JSON calls datapoints, and tests compare."""
        return [(None if v != v else v, t) for v, t in zip(self.values.tolist(), self.timestamps())]

    def with_values(self, values: Values) -> Series:
        """The same series with other values on the same grid."""
        return replace(self, values=values)

    def changed(self, **changes: Any) -> Series:
        """The same series but for the given fields."""
        return replace(self, **changes)

    def derived(self, name: str, values: Values | None = None, /, **tags: str) -> Series:
        """What a function made of this series: a new name, which is its path expression too, and more tags.

        values: on the same grid; None leaves them.
        """
        return replace(
            self,
            name=name,
            path_expression=name,
            values=self.values if values is None else values,
            tags={**self.tags, **tags} if tags else self.tags,
        )

    def labelled(self, name: str) -> Series:
        """The same series under another name; the path expression stays (what aliases do)."""
        return replace(self, name=name)

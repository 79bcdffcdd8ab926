"""Whether two answers say the same, and which differences are meant.

The law: names, tags, order, start, step and values (1e-9) of series must be equal; a 500 of graphite-web must
be a 400 or a sensible 200 here.  Every difference is either a deviation of the list in `deviations`, or a defect.
"""

from __future__ import annotations

import io
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

from carbonpy.errors import WireError
from carbonpy.wire.pickled import decode_plain
from carbonpy.wire.unmsgpack import unpack
from comparelib.questions import Question
from comparelib.sides import Answered


class _Nodes(pickle.Unpickler):
    """Reads the nodes of a find, in which graphite-web puts objects of two classes of its own; of no others."""

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in without any code."""
        if module == "graphite.intervals" and name in ("Interval", "IntervalSet"):
            return type(name, (), {})
        raise pickle.UnpicklingError(f"{module}.{name} has no business in a find")


def _nodes(nodes: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """(path, whether it is a leaf) of what was found; what else is said depends on the clock."""
    return sorted((node["path"], node["is_leaf"]) for node in nodes)


#: Kind -> what reads it; none of them makes anything but data.
_READ: dict[str, Callable[[bytes], Any]] = {
    "pickle": decode_plain,
    "msgpack": unpack,
    "pickle nodes": lambda content: _nodes(_Nodes(io.BytesIO(content)).load()),
    "msgpack nodes": lambda content: _nodes(unpack(content)),
}


def difference(question: Question, theirs: Answered, ours: Answered) -> str:
    """What differs, as a phrase; "" for nothing."""
    if theirs.status >= 500:
        return "" if ours.status in (200, 400) else f"status {ours.status}, theirs {theirs.status}"
    if theirs.status != ours.status:
        return f"status {ours.status} ({ours.body[:200].strip()}), theirs {theirs.status} ({theirs.body[:200]})"
    if theirs.status != 200 or question.kind == "status":
        return ""
    if question.kind == "text":
        return "" if theirs.body == ours.body else f"{ours.body[:200]!r}, theirs {theirs.body[:200]!r}"
    if question.kind in _READ:
        try:
            their, our = (_READ[question.kind](answer.content) for answer in (theirs, ours))
        except (WireError, pickle.UnpicklingError) as error:
            return f"cannot be read: {error}; {ours.content[:200]!r}, theirs {theirs.content[:200]!r}"
        return "" if _equal(their, our) else f"{our!r:.600}, theirs {their!r:.600}"
    try:
        their, our = (json.loads(answer.body.replace("1e9999", "null")) for answer in (theirs, ours))
    except ValueError:
        return f"not JSON: {ours.body[:200]!r}, theirs {theirs.body[:200]!r}"
    if question.kind == "series":
        return _series(their, our)
    if question.kind == "nodes":
        their, our = (sorted(set(_nodes(nodes))) for nodes in (their, our))
    if question.kind == "index":
        # tagged files are listed by their paths there and by their names here
        their, our = (
            [name for name in names if not name.startswith("_tagged") and ";" not in name] for names in (their, our)
        )
    if question.kind in ("tags", "events"):
        their, our = _without_ids(their), _without_ids(our)
    return "" if _equal(their, our) else f"{json.dumps(our)[:300]}, theirs {json.dumps(their)[:300]}"


def _series(theirs: list[Any], ours: list[Any]) -> str:
    names = [[series["target"] for series in answer] for answer in (theirs, ours)]
    if names[0] != names[1]:
        return f"names {names[1][:6]}, theirs {names[0][:6]}"
    for their, our in zip(theirs, ours):
        if their["tags"] != our["tags"]:
            return f"tags {our['tags']}, theirs {their['tags']}"
        grids = [[time for _, time in series["datapoints"]] for series in (their, our)]
        if grids[0] != grids[1]:
            return f"grid of {our['target']}: {_grid(grids[1])}, theirs {_grid(grids[0])}"
        for (their_value, time), (our_value, _) in zip(their["datapoints"], our["datapoints"]):
            if not _equal(their_value, our_value):
                return f"{our['target']} at {time}: {our_value}, theirs {their_value}"
    return ""


def _grid(times: list[int]) -> str:
    step = times[1] - times[0] if len(times) > 1 else 0
    return f"{len(times)} points from {times[0] if times else None} step {step}"


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float) and not isinstance(one, bool):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _without_ids(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _without_ids(value) for key, value in document.items() if key != "id"}
    if isinstance(document, list):
        return [_without_ids(item) for item in document]
    return document

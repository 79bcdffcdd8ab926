"""Columns: datapoints as three arrays, the form in which the house moves them.

The law: the arrays of one Columns are equally long; `merge` sorts by (id, timestamp) and keeps, of
equal ones, the value that came last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: ids (uint32), timestamps (uint32), values (float64).
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]

EMPTY: Columns = (np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float64))


def concatenate(parts: Sequence[Columns]) -> Columns:
    """The parts one behind the other, unsorted."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY
    ids, timestamps, values = zip(*parts)
    return np.concatenate(ids), np.concatenate(timestamps), np.concatenate(values)


def merge(parts: Sequence[Columns]) -> Columns:
    """The parts sorted by (id, timestamp); of equal ones the last in the order of the parts stays."""
    ids, timestamps, values = concatenate(parts)
    count = len(ids)
    if count == 0:
        return EMPTY
    key = ids.astype(np.uint64) << np.uint64(32) | timestamps
    if count > 1 and not (key[1:] > key[:-1]).all():
        order = np.argsort(key, kind="stable")
        key = key[order]
        keep = np.empty(count, bool)
        keep[-1] = True
        np.not_equal(key[1:], key[:-1], out=keep[:-1])
        if not keep.all():
            order = order[keep]
        ids, timestamps, values = ids[order], timestamps[order], values[order]
    return ids, timestamps, values


def distinct(ids: np.ndarray) -> np.ndarray:
    """The distinct ids, sorted.

    What numpy offers for this (unique, union1d, setdiff1d) imports masked arrays when it is called first, which takes
    a megabyte and a half.
    """
    ids = np.sort(ids)
    return ids[firsts(ids)]


def without(ids: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The distinct ids that are none of the others, sorted."""
    return distinct(ids[~np.isin(ids, others)] if len(others) else ids)


def firsts(ids: np.ndarray) -> np.ndarray:
    """Where each new id starts in a sorted (or at least grouped) column: int64 positions."""
    if not len(ids):
        return np.empty(0, np.int64)
    change = np.empty(len(ids), bool)
    change[0] = True
    np.not_equal(ids[1:], ids[:-1], out=change[1:])
    return np.flatnonzero(change)

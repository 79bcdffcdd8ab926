"""What is in the whisper files of a cluster, against what was sent.

The law: the files are read here byte by byte by the format's own description, not by carbonpy; where a metric belongs
says carbon's own router.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from support.carbon_routing import ask

from clusterlib.feeding import FRACTIONS, Load
from clusterlib.programs import Cluster

_HEADER = struct.Struct("!2LfL3L")
_POINT = np.dtype([("timestamp", ">u4"), ("value", ">f8")])


class Finding(NamedTuple):
    """What is wrong, in points; empty lists and zeros when nothing is."""

    owed: int
    found: int
    missing: int
    invented: int
    wrong: int
    #: (cache, slot) -> points missing, and files where none belongs.
    missing_at: dict[tuple[str, int], int]
    strays: list[str]

    @property
    def well(self) -> bool:
        """Whether everything that has to be there is there, and nothing else."""
        return not (self.missing or self.invented or self.wrong or self.strays)


def fine_points(path: Path) -> np.ndarray:
    """The points of the finest archive of a whisper file, in no order, without empty slots."""
    data = path.read_bytes()
    *_, offset, _, count = _HEADER.unpack_from(data)
    points = np.frombuffer(data, _POINT, count, offset)
    return points[points["timestamp"] != 0]


def judge(
    load: Load, placement: Sequence[Sequence[str]], trees: Mapping[str, Path], owed: np.ndarray, allowed: np.ndarray
) -> Finding:
    """Compare the trees of the caches with what was sent.

    placement: for each metric the caches that must have it.  owed, allowed: for each slot whether it has to be there,
    and whether it may.
    """
    found = missing = invented = wrong = 0
    missing_at: dict[tuple[str, int], int] = {}
    expected: set[str] = set()
    for number, (name, caches) in enumerate(zip(load.names, placement)):
        for cache in caches:
            path = trees[cache] / (name.replace(".", "/") + ".wsp")
            expected.add(str(path))
            there = np.zeros(len(owed), np.bool_)
            if path.exists():
                points = fine_points(path)
                slots = points["timestamp"].astype(np.int64) - load.base
                inside = (slots >= 0) & (slots < len(owed))
                invented += int((~inside).sum())
                slots, values = slots[inside], points["value"][inside]
                wrong += int((values != slots + number / FRACTIONS).sum())
                there[slots] = True
            found += int(there.sum())
            invented += int((there & ~allowed).sum())
            lacking = np.flatnonzero(owed & ~there).tolist()
            missing += len(lacking)
            for slot in lacking:
                missing_at[cache, slot] = missing_at.get((cache, slot), 0) + 1
    strays = [path for tree in trees.values() for path in _files(tree / load.prefix) if path not in expected]
    owed_points = int(owed.sum()) * sum(len(caches) for caches in placement)
    return Finding(owed_points, found, missing, invented, wrong, missing_at, strays)


def placement(cluster: Cluster, load: Load) -> list[list[str]]:
    """The caches of each metric, as carbon's own router says."""
    case = {
        "method": "consistent-hashing",
        "hash_type": "carbon_ch",
        "destinations": [cluster.destination(name) for name in cluster.caches],
        "replication": 2,
        "diverse": True,
        "names": load.names,
    }
    (owners,) = ask([case], cluster.place)
    return [[destination.rpartition(":")[2] for destination in destinations] for destinations in owners]


def _files(tree: Path) -> list[str]:
    return [
        os.path.join(directory, name)
        for directory, _, names in os.walk(tree)
        for name in names
        if name.endswith(".wsp")
    ]

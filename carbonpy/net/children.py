"""What all child processes of a daemon have in common.

The law: a child is a ``python -m carbonpy...`` of the very code that its parent runs.
"""

from __future__ import annotations

import os
import sys

import carbonpy

#: With this code a process ends that needed more memory than it may.
OUT_OF_MEMORY = 77
#: Libraries under numpy that would start a thread for every core, of which our children have no use.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class ParentGone(Exception):
    """The daemon closed the line to its child; there is nobody to answer."""


def command(module: str) -> list[str]:
    """What starts a module as a process; the program is its first word."""
    return [sys.executable, "-m", module]


def environment() -> dict[str, str]:
    """Ours, with the place that carbonpy was imported from: a child is never of another version than its parent."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(carbonpy.__file__)))
    paths = [root, os.environ.get("PYTHONPATH", "")]
    quiet = {**dict.fromkeys(_ONE_THREAD, "1"), "MALLOC_ARENA_MAX": "2"}
    return {**quiet, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

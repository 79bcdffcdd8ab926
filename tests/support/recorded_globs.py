"""The patterns of ``tests/golden/q5_globs.txt``, the tree they were asked of, and where we answer otherwise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from carbonpy.catalog import Node

FILES = [
    "a.b1.c",
    "a.b2.c",
    "a.b10.c",
    "a.bX.c",
    "a.b2.d.e",
    "z",
    "a.b1",
    "q.[x].y",
    "q.x.y",
    "q.a-b.c",
    "q.a,b.c",
    "q.(p).c",
    "q.UP.c",
    "q.{w}.c",
    "q.~t.c",
    "q.!n.c",
    ".hid.c",
]
NO_METRIC = "a directory without metrics is no branch"
TOP_GLOBSTAR = "** means the same at the top as elsewhere: everything below"
LINKS = "** goes through symbolic links, as * does"
EMPTY_NODE = "an empty node matches nothing"
HIDDEN = "hidden directories are not part of the tree"
BELOW_A = [
    "a.b1/",
    "a.b1",
    "a.b1.c",
    "a.b10/",
    "a.b10.c",
    "a.b2/",
    "a.b2.c",
    "a.b2.d/",
    "a.b2.d.e",
    "a.bX/",
    "a.bX.c",
    "a.lnk/",
    "a.lnk.c",
]
BELOW_Q = [
    "q.!n/",
    "q.!n.c",
    "q.(p)/",
    "q.(p).c",
    "q.UP/",
    "q.UP.c",
    "q.[x]/",
    "q.[x].y",
    "q.a,b/",
    "q.a,b.c",
    "q.a-b/",
    "q.a-b.c",
    "q.x/",
    "q.x.y",
    "q.{w}/",
    "q.{w}.c",
    "q.~t/",
    "q.~t.c",
]
#: Pattern -> (why we answer something else than graphite-web, our answer).
DEVIATIONS = {
    "*": (NO_METRIC, ["a/", "q/", "z"]),
    "emptydir": (NO_METRIC, []),
    "emptydir.*": (NO_METRIC, []),
    "**": (TOP_GLOBSTAR, ["a/", *BELOW_A, "q/", *BELOW_Q, "z"]),
    "a.**": (LINKS, BELOW_A),
    "a.**.c": (LINKS, ["a.b1.c", "a.b10.c", "a.b2.c", "a.bX.c", "a.lnk.c"]),
    "a.": (EMPTY_NODE, []),
    ".a": (EMPTY_NODE, []),
    "a.{b1,}": (EMPTY_NODE, ["a.b1/", "a.b1"]),
    "*.c": (HIDDEN, []),
}


def recorded() -> dict[str, list[str]]:
    """Pattern -> the nodes that graphite-web found, a branch with a ``/`` behind it."""
    answers: dict[str, list[str]] = {}
    for line in (Path(__file__).parent.parent / "golden" / "q5_globs.txt").read_text().splitlines():
        if line.startswith("'"):
            pattern, answer = re.fullmatch(r"('.*?(?<!\\)')\s+(\[.*\])", line).groups()  # type: ignore[union-attr]
            answers[ast.literal_eval(pattern)] = ast.literal_eval(answer)
    return answers


def make_tree(root: Path) -> Path:
    """The tree that was asked, with empty files, below `root`."""
    for name in FILES:
        hidden = ".hid" if name.startswith(".") else ""
        file = root / hidden / (name.removeprefix(".hid.").replace(".", "/") + ".wsp")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (root / "emptydir" / "sub").mkdir(parents=True)
    (root / "a" / "notes.txt").touch()
    (root / "a" / "b9.rrd").touch()
    (root / "a" / "lnk").symlink_to(root / "a" / "b1")
    return root


def check_like_recorded(pattern: str, nodes: Iterable[Node]) -> None:
    """`nodes` is what was recorded for the pattern, or what we answer on purpose."""
    found = [node.path + ("" if node.is_leaf else "/") for node in nodes]
    theirs = recorded()[pattern]
    if pattern in DEVIATIONS:
        why, ours = DEVIATIONS[pattern]
        assert found == ours != theirs, why
    else:
        assert found == theirs

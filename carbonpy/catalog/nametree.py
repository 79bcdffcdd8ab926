"""The names as a tree in memory, in which branches that are alike are one.

The law: `NameTree` holds the metrics outside of ``_tagged``, and `find` gives what `carbonpy.catalog.finding.walk`
gives for the same metrics.  A branch never changes; names that come and go make new branches along their paths.

A hundred servers with the same names below them have one branch in common.  That saves memory, and more time: what a
branch has for the rest of a pattern is found once, however many ways lead to it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from carbonpy.catalog.database import lines
from carbonpy.catalog.finding import deepest
from carbonpy.catalog.matching import Matcher, is_cheap
from carbonpy.catalog.pattern import Globstar, Literals, Part

#: Names in branches that differ, 60 to 210 bytes each; with more, nothing is kept in memory.
MOST_ENTRIES = 500_000
#: Nodes in the longest path that is kept.
MOST_DEPTH = 200
TAGGED = "_tagged"
#: Rows that are read in one step.
_PAGE_ROWS = 20_000
_PAGE = """
SELECT group_concat(CASE WHEN kind & 1 THEN path END, char(10)),
       group_concat(CASE WHEN kind & 2 THEN path END, char(10)), max(path)
FROM (SELECT path, kind FROM nodes WHERE depth = ?1 AND path > ?2 AND path <> '_tagged'
      AND NOT (path >= '_tagged.' AND path < '_tagged/') ORDER BY path LIMIT ?3)
"""
#: Branches, and leaves, by their paths below some branch.
Below: TypeAlias = "tuple[list[str], list[str]]"


class Branch:
    """What lies below a path: names of `leaves`, names of `branches` and those themselves, sorted.  Immutable."""

    __slots__ = ("_hash", "branches", "kids", "leaves")

    def __init__(self, leaves: tuple[str, ...], branches: tuple[str, ...], kids: tuple[Branch, ...]) -> None:
        self.leaves = leaves
        self.branches = branches
        self.kids = kids
        self._hash = hash((leaves, branches, kids))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        # Kids are compared one level deep only, since all branches of a tree that are equal are the same one.
        return self is other or (
            isinstance(other, Branch)
            and self._hash == other._hash
            and self.leaves == other.leaves
            and self.branches == other.branches
            and self.kids == other.kids
        )

    @property
    def entries(self) -> int:
        """How many names there are right below."""
        return len(self.leaves) + len(self.branches)


NOTHING = Branch((), (), ())


class _Change:
    """What becomes of a name: whether a metric comes (True), goes (False) or neither, and what becomes below it."""

    __slots__ = ("below", "comes")

    def __init__(self) -> None:
        self.comes: bool | None = None
        self.below: dict[str, _Change] = {}

    def at(self, name: str) -> _Change:
        """That of a name below."""
        change = self.below.get(name)
        if change is None:
            change = self.below[name] = _Change()
        return change


class NameTree:
    """The tree.  One owner changes it; `find` is safe from any thread meanwhile."""

    def __init__(self) -> None:
        self._known: dict[Branch, Branch] = {NOTHING: NOTHING}
        self._root = NOTHING
        self._live = 1
        #: Names in branches that differ.
        self.entries = 0

    @classmethod
    def read(cls, connection: sqlite3.Connection, late: Callable[[], bool]) -> NameTree | None:
        """The tree of the names in a catalogue's file; None if there are too many, or if it gets `late`.

        Call it inside a transaction, so that all of it is of one moment.
        """
        tree = cls()
        names: dict[str, str] = {}
        below: dict[str, Branch] = {}
        most = deepest(connection)
        if most > MOST_DEPTH:
            return None
        for depth in range(most, 0, -1):
            leaves: dict[str, list[str]] = {}
            branches: dict[str, list[str]] = {}
            last: str | None = ""
            while last is not None:
                if late():
                    return None
                some_leaves, some_branches, last = connection.execute(_PAGE, (depth, last, _PAGE_ROWS)).fetchone()
                for paths, by_parent in ((some_leaves, leaves), (some_branches, branches)):
                    for path in lines(paths):
                        parent, _, name = path.rpartition(".")
                        by_parent.setdefault(parent, []).append(names.setdefault(name, name))
            above: dict[str, Branch] = {}
            for parent in leaves.keys() | branches.keys():
                prefix = parent + "." if parent else ""
                inner = sorted(branches.get(parent, ()))
                kids = tuple(below.get(prefix + name, NOTHING) for name in inner)
                above[parent] = tree._same(Branch(tuple(sorted(leaves.get(parent, ()))), tuple(inner), kids))
            if tree.entries > MOST_ENTRIES:
                return None
            below = above
        tree._root = below.get("", NOTHING)
        tree._live = len(tree._known)
        return tree

    def change(self, changes: Iterable[tuple[str, bool]]) -> bool:
        """Metrics that come (True) and go (False), in their order; False if it has become too large to go on."""
        whole = _Change()
        for metric, comes in changes:
            parts = metric.split(".")
            if parts[0] == TAGGED:
                continue
            if len(parts) > MOST_DEPTH:
                return False
            change = whole
            for part in parts:
                change = change.at(part)
            change.comes = comes
        if whole.below:
            self._root = self._changed(self._root, whole.below)
        if len(self._known) > 2 * self._live + 1_000 or self.entries > MOST_ENTRIES:
            self._tidy()
        return self.entries <= MOST_ENTRIES

    def find(self, alternatives: Sequence[Sequence[Part]], leaves_only: bool) -> Below | None:
        """(branches, leaves) that a compiled pattern matches, in no order; some twice if it has several globstars or
        alternatives.  None for what has to be asked elsewhere: names in ``_tagged``, very many expressions.
        """
        root = self._root
        for parts in alternatives:
            for part in parts:
                if not is_cheap(part) or (isinstance(part, Literals) and TAGGED in part.names):
                    return None
        branches: list[str] = []
        leaves: list[str] = []
        for parts in alternatives:
            found = _Search(parts, leaves_only).below(root, 0)
            branches += found[0]
            leaves += found[1]
        return branches, leaves

    def _same(self, branch: Branch) -> Branch:
        """The one branch that is like this one."""
        known = self._known.setdefault(branch, branch)
        if known is branch:
            self.entries += branch.entries
        return known

    def _changed(self, branch: Branch, changes: Mapping[str, _Change]) -> Branch:
        leaves, branches, kids = branch.leaves, branch.branches, branch.kids
        come = {name for name, change in changes.items() if change.comes}
        go = {name for name, change in changes.items() if change.comes is False}
        if come or go:
            leaves = tuple(sorted(come.union(leaves) - go))
        inner = [(name, change.below) for name, change in changes.items() if change.below]
        if inner:
            by_name = dict(zip(branches, kids))
            for name, below in inner:
                kid = self._changed(by_name.get(name, NOTHING), below)
                if kid is NOTHING:
                    by_name.pop(name, None)
                else:
                    by_name[name] = kid
            branches = tuple(sorted(by_name))
            kids = tuple(map(by_name.__getitem__, branches))
        return self._same(Branch(leaves, branches, kids))

    def _tidy(self) -> None:
        """Forget branches that nothing leads to any more."""
        reached = {NOTHING: NOTHING}
        waiting = [self._root]
        while waiting:
            branch = waiting.pop()
            if branch not in reached:
                reached[branch] = branch
                waiting += branch.kids
        self._known = reached
        self._live = len(reached)
        self.entries = sum(branch.entries for branch in reached)


class _Search:
    """One alternative of a pattern.  One thread; what was found of a branch is remembered."""

    def __init__(self, parts: Sequence[Part], leaves_only: bool) -> None:
        self._matchers = [None if isinstance(part, Globstar) else Matcher(part) for part in parts]
        self._leaves_only = leaves_only
        self._found: dict[tuple[int, int], Below] = {}

    def below(self, branch: Branch, index: int) -> Below:
        """What the parts from `index` on match below a branch."""
        key = index, id(branch)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._look(branch, index)
        return found

    def _look(self, branch: Branch, index: int) -> Below:
        matcher, last = self._matchers[index], index == len(self._matchers) - 1
        branches: list[str] = []
        leaves: list[str] = []
        following = index + 1
        positions: Iterable[int]
        if matcher is None:
            # Any number of nodes: none of them, or one and again any number.
            following, positions = index, range(len(branch.branches))
            if not last:
                here = self.below(branch, index + 1)
                branches += here[0]
                leaves += here[1]
        else:
            positions = matcher.positions(branch.branches)
        if last:
            names = branch.leaves
            leaves += names if matcher is None else [names[place] for place in matcher.positions(names)]
            if not self._leaves_only:
                branches += [branch.branches[place] for place in positions]
            if matcher is not None:
                return branches, leaves
        for place in positions:
            prefix = branch.branches[place] + "."
            inner_branches, inner_leaves = self.below(branch.kids[place], following)
            if inner_branches:
                branches += [prefix + name for name in inner_branches]
            if inner_leaves:
                leaves += [prefix + name for name in inner_leaves]
        return branches, leaves

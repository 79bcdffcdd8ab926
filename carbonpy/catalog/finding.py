"""Walking the tree of paths with the parts of a pattern, a handful of SQLite steps for any number of nodes.

The law.  A walk goes level by level with the set of branches reached so far; each step is one statement for the whole
set.  A single literal name costs nothing until the next wildcard (a branch that does not exist has nothing below it),
a wildcard reads only the range of the index below each branch and behind its literal prefix, and a run of ``*`` jumps
straight to the depth behind it.  So the cost follows what the pattern can reach, not the size of the catalogue.

Wildcards in the first part do not reach ``_tagged``: what lies there has a better name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from carbonpy.catalog.database import BRANCH, LEAF, json_list, lines
from carbonpy.catalog.pattern import GLOBSTAR, STAR, Glob, Literals, Part, after, quoted
from carbonpy.metric import Node

#: GLOB expressions in one statement; SQLite limits the depth of an expression to 1,000.
GLOBS_AT_ONCE = 100
#: With fewer branches a step is quick enough in any case.
MANY_BRANCHES = 1_000
#: To look one name up below a branch, or a range of names, costs as much as to match so many rows in order.
ROWS_PER_LOOKUP, ROWS_PER_RANGE = 4, 10
#: Branches up to which they are counted.
MOST_COUNTED = 50_000
#: GLOB expressions for whole paths that are matched at once.
MAX_SCANS = 4

_BOTH = LEAF | BRANCH
_LEAVES = "group_concat(CASE WHEN n.kind & 1 THEN n.path END, char(10))"
_BRANCHES = "group_concat(CASE WHEN n.kind & 2 THEN n.path END, char(10))"
_WANTED = {
    LEAF: ("SELECT group_concat(n.path, char(10)), NULL FROM", "AND n.kind & 1"),
    BRANCH: ("SELECT NULL, group_concat(n.path, char(10)) FROM", "AND n.kind & 2"),
    _BOTH: (f"SELECT {_LEAVES}, {_BRANCHES} FROM", ""),
}
_NOT_TAGGED = "AND n.path <> '_tagged' AND NOT (n.path >= '_tagged.' AND n.path < '_tagged/')"


class _Reached:
    """The leaves and branches that steps have reached."""

    def __init__(self) -> None:
        self.leaves: list[str] = []
        self.branches: list[str] = []

    def take(self, cursor: sqlite3.Cursor) -> None:
        """Add the one row, leaves and branches, that `cursor` answers."""
        leaves, branches = cursor.fetchone()
        self.leaves += lines(leaves)
        self.branches += lines(branches)


def walk(connection: sqlite3.Connection, alternatives: Sequence[Sequence[Part]], leaves_only: bool) -> list[Node]:
    """The nodes that the compiled pattern matches, each once, sorted by path, a branch before its leaf."""
    found = _Reached()
    for parts in alternatives:
        _walk_parts(connection, parts, found, LEAF if leaves_only else _BOTH)
    return nodes_of(alternatives, found.branches, found.leaves)


def nodes_of(alternatives: Sequence[Sequence[Part]], branches: list[str], leaves: list[str]) -> list[Node]:
    """What was found for a compiled pattern as nodes, each once, sorted by path, a branch before its leaf."""
    if len(alternatives) > 1 or any(parts.count(GLOBSTAR) > 1 for parts in alternatives):
        leaves, branches = list(set(leaves)), list(set(branches))
    leaves.sort()
    branches.sort()
    # tuple.__new__ makes a Node in half the time of Node(), and there may be a hundred thousand.
    new = tuple.__new__
    nodes = [new(Node, (path, False)) for path in branches]
    nodes += [new(Node, (path, True)) for path in leaves]
    if leaves and branches:
        nodes.sort(key=lambda node: node.path)  # stable, so that a branch stays before its leaf
    return nodes


def _walk_parts(connection: sqlite3.Connection, parts: Sequence[Part], found: _Reached, wanted: int) -> None:
    # Branches by depth; a literal name may be among them that does not exist.  Depth 0 is the root, with no name.
    frontier: dict[int, list[str]] = {0: [""]}
    index = 0
    while index < len(parts) and frontier:
        part = parts[index]
        index += 1
        jump = 1
        while part == STAR and parts[index : index + 1] == (STAR,):
            jump += 1
            index += 1
        last = index == len(parts)
        if len(frontier) == 1 and _scan_instead(connection, parts, frontier, index - jump, found, wanted):
            return
        reached: dict[int, list[str]] = {}
        for depth, branches in frontier.items():
            if isinstance(part, Literals) and len(part.names) == 1 and not last:
                name = part.names[0]
                reached[depth + 1] = [f"{branch}.{name}" for branch in branches] if depth else [name]
                continue
            depths = range(depth + jump, depth + jump + 1)
            if part == GLOBSTAR:
                depths = range(depth + 1, deepest(connection) + 1)
                if not last:
                    reached.setdefault(depth, []).extend(branches)
            for target in depths:
                step = found if last else _Reached()
                _step(connection, branches if depth else None, target, part, step, wanted if last else BRANCH)
                if not last and step.branches:
                    reached.setdefault(target, []).extend(step.branches)
        if part == GLOBSTAR:
            # A second globstar reaches the same branches from several above them.
            reached = {depth: list(dict.fromkeys(branches)) for depth, branches in reached.items()}
        frontier = reached


def _scan_instead(
    connection: sqlite3.Connection,
    parts: Sequence[Part],
    frontier: dict[int, list[str]],
    done: int,
    found: _Reached,
    wanted: int,
) -> bool:
    """Where very many branches are reached and not much more lies below them, look at all that does; whether it did.

    At a fixed depth a GLOB over the whole path is exact: its dots take all dots of the path, so no wildcard gets one.
    """
    ((depth, branches),) = frontier.items()
    rest = parts[done:]
    if GLOBSTAR in parts:
        return False
    literal = _literals(parts)
    low = ".".join(literal) + "." if literal else ""
    high = low[:-1] + "/" if literal else None
    below = "n.depth = ?1 AND n.path >= ?2 AND " + ("?3 IS NULL" if high is None else "n.path < ?3")
    if not literal:
        below += f" {_NOT_TAGGED}"
    count = f"SELECT count(*) FROM (SELECT 1 FROM nodes AS n WHERE {below} LIMIT ?4)"
    tail = _literals(rest[::-1])[::-1]
    stars = len(rest) - len(tail)
    reached = len(branches)
    if tail and stars and depth == len(literal) and all(part == STAR for part in rest[:stars]):
        # A run of stars reaches all branches of a depth; they are counted, which costs less than to fetch them.
        rest = rest[stars:]
        depth += stars
        reached = connection.execute(count, (depth, low, high, MOST_COUNTED)).fetchone()[0]
        globs = ["*." + ".".join(map(quoted, tail))]
    else:
        globs = [""]
        for part in parts if reached >= MANY_BRANCHES else ():
            names = _globs(part)
            globs = [f"{glob}.{name}" if glob else name for glob in globs for name in names]
            if len(globs) > MAX_SCANS:
                return False
    if reached < MANY_BRANCHES:
        return False
    most = reached * (ROWS_PER_LOOKUP if len(tail) >= len(rest) else ROWS_PER_RANGE)
    values = (depth + len(rest), low, high)
    if connection.execute(count, (*values, most)).fetchone()[0] >= most:
        return False
    select, condition = _WANTED[wanted]
    any_glob = " OR ".join(f"n.path GLOB ?{number}" for number in range(4, 4 + len(globs)))
    found.take(connection.execute(f"{select} nodes AS n WHERE {below} {condition} AND ({any_glob})", (*values, *globs)))
    return True


def _literals(parts: Sequence[Part]) -> list[str]:
    """The names of the parts up to the first that is not a single literal name."""
    names: list[str] = []
    for part in parts:
        if not isinstance(part, Literals) or len(part.names) > 1:
            break
        names.append(part.names[0])
    return names


def _globs(part: Part) -> list[str]:
    """The GLOB expressions of the names that `part`, which is no globstar, matches."""
    if isinstance(part, Literals):
        return [quoted(name) for name in part.names]
    ranges = part.ranges if isinstance(part, Glob) else STAR.ranges
    return [glob for one in ranges for glob in one.globs or (quoted(one.prefix) + "*",)]


def _step(
    connection: sqlite3.Connection, below: list[str] | None, depth: int, part: Part, reached: _Reached, wanted: int
) -> None:
    """The nodes of `depth` that `part` matches below the branches `below` (None: the root)."""
    select, condition = _WANTED[wanted]
    if isinstance(part, Literals):
        prefix = json_list(below) if below is not None else None
        source, path = "json_each(?1) AS j", "j.value || '.' || ?3"
        values: tuple[str | None, ...] = (prefix, *part.names)
        if prefix is None:
            path, values = "j.value", (json_list(part.names),)
        elif len(part.names) > 1:
            source, path = f"{source} CROSS JOIN json_each(?3) AS k", "j.value || '.' || k.value"
            values = (prefix, json_list(part.names))
        statement = f"{select} {source} CROSS JOIN nodes AS n WHERE n.depth = ?2 AND n.path = {path} {condition}"
        reached.take(connection.execute(statement, (values[0], depth, *values[1:])))
        return
    branches = None if below is None else json_list(below)
    for part_range in part.ranges if isinstance(part, Glob) else STAR.ranges:
        for start in range(0, max(1, len(part_range.globs)), GLOBS_AT_ONCE):
            some = part_range.globs[start : start + GLOBS_AT_ONCE]
            statement, limits = _range_statement(below is None, part_range.prefix, len(some))
            reached.take(connection.execute(f"{select} {statement} {condition}", (branches, depth, *limits, *some)))


def _range_statement(root: bool, prefix: str, globs: int) -> tuple[str, tuple[str, str | None]]:
    """FROM and WHERE (with ?1 = branches, ?2 = depth, ?5... = `globs` expressions) for a range; its limits ?3, ?4."""
    upper = after(prefix)
    limits: tuple[str, str | None]
    if root:
        statement = f"nodes AS n WHERE ?1 IS NULL AND n.depth = ?2 AND n.path >= ?3 {_NOT_TAGGED} AND "
        statement += "?4 IS NULL" if upper is None else "n.path < ?4"
        limits, name = (prefix, upper), "n.path"
    else:
        statement = (
            "json_each(?1) AS j CROSS JOIN nodes AS n "
            "WHERE n.depth = ?2 AND n.path >= j.value || ?3 AND n.path < j.value || ?4"
        )
        # Without a prefix (or one that has no next) the range is all paths that go on with a dot: "/" follows ".".
        limits, name = (f".{prefix}", "/" if upper is None else f".{upper}"), "substr(n.path, length(j.value) + 2)"
    if globs:
        statement += " AND (" + " OR ".join(f"{name} GLOB ?{number}" for number in range(5, 5 + globs)) + ")"
    return statement, limits


def deepest(connection: sqlite3.Connection) -> int:
    """The number of nodes of the longest path; 0 for an empty catalogue."""
    return int(connection.execute("SELECT max(depth) FROM nodes").fetchone()[0] or 0)

"""The walls of the house, as one table: who may import whom, and which third-party package belongs where.

The law: a module imports from lower layers or from its own room.  README.rst and docs/architecture.rst
draw the same table; `test_readme.py` compares them.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Layer -> its rooms, lowest first.
LAYERS = {
    0: ("errors", "metric", "retention", "timespan", "clock", "counters", "appending"),
    1: ("columns", "wire", "whisper", "rules", "hashing", "series", "functions", "expression"),
    2: ("ingest", "cache", "writing", "relaying", "aggregating", "catalog", "reading", "events", "upkeep"),
    3: ("net", "web"),
    4: ("settings", "daemons", "cli"),
}
LAYER_OF = {room: layer for layer, rooms in LAYERS.items() for room in rooms}
#: (from, to) of two rooms in one layer between which the wall has a door.
DOORS = {
    *((word, "errors") for word in LAYERS[0]),
    *((room, "settings") for room in ("cli", "daemons")),
    ("cli", "daemons"),
    ("rules", "hashing"),
    ("functions", "series"),
    ("expression", "functions"),
    ("expression", "series"),
}
#: Third-party package -> the only rooms that may import it.
THIRD_PARTY = {
    "numpy": {
        "columns",
        "wire",
        "whisper",
        "series",
        "functions",
        "expression",
        "ingest",
        "cache",
        "writing",
        "aggregating",
        "reading",
        "relaying",
        "upkeep",
        "net",
        "web",
        "daemons",
    },
    "lz4": {"wire", "cache", "relaying", "aggregating", "upkeep"},
    "yaml": {"settings"},
    "twisted": {"net", "web", "daemons"},
    "zope": {"net", "web", "daemons"},
    "orjson": {"web"},
    "OpenSSL": {"net"},
    "service_identity": {"net"},
    "tqdm": {"cli"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "carbonpy").rglob("*.py"))
}
#: The package itself (its version) and ``python -m carbonpy`` stand outside the rooms.
INDOORS = {name: path for name, path in MODULES.items() if name not in ("carbonpy", "carbonpy.__main__")}


def room(module: str) -> str:
    """The room of ``carbonpy.room.module``."""
    return module.split(".")[1]


def imports(module: str) -> Iterator[tuple[str, int, bool]]:
    """Everything that `module` imports, wherever it stands: (dotted name, line, whether at import time)."""
    tree = ast.parse(MODULES[module].read_text())
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, node not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{MODULES[module]}:{node.lineno}: write the import in full, not relative"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES else base, node.lineno, node not in late


def complaint(here: str, target: str) -> str | None:
    """Why the room `here` may not import the dotted name `target`; None when it may."""
    top = target.split(".")[0]
    if top in sys.stdlib_module_names or target == "carbonpy":
        return None
    if top != "carbonpy":
        return None if here in THIRD_PARTY.get(top, ()) else f"{top} is not for {here}"
    there = room(target)
    if here == there or (here, there) in DOORS or LAYER_OF[there] < LAYER_OF[here]:
        return None
    if there == "settings":
        return "settings is for daemons and cli only; hand over plain values, clocks and callables"
    return f"{here} of layer {LAYER_OF[here]} may not import {there} of layer {LAYER_OF[there]}"


def test_every_room_stands_in_the_table_and_the_table_has_no_other() -> None:
    assert {room(module) for module in INDOORS} == set(LAYER_OF)


def test_every_room_is_a_package_that_gets_installed() -> None:
    """`find:` in setup.cfg sees only directories with an __init__.py."""
    folders = {path.parent for path in MODULES.values()}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_every_module_imports_only_from_lower_layers_or_its_own_room() -> None:
    complaints = {
        f"{path.relative_to(ROOT)}:{line} imports {target}: {why}"
        for module, path in INDOORS.items()
        for target, line, _ in imports(module)
        if (why := complaint(room(module), target))
    }
    assert complaints == set()


@pytest.mark.parametrize(
    ("here", "target", "allowed"),
    [
        ("metric", "carbonpy.errors", True),
        ("errors", "carbonpy.metric", False),
        ("wire", "carbonpy.metric", True),
        ("wire", "carbonpy.rules.ini", False),
        ("cache", "carbonpy.settings", False),
        ("cache", "carbonpy.writing.plan", False),
        ("cache", "lz4.frame", True),
        ("writing", "lz4.frame", False),
        ("cache", "twisted.internet.defer", False),
        ("web", "twisted.web.server", True),
        ("web", "carbonpy.net.receivers", False),
        ("daemons", "carbonpy.settings", True),
        ("settings", "carbonpy.daemons.cache", False),
        ("cli", "requests", False),
    ],
)
def test_the_walls_stand_where_the_table_says(here: str, target: str, allowed: bool) -> None:
    assert (complaint(here, target) is None) is allowed


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {target for target, _, now in imports(module) if now and target in MODULES and target != module}
        for module in INDOORS
    }
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"an import circle: {' -> '.join(error.args[1])}")


def test_no_module_keeps_state_in_its_globals() -> None:
    """An empty container at module level, or `global`, can only be meant to be filled later."""
    found = []
    for module, path in INDOORS.items():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} global {', '.join(node.names)}")
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                value = ast.unparse(node.value)
                if value in ("{}", "[]", "set()", "dict()", "list()") or value.startswith(("defaultdict(", "deque(")):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
        assert module == "carbonpy" or ast.get_docstring(tree), f"{path}: a module opens with its law"
    assert found == []


def test_importing_everything_starts_nothing_and_opens_nothing() -> None:
    """In a clean interpreter: no thread, no open file, no reactor."""
    script = f"""
import importlib, os, sys, threading
import numpy, lz4.block, yaml, twisted.web.server  # what they keep open is theirs
before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
for name in {sorted(INDOORS)!r}:
    importlib.import_module(name)
after = set(os.listdir("/proc/self/fd")) if before else set()
assert threading.active_count() == 1, threading.enumerate()
assert len(after) == len(before), after - before
assert "twisted.internet.reactor" not in sys.modules, "import the reactor inside the function that runs it"
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

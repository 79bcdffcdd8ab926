"""The table of all functions, and how each is described to clients (``/functions``).

The law: a Library never changes; a name means one function; the declaration next to the code is the only
source of what is said here.  Families are imported when `Library.standard` is called, not before.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from carbonpy.functions import aggregates
from carbonpy.functions.declare import Declaration, Kind, Param

#: Modules of carbonpy.functions that declare functions.
FAMILIES: tuple[str, ...] = (
    "alias",
    "baselines",
    "combine",
    "combine_pairs",
    "combine_percent",
    "combine_sets",
    "correlation",
    "derivatives",
    "filter_data",
    "filters",
    "forecast",
    "gaps",
    "graph",
    "grouping",
    "legends",
    "levels",
    "moving",
    "regression",
    "shifting",
    "sorting",
    "special",
    "spectrum",
    "summarize",
    "timelines",
    "transform",
)


class Function(NamedTuple):
    """One function.  takes_context: whether the code's first parameter is the Context of the call."""

    declaration: Declaration
    code: Callable[..., Any]
    takes_context: bool


class Library:
    """Name -> function.  Immutable; safe from any thread."""

    def __init__(self, codes: Iterable[Callable[..., Any]]) -> None:
        """codes: Python functions that `carbonpy.functions.declare.function` has declared.

        Raises ValueError when two of them claim one name.
        """
        self._functions: dict[str, Function] = {}
        for code in codes:
            declaration: Declaration = code.declaration  # type: ignore[attr-defined]
            function = Function(declaration, code, _takes_context(code))
            for name in (declaration.name, *declaration.aliases):
                if name in self._functions:
                    raise ValueError(f"two functions are called {name}")
                self._functions[name] = function

    @classmethod
    def standard(cls) -> Library:
        """All functions of carbonpy."""
        return cls(_declared(importlib.import_module(f"carbonpy.functions.{family}") for family in FAMILIES))

    def find(self, name: str) -> Function | None:
        """The function called `name`, also by one of its aliases."""
        return self._functions.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        """All names, aliases too, sorted."""
        return iter(sorted(self._functions))

    def __len__(self) -> int:
        return len(self._functions)

    def groups(self) -> dict[str, list[str]]:
        """Group -> names in it, both sorted."""
        grouped: dict[str, list[str]] = {}
        for name in self:
            grouped.setdefault(self._functions[name].declaration.group, []).append(name)
        return dict(sorted(grouped.items()))

    def description(self, name: str) -> dict[str, Any]:
        """The entry of ``/functions`` for `name`, ready for JSON; infinity is the text "inf".

        Raises KeyError for an unknown name.
        """
        declaration, code, _ = self._functions[name]
        return {
            "name": name,
            "function": f"{name}({', '.join(_in_signature(param) for param in declaration.params)})",
            "description": inspect.getdoc(code) or "",
            "module": "graphite.render.functions",
            "group": declaration.group,
            "params": [self._described(param) for param in declaration.params],
        }

    def _described(self, param: Param) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": param.name, "type": param.kind.value}
        if param.required:
            entry["required"] = True
        if param.default is not None:
            entry["default"] = "inf" if param.default == math.inf else param.default
        if param.multiple:
            entry["multiple"] = True
        options = self._options(param)
        if options:
            entry["options"] = options
        if param.suggestions:
            entry["suggestions"] = list(param.suggestions)
        return entry

    def _options(self, param: Param) -> list[Any]:
        options = {*param.options}
        if param.kind in (Kind.AGG_FUNC, Kind.AGG_OR_SERIES_FUNC):
            options.update(aggregates.AGGREGATES, aggregates.ALIASES)
        if param.kind is Kind.AGG_OR_SERIES_FUNC:
            options.update(name for name, function in self._functions.items() if function.declaration.aggregator)
        return sorted(options, key=str)


def _takes_context(code: Callable[..., Any]) -> bool:
    return next(iter(inspect.signature(code).parameters), None) == "context"


def _declared(modules: Iterable[ModuleType]) -> list[Callable[..., Any]]:
    """The declared functions among the attributes of modules and in their tuples FUNCTIONS, each once."""
    found: dict[int, Callable[..., Any]] = {}
    for module in modules:
        for value in (*vars(module).values(), *getattr(module, "FUNCTIONS", ())):
            if callable(value) and isinstance(getattr(value, "declaration", None), Declaration):
                found[id(value)] = value
    return list(found.values())


def _in_signature(param: Param) -> str:
    if param.multiple:
        return f"*{param.name}"
    return param.name if param.required else f"{param.name}={param.default!r}"

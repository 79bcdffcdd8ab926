"""docs/functions.rst: every function with its parameters, made from the declarations.

The law: nothing in the page is written by hand, so it says what the code accepts.  In the source tree
``python -m carbonpy.functions.documents`` writes it again; a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from carbonpy.functions.declare import Declaration
from carbonpy.functions.library import Library

PAGE = "docs/functions.rst"
_HEAD = """\
Functions
=========

.. This page is made from the declarations of the functions: python -m carbonpy.functions.documents

Every function that a target of ``/render`` may call; ``/functions`` gives the same as JSON. A parameter in brackets
may be left out, one with a star takes any number of arguments. ``a.*.x|scale(2)`` is ``scale(a.*.x,2)``. How targets
are written is told in `Queries <queries.rst>`_.
"""


def page(library: Library) -> str:
    """The whole page as reStructuredText."""
    return "\n".join(_lines(library)) + "\n"


def _lines(library: Library) -> Iterator[str]:
    yield _HEAD.rstrip()
    for group, names in library.groups().items():
        yield ""
        yield group
        yield "-" * len(group)
        for name in names:
            function = library.find(name)
            assert function is not None
            if function.declaration.name == name:
                yield from _entry(library, function.declaration)


def _entry(library: Library, declaration: Declaration) -> Iterator[str]:
    description = library.description(declaration.name)
    written = ", ".join(
        f"{'*' if param.multiple else ''}{param.name}"
        if param.required
        else f"[{'*' if param.multiple else ''}{param.name}]"
        for param in declaration.params
    )
    yield ""
    yield f"``{declaration.name}({written})``"
    if declaration.aliases:
        yield f"    Also called {', '.join(f'``{alias}``' for alias in declaration.aliases)}."
        yield ""
    for line in description["description"].splitlines():
        example = line.removeprefix("Example: ")
        yield f"    {_plain(line)}".rstrip() if example == line else f"    Example: ``{example}``"
    plain = [param for param in description["params"] if param["type"] not in ("seriesList", "seriesLists")]
    if plain:
        yield ""
        yield f"    Parameters: {'; '.join(map(_parameter, plain))}."


def _plain(text: str) -> str:
    """Text in which reStructuredText finds no markup."""
    return text if "``" in text else text.replace("\\", "\\\\").replace("*", "\\*").replace("|", "\\|")


def _parameter(param: dict[str, object]) -> str:
    text = f"``{param['name']}`` ({param['type']}"
    if "default" in param:
        text += f", {param['default']!r} if left out"
    options = param.get("options")
    if isinstance(options, list) and param["type"] not in ("aggFunc", "aggOrSeriesFunc"):
        text += f", one of {', '.join(map(str, options))}"
    return text + ")"


def main() -> int:
    """Write the page below the current directory."""
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(page(Library.standard()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

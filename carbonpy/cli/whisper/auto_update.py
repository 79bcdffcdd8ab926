"""``whisper auto-update``: every value between two times becomes what an expression makes of it.

The law: the expression is arithmetic on ``value`` and ``timestamp``, nothing else.  Values are written to the archive
that they were read from, and coarser ones made anew.
"""

from __future__ import annotations

import ast
import operator
import time
from collections.abc import Callable, Sequence
from functools import partial

from carbonpy.cli.whisper.common import (
    add_change,
    add_crowd,
    add_json,
    add_span,
    apply,
    chosen,
    make_parser,
    parse,
    work_through,
)
from carbonpy.cli.whisper.crowd import Outcome
from carbonpy.cli.whisper.dump import times
from carbonpy.cli.whisper.fetch import DAY
from carbonpy.errors import CarbonError
from carbonpy.whisper import maintenance
from carbonpy.whisper.fetching import choose, read_span
from carbonpy.whisper.image import Image, parse_image
from carbonpy.whisper.storing import RingWriter

#: What whisper-auto-update.py does, unless its source is edited.
GIBI = "value * 1024 * 1024 * 1024"
_EPILOG = """\
The expression has the names value and timestamp, numbers, + - * / // % **, comparisons, "a if b else c", and the
functions abs, min, max, round, int and float.

examples:
  carbonpy whisper auto-update free.wsp --expression 'value * 1024' --from -7d --dry-run
  carbonpy whisper auto-update temp.wsp --expression 'value if value < 1000 else value / 1000'
"""
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "abs": abs, "min": min, "max": max, "round": round, "int": int, "float": float,
}  # fmt: skip
_BINARY: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


class Expression:
    """Arithmetic on a value and its time.  Immutable."""

    def __init__(self, text: str) -> None:
        """Raises CarbonError for what is no such expression."""
        self.text = text
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
            self._of(self._tree, {"value": 1.0, "timestamp": 1})
        except (SyntaxError, KeyError, TypeError) as error:
            raise CarbonError(f"{text!r} is no expression of value and timestamp: {error}") from None
        except ArithmeticError:
            pass  # for this value only

    def __call__(self, timestamp: int, value: float) -> float:
        """The new value.  Raises CarbonError where there is none."""
        try:
            return float(self._of(self._tree, {"value": value, "timestamp": timestamp}))
        except (ArithmeticError, TypeError, ValueError) as error:
            raise CarbonError(f"{self.text!r} has no result for {value!r} at {timestamp}: {error}") from None

    def _of(self, node: ast.AST, names: dict[str, float]) -> float:
        of = partial(self._of, names=names)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.Name):
            return names[node.id]
        if isinstance(node, ast.BinOp):
            return _BINARY[type(node.op)](of(node.left), of(node.right))
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return _BINARY[type(node.ops[0])](of(node.left), of(node.comparators[0]))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            return -of(node.operand) if isinstance(node.op, ast.USub) else of(node.operand)
        if isinstance(node, ast.IfExp):
            return of(node.body) if of(node.test) else of(node.orelse)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return _FUNCTIONS[node.func.id](*map(of, node.args))
        raise TypeError(f"{ast.unparse(node)!r} is not allowed")


def main(argv: Sequence[str], prog: str) -> int:
    """Run the tool; its exit code."""
    parser = make_parser(prog, "Change every value between two times.", _EPILOG)
    parser.add_argument("path", nargs="?", help="a file or a directory")
    add_span(parser, "24 hours ago", "now")
    parser.add_argument("--expression", metavar="E", default=GIBI, help=f"the new value (default: {GIBI})")
    parser.add_argument("--pretty", action="store_true", help="dates instead of Unix times")
    add_change(parser)
    add_json(parser)
    add_crowd(parser)
    options = parse(parser, argv)
    Expression(options.expression)
    now = int(time.time())
    begin = now - DAY if options.begin is None else options.begin
    end = now if options.end is None else options.end
    paths, several = chosen(options.path, options)
    work = partial(_work, options.expression, begin, end, options.pretty, options.dry_run, options.backup, several)
    return work_through(work, paths, several, options, "update", changes=True)


def _work(
    text: str, begin: int, end: int, pretty: bool, dry_run: bool, backup: bool, several: bool, path: str
) -> Outcome:
    expression = Expression(text)
    shown = times(pretty, None)
    lines: list[str] = []
    values: list[list[float | None]] = []

    def change(data: bytes) -> bytes:
        lines.clear()
        values.clear()
        now = int(time.time())
        header = parse_image(data, path)
        image = Image(data, path)
        found = choose(header, begin, end, now)
        if found is None:
            raise CarbonError("No data in selected timerange")
        archive, span = found
        writer = RingWriter(image, header)
        level = header.archives.index(archive)
        slots = zip(range(span.start, span.end, span.step), maintenance.values_or_none(read_span(image, archive, span)))
        for slot, value in slots:
            new = None if value is None else expression(slot, value)
            lines.append(f"{shown(slot)}\t{value} -> {new}\n")
            values.append([slot, value, new])
            if new is not None:
                # One after the other, as single updates: so the coarser slots come in that order, too.
                writer.write_level(level, [slot], [new], now)
        return bytes(image.data)

    changed = apply(path, change, dry_run=dry_run, backup=backup)
    head = f"{path}\n" if several else ""
    return Outcome(path, head + "".join(lines), record={"path": path, "values": values}, changed=changed)

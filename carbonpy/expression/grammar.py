r"""The grammar of targets: text to tree.

The law.  The whole text is read or a QueryError names the character where it cannot go on; nothing is
cut off silently.  One pass, no backtracking; nesting and length are bounded, so that a tree can be
walked by recursion.

::

    target     := expression                                        (a bare number or keyword is a path here)
    expression := (template | call | path) ("|" call)*              a|f(x) is f(a,x)
    call       := name "(" [argument ("," argument)*] ")"           keyword arguments come last
    argument   := [name "="] (true | false | none | inf | number | string | expression)
    template   := "template(" expression ("," (number | string))* ")"
                | "template(" expression ("," name "=" (number | string))* ")"
    number     := -?digits[.digits][e[-]digits]                     +3, .5 and 5. are none
    string     := "..." | '...'
    path       := node ("." node)*                                  without blanks
    node       := (character | escape | braces)+
    braces     := "{" (character | escape | braces | "." | ",")* "}"
    name       := [A-Za-z_][A-Za-z0-9_]*

Blanks and line ends may stand between tokens.  Keywords are whole words in any case: ``true.x`` and
``trueish`` are paths.  A character of a path is any printable one but ``(){},.'"\|``.

A backslash before one of ``(){},.'"\|=`` makes it part of the path and is dropped; before any other
character it stays and reaches the look-up, where ``\*`` is a star.  Strings are kept as they are written,
backslashes and all, because regular expressions need theirs; only of a backslash before the quote that the
string stands in nothing but the quote is kept.  A doubled quote does not end a string either.
"""

from __future__ import annotations

import re

from carbonpy.errors import QueryError
from carbonpy.expression.tree import Call, Expression, Literal, Path, Template

#: Limits when none are given.
MOST_CHARACTERS = 100_000
MOST_DEPTH = 64

#: What a backslash takes the meaning from.
_SPECIAL = "(){},.'\"\\|="
_KEYWORDS: dict[str, float | bool | None] = {"true": True, "false": False, "none": None, "inf": float("inf")}
#: More digits than any number anybody means (and than Python is willing to read).
_MOST_DIGITS = 400

_BLANKS = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CHARACTERS = re.compile(r"[^\s(){},.'\"\\|]+")
_INTEGER = re.compile(r"-?[0-9]+\Z")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE]-?[0-9]+)?\Z")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_STRING = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.|{quote}{quote})*){quote}", re.DOTALL) for quote in "'\""}


def parse(text: str, *, most_characters: int = MOST_CHARACTERS, most_depth: int = MOST_DEPTH) -> Expression:
    """The tree of a target.  Pure; safe from any thread.

    most_characters, most_depth: the longest text and the deepest nesting (calls, pipes and templates) allowed.
    Raises QueryError, a sentence that names the character, counted from 1.
    """
    if len(text) > most_characters:
        raise QueryError(f"the target has {len(text)} characters; write one with at most {most_characters}")
    return _Reader(text, most_depth).target()


def first_path(text: str) -> str:
    """The first path inside `text`, going into calls from left to right, escapes taken away.

    `text` may be the name of a series that no target could be: what follows the path is not looked at.
    A plain value in its place is given as it is written, a string without its quotes.
    Raises QueryError if there is no path to be read.
    """
    return _Reader(text, MOST_DEPTH).first_path()


class _Reader:
    """A position in a text.  Methods read one thing, move behind it and give (node, height of its tree)."""

    def __init__(self, text: str, most_depth: int) -> None:
        self._text = text
        self._most_depth = most_depth
        self._at = 0

    def target(self) -> Expression:
        self._skip()
        if self._at == len(self._text):
            raise QueryError("the target is empty; write a path such as servers.*.load, or a call such as sum(a.*)")
        tree, _ = self._expression(0)
        if self._at < len(self._text):
            raise self._error("the target should end here", "write each target as one of its own, and check brackets")
        return tree

    def first_path(self) -> str:
        self._skip()
        while self._name_before("(") is not None:
            self._expect("(")
        value = self._string() if self._peek() in _STRING else self._path()
        return value.text if isinstance(value, Path) else str(value.value)

    # Expressions

    def _expression(self, depth: int) -> tuple[Expression, int]:
        """A template, call or path, and the calls it is piped into."""
        start = self._at
        name = self._name_before("(")
        if name is None:
            return self._piped(self._path(), 0, start, depth)
        tree, height = self._template(start, depth) if name == "template" else self._call(name, start, depth)
        return self._piped(tree, height, start, depth)

    def _piped(self, tree: Expression, height: int, start: int, depth: int) -> tuple[Expression, int]:
        self._skip()
        while self._peek() == "|":
            self._at += 1
            self._skip()
            begin = self._at
            name = self._name_before("(")
            if name is None or name == "template":
                raise self._error("a pipe leads to a call", "write for example a.b|scale(2)", begin)
            call, other = self._call(name, begin, depth)
            height = max(height + 1, other)
            self._check_depth(depth + height)
            tree = Call(
                name, (tree, *call.arguments), call.named, self._text[start : call.end].rstrip(), start, call.end
            )
            self._skip()
        return tree, height

    def _call(self, name: str, start: int, depth: int) -> tuple[Call, int]:
        """What follows the name of a function, up to its closing parenthesis."""
        self._check_depth(depth + 1)
        self._expect("(")
        positional: list[Expression] = []
        named: list[tuple[str, Expression]] = []
        height = 0
        closed = self._take(")")
        while not closed:
            at = self._at
            keyword = self._keyword()
            argument, inner = self._argument(depth + 1)
            height = max(height, inner)
            if keyword is not None:
                if keyword in dict(named):
                    raise self._error(f"{name}() has the argument {keyword} twice", "leave one out", at)
                named.append((keyword, argument))
            elif named:
                raise self._error(
                    f"{name}() has an argument without a name after one with a name", "put it before them", at
                )
            else:
                positional.append(argument)
            closed = self._next_or_close(name)
        return Call(name, tuple(positional), tuple(named), self._text[start : self._at], start, self._at), height + 1

    def _template(self, start: int, depth: int) -> tuple[Template, int]:
        self._check_depth(depth + 1)
        self._expect("(")
        body, height = self._expression(depth + 1)
        values: list[tuple[str, int | float | str]] = []
        by_name: bool | None = None
        while not self._next_or_close("template"):
            at = self._at
            keyword = self._keyword()
            if by_name is not None and by_name != (keyword is not None):
                raise self._error("template() has values with and without names", "name all of them or none", at)
            by_name = keyword is not None
            value, _ = self._argument(depth + 1)
            if not isinstance(value, Literal) or isinstance(value.value, bool) or value.value in (None, float("inf")):
                raise self._error("template() takes only numbers and texts in quotes as values", "put it in quotes", at)
            assert value.value is not None
            values.append((keyword or str(len(values) + 1), value.value))
        return Template(body, tuple(values), self._text[start : self._at], start, self._at), height + 1

    # Arguments

    def _argument(self, depth: int) -> tuple[Expression, int]:
        if self._peek() in _STRING:
            return self._string(), 0
        start = self._at
        if self._name_before("(") is not None:
            self._at = start
            return self._expression(depth)
        path = self._path()
        self._skip()
        literal = None if self._peek() == "|" else self._plain(path)
        return (literal, 0) if literal is not None else self._piped(path, 0, start, depth)

    def _plain(self, path: Path) -> Literal | None:
        """The number or keyword that a path is when it stands as an argument."""
        word = path.typed
        if word.lower() in _KEYWORDS:
            return Literal(_KEYWORDS[word.lower()], word, path.start, path.end)
        if not _NUMBER.match(word):
            return None
        if len(word) > _MOST_DIGITS:
            raise self._error(f"the number has {len(word)} digits", "write a shorter one", path.start)
        value = int(word) if _INTEGER.match(word) else float(word)
        return Literal(value, word, path.start, path.end)

    def _string(self) -> Literal:
        quote = self._text[self._at]
        match = _STRING[quote].match(self._text, self._at)
        if match is None:
            raise self._error("a text begins that has no end", f"close it with {quote}")
        self._at = match.end()
        value = _ESCAPED.sub(lambda pair: quote if pair.group(1) == quote else pair.group(), match.group(1))
        return Literal(value, match.group(), match.start(), match.end())

    def _keyword(self) -> str | None:
        """The name of a keyword argument, if one begins here."""
        name = self._name_before("=")
        if name is not None:
            self._expect("=")
        return name

    # Paths

    def _path(self) -> Path:
        start = self._at
        looked_up: list[str] = []
        node = brace = self._at
        depth = 0
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "\\":
                looked_up.append(self._escape())
                continue
            if character == ".":
                if not depth:
                    self._check_node(node)
                    node = self._at + 1
            elif character == "{":
                depth += 1
                brace = self._at if depth == 1 else brace
            elif character == "}":
                if not depth:
                    break
                depth -= 1
            elif character != "," or not depth:
                match = _CHARACTERS.match(self._text, self._at)
                if match is None:
                    break
                if not match.group().isprintable():
                    raise self._error("the path has a character that cannot be printed", "leave it out")
                looked_up.append(match.group())
                self._at = match.end()
                continue
            looked_up.append(character)
            self._at += 1
        if depth:
            raise self._error("an opening brace has no end", "write for example a.{b,c}", brace)
        if self._at == start:
            raise self._error("a path or a call should stand here", "write for example servers.*.load")
        self._check_node(node)
        return Path("".join(looked_up), self._text[start : self._at], start, self._at)

    def _escape(self) -> str:
        if self._at + 1 == len(self._text):
            raise self._error("a backslash has nothing behind it", "leave it out")
        escaped = self._text[self._at + 1]
        if not escaped.isprintable():
            raise self._error("the path has a character that cannot be printed", "leave it out")
        self._at += 2
        return escaped if escaped in _SPECIAL else "\\" + escaped

    def _check_node(self, start: int) -> None:
        if start == self._at:
            raise self._error(
                "a path has nothing beside a dot", "write every node of it, and a number as 0.5 or 5.0", start
            )

    # Tokens

    def _skip(self) -> None:
        match = _BLANKS.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _name_before(self, sign: str) -> str | None:
        """A name that `sign` comes after; moves to the sign, or not at all."""
        match = _NAME.match(self._text, self._at)
        if match is None:
            return None
        start, self._at = self._at, match.end()
        self._skip()
        if self._peek() == sign:
            return match.group()
        self._at = start
        return None

    def _take(self, sign: str) -> bool:
        if self._peek() != sign:
            return False
        self._expect(sign)
        return True

    def _expect(self, sign: str) -> None:
        assert self._peek() == sign
        self._at += 1
        self._skip()

    def _next_or_close(self, name: str) -> bool:
        """Move behind a comma (False) or the closing parenthesis (True) of the call of `name`."""
        self._skip()
        if self._peek() == ")":
            self._at += 1
            return True
        if not self._take(","):
            what = f"the arguments of {name}() go on without a comma" if self._peek() else f"{name}() has no end"
            raise self._error(what, "write a comma between arguments and ) after the last")
        if self._peek() in (")", ","):
            raise self._error(f"{name}() has a comma without an argument", "leave it out")
        return False

    def _check_depth(self, depth: int) -> None:
        if depth > self._most_depth:
            raise self._error("calls stand in calls too deeply", f"nest at most {self._most_depth} of them")

    def _error(self, what: str, instead: str, at: int | None = None) -> QueryError:
        at = self._at if at is None else at
        found = f"at {self._text[at : at + 20]!r}" if at < len(self._text) else "at its end"
        return QueryError(f"cannot read the target, character {at + 1}, {found}: {what}; {instead}")

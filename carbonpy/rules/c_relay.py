"""The configuration of carbon-c-relay, as settings, clusters and routes of ours.

The law: statements in the order of the file become what `carbonpy.rules.routes` reads; what is wrong is a ConfigError
with ``file:line`` for each statement, and what has no counterpart here is a warning that says what to do.  The grammar
is that of carbon-c-relay 3.7 (conffile.y): words, ``"quoted strings"``, ``;`` behind each statement, ``#`` comments.

Two things that carbon-c-relay does without being told become the first routes: names are cleansed, and their tags are
set apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from carbonpy.errors import ConfigError
from carbonpy.rules.ini import shown
from carbonpy.rules.posix import python_syntax

#: What a server listens on, and a relay does, when nothing else is said.
DEFAULT_PORT = 2003
_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |"(?P<quoted>[^"\n]*)"
    |(?P<mark>[;=])
    |(?P<word>(?:\\\ |[A-Za-z0-9\[\](){}|\\^?*$&%<>:/,._+!@~'-])+)""",
    re.VERBOSE,
)
_RINGS = {"carbon_ch": "carbon_ch:c-relay", "fnv1a_ch": "fnv1a_ch:c-relay", "jump_fnv1a_ch": "jump_fnv1a_ch"}
_ENDS_MATCH = ("validate", "route", "send", "stop", ";")
_SERVER_WORDS = ("proto", "type", "transport")

#: Reads the files of an ``include``: (name, text) of each that the path or pattern means.
Include = Callable[[str], Iterable[tuple[str, str]]]


class Converted(NamedTuple):
    """What a configuration says: settings by lower-case name, CLUSTERS, ROUTES, and warnings ``file:line: ...``."""

    settings: dict[str, object]
    clusters: dict[str, Any]
    routes: list[dict[str, Any]]
    warnings: list[str]


class _Token(NamedTuple):
    text: str
    line: int
    quoted: bool


def read_c_relay(text: str, filename: str, include: Include) -> Converted:
    """The configuration `text`.  Raises ConfigError with a line for each problem; `filename` is for messages."""
    reader = _Reader(include)
    reader.file(text, filename)
    if reader.problems:
        raise ConfigError("\n".join(reader.problems))
    return reader.converted


def _tokens(text: str, filename: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            what = "a string without its closing quote" if text[at] == '"' else f"{text[at]!r}, which needs quotes"
            raise ConfigError(f"{filename}:{line}: {what}; write such words in quotes")
        if found["blank"] is None:
            yield _Token(
                found["quoted"] if found["quoted"] is not None else found[0], line, found["quoted"] is not None
            )
        line += found[0].count("\n")
        at = found.end()


class _Wrong(Exception):
    """What is wrong with a statement, and in which line."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


class _Words:
    """The words of one statement, taken one after the other.  One owner."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def line(self) -> int:
        """The line of what comes next, or of the end."""
        return self._tokens[min(self._at, len(self._tokens) - 1)].line

    @property
    def more(self) -> bool:
        """Whether there is anything left."""
        return self._at < len(self._tokens)

    def sees(self, *words: str) -> bool:
        """Whether these words come next, unquoted."""
        ahead = self._tokens[self._at : self._at + len(words)]
        return len(ahead) == len(words) and all(
            token.text == word and not token.quoted for token, word in zip(ahead, words, strict=True)
        )

    def takes(self, *words: str) -> bool:
        """The same, and goes past them."""
        if not self.sees(*words):
            return False
        self._at += len(words)
        return True

    def needs(self, *words: str) -> None:
        """Goes past these words."""
        if not self.takes(*words):
            raise _Wrong(self.line, f"{' '.join(words)!r} has to stand {self._here()}")

    def word(self, what: str) -> str:
        """The next word, which is `what`."""
        if not self.more or self.sees("=") or self.sees(";"):
            raise _Wrong(self.line, f"{what} has to stand {self._here()}")
        self._at += 1
        return self._tokens[self._at - 1].text

    def one_of(self, what: str, words: Iterable[str]) -> str:
        """The next word, one of `words`."""
        known = tuple(words)
        line = self.line
        word = self.word(what)
        if word not in known:
            raise _Wrong(line, f"{shown(word)!r} is no {what}; use one of {', '.join(known)}")
        return word

    def number(self, what: str) -> int:
        """The next word, a number."""
        line = self.line
        word = self.word(what)
        if not word.isascii() or not word.isdigit():
            raise _Wrong(line, f"{shown(word)!r} is no {what}; write a number")
        return int(word)

    def until(self, what: str, *ends: str) -> list[str]:
        """All words up to one of `ends`, at least one."""
        words = [self.word(what)]
        while self.more and not any(self.sees(end) for end in ends):
            words.append(self.word(what))
        return words

    def _here(self) -> str:
        return f"in place of {shown(self._tokens[self._at].text)!r}" if self.more else "before the ';'"


class _Reader:
    """What has been read so far; one statement after the other.  One owner."""

    def __init__(self, include: Include) -> None:
        self.problems: list[str] = []
        self.converted = Converted({}, {}, [{"cleanse": True}, {"set_tags_apart": True}], [])
        self._include = include
        self._filename = ""
        self._line = 0
        self._open: list[str] = []

    def file(self, text: str, filename: str) -> None:
        """Take in one file and those that it includes."""
        outer, self._filename = self._filename, filename
        self._open.append(filename)
        try:
            statement: list[_Token] = []
            for token in _tokens(text, filename):
                if token.text == ";" and not token.quoted:
                    if statement:
                        self._statement(statement)
                    statement = []
                else:
                    statement.append(token)
            if statement:
                self.problems.append(f"{filename}:{statement[0].line}: the statement has no ';' at its end; add it")
        except ConfigError as error:
            self.problems.append(str(error))
        self._open.pop()
        self._filename = outer

    def _statement(self, tokens: list[_Token]) -> None:
        words = _Words(tokens)
        self._line = tokens[0].line
        kinds: dict[str, Callable[[_Words], None]] = {
            "cluster": self._cluster, "match": self._match, "rewrite": self._rewrite, "aggregate": self._aggregate,
            "statistics": self._statistics, "send": self._statistics_to, "listen": self._listen,
            "include": self._included,
        }  # fmt: skip
        try:
            kinds[words.one_of("statement", kinds)](words)
            if words.more:
                raise _Wrong(
                    words.line, f"{shown(words.word('nothing'))!r} is not expected here; remove it, or end with ';'"
                )
        except _Wrong as wrong:
            self.problems.append(f"{self._filename}:{wrong.line}: {wrong}")

    def _warn(self, sentence: str) -> None:
        self.converted.warnings.append(f"{self._filename}:{self._line}: {sentence}")

    # ---- clusters

    def _cluster(self, words: _Words) -> None:
        line = words.line
        name = words.word("the name of the cluster")
        if name in self.converted.clusters:
            raise _Wrong(line, f"there is a cluster {name} already; rename one of them")
        kind = words.one_of("type of cluster", ("forward", "any_of", "failover", *_RINGS, "file"))
        if kind == "file":
            if words.takes("ip"):
                self._warn("'ip' writes the sender's address before each line, which is not done here; it is left out")
            self.converted.clusters[name] = {"type": "file", "paths": words.until("a path", ";")}
            return
        cluster: dict[str, Any] = {"type": _RINGS.get(kind, kind)}
        if kind in _RINGS:
            if words.takes("replication"):
                cluster["replication"] = words.number("number of copies")
            if words.takes("dynamic"):
                cluster["dynamic"] = True
        elif words.takes("useall"):
            self._warn("'useall' makes a server of every address of a name; here write one server for each address")
        cluster["protocol"] = "line"
        cluster["servers"] = [self._server(words)]
        while words.more:
            cluster["servers"].append(self._server(words))
        self.converted.clusters[name] = cluster

    def _server(self, words: _Words) -> object:
        server = _with_port(words.word("a server"))
        if words.takes("="):
            server += f":{words.word('an instance')}"
        options: dict[str, object] = {}
        while any(words.sees(word) for word in _SERVER_WORDS):
            if words.takes("proto"):
                if words.one_of("protocol", ("tcp", "udp")) == "udp":
                    options["protocol"] = "udp"
            elif words.takes("type"):
                words.one_of("type that can be spoken here", ("linemode",))
            else:
                self._transport(words, options)
        return {"server": server, **options} if options else server

    def _transport(self, words: _Words, options: dict[str, object]) -> None:
        words.needs("transport")
        if words.sees("snappy"):
            raise _Wrong(words.line, "carbon-c-relay's snappy has no framing and cannot be read back; use lz4")
        transport = words.one_of("transport", ("plain", "gzip", "lz4"))
        if transport != "plain":
            options["compression"] = transport
        if words.takes("ssl"):
            options["tls"] = True
        elif words.takes("mtls"):
            options["tls"] = {"certificate": words.word("a certificate"), "key": words.word("a key")}

    # ---- routes

    def _match(self, words: _Words) -> None:
        route: dict[str, Any] = {"match": self._expressions(words, *_ENDS_MATCH)}
        if words.takes("validate"):
            route["validate"] = self._expression(words.word("an expression"))
            words.needs("else")
            route["otherwise"] = words.one_of("way to treat what fails", ("log", "drop"))
        if words.takes("route", "using"):
            route["route_using"] = words.word("a key")
        self._end(words, route)

    def _rewrite(self, words: _Words) -> None:
        expression = self._expression(words.word("an expression"))
        words.needs("into")
        self.converted.routes.append({"rewrite": expression, "into": words.word("a replacement")})

    def _aggregate(self, words: _Words) -> None:
        route: dict[str, Any] = {"aggregate": self._expressions(words, "every", ";")}
        words.needs("every")
        route["every"] = words.number("number of seconds")
        words.needs("seconds", "expire", "after")
        route["expire"] = words.number("number of seconds")
        words.needs("seconds")
        if words.takes("timestamp", "at"):
            route["timestamp"] = words.one_of("place in the interval", ("start", "middle", "end"))
            words.needs("of", "bucket")
        computed = []
        while words.takes("compute"):
            method = words.word("what to compute")
            words.needs("write", "to")
            computed.append({method: words.word("the name of the aggregate")})
        route["compute"] = computed
        self._end(words, route)

    def _end(self, words: _Words, route: dict[str, Any]) -> None:
        """What statements that send have at their end."""
        if words.takes("send", "to"):
            route["send_to"] = self._known(words)
        if words.takes("stop"):
            route["stop"] = True
        self.converted.routes.append(route)

    def _known(self, words: _Words) -> list[str]:
        line = words.line
        names = words.until("the name of a cluster", "stop", ";")
        for name in names:
            if name != "blackhole" and name not in self.converted.clusters:
                raise _Wrong(line, f"there is no cluster {shown(name)!r} above; define it before it is used")
        return names

    def _expressions(self, words: _Words, *ends: str) -> object:
        found = [self._expression(word) for word in words.until("an expression", *ends)]
        return found[0] if len(found) == 1 else found

    def _expression(self, word: str) -> str:
        if word == "*":
            return word
        try:
            expression, warnings = python_syntax(word)
        except ConfigError as error:
            raise _Wrong(self._line, str(error)) from None
        for warning in warnings:
            self._warn(warning)
        return expression

    # ---- what is for settings

    def _statistics(self, words: _Words) -> None:
        if words.takes("submit", "every"):
            self.converted.settings["carbon_metric_interval"] = words.number("number of seconds")
            words.needs("seconds")
        if not words.takes("reset", "counters", "after", "interval"):
            self._warn("figures of ours count from one interval to the next, as with 'reset counters after interval'")
        if words.takes("prefix", "with"):
            self._warn(f"the prefix {shown(words.word('a prefix'))!r} is not taken over; see CARBON_METRIC_PREFIX")
        if words.takes("send", "to"):
            self._statistics_go_to(self._known(words))
        words.takes("stop")

    def _statistics_to(self, words: _Words) -> None:
        words.needs("statistics", "to")
        self._statistics_go_to(self._known(words))
        words.takes("stop")

    def _statistics_go_to(self, clusters: list[str]) -> None:
        route = {"name": "own figures", "match": r"^carbon\.(relays|aggregator)\.", "send_to": clusters, "stop": True}
        self.converted.routes.insert(2, route)

    def _listen(self, words: _Words) -> None:
        words.needs("type")
        words.one_of("type that can be listened for here", ("linemode",))
        if words.takes("transport"):
            self._warn("listeners with compression or TLS are not taken over; see the settings of receivers")
            while words.more:
                words.word("a word")
            return
        while words.more:
            interface, port = _place(words.word("a port or a path"))
            words.needs("proto")
            protocol = words.one_of("protocol", ("tcp", "udp", "unix"))
            if protocol == "unix" or port is None:
                self._warn("UNIX sockets are not taken over; see the settings of receivers")
                continue
            key = "line" if protocol == "tcp" else "udp"
            if f"{key}_receiver_port" in self.converted.settings:
                self._warn(f"there is more than one {protocol} listener; only the first is taken over")
                continue
            self.converted.settings[f"{key}_receiver_port"] = port
            if interface:
                self.converted.settings[f"{key}_receiver_interface"] = interface
            if key == "udp":
                self.converted.settings["enable_udp_listener"] = True

    def _included(self, words: _Words) -> None:
        line = words.line
        pattern = words.word("a file")
        found = 0
        for filename, text in self._include(pattern):
            found += 1
            if filename in self._open:
                raise _Wrong(line, f"{filename} includes itself; break the circle")
            self.file(text, filename)
        if not found:
            raise _Wrong(line, f"there is no file {shown(pattern)}; check the path")


def _with_port(host: str) -> str:
    """``host:port`` of a server, whose port may be left out."""
    if host.startswith("["):
        return host if "]:" in host else f"{host}:{DEFAULT_PORT}"
    if host.count(":") > 1:  # an address of IPv6 with a port behind it
        address, _, port = host.rpartition(":")
        return f"[{address}]:{port}"
    return host if ":" in host else f"{host}:{DEFAULT_PORT}"


def _place(text: str) -> tuple[str, int | None]:
    """Interface (or none) and port of a listener; no port for what is a path."""
    interface, _, port = text.rpartition(":")
    return (interface.strip("[]"), int(port)) if port.isascii() and port.isdigit() else ("", None)

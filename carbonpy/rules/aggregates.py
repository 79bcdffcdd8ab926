"""aggregation-rules.conf: which metrics are put together to which others, as carbon's aggregator reads it.

One rule a line, ``output (frequency) = method input``; blank lines and lines that begin with ``#`` are nothing.
The law is carbon's (aggregator/rules.py of carbon 1.1): a line is split at the first ``=``; the input is, part by
part between its dots, a regular expression in which ``*``, ``<field>`` and ``<<field>>`` mean what carbon makes of
them, matched against the whole name; the output is a template of the fields.  Where carbon would not start, or would
never read the file again, there is a ConfigError with a line for each problem.  A rule that carbon takes but that can
never give a name (a field that the input does not have, a ``%``) is passed over with a warning; in carbon it
costs every point that it matches.

More than carbon has: tags in outputs (``all.cpu;dc=<dc> (60) = ...``: when what stands before the first ``=`` is not
an output and a frequency, the next ``=`` is tried), and the methods last, median, stddev, variance and
percentile1 to percentile99.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from carbonpy.errors import ConfigError
from carbonpy.rules.ini import shown
from carbonpy.rules.pattern import compile_pattern

#: carbon's methods and ours.  ``percentileN`` stands for percentile1 to percentile99.
METHODS = (
    *("sum", "avg", "min", "max", "p50", "p75", "p80", "p90", "p95", "p99", "p999", "count"),
    *("last", "median", "stddev", "variance", "percentileN"),
)
#: Longer words that carbon-c-relay has for some of them.
ALIASES = {"summary": "sum", "average": "avg", "minimum": "min", "maximum": "max", "cnt": "count"}
#: Where in its interval the timestamp of an aggregate lies.
MOMENTS = ("start", "middle", "end")
#: The longest interval: what a timestamp can hold.
MAX_INTERVAL = 2**31 - 1

_PERCENTILE = re.compile(r"percentile[1-9][0-9]?\Z")


def known_method(word: str) -> str:
    """The method that `word` is, by its own name.  Raises ConfigError, a sentence without a place."""
    method = ALIASES.get(word, word)
    if method == "percentileN" or (method not in METHODS and not _PERCENTILE.match(method)):
        raise ConfigError(f"unknown method {shown(word)!r}; use {', '.join(METHODS)} with N from 1 to 99")
    return method


class AggregateSpec(NamedTuple):
    """How the values of one output are put together.  Immutable.

    `interval`: seconds; points whose timestamps fall between two multiples of it belong together.
    `kind`: ``carbon`` sends an interval now and then, and again when a late point changed it; ``window`` (as
    carbon-c-relay does) sends it once, `expire` seconds after its start.  `moment` is where in the interval the
    timestamp lies; carbon knows the start only.
    """

    interval: int
    method: str
    kind: str = "carbon"
    expire: int = 0
    moment: str = "start"


@dataclass(frozen=True)
class AggregateRule:
    """One line.  Immutable."""

    output: str
    spec: AggregateSpec
    input: str
    line: int
    template: str = field(repr=False, compare=False)
    regex: re.Pattern[str] = field(repr=False, compare=False)

    def output_of(self, name: str) -> str | None:
        """The output that the metric `name` goes to, None when the rule does not match it."""
        found = self.regex.match(name)
        return None if found is None else self.template % found.groupdict()


class AggregationRules:
    """The rules of one file in their order.  True when there are any.  Immutable, safe from any thread.

    `warnings` has a sentence ``file:line ...`` for each rule that was passed over.
    """

    def __init__(self, rules: Sequence[AggregateRule] = (), warnings: Sequence[str] = ()) -> None:
        self.rules = tuple(rules)
        self.warnings = tuple(warnings)

    @classmethod
    def default(cls) -> AggregationRules:
        """The rules of an empty or missing file: none."""
        return cls()

    @classmethod
    def parse(cls, text: str, filename: str) -> AggregationRules:
        """The rules of `text`.  Raises ConfigError with a line for each problem; `filename` is for messages."""
        rules: list[AggregateRule] = []
        warnings: list[str] = []
        problems: list[str] = []
        for number, line in enumerate(io.StringIO(text.removeprefix("\ufeff"), newline=None), start=1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            where = f"{filename}:{number} {shown(line)}:"
            try:
                rule = _rule(line, number)
                _try_out(rule)
            except ConfigError as error:
                problems.append(f"{where} {error}")
            except _Useless as error:
                warnings.append(f"{where} {error}; the rule is passed over")
            else:
                rules.append(rule)
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(rules, warnings)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def outputs(self, name: str) -> list[tuple[int, str]]:
        """(number of the rule, output) for every rule that matches the metric `name`, in their order."""
        found = ((number, rule.output_of(name)) for number, rule in enumerate(self.rules))
        return [(number, output) for number, output in found if output is not None]


class _Useless(Exception):
    """Why a rule that carbon takes can never give a name."""


def _rule(line: str, number: int) -> AggregateRule:
    output, frequency, right = _halves(line)
    words = right.split()
    if len(words) != 2:
        raise ConfigError(
            "behind the '=' stand a method and one input pattern; write output (frequency) = method input"
        )
    method, pattern = known_method(words[0]), words[1]
    try:
        interval = int(frequency.lstrip("(").rstrip(")"))
    except ValueError:
        raise ConfigError(f"{shown(frequency)!r} is no number of seconds; write (60) for a minute") from None
    if interval > MAX_INTERVAL:
        raise ConfigError(f"{interval} seconds are too many; the longest interval is {MAX_INTERVAL}")
    try:
        regex = compile_pattern(regex_of(pattern))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return AggregateRule(output, AggregateSpec(interval, method), pattern, number, template_of(output), regex)


def _halves(line: str) -> tuple[str, str, str]:
    """Output, frequency and what stands behind the ``=`` between them."""
    end = line.find("=")
    while end >= 0:
        words = line[:end].split()
        if len(words) == 2:
            return words[0], words[1], line[end + 1 :]
        if len(words) > 2:
            break
        end = line.find("=", end + 1)
    raise ConfigError("before the '=' stand an output and a frequency; write output (frequency) = method input")


def regex_of(pattern: str) -> str:
    """The regular expression that carbon makes of an input pattern, for ``re.match`` (build_regex there)."""
    parts = []
    for part in pattern.split("."):
        if "<<" in part and ">>" in part:
            begin, end = part.find("<<"), part.find(">>")
            parts.append(f"{part[:begin]}(?P<{part[begin + 2 : end]}>.+?){part[end + 2 :]}")
        elif -1 < part.find("<") < part.find(">"):
            begin, end = part.find("<"), part.find(">")
            parts.append(f"{part[:begin]}(?P<{part[begin + 1 : end]}>[^.]+?){part[end + 1 :]}")
        elif part == "*":
            parts.append("[^.]+")
        else:
            parts.append(part.replace("*", "[^.]*"))
    return "\\.".join(parts) + "$"


def template_of(output: str) -> str:
    """What carbon fills with the fields by ``%`` (build_template there)."""
    return output.replace("<", "%(").replace(">", ")s")


def _try_out(rule: AggregateRule) -> None:
    """Raises _Useless when no name that matches can ever give an output."""
    if rule.spec.interval < 1:
        raise _Useless(f"an interval of {rule.spec.interval} seconds holds nothing; write at least (1)")
    try:
        rule.template % dict.fromkeys(rule.regex.groupindex, "x")
    except KeyError as error:
        raise _Useless(
            f"the output needs {shown(str(error.args[0]))!r}, which is no field of the input; write <field> in both, "
            "one field in each part"
        ) from None
    except (TypeError, ValueError):
        raise _Useless("the output has a '%', with which no name can be made; write '%%'") from None

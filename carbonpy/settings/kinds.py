"""The kinds of values that settings have: from what a file says to what a component gets.

The law: `read` takes a string (of carbon.conf or the command line) or a plain YAML value and returns the
value, or raises ValueError with a sentence that says what would be right; `show` is its inverse,
``kind.read(kind.show(value)) == value``, in a spelling that is right in YAML and in carbon.conf alike.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
import re
import socket
from dataclasses import dataclass

_BOOLEANS = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}
_PLAIN = re.compile(r"[A-Za-z_/][\w/.<>-]*|\d+(\.\d+){3}")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})(?::[^\s:/]+)?")
_URL = re.compile(r"https?://(?:\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+)(?::\d{1,5})?(?:[/?][^\s#]*)?")
_YAML_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


@dataclass(frozen=True)
class Kind:
    """Text: any string.  The base of all kinds."""

    @property
    def description(self) -> str:
        """What may be written, for people."""
        return "text"

    def read(self, raw: object) -> object:
        """The value that `raw` means.  Raises ValueError with a sentence."""
        if raw is None:
            return ""
        if isinstance(raw, list | dict):
            raise ValueError("must be text, not a list or a mapping")
        text = str(raw).strip()
        if "\n" in text:
            raise ValueError("must be one line; the lines below it are indented and so became part of it")
        return text

    def show(self, value: object) -> str:
        """The spelling of `value` in both kinds of files."""
        text = str(value)
        if _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
            return text
        return f'"{text}"' if '"' not in text and "\\" not in text else "'" + text.replace("'", "''") + "'"

    def show_ini(self, value: object) -> str:
        """The spelling of `value` in carbon.conf where that differs from `show`: no quotes, ``%`` doubled."""
        return str(value).replace("%", "%%")


@dataclass(frozen=True)
class Flag(Kind):
    """True or False, in any of ConfigParser's words."""

    @property
    def description(self) -> str:
        return "True or False"

    def read(self, raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        value = _BOOLEANS.get(str(raw).strip().lower())
        if value is None:
            raise ValueError("must be True or False")
        return value

    def show(self, value: object) -> str:
        return str(bool(value))

    def show_ini(self, value: object) -> str:
        return self.show(value)


@dataclass(frozen=True)
class Number(Kind):
    """A number from `low` to `high`: an int if `whole` (or equal to one), else a float.

    With `endless` it may be ``inf``, with `optional` ``None``; `above` excludes `low` itself.
    """

    low: float = 0
    high: float = math.inf
    whole: bool = False
    endless: bool = False
    optional: bool = False
    above: bool = False
    unit: str = ""

    @property
    def description(self) -> str:
        words = "a whole number" if self.whole else "a number"
        if self.unit:
            words += f" of {self.unit}"
        if self.high < math.inf:
            words += f" from {_short(self.low)} to {_short(self.high)}"
        elif self.above:
            words += f" above {_short(self.low)}"
        else:
            words += f", {_short(self.low)} or more"
        return words + (" or inf" if self.endless else "") + (" or None" if self.optional else "")

    def read(self, raw: object) -> int | float | None:
        if self.optional and (raw is None or str(raw).strip().lower() in ("none", "")):
            return None
        value = _number(raw)
        if value is None or math.isnan(value):
            raise ValueError(f"must be {self.description}")
        inside = self.low < value if self.above else self.low <= value
        if not inside or value > self.high or (math.isinf(value) and not self.endless):
            raise ValueError(f"must be {self.description}")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if self.whole and isinstance(value, float) and not math.isinf(value):
            raise ValueError(f"must be {self.description}")
        return value

    def show(self, value: object) -> str:
        return "None" if value is None else _short(value)

    def show_ini(self, value: object) -> str:
        return self.show(value)


def _number(raw: object) -> int | float | None:
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int | float):
        return raw
    text = str(raw).strip()
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def _short(value: object) -> str:
    return repr(value) if isinstance(value, float) and not value.is_integer() else f"{value}".removesuffix(".0")


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def description(self) -> str:
        return "one of " + ", ".join(self.words)

    def read(self, raw: object) -> str:
        text = str(raw).strip()
        if text not in self.words:
            raise ValueError(f"must be {self.description}")
        return text


@dataclass(frozen=True)
class Path(Kind):
    """A file or directory; ``~`` is expanded, ``..`` and double slashes are resolved."""

    @property
    def description(self) -> str:
        return "a path"

    def read(self, raw: object) -> str:
        text = super().read(raw)
        if not text or "\0" in str(text):
            raise ValueError("must be a path; give one or remove the line")
        return os.path.normpath(os.path.expanduser(str(text)))


@dataclass(frozen=True)
class OptionalPath(Path):
    """A file, or nothing."""

    @property
    def description(self) -> str:
        return "a path, or empty"

    def read(self, raw: object) -> str:
        return "" if Kind.read(self, raw) == "" else super().read(raw)


@dataclass(frozen=True)
class Structure(Kind):
    """Lists and mappings in YAML, or the same as JSON in one line; None for nothing."""

    @property
    def description(self) -> str:
        return "lists and mappings in YAML, or None"

    def read(self, raw: object) -> object:
        if isinstance(raw, str):
            text = raw.strip()
            if text.lower() in ("", "none"):
                return None
            try:
                raw = json.loads(text)
            except ValueError:
                raise ValueError("must be a list or a mapping in YAML, or JSON in one line") from None
        if raw is None or isinstance(raw, list | dict):
            return raw
        raise ValueError("must be a list or a mapping in YAML, or JSON in one line")

    def show(self, value: object) -> str:
        return "None" if value is None else json.dumps(value)

    def show_ini(self, value: object) -> str:
        return self.show(value).replace("%", "%%")


@dataclass(frozen=True)
class Words(Kind):
    """Any number of words: a list in YAML, or text with commas between them."""

    @property
    def description(self) -> str:
        return "words with commas between them"

    def read(self, raw: object) -> tuple[str, ...]:
        if isinstance(raw, list | tuple):
            if any(isinstance(item, list | tuple | dict) for item in raw):
                raise ValueError("must be a list of words, not a list of lists or mappings")
            items = [str(item).strip() for item in raw if item is not None]
        else:
            items = str(Kind.read(self, raw)).split(",")
        bare = (item.strip().strip("\"'").strip() for item in items)
        return tuple(word for word in bare if word)

    def show(self, value: object) -> str:
        assert isinstance(value, tuple)
        return super().show(", ".join(value))

    def show_ini(self, value: object) -> str:
        assert isinstance(value, tuple)
        return super().show_ini(", ".join(value))


@dataclass(frozen=True)
class Hosts(Words):
    """Query ports of caches: ``host:port`` or ``host:port:instance``, IPv6 addresses in brackets."""

    @property
    def description(self) -> str:
        return "host:port or host:port:instance, with commas between them"

    def read(self, raw: object) -> tuple[str, ...]:
        words = super().read(raw)
        for word in words:
            found = _HOST.fullmatch(word)
            if found is None or not 0 < int(found[1]) < 65536:
                raise ValueError(f"must be {self.description}, not {word!r}")
        return words


@dataclass(frozen=True)
class Urls(Words):
    """Places of other servers: ``http://host:port/prefix?option=value``; without ``http://`` it is added."""

    @property
    def description(self) -> str:
        return "addresses like http://host:port/prefix, with commas between them"

    def read(self, raw: object) -> tuple[str, ...]:
        words = tuple(word if "://" in word else f"http://{word}" for word in super().read(raw))
        for word in words:
            if _URL.fullmatch(word) is None:
                raise ValueError(f"must be {self.description}, not {word!r}")
        return words


@dataclass(frozen=True)
class Interface(Kind):
    """An address to listen at: IPv4 or IPv6, ``::`` for all of both.  Quotes are ignored, host names resolved."""

    @property
    def description(self) -> str:
        return "an IPv4 or IPv6 address"

    def read(self, raw: object) -> str:
        text = str(super().read(raw)).strip("\"'")
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        if not bare:
            return "0.0.0.0"
        try:
            return str(ipaddress.ip_address(bare))
        except ValueError:
            pass
        try:
            return str(socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)[0][4][0])
        except (OSError, UnicodeError):
            raise ValueError(
                "must be an IPv4 or IPv6 address of this machine, like 127.0.0.1, 0.0.0.0 for every IPv4 address "
                "or :: for every address"
            ) from None


@dataclass(frozen=True)
class Port(Number):
    """A port from 1 to 65535, or 0 for none."""

    high: float = 65535
    whole: bool = True

    @property
    def description(self) -> str:
        return "a port from 1 to 65535, or 0 for none"


class Automatic(int):
    """A number of processes that nobody chose, so that they may be started when they are needed."""


@dataclass(frozen=True)
class Processes(Kind):
    """How many child processes: a number, or ``auto`` (`Automatic`): one less than the cores, `least` to `most`."""

    most: int = 8
    least: int = 0

    @property
    def description(self) -> str:
        return "auto or a whole number from 0 to 64"

    def read(self, raw: object) -> int:
        if str(raw).strip().lower() == "auto":
            return Automatic(max(self.least, min(self.most, usable_cores() - 1)))
        value = _number(raw)
        if value is None or value != value or not 0 <= value <= 64 or value != int(value):
            raise ValueError(f"must be {self.description}")
        return int(value)

    def show(self, value: object) -> str:
        return str(value)


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@dataclass(frozen=True)
class TimeZone(Kind):
    """A name of the tz database."""

    @property
    def description(self) -> str:
        return "a time zone like UTC or Europe/Berlin"

    def read(self, raw: object) -> str:
        text = str(super().read(raw))
        if text == "UTC":
            return text
        # Not before it is needed: it reads the build settings of Python, a quarter of a megabyte.
        import zoneinfo

        try:
            zoneinfo.ZoneInfo(text)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"must be {self.description}; this machine knows no such zone") from None
        return text

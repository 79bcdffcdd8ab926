r"""The line protocol: ``name value timestamp\n``.

The law: `parse` either understands a whole text at once or says that it does not (None), and then
`parse_line` decides line by line.  Both accept what carbon accepts: three fields separated by any
white space, numbers as Python's ``float`` reads them.  What `parse` returns for a text is what
`parse_line` returns for its lines.

`parse` is the hot path of the house.  It is certain of the shape before it trusts ``split``: every
byte that could be white space is looked at once with numpy, and they must come in the order space,
space, newline with something between them.  Only a text beyond ASCII is looked at twice: it must be
UTF-8, and the white space of Unicode, which separates fields as well, must not be in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from carbonpy.errors import WireError

#: Below it `repr` shows all digits of a float, and every whole number is one.
_EXACT = 10**15
_SHAPE = np.frombuffer(b"  \n", np.uint8)


class Points(NamedTuple):
    """Parallel columns of datapoints as they came, before any judgement.

    `names`: raw names (UTF-8); `timestamps`: int64 or float64; `values`: float64.
    """

    names: list[bytes]
    timestamps: np.ndarray
    values: np.ndarray


def parse(text: bytes) -> Points | None:
    """All datapoints of `text`, which ends with a newline; None if any line is not plainly well formed."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    octets = np.frombuffer(text, np.uint8)
    blanks = np.flatnonzero(octets <= 32)
    count, rest = divmod(len(blanks), 3)
    if rest or not count or blanks[-1] != len(octets) - 1:
        return None
    if not (octets[blanks].reshape(count, 3) == _SHAPE).all():
        return None
    if blanks[0] == 0 or (np.diff(blanks) == 1).any():
        return None
    if not text.isascii() and not _is_plain(text, len(blanks)):
        return None
    fields = text.split()
    try:
        values = np.fromiter(map(float, fields[1::3]), np.float64, count)
        try:
            timestamps = np.fromiter(map(int, fields[2::3]), np.int64, count)
        except (ValueError, OverflowError):
            timestamps = np.fromiter(map(float, fields[2::3]), np.float64, count)
    except ValueError:
        return None
    return Points(fields[0::3], timestamps, values)


def _is_plain(text: bytes, blanks: int) -> bool:
    """Whether `text` is UTF-8 and has no white space but the `blanks` single bytes known."""
    try:
        characters = text.decode()
    except UnicodeDecodeError:
        return False
    return len("".join(characters.split())) == len(characters) - blanks


def parse_line(line: bytes) -> tuple[bytes, float, float] | None:
    """(raw name, timestamp, value) of one line without its newline; None for a blank line.

    Raises WireError with a sentence that says what is wrong.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"byte {line[error.start]:#04x} is not UTF-8; send names in UTF-8") from None
    fields = text.split()
    if not fields:
        return None
    if len(fields) != 3:
        raise WireError(f"{len(fields)} fields instead of three; write: name value timestamp")
    name, value, timestamp = fields
    try:
        return name.encode(), float(timestamp), float(value)
    except ValueError:
        raise WireError("value or timestamp is not a number; write: name value timestamp") from None


def format_columns(names: Sequence[bytes], timestamps: np.ndarray, values: np.ndarray) -> bytes:
    """Lines for columns of UTF-8 names, whole timestamps and values (float64).  Safe from any thread.

    A value is the shortest text that reads back as the same number, without a fraction if all have none.  Very large
    and very small ones have an exponent, as in Python, C, Go and Java; all receivers read it.
    """
    pieces = [b" "] * (6 * len(names))
    pieces[::6] = names
    pieces[2::6] = _texts(_whole(values))
    pieces[4::6] = _texts(timestamps.astype(np.int64, casting="same_kind"))
    pieces[5::6] = [b"\n"] * len(names)
    return b"".join(pieces)


def _whole(values: np.ndarray) -> np.ndarray:
    """The values as integers if they are (and no zero has a sign); most columns are, and it saves half of the time."""
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    exact = (whole == values) & (np.abs(whole) < _EXACT)
    return whole if exact.all() and not np.signbit(values[whole == 0]).any() else values


def _texts(numbers: np.ndarray) -> list[bytes]:
    """Each number as `repr` shows it; a list shows all its items at once."""
    return repr(numbers.tolist())[1:-1].encode().split(b", ") if len(numbers) else []


class LineSplitter:
    """Cuts a stream into texts of whole lines.  One per connection; reactor thread only.

    >>> splitter = LineSplitter(100)
    >>> splitter.feed(b"a 1 1\\nb 2"), splitter.feed(b" 2\\n")
    (b'a 1 1\\n', b'b 2 2\\n')
    """

    __slots__ = ("_discarding", "_rest", "max_length", "overlong")

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        #: Lines cut away since they were longer than `max_length`; the owner reads and resets it.
        self.overlong = 0
        self._rest = b""
        self._discarding = False

    def feed(self, data: bytes) -> bytes:
        """The whole lines that `data` completes (possibly none).  What is left waits for more."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._keep(self._rest + data if not self._discarding else b"")
            return b""
        text = data[:end]
        if self._discarding:
            text = text[text.index(b"\n") + 1 :]
            self._discarding = False
        elif self._rest:
            text = self._rest + text
        self._rest = b""
        self._keep(data[end:])
        return text if len(text) <= self.max_length else self._without_overlong(text)

    def _without_overlong(self, text: bytes) -> bytes:
        # Steps from newline to newline, as far as `max_length` reaches: a few steps for a large text.
        kept = []
        start = first = 0
        while len(text) - start > self.max_length:
            newline = text.rfind(b"\n", start, start + self.max_length + 1)
            if newline < 0:
                self.overlong += 1
                kept.append(text[first:start])
                newline = text.index(b"\n", start)
                first = newline + 1
            start = newline + 1
        return b"".join(kept) + text[first:] if kept else text

    def _keep(self, rest: bytes) -> None:
        if len(rest) > self.max_length:
            # An endless line must not fill the memory: it is one bad line, and the next newline ends it.
            self.overlong += 1
            self._discarding = True
            rest = b""
        self._rest = rest

    def flush(self) -> bytes:
        """The last, unterminated line when the connection ends, with a newline added; b"" if there is none."""
        rest, self._rest = self._rest, b""
        return rest + b"\n" if rest.strip() else b""

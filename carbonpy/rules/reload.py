"""Rules files that are watched: what is in force now, and what a changed file makes of it.

The law: a `RulesFile` always has a value.  `poll` reads the file again when its times, size or inode
differ from what was read, and also when it was read within `SETTLING` seconds of its last change, for then it
may have been half written.  New text that parses takes the old one's place; text that does not, or a file
that cannot be read, leaves the old value in force and is reported once, in a sentence.  What a file that
is gone means is told at the beginning: the `missing` value, or no change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from carbonpy.clock import Clock
from carbonpy.errors import ConfigError

#: Seconds after its last change until the text of a file counts as complete.
SETTLING = 2.0


class Book(Protocol):
    """What the books of this package have in common."""

    @property
    def warnings(self) -> Sequence[str]: ...


B = TypeVar("B", bound=Book)
#: Identity and times of a file, or None when there is none.
_Mark = tuple[int, int, int, int, int]


class RulesFile(Generic[B]):
    """One rules file and the book in force.  One owner: `poll` from one thread; `value` may be read from any.

    `parse(text, path)` makes a book or raises ConfigError.  `missing` is the book of a file that is not there
    at the start and, unless `keep` is set, of one that vanishes later.  `report` gets sentences for the log.
    `clock` is the time of day.  Raises ConfigError when the file is there and cannot be used at the start.
    """

    def __init__(
        self,
        path: str,
        parse: Callable[[str, str], B],
        *,
        missing: B,
        report: Callable[[str], None],
        clock: Clock,
        keep: bool = False,
    ) -> None:
        self.path = path
        self.value = missing
        self._parse = parse
        self._missing = missing
        self._report = report
        self._clock = clock
        self._keep = keep
        self._mark: _Mark | None = None
        self._text: str | None = None
        self._settled = True
        self._complaint = ""
        if self._changed() and self._mark is not None:
            self.value = self._read(missing)
            self._tell(self.value.warnings)
        if keep and self._mark is None:
            report(f"{path}: there is no such file; the built-in rules are in force")

    @property
    def text(self) -> str | None:
        """The text that `value` was made of, None when there is no file."""
        return self._text

    def poll(self) -> B | None:
        """The new book when the file has become another one that can be used; None when nothing changes."""
        if not self._changed():
            return None
        if self._mark is None:
            return self._vanished()
        try:
            text = self._text
            book = self._read(self.value)
        except ConfigError as error:
            self._complain(
                "\n".join(f"{line}; the rules read before stay in force" for line in str(error).splitlines())
            )
            return None
        self._complaint = ""
        if self._text == text:
            return None
        self.value = book
        self._tell(book.warnings)
        return book

    def _changed(self) -> bool:
        """Whether there may be something new to read; remembers what the file looks like now."""
        try:
            status = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            mark = None
        except OSError as error:
            self._complain(f"{self.path}: cannot be read: {error.strerror}; the rules read before stay in force")
            return False
        else:
            mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        changed = mark != self._mark or not self._settled
        self._mark = mark
        self._settled = mark is None or not 0 <= self._clock() - max(mark[3], mark[4]) / 1e9 < SETTLING
        return changed

    def _read(self, same: B) -> B:
        """The book of the file as it is now; `same` when its text is what was read last."""
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as file:
                text = file.read()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
        except OSError as error:
            self._settled = False  # what kept us from reading may pass without a trace in the file
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}; check its permissions") from None
        if text == self._text:
            return same
        book = self._parse(text, self.path)
        self._text = text
        return book

    def _vanished(self) -> B | None:
        if self._keep:
            self._complain(f"{self.path}: is gone; the rules read before stay in force")
            return None
        if self._text is None:
            return None
        self._text = None
        self._complaint = ""
        self.value = self._missing
        self._report(f"{self.path}: is gone; its rules are no longer in force")
        return self._missing

    def _complain(self, sentences: str) -> None:
        """Report what stays as it is, but not again and again."""
        if sentences != self._complaint:
            self._complaint = sentences
            self._tell(sentences.splitlines())

    def _tell(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            self._report(sentence)

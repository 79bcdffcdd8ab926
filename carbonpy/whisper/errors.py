"""The exceptions of the whisper format, by the names and with the messages of the whisper package.

The law: a script that catches the whisper package's exceptions catches these, and `str()` of one
reads the same; beyond that they are `CarbonError`s, so a daemon can catch everything at once.
"""

from __future__ import annotations

from carbonpy.errors import CarbonError


class WhisperException(CarbonError):
    """The base of every error of the whisper format."""


class InvalidConfiguration(WhisperException):
    """A list of archives that cannot be one file, or a file that is already there."""


class FileAlreadyExists(InvalidConfiguration):
    """`create` was asked for a path that exists; the file there was not touched."""


class InvalidAggregationMethod(WhisperException):
    """The name or the code of an aggregation method that the format does not know."""


class InvalidTimeInterval(WhisperException):
    """A query whose from lies after its until."""


class InvalidXFilesFactor(WhisperException):
    """An xFilesFactor that is not a number from 0 to 1."""


class TimestampNotCovered(WhisperException):
    """A single update older than the whole file, or in the future."""


class ArchivesUnalike(WhisperException, NotImplementedError):
    """Two files with different archives were to be merged or compared; one has to be resized first."""


class CorruptWhisperFile(WhisperException):
    """The bytes are not a whisper file: `error` says what could not be read, `path` where."""

    def __init__(self, error: str, path: object) -> None:
        super().__init__(error)
        self.error = error
        self.path = path

    def __repr__(self) -> str:
        return f"<CorruptWhisperFile[{self.path}] {self.error}>"

    def __str__(self) -> str:
        return f"{self.error} ({self.path})"

    def __reduce__(self) -> tuple[type[CorruptWhisperFile], tuple[str, object]]:
        return (type(self), (self.error, self.path))

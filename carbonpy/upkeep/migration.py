"""Files that are not as the rules want new files to be, and making them so, beside a daemon.

The law: a file is compared by its header alone, so a second run passes over what the first has done: that is how a run
that was ended goes on.  `migrate` makes new files outside of all locks, some at a time, and gives them their names
together under the lock of the tree; those that were written to meanwhile are done once more there.  Values are kept as
`whisper.resizing` says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from carbonpy.errors import CarbonError
from carbonpy.upkeep.tree import NamesOf, files_below, named
from carbonpy.whisper.creation import sync_directory
from carbonpy.whisper.layout import HEADER_READ, Header, parse_header
from carbonpy.whisper.replacing import Prepared
from carbonpy.whisper.resizing import resize
from carbonpy.whisper.treelock import alone

#: Files that get their names under one hold of the lock, which is a matter of a millisecond then.
BATCH = 16


class Difference(NamedTuple):
    """A file (relative path) and what it is and should be.  Immutable; `why` says what kept it from being looked at."""

    path: str
    metric: str
    before: Header | None
    after: Header | None
    why: str = ""


class Migrated(NamedTuple):
    """What became of a file: `done`, or `why` not (already as it should be, an error)."""

    path: str
    done: bool
    why: str = ""


class Scan:
    """Looks at the headers of a tree.  One owner; the counts may be read from any thread."""

    def __init__(self, root: str, header_for: Callable[[str], bytes], names_of: NamesOf) -> None:
        """`header_for(metric)`: the header bytes of a new file."""
        self._root = root
        self._header_for = header_for
        self._names_of = names_of
        self._parsed: dict[bytes, Header] = {}
        #: Files seen, and among them those whose metric's name is known to nobody.
        self.files = 0
        self.nameless = 0

    def differences(self, start: str = "") -> Iterator[Difference]:
        """The files below `root`/`start` that differ from the rules, and those that cannot be read, in order."""
        for path, metric in named(files_below(self._root, start), self._names_of):
            self.files += 1
            if metric is None:
                self.nameless += 1
                continue
            found = self.look(path, metric)
            if found is not None:
                yield found

    def look(self, path: str, metric: str) -> Difference | None:
        """How one file differs; None if it does not."""
        after = self.wanted(metric)
        try:
            before = header_of(os.path.join(self._root, path))
        except FileNotFoundError:
            return None
        except OSError as error:
            return Difference(path, metric, None, after, error.strerror or str(error))
        except CarbonError as error:
            return Difference(path, metric, None, after, str(error))
        return None if before == after else Difference(path, metric, before, after)

    def wanted(self, metric: str) -> Header:
        """The header that the rules want."""
        data = self._header_for(metric)
        header = self._parsed.get(data)
        if header is None:
            header = self._parsed[data] = parse_header(data, metric)
        return header


def header_of(path: str) -> Header:
    """The header of a file.  Raises OSError or CorruptWhisperFile."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return parse_header(os.pread(fd, HEADER_READ, 0), path)
    finally:
        os.close(fd)


def migrate(
    root: str,
    differences: Iterable[Difference],
    *,
    spread: bool = False,
    durable: bool = True,
    rest: Callable[[int], object] = lambda files: None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Migrated]:
    """Make files as they should be; yields what became of each.

    `rest(n)` is called before the work on `n` files and may sleep, or raise to end the run.  `durable`: a new file is
    on the disk before it gets the name.
    """
    batch: list[Difference] = []
    for difference in differences:
        if difference.after is None or difference.before is None:
            yield Migrated(difference.path, False, difference.why)
            continue
        batch.append(difference)
        if len(batch) >= BATCH:
            rest(len(batch))
            yield from _batch(root, batch, spread, durable, clock)
            batch = []
    if batch:
        rest(len(batch))
        yield from _batch(root, batch, spread, durable, clock)


def _batch(
    root: str, batch: list[Difference], spread: bool, durable: bool, clock: Callable[[], float]
) -> Iterator[Migrated]:
    told: list[Migrated] = []
    directories: set[str] = set()

    def prepare(difference: Difference, stack: ExitStack) -> Prepared | None:
        target = os.path.realpath(os.path.join(root, difference.path))
        try:
            prepared = Prepared(target, _change(difference, target, spread, clock), durable=durable)
        except (OSError, CarbonError) as error:
            told.append(Migrated(difference.path, False, str(error)))
            return None
        stack.callback(prepared.close)
        if not prepared.differs:
            told.append(Migrated(difference.path, False, "is as it should be already"))
            return None
        return prepared

    def commit(difference: Difference, prepared: Prepared) -> bool:
        """Whether that is settled; False if the file has changed since it was read."""
        try:
            done = prepared.commit_alone()
        except OSError as error:
            told.append(Migrated(difference.path, False, str(error)))
            return True
        if done:
            told.append(Migrated(difference.path, True))
            directories.add(os.path.dirname(prepared.path))
        return done

    with ExitStack() as stack:
        ready = [(one, prepared) for one in batch if (prepared := prepare(one, stack)) is not None]
        with alone(root):
            again = [one for one, prepared in ready if not commit(one, prepared)]
            # What is written to so often is done while the writers wait.
            busy = [one for one in again if (prepared := prepare(one, stack)) is not None and not commit(one, prepared)]
    told += [
        Migrated(one.path, False, "a program that takes no lock writes to it all the time; stop that") for one in busy
    ]
    if durable:
        for directory in directories:
            sync_directory(directory)
    yield from told


def _change(
    difference: Difference, path: str, spread: bool, clock: Callable[[], float]
) -> Callable[[bytes], bytes | None]:
    after = difference.after
    assert after is not None

    def change(data: bytes) -> bytes | None:
        return None if parse_header(data, path) == after else resize(data, path, after, int(clock()), spread=spread)

    return change

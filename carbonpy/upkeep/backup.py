"""Backing up a tree beside a daemon, and putting it back.

The law: what is kept of a file is what it held at one moment, with no write half done: it is read while nobody writes
to it, which its time of modification tells if that is not recent, and else the lock of the tree.  A file that has the
size and the time of modification that it had in an earlier backup, and had them for a while when it was read then, is
not read again.  Restoring writes a file whole beside its place and verifies it before it gets its name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from carbonpy.errors import CarbonError
from carbonpy.upkeep.packs import (
    BackupError,
    Entry,
    ListWriter,
    PackReader,
    PackWriter,
    digest_of,
    list_path,
    name_of,
    packs_in,
    read_list,
    snapshots,
    unfinished,
)
from carbonpy.upkeep.tree import files_below
from carbonpy.whisper.creation import sync_directory, temporary_name
from carbonpy.whisper.treelock import alone, stamp, tree_of

#: Files read under one hold of the lock, and files between two syncs of the pack.
_BATCH, _SYNC_EVERY = 16, 256
#: A file that was changed less than this (ns) before it was read may have been changed again with the same time.
_RECENT = 200_000_000


class Told(NamedTuple):
    """What became of one file: ``kept`` (written to a pack), ``same`` (as in an earlier backup), ``failed`` (why)."""

    path: str
    what: str
    why: str = ""
    size: int = 0


class Backup:
    """One backup of `root` into `directory`.  One thread."""

    def __init__(self, root: str, directory: str, *, full: bool = False, now: Callable[[], float] = time.time) -> None:
        """`full`: read every file again, whatever earlier backups say.  Raises BackupError or OSError."""
        self._root = root
        self._directory = directory
        self._now = now
        os.makedirs(os.path.join(directory, "snapshots"), exist_ok=True)
        self._known: dict[str, Entry] = {}
        self._parts = unfinished(directory)
        earlier = snapshots(directory)
        if not full:
            for name in earlier[-1:]:
                self._remember(read_list(list_path(directory, name))[1])
            for name in self._parts:
                with suppress(BackupError):
                    self._remember(_whole(directory, read_list(list_path(directory, name, ".part"), complete=False)[1]))
        taken = {*earlier, *self._parts}
        self._started = now()
        while name_of(self._started) in taken:
            self._started += 1
        #: The name of this backup.
        self.name = name_of(self._started)
        self._packs = PackWriter(directory, self.name)

    def _remember(self, entries: list[Entry]) -> None:
        self._known.update((entry.path, entry) for entry in entries)

    @property
    def written(self) -> int:
        """Bytes added to packs."""
        return self._packs.written

    def run(self, start: str = "") -> Iterator[Told]:
        """Do it; yields what became of each file.  Raises OSError when the backup cannot be written."""
        part = list_path(self._directory, self.name, ".part")
        listing = ListWriter(part, self._root, self._started)
        try:
            waiting: list[Entry] = []
            busy: list[str] = []
            for path in files_below(self._root, start):
                told, entry = self._take(path)
                if told is None:
                    busy.append(path)
                    if len(busy) >= _BATCH:
                        yield from self._take_alone(busy, waiting)
                        busy = []
                else:
                    yield told
                if entry is not None:
                    waiting.append(entry)
                if len(waiting) >= _SYNC_EVERY:
                    self._settle(listing, waiting)
            yield from self._take_alone(busy, waiting)
            self._settle(listing, waiting)
            self._packs.close()
            listing.finish(list_path(self._directory, self.name))
        except BaseException:
            with suppress(OSError):
                self._packs.close()
            listing.close()
            raise
        for name in self._parts:
            os.unlink(list_path(self._directory, name, ".part"))

    def _settle(self, listing: ListWriter, waiting: list[Entry]) -> None:
        self._packs.sync()
        for entry in waiting:
            listing.add(entry)
        listing.flush()
        waiting.clear()

    def _take(self, path: str) -> tuple[Told | None, Entry | None]:
        """Read one file without a lock; (None, None) if somebody writes to it."""
        where = os.path.join(self._root, path)
        try:
            fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            return Told(path, "failed", error.strerror or str(error)), None
        try:
            before = os.fstat(fd)
            known = self._known.get(path)
            if known is not None and _is_as(known, before):
                return Told(path, "same", size=known.size), known
            read = time.time_ns()
            if before.st_mtime_ns > read - _RECENT:
                return None, None
            data = _read(fd, before.st_size)
            after = os.fstat(fd)
            if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
                return None, None
        except OSError as error:
            return Told(path, "failed", error.strerror or str(error)), None
        finally:
            os.close(fd)
        return self._keep(path, data, before, read)

    def _take_alone(self, paths: list[str], waiting: list[Entry]) -> Iterator[Told]:
        """Read files that are written to all the time, under the lock."""
        if not paths:
            return
        read: list[tuple[str, bytes, os.stat_result, int]] = []
        failed: list[Told] = []
        with alone(self._root):
            for path in paths:
                try:
                    fd = os.open(os.path.join(self._root, path), os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        status = os.fstat(fd)
                        read.append((path, _read(fd, status.st_size), status, time.time_ns()))
                    finally:
                        os.close(fd)
                except OSError as error:
                    failed.append(Told(path, "failed", error.strerror or str(error)))
        yield from failed
        for path, data, status, begun in read:
            told, entry = self._keep(path, data, status, begun)
            waiting.append(entry)
            yield told

    def _keep(self, path: str, data: bytes, status: os.stat_result, read: int) -> tuple[Told, Entry]:
        digest = digest_of(data)
        known = self._known.get(path)
        if known is not None and known.digest == digest and known.size == len(data):
            what, place = "same", (known.pack, known.at, known.length)
        else:
            what, place = "kept", self._packs.put(data, digest)
        entry = Entry(
            path, len(data), status.st_mtime_ns, status.st_mode & 0o7777, status.st_uid, status.st_gid, read, digest,
            *place,
        )  # fmt: skip
        return Told(path, what, size=len(data)), entry


def _is_as(known: Entry, status: os.stat_result) -> bool:
    """Whether a file is what it was when it was read for an earlier backup."""
    return known.mtime == status.st_mtime_ns and known.size == status.st_size and known.mtime < known.read - _RECENT


def _read(fd: int, size: int) -> bytes:
    parts = []
    offset = 0
    while part := os.pread(fd, max(size - offset, 1 << 16), offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _whole(directory: str, entries: list[Entry]) -> list[Entry]:
    """Those of an unfinished list whose packs are long enough for their records."""
    sizes: dict[str, int] = {}
    for name in packs_in(directory):
        sizes[name] = os.stat(os.path.join(directory, "packs", name)).st_size
    return [entry for entry in entries if entry.at + entry.length <= sizes.get(entry.pack, 0)]


def prune(directory: str, keep: int) -> tuple[int, int]:
    """Remove all but the newest `keep` backups, and packs that none of these needs; (lists, bytes) removed."""
    names = snapshots(directory)
    gone, kept = names[:-keep], names[-keep:]
    needed = {entry.pack for name in kept for entry in read_list(list_path(directory, name))[1]}
    for name in unfinished(directory):
        with suppress(BackupError):
            needed |= {entry.pack for entry in read_list(list_path(directory, name, ".part"), complete=False)[1]}
    for name in gone:
        os.unlink(list_path(directory, name))
    freed = 0
    for pack in packs_in(directory):
        if pack not in needed:
            path = os.path.join(directory, "packs", pack)
            freed += os.stat(path).st_size
            os.unlink(path)
    return len(gone), freed


def restore(
    directory: str, entries: list[Entry], root: str, *, overwrite: bool = False, owners: bool = False
) -> Iterator[Told]:
    """Put files below `root`; yields what became of each: ``restored``, ``same``, ``kept`` (another one is there).

    `overwrite`: replace files that differ.  `owners`: give them the users and groups that they had.  Beside a daemon
    restored files bear the time of now, else the one that they had.  Raises OSError if `root` cannot be made.
    """
    os.makedirs(root, exist_ok=True)
    reader = PackReader(directory)
    try:
        for entry in entries:
            try:
                yield _restore(reader, entry, root, overwrite, owners)
            except (OSError, CarbonError) as error:
                yield Told(entry.path, "failed", str(error))
    finally:
        reader.close()


def _restore(reader: PackReader, entry: Entry, root: str, overwrite: bool, owners: bool) -> Told:
    parts = entry.path.split("/")
    if os.path.isabs(entry.path) or ".." in parts or "" in parts:
        raise BackupError(f"{entry.path!r} is no place below the tree")
    target = os.path.join(root, entry.path)
    try:
        with open(target, "rb") as there:
            if digest_of(there.read()) == entry.digest:
                return Told(entry.path, "same", size=entry.size)
        if not overwrite:
            return Told(entry.path, "kept", "another file is there; --overwrite replaces it")
    except FileNotFoundError:
        pass
    data = reader.get(entry)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    name = temporary_name(target)
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fchmod(fd, entry.mode)
            if owners:
                os.fchown(fd, entry.uid, entry.gid)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
            os.fsync(fd)
        finally:
            os.close(fd)
        with alone(root):
            if not overwrite and os.path.lexists(target):
                return Told(entry.path, "kept", "another file was made there meanwhile")
            if tree_of(root) is not None:
                stamp(name)
            os.rename(name, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    sync_directory(os.path.dirname(target))
    return Told(entry.path, "restored", size=entry.size)

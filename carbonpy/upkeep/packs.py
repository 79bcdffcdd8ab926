"""The format of a backup: packs of compressed files, and a list for each backup that was taken.

A backup is a directory::

    snapshots/<time>.jsonl      one for each backup taken; <time> is 20240131T235959Z of its start
    snapshots/<time>.part       of a backup that was not finished; the next one goes on with it
    packs/<time>-<n>.pack       what the files held; a pack belongs to the backup that wrote it, others refer to it

A pack is ``b"CPK1"`` and then records::

    uint32 length of the body, uint32 crc32 of the body, uint32 size of the file, 16 bytes digest, body

little-endian; the digest is BLAKE2b (16 bytes) of the file, the body is the file as one lz4 block, without its size.

A list is lines of JSON, each ended by a newline.  The first is ``{"format": "carbonpy-backup", "version": 1,
"started": seconds, "root": path}``.  Each of the others is a file::

    {"path": "a/b.wsp", "size": bytes, "mtime": ns, "mode": 420, "uid": 0, "gid": 0, "read": ns, "digest": hex,
     "pack": name, "at": offset of the record, "length": of the record}

``read`` is when reading began.  The last line of a complete list is ``{"end": number of files, "digest": BLAKE2b (16
bytes, hex) of all bytes before this line}``.

The law: a record is in its pack, and forced to the disk, before a line refers to it; so a list, complete or not, refers
to whole records only, but perhaps for its last line.  Nothing that was written is ever changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import lz4.block

from carbonpy.errors import CarbonError
from carbonpy.whisper.creation import sync_directory

MAGIC = b"CPK1"
_RECORD = struct.Struct("<III16s")
FORMAT, VERSION = "carbonpy-backup", 1
#: A pack that is so long gets no more records.
PACK_BYTES = 256 << 20
_DIGEST_BYTES = 16


class BackupError(CarbonError):
    """A backup cannot be read as it should be."""


class Entry(NamedTuple):
    """One file of a backup.  Immutable; times in nanoseconds."""

    path: str
    size: int
    mtime: int
    mode: int
    uid: int
    gid: int
    read: int
    digest: str
    pack: str
    at: int
    length: int


def digest_of(data: bytes) -> str:
    """BLAKE2b of 16 bytes, in hexadecimal."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


class PackWriter:
    """Appends records to the packs of one backup.  One owner."""

    def __init__(self, directory: str, name: str) -> None:
        self._directory = os.path.join(directory, "packs")
        os.makedirs(self._directory, exist_ok=True)
        self._name = name
        self._number = 0
        self._file: BinaryIO | None = None
        self._pack = ""
        self._at = 0
        #: Bytes written.
        self.written = 0

    def put(self, data: bytes, digest: str) -> tuple[str, int, int]:
        """Write a file; (pack, offset, length) of its record.  It counts when `sync` was called after that."""
        if self._file is None or self._at >= PACK_BYTES:
            self._next()
        assert self._file is not None
        body = lz4.block.compress(data, store_size=False)
        record = _RECORD.pack(len(body), zlib.crc32(body), len(data), bytes.fromhex(digest)) + body
        self._file.write(record)
        at, self._at = self._at, self._at + len(record)
        self.written += len(record)
        return self._pack, at, len(record)

    def _next(self) -> None:
        self.close()
        while True:
            self._pack = f"{self._name}-{self._number}.pack"
            self._number += 1
            try:
                self._file = open(os.path.join(self._directory, self._pack), "xb")  # noqa: SIM115
                break
            except FileExistsError:  # of an earlier try at the same backup
                continue
        self._file.write(MAGIC)
        self._at = len(MAGIC)
        sync_directory(self._directory)

    def sync(self) -> None:
        """Force what was written to the disk."""
        if self._file is not None:
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Sync and close.  Idempotent."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None


class PackReader:
    """Reads records.  One thread."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.join(directory, "packs")
        self._open: tuple[str, int] = ("", -1)

    def get(self, entry: Entry) -> bytes:
        """What the file held.  Raises BackupError if the record is damaged or missing."""
        where = f"{os.path.join(self._directory, entry.pack)} at {entry.at}"
        try:
            record = os.pread(self._fd(entry.pack), entry.length, entry.at)
        except OSError as error:
            raise BackupError(f"{where}: {error.strerror}; {entry.path} cannot be restored from it") from None
        if len(record) != entry.length or entry.length < _RECORD.size:
            raise BackupError(f"{where}: cut off; {entry.path} cannot be restored from it")
        length, crc, size, digest = _RECORD.unpack_from(record)
        body = record[_RECORD.size :]
        damaged = BackupError(f"{where}: damaged; {entry.path} cannot be restored from it")
        if len(body) != length or zlib.crc32(body) != crc or size != entry.size or digest.hex() != entry.digest:
            raise damaged
        try:
            data: bytes = lz4.block.decompress(body, uncompressed_size=size)
        except lz4.block.LZ4BlockError:
            raise damaged from None
        if len(data) != size or digest_of(data) != entry.digest:
            raise damaged
        return data

    def _fd(self, pack: str) -> int:
        if os.path.basename(pack) != pack or not pack:
            raise OSError(0, f"{pack!r} is no name of a pack")
        name, fd = self._open
        if name != pack:
            self.close()
            fd = os.open(os.path.join(self._directory, pack), os.O_RDONLY | os.O_CLOEXEC)
            self._open = (pack, fd)
        return fd

    def close(self) -> None:
        """Close.  Idempotent."""
        name, fd = self._open
        self._open = ("", -1)
        if name:
            os.close(fd)


class ListWriter:
    """Writes the list of a backup.  One owner."""

    def __init__(self, path: str, root: str, started: float) -> None:
        """Begin a list; `path` ends with ``.part``."""
        self._path = path
        self._hash = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._file = open(path, "wb")  # noqa: SIM115
        self._count = 0
        self._line({"format": FORMAT, "version": VERSION, "started": started, "root": root})

    def _line(self, document: dict[str, Any]) -> None:
        line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        self._hash.update(line)
        self._file.write(line)

    def add(self, entry: Entry) -> None:
        """A file, whose record is on the disk."""
        self._count += 1
        self._line(entry._asdict())

    def flush(self) -> None:
        """So that a later run finds what this one has done."""
        self._file.flush()

    def finish(self, final: str) -> None:
        """The list is complete: give it its name."""
        end = {"end": self._count, "digest": self._hash.hexdigest()}
        self._file.write(json.dumps(end, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.rename(self._path, final)
        sync_directory(os.path.dirname(final))

    def close(self) -> None:
        """Leave an unfinished list as it is."""
        self._file.close()


def read_list(path: str, *, complete: bool = True) -> tuple[dict[str, Any], list[Entry]]:
    """(first line, files) of a list.  Raises BackupError.

    With complete=False the list may break off anywhere; what stands before is read.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise BackupError(f"{path}: cannot be read: {error.strerror}") from None
    lines = data.split(b"\n")[:-1]  # what has no newline was not written to its end
    try:
        head = json.loads(lines[0])
        if head["format"] != FORMAT or head["version"] != VERSION:
            raise ValueError
    except (IndexError, KeyError, TypeError, ValueError):
        raise BackupError(f"{path}: this is no list of a backup of version {VERSION}") from None
    entries: list[Entry] = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            document = json.loads(line)
            if "end" in document:
                whole = digest_of(b"\n".join(lines[: number - 1]) + b"\n") == document["digest"]
                if complete and not (whole and document["end"] == len(entries)):
                    break
                return head, entries
            entries.append(Entry(**document))
        except (TypeError, ValueError, KeyError):
            if complete:
                raise BackupError(f"{path}:{number}: damaged") from None
            break
    if complete:
        raise BackupError(f"{path}: damaged, or not complete; use another backup (carbonpy restore --list)")
    return head, entries


def snapshots(directory: str) -> list[str]:
    """The names (times) of the complete backups in a directory, oldest first."""
    return _with_suffix(directory, ".jsonl")


def unfinished(directory: str) -> list[str]:
    """The names of backups that were not finished."""
    return _with_suffix(directory, ".part")


def list_path(directory: str, name: str, suffix: str = ".jsonl") -> str:
    """The list of a backup."""
    return os.path.join(directory, "snapshots", name + suffix)


def name_of(started: float) -> str:
    """``20240131T235959Z``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started))


def packs_in(directory: str) -> Iterator[str]:
    """The names of all packs."""
    try:
        yield from sorted(name for name in os.listdir(os.path.join(directory, "packs")) if name.endswith(".pack"))
    except FileNotFoundError:
        return


def _with_suffix(directory: str, suffix: str) -> list[str]:
    try:
        names = os.listdir(os.path.join(directory, "snapshots"))
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))

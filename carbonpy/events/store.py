"""Events in one SQLite file: something happened at a moment, and tags say what it belongs to.

The law: an event never changes after `add` gave its id; ids grow.  `find` and `moments` see every event that was added
before they were asked, by any thread or process, in the order of their moments (and of their ids where these are
equal); both ends of a time range belong to it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from carbonpy.errors import CarbonError, QueryError

#: "CPYE": marks the file as events of carbonpy (PRAGMA application_id).
APPLICATION_ID = 0x43505945
SCHEMA_VERSION = 1
#: Most events, and most moments, in one answer.
MAX_EVENTS = 100_000
#: Largest text of an event (what and data together), in characters, and most tags.
MAX_TEXT = 1 << 20
MAX_TAGS = 200
#: Seconds to wait for another process that writes.
BUSY_SECONDS = 10.0
#: A tag that stands for every event.
ANY = "*"

_MAX_IDLE = 2
_LIMIT = 1 << 40
_SCHEMA = f"""
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, moment INTEGER NOT NULL, what TEXT NOT NULL, data TEXT NOT NULL,
    tags TEXT NOT NULL);
CREATE INDEX events_by_moment ON events (moment, id);
CREATE TABLE tags (tag TEXT NOT NULL, moment INTEGER NOT NULL, event INTEGER NOT NULL,
    PRIMARY KEY (tag, moment, event)) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
_BETWEEN = "e.moment >= ?1 AND e.moment <= ?2"
_ALL = f"SELECT {{}} FROM events AS e WHERE {_BETWEEN} ORDER BY e.moment, e.id LIMIT ?3"
#: The events that have at least ?5 of the tags in ?4.
_TAGGED = f"""
SELECT {{}} FROM (
    SELECT e.event AS id, e.moment AS moment FROM json_each(?4) AS j CROSS JOIN tags AS e
    WHERE e.tag = j.value AND {_BETWEEN} GROUP BY e.moment, e.event HAVING count(*) >= ?5
    ORDER BY e.moment, e.event LIMIT ?3) AS found JOIN events AS e ON e.id = found.id ORDER BY e.moment, e.id
"""
_COLUMNS = "e.id, e.moment, e.what, e.data, e.tags"

T = TypeVar("T")


class Event(NamedTuple):
    """Something that happened.  Immutable."""

    id: int
    #: Seconds since the epoch.
    when: int
    what: str
    data: str
    tags: tuple[str, ...]


class EventStore:
    """The events in the file at `path`, which is made when it is first written.

    Safe from any thread, and beside other processes that use the same file.  Methods raise CarbonError when SQLite
    cannot read or write, and QueryError for what a client got wrong.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def add(self, when: float, what: str, tags: Iterable[str] = (), data: str = "") -> int:
        """Keep an event; its id.  `when` is in seconds since the epoch, fractions are dropped."""
        kept = tuple(dict.fromkeys(tag for tag in tags if tag))
        if len(kept) > MAX_TAGS or sum(map(len, (what, data, *kept))) > MAX_TEXT:
            raise QueryError(f"an event has at most {MAX_TAGS} tags and {MAX_TEXT} characters; make it shorter")
        if not -_LIMIT < when < _LIMIT:
            raise QueryError(f"{when} is no moment in seconds since the epoch; say when the event was")
        moment = int(when)
        what, data, *names = (_text(text) for text in (what, data, *kept))

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("BEGIN IMMEDIATE")
            try:
                cursor = connection.execute(
                    "INSERT INTO events (moment, what, data, tags) VALUES (?, ?, ?, ?)",
                    (moment, what, data, json.dumps(names)),
                )
                connection.executemany(
                    "INSERT OR IGNORE INTO tags VALUES (?, ?, ?)", [(tag, moment, cursor.lastrowid) for tag in names]
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return cursor.lastrowid or 0

        return self._with(work, make=True) or 0

    def find(
        self,
        tags: Sequence[str] = (),
        start: int | None = None,
        end: int | None = None,
        set: str = "intersection",
        limit: int = MAX_EVENTS,
    ) -> list[Event]:
        """The first `limit` events from start to end, both inclusive (None: without bound), by their moments.

        set: whether an event must have all of the `tags` ("intersection") or one of them ("union"); without tags
        every event is meant.
        """
        rows = self._select(_COLUMNS, tags, start, end, set, limit)
        return [_event(row) for row in rows]

    def get(self, id: int) -> Event | None:
        """The event of that id, None if there is none."""
        if not 0 < id < 1 << 63:
            return None
        statement = f"SELECT {_COLUMNS} FROM events AS e WHERE e.id = ?"
        row = self._with(lambda connection: connection.execute(statement, (id,)).fetchone())
        return None if row is None else _event(row)

    def moments(self, tags: Sequence[str], start: int, end: int) -> list[int]:
        """The moments, ascending, of the events that have all of the `tags`; "*" is a tag that every event has."""
        return [int(row[0]) for row in self._select("e.moment", tags, start, end, "intersection", MAX_EVENTS)]

    def close(self) -> None:
        """Close the file; later calls raise CarbonError.  Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _select(
        self, columns: str, tags: Sequence[str], start: int | None, end: int | None, how: str, limit: int
    ) -> list[tuple[int | str, ...]]:
        if how not in ("intersection", "union"):
            raise QueryError(f"set {how[:60]!r} is not known; use intersection or union")
        if len(tags) > MAX_TAGS:
            raise QueryError(f"{len(tags)} tags in one question; ask for at most {MAX_TAGS}")
        names = list(dict.fromkeys(_text(tag) for tag in tags if tag))
        if ANY in names:
            names = [] if how == "union" else [name for name in names if name != ANY]
        first = -_LIMIT if start is None else max(start, -_LIMIT)
        last = _LIMIT if end is None else min(end, _LIMIT)
        values: tuple[int | str, ...] = (first, last, max(0, min(limit, MAX_EVENTS)))
        statement = _ALL
        if names:
            statement = _TAGGED
            values += (json.dumps(names), 1 if how == "union" else len(names))
        found = self._with(lambda connection: connection.execute(statement.format(columns), values).fetchall())
        return found or []

    def _with(self, work: Callable[[sqlite3.Connection], T], make: bool = False) -> T | None:
        """`work` with a connection of its own; None when there is no file and it is not to be made."""
        with self._lock:
            if self._closed:
                raise CarbonError(f"the events in {self.path} are closed; open them again")
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                if not make and not os.path.exists(self.path):
                    return None
                connection = _open(self.path)
            result = work(connection)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise CarbonError(
                f"events {self.path}: {error}; look at the disk, the permissions and other users of the file"
            ) from error
        with self._lock:
            if not self._closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return result
        connection.close()
        return result


def _event(row: Sequence[int | str]) -> Event:
    id_, moment, what, data, tags = row
    return Event(int(id_), int(moment), str(what), str(data), tuple(json.loads(str(tags))))


def _text(text: str) -> str:
    """`text` as SQLite can keep it: without halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode()


def _open(path: str) -> sqlite3.Connection:
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    except OSError as error:
        raise CarbonError(f"cannot make the directory of the events {path}: {error}; make it") from error
    # check_same_thread off: the lock and the pool see to it that one thread at a time uses a connection.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        application = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        if not application and not version:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            # Another process may have made the tables while we waited for the lock.
            if not _pragma(connection, "user_version"):
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise CarbonError(f"{path} is an SQLite database of another program; name another file for events")
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
            connection.execute("COMMIT")
        elif application != APPLICATION_ID:
            raise CarbonError(f"{path} is an SQLite database of another program; name another file for events")
        elif version > SCHEMA_VERSION:
            raise CarbonError(f"events {path} were written by a newer carbonpy (schema {version}); upgrade carbonpy")
    except BaseException:
        connection.close()
        raise
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

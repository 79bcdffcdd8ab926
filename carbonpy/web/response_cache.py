"""Answers kept for whoever asks the same again.

The law: at most so many bytes are kept, the least recently used go first, and no answer is given out
beyond the seconds it may be kept.  Two queries are the same when everything that an answer depends on
is: path, body, all parameters but those whose name begins with ``_`` (clients put random numbers there),
the values of one name in their order, and the headers about the form of the answer.  Only whole, good
answers of /render are kept; a query with ``noCache`` is neither answered from here nor kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

from carbonpy.counters import Counter
from carbonpy.web.answer import Answer, Query
from carbonpy.web.packing import PARTIAL, accepts_gzip

#: What an entry takes beside its body.
_OVERHEAD = 1_000


class _Entry(NamedTuple):
    answer: Answer
    made: float
    until: float
    size: int


class ResponseCache:
    """Keeps answers.  One thread.

    most_bytes: of memory; 0 keeps nothing.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        #: Bytes in use.
        self.size = 0
        self.hits = Counter()
        self.misses = Counter()

    def key(self, query: Query) -> bytes | None:
        """What stands for a query; None if its answer is not to be kept."""
        if not self._most or query.path != "/render" or "noCache" in query.parameters:
            return None
        pairs = sorted((pair for pair in query.parameters.pairs() if not pair[0].startswith("_")), key=lambda p: p[0])
        gzip = accepts_gzip(query.headers.get("accept-encoding", ""))
        text = repr((pairs, query.accept, gzip)).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text + b"\0" + query.body, digest_size=32).digest()

    def get(self, key: bytes | None, now: float) -> Answer | None:
        """The answer kept for a key, with its age."""
        if key is None:
            return None
        entry = self._entries.get(key)
        if entry is not None and not entry.made <= now < entry.until:
            self._forget(key)
            entry = None
        if entry is None:
            self.misses.add()
            return None
        self.hits.add()
        self._entries.move_to_end(key)
        return replace(entry.answer, headers=(*entry.answer.headers, ("Age", str(int(now - entry.made)))))

    def put(self, key: bytes | None, answer: Answer, now: float) -> None:
        """Keep an answer if it may be kept."""
        if key is None or answer.kept <= 0:
            return
        if answer.status != 200 or any(name == PARTIAL for name, _ in answer.headers):
            return
        size = sum(map(len, answer.chunks)) + _OVERHEAD
        if size > self._most // 4:  # one large answer is not worth all the others
            return
        if key in self._entries:
            self._forget(key)
        self._entries[key] = _Entry(answer, now, now + answer.kept, size)
        self.size += size
        while self.size > self._most:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: bytes) -> None:
        self.size -= self._entries.pop(key).size

"""How the catalogue of a running daemon stays complete.

The law: a metric is noted when it is first seen and again when its file is made later than that, or
after a rescan, so that one which the rescan removed meanwhile comes back.  A catalogue that never took
in the whisper tree (new, damaged and set aside, deleted) adopts it in the background, leaving the disk
to others most of the time.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from carbonpy.catalog.adoption import Progress, adopt
from carbonpy.catalog.live import LiveCatalog
from carbonpy.catalog.store import CatalogError
from carbonpy.ingest.names import FIRST_ID, NameTable

log = Logger("console")
#: Adoption pauses this many times as long as it works.
_PAUSE = 3.0


class Cataloguing:
    """Feeds a LiveCatalog.  Reactor thread only, but for `_adopt`."""

    def __init__(self, live: LiveCatalog, names: NameTable, data_dir: str) -> None:
        self._live = live
        self._names = names
        self._data_dir = data_dir
        self._stopping = False
        self._adopting = False
        #: Ids below were first seen at least one `look_back` ago.
        self._seen_before = FIRST_ID
        self._seen = FIRST_ID
        #: Ids above whose file was made since the last `feed`; what the catalogue said then of removals.
        self._made: list[int] = []
        self._removed_at: str | None = None
        self.progress = Progress()

    def feed(self) -> Any:
        """Add what was noted, in a thread; fires when it is done."""
        if not self._live.pending and not self._made:
            return None
        made, self._made = self._made, []
        return deferToThread(self._feed).addCallback(self._fed, made).addErrback(self._failed)

    def _feed(self) -> str | None:
        """In a thread: add; when metrics were last removed."""
        self._live.flush()
        return self._live.catalog.fact("removed_at")

    def _fed(self, removed_at: str | None, made: list[int]) -> None:
        if removed_at != self._removed_at:
            self._removed_at = removed_at
            self._seen_before = self._names.next_id
            for identity in made:
                self.made(identity)

    def _failed(self, failure: Any) -> None:
        failure.trap(CatalogError)
        log.error("{sentence}; new metrics are not found until it is mended", sentence=failure.getErrorMessage())

    def made(self, identity: int) -> None:
        """The file of a metric was made."""
        if self._names.id_of(self._names.metric(identity)) != identity:
            return  # the metric was deleted meanwhile
        if identity < self._seen_before:
            self._live.note(self._names.metrics([identity]))
        else:
            self._made.append(identity)

    def look_back(self) -> Any:
        """Call now and then: remember which ids are not new any more, and adopt if the catalogue is empty-handed."""
        self._seen_before, self._seen = self._seen, self._names.next_id
        if self._adopting or self._stopping:
            return None
        self._adopting = True
        return deferToThread(self._adopt).addErrback(self._failed).addBoth(self._adopted)

    def _adopted(self, _: Any) -> None:
        self._adopting = False

    def _adopt(self) -> None:
        """In a thread: bring an existing whisper tree into a catalogue that does not know it."""
        catalog = self._live.catalog
        if catalog.fact("adopted_at") is not None:
            self.progress.done = True
            return
        self.progress = progress = Progress()
        said = then = time.monotonic()
        for _ in adopt(self._data_dir, catalog, progress):
            now = time.monotonic()
            if self._stopping:
                return
            if not progress.done:
                if now - said > 5:
                    said = now
                    log.info(
                        "adopting: {files} files, {added} metrics added", files=progress.files, added=progress.added
                    )
                time.sleep(min(1.0, (now - then) * _PAUSE))
            then = time.monotonic()
        if progress.files:
            log.info("adopted {files} whisper files into the catalogue", files=progress.files)

    def close(self) -> None:
        """Add what is noted and close the catalogue; an adoption under way goes on at the next start."""
        self._stopping = True
        try:
            self._live.flush()
        except CatalogError as error:
            log.error("{error}; run carbonpy catalog rescan", error=str(error))
        self._live.catalog.close()

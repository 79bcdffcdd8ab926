"""How commands delete and rename: through the daemon where one runs, else on the tree and the catalogue.

The law: with a daemon nothing is done behind its back.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from carbonpy.cli.daemonlink import DaemonLink
from carbonpy.cli.trees import catalog_of, daemon_runs, root_of
from carbonpy.errors import CarbonError
from carbonpy.upkeep import removal
from carbonpy.upkeep.removal import ABSENT, DELETED, Removed

if TYPE_CHECKING:
    from carbonpy.settings import Settings

#: Metrics in one request, and under one hold of the lock.
PORTION = 500


class Remover:
    """Deletes and renames the metrics of one tree.  One thread."""

    def __init__(self, options: argparse.Namespace, settings: Settings) -> None:
        """Raises CarbonError if a daemon runs and must not be passed over."""
        self._options = options
        self._settings = settings
        self._link: DaemonLink | None = None
        #: Where the files are.
        self.root = root_of(options, settings)
        if options.tree is None and daemon_runs(settings):
            if options.offline:
                raise CarbonError(
                    f"a daemon runs (instance {options.instance}): leave out --offline, and it is done through it; or "
                    "stop it"
                )
            self._link = DaemonLink(settings, options.user)

    def delete(self, metrics: Sequence[str], unless_written_since: float | None = None) -> Iterator[Removed]:
        """Delete; yields what became of each.  Raises CarbonError or OSError."""
        for start in range(0, len(metrics), PORTION):
            portion = list(metrics[start : start + PORTION])
            if self._link is not None:
                told = self._link.delete(portion, unless_written_since)
                yield from (Removed(one["metric"], one["what"], one["why"]) for one in told)
                continue
            done = removal.remove(self.root, portion, unless_written_since)
            with catalog_of(self._settings, self._options.tree) as catalog:
                if catalog is not None:
                    catalog.remove([one.metric for one in done if one.what in (DELETED, ABSENT)])
            yield from done

    def rename(self, old: str, new: str) -> int:
        """Rename; how many cached points went with it.  Raises CarbonError or OSError."""
        if self._link is not None:
            return self._link.rename(old, new)
        if not removal.rename(self.root, old, new, self._settings.cache.tag_hash_filenames):
            raise CarbonError(f"there is no metric {old}")
        with catalog_of(self._settings, self._options.tree) as catalog:
            if catalog is not None and not catalog.rename(old, new):
                catalog.add([new])
        return 0

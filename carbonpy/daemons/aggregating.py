"""Rewriting and aggregation inside a cache, as carbon-aggregator-cache does it.

The law: a point's raw name is rewritten by [pre], its aggregates take the point, and it goes into the cache under
the name that [post] gives it, or not at all (``not_forwarded``).  Aggregates go into the cache under their own names,
as points that are received; they are neither rewritten nor aggregated again.  The daemon's own metrics are left alone.

What aggregates take in is written down beside the journal before a sender hears of it (`AggregateJournal`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from twisted.logger import Logger

from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.aggregating.feeding import Feeding
from carbonpy.aggregating.journal import AggregateJournal
from carbonpy.aggregating.pipeline import Pipeline
from carbonpy.ingest.intake import Intake
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.reload import RulesFile
from carbonpy.rules.rewriting import RewriteRules
from carbonpy.settings import Settings

log = Logger("aggregator")
#: Where in JOURNAL_DIR aggregates are kept.
_DIRECTORY = "aggregates"


class CacheAggregation:
    """The rules of a cache that aggregates, and what they make.  Reactor thread only.

    `own` is how the names of the daemon's own metrics begin.  Raises ConfigError for rules that cannot be used.
    """

    def __init__(self, settings: Settings, own: str) -> None:
        cache = settings.cache

        def report(sentence: str) -> None:
            log.warn("{sentence}", sentence=sentence)

        self._own = own.encode()
        self._settings = settings
        self._rules = RulesFile(
            cache.aggregation_rules,
            AggregationRules.parse,
            missing=AggregationRules.default(),
            report=report,
            clock=time.time,
        )
        self._rewriting = RulesFile(
            cache.rewrite_rules, RewriteRules.parse, missing=RewriteRules.default(), report=report, clock=time.time
        )
        if self._rules.text is None and self._rewriting.text is None:
            report(
                f"AGGREGATE is set, but there is neither {cache.aggregation_rules} nor {cache.rewrite_rules}; "
                "write one of them, it will be read within seconds"
            )
        self.aggregator = Aggregator(
            intervals=cache.max_aggregation_intervals, write_back=cache.write_back_frequency or None
        )
        self.journal: AggregateJournal | None = None
        self._sync_batches = cache.journal_fsync == "batch"
        if cache.journal:
            self.journal = AggregateJournal(
                os.path.join(cache.journal_dir, _DIRECTORY),
                self.aggregator,
                on_trouble=lambda sentence: log.error("{sentence}", sentence=sentence),
            )
        self._feeding = Feeding(self._outputs_of, self._take)
        self._pipeline = self._make_pipeline()

    def _make_pipeline(self) -> Pipeline:
        cache = self._settings.cache
        return Pipeline(
            self._rewriting.value,
            self._rules.value,
            forward_all=cache.forward_all,
            rewrite_aggregates=cache.rewrite_aggregates,
        )

    # ---- names and points

    def rename(self, raw: bytes) -> bytes | None:
        """The name under which points of a raw name are kept, None when they are not (see `NameTable`)."""
        return raw if raw.startswith(self._own) else self._pipeline.of(raw).sent_as

    def _outputs_of(self, raw: bytes) -> Sequence[int]:
        if raw.startswith(self._own):
            return ()
        return [self.aggregator.buffer(name, spec) for name, spec in self._pipeline.of(raw).feeds]

    def feed(self, intake: Intake) -> None:
        """Let the points that come in be aggregated from now on."""
        intake.feed = self._feeding.points

    def _take(self, outputs: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        if self.journal is None:
            self.aggregator.take(outputs, timestamps, values, time.time())
            return
        self.journal.take(outputs, timestamps, values, time.time())
        if self._sync_batches:
            self.sync()

    def emit(self, intake: Intake) -> None:
        """Put the aggregates that are due into the cache; to be called a few times a second."""
        now = time.time()
        intake.generated(*self.aggregator.due(now))
        if self.journal is not None:
            self.journal.look(now)

    # ---- now and then

    def start(self) -> None:
        """Take what an earlier life left.  Raises JournalError."""
        if self.journal is not None:
            found = self.journal.start(time.time())
            if any(found):
                log.info(
                    "{intervals} intervals of aggregates and {points} points for them go on where they were; "
                    "{damaged} records were damaged",
                    **found._asdict(),
                )

    def poll(self) -> bool:
        """Whether the rules files have changed, so that names have to be looked at anew."""
        rules, rewriting = self._rules.poll(), self._rewriting.poll()
        if rules is None and rewriting is None:
            return False
        self._begin_anew()
        log.info(
            "{rules} aggregation rules and {rewrites} rewrite rules are in force",
            rules=len(self._rules.value.rules),
            rewrites=len(self._rewriting.value.pre_rules) + len(self._rewriting.value.post_rules),
        )
        return True

    def reconfigure(self, settings: Settings) -> bool:
        """Take other settings; whether names have to be looked at anew."""
        old, new = self._settings.cache, settings.cache
        self._settings = settings
        self.aggregator.intervals = new.max_aggregation_intervals
        if (old.forward_all, old.rewrite_aggregates) == (new.forward_all, new.rewrite_aggregates):
            return False
        self._begin_anew()
        return True

    def _begin_anew(self) -> None:
        self._pipeline = self._make_pipeline()
        self._feeding.rules_changed()
        if self.journal is not None:
            self.journal.rules_changed(time.time())
        else:
            self.aggregator.rules_changed()

    def sync(self) -> None:
        """Force what was written down to the disk, as far as the disk lets us."""
        if self.journal is not None:
            try:
                self.journal.sync()
            except OSError as error:
                log.error(
                    "{directory}: cannot be forced to the disk: {error}", directory=self.journal.directory, error=error
                )

    def close(self, intake: Intake) -> None:
        """Keep what was gathered for the next life; without a journal, put it into the cache."""
        if self.journal is not None:
            self.journal.close(time.time())
        else:
            intake.generated(*self.aggregator.flush())

    @property
    def trouble(self) -> str:
        """Why the last points could not be written down, "" if they were."""
        return self.journal.trouble if self.journal is not None else ""

    def health(self) -> dict[str, Any]:
        """For the document of ``GET /health``."""
        aggregator = self.aggregator
        return {
            "rules": len(self._rules.value.rules),
            "outputs": len(aggregator),
            "intervals": len(aggregator.cells),
            "points": aggregator.buffered,
            "held_values": aggregator.cells.held_values,
            "received": aggregator.received.value,
            "sent": aggregator.sent.value,
            "undefined": aggregator.undefined.value,
            "dropped": aggregator.dropped.as_dict(),
            "unjournaled": self.journal.unjournaled.value if self.journal is not None else 0,
            "trouble": self.trouble,
        }

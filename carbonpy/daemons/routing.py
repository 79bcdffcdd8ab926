"""What a relay does with names: rules files, router, rewriting and aggregates, as one decision for each name.

The law: what is in force changes only as a whole, and only to something that can be used: a rules file or a
configuration that is broken leaves everything as it is.  `plan` is asked once for each name; aggregates come out under
names that have a plan of their own (`plan_of_aggregate`).
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from twisted.logger import Logger

from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.aggregating.journal import AggregateJournal
from carbonpy.aggregating.pipeline import Pipeline
from carbonpy.daemons.routers import make_router
from carbonpy.errors import CarbonError
from carbonpy.ingest.names import Judge, judge_by_lists, let_all_pass
from carbonpy.relaying.plan import Feed, Plan
from carbonpy.relaying.router import Router
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.filters import FilterBook
from carbonpy.rules.relaying import RelayRules
from carbonpy.rules.reload import RulesFile
from carbonpy.rules.rewriting import RewriteRules
from carbonpy.settings import Settings

log = Logger("relay")


def _report(sentence: str) -> None:
    log.warn("{sentence}", sentence=sentence)


class Routing:
    """The rules in force and what they say of each name.  Reactor thread only.

    own: how the names of the daemon's own metrics begin; lists let them pass, and no rule but the router's is for them.
    Raises ConfigError for what cannot be used at the start.
    """

    def __init__(self, settings: Settings, own: str) -> None:
        values, files = settings.own, settings.files
        self._settings = settings
        self._own = own.encode()
        self._relay_rules = self._file(values.relay_rules, RelayRules)
        self._aggregation = self._file(values.aggregation_rules, AggregationRules)
        self._rewriting = self._file(values.rewrite_rules, RewriteRules)
        self._allowed, self._denied = self._file(files.whitelist, FilterBook), self._file(files.blacklist, FilterBook)
        self.router: Router
        self._pipeline: Pipeline | None = None
        self.aggregator = Aggregator(
            intervals=values.max_aggregation_intervals, write_back=values.write_back_frequency or None
        )
        self._journal = AggregateJournal(
            os.path.join(values.spool_dir, "aggregates"),
            self.aggregator,
            on_trouble=lambda sentence: log.error("{sentence}", sentence=sentence),
        )
        self._onward: dict[bytes, Plan] = {}
        self._take(settings)
        found = self._journal.start(time.time())
        if any(found):
            log.info(
                "{intervals} intervals of aggregates and {points} points for them go on where they were; "
                "{damaged} records were damaged",
                **found._asdict(),
            )

    @staticmethod
    def _file(path: str, book: Any) -> Any:
        missing = RelayRules(()) if book is RelayRules else book.default()
        return RulesFile(path, book.parse, missing=missing, report=_report, clock=time.time)

    # ---- what is in force

    def _take(self, settings: Settings) -> None:
        """Raises ConfigError, and then nothing has changed."""
        values = settings.own
        router = make_router(settings, self._relay_rules.value, self._aggregation.value)
        self.router = router
        self._settings = settings
        self._pipeline = None
        if values.aggregate and (self._aggregation.value or self._rewriting.value):
            self._pipeline = Pipeline(
                self._rewriting.value,
                self._aggregation.value,
                forward_all=values.forward_all,
                rewrite_aggregates=values.rewrite_aggregates,
            )
        self.aggregator.intervals = values.max_aggregation_intervals
        self._journal.rules_changed(time.time())
        self._onward = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is hardly meant."""
        return tuple(self.router.warnings)

    def reconfigure(self, settings: Settings) -> bool:
        """Take other settings; whether names may go elsewhere.  Raises ConfigError, and then nothing has changed."""
        old, new = self._settings.own, settings.own
        if all(getattr(old, key) == getattr(new, key) for key in _ROUTING):
            self._settings = settings
            return False
        self._take(settings)
        return True

    def poll(self) -> bool:
        """Whether rules files have changed so that names may go elsewhere."""
        changed = [book for file in (self._relay_rules, self._aggregation, self._rewriting) if (book := file.poll())]
        if not changed:
            return False
        try:
            self._take(self._settings)
        except CarbonError as error:
            _report(f"{error}; the rules read before stay in force")
            return False
        return True

    # ---- names

    def poll_lists(self) -> bool:
        """Whether names are let in by other lists from now on."""
        allowed, denied = self._allowed.poll(), self._denied.poll()
        return self._settings.own.use_whitelist and not (allowed is None and denied is None)

    def judge(self) -> Judge:
        """The verdict on new names, as in the cache."""
        if not self._settings.own.use_whitelist:
            return let_all_pass
        denied, allowed, own = self._denied.value, self._allowed.value, self._own.decode()
        judge = judge_by_lists(denied.matches if denied else None, allowed.matches if allowed else None)
        return lambda name: 0 if name.startswith(own) else judge(name)

    def plan(self, name: bytes) -> Plan:
        """What is done with the points of a name that came in."""
        pipeline = self._pipeline
        if pipeline is None or name.startswith(self._own):
            return self.router.plan(name)
        course = pipeline.of(name)
        feeds = tuple(Feed(output, spec) for output, spec in course.feeds)
        if course.sent_as is None:
            return Plan((), feeds, (), "" if feeds else "not_aggregated", ())
        plan = self.router.plan(course.sent_as)
        return plan._replace(feeds=(*feeds, *plan.feeds))

    def plan_of_aggregate(self, name: bytes) -> Plan:
        """What is done with an aggregate."""
        return self._onward.get(name) or self.router.plan(name)

    # ---- aggregates

    @property
    def aggregates(self) -> bool:
        """Whether there may be any."""
        return bool(len(self.aggregator.outputs))

    def buffer(self, feed: Feed) -> int:
        """The number of the output that a feed goes into."""
        if feed.onward is not None:
            self._onward[feed.name] = feed.onward
        return self.aggregator.buffer(feed.name, feed.rule)

    def feed(self, outputs: np.ndarray, timestamps: np.ndarray, values: np.ndarray) -> None:
        """Points for aggregates."""
        self._journal.take(outputs, timestamps, values, time.time())

    def due(self, now: float) -> Any:
        """The aggregates that have to be sent now: names, timestamps, values."""
        due = self.aggregator.due(now)
        self._journal.look(now)
        return due

    def aggregate_figures(self) -> dict[str, Any]:
        """For the document of ``GET /health``."""
        aggregator = self.aggregator
        return {
            "buffers": len(aggregator) if self.aggregates else 0,
            "intervals": len(aggregator.cells),
            "points": aggregator.buffered,
            "held_values": aggregator.cells.held_values,
            "received": aggregator.received.value,
            "sent": aggregator.sent.value,
            "dropped": aggregator.dropped.as_dict(),
            "undefined": aggregator.undefined.value,
            "unjournaled": self._journal.unjournaled.value,
            "trouble": self._journal.trouble,
        }

    def close(self) -> None:
        """The daemon ends: what the aggregator keeps goes to disk."""
        self._journal.close(time.time())


#: Settings that change where names go or what is made of them.
_ROUTING = (
    "destinations",
    "relay_method",
    "router_hash_type",
    "replication_factor",
    "diverse_replicas",
    "dynamic_router",
    "tag_relay_normalized",
    "clusters",
    "routes",
    "aggregate",
    "forward_all",
    "max_aggregation_intervals",
    "rewrite_aggregates",
)

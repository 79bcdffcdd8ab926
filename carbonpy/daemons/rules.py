"""The rules files of a daemon: what is in force, as writers and the name table need it.

The law: rules change only in `poll_books` and `poll_lists`, and only to something that parses.
"""

from __future__ import annotations

import time

from twisted.logger import Logger

from carbonpy.ingest.names import Judge, judge_by_lists, let_all_pass
from carbonpy.net.writers import RuleTexts
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.filters import FilterBook
from carbonpy.rules.reload import RulesFile
from carbonpy.rules.schemas import SchemaBook
from carbonpy.settings import Settings
from carbonpy.writing.headers import HeaderBook

log = Logger("console")


class Rules:
    """The four rules files and what they make together.  Reactor thread only; `book` may be read from any."""

    def __init__(self, settings: Settings) -> None:
        files = settings.files

        def report(sentence: str) -> None:
            log.warn("{sentence}", sentence=sentence)

        self._schemas = RulesFile(
            files.schemas, SchemaBook.parse, missing=SchemaBook.default(), report=report, clock=time.time, keep=True
        )
        self._aggregations = RulesFile(
            files.aggregation,
            AggregationBook.parse,
            missing=AggregationBook.default(),
            report=report,
            clock=time.time,
            keep=True,
        )
        self._allowed = RulesFile(
            files.whitelist, FilterBook.parse, missing=FilterBook.default(), report=report, clock=time.time
        )
        self._denied = RulesFile(
            files.blacklist, FilterBook.parse, missing=FilterBook.default(), report=report, clock=time.time
        )
        self.use_lists = settings.cache.use_whitelist
        self.book = HeaderBook(self._schemas.value, self._aggregations.value)

    def texts(self) -> RuleTexts:
        """What writer processes parse."""
        schemas, aggregations = (
            None if file.text is None else (file.path, file.text) for file in (self._schemas, self._aggregations)
        )
        return schemas, aggregations

    def poll_books(self) -> bool:
        """Whether new files are made by other rules from now on."""
        schemas, aggregations = self._schemas.poll(), self._aggregations.poll()
        if schemas is None and aggregations is None:
            return False
        self.book = HeaderBook(self._schemas.value, self._aggregations.value)
        return True

    def poll_lists(self) -> bool:
        """Whether names are let in by other lists from now on."""
        allowed, denied = self._allowed.poll(), self._denied.poll()
        return self.use_lists and not (allowed is None and denied is None)

    def judge(self, own: str) -> Judge:
        """The verdict on new names.  An empty whitelist lets everything pass, as in carbon.

        Names that begin with `own`, the daemon's own metrics, pass in any case, also as in carbon.
        """
        if not self.use_lists:
            return let_all_pass
        denied, allowed = self._denied.value, self._allowed.value
        judge = judge_by_lists(denied.matches if denied else None, allowed.matches if allowed else None)
        return lambda name: 0 if name.startswith(own) else judge(name)

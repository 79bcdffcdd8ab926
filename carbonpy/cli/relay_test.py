"""``carbonpy relay test``: what a relay would do with names, without a relay.

The law: names are read from standard input (the first word of each line), and for each there is one JSON object on a
line of its own; the same rules decide as in the daemon, in the same order.  When a name is sent under several names,
``sent_as`` and ``destinations`` are those of the first, and ``sendings`` has all.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

from carbonpy.aggregating.pipeline import Pipeline
from carbonpy.cli.placing import from_settings, names_from, shown_destinations, tell
from carbonpy.errors import MetricError
from carbonpy.ingest.names import VERDICTS, Judge, judge_by_lists, let_all_pass
from carbonpy.metric import as_it_came
from carbonpy.relaying.plan import INVALID_NAME, Feed, Plan
from carbonpy.relaying.router import Router
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.filters import FilterBook
from carbonpy.rules.rewriting import RewriteRules
from carbonpy.settings import Settings, load, read_text

_EPILOG = """\
examples:
  carbonpy relay test --config /etc/carbon/carbon.conf < names
  echo servers.web01.cpu.user | carbonpy relay test --config /etc/carbonpy/carbonpy.yaml

Each line of the answer is an object: metric, sent_as, destinations (the primary first), rules, dropped (null, or why).
"""
#: A name that is aggregated and, FORWARD_ALL being off, goes no further; or that no aggregate wants.
NOT_AGGREGATED = "not_aggregated"


def parser(program: str) -> argparse.ArgumentParser:
    """The options of ``carbonpy relay test``."""
    options = argparse.ArgumentParser(
        prog=f"carbonpy {program} test",
        description="Read names from standard input and say what would become of each.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--config", metavar="FILE", required=True, help="carbonpy.yaml or carbon.conf")
    options.add_argument("--instance", metavar="X", default="a", help="name of the instance (default: a)")
    return options


def main(argv: Sequence[str], program: str = "relay") -> int:
    """Run ``carbonpy relay test`` (or that of `program`) with these arguments; its exit code."""
    options = parser(program).parse_args(argv)
    trial = Trial(load(options.config, instance=options.instance, program=program))
    tell(f"{program} test", trial.warnings)
    for name in names_from(["-"]):
        print(json.dumps(trial.of(name)))
    return 0


class Trial:
    """The rules of some settings, to be asked about names.  One owner."""

    def __init__(self, settings: Settings) -> None:
        own, files = settings.own, settings.files
        self.router: Router = from_settings(settings)
        self.warnings = (*settings.warnings, *self.router.warnings)
        self._max_bytes: int = own.max_name_length
        self._judge: Judge = let_all_pass
        if own.use_whitelist:
            denied, allowed = _read(files.blacklist, FilterBook), _read(files.whitelist, FilterBook)
            self._judge = judge_by_lists(denied.matches if denied else None, allowed.matches if allowed else None)
        self._pipeline: Pipeline | None = None
        if own.aggregate:
            self._pipeline = Pipeline(
                _read(own.rewrite_rules, RewriteRules),
                _read(own.aggregation_rules, AggregationRules),
                forward_all=own.forward_all,
                rewrite_aggregates=own.rewrite_aggregates,
            )

    def of(self, name: str) -> dict[str, Any]:
        """What becomes of `name`."""
        try:
            as_it_came(name, self._max_bytes)
        except (MetricError, UnicodeEncodeError):
            return self._said(name, Plan(dropped=INVALID_NAME))
        verdict = self._judge(name)
        if verdict:
            return self._said(name, Plan(dropped=VERDICTS[verdict]))
        return self._said(name, self._plan(name))

    def _plan(self, name: str) -> Plan:
        if self._pipeline is None:
            return self.router.plan(name.encode())
        course = self._pipeline.of(name.encode())
        feeds = tuple(Feed(output, spec) for output, spec in course.feeds)
        rules = tuple(f"aggregate into {feed.name.decode(errors='replace')}" for feed in feeds)
        if course.sent_as is None:
            return Plan(feeds=feeds, dropped="" if feeds else NOT_AGGREGATED, rules=rules)
        if course.sent_as != name.encode():
            rules = (f"rewrite to {course.sent_as.decode(errors='replace')}", *rules)
        plan = self.router.plan(course.sent_as)
        return plan._replace(feeds=(*feeds, *plan.feeds), rules=(*rules, *plan.rules))

    def _said(self, name: str, plan: Plan) -> dict[str, Any]:
        sendings: dict[str, list[str]] = {}
        for sending in plan.sendings:
            to = sendings.setdefault(_text(sending.name), [])
            to.extend(one for one in shown_destinations(self.router, Plan((sending,))) if one not in to)
        sent_as = next(iter(sendings), None)
        said: dict[str, Any] = {
            "metric": name,
            "sent_as": sent_as,
            "destinations": [] if sent_as is None else sendings[sent_as],
            "rules": list(plan.rules),
            "dropped": plan.dropped or None,
        }
        if len(sendings) > 1:
            said["sendings"] = [{"sent_as": called, "destinations": to} for called, to in sendings.items()]
        if plan.feeds:
            said["aggregates"] = [self._aggregate(feed) for feed in plan.feeds]
        if plan.checks:
            said["checks"] = [
                {
                    "validate": _text(check.matches.pattern),
                    "on_failure": check.on_failure,
                    "guards": list(dict.fromkeys(_text(plan.sendings[number].name) for number in check.sendings)),
                }
                for check in plan.checks
            ]
        return said

    def _aggregate(self, feed: Feed) -> dict[str, Any]:
        onward = feed.onward or self.router.plan(feed.name)
        return {
            "name": _text(feed.name),
            "method": feed.rule.method,
            "interval": feed.rule.interval,
            "destinations": shown_destinations(self.router, onward),
        }


def _read(path: str, book: Any) -> Any:
    """The `book` of a rules file; the default when there is none."""
    return book.parse(read_text(path), path) if os.path.exists(path) else book.default()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")

"""What aggregation costs: parsed points to their aggregates, by carbon's aggregator and by carbonpy's.

20,000 names are put together to 1,000 outputs by one rule; every name has one point an interval, in batches of 10,000
points, and figures are made when they are due. The clock is set by hand, so that the work is the same for both and
nothing waits. Counted is the CPU of the process that does nothing else; names are known before the clock starts. What
both made of the points is compared. carbonpy also writes down what it takes in, as its daemons do, and once does not.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any

METHODS = ("sum", "avg", "max", "p95")
AGGREGATING_HEADS = ("method", "carbon, points/CPU s", "carbonpy, points/CPU s", "ratio", "without the log")

_WORK = """
import json, sys, time
METHOD, ROUNDS, PLACE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
BASE, STEP, BATCH = 1_700_000_000, 10, 10_000
NAMES = ["servers.group%d.host%d.load" % (n % 1000, n // 1000) for n in range(20_000)]
RULE = "groups.<group>.load (10) = %s servers.<group>.*.load" % METHOD
def batches():
    for turn in range(ROUNDS):
        now = BASE + turn * STEP
        for begin in range(0, len(NAMES), BATCH):
            yield now, NAMES[begin:begin + BATCH], [float((turn * 7919 + n * 104729) % 10007) for n in range(BATCH)]
"""
_CARBON = (
    _WORK
    + """
import heapq
from types import SimpleNamespace
from twisted.internet.task import LoopingCall
class Clock:
    # twisted's own clock for tests sorts all calls at each new one, which a reactor does not do.
    def __init__(self):
        self.now, self.calls, self.made = 0.0, [], 0
    def seconds(self):
        return self.now
    def callLater(self, delay, work, *more):
        self.made += 1
        call = SimpleNamespace(work=work, more=more, wanted=True)
        call.cancel = lambda: setattr(call, "wanted", False)
        heapq.heappush(self.calls, (self.now + delay, self.made, call))
        return call
    def advance(self, seconds):
        self.now += seconds
        while self.calls and self.calls[0][0] <= self.now:
            call = heapq.heappop(self.calls)[2]
            if call.wanted:
                call.work(*call.more)
import carbon.aggregator.buffers as buffers
from carbon import events, instrumentation, state
from carbon.aggregator.processor import AggregationProcessor
from carbon.aggregator.rules import RuleManager
from carbon.conf import settings
state.events, state.instrumentation = events, instrumentation
clock, figures = Clock(), {}
def call(work):
    made = LoopingCall(work)
    made.clock = clock
    return made
buffers.LoopingCall, buffers.time = call, SimpleNamespace(time=lambda: BASE + clock.seconds())
settings.update(FORWARD_ALL=False, WRITE_BACK_FREQUENCY=None, MAX_AGGREGATION_INTERVALS=5, LOG_AGGREGATOR_MISSES=False)
RuleManager.rules = [RuleManager.parse_definition(RULE)]
events.metricGenerated.handlers[:] = [lambda name, point: figures.__setitem__((name, point[0]), point[1])]
process = AggregationProcessor().process
for name in NAMES:
    RuleManager.rules[0].get_aggregate_metric(name)
spent, points = 0.0, 0
for now, names, values in batches():
    begun = time.process_time()
    if now - BASE > clock.seconds():
        clock.advance(now - BASE - clock.seconds())
    for name, value in zip(names, values):
        for _ in process(name, (now, value)):
            pass
    spent += time.process_time() - begun
    points += len(names)
clock.advance(2 * STEP)
print(json.dumps([points / spent, sorted([name, when, value] for (name, when), value in figures.items())]))
"""
)
_CARBONPY = (
    _WORK
    + """
import numpy as np
from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.aggregating.feeding import Feeding
from carbonpy.aggregating.journal import AggregateJournal
from carbonpy.aggregating.pipeline import Pipeline
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.rewriting import RewriteRules
pipeline = Pipeline(RewriteRules.default(), AggregationRules.parse(RULE, "rules"), forward_all=False)
aggregator, figures, moment = Aggregator(), {}, [BASE]
journal = AggregateJournal(PLACE, aggregator, on_trouble=print) if PLACE else None
def take(outputs, timestamps, values):
    (journal or aggregator).take(outputs, timestamps, values, moment[0])
feeding = Feeding(lambda name: [aggregator.buffer(*feed) for feed in pipeline.of(name).feeds], take)
raw = [name.encode() for name in NAMES]
# So that the names are known: points of long ago.
feeding.points(raw, np.ones(len(raw), bool), np.full(len(raw), BASE - 10**6, np.uint32), np.zeros(len(raw)))
def emit(now):
    due = aggregator.due(now)
    figures.update(zip(zip(due.names, due.timestamps.tolist()), due.values.tolist()))
spent, points = 0.0, 0
for now, names, values in batches():
    names, values = [name.encode() for name in names], np.array(values)
    begun = time.process_time()
    if now > moment[0]:
        moment[0] = now
        emit(now)
        if journal:
            journal.look(now)
    feeding.points(names, np.ones(len(names), bool), np.full(len(names), now, np.uint32), values)
    spent += time.process_time() - begun
    points += len(names)
emit(moment[0] + 2 * STEP)
print(json.dumps([points / spent, sorted([name.decode(), when, value] for (name, when), value in figures.items())]))
"""
)


def run_aggregating(work_dir: Path, own_python: Path, peer_python: Path, scale: float) -> dict[str, Any]:
    """Points a CPU second by method, and what differs in the outcome."""
    rows, problems = [], []
    root = Path(__file__).resolve().parents[2]
    for method in METHODS:
        carbon, theirs = _run(peer_python, _CARBON, root, method, max(1, int(20 * scale)), "")
        with tempfile.TemporaryDirectory(prefix="aggregates-", dir=work_dir) as place:
            carbonpy, ours = _run(own_python, _CARBONPY, root, method, max(1, int(100 * scale)), place)
        bare, _ = _run(own_python, _CARBONPY, root, method, max(1, int(100 * scale)), "")
        mine = {(name, when): value for name, when, value in ours}
        wrong = sum(
            not math.isclose(mine.get((name, when), math.inf), value, rel_tol=1e-9) for name, when, value in theirs
        )
        if wrong or not theirs:
            problems.append(f"{method}: {wrong} of {len(theirs)} figures differ from carbon's")
        rows.append({"method": method, "carbon": carbon, "carbonpy": carbonpy, "bare": bare, "compared": len(theirs)})
    return {"rows": rows, "problems": problems}


def _run(python: Path, program: str, root: Path, *arguments: object) -> tuple[float, list[list[Any]]]:
    done = subprocess.run(
        [str(python), "-c", program, *map(str, arguments)], cwd=root, capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise RuntimeError(f"the bench of aggregation failed: {done.stderr[-2000:]}")
    rate, figures = json.loads(done.stdout)
    return float(rate), figures


def aggregating_rows(outcome: dict[str, Any]) -> list[tuple[str, ...]]:
    """The rows of the table."""
    return [
        (
            row["method"],
            f"{row['carbon']:,.0f}",
            f"{row['carbonpy']:,.0f}",
            f"{row['carbonpy'] / row['carbon']:.1f}",
            f"{row['bare']:,.0f}",
        )
        for row in outcome["rows"]
    ]

"""Laws that carbon does not have: nothing uncounted, nothing good overwritten, nothing lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.aggregating.aggregator import Aggregator, Due
from carbonpy.aggregating.state import MAGIC, restore, state
from carbonpy.errors import JournalError
from carbonpy.rules.aggregates import METHODS, AggregateSpec

NOW = 1_700_000_000
SUM = AggregateSpec(10, "sum")


def take(aggregator: Aggregator, number: int, *points: tuple[int, float], now: float = NOW) -> None:
    """Points (seconds from NOW, value) of one output."""
    times, values = zip(*points)
    aggregator.take(
        np.full(len(points), number),
        np.array(times, np.int64).astype(np.uint32) + np.uint32(NOW),
        np.array(values),
        now,
    )


def told(due: Due) -> list[tuple[str, int, float]]:
    """(name, seconds from NOW, value)."""
    return [(name.decode(), at - NOW, value) for name, at, value in zip(due.names, due.timestamps.tolist(), due.values)]


def until(aggregator: Aggregator, begin: float, end: float) -> list[tuple[str, int, float]]:
    """All that is due from `begin` to `end` (seconds from NOW), asked four times a second."""
    asked = np.arange(begin, end + 0.25, 0.25)
    return [figure for now in asked for figure in told(aggregator.due(NOW + now))]


def test_a_late_point_corrects_the_figure_of_an_old_interval_for_as_long_as_it_is_kept() -> None:
    aggregator = Aggregator(intervals=2)
    number = aggregator.buffer(b"all", SUM)
    take(aggregator, number, (0, 1.0))
    assert until(aggregator, 0, 25) == [("all", 0, 1.0)]
    take(aggregator, number, (1, 2.0), now=NOW + 25)
    # Old as it is by now, it is kept since it got a point: carbon would begin anew and send 4.
    assert until(aggregator, 25, 45) == [("all", 0, 3.0)]
    take(aggregator, number, (2, 4.0), now=NOW + 45)
    assert until(aggregator, 45, 80) == [("all", 0, 7.0)]


def test_a_point_for_an_interval_that_was_forgotten_is_counted_and_does_not_replace_the_good_value() -> None:
    aggregator = Aggregator(intervals=2)
    number = aggregator.buffer(b"all", SUM)
    take(aggregator, number, (0, 1.0))
    assert until(aggregator, 0, 100) == [("all", 0, 1.0)]
    assert len(aggregator.cells) == 0
    take(aggregator, number, (1, 2.0), (-5, 5.0), now=NOW + 100)
    assert aggregator.dropped.as_dict() == {"aggregate_late": 1}
    # An old interval that was never sent is as good as any.
    assert until(aggregator, 100, 150) == [("all", -10, 5.0)]


def test_a_gap_in_which_nothing_was_sent_can_be_filled_later() -> None:
    aggregator = Aggregator(intervals=1)
    number = aggregator.buffer(b"all", SUM)
    for begin in (0, 10, 300, 310):
        take(aggregator, number, (begin, 1.0), now=NOW + begin)
        until(aggregator, begin, begin + 10)
    assert len(until(aggregator, 320, 400)) <= 2 and len(aggregator.cells) == 0
    assert (aggregator.outputs.low[number] - NOW, aggregator.outputs.high[number] - NOW) == (300, 310)
    assert aggregator.outputs.earlier == {number: [[NOW, NOW + 10]]}
    for begin in range(20, 300, 10):
        take(aggregator, number, (begin, float(begin)), (begin + 1, 1.0), now=NOW + 400)
    assert until(aggregator, 400, 500) == [("all", begin, begin + 1.0) for begin in range(20, 300, 10)]
    assert aggregator.outputs.earlier == {} and aggregator.dropped.total() == 0
    take(aggregator, number, *((begin, 1.0) for begin in range(0, 320, 10)), now=NOW + 500)
    assert aggregator.dropped.as_dict() == {"aggregate_late": 32}


@given(st.lists(st.integers(0, 200), max_size=120))
def test_what_was_forgotten_is_remembered_as_rows_however_it_comes(intervals: list[int]) -> None:
    aggregator = Aggregator()
    number = aggregator.buffer(b"all", SUM)
    for interval in intervals:
        aggregator.outputs.forget(np.array([number]), np.array([interval * 10]))
    rows = [
        *aggregator.outputs.earlier.get(number, []),
        [int(aggregator.outputs.low[number]), int(aggregator.outputs.high[number])],
    ]
    rows = rows if intervals else []
    held = {start for low, high in rows for start in range(low, high + 1, 10)}
    assert held >= {interval * 10 for interval in intervals}
    assert all(one[1] + 10 < other[0] for one, other in zip(rows, rows[1:])) and len(rows) <= 33
    if len(rows) < 32:
        assert held == {interval * 10 for interval in intervals}


def test_a_window_is_sent_once_and_what_comes_after_that_is_late() -> None:
    aggregator = Aggregator()
    spec = AggregateSpec(10, "sum", "window", 15, "end")
    number = aggregator.buffer(b"all", spec)
    take(aggregator, number, (0, 1.0), (9, 2.0), (10, 4.0))
    assert until(aggregator, 0, 15) == []
    take(aggregator, number, (5, 8.0), now=NOW + 15)
    assert until(aggregator, 15, 26) == [("all", 10, 11.0), ("all", 20, 4.0)]
    take(aggregator, number, (5, 16.0), (9, 1.0), (100, 1.0), (30, 1.0), now=NOW + 26)
    assert aggregator.dropped.as_dict() == {"aggregate_late": 2, "aggregate_early": 1}
    assert until(aggregator, 26, 90) == [("all", 40, 1.0)]
    middle = aggregator.buffer(b"middle", AggregateSpec(60, "count", "window", 60, "middle"))
    take(aggregator, middle, (70, 1.0), now=NOW + 90)
    assert until(aggregator, 90, 200) == [("middle", 40 + 30, 1.0)]  # NOW is 20 seconds into its minute


@given(st.data())
@settings(deadline=None)
def test_every_point_is_in_a_figure_or_counted(data: st.DataObject) -> None:
    aggregator = Aggregator(intervals=1, max_outputs=3, max_cells=6, max_held=5)
    methods = data.draw(st.lists(st.sampled_from(["sum", "window"]), min_size=4, max_size=4))
    numbers = [
        aggregator.buffer(b"%d" % n, AggregateSpec(10, "sum", "window", 20) if kind == "window" else SUM)
        for n, kind in enumerate(methods)
    ]
    assert numbers == [0, 1, 2, -1]
    total = 0.0
    last: dict[tuple[str, int], float] = {}
    for now in range(0, 300, 7):
        points = (
            data.draw(st.lists(st.tuples(st.integers(-1, 2), st.integers(-60, 60)), max_size=4)) if now < 150 else []
        )
        if points:
            total += len(points)
            buffers, ages = zip(*points)
            times = np.array([NOW + now - age for age in ages], np.uint32)
            aggregator.take(np.array(buffers), times, np.ones(len(points)), NOW + now)
        for name, at, value in told(aggregator.due(NOW + now)):
            last[name, at] = value
    assert aggregator.received.value == total
    assert sum(last.values()) + aggregator.dropped.total() == total
    assert set(aggregator.dropped) <= {"aggregate_late", "aggregate_early", "aggregate_full"}


def test_the_bounds_hold_and_what_is_beyond_them_is_counted() -> None:
    aggregator = Aggregator(max_outputs=2, max_cells=3, max_held=4)
    number = aggregator.buffer(b"held", AggregateSpec(10, "p95"))
    take(aggregator, number, *((n % 10, 1.0) for n in range(6)))
    assert (aggregator.cells.held_values, aggregator.dropped["aggregate_full"]) == (4, 2)
    take(aggregator, number, (1, 1.0))
    assert aggregator.dropped["aggregate_full"] == 3
    other = aggregator.buffer(b"other", SUM)
    take(aggregator, other, *((10 * n, 1.0) for n in range(5)))
    assert (len(aggregator.cells), aggregator.dropped["aggregate_full"]) == (3, 6)
    assert aggregator.buffer(b"third", SUM) == -1
    aggregator.take(np.array([-1, other]), np.full(2, NOW, np.uint32), np.ones(2), NOW)
    assert aggregator.dropped["aggregate_full"] == 7


def test_a_figure_that_is_no_number_is_not_sent_but_counted() -> None:
    aggregator = Aggregator()
    take(aggregator, aggregator.buffer(b"all", SUM), (0, np.inf), (0, -np.inf))
    assert until(aggregator, 0, 20) == []
    assert (aggregator.undefined.value, aggregator.sent.value) == (1, 0)


def test_an_output_whose_rule_is_read_again_unchanged_goes_on_as_it_was() -> None:
    aggregator = Aggregator()
    number = aggregator.buffer(b"all", SUM)
    take(aggregator, number, (0, 1.0))
    aggregator.rules_changed()
    assert aggregator.buffer(b"all", SUM) == number
    assert aggregator.buffer(b"all", AggregateSpec(60, "max")) == number, "the first decides, until the next reading"
    take(aggregator, number, (1, 2.0))
    assert until(aggregator, 0, 12) == [("all", 0, 3.0)]


def test_an_output_whose_rule_has_changed_sends_what_it_has_and_begins_anew() -> None:
    aggregator = Aggregator()
    number = aggregator.buffer(b"all", SUM)
    take(aggregator, number, (0, 1.0), (12, 4.0))
    aggregator.rules_changed()
    assert aggregator.buffer(b"all", AggregateSpec(5, "max")) == number
    assert told(aggregator.due(NOW + 1)) == [("all", 0, 1.0), ("all", 10, 4.0)]
    take(aggregator, number, (13, 9.0), (21, 2.0), now=NOW + 1)
    assert until(aggregator, 1, 6) == [("all", 10, 9.0), ("all", 20, 2.0)]
    assert aggregator.dropped.total() == 0


def test_what_was_sent_by_an_old_rule_long_ago_is_not_sent_again_by_a_new_one() -> None:
    aggregator = Aggregator()
    number = aggregator.buffer(b"all", SUM)
    take(aggregator, number, (0, 1.0))
    until(aggregator, 0, 60)
    aggregator.rules_changed()
    aggregator.buffer(b"all", AggregateSpec(5, "max"))
    take(aggregator, number, (1, 2.0), now=NOW + 61)
    assert aggregator.dropped.as_dict() == {"aggregate_late": 1}


def test_an_output_whose_rule_is_gone_sends_what_it_has_when_it_is_due() -> None:
    aggregator = Aggregator()
    take(aggregator, aggregator.buffer(b"all", SUM), (0, 1.0))
    aggregator.rules_changed()
    assert until(aggregator, 0, 100) == [("all", 0, 1.0)]
    assert len(aggregator.cells) == len(aggregator) == 0


def test_a_flush_gives_everything_that_was_not_sent() -> None:
    aggregator = Aggregator()
    take(aggregator, aggregator.buffer(b"all", SUM), (0, 1.0), (30, 2.0))
    take(aggregator, aggregator.buffer(b"window", AggregateSpec(10, "max", "window", 100)), (0, 3.0))
    assert told(aggregator.flush()) == [("all", 0, 1.0), ("all", 30, 2.0), ("window", 0, 3.0)]
    assert told(aggregator.flush()) == []
    assert until(aggregator, 0, 200) == []


_SPECS = st.sampled_from(
    [
        *(AggregateSpec(step, method) for step in (1, 5, 10) for method in (*METHODS[:-1], "percentile33")),
        *(AggregateSpec(10, method, "window", 20, "end") for method in ("sum", "p95", "last")),
    ]
)


@settings(deadline=None)
@given(
    st.lists(_SPECS, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(-30, 90), st.floats(-9, 9)), max_size=30),
    st.integers(0, 120),
)
def test_a_restart_at_any_moment_changes_no_figure(
    specs: list[AggregateSpec], points: list[tuple[int, int, int, float]], restart: int
) -> None:
    def run(stops: bool) -> tuple[list[tuple[str, int, float]], dict[str, int]]:
        aggregator, sent, dropped = Aggregator(intervals=2), [], {}
        for now in range(160):
            if stops and now == restart:
                dropped = aggregator.dropped.as_dict()
                data = state(aggregator)
                aggregator = Aggregator(intervals=2)
                restore(aggregator, data)
            for at, output, age, value in points:
                if at == now:
                    name = b"out.%d" % (output % len(specs))
                    number = aggregator.buffer(name, specs[output % len(specs)])
                    take(aggregator, number, (now - age, value), now=NOW + now)
            sent += sorted(told(aggregator.due(NOW + now)))
        return sent, {reason: aggregator.dropped[reason] + dropped.get(reason, 0) for reason in ("aggregate_late",)}

    assert run(stops=True) == run(stops=False)


def some_state() -> bytes:
    aggregator = Aggregator()
    for n, method in enumerate(("sum", "p95", "last")):
        take(aggregator, aggregator.buffer(b"a.%d" % n, AggregateSpec(10, method)), *((i, float(i)) for i in range(40)))
    return state(aggregator)


@pytest.mark.parametrize("cut", [*range(0, 40, 7), 100, -1])
def test_a_state_that_is_cut_off_is_refused(cut: int) -> None:
    aggregator = Aggregator()
    with pytest.raises(JournalError, match="remove it"):
        restore(aggregator, some_state()[:cut])
    assert len(aggregator.outputs) == len(aggregator.cells) == 0


@given(st.data())
def test_a_state_with_a_changed_byte_is_refused(data: st.DataObject) -> None:
    whole = bytearray(some_state())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(JournalError):
        restore(Aggregator(), bytes(whole))


def test_a_state_is_small_and_says_what_it_is() -> None:
    aggregator = Aggregator()
    for n in range(1000):
        take(aggregator, aggregator.buffer(b"servers.all.metric.%d" % n, SUM), *((10 * i, float(i)) for i in range(5)))
    data = state(aggregator)
    assert data.startswith(MAGIC) and len(data) < 100_000
    other = Aggregator()
    assert restore(other, data) == 5000 == len(other.cells)


def test_a_smaller_daemon_takes_what_it_has_room_for_and_counts_the_rest() -> None:
    other = Aggregator(max_outputs=2)
    restore(other, some_state())
    assert (len(other.outputs), other.dropped.as_dict()) == (2, {"aggregate_full": 40})


def test_a_large_batch_in_columns_gives_what_the_same_points_give_one_by_one() -> None:
    rng = np.random.default_rng(5)
    methods = ["sum", "avg", "min", "max", "count", "last", "p75", "stddev"]
    columns, single = Aggregator(), Aggregator()
    for aggregator in (columns, single):
        for n in range(64):
            aggregator.buffer(b"out.%d" % n, AggregateSpec((10, 7)[n % 2], methods[n % 8]))
    buffers = rng.integers(0, 64, 5000).astype(np.int32)
    times = (NOW - rng.integers(0, 40, 5000)).astype(np.uint32)
    values = rng.normal(size=5000)
    columns.take(buffers, times, values, NOW)
    for row in range(5000):
        single.take(buffers[row : row + 1], times[row : row + 1], values[row : row + 1], NOW)
    one, other = told(columns.flush()), told(single.flush())
    assert one == other and len(one) > 200


def test_a_clock_that_is_set_back_stops_no_output() -> None:
    aggregator = Aggregator()
    number = aggregator.buffer(b"all", SUM)
    window = aggregator.buffer(b"window", AggregateSpec(10, "sum", "window", 20))
    take(aggregator, number, (3600, 1.0), now=NOW + 3600)
    assert told(aggregator.due(NOW + 3605)) == []
    take(aggregator, number, (6, 2.0), now=NOW + 5)
    take(aggregator, window, (6, 4.0), now=NOW + 5)
    assert until(aggregator, 5, 30) == [("all", 0, 2.0), ("all", 3600, 1.0), ("window", 0, 4.0)]
    take(aggregator, number, (7, 8.0), now=NOW + 30)
    assert until(aggregator, 30, 41) == [("all", 0, 10.0)]

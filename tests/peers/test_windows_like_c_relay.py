"""The real carbon-c-relay aggregates values, and so do we: the same figures of the same values."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import numpy as np
import pytest
from support.peers import debian_program, running
from support.ports import free_ports
from support.running_relay import sinks
from support.waiting import until

from carbonpy.aggregating.aggregator import Aggregator
from carbonpy.rules.aggregates import AggregateSpec, known_method

METHODS = ["sum", "count", "max", "min", "average", "median", "variance", "stddev", *(
    f"percentile{n}" for n in (5, 10, 25, 33, 50, 75, 90, 95, 99))]  # fmt: skip
#: Whole numbers: carbon-c-relay does not order values that are less than 1 apart.
VALUES = {size: [float(n * n * 7919 % 1009) for n in range(size)] for size in (1, 2, 7, 10, 37)}


def ours(method: str, values: list[float], when: int) -> tuple[float, int]:
    """Our figure, and its timestamp."""
    aggregator = Aggregator()
    number = aggregator.buffer(b"out", AggregateSpec(10, known_method(method), "window", 11, "end"))
    count = len(values)
    aggregator.take(np.full(count, number), np.full(count, when, np.uint32), np.array(values), when)
    due = aggregator.due(when + 30)
    return float(due.values[0]), int(due.timestamps[0])


def test_windows_have_the_figures_of_the_real_relay(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    program = debian_program("carbon-c-relay", "carbon-c-relay")
    with sinks(1) as (sink,):
        computes = "\n".join(f"  compute {method} write to {method}.\\1" for method in METHODS)
        config = tmp_path / "relay.conf"
        config.write_text(
            f"cluster sink forward 127.0.0.1:{sink.port};\n"
            f"aggregate ^in\\.(size[0-9]+)\\.m$ every 10 seconds expire after 11 seconds\n{computes}\n"
            "  send to sink stop;\n"
            f"listen type linemode 127.0.0.1:{port} proto tcp;\n"
        )
        with running([program, "-f", str(config), "-w", "1"], tmp_path / "log"):
            when = int(time.time())
            lines = [f"in.size{size}.m {value:g} {when}" for size, values in VALUES.items() for value in values]

            def sent() -> bool:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall("".join(f"{line}\n" for line in lines).encode())
                return True

            until("it listens", sent)
            expected = len(METHODS) * len(VALUES)
            until("all figures are there", lambda: len(sink.lines) >= expected, timeout=50)
        theirs = {name: (float(value), int(at)) for name, value, at in (line.decode().split() for line in sink.lines)}
    assert len(theirs) == expected, sorted(theirs)[:5]
    for size, values in VALUES.items():
        for method in METHODS:
            value, at = ours(method, values, when)
            assert theirs[f"{method}.size{size}"] == (pytest.approx(value, abs=1e-6), at), (method, size)

"""Text of other programs becomes points: what their documents show, and what is not a point costs its line."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from carbonpy.upkeep.texts import FORMATS, Datum, Refused, read

NOW = 1_700_000_000.0


def points(format_: str, text: str, precision: str = "ns") -> list[tuple[str, int, float]]:
    """The points; anything refused fails."""
    found = list(read(format_, text.splitlines(), NOW, precision))
    assert all(isinstance(one, Datum) for one in found), found
    return [tuple(one) for one in found]


def refusals(format_: str, text: str) -> list[tuple[int, bool]]:
    return [(one.line, one.quiet) for one in read(format_, text.splitlines(), NOW) if isinstance(one, Refused)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # The examples of InfluxDB's reference.
        ('myM,tag1=value1,tag2=value2 fieldKey="fieldValue" 1556813561098000000', []),
        ("myM fieldKey=1.0", [("myM.fieldKey", 1700000000, 1.0)]),
        ("myM fieldKey=-1.234456e+78 1556813561098000000", [("myM.fieldKey", 1556813561, -1.234456e78)]),
        ("myM fieldKey=12485903i,b=12485903u 1", [("myM.fieldKey", 0, 12485903.0), ("myM.b", 0, 12485903.0)]),
        ("myM fieldKey=true,f=F", [("myM.fieldKey", 1700000000, 1.0), ("myM.f", 1700000000, 0.0)]),
        ("my\\ Measurement fieldKey=1 1000000000", [("my_Measurement.fieldKey", 1, 1.0)]),
        ("cpu,host=server\\ 01,region=uw value=0.64 1434055562000000000", [
            ("cpu;host=server 01;region=uw", 1434055562, 0.64),
        ]),
        ('m,t\\=a=x\\,y value=1,text="a b,c=\\"d\\"" 1000000000', [("m;t_a=x,y", 1, 1.0)]),
        ("disk_free,path=C:\\folder value=5 1000000000", [("disk_free;path=C:\\folder", 1, 5.0)]),
        ("  weather temperature=82 1465839830100400200  ", [("weather.temperature", 1465839830, 82.0)]),
    ],
)  # fmt: skip
def test_influx_line_protocol(line: str, expected: list[tuple[str, int, float]]) -> None:
    found = list(read("influx", [line], NOW))
    assert [tuple(one) for one in found if isinstance(one, Datum)] == expected
    assert all(one.quiet for one in found if isinstance(one, Refused))
    assert expected or len(found) == 1


def test_influx_precisions() -> None:
    for precision, stamp in (("s", "1434055562"), ("ms", "1434055562123"), ("us", "1434055562123456")):
        assert points("influx", f"cpu value=1 {stamp}", precision) == [("cpu", 1434055562, 1.0)]
    # A unit that is too fine is noticed, not stored in the year 50,000.
    assert [type(one) for one in read("influx", ["cpu value=1 1434055562000000000"], NOW, "s")] == [Refused]


def test_prometheus_text_of_its_own_documentation() -> None:
    text = """\
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9
# Minimalistic line:
metric_without_timestamp_and_labels 12.47
# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf 3982045
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
rpc_duration_seconds{quantile="0.5",} 4773
"""
    assert points("prometheus", text) == [
        ("http_requests_total;code=200;method=post", 1395066363, 1027.0),
        ("http_requests_total;code=400;method=post", 1395066363, 3.0),
        (
            'msdos_file_access_time_seconds;error=Cannot find file:_"FILE.TXT";path=C:\\DIR\\FILE.TXT',
            1700000000,
            1.458255915e9,
        ),
        ("metric_without_timestamp_and_labels", 1700000000, 12.47),
        ("something_weird;problem=division by zero", 3982, float("inf")),
        ("http_request_duration_seconds_bucket;le=0.05", 1700000000, 24054.0),
        ("http_request_duration_seconds_bucket;le=+Inf", 1700000000, 144320.0),
        ("rpc_duration_seconds;quantile=0.5", 1700000000, 4773.0),
    ]


def test_labels_that_tags_cannot_hold_are_changed_not_lost() -> None:
    assert points("prometheus", 'm{name="x",a="~b",c="d;e",f=""} 1') == [("m;a=_b;c=d_e;name_=x", 1700000000, 1.0)]


def test_csv_with_and_without_a_first_line() -> None:
    assert points("csv", "a.b,100,1.5\nc,200.7,2") == [("a.b", 100, 1.5), ("c", 200, 2.0)]
    assert points("csv", 'Value,Metric,x,Timestamp\n1,"a;t=1,2",,7') == [("a;t=1,2", 7, 1.0)]
    assert refusals("csv", "a,1,2\nb,1\nc,x,1\nd,1,\ne,1,nan\n,1,1") == [
        (2, False), (3, False), (4, True), (5, True), (6, False),
    ]  # fmt: skip


def test_json_lines_in_all_their_forms() -> None:
    text = "\n".join(
        json.dumps(one)
        for one in (
            {"metric": "a", "timestamp": 1, "value": 2},
            {"metric": "b", "step": 60, "points": [[1, 2], [3, None], [5, 6.5]]},
            {"target": "c", "datapoints": [[2, 1], [None, 3]]},
        )
    )
    assert points("jsonl", text) == [("a", 1, 2.0), ("b", 1, 2.0), ("b", 5, 6.5), ("c", 1, 2.0)]
    wrong = '{"metric": "a"}\n[]\n{"metric": 1, "timestamp": 1, "value": 1}\n{\n{"metric":"a","points":[[1]]}\n' + (
        '{"metric":"a","timestamp":1,"value":true}'
    )
    assert refusals("jsonl", wrong) == [(number, False) for number in range(1, 7)]


@given(st.sampled_from(FORMATS), st.lists(st.text(max_size=60), max_size=5))
@example(format_="csv", lines=["0\r0"])
@example(format_="csv", lines=['"a'])
@example(format_="jsonl", lines=["[" * 100_000])
@example(format_="jsonl", lines=['{"metric": "a", "points": [1]}', '{"metric": "a", "points": [[1, [2]], {}]}'])
@example(format_="jsonl", lines=['{"metric": "a", "timestamp": null, "value": {}}'])
@example(format_="jsonl", lines=['{"target": "a", "datapoints": [null]}'])
@example(format_="jsonl", lines=['{"metric": "a", "timestamp": 1, "value": 1e999}'])
def test_garbage_never_raises(format_: str, lines: list[str]) -> None:
    for one in read(format_, lines, NOW):
        assert isinstance(one, Datum | Refused)


NAMES = st.from_regex(r"[a-z]{1,5}(\.[a-zA-Z0-9_,\" -]{1,8}){0,2}(;[a-z]{1,4}=[a-z,\" =]{1,6})?", fullmatch=True)


@given(NAMES, st.integers(0, 2**32 - 1), st.floats(allow_nan=False))
def test_csv_as_we_write_it_is_read_back(metric: str, timestamp: int, value: float) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([metric, timestamp, repr(value)])
    found = points("csv", out.getvalue())
    assert [(stamp, number) for _, stamp, number in found] == [(timestamp, value)]

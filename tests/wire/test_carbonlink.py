"""Questions and answers of CarbonLink as bytes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import WireError
from carbonpy.wire import carbonlink
from carbonpy.wire.carbonlink import (
    BulkQuery,
    CacheQuery,
    GetMetadata,
    SetMetadata,
    Unknown,
    decode_request,
)

PYTHON2 = (
    "286470310a53276d6574726963270a70320a5327612e62270a70330a73532774797065270a70340a532763616368652d7175657279270a7035"
    "0a732e",
    "7d71012855066d657472696371025503612e6271035504747970657104550b63616368652d71756572797105752e",
    "80027d71012855066d657472696371025503612e6271035504747970657104550b63616368652d71756572797105752e",
)


@given(st.sampled_from(range(6)), st.text(max_size=100), st.lists(st.text(max_size=20), max_size=20))
def test_each_request_is_read_in_every_protocol(protocol, metric, metrics):
    def read(request):
        return decode_request(pickle.dumps(request, protocol))

    assert read({"type": "cache-query", "metric": metric}) == CacheQuery(metric)
    assert read({"type": "cache-query-bulk", "metrics": metrics}) == BulkQuery(tuple(metrics))
    assert read({"metric": metric, "type": "get-metadata", "key": "k"}) == GetMetadata(metric, "k")
    assert read({"type": "set-metadata", "metric": metric, "key": "k", "value": 1}) == SetMetadata(metric, "k", 1)
    assert read({"type": metric + "!", "metric": 1}) == Unknown(metric + "!")


@pytest.mark.parametrize("written", PYTHON2)
def test_requests_written_by_python_2_are_read(written):
    assert decode_request(bytes.fromhex(written)) == CacheQuery("a.b")


def test_keys_and_names_may_be_bytes():
    request = {b"type": b"set-metadata", b"metric": "é".encode(), b"key": b"aggregationMethod", b"value": b"max"}
    assert decode_request(pickle.dumps(request, 4)) == SetMetadata("é", "aggregationMethod", "max")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ([], "a CarbonLink request is a dict, not a list"),
        ({}, "has no 'type'"),
        ({"type": "cache-query"}, "has no 'metric'"),
        ({"type": "cache-query", "metric": 1}, "metric of a CarbonLink request is text, not a int"),
        ({"type": "cache-query", "metric": b"\xff"}, "not UTF-8"),
        ({"type": "cache-query", "metric": "\ud800"}, "lone surrogate"),
        ({"type": "cache-query-bulk", "metrics": "a.b"}, "'metrics' of a CarbonLink request is a list"),
        ({"type": "cache-query-bulk", "metrics": ["a", None]}, "not a NoneType"),
        ({"type": "get-metadata", "metric": "a"}, "has no 'key'"),
        ({"type": "set-metadata", "metric": "a", "key": "b"}, "has no 'value'"),
        ({"type": ["x"]}, "type of a CarbonLink request is text"),
        ({1: 2, "type": "cache-query"}, "a key of a CarbonLink request is text"),
        (OSError("x"), "would run code"),
    ],
)
def test_a_request_that_makes_no_sense_says_what_is_wrong(request_, says):
    with pytest.raises(WireError, match=says):
        decode_request(pickle.dumps(request_, 4))


@given(st.binary(max_size=100))
def test_garbage_raises_only_wire_errors(data):
    try:
        decode_request(data)
    except WireError as error:
        assert str(error)


def test_answers_are_byte_for_byte_what_carbon_writes():
    pairs = [(1700000000, 1.5), (1700000060, float("inf"))]
    for got, meant in [
        (carbonlink.encode_datapoints(pairs), {"datapoints": pairs}),
        (carbonlink.encode_datapoints([]), {"datapoints": []}),
        (carbonlink.encode_bulk({"a": pairs, "é": []}), {"datapointsByMetric": {"a": pairs, "é": []}}),
        (carbonlink.encode_metadata("average"), {"value": "average"}),
        (carbonlink.encode_metadata_set("average", "max"), {"old_value": "average", "new_value": "max"}),
        (carbonlink.encode_error("no"), {"error": "no"}),
        (carbonlink.encode_unknown(Unknown("x")), {"error": 'Invalid request type "x"'}),
    ]:
        assert got == pickle.dumps(meant, protocol=2)


def test_a_long_unknown_type_is_not_echoed_in_full():
    assert len(carbonlink.encode_unknown(decode_request(pickle.dumps({"type": "x" * 100_000}, 2)))) < 600

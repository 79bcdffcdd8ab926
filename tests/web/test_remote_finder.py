"""What graphite-web's remote finder and reader send to a server of its cluster, and what they read of the answers."""

import json
import pickle
import pickletools

import msgpack
import pytest
from support.asking import Asked

NOW = 1_700_000_040


@pytest.fixture
def asked(tmp_path):
    asked = Asked(tmp_path)
    asked.fill({"a.b": {NOW - 60: 1.5, NOW: 2.0}, "a.c": {NOW: 3.0}, "disk;dc=eu": {NOW: 4.0}})
    yield asked
    asked.catalog.close()


def plain(data):
    """A pickle that needs no class at all, whatever unpickler reads it."""
    assert {op.name for op, _, _ in pickletools.genops(data)} & {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"} == set()
    assert data[:2] == b"\x80\x02"
    return pickle.loads(data)


def multipart(**fields):
    """The body that urllib3 makes of fields, and its type."""
    parts = [
        f'--b0\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, values in fields.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return {"Content-Type": "multipart/form-data; boundary=b0"}, ("".join(parts) + "--b0--\r\n").encode()


def test_find_as_a_pickle(asked):
    answer = asked.get("/metrics/find/", local="1", format="pickle", query="a.*", **{"from": NOW - 3601, "until": NOW})
    assert (answer.status, answer.content_type) == (200, "application/pickle")
    assert plain(answer.body) == [
        {"path": "a.b", "is_leaf": True, "intervals": [[0.0, float(NOW)]]},
        {"path": "a.c", "is_leaf": True, "intervals": [[0.0, float(NOW)]]},
    ]
    branch = plain(asked.get("/metrics/find/", local="1", format="pickle", query="*").body)
    assert {"path": "a", "is_leaf": False} in branch
    nothing = asked.get("/metrics/find/", local="1", format="pickle", query="no.*")
    assert (nothing.status, plain(nothing.body)) == (200, [])


def test_render_as_a_pickle_names_its_targets_exactly(asked):
    targets = ["a.*", "a.b", "seriesByTag('dc=eu')", 'seriesByTag( "dc=eu" )']
    parameters = {"format": "pickle", "local": "1", "noCache": "1", "from": NOW - 120, "until": NOW, "now": NOW}
    answer = asked.get("/render/", target=targets, **parameters)
    series = plain(answer.body)
    assert {one["pathExpression"] for one in series} == set(targets)
    assert [(one["name"], one["pathExpression"]) for one in series][:3] == [
        ("a.b", "a.*"),
        ("a.c", "a.*"),
        ("a.b", "a.b"),
    ]
    first = series[0]
    assert (first["start"], first["end"], first["step"], first["values"]) == (NOW - 60, NOW + 60, 60, [1.5, 2.0])
    nothing = asked.get("/render/", target="no.such", **parameters)
    assert (nothing.status, plain(nothing.body)) == (200, [])


def test_a_multipart_post_is_the_same(asked):
    fields = {"format": "pickle", "local": "1", "noCache": "1", "from": str(NOW - 120), "until": str(NOW)}
    headers, body = multipart(target=["a.b", "a.c"], **fields)
    answer = asked.request("POST", "/render/", headers, body)
    assert [one["name"] for one in plain(answer.body)] == ["a.b", "a.c"]
    headers, body = multipart(format="pickle", query="a.*", local="1")
    assert len(plain(asked.request("POST", "/metrics/find/", headers, body).body)) == 2


def test_more_than_a_thousand_targets_are_fine(asked):
    headers, body = multipart(target=["a.b"] * 1_200, format="pickle", **{"from": "-2min"})
    assert len(plain(asked.request("POST", "/render/", headers, body).body)) == 1_200


def test_msgpack_is_read_by_the_real_thing(asked):
    answer = asked.get("/render/", target="a.*", format="msgpack", local="1", **{"from": NOW - 120, "until": NOW})
    assert answer.content_type == "application/x-msgpack"
    series = msgpack.unpackb(answer.body)
    assert [(one["name"], one["values"]) for one in series] == [("a.b", [1.5, 2.0]), ("a.c", [None, 3.0])]
    nodes = msgpack.unpackb(asked.get("/metrics/find/", query="a.b", format="msgpack", local="1").body)
    assert nodes == [{"path": "a.b", "is_leaf": True, "intervals": [[0.0, float(NOW)]]}]


def test_the_index_and_the_tags_are_plain_arrays(asked):
    assert json.loads(asked.get("/metrics/index.json", local="1").text) == ["a.b", "a.c", "disk;dc=eu"]
    assert asked.get("/tags/autoComplete/tags", tagPrefix="", limit="100", local="1", expr="name=disk").json == ["dc"]
    values = asked.get("/tags/autoComplete/values", tag="dc", valuePrefix="e", limit="100", local="1")
    assert values.json == ["eu"]

"""Groups by nodes, wildcards and tags, with any callback; targets by node; map and reduce."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_series import ask, series, values
from support.targets import evaluate

from carbonpy.errors import QueryError

SERVERS = [
    series("s.a.cpu", [1, None]),
    series("s.b.cpu", [2, 5]),
    series("s.a.mem", [3, 7]),
    series("t.b.mem", [4, None]),
]


def named(results):
    return [(one.name, values(one)) for one in results]


def tagged(name, row, **tags):
    full = name + "".join(f";{tag}={value}" for tag, value in sorted(tags.items()))
    return series(full, row, tags={"name": name, **tags})


def test_a_group_is_all_lists_one_after_the_other():
    assert [one.name for one in ask("group(x,y,x)", x=SERVERS[:1], y=SERVERS[2:])] == [
        "s.a.cpu",
        "s.a.mem",
        "t.b.mem",
        "s.a.cpu",
    ]
    assert ask("group()") == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd"), st.integers(-9, 9)), max_size=8))
def test_groups_come_in_the_order_of_their_first_series(rows):
    many = [series(f"x.{one}.{two}", [value]) for one, two, value in rows]
    expected: dict[str, float] = {}
    for one, two, value in rows:
        expected[f"{two}.{one}"] = expected.get(f"{two}.{one}", 0) + value
    assert named(ask("groupByNodes(x,'sum',2,1)", x=many)) == [(key, [total]) for key, total in expected.items()]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("sumSeriesWithWildcards(x,1)", [("s.cpu", [3, 5]), ("s.mem", [3, 7]), ("t.mem", [4, None])]),
        ("averageSeriesWithWildcards(x,0,1)", [("cpu", [1.5, 5]), ("mem", [3.5, 7])]),
        ("multiplySeriesWithWildcards(x,0,1)", [("cpu", [2, None]), ("mem", [12, None])]),
        ("aggregateWithWildcards(x,'max',0,1,2)", [("", [4, 7])]),
        ("aggregateWithWildcards(x,'last')", [(one.name, values(one)) for one in SERVERS]),
        ("sumSeriesWithWildcards(x,-1,9)", [(one.name, values(one)) for one in SERVERS]),
    ],
)
def test_wildcards_take_nodes_out_of_names(target, expected):
    assert named(ask(target, x=SERVERS)) == expected


def test_wildcards_see_function_text_but_groups_do_not():
    assert named(ask("sumSeriesWithWildcards(absolute(x),2)", x=SERVERS[:1])) == [("absolute(s.a", [1, None])]
    assert named(ask("groupByNode(absolute(x),0)", x=SERVERS[:1])) == [("s", [1, None])]


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        ("sum", [3, 5]),
        ("avg", [1.5, 5]),
        ("p100", [2, 5]),
        ("multiplySeries", [2, None]),
        ("countSeries", [2, 2]),
        ("count", [2, 1]),
        ("powSeries", [1, None]),
        ("absolute", [1, None]),
        ("asPercent", [pytest.approx(100 / 3), None]),
    ],
)
def test_any_function_is_a_callback_and_its_first_series_counts(callback, expected):
    (result,) = ask(f"groupByNode(x,2,'{callback}')", x=SERVERS[:2])
    assert (result.name, values(result)) == ("cpu", expected)


def test_the_path_of_a_group_is_the_callback_s():
    for callback, path in {"avg": "averageSeries(x)", "total": "totalSeries(x)", "multiplySeries": "s.a.cpu"}.items():
        (result,) = ask(f"groupByNode(x,0,'{callback}')", x=SERVERS[:1])
        assert (result.name, result.path_expression) == ("s", "x" if callback == "multiplySeries" else path)


def test_a_group_of_which_a_callback_makes_nothing_is_left_out():
    assert ask("groupByNode(x,0,'removeEmptySeries')", x=[series("a", [None])]) == []


@pytest.mark.parametrize("callback", ["bogus", "movingAverage", "mapSeries", "scale", ""])
def test_what_cannot_be_called_back_is_refused(callback):
    for call in (f"groupByNode(x,0,'{callback}')", f"groupByTags(x,'{callback}','name')"):
        with pytest.raises(QueryError):
            ask(call, x=SERVERS)


def test_tags_are_groups_too():
    many = [tagged("cpu", [1], dc="eu", os="bsd"), tagged("cpu", [2], dc="us", os="bsd"), tagged("cpu", [3], dc="eu")]
    assert named(ask("groupByNode(x,'dc','sum')", x=many)) == [("eu", [4]), ("us", [2])]
    results = ask("groupByTags(x,'sum','os','dc')", x=many)
    assert named(results) == [("cpu;dc=eu;os=bsd", [1]), ("cpu;dc=us;os=bsd", [2]), ("cpu;dc=eu;os=", [3])]
    assert [dict(one.tags) for one in results] == [
        {"name": "cpu", "dc": "eu", "os": "bsd"},
        {"name": "cpu", "dc": "us", "os": "bsd"},
        {"name": "cpu", "dc": "eu"},
    ]
    assert results[0].path_expression == "cpu;dc=eu;os=bsd"


def test_tagged_groups_are_called_by_the_shared_name_or_the_callback():
    many = [tagged("cpu", [1], dc="eu"), tagged("mem", [2], dc="eu")]
    assert named(ask("groupByTags(x,'sum','dc')", x=many)) == [("sum;dc=eu", [3])]
    assert named(ask("groupByTags(x,'sum','dc','name')", x=many)) == [("cpu;dc=eu", [1]), ("mem;dc=eu", [2])]
    assert named(ask("groupByTags(x,'max','dc')", x=many[:1])) == [("cpu;dc=eu", [1])]
    with pytest.raises(QueryError, match="tags is missing"):
        ask("groupByTags(x,'sum')", x=many)
    assert ask("groupByTags(nosuch,'sum','dc')") == []


def test_a_target_is_evaluated_for_every_prefix():
    results = evaluate("applyByNode(a.*.x,1,'sumSeries(%.x,%.x)','%.twice')")
    assert [(one.name, one.path_expression) for one in results] == [("a.h1.twice", "a.h1"), ("a.h2.twice", "a.h2")]
    assert values(results[0])[0] == 34
    assert [one.name for one in evaluate("applyByNode(a.*.x,-2,'%.x')")] == ["a.h1.x", "a.h2.x"]
    assert [one.name for one in evaluate("applyByNode(a.*.x,-1,'%')")] == ["a.h1.x", "a.h2.x"]


def test_results_by_node_keep_their_own_grid():
    (result,) = evaluate("applyByNode(b.h2.x,0,'%.h1.x')")
    assert (result.step, result.end - result.start, len(result)) == (10, 600, 60)


@pytest.mark.parametrize("node", ["3", "-4", "9007199254740992"])
def test_a_node_that_a_name_has_not_is_refused(node):
    with pytest.raises(QueryError, match=r"a\.h1\.x has no node"):
        evaluate(f"applyByNode(a.h1.x,{node},'%')")


def test_a_template_that_is_no_target_is_refused():
    with pytest.raises(QueryError):
        evaluate("applyByNode(a.h1.x,0,'sum(')")
    with pytest.raises(QueryError):
        evaluate("applyByNode(a.h1.x,0,\"applyByNode(%.h1.x,9,'%')\")")


def test_map_makes_lists_and_reduce_calls_a_function_with_one_of_each():
    disks = [series("d.a.used", [1]), series("d.b.used", [5]), series("d.a.all", [4]), series("d.c.all", [6])]
    results = ask("reduceSeries(mapSeries(x,1),'asPercent',2,'used','all')", x=disks)
    assert named(results) == [("d.a.reduce.asPercent", [25])]
    assert results[0].path_expression == "d.a.reduce.asPercent"
    assert named(ask("reduce(map(x,0),'diffSeries',-1,'all','used')", x=disks)) == [("d.a.reduce.diffSeries", [3])]
    assert ask("reduceSeries(mapSeries(x,1),'sum',9,'used')", x=disks) == []
    assert named(ask("reduceSeries(x,'sum',2,'used')", x=disks[:1])) == [("d.a.reduce.sum", [1])]


def test_a_map_alone_is_no_answer():
    with pytest.raises(QueryError, match="reduceSeries"):
        ask("mapSeries(x,0)", x=SERVERS)
    with pytest.raises(QueryError):
        ask("sumSeries(mapSeries(x,0))", x=SERVERS)


def test_callbacks_know_the_x_files_factor():
    assert values(ask("groupByNode(x,2,'sum')", xff=1.0, x=SERVERS[:2])[0]) == [3, None]

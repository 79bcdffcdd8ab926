"""The questions: targets over all functions and argument forms, time strings, globs, and every endpoint.

The law: a question is (name, path, parameters) and asks the same of both sides; nothing in it depends on the
clock.  Targets are made from a table of arguments by the type that a parameter declares, so that a function
that is added is asked about too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from comparelib.tree import NOW, T

#: Functions that no two servers can answer alike: chance, the wall clock, the reader's own database.
UNCOMPARED = frozenset({"randomWalk", "randomWalkFunction", "events"})
#: Parameter type -> arguments to try, the most ordinary first.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "aggFunc": ("'sum'", "'avg'", "'max'", "'median'", "'last'", "'stddev'"),
    "aggOrSeriesFunc": ("'sum'", "'averageSeries'", "'maxSeries'"),
    "any": ("100", "a.h1.x"),
    "boolean": ("true", "false"),
    "date": (f"'{T - 120}'", f"'{T + 60}'"),
    "float": ("2", "0.5", "25", "-1"),
    "integer": ("2", "1", "5"),
    "intOrInf": ("2", "1"),
    "intOrInterval": ("3", "'3min'", "'5min'"),
    "interval": ("'5min'", "'2min'", "'1h'"),
    "node": ("1", "0"),
    "nodeOrTag": ("1", "0", "'name'"),
    "string": ("'abc'",),
    "tag": ("'name'",),
    "seriesList": ("a.h1.x", "neg.n"),
    "series": ("a.h1.x",),
}
#: Lists of series that every function is tried on.
LISTS = ("a.*.x", "a.h1.x", "gap.g", "cnt.c", "neg.n", "scale(a.*.x,0.1)", "nosuch.metric", "srv.*.cpu", "void.empty")
#: Functions whose arguments have a meaning that a type does not tell: whole targets.
BY_HAND: Mapping[str, tuple[str, ...]] = {
    "applyByNode": ("applyByNode(a.*.x,1,'sumSeries(%.x)','%.new')", "applyByNode(srv.*.cpu,1,'maxSeries(%.*)')"),
    "reduceSeries": ("reduceSeries(mapSeries(a.*.x,0),'diffSeries',1,'h1','h2')",),
    "reduce": ("reduce(map(srv.h*.{cpu,peak},1),'asPercent',2,'cpu','peak')",),
    "mapSeries": (),
    "map": (),
    "aliasQuery": ("aliasQuery(a.h1.x,'h1','h2','value %d')",),
    "aliasSub": ("aliasSub(a.*.x,'h(\\d)','host\\1')", 'aliasSub(a.*.x, "(^.*$)", "\\1 A")', "aliasSub(a.*.x,'h','H')"),
    "useSeriesAbove": ("useSeriesAbove(a.h1.x,20,'h1','h2')", "useSeriesAbove(srv.*.cpu,60,'cpu','peak')"),
    "grep": ("grep(a.*.x,'h1')", "grep(a.*.x,'h[12]')", "grep(a.*.x,'zz')"),
    "exclude": ("exclude(a.*.x,'h1')", "exclude(a.*.x,'zz')"),
    "filterSeries": tuple(
        f"filterSeries({series},'{how}','{sign}',{limit})"
        for series in ("a.*.x", "srv.*.cpu", "gap.g")
        for how, limit in (("max", 25), ("average", 50))
        for sign in ("=", "!=", ">", "<", ">=", "<=")
    ),
    "smartSummarize": (
        "smartSummarize(a.h1.x,'5min')",
        "smartSummarize(a.*.x,'2min','avg')",
        "smartSummarize(a.h1.x,'5min','sum','hours')",
        "smartSummarize(srv.h1.cpu,'10min','max','minutes')",
        "smartSummarize(srv.*.cpu,'1h','last','days')",
    ),
    "seriesByTag": ("seriesByTag('dc=east')", "seriesByTag('name=disk.used','rack!=r1')", "seriesByTag('dc=~e.*')"),
    "groupByTags": ("groupByTags(seriesByTag('name=disk.used'),'sum','dc')", "groupByTags(a.*.x,'sum','name')"),
    "aliasByTags": ("aliasByTags(seriesByTag('name=disk.used'),'dc','rack')", "aliasByTags(a.*.x,'name')"),
    "legendValue": (
        "legendValue(a.*.x,'max')",
        "legendValue(a.*.x,'avg','last')",
        "legendValue(srv.*.bytes,'total','si')",
    ),
    "cactiStyle": ("cactiStyle(a.*.x)", "cactiStyle(srv.*.bytes,'si')", "cactiStyle(srv.*.bytes,'binary','b')"),
    "consolidateBy": tuple(
        f"consolidateBy(srv.*.cpu,'{how}')" for how in ("sum", "max", "min", "first", "last", "avg_zero")
    ),
    "verticalLine": (f"verticalLine('{T}','here','red')", f"verticalLine('{T + 60}')"),
    "threshold": ("threshold(12.5)", "threshold(12,'limit')", "threshold(12,'limit','red')"),
    "constantLine": ("constantLine(5)", "constantLine(1.25)"),
    "sinFunction": ("sinFunction('w',2)", "sin('w',3,30)"),
    "timeFunction": ("timeFunction('t')", "time('t',30)"),
    "identity": ("identity('i')",),
    "integralByInterval": ("integralByInterval(a.h1.x,'2min')", "integralByInterval(gap.g,'5min')"),
    "color": ("color(a.h1.x,'red')",),
    "areaBetween": ("areaBetween(a.*.x)",),
    "holtWintersForecast": ("holtWintersForecast(srv.h1.cpu,'1d','6h')", "holtWintersForecast(srv.*.cpu,'6h','1h')"),
    "holtWintersConfidenceBands": ("holtWintersConfidenceBands(srv.h1.cpu,3,'1d','6h')",),
    "holtWintersConfidenceArea": ("holtWintersConfidenceArea(srv.h1.cpu,3,'1d','6h')",),
    "holtWintersAberration": ("holtWintersAberration(srv.h1.cpu,1,'1d','6h')",),
    "sortByName": ("sortByName(srv.*.*)", "sortByName(srv.*.*,true)", "sortByName(srv.*.*,true,true)"),
    "stacked": ("stacked(a.*.x)", "stacked(a.*.x,'s')"),
    "groupByNodes": (
        "groupByNodes(srv.*.*,'sum',1)",
        "groupByNodes(srv.*.*,'avg',2,0)",
        "groupByNodes(srv.*.*,'rangeOf',-1)",
    ),
    "weightedAverage": ("weightedAverage(srv.*.cpu,srv.*.peak,1)", "weightedAverage(a.*.x,a.*.x,0)"),
    "asPercent": (
        "asPercent(a.*.x)",
        "asPercent(a.*.x,200)",
        "asPercent(a.*.x,a.h1.x)",
        "asPercent(srv.*.cpu,srv.*.peak)",
        "asPercent(srv.*.cpu,srv.*.peak,1)",
        "asPercent(srv.*.*,None,1)",
        "asPercent(srv.*.cpu,sumSeries(srv.*.cpu))",
    ),
}


class Question(NamedTuple):
    """One request.  kind: what is compared (series, json, text, pickle ...).  parameters: name -> value or values.

    method: GET has the parameters in the path, POST as a form, and JSON is a POST whose body they are.
    """

    name: str
    path: str
    parameters: dict[str, Any]
    kind: str = "json"
    method: str = "GET"


def targets(functions: Mapping[str, Any]) -> Iterator[str]:
    """Whole targets for every function that `functions` (an answer of /functions) describes."""
    for name in sorted(functions):
        if name in UNCOMPARED:
            continue
        if name in BY_HAND:
            yield from BY_HAND[name]
            continue
        yield from _calls(name, functions[name]["params"])


def _calls(name: str, params: list[dict[str, Any]]) -> Iterator[str]:
    required = [param for param in params if param.get("required")]
    optional = [param for param in params if not param.get("required")]
    if not params or params[0]["type"] not in ("seriesList", "seriesLists"):
        lists: tuple[str, ...] = ("",)
    else:
        lists = LISTS
        required = [param for param in required if param is not params[0]]
        optional = [param for param in optional if param is not params[0]]
    base = [_some(param)[0] for param in required]
    for series in lists:
        yield f"{name}({','.join(filter(None, [series, *base]))})"
    for position, param in enumerate(required):
        for other in _some(param)[1:]:
            changed = [*base[:position], other, *base[position + 1 :]]
            yield f"{name}({','.join(filter(None, [lists[0], *changed]))})"
    given = list(base)
    for param in optional:
        for value in _some(param):
            yield f"{name}({','.join(filter(None, [lists[0], *given, value]))})"
        given.append(_some(param)[0])


def _some(param: Mapping[str, Any]) -> tuple[str, ...]:
    options = param.get("options")
    if options and param["type"] not in ("aggFunc", "aggOrSeriesFunc"):
        return tuple(json.dumps(value) if isinstance(value, str) else str(value).lower() for value in options)
    return ARGUMENTS[param["type"]]


#: Beyond what the tables make: nesting, pipes, grids of different steps.
MORE = (
    "a.h1.x|scale(2)|alias('x')",
    "sumSeries(a.*.x,b.h1.x)",
    "sumSeries(srv.{h1,h2}.*)",
    "alias(sumSeries(srv.*.cpu),'all')",
    "aliasByNode(scale(a.*.x,2),1)",
    "aliasByNode(sumSeries(a.*.x),1)",
    "aliasByMetric(offset(srv.*.cpu,1))",
    "movingAverage(sumSeries(srv.*.cpu),'10min')",
    "movingAverage(movingAverage(a.h1.x,2),2)",
    "summarize(nonNegativeDerivative(cnt.c),'5min','max')",
    "timeShift(movingSum(a.h1.x,3),'2min')",
    "highestAverage(srv.*.cpu,2)",
    "limit(sortByMaxima(srv.*.*),5)",
    "perSecond(cnt.c)",
    "a.{h1,h2}.x",
    "srv.h[1-3].cpu",
    "template(sumSeries($where.*.x),where='a')",
    "template(a.$1.x,'h1')",
    "divideSeries(srv.*.cpu,srv.h1.peak)",
    "keepLastValue(gap.g)",
    "keepLastValue(gap.g,2)",
    "interpolate(gap.g,1)",
    "group(a.h1.x,a.h1.x,neg.n)",
    "fallbackSeries(nosuch,constantLine(3))",
    "removeEmptySeries(void.*)",
    "sumSeries(setXFilesFactor(a.*.x,0.9))",
    "percentileOfSeries(srv.*.cpu,90,true)",
    "groupByNode(srv.*.*,1,'sumSeries')",
    "unique(a.*.x,a.h1.x)",
    "sumSeries(seriesByTag('name=disk.used'))",
    "scale(seriesByTag('dc=east'),2)",
    "nosuch.*",
)
#: (from, until) and further parameters that a sample of the targets is asked with.
WINDOWS: tuple[dict[str, Any], ...] = (
    {"from": T - 300, "until": T + 300},
    {"from": T - 7200, "until": T + 200},
    {"from": T - 2 * 86400, "until": T - 3600},
    {"from": T - 3600, "until": T + 300, "maxDataPoints": 7},
    {"from": T - 3000, "until": T + 300, "maxDataPoints": 20, "xFilesFactor": 0.6},
    {"from": T - 600, "until": T + 300, "noNullPoints": 1},
)


def _lines(name: str) -> list[str]:
    return (Path(__file__).resolve().parent / name).read_text().split()


def render(name: str, target: str, window: Mapping[str, Any]) -> Question:
    """A /render of one target."""
    return Question(name, "/render", {"target": target, "format": "json", "now": NOW, **window}, "series")


def questions(functions: Mapping[str, Any], recorded: Path) -> list[Question]:
    """All of them.  functions: as /functions describes them.  recorded: a file with one further target per line."""
    every = dict.fromkeys([*targets(functions), *MORE])
    every.update(
        dict.fromkeys(line.split("\t")[0] for line in recorded.read_text().splitlines() if line[:1] not in "#")
    )
    asked = [render(f"target {target}", target, WINDOWS[0]) for target in every]
    for number, target in enumerate(every):
        window = WINDOWS[1 + number % (len(WINDOWS) - 1)]
        asked.append(render(f"target {target} {window}", target, window))
    for text in _lines("times.txt"):
        asked.append(
            Question(
                f"time {text}",
                "/render",
                {"target": "constantLine(1)", "format": "json", "now": NOW, "from": text, "until": NOW + 86400},
                "series",
            )
        )
        asked.append(
            Question(
                f"time {text} New York",
                "/render",
                {
                    "target": "constantLine(1)",
                    "format": "json",
                    "now": NOW,
                    "from": text,
                    "until": NOW + 86400,
                    "tz": "America/New_York",
                },
                "series",
            )
        )
    for pattern in _lines("globs.txt"):
        asked.append(Question(f"find {pattern}", "/metrics/find", {"query": pattern, "format": "json"}, "nodes"))
    asked += _endpoints()
    return asked


def _endpoints() -> list[Question]:
    window = {"from": T - 300, "until": T + 300, "now": NOW}
    asked = []
    for pattern in ("*", "srv.*", "a.h1", "srv.h1.*", "nosuch"):
        for form in ("treejson", "completer", "nodelist"):
            asked.append(
                Question(
                    f"find {form} {pattern}",
                    "/metrics/find",
                    {"query": pattern, "format": form, "position": 1 if form == "nodelist" else -1},
                )
            )
        asked.append(Question(f"find wildcards {pattern}", "/metrics/find", {"query": pattern, "wildcards": 1}))
        asked.append(Question(f"find leaves {pattern}", "/metrics/find", {"query": pattern, "leavesOnly": 1}))
        asked.append(Question(f"expand {pattern}", "/metrics/expand", {"query": pattern}))
        asked.append(
            Question(
                f"expand by expression {pattern}", "/metrics/expand", {"query": [pattern, "a.*"], "groupByExpr": 1}
            )
        )
    asked.append(Question("find no query", "/metrics/find", {}, "status"))
    asked.append(Question("find empty query", "/metrics/find", {"query": ""}, "status"))
    asked.append(Question("find bad format", "/metrics/find", {"query": "*", "format": "zzz"}, "status"))
    asked.append(Question("find bad number", "/metrics/find", {"query": "*", "leavesOnly": "x"}, "status"))
    asked.append(Question("expand nothing", "/metrics/expand", {}))
    asked.append(Question("index", "/metrics/index.json", {}, "index"))
    asked.append(Question("version", "/version", {}, "status"))
    for name in ("scale", "nosuch"):
        asked.append(Question(f"function {name}", f"/functions/{name}", {}, "status"))
    for form in ("csv", "raw", "dygraph", "rickshaw"):
        for target in ("a.h1.x", "a.*.x", "gap.g", "nosuch"):
            asked.append(
                Question(
                    f"{form} {target}",
                    "/render",
                    {"target": target, "format": form, **window},
                    "text" if form in ("csv", "raw") else "json",
                )
            )
    asked.append(
        Question(
            "csv in New York",
            "/render",
            {"target": "a.h1.x", "format": "csv", "tz": "America/New_York", **window},
            "text",
        )
    )
    asked.append(Question("jsonp", "/render", {"target": "a.h1.x", "format": "json", "jsonp": "cb", **window}, "text"))
    asked.append(
        Question(
            "several targets",
            "/render",
            {"target": ["a.h1.x", "neg.n", "nosuch"], "format": "json", **window},
            "series",
        )
    )
    asked.append(
        Question(
            "variables",
            "/render",
            {"target": "template(a.$w.x)", "template[w]": "h2", "format": "json", **window},
            "series",
        )
    )
    asked.append(Question("no target", "/render", {"format": "json"}))
    asked.append(
        Question(
            "swapped times",
            "/render",
            {"target": "a.h1.x", "format": "json", "now": NOW, "from": T + 300, "until": T - 300},
            "series",
        )
    )
    for name, value in (
        ("from", "zzz"),
        ("until", "zzz"),
        ("xFilesFactor", "x"),
        ("cacheTimeout", "x"),
        ("graphType", "foo"),
    ):
        asked.append(
            Question(f"bad {name}", "/render", {"target": "a.h1.x", "format": "json", **window, name: value}, "status")
        )
    asked.append(
        Question("empty range", "/render", {"target": "a.h1.x", "format": "json", "from": T, "until": T}, "status")
    )
    asked.append(
        Question("unknown function", "/render", {"target": "nosuch(a.h1.x)", "format": "json", **window}, "status")
    )
    for parameters in ({}, {"filter": "d"}, {"limit": 1}):
        asked.append(Question(f"tags {parameters}", "/tags", parameters, "tags"))
    for tag in ("dc", "rack", "name", "nosuch"):
        asked.append(Question(f"tag {tag}", f"/tags/{tag}", {}, "tags"))
    for expressions in (
        ["dc=east"],
        ["dc=~e"],
        ["name=disk.used", "rack!=r1"],
        ["dc=west", "rack="],
        ["bogus"],
        ["dc="],
        [],
    ):
        asked.append(Question(f"findSeries {expressions}", "/tags/findSeries", {"expr": expressions}))
    for parameters in (
        {},
        {"tagPrefix": "d"},
        {"expr": ["dc=east"]},
        {"expr": ["dc=east"], "tagPrefix": "r"},
        {"limit": 1},
    ):
        asked.append(Question(f"autoComplete/tags {parameters}", "/tags/autoComplete/tags", parameters))
    for parameters in (
        {"tag": "dc"},
        {"tag": "rack", "expr": ["dc=west"]},
        {"tag": "dc", "valuePrefix": "e"},
        {"tag": "nosuch"},
        {},
    ):
        asked.append(Question(f"autoComplete/values {parameters}", "/tags/autoComplete/values", parameters))
    asked.append(Question("events", "/events/get_data", {"from": "-1d", "until": "now"}))
    return asked + list(_binary()) + _changes()


def _binary() -> Iterator[Question]:
    """Formats that programs read."""
    window = {"from": T - 300, "until": T + 300, "now": NOW}
    for form in ("pickle", "msgpack"):
        for target in ("a.h1.x", "a.*.x", "gap.g", "scale(neg.n,2)", "nosuch"):
            yield Question(f"{form} {target}", "/render", {"target": target, "format": form, **window}, form)
        for pattern in ("*", "a.*", "srv.h1.*", "nosuch"):
            asked = {"query": pattern, "format": form}
            yield Question(f"find {form} {pattern}", "/metrics/find", asked, f"{form} nodes")


def _changes() -> list[Question]:
    """What changes tags and events, and what is there afterwards; asked last, in this order."""
    window = {"from": T - 300, "until": T + 300, "now": NOW}
    found = {"expr": ["name=made.here"]}
    moment = {"from": T - 60, "until": T + 60}
    return [
        Question(
            "render by POST", "/render", {"target": ["a.h1.x", "gap.g"], "format": "json", **window}, "series", "POST"
        ),
        Question("find by POST", "/metrics/find", {"query": "srv.*"}, "json", "POST"),
        Question("tagSeries by GET", "/tags/tagSeries", {"path": "made.here;dc=north"}, "status"),
        Question("tagSeries", "/tags/tagSeries", {"path": "made.here;rack=r9;dc=north"}, method="POST"),
        Question("tagSeries again", "/tags/tagSeries", {"path": "made.here;dc=north;rack=r9"}, method="POST"),
        Question("tagSeries nothing", "/tags/tagSeries", {}, "status", "POST"),
        Question("tagSeries broken", "/tags/tagSeries", {"path": "made.here;dc"}, "status", "POST"),
        Question("findSeries made", "/tags/findSeries", found),
        Question(
            "tagMultiSeries",
            "/tags/tagMultiSeries",
            {"path": ["made.here;dc=south;b=1", "made.here;a=1;dc=south"]},
            method="POST",
        ),
        Question("tagMultiSeries nothing", "/tags/tagMultiSeries", {}, "status", "POST"),
        Question("findSeries made more", "/tags/findSeries", found),
        Question("tag made", "/tags/dc", {}, "tags"),
        Question("delSeries by GET", "/tags/delSeries", {"path": "made.here;dc=north;rack=r9"}, "status"),
        Question("delSeries", "/tags/delSeries", {"path": ["made.here;rack=r9;dc=north"]}, method="POST"),
        Question("delSeries unknown", "/tags/delSeries", {"path": ["made.never;dc=x"]}, method="POST"),
        Question("delSeries nothing", "/tags/delSeries", {}, "status", "POST"),
        Question("findSeries deleted", "/tags/findSeries", found),
        Question(
            "event", "/events/", {"what": "deploy", "tags": "web  blue", "when": T, "data": "v1 <b>"}, "status", "JSON"
        ),
        Question(
            "event with a list of tags", "/events/", {"what": "stop", "tags": ["web"], "when": T + 10}, "status", "JSON"
        ),
        Question("event without tags", "/events/", {"what": "alone", "when": T + 20}, "status", "JSON"),
        Question("event with wrong tags", "/events/", {"what": "x", "tags": 5, "when": T}, "status", "JSON"),
        Question("event without what", "/events/", {"tags": "web", "when": T}, "status", "JSON"),
        Question("events made", "/events/get_data", moment, "events"),
        *(
            Question(f"events made {tags} {sets}", "/events/get_data", {**moment, "tags": tags, "set": sets}, "events")
            for tags in ("web", "blue", "web blue", "nosuch")
            for sets in ("union", "intersection")
        ),
        Question("events later", "/events/get_data", {"from": T + 5, "until": T + 60}, "events"),
    ]

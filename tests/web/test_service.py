"""Query in, Answer out: what a process that answers queries needs to be sure of."""

import math
import pickle

import numpy as np
import pytest
from support.asking import Asked

from carbonpy.errors import QueryError
from carbonpy.reading.store import Fetched, Info, Node
from carbonpy.retention import Archive
from carbonpy.series.series import Series
from carbonpy.web.answer import Query
from carbonpy.web.limits import Limits
from carbonpy.web.parameters import Parameters
from carbonpy.web.service import Service

NOW = 1_700_000_040


class PlainStore:
    """A store of constant series on a grid of 60 s: {metric: value}."""

    def __init__(self, metrics, partial=(), method="max"):
        self.metrics_ = metrics
        self.partial = list(partial)
        self.method = method
        self.since = []
        self.asked = []

    def fetch_readings(self, readings, now, check):
        self.asked.append(list(readings))
        fetched = Fetched(partial=self.partial)
        for reading in readings:
            path, start, end = reading
            fetched.series[reading] = []
            for metric, value in sorted(self.metrics_.items()):
                if metric == path or path == "*":
                    first = start // 60 * 60 + 60
                    count = (end - first) // 60 + 1
                    values = np.arange(count) + value
                    check(count)
                    fetched.series[reading].append(Series(metric, first, first + 60 * count, 60, values))
                    fetched.infos[metric] = Info(self.method, 0.5, (Archive(60, 1440),))
        return fetched

    def find(self, pattern, leaves_only=False, since=None):
        self.since.append(since)
        return [Node(metric, True) for metric in sorted(self.metrics_)]

    def metrics(self):
        return sorted(self.metrics_)

    def info(self, metrics):
        return {}


def query(path="/render", headers=None, **parameters):
    pairs = [
        (k.rstrip("_"), v)
        for k, values in parameters.items()
        for v in ([values] if isinstance(values, str) else values)
    ]
    return Query(path, Parameters(pairs), headers=headers or {}, now=float(NOW))


def test_queries_and_answers_can_go_to_another_process_and_back():
    asked = query(target=["a", "b"], from_="-5min", headers={"accept": "*/*"})
    again = pickle.loads(pickle.dumps(asked))
    service = Service(PlainStore({"a": 1.0}))
    answer = service.answer(again)
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert service.answer(asked).body == answer.body
    assert (answer.cost.series, answer.cost.points, answer.cost.read_points) == (1, 5, 5)


def test_everything_is_read_at_once():
    store = PlainStore({"a": 1.0, "b": 2.0})
    Service(store).answer(query(target=["sumSeries(a,b)", "timeShift(a,'1h')", "b"], from_="-5min"))
    assert len(store.asked) == 1
    assert {reading[0] for reading in store.asked[0]} == {"a", "b"}


@pytest.mark.parametrize(
    ("limits", "parameters", "words"),
    [
        (Limits(points=9), {"target": "a", "from_": "-10min"}, "more than 9 points to be read"),
        (Limits(series=1), {"target": "*", "from_": "-10min"}, "more than 1 series to be read"),
        (Limits(points=10), {"target": ["a"] * 3, "from_": "-5min"}, "15 points in one answer, of at most 10"),
        (Limits(memory=2**20), {"target": "a", "from_": "-35d"}, "more than 1 MB of memory"),
        (Limits(seconds=0.5), {"target": "scale(a,2)"}, "no answer within 0.5 s"),
        (Limits(targets=2), {"target": ["a"] * 3}, "3 targets in one request"),
    ],
)
def test_each_limit_has_its_sentence(limits, parameters, words):
    ticks = iter(range(1000))
    clock = (lambda: float(next(ticks))) if limits.seconds == 0.5 else (lambda: 0.0)
    answer = Service(PlainStore({"a": 1.0, "b": 2.0}), limits=limits, monotonic=clock).answer(query(**parameters))
    assert answer.status == 400
    assert words in answer.body.decode()


def test_limits_may_be_infinite():
    limits = Limits(series=math.inf, points=math.inf, memory=math.inf)
    assert Service(PlainStore({"a": 1.0}), limits=limits).answer(query(target="a")).status == 200


def test_what_could_not_be_asked_is_said_in_a_header_and_kept_by_nobody():
    service = Service(PlainStore({"a": 1.0}, partial=["store b:80 does not answer\r\nX-Evil: 1"]))
    answer = service.answer(query(target="a"))
    headers = dict(answer.headers)
    assert answer.status == 200
    assert headers["X-Carbonpy-Partial"] == "store b:80 does not answer X-Evil: 1"
    assert (answer.kept, headers["Cache-Control"][:9]) == (0, "max-age=0")
    empty = service.answer(query(target="no", format="carbonapi_v3_pb"))
    assert (empty.status, b"does not answer" in empty.body) == (503, True)


def test_series_may_be_consolidated_as_they_are_stored():
    asked = query(target="a", from_="-10min", maxDataPoints="1", format="json")
    by_average, as_stored = (
        Service(PlainStore({"a": 1.0}), consolidate_as_stored=stored).answer(asked).body for stored in (False, True)
    )
    assert b"[[5.5, " in by_average
    assert b"[[10.0, " in as_stored
    said = query(target="consolidateBy(a,'min')", from_="-10min", maxDataPoints="1", format="json")
    assert b"[[1.0, " in Service(PlainStore({"a": 1.0}), consolidate_as_stored=True).answer(said).body


def test_find_filters_by_time_only_where_that_is_set():
    for by_time, since in ((False, None), (True, NOW - 3600)):
        store = PlainStore({"a": 1.0})
        service = Service(store, find_by_time=by_time)
        for path in ("/metrics/find", "/metrics/expand"):
            service.answer(query(path, query="*", from_="-1h", until="now"))
            service.answer(query(path, query="*"))
        assert store.since == [since, None] * 2


def test_local_queries_are_for_the_local_store():
    service = Service(PlainStore({"far": 1.0, "near": 1.0}), local=PlainStore({"near": 1.0}))
    for path, parameters in (
        ("/metrics/find", {"query": "*"}),
        ("/metrics/index.json", {}),
        ("/render", {"target": "*"}),
    ):
        assert b"far" in service.answer(query(path, **parameters)).body
        assert b"far" not in service.answer(query(path, local="1", **parameters)).body


def test_what_the_client_is_not_told_is_reported():
    reported = []
    store = PlainStore({"a": 1.0})

    def fail(*_):
        raise ValueError("secret")

    store.fetch_readings = fail
    answer = Service(store, report=lambda what, error: reported.append(error)).answer(query(target="a"))
    assert (answer.status, b"secret" in answer.body) == (500, False)
    assert [type(error) for error in reported] == [ValueError]
    store.fetch_readings = lambda *_: (_ for _ in ()).throw(MemoryError())
    full = Service(store).answer(query(target="a"))
    assert (full.status, b"more memory than there is" in full.body) == (400, True)


def test_errors_name_target_and_function():
    answer = Service(PlainStore({"a": 1.0})).answer(query(target="alias(scale(a,'x'),'y')"))
    assert answer.status == 400
    assert b"scale()" in answer.body
    assert b"in the target alias(scale(a,'x'),'y')" in answer.body


def test_work_that_may_take_long_is_begun_only_when_it_is_done():
    store = PlainStore({"a": 1.0})
    service = Service(store, limits=Limits(direct_points=10))
    assert service.begin(query(target="a", from_="-5min")).status == 200
    later = service.begin(query(target="scale(a,2)", from_="-5min"))
    assert len(store.asked) == 1
    assert later().status == 200
    assert service.begin(query(target="a", from_="-1h"))().status == 200
    assert service.begin(query(target="a", from_="nope")).status == 400
    assert service.begin(query("/no/such")).status == 404


def test_what_is_more_work_than_it_seemed_begins_anew_with_a_budget_of_its_own():
    store = PlainStore({"a": 1.0, "b": 2.0})
    service = Service(store, limits=Limits(direct_points=80, points=130))
    both = service.begin(query(target=["a", "b"], from_="-1h"))
    assert len(store.asked) == 1 and callable(both)
    assert both().status == 200 and len(store.asked) == 2


def test_a_query_error_of_the_store_is_a_sentence():
    store = PlainStore({})

    def refuse(*_):
        raise QueryError("write a narrower pattern")

    store.fetch_readings = refuse
    answer = Service(store).answer(query(target="a"))
    assert (answer.status, b"write a narrower pattern" in answer.body) == (400, True)


def test_several_stores_over_http(tmp_path):
    asked = Asked(tmp_path, store=PlainStore({"a": 1.0}, partial=["b is away"]))
    assert asked.get("/render", target="a").headers["x-carbonpy-partial"] == "b is away"
    asked.catalog.close()

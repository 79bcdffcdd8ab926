"""Events in SQLite against a list, by example, and with several threads and processes."""

import sqlite3
import subprocess
import sys
import tempfile
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.errors import CarbonError, QueryError
from carbonpy.events.store import MAX_TAGS, MAX_TEXT, Event, EventStore

TAGS = st.lists(st.sampled_from(["a", "b", "deploy", "é", "a b"]), max_size=4)
EVENTS = st.lists(st.tuples(st.integers(-5, 30), st.text(max_size=3), TAGS, st.text(max_size=3)), max_size=25)
QUESTIONS = st.lists(
    st.tuples(
        st.one_of(TAGS, st.just(["*"]), st.just(["a", "*"])),
        st.one_of(st.none(), st.integers(-5, 30)),
        st.one_of(st.none(), st.integers(-5, 30)),
        st.sampled_from(["intersection", "union"]),
        st.integers(0, 30),
    ),
    max_size=8,
)


@pytest.fixture
def store(tmp_path):
    store = EventStore(f"{tmp_path}/events/events.sqlite")
    yield store
    store.close()


def replaced(text):
    return text.encode("utf-8", "replace").decode()


@given(events=EVENTS, questions=QUESTIONS)
@settings(max_examples=50, deadline=None)
def test_events_are_found_as_in_a_list(events, questions):
    with tempfile.TemporaryDirectory() as directory:
        store = EventStore(f"{directory}/events.sqlite")
        kept = []
        for when, what, tags, data in events:
            id_ = store.add(when, what, tags, data)
            kept.append(Event(id_, when, replaced(what), replaced(data), tuple(dict.fromkeys(tags))))
            assert store.get(id_) == kept[-1]
        assert [event.id for event in kept] == sorted({event.id for event in kept})
        kept.sort(key=lambda event: (event.when, event.id))
        for tags, start, end, how, limit in questions:

            def fits(event, tags=tags, how=how):
                have = [tag == "*" or tag in event.tags for tag in tags]
                return not tags or (all(have) if how == "intersection" else any(have))

            expected = [
                event
                for event in kept
                if (start is None or start <= event.when) and (end is None or event.when <= end) and fits(event)
            ]
            assert store.find(tags, start, end, how, limit) == expected[:limit]
            if how == "intersection" and start is not None and end is not None:
                assert store.moments(tags, start, end) == [event.when for event in expected]
        store.close()


def test_both_ends_of_a_range_belong_to_it(store):
    for when in (10, 20.9, 30):
        store.add(when, "e")
    assert [event.when for event in store.find(start=10, end=20)] == [10, 20]
    assert store.moments(["*"], 20, 30) == [20, 30]
    assert store.moments([], 20, 19) == []


def test_nothing_is_made_before_something_is_added(tmp_path):
    store = EventStore(f"{tmp_path}/none/events.sqlite")
    assert store.find() == []
    assert store.get(1) is None
    assert store.moments(["*"], 0, 10**40) == []
    assert list(tmp_path.iterdir()) == []
    assert store.add(1, "first") == 1


def test_what_a_client_gets_wrong_is_a_query_error(store):
    for when in (1 << 50, float("nan"), float("inf")):
        with pytest.raises(QueryError, match="no moment"):
            store.add(when, "x")
    with pytest.raises(QueryError, match="at most"):
        store.add(1, "x", [f"t{n}" for n in range(MAX_TAGS + 1)])
    with pytest.raises(QueryError, match="at most"):
        store.add(1, "x" * (MAX_TEXT + 1))
    with pytest.raises(QueryError, match="intersection or union"):
        store.find(["a"], set="both")
    assert store.get(10**30) is None
    assert store.get(-1) is None
    odd = store.get(store.add(1, "a\0b\ud800", ["\ud800", "\0"]))
    assert (odd.what, odd.tags) == ("a\0b?", ("?", "\0"))


def test_a_file_of_another_program_and_a_newer_one_are_left_alone(tmp_path):
    other = sqlite3.connect(f"{tmp_path}/other.sqlite")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    with pytest.raises(CarbonError, match="another program"):
        EventStore(f"{tmp_path}/other.sqlite").find()
    store = EventStore(f"{tmp_path}/newer.sqlite")
    store.add(1, "x")
    store.close()
    newer = sqlite3.connect(f"{tmp_path}/newer.sqlite")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(CarbonError, match="newer"):
        EventStore(f"{tmp_path}/newer.sqlite").add(1, "x")
    (tmp_path / "junk.sqlite").write_bytes(b"junk" * 1000)
    with pytest.raises(CarbonError, match="look at the disk"):
        EventStore(f"{tmp_path}/junk.sqlite").add(1, "x")
    store = EventStore(f"{tmp_path}/newer.sqlite")
    store.close()
    with pytest.raises(CarbonError, match="closed"):
        store.find()


def test_threads_and_processes_lose_nothing(store):
    script = (
        "import sys\n"
        "from carbonpy.events.store import EventStore\n"
        "store = EventStore(sys.argv[1])\n"
        "for number in range(40):\n"
        "    store.add(number, 'process', ['p'])\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, store.path]) for _ in range(2)]

    def add():
        for number in range(40):
            store.add(number, "thread", ["t"])

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(30) for process in processes] == [0, 0]
    assert len(store.find(["t"])) == 120
    assert len(store.find(["p"])) == 80
    assert len({event.id for event in store.find(["t", "p"], set="union")}) == 200

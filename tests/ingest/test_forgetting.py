"""A forgotten metric has no id, and a new one when it comes again; its neighbours keep theirs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonpy.ingest.names import FIRST_ID, NameTable

RAWS = st.sampled_from([b"a.b", b"a..b", b".a.b", b"a/b", b"c", b"c.", b"d;x=1;y=2", b"d;y=2;x=1", b"e", b"\x01bad"])


@given(st.lists(st.tuples(st.booleans(), RAWS), max_size=40))
def test_whatever_is_interned_and_forgotten_live_names_have_one_id_each(steps: list[tuple[bool, bytes]]) -> None:
    table = NameTable()
    told: list[tuple[int, bytes]] = []
    table.on_new.append(lambda first, metrics: told.extend(enumerate(metrics, first)))
    live: dict[bytes, int] = {}
    for forgets, raw in steps:
        identity = table.intern(raw)
        if identity < FIRST_ID:
            continue
        metric = table.metrics([identity])[0]
        assert live.setdefault(metric, identity) == identity
        assert told[-1] == (identity, metric) or any(one == (identity, metric) for one in told)
        if forgets:
            table.forget([live.pop(metric)])
            assert table.id_of(metric.decode()) is None
        for name, known in live.items():
            assert table.id_of(name.decode()) == known
            assert table.intern(name) == known
    assert len({identity for identity, _ in told}) == len(told)
    table.judge_again(lambda name: 0)
    for name, known in live.items():
        assert table.id_of(name.decode()) == known

"""What travels between a daemon and the processes that answer its queries arrives as it was sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.daemons.worker_talk import (
    pack_answer,
    pack_peek,
    pack_points,
    pack_query,
    unpack_answer,
    unpack_peek,
    unpack_points,
    unpack_query,
)
from carbonpy.web.answer import Answer, Cost, Query
from carbonpy.web.parameters import Parameters
from carbonpy.writing.parcel import Blob, Parcel, ParcelBuffer

TEXT = st.text(max_size=20)
NAME = st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=20)
POINTS = st.none() | st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(allow_nan=False)), max_size=5)


def arrived(pieces: Sequence[Blob]) -> Parcel:
    """The one parcel that `pieces` make on the other side."""
    (parcel,) = ParcelBuffer().feed(b"".join(pieces))
    return parcel


@given(
    path=TEXT,
    pairs=st.lists(st.tuples(TEXT, TEXT), max_size=8),
    headers=st.dictionaries(TEXT, TEXT, max_size=3),
    body=st.binary(max_size=50),
    now=st.floats(0, 2**33),
)
def test_a_query_arrives_as_it_was_asked(
    path: str, pairs: list[tuple[str, str]], headers: dict[str, str], body: bytes, now: float
) -> None:
    query = Query(path, Parameters(pairs), "POST", headers, body, now)
    parcel = arrived(pack_query(query, named=True))
    found = unpack_query(parcel)
    assert parcel.fields["named"] is True
    assert found.parameters.pairs() == query.parameters.pairs()
    assert dataclasses.replace(found, parameters=query.parameters) == query


@given(
    chunks=st.lists(st.binary(max_size=30) | st.just(b"long" * 70_000), max_size=4),
    status=st.integers(200, 599),
    headers=st.lists(st.tuples(TEXT, TEXT), max_size=3),
    cost=st.builds(Cost, **dict.fromkeys(Cost._fields, st.integers(0, 9) | st.floats(0, 9))),
    partial=st.lists(TEXT, max_size=2),
    last=st.booleans(),
)
def test_an_answer_arrives_as_it_was_made(
    chunks: list[bytes], status: int, headers: list[tuple[str, str]], cost: Cost, partial: list[str], last: bool
) -> None:
    answer = Answer(chunks, "text/plain", status, tuple(headers), 7, cost, partial=tuple(partial))
    first = ParcelBuffer().first(b"".join(pack_answer(answer, last)))
    assert first is not None
    head, body = first
    assert head.kind == "answer" and head.fields.pop("last", False) is last
    assert head.fields.pop("size") == len(body)
    found = unpack_answer(head.fields, [body])
    assert found.body == answer.body
    assert dataclasses.replace(found, chunks=chunks) == answer


@given(st.lists(NAME, max_size=5))
def test_questions_for_points_arrive(metrics: list[str]) -> None:
    assert unpack_peek(arrived(pack_peek(metrics))) == metrics


@given(st.lists(POINTS, max_size=6))
def test_points_arrive_metric_by_metric(lists: list[list[tuple[int, float]] | None]) -> None:
    found = unpack_points(
        arrived(
            pack_points(
                [
                    None
                    if points is None
                    else (np.array([t for t, _ in points], np.uint32), np.array([v for _, v in points]))
                    for points in lists
                ]
            )
        )
    )
    assert [None if p is None else list(zip(p[0].tolist(), p[1].tolist())) for p in found] == lists

"""Parcels come out as they went in, however the stream is cut."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.writing.parcel import Parcel, ParcelBuffer, pack, pack_outcome, receive, unpack_outcome
from carbonpy.writing.sweep import Outcome

Plain = tuple[str, dict[str, object], list[bytes]]
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.lists(st.text()))
keys = st.text(min_size=1).filter(lambda key: key not in ("kind", "blobs"))
parcels = st.lists(
    st.tuples(st.text(), st.dictionaries(keys, values, max_size=4), st.lists(st.binary(max_size=50), max_size=4)),
    max_size=5,
)


def plain(parcel: Parcel) -> Plain:
    return parcel.kind, parcel.fields, [bytes(blob) for blob in parcel.blobs]


def stream(sent: list[Plain]) -> bytes:
    return b"".join(bytes(piece) for kind, fields, blobs in sent for piece in pack(kind, fields, blobs))


@given(sent=parcels, data=st.data())
def test_parcels_are_the_same_however_the_stream_is_cut(sent: list[Plain], data: st.DataObject) -> None:
    whole = stream(sent)
    buffer = ParcelBuffer()
    found = []
    at = 0
    while at < len(whole):
        step = data.draw(st.integers(1, max(1, len(whole) // 3)))
        found += [plain(parcel) for parcel in buffer.feed(whole[at : at + step])]
        at += step
    assert found == sent


@given(sent=parcels, cut=st.integers(0, 10_000))
def test_a_blocking_reader_gets_the_parcels_before_the_cut_and_then_the_end(sent: list[Plain], cut: int) -> None:
    whole = stream(sent)
    source = io.BytesIO(whole[:cut])
    found = []
    while (parcel := receive(source.read)) is not None:
        found.append(plain(parcel))
    sizes = [len(stream(sent[: number + 1])) for number in range(len(sent))]
    assert found == sent[: sum(size <= cut for size in sizes)]


def test_columns_and_infinity_go_through() -> None:
    ids = np.arange(5, dtype=np.uint32)
    numbers = np.linspace(0, 1, 5)
    pieces = pack("sweep", {"creates": float("inf")}, [ids.data.cast("B"), numbers.data.cast("B"), b""])
    (parcel,) = ParcelBuffer().feed(b"".join(bytes(piece) for piece in pieces))
    assert parcel.fields == {"creates": float("inf")}
    assert np.frombuffer(parcel.blobs[0], np.uint32).tolist() == ids.tolist()
    assert np.frombuffer(parcel.blobs[1], np.float64).tolist() == numbers.tolist()
    assert len(parcel.blobs[2]) == 0


ids = st.lists(st.integers(0, 2**32 - 1), max_size=20).map(lambda numbers: np.array(numbers, np.uint32))


@given(
    deferred=ids,
    missing=ids,
    made=ids,
    counts=st.tuples(*[st.integers(0, 2**53)] * 5),
    dropped=st.dictionaries(st.sampled_from(["too_old", "too_far", "unwritable"]), st.integers(1)),
    stopped=st.sampled_from(["", "disk full"]),
    sentences=st.lists(st.text(), max_size=5),
)
def test_an_outcome_is_the_same_after_its_journey(deferred, missing, made, counts, dropped, stopped, sentences) -> None:
    written, replaced, updates, damaged, errors = counts
    outcome = Outcome(
        written=written,
        replaced=replaced,
        dropped=dropped,
        deferred=deferred,
        missing=missing,
        made=made,
        updates=updates,
        damaged=damaged,
        errors=errors,
        stopped=stopped,
        sentences=sentences,
    )
    (parcel,) = ParcelBuffer().feed(b"".join(bytes(piece) for piece in pack_outcome(outcome)))
    assert parcel.kind == "done"
    arrived = unpack_outcome(parcel)
    for name, value in vars(outcome).items():
        found = getattr(arrived, name)
        if isinstance(value, np.ndarray):
            assert found.dtype == np.uint32 and found.tolist() == value.tolist()
        else:
            assert found == value
    assert arrived.creates == len(made)

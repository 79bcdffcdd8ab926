"""Pickles as data: what honest writers write is read as they meant it, and nothing else gets in."""

from __future__ import annotations

import math
import pickle
import pickletools
import random
import struct
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.errors import WireError
from carbonpy.wire.pickle_machine import DEFAULT_LIMITS, Machine, unframed
from carbonpy.wire.pickled import Limits, Points, decode_plain, decode_points, encode_plain, points_of
from carbonpy.wire.pickled_columns import read_columns
from carbonpy.wire.pickled_text import read_text

PROTOCOLS = range(6)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**500), 2**500),
    st.floats(allow_nan=False),
    st.text(max_size=300),
)
keys = st.one_of(scalars, st.tuples(scalars, scalars))


def plain(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=5),
            st.lists(inner, max_size=5).map(tuple),
            st.dictionaries(keys, inner, max_size=5),
        ),
        max_leaves=25,
    )


with_bytes = st.one_of(scalars, st.binary(max_size=300))
with_sets = st.one_of(
    with_bytes,
    st.binary(max_size=300).map(bytearray),
    st.sets(keys, max_size=5),
    st.frozensets(keys, max_size=5),
)


def by_machine(data: bytes) -> Points:
    """What the stack machine alone makes of an unframed pickle of datapoints."""
    items = Machine(data, DEFAULT_LIMITS, raw=True).run()
    return points_of(items, len(data) // 2 + 1)


def same(left: Points, right: Points) -> bool:
    return (
        left.names == right.names
        and left.timestamps.tobytes() == right.timestamps.tobytes()
        and left.values.tobytes() == right.values.tobytes()
        and left.rejected == right.rejected
    )


def rows(points: Points) -> list[tuple[bytes, float, float]]:
    return list(zip(points.names, points.timestamps.tolist(), points.values.tolist()))


# -- plain objects --------------------------------------------------------------------------------------------------


@given(plain(scalars), st.sampled_from([0, 1, 2]))
def test_what_pickle_dumps_writes_in_the_old_protocols_is_read_as_it_was(value, protocol):
    got = decode_plain(pickle.dumps(value, protocol))
    assert repr(got) == repr(value)


@given(plain(with_bytes), st.sampled_from([3, 4, 5]))
def test_what_pickle_dumps_writes_in_the_new_protocols_is_read_as_it_was(value, protocol):
    assert repr(decode_plain(pickle.dumps(value, protocol))) == repr(value)


@given(plain(with_sets))
def test_sets_and_bytearrays_of_the_newest_protocol_are_read(value):
    got = decode_plain(pickle.dumps(value, 5))
    assert got == value and type(got) is type(value)


@given(plain(scalars), st.sampled_from(PROTOCOLS))
def test_other_picklers_choices_of_opcodes_are_read_too(value, protocol):
    assert repr(decode_plain(pickle._dumps(value, protocol))) == repr(value)
    assert repr(decode_plain(pickletools.optimize(pickle.dumps(value, protocol)))) == repr(value)


@given(plain(scalars))
def test_replies_are_plain_protocol_2(value):
    assert repr(pickle.loads(encode_plain(value))) == repr(value)
    assert encode_plain(value)[:2] == b"\x80\x02"


def test_one_object_referred_to_twice_is_read_twice():
    shared = [1, 2]
    for protocol in PROTOCOLS:
        assert decode_plain(pickle.dumps([shared, shared, {"a": shared}], protocol)) == [[1, 2], [1, 2], {"a": [1, 2]}]


def test_long_lists_in_batches_and_long_texts_outside_frames_are_read():
    value = [list(range(5000)), "x" * 100_000, {str(number): number for number in range(3000)}, "y" * 70_000]
    for protocol in PROTOCOLS:
        assert decode_plain(pickle.dumps(value, protocol)) == value


def test_what_follows_stop_is_ignored_as_pickle_ignores_it():
    assert decode_plain(pickle.dumps([1], 2) + b"garbage") == [1]


# -- datapoints -----------------------------------------------------------------------------------------------------

name_texts = st.one_of(
    st.from_regex(r"[a-zA-Z0-9_.;=qrhjXJGKM-]{1,80}", fullmatch=True),
    st.text(min_size=1, max_size=60),
    st.sampled_from(["a", "h\x01", "é\x86\x94", "x" * 255, "x" * 256, "X\x03\x00\x00\x00abcq\x05"]),
)
numbers = st.one_of(
    st.integers(1_600_000_000, 1_800_000_000),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 70_000),
    st.floats(width=64),
    st.booleans(),
)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(PROTOCOLS), st.sampled_from(["tuples", "lists", "mixed 1", "mixed 2"]))
def test_columns_and_the_machine_read_the_same(data, protocol, form):
    names = data.draw(st.lists(name_texts, min_size=1, max_size=12, unique=True))
    kinds = data.draw(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    outer = list if form in ("lists", "mixed 1") else tuple
    inner = list if form in ("lists", "mixed 2") else tuple
    share = data.draw(st.booleans())
    items = []
    for _ in range(rng.choice([60, 200, 1001, 1003])):
        name = rng.choice(names)
        items.append(outer((name if share else name[:1] + name[1:], inner(rng.choice(kinds)))))
    frame = pickle.dumps(items, protocol)
    expected = [(name.encode(), float(point[0]), float(point[1])) for name, point in items]
    machine = by_machine(unframed(frame))
    assert repr(rows(machine)) == repr(expected)
    assert same(decode_points(frame), machine)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("count", [300, 1000, 1001, 3000])
def test_the_common_forms_are_read_by_columns(protocol, share, kind, count):
    rng = random.Random(count)
    pool = [f"servers.web{number:03}.cpu.user" for number in range(100)]
    items = [
        kind((pool[n % 100] if share else f"servers.web{n:05}.cpu.héé", kind((1_700_000_000 + n, rng.random()))))
        for n in range(count)
    ]
    frame = pickle.dumps(items, protocol)
    columns = read_columns(unframed(frame))
    assert columns is not None
    assert list(zip(columns[0], *(column.tolist() for column in columns[1:]))) == [
        (name.encode(), float(point[0]), point[1]) for name, point in items
    ]
    assert same(decode_points(frame), by_machine(unframed(frame)))


def test_bytes_inside_numbers_that_look_like_items_do_not_lead_astray():
    # A value that holds SHORT_BINUNICODE and a length that reaches into the next item's end.
    items = []
    for number in range(200):
        lure = struct.unpack(">d", b"\x3f\xe0\x8c" + bytes([number]) + b"\x01\x02\x03\x04")[0]
        items.append((f"a.metric.number{number:04}.with.a.name", (1_700_000_000, lure)))
    for protocol in (2, 4):
        frame = pickle.dumps(items, protocol)
        assert read_columns(unframed(frame)) is not None
        assert rows(decode_points(frame)) == [(name.encode(), float(ts), value) for name, (ts, value) in items]


def test_mutated_pickles_of_datapoints_are_read_alike_by_both_readers_or_refused():
    rng = random.Random(7)
    pool = [f"a.b{number}" for number in range(20)]
    frames = []
    for protocol in (1, 2, 4):
        for kind in (tuple, list):
            items = [kind((rng.choice(pool), kind((1_700_000_000 + n, n / 7)))) for n in range(130)]
            frames.append(unframed(pickle.dumps(items, protocol)))
    read = 0
    for _ in range(2500):
        data = bytearray(rng.choice(frames))
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(data))
            data[at] = rng.choice([data[at] ^ 1, rng.randrange(256), *b"(]eatqrhjXGJ.\x86\x94"])
        data = bytes(data)
        columns = read_columns(data)
        if columns is not None:
            read += 1
            expected = by_machine(data)
            if not expected.rejected:
                assert same(Points(*columns, {}), expected)
            else:
                assert same(decode_points(data), expected)
    assert read > 200  # a changed digit of a number or name keeps the form


@pytest.mark.parametrize("optimized", [False, True])
def test_the_common_form_of_protocol_0_is_read_as_text(optimized):
    items = [(f"a.metric-{n};tag=v", (1_700_000_000 + n, n / 7 if n % 3 else n)) for n in range(300)]
    frame = pickle.dumps(items, 0)
    if optimized:
        frame = pickletools.optimize(frame)
    assert read_text(frame) is not None
    assert rows(decode_points(frame)) == [(name.encode(), float(ts), float(value)) for name, (ts, value) in items]
    assert same(decode_points(frame), by_machine(frame))


def test_mutated_pickles_of_protocol_0_are_read_alike_by_both_readers_or_refused():
    rng = random.Random(5)
    java = b"(l" + b"".join(b"(S'jvm.heap.%d'\n(L1700000000L\nS'%d.25'\ntta" % (n, n) for n in range(5)) + b"."
    items = [(f"a.b{n}", (1_700_000_000 + n, n / 7 if n % 2 else n)) for n in range(5)]
    seeds = [java, pickle.dumps(items, 0), pickle.dumps(items, 0).replace(b"(Va.b0", b"(S'a.b0'")]
    read = 0
    for _ in range(8000):
        data = bytearray(rng.choice(seeds))
        at = rng.randrange(len(data))
        if rng.random() < 0.3:
            del data[at]
        else:
            data[at] = rng.choice([data[at] ^ 1, rng.randrange(256), *b"(ltapgSVIFL'\\\n.01e-+"])
        columns = read_text(bytes(data))
        if columns is not None:
            read += 1
            assert same(Points(*columns, {}), by_machine(bytes(data)))
    assert read > 800


def test_memo_entries_given_again_or_out_of_order_are_left_to_the_machine():
    items = [(f"name{n:04}", (n, 1.5)) for n in range(300)]
    again = items + [(items[5][0], (7, 7.0))]
    frame = bytearray(pickle.dumps(again, 2))
    # The put of the second item's name is made a put under the index that the last item gets (17 is item 5's name).
    at = frame.index(b"name0100") + 8
    assert frame[at : at + 1] == b"r"
    frame[at + 1 : at + 5] = struct.pack("<I", 16)
    got = rows(decode_points(bytes(frame)))
    assert got[-1][0] == b"name0100"
    assert same(decode_points(bytes(frame)), by_machine(bytes(frame)))


def test_items_that_are_not_datapoints_cost_only_themselves():
    items = [
        ("a", (1, 2.0)),
        "text",
        ("b",),
        ("c", 1, 2),
        (3, (1, 2)),
        (None, (1, 2)),
        ("d", (1, None)),
        ("e", ("x", 1)),
        ("f", (1, 2, 3)),
        ("g", ("1700000000", b"2.5")),
        ["h", [10**400, 1]],
        ("i", (1, True)),
        ("j", (1, "9" * 401)),
        (b"k", (5, "1e400")),
        (b"\xff\xfe", (5, 6)),
        {"l": 1},
    ]
    for protocol in (3, 4, 5):
        points = decode_points(pickle.dumps(items, protocol))
        assert rows(points) == [
            (b"a", 1.0, 2.0),
            (b"g", 1.7e9, 2.5),
            (b"i", 1.0, 1.0),
            (b"k", 5.0, math.inf),
        ]
        assert points.rejected == {"shape": 6, "name": 3, "number": 4}
    assert points.timestamps.dtype == points.values.dtype == np.float64


def test_the_form_with_many_points_for_one_name_is_read():
    items = [("a", (1, 2), [3, 4], (5, "6"), (7,)), ["b", (1, 1)]]
    for protocol in PROTOCOLS:
        points = decode_points(pickle.dumps(items, protocol))
        assert rows(points) == [(b"a", 1.0, 2.0), (b"a", 3.0, 4.0), (b"a", 5.0, 6.0), (b"b", 1.0, 1.0)]
        assert points.rejected == {"shape": 1}


def test_a_name_that_is_not_utf8_costs_its_points_in_columns_too():
    items = [(b"name\xff%d" % n if n % 10 == 0 else b"name%d" % n, (n, 1.0)) for n in range(500)]
    frame = pickle.dumps(items, 4)
    assert read_columns(unframed(frame)) is not None
    points = decode_points(frame)
    assert points.rejected == {"name": 50} and len(points.names) == len(points.values) == 450
    assert same(points, by_machine(unframed(frame)))


def test_no_datapoints_is_a_list_too():
    for protocol in PROTOCOLS:
        assert rows(decode_points(pickle.dumps([], protocol))) == []
        assert rows(decode_points(pickle.dumps((), protocol))) == []


@pytest.mark.parametrize("value", [1, None, "text", {"a": 1}, 1.5])
def test_a_pickle_of_something_else_than_a_list_is_refused(value):
    with pytest.raises(WireError, match="send a list"):
        decode_points(pickle.dumps(value, 2))


# -- other writers --------------------------------------------------------------------------------------------------

PYTHON2 = {
    "pickle 0": (
        "286c70300a285327736572766572732e77656230312e637075270a70310a2849313730303030303030300a46312e350a7470"
        "320a7470330a6128566de97472697175652e5c75303363300a70340a2846313730303030303036302e300a49370a7470350a"
        "7470360a612867310a284c313730303030303132304c0a49313039393531313632373737360a7470370a7470380a61286c70"
        "390a53276c6973742e666f726d270a7031300a61286c7031310a532731373030303030303030270a7031320a615327322e35"
        "270a7031330a6161612e"
    ),
    "pickle 1": (
        "5d710028285511736572766572732e77656230312e6370757101284a00f15365473ff800000000000074710274710328580c"
        "0000006dc3a97472697175652ecf807104284741d954fc4f0000004b07747105747106286801284c31373030303030313230"
        "4c0a49313039393531313632373737360a7471077471085d71092855096c6973742e666f726d710a5d710b28550a31373030"
        "303030303030710c5503322e35710d6565652e"
    ),
    "pickle 2": (
        "80025d7100285511736572766572732e77656230312e63707571014a00f15365473ff8000000000000867102867103580c00"
        "00006dc3a97472697175652ecf8071044741d954fc4f0000004b0786710586710668018a0478f15365493130393935313136"
        "32373737360a8671078671085d71092855096c6973742e666f726d710a5d710b28550a31373030303030303030710c550332"
        "2e35710d6565652e"
    ),
    "cPickle 0": (
        "286c70310a285327736572766572732e77656230312e637075270a70320a2849313730303030303030300a46312e350a7470"
        "330a7470340a6128566de97472697175652e5c75303363300a70350a2846313730303030303036300a49370a7470360a7470"
        "370a612867320a284c313730303030303132304c0a49313039393531313632373737360a747470380a61286c70390a53276c"
        "6973742e666f726d270a7031300a61286c7031310a532731373030303030303030270a7031320a615327322e35270a703133"
        "0a6161612e"
    ),
    "cPickle 1": (
        "5d710128285511736572766572732e77656230312e6370757102284a00f15365473ff800000000000074710374710428580c"
        "0000006dc3a97472697175652ecf807105284741d954fc4f0000004b07747106747107286802284c31373030303030313230"
        "4c0a49313039393531313632373737360a747471085d71092855096c6973742e666f726d710a5d710b28550a313730303030"
        "30303030710c5503322e35710d6565652e"
    ),
    "cPickle 2": (
        "80025d7101285511736572766572732e77656230312e63707571024a00f15365473ff8000000000000867103867104580c00"
        "00006dc3a97472697175652ecf8071054741d954fc4f0000004b0786710686710768028a0478f15365493130393935313136"
        "32373737360a868671085d71092855096c6973742e666f726d710a5d710b28550a31373030303030303030710c5503322e35"
        "710d6565652e"
    ),
}


@pytest.mark.parametrize("writer", PYTHON2)
def test_what_python_2_wrote_is_read(writer):
    assert rows(decode_points(bytes.fromhex(PYTHON2[writer]))) == [
        (b"servers.web01.cpu", 1.7e9, 1.5),
        ("métrique.π".encode(), 1700000060.0, 7.0),
        (b"servers.web01.cpu", 1700000120.0, float(2**40)),
        (b"list.form", 1.7e9, 2.5),
    ]


def test_quotes_and_escapes_of_python_2_are_read():
    written = bytes.fromhex(
        "286c70300a28532769745c277320227122205c5c206261636b5c6e5c745c7830315c7863335c786139270a70310a2849310a46322e300a"
        "7470320a7470330a61285322706c61696e27220a70340a284930310a4e7470350a7470360a612e"
    )
    assert decode_plain(written) == [('it\'s "q" \\ back\n\t\x01é', (1, 2.0)), ("plain'", (True, None))]
    assert decode_plain(b"S'\\101\\0\\q\\x41\\x'\n.") == "A\x00\\qA\\x"


def test_what_the_relay_of_carbon_sends_is_read():
    # 4-byte length, then protocol 2: names written once, floats and ints.
    frame = bytes.fromhex(
        "80025d7100285816000000736572766572732e77656230312e6370752e7573657271014741d954fc40000000473ff800000000000086710286"
        "710368014741d954fc4f00000047400000000000000086710486710558100000006469736b2e757365643b64633d64633171064741d954fc40"
        "39999a47bdcaf0230dce4e6a86710786710858090000006dc3a974726971756571094a00f153658a070080c6a47e8d0386710a86710b580500"
        "00006269672e66710c4741d954fc40000000477e3d7ee8bcbbd35186710d86710e5805000000696e742e76710f4a00f153654b078671108671"
        "11652e"
    )
    assert rows(decode_points(frame)) == [
        (b"servers.web01.cpu.user", 1.7e9, 1.5),
        (b"servers.web01.cpu.user", 1700000060.0, 2.0),
        (b"disk.used;dc=dc1", 1700000000.9, -4.9e-11),
        ("métrique".encode(), 1.7e9, 1e15),
        (b"big.f", 1.7e9, 1.2345678901234567e300),
        (b"int.v", 1.7e9, 7.0),
    ]


def test_what_the_java_metrics_library_sends_is_read():
    frame = b"(l" + b"".join(b"(S'jvm.heap.%d'\n(L1700000000L\nS'%d.25'\ntta" % (n, n) for n in range(3)) + b"."
    assert rows(decode_points(frame)) == [(b"jvm.heap.%d" % n, 1.7e9, n + 0.25) for n in range(3)]


# -- enemies --------------------------------------------------------------------------------------------------------


class _Evil:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def _evil() -> dict[str, bytes]:
    import os

    written = {f"REDUCE in protocol {p}": pickle.dumps([_Evil(os.system, ("true",))], p) for p in PROTOCOLS}
    written |= {f"an instance in protocol {p}": pickle.dumps([_Plain()], p) for p in PROTOCOLS}
    written |= {
        "GLOBAL": b"cos\nsystem\n(S'true'\ntR.",
        "GLOBAL alone": b"cantigravity\nfly\n.",
        "INST": b"(S'true'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'true'\no.",
        "OBJ of a name": b"(\x8c\x02os\x8c\x06systemo.",
        "NEWOBJ": b"\x80\x02cantigravity\nfly\n)\x81.",
        "NEWOBJ_EX": b"\x80\x04\x8c\x0bantigravity\x8c\x03fly\x93)}\x92.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x0bantigravity\x8c\x03fly\x93.",
        "BUILD": b"}}b.",
        "EXT1": b"\x82\x01.",
        "EXT2": b"\x83\x01\x00.",
        "EXT4": b"\x84\x01\x00\x00\x00.",
        "PERSID": b"Pantigravity\n.",
        "BINPERSID": b"\x8c\x0bantigravityQ.",
        "REDUCE of text": b"\x8c\x02os)R.",
        "out of band buffers": b"\x80\x05\x97\x98.",
        "bytes made by a call": pickle.dumps([b"a"], 2),
    }
    return written


class _Plain:
    pass


@pytest.mark.parametrize("what", _evil())
def test_nothing_is_named_imported_or_called(what):
    frame = _evil()[what]
    before = set(sys.modules)
    with pytest.raises(WireError, match="would run code"):
        decode_plain(frame)
    with pytest.raises(WireError, match="would run code"):
        decode_points(frame)
    assert "antigravity" not in sys.modules and set(sys.modules) == before


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_raises_only_wire_errors(data):
    for prefix in (b"", b"\x80\x02]q\x00(", b"(lp0\n(", b"\x80\x04\x95"):
        for decode in (decode_points, decode_plain):
            try:
                decode(prefix + data)
            except WireError as error:
                assert str(error)


_OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
_ARGUMENTS = [
    b"",
    b"",
    b"\x00",
    b"\x01a",
    b"\x02\x00",
    b"\x00\x00\x00\x00",
    b"1\n",
    b"'a'\n",
    b"\xff\xff\xff\xff",
    b"00\n",
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(_OPCODES), st.sampled_from(_ARGUMENTS)), max_size=40))
def test_any_row_of_opcodes_gives_what_pickle_gives_or_is_refused(pieces):
    data = b"".join(opcode + argument for opcode, argument in pieces if opcode not in b"cioRbPQ\x81\x92\x93") + b"."
    try:
        got = decode_plain(data)
    except WireError:
        return
    try:
        expected = pickle.loads(data, encoding="utf-8")
    except RecursionError:
        return
    assert repr(got) == repr(expected)


def test_mutated_plain_pickles_raise_only_wire_errors_and_never_take_long():
    rng = random.Random(11)
    value = [("a.b", (1, 2.5)), {"type": "cache-query", "metrics": ["x", "y", ("z", None)], 5: True}, [[[]]], 2**90]
    seeds = [pickle.dumps(value, protocol) for protocol in PROTOCOLS]
    started = time.monotonic()
    for _ in range(6000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            action = rng.randrange(3)
            if action == 0:
                data[at] = rng.randrange(256)
            elif action == 1:
                del data[at : at + rng.randrange(1, 9)]
            else:
                data[at:at] = bytes(rng.choices(range(256), k=rng.randrange(1, 5)))
            if not data:
                data = bytearray(b".")
        for decode in (decode_points, decode_plain):
            try:
                decode(bytes(data))
            except WireError:
                pass
    assert time.monotonic() - started < 20


SIZE = 1 << 20

BOMBS = {
    "lists without end": b"]" * SIZE,
    "lists in lists": b"]" + b"]q\x00h\x00a" * (SIZE // 6) + b".",
    "marks": b"(" * SIZE,
    "tuples in tuples": b")" + b"\x85" * SIZE + b".",
    "empty dicts": b"}" * SIZE + b".",
    "empty sets": b"\x80\x04" + b"\x8f" * SIZE + b".",
    "empty lists from marks": b"(l" * (SIZE // 2) + b".",
    "memo entries": b"N" + b"\x94" * SIZE + b".",
    "memo entries of long index": b"N" + b"".join(b"r" + struct.pack("<I", n) for n in range(SIZE // 5)) + b"a.",
    "a long text integer": b"L" + b"9" * SIZE + b"L\n.",
    "a long integer": b"\x8b" + struct.pack("<i", SIZE) + b"\x7f" * SIZE + b".",
    "an integer of negative length": b"\x8b\xff\xff\xff\xff.",
    "a long float": b"F" + b"9" * SIZE + b"\n.",
    "text longer than the frame": b"X\xff\xff\xff\xffabc.",
    "text of eight bytes of length": b"\x8d" + b"\xff" * 8 + b"abc.",
    "a frame longer than the frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "colliding keys": b"("
    + b"".join(b"\x8a\x10" + (n * (2**61 - 1)).to_bytes(16, "little") + b"N" for n in range(50000))
    + b"d.",
    "a key whose hash takes for ever": b"}(K\x01K\x02\x86" + b"2\x86" * 40 + b"NuK\x01.",
    "one line without end": b"S'" + b"a" * SIZE,
    "a billion points": b"](\x8c\x01a"
    + b"("
    + b"K\x01K\x02\x86"
    + b"2" * 200_000
    + b"t\x942\x86"
    + b"2" * 300_000
    + b"e.",
    "one item a million times": b"](\x8c\x01a(" + b"K\x01K\x02\x86" * 50_000 + b"tq\x00" + b"h\x00" * 300_000 + b"e.",
    "many points of one item": b"]((\x8c\x01a"
    + b"K\x01K\x02\x86"
    + b"2" * 400_000
    + b"tq\x00"
    + b"h\x00" * 300_000
    + b"e.",
    "a list that holds itself": b"]q\x00h\x00a.",
    "an unknown protocol": b"\x80\x06N.",
    "an unknown opcode": b"\xff.",
    "candidates everywhere": b"\x80\x02](" + b"X" * SIZE + b"e.",
    "lures everywhere": b"\x80\x02](" + b"X\x01\x00\x00\x00aK\x01K\x02\x86\x86" * 5000 + b"X" * (SIZE // 9) + b"e.",
}


#: Plain objects that are read without harm: they would be large, deep or endless only if they were written out.
HARMLESS = (
    "empty lists from marks",
    "a billion points",
    "one item a million times",
    "many points of one item",
)


@pytest.mark.parametrize("what", BOMBS)
def test_bombs_are_refused_in_a_moment(what):
    frame = BOMBS[what]
    for decode in (decode_points, decode_plain):
        started = time.process_time()
        try:
            got = decode(frame)
        except WireError as error:
            assert 10 < len(str(error)) < 300
        else:
            if decode is decode_points:
                assert len(got.names) <= len(frame) // 2
            else:
                assert what in HARMLESS
        assert time.process_time() - started < 5


def test_bombs_that_only_the_limits_see_are_refused_by_them():
    with pytest.raises(WireError, match="unfolds"):
        decode_points(BOMBS["many points of one item"])
    with pytest.raises(WireError, match="nests deeper than 32"):
        decode_plain(BOMBS["tuples in tuples"])
    with pytest.raises(WireError, match="entries"):
        decode_plain(BOMBS["colliding keys"])
    with pytest.raises(WireError, match="nests deeper than 3"):
        decode_plain(pickle.dumps([[[[1]]]], 2), Limits(max_depth=3))
    assert decode_plain(pickle.dumps([[[1]]], 2), Limits(max_depth=3)) == [[[1]]]

"""Datapoints in pickle's oldest, readable protocol, read a whole frame at a time with one regular expression.

The law: `read_text` gives exactly what the stack machine of `pickle_machine` would give, or None.  Protocol 0 is what
Python 2 writes when nobody asks for better, and what the Java metrics libraries write by hand::

    (lp0                      or, from Java,     (l
    (S'name'  p1                                 (S'name'
    (I1700000000  F1.5  tp2                      (L1700000000L  S'1.5'  t
    tp3  a                                       ta
    ...                                          ...

Names that would need unescaping, names seen before (GET) and anything else are left to the machine.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_PUT = rb"(?:p\d{1,9}\n)?"
_HEAD = re.compile(rb"\(l" + _PUT + rb"\((?=([SV]))")
#: One group; the look-aheads make sure that the digits are those of an integer, and quotes closed.
_NUMBER = (
    rb"(?:F(?=[^L'\n]{1,40}\n)|I(?=-?\d{1,18}\n)|S'(?=[^L'\n]{1,40}'\n)|L(?=-?\d{1,18}L?\n))"
    rb"([-+.0-9einfa]+)[L']?\n"
)
_REST = rb"\n" + _PUT + rb"\(" + _NUMBER + _NUMBER + rb"t" + _PUT + rb"t" + _PUT + rb"a(?:\(|(?=\.))|(.+)"
#: Opcode of the name -> an item without its MARK, and with that of the next; or, in the last group, what is no item.
_ITEM = {
    b"S": re.compile(rb"S'([ -&(-\[\]-~]*)'" + _REST, re.DOTALL),
    b"V": re.compile(rb"V([ -\[\]-~]*)" + _REST, re.DOTALL),
}


def read_text(data: bytes) -> tuple[list[bytes], NDArray[np.float64], NDArray[np.float64]] | None:
    """(raw names, timestamps, values) of a pickle of protocol 0 in the common form; None if it is not quite.

    Safe from any thread.
    """
    head = _HEAD.match(data)
    if head is None:
        return None
    rows = _ITEM[head.group(1)].findall(data, head.end())
    if rows.pop()[3] != b"." or not rows:
        return None
    names, timestamps, values, _ = zip(*rows)
    try:
        return list(names), np.array(list(map(float, timestamps))), np.array(list(map(float, values)))
    except ValueError:
        return None

"""Answers made ready for the wire: compression and the headers that every answer has.

The law: packing is pure and may be done in any thread or process.  Bodies of 200 bytes and more are
compressed for clients that accept gzip, and say that they vary with that.  What is missing from an
answer because it could not be asked for stands in the header X-Carbonpy-Partial.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from carbonpy.web.answer import Answer, Blob

#: The header that says what may be missing.
PARTIAL = "X-Carbonpy-Partial"

_GZIP_FROM = 200
#: A body of up to so many bytes becomes one piece; to copy a larger one would take longer than its pieces do.
_JOINED = 1 << 18
#: Digits do not become much shorter at higher levels, only slower.
_GZIP_LEVEL = 1


def pack(answer: Answer, accept_encoding: str) -> Answer:
    """The answer with all its headers (but Content-Type and Content-Length), a body that is not large in one chunk."""
    headers: tuple[tuple[str, str], ...] = (("X-Content-Type-Options", "nosniff"), *answer.headers)
    if answer.partial:
        headers += ((PARTIAL, " ".join("; ".join(answer.partial).split())[:500]),)
    size = sum(map(len, answer.chunks))
    if answer.rest is not None:
        headers += (("Vary", "Accept-Encoding"),)
        if not accepts_gzip(accept_encoding):
            return replace(answer, headers=headers)
        rest = _compressed(chain(answer.chunks, answer.rest))
        return replace(answer, headers=(*headers, ("Content-Encoding", "gzip")), chunks=[], rest=rest, rest_size=None)
    if size < _GZIP_FROM:
        return replace(answer, headers=headers, chunks=[answer.body])
    headers += (("Vary", "Accept-Encoding"),)
    if not accepts_gzip(accept_encoding):
        return replace(answer, headers=headers, chunks=[answer.body] if size <= _JOINED else answer.chunks)
    body = b"".join(_compressed(answer.chunks))
    return replace(answer, headers=(*headers, ("Content-Encoding", "gzip")), chunks=[body])


def _compressed(chunks: Iterable[Blob]) -> Iterator[bytes]:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for part in header.lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False

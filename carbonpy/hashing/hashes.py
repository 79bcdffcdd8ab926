"""Hash functions that rings are made of: text in, number out.

The law: the same number as the function of that name in carbon, carbon-c-relay and the mmh3 package.  Text is hashed
as its UTF-8 bytes; bytes that were no UTF-8 and came in as surrogates are hashed as they were.

Sources: FNV-1a as of http://isthe.com/chongo/tech/comp/fnv/; MurmurHash3_x86_32 by Austin Appleby (public domain);
Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014).  carbon-c-relay's FNV adds bytes as
signed chars on x86, so that those from 0x80 are extended with ones: that is `signed`.
"""

from __future__ import annotations

from hashlib import md5

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF


def utf8(text: str) -> bytes:
    """The bytes of `text` that are hashed."""
    return text.encode("utf-8", "surrogateescape")


def md5_16(text: str) -> int:
    """The first 16 bits of the MD5 sum: 0 to 65535."""
    digest = md5(utf8(text), usedforsecurity=False).digest()
    return digest[0] << 8 | digest[1]


def fnv1a_32(data: bytes, signed: bool = False) -> int:
    """FNV-1a with 32 bits: 0 to 2**32 - 1."""
    value = 0x811C9DC5
    if signed and not data.isascii():
        for byte in data:
            value = (value ^ (byte if byte < 0x80 else byte | 0xFFFFFF00)) * 0x01000193 & _MASK32
        return value
    for byte in data:
        value = (value ^ byte) * 0x01000193 & _MASK32
    return value


def fnv1a_64(data: bytes, signed: bool = False) -> int:
    """FNV-1a with 64 bits: 0 to 2**64 - 1."""
    value = 0xCBF29CE484222325
    if signed and not data.isascii():
        for byte in data:
            value = (value ^ (byte if byte < 0x80 else byte | 0xFFFFFFFFFFFFFF00)) * 0x100000001B3 & _MASK64
        return value
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & _MASK64
    return value


def fnv1a_16(text: str) -> int:
    """FNV-1a with 32 bits, its halves folded onto each other: 0 to 65535."""
    value = fnv1a_32(utf8(text))
    return value >> 16 ^ value & 0xFFFF


def signed_fnv1a_16(text: str) -> int:
    """`fnv1a_16` as carbon-c-relay has it: 0 to 65535."""
    value = fnv1a_32(utf8(text), signed=True)
    return value >> 16 ^ value & 0xFFFF


def murmur3(text: str) -> int:
    """MurmurHash3_x86_32 with seed 0, as a signed number: -2**31 to 2**31 - 1."""
    data = utf8(text)
    length = len(data)
    value = 0
    whole = length & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & _MASK32
        part = (part << 15 | part >> 17) * 0x1B873593 & _MASK32
        value ^= part
        value = ((value << 13 & _MASK32 | value >> 19) * 5 + 0xE6546B64) & _MASK32
    if whole < length:
        part = int.from_bytes(data[whole:], "little") * 0xCC9E2D51 & _MASK32
        value ^= (part << 15 | part >> 17) * 0x1B873593 & _MASK32
    value ^= length
    value = (value ^ value >> 16) * 0x85EBCA6B & _MASK32
    value = (value ^ value >> 13) * 0xC2B2AE35 & _MASK32
    value ^= value >> 16
    return value - 0x100000000 if value & 0x80000000 else value


def jump(key: int, buckets: int) -> int:
    """The bucket, 0 to `buckets` - 1, of the 64-bit `key` by the jump consistent hash."""
    bucket, following = -1, 0
    while following < buckets:
        bucket = following
        key = (key * 2862933555777941757 + 1) & _MASK64
        following = int((bucket + 1) * (float(1 << 31) / float((key >> 33) + 1)))
    return bucket

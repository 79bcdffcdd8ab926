"""Who may ask: users with passwords (HTTP basic authentication) and origins whose pages may ask (CORS).

The law: a password is never kept, only ``name:scrypt$n$r$p$salt$hash`` lines of a file (salt and hash in
hexadecimal; `hashed` makes what follows the name).  Names and hashes are compared in constant time, and a
name that does not exist takes as long as a wrong password.  Since scrypt is slow on purpose, what was
right is remembered (as a keyed hash) until the process ends; `known` is quick, `verify` is for a thread.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from carbonpy.errors import ConfigError

_N, _R, _P = 2**14, 8, 1
_LINE = re.compile(
    r"([^:\s][^:]*):scrypt\$([0-9]{1,7})\$([0-9]{1,2})\$([0-9]{1,2})\$([0-9a-f]{16,128})\$([0-9a-f]{64})\Z"
)
#: The most that a line of the file may make each attempt cost: 64 MB, as n * r * 128.
_MOST_MEMORY = 64 << 20
_MOST_REMEMBERED = 1_000
_REALM = (("WWW-Authenticate", 'Basic realm="carbonpy", charset="UTF-8"'),)


class Secret(NamedTuple):
    """What the file knows of one password."""

    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    def fits(self, password: str) -> bool:
        """Whether this is the password; slow."""
        made = _scrypt(password, self.salt, self.n, self.r, self.p)
        return hmac.compare_digest(made, self.hash)


def hashed(password: str) -> str:
    """What to write behind ``name:``."""
    salt = os.urandom(16)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${_scrypt(password, salt, _N, _R, _P).hex()}"


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=32)


class Users:
    """Names and their secrets.  Safe from any thread."""

    challenge = _REALM

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._secrets = dict(secrets)
        self._nobody = Secret(_N, _R, _P, os.urandom(16), os.urandom(32))
        self._key = os.urandom(32)
        self._lock = threading.Lock()
        self._right: dict[bytes, None] = {}

    @classmethod
    def load(cls, path: str) -> Users:
        """The users of a file; blank lines and those that begin with # are skipped.  Raises ConfigError."""
        secrets: dict[str, Secret] = {}
        try:
            with open(path, encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    text = line.strip()
                    if text and not text.startswith("#"):
                        name, secret = _read(text, f"{path}:{number}")
                        if name in secrets:
                            raise ConfigError(f"{path}:{number}: {name!r} stands here twice; leave one line")
                        secrets[name] = secret
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: the users cannot be read: {error}") from None
        if not secrets:
            raise ConfigError(f"{path}: there is no user in this file; add one, or set no file to answer everybody")
        return cls(secrets)

    def known(self, header: str | None) -> bool | None:
        """Whether an Authorization header is right: no if it makes no sense, None if only `verify` can tell.  Quick."""
        if header is None or _credentials(header) is None:
            return False
        return True if self._mark(header) in self._right else None

    def verify(self, header: str) -> bool:
        """The same for sure; takes a tenth of a second."""
        credentials = _credentials(header)
        if credentials is None:
            return False
        name, password = credentials
        secret = self._secrets.get(name)
        fits = (secret or self._nobody).fits(password) and secret is not None
        if fits:
            with self._lock:
                if len(self._right) >= _MOST_REMEMBERED:
                    self._right.clear()
                self._right[self._mark(header)] = None
        return fits

    def _mark(self, header: str) -> bytes:
        return hashlib.blake2b(header.encode("utf-8", "surrogatepass"), key=self._key).digest()


def _read(line: str, where: str) -> tuple[str, Secret]:
    found = _LINE.match(line)
    if found is None:
        raise ConfigError(f"{where}: this is no name:scrypt$n$r$p$salt$hash line; make one with carbonpy password NAME")
    n, r, p = (int(found[i]) for i in (2, 3, 4))
    if n < 2 or n & (n - 1) or not 1 <= r <= 32 or not 1 <= p <= 8 or 128 * n * r > _MOST_MEMORY:
        raise ConfigError(f"{where}: scrypt cannot work with n={n} r={r} p={p}, or it takes more than 64 MB")
    return found[1], Secret(n, r, p, bytes.fromhex(found[5]), bytes.fromhex(found[6]))


def _credentials(header: str) -> tuple[str, str] | None:
    """(name, password) of an Authorization header; None if it is none."""
    scheme, _, coded = header.strip().partition(" ")
    if scheme.lower() != "basic" or len(coded) > 2_000:
        return None
    try:
        name, colon, password = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (name, password) if colon else None


class Origins:
    """The origins whose pages may ask.  Immutable.

    allowed: like ``https://grafana.example.org``, or ``*`` for every one (their pages then ask without passwords).
    """

    _METHODS = "GET, POST, HEAD, OPTIONS"
    _HEADERS = "Accept, Authorization, Content-Type, X-Grafana-Org-Id, X-Dashboard-Id, X-Panel-Id, X-Panel-Plugin-Id"

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._any = "*" in allowed
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def headers(self, origin: str | None) -> tuple[tuple[str, str], ...]:
        """What an answer to a page of `origin` says; every answer varies with it if only some may ask."""
        if not self._allowed:
            return ()
        if origin is not None and origin.lower() in self._allowed:
            allow = (("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true"))
        elif self._any:
            allow = (("Access-Control-Allow-Origin", "*"),)  # type: ignore[assignment]
        else:
            return (("Vary", "Origin"),)
        return (*allow, ("Vary", "Origin"), ("Access-Control-Expose-Headers", "X-Carbonpy-Partial"))

    def preflight(self, origin: str | None) -> tuple[tuple[str, str], ...] | None:
        """What a browser that asks whether it may ask is told beside `headers`; None if it may not."""
        if not any(name == "Access-Control-Allow-Origin" for name, _ in self.headers(origin)):
            return None
        return (
            ("Access-Control-Allow-Methods", self._METHODS),
            ("Access-Control-Allow-Headers", self._HEADERS),
            ("Access-Control-Max-Age", "86400"),
        )

"""Free loopback ports for daemons under test.

Ports are taken below the kernel's range for outgoing connections (32768 and up on Linux), so that a connection made
between the choice and the daemon's own bind cannot take the port away; the start is drawn from the process id and
the clock, so that test runs beside each other rarely meet.
"""

from __future__ import annotations

import os
import random
import socket

_LOWEST, _HIGHEST = 12000, 32000


def free_ports(count: int) -> list[int]:
    """`count` different ports on which nothing listens on 127.0.0.1, neither TCP nor UDP."""
    draw = random.Random(f"{os.getpid()}-{os.urandom(8).hex()}")
    found: list[int] = []
    for _ in range(2000):
        port = draw.randrange(_LOWEST, _HIGHEST)
        if port not in found and _is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise AssertionError(f"no {count} free ports between {_LOWEST} and {_HIGHEST} on 127.0.0.1")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True

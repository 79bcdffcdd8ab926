"""Two places to send lines to, a process of its own: `python sink.py PORT PORT`.

Counts the lines that come in at each port and prints ``[lines at the first, lines at the second]`` as JSON whenever
that has changed, at most fifty times a second. A port given as 0 is left out: a destination that is dead. With --pickle
the frames of pickles are counted as their points instead.
"""

from __future__ import annotations

import json
import pickle
import selectors
import socket
import struct
import sys
import time


class Frames:
    """Points in the frames of one connection."""

    def __init__(self) -> None:
        self._rest = b""

    def count(self, data: bytes) -> int:
        data = self._rest + data
        points = start = 0
        while len(data) - start >= 4:
            (length,) = struct.unpack_from("!L", data, start)
            if len(data) - start - 4 < length:
                break
            points += len(pickle.loads(data[start + 4 : start + 4 + length]))
            start += 4 + length
        self._rest = data[start:]
        return points


def main(ports: list[int], pickled: bool) -> None:
    selector = selectors.DefaultSelector()
    counts = [0, 0]
    for place, port in enumerate(ports):
        if port:
            listener = socket.create_server(("127.0.0.1", port))
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ, (place, None))
    print(json.dumps(counts), flush=True)
    told, when = list(counts), 0.0
    while True:
        for key, _ in selector.select(0.02):
            place, frames = key.data
            if frames is None:
                connection, _ = key.fileobj.accept()
                selector.register(connection, selectors.EVENT_READ, (place, Frames()))
                continue
            data = key.fileobj.recv(1 << 20)
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()
            counts[place] += frames.count(data) if pickled else data.count(b"\n")
        if counts != told and time.monotonic() - when > 0.02:
            told, when = list(counts), time.monotonic()
            print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:3]], "--pickle" in sys.argv[3:])

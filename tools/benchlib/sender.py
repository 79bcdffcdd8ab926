"""The sender, a process of its own: `python sender.py PORT FILE...` sends each file over a connection of its own.

It is made to cost nothing beside the daemons: the kernel copies the files to the sockets. It connects, prints
"connected", waits for a line on standard input, sends, closes its half of each connection and waits until the daemon
closes the other half: a daemon does that after it has read everything. Then it prints the two times
(seconds since the epoch): first byte sent, last connection read to its end.
"""

from __future__ import annotations

import socket
import sys
import threading
import time


def _send(connection: socket.socket, path: str) -> None:
    with open(path, "rb") as file:
        connection.sendfile(file)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass


def main(port: int, paths: list[str]) -> None:
    """Send all files at once, each over its own connection."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in paths]
    print("connected", flush=True)
    sys.stdin.readline()
    begun = time.time()
    threads = [threading.Thread(target=_send, args=each) for each in zip(connections, paths)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(begun, time.time(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

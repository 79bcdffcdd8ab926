"""A site with a real reactor and real threads in a process of its own, asked by many clients at once."""

import http.client
import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

NOW = 1_700_000_040

SERVER = """
import sys
import numpy as np
from twisted.internet import reactor, stdio
from twisted.internet.protocol import Protocol
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.threadpool import ThreadPool
from carbonpy.catalog import Catalog
from carbonpy.reading.local import LocalStore
from carbonpy.retention import parse_retentions
from carbonpy.web.dispatch import PoolDispatch
from carbonpy.web.service import Service
from carbonpy.web.site import make_site, report

class UntilTheEnd(Protocol):
    def connectionLost(self, reason):
        reactor.stop()

globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
directory, now, metrics = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
catalog = Catalog(directory + "/catalog.sqlite")
catalog.add([f"a.m{i}" for i in range(metrics)])
schema = (parse_retentions("60s:7d"), 0.5, "average")
times = np.arange(now - 3600, now + 60, 60, dtype=np.uint32)

def peek(metric):
    return times, np.full(len(times), float(metric[3:]))

store = LocalStore(catalog, peek, directory, known=lambda metric: True, schema_for=lambda metric: schema)
pool = ThreadPool(1, 4)
pool.start()
reactor.addSystemEventTrigger("during", "shutdown", pool.stop)
site = make_site(
    PoolDispatch(Service(store, report=report), reactor, pool), dict, str, lambda: float(now), reactor=reactor
)
print(reactor.listenTCP(0, site, interface="127.0.0.1").getHost().port, flush=True)
stdio.StandardIO(UntilTheEnd())
reactor.run()
"""


@pytest.fixture
def server(tmp_path):
    """(port, function that ends the server and gives what it logged)"""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), str(NOW), "60"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def end():
        return process.communicate(timeout=20)[1]

    try:
        yield int(process.stdout.readline()), end
    finally:
        process.kill()
        process.communicate()


def complaints(log):
    return [line for line in log.splitlines() if "Traceback" in line or "error" in line.lower() or "Unhandled" in line]


def test_many_clients_get_each_their_own_answer(server):
    port, end = server

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for turn in range(20):
            target = f"a.m{number}" if turn % 2 else f"a.m{number}*"
            connection.request("GET", f"/render?target={target}&from=-30min", headers={"Accept-Encoding": "identity"})
            series = json.loads(connection.getresponse().read())
            assert series[0]["target"] == f"a.m{number}"
            assert {value for value, _ in series[0]["datapoints"]} == {float(number)}
        connection.close()
        return number

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(client, range(8))) == list(range(8))
    assert complaints(end()) == []


def test_clients_that_leave_in_the_middle_leave_no_trace(server):
    port, end = server
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /render?target=a.*&from=-7d HTTP/1.1\r\nHost: x\r\n\r\n")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/render?target=a.*&from=-1h")
    assert len(json.loads(connection.getresponse().read())) == 60
    connection.close()
    assert complaints(end()) == []

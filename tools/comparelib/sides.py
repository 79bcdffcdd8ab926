"""The two who answer: graphite-web in a process of its own, and ``carbonpy web`` over HTTP, on the same tree.

The law: both get the same questions and nobody patches either.  An answer is (status, content type, body).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from comparelib.questions import Question

SETTINGS = """
SECRET_KEY = "only for comparing"
ALLOWED_HOSTS = ["*"]
TIME_ZONE = "UTC"
STORAGE_DIR = {storage!r}
LOG_DIR = {logs!r}
INDEX_FILE = {storage!r} + "/index"
STANDARD_DIRS = [{data!r}]
WHISPER_DIR = {data!r}
CARBONLINK_HOSTS = []
DEFAULT_CACHE_DURATION = 0
FIND_CACHE_DURATION = 0
TAGDB_CACHE_DURATION = 0
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {storage!r} + "/graphite.db"}}}}
"""
#: Reads questions as lines of JSON, answers each with one; graphite-web's own middleware and all.
ASK = """
import json, logging, signal, sys, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import django
django.setup()
from django.test import Client
client = Client()
client.raise_request_exception = False
class TooLong(Exception): pass
def too_long(*ignored): raise TooLong
signal.signal(signal.SIGALRM, too_long)
tagged, questions = json.loads(sys.stdin.readline())
client.post("/tags/tagMultiSeries", {"path": tagged})
for path, parameters, method in questions:
    signal.alarm(20)
    try:
        if method == "JSON":
            answer = client.post(path, json.dumps(parameters), content_type="application/json")
        else:
            answer = getattr(client, method.lower())(path, parameters)
        given = [answer.status_code, answer.get("Content-Type", ""), answer.content.decode("latin-1")]
    except TooLong:
        given = [599, "", "no answer within 20 s"]
    except Exception as error:
        given = [500, "", repr(error).encode("utf-8", "replace").decode("latin-1")]
    signal.alarm(0)
    print("ANSWER" + json.dumps(given), flush=True)
"""


class Answered(NamedTuple):
    """What came back."""

    status: int
    content_type: str
    content: bytes

    @property
    def body(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")


class GraphiteWeb:
    """graphite-web of the environment of `python`, set up over `data_dir`; its own files go to `place`."""

    def __init__(self, python: Path, data_dir: Path, place: Path) -> None:
        storage = place / "graphite-web"
        (storage / "log").mkdir(parents=True)
        (storage / "compare_settings.py").write_text(
            SETTINGS.format(storage=str(storage), logs=str(storage / "log"), data=str(data_dir))
        )
        self._python = str(python)
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(storage),
            "DJANGO_SETTINGS_MODULE": "graphite.settings",
            "GRAPHITE_SETTINGS_MODULE": "compare_settings",
        }
        subprocess.run(
            [self._python, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"],
            env=self._environment,
            check=True,
            timeout=120,
        )

    def ask(self, questions: Sequence[Question], tagged: Sequence[str]) -> list[Answered]:
        """The answers, in order.  tagged: tagged metrics for its tag database."""
        given = json.dumps([list(tagged), [[one.path, one.parameters, one.method] for one in questions]])
        done = subprocess.run(
            [self._python, "-c", ASK],
            input=given + "\n",
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=1800,
        )
        lines = [line[len("ANSWER") :] for line in done.stdout.splitlines() if line.startswith("ANSWER")]
        if len(lines) != len(questions):
            raise SystemExit(f"graphite-web answered {len(lines)} of {len(questions)}: {done.stderr[-2000:]}")
        answers = [json.loads(line) for line in lines]
        return [Answered(status, kind, content.encode("latin-1")) for status, kind, content in answers]


class Carbonpy:
    """``carbonpy web`` over `data_dir`.  A context manager: it runs inside the block."""

    def __init__(self, data_dir: Path, place: Path, settings: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._config = place / "carbonpy.conf"
        self._config.write_text(
            f"[web]\nSTORAGE_DIR = {place}/carbonpy\nLOCAL_DATA_DIR = {data_dir}\nHTTP_INTERFACE = 127.0.0.1\n"
            f"HTTP_PORT = {self.port}\n{settings}"
        )
        self._log = place / "carbonpy.log"

    def __enter__(self) -> Carbonpy:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "carbonpy", "web", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                if self._get("/ready").status == 200:
                    return self
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"carbonpy web did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def __exit__(self, *exception: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, question: Question) -> Answered:
        form = urlencode(question.parameters, doseq=True)
        if question.method == "GET":
            return self._get(f"{question.path}?{form}")
        if question.method == "JSON":
            return self._get(question.path, "POST", json.dumps(question.parameters), "application/json")
        return self._get(question.path, question.method, form, "application/x-www-form-urlencoded")

    def _get(self, target: str, method: str = "GET", body: str | None = None, kind: str = "") -> Answered:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            return Answered(answer.status, answer.headers.get("Content-Type", ""), answer.read())
        finally:
            connection.close()

    def log_text(self) -> str:
        """What it wrote to its log."""
        return self._log.read_text()

    def ask(self, questions: Sequence[Question], tagged: Sequence[str]) -> list[Answered]:
        """The answers, in order.  tagged: tagged metrics, whose hashed files do not tell their names."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(
            "POST",
            "/tags/tagMultiSeries",
            urlencode([("path", metric) for metric in tagged]),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"tags were answered {answer.status}: {answer.read()[:300]!r}")
        connection.close()
        return [self._ask(question) for question in questions]

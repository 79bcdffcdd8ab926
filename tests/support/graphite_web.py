"""A real graphite-web in a process of its own, asked through Django's test client."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from support.peers import GRAPHITE_WEB, environment_with

SETTINGS = """
SECRET_KEY = "only for this test"
ALLOWED_HOSTS = ["*"]
TIME_ZONE = "UTC"
STORAGE_DIR = {storage!r}
LOG_DIR = {logs!r}
INDEX_FILE = {storage!r} + "/index"
STANDARD_DIRS = [{data!r}]
WHISPER_DIR = {data!r}
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {storage!r} + "/graphite.db"}}}}
"""
ASK = """
import json, sys, warnings
warnings.simplefilter("ignore")
import django
django.setup()
from django.test import Client
answers = []
for path, query in json.load(sys.stdin):
    answer = Client().get(path, query)
    answers.append([answer.status_code, answer.content.decode()])
print("ANSWERS" + json.dumps(answers))
"""


class GraphiteWeb:
    """graphite-web over the whisper tree `data`, set up in `place`; `settings` go into its local_settings."""

    def __init__(self, place: Path, data: Path, **settings: object) -> None:
        self.python = environment_with("graphite-web", GRAPHITE_WEB)
        storage = place / "graphite-web"
        (storage / "log").mkdir(parents=True)
        text = SETTINGS.format(storage=str(storage), logs=str(storage / "log"), data=str(data))
        text += "".join(f"{name} = {value!r}\n" for name, value in settings.items())
        (storage / "test_settings.py").write_text(text)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(storage),
            "DJANGO_SETTINGS_MODULE": "graphite.settings",
            "GRAPHITE_SETTINGS_MODULE": "test_settings",
        }
        subprocess.run(
            [str(self.python), "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"],
            env=self.environment,
            check=True,
            timeout=60,
        )

    def ask(self, *requests: tuple[str, dict[str, Any]]) -> list[Any]:
        """The JSON answers to (path, query) pairs."""
        done = subprocess.run(
            [str(self.python), "-c", ASK],
            input=json.dumps(requests),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "ANSWERS" in done.stdout, done.stderr[-3000:]
        answers = json.loads(done.stdout.partition("ANSWERS")[2])
        assert [status for status, _ in answers] == [200] * len(requests), answers
        return [json.loads(body) for _, body in answers]

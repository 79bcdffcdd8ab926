"""What the real carbon makes of rules files and of carbon.conf, asked in a process of its own.

``ask(request, directory)`` hands questions as JSON to this file run as a script, which imports carbon there:
carbon keeps its settings in module globals and reads CONF_DIR when it is imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def ask(request: dict[str, Any], directory: Path, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """The answer of carbon to `request`; files are written in `directory`."""
    done = subprocess.run(
        [sys.executable, __file__, str(directory)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "GRAPHITE_ROOT": "/opt/graphite", "HOME": "/root", **(environ or {})},
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.rpartition("\n@@@")[2])
    return answer


def _main(directory: Path) -> dict[str, Any]:
    from carbon import conf, state
    from carbon.conf import settings

    request = json.load(sys.stdin)
    answer: dict[str, Any] = {}
    settings["CONF_DIR"] = str(directory)
    settings["LOCAL_DATA_DIR"] = str(directory)
    from carbon import storage, util
    from carbon.database import WhisperDatabase
    from carbon.regexlist import RegexList

    state.database = WhisperDatabase(settings)
    schemas, aggregation = directory / "storage-schemas.conf", directory / "storage-aggregation.conf"
    assert str(schemas) == storage.STORAGE_SCHEMAS_CONFIG

    def loaded(path: Path, text: str, load: Any) -> Any:
        path.write_text(text, newline="")
        try:
            return load()
        except (Exception, SystemExit):
            return None

    answer["schemas"] = []
    for text in request.get("schemas", ()):
        book = loaded(schemas, text, storage.loadStorageSchemas)
        answer["schemas"].append(
            book
            and [sorted(a.getTuple() for a in next(s for s in book if s.matches(n)).archives) for n in request["names"]]
        )
    answer["aggregation"] = []
    for text in request.get("aggregation", ()):
        book = loaded(aggregation, text, storage.loadAggregationSchemas)
        answer["aggregation"].append(
            book and [next(s for s in book if s.matches(n)).archives for n in request["names"]]
        )
    answer["retentions"] = []
    for text in request.get("retentions", ()):
        try:
            step, points = util.parseRetentionDef(text)
            answer["retentions"].append([int(step), int(points)])
        except (ValueError, ZeroDivisionError):
            answer["retentions"].append(None)
    answer["filters"] = []
    for text in request.get("filters", ()):
        path = directory / "list.conf"
        path.write_text(text, newline="")
        regexes = RegexList()
        regexes.list_file = str(path)
        regexes.read_list()
        answer["filters"].append([len(regexes.regex_list), [name in regexes for name in request["names"]]])
    answer["settings"] = []
    for text, instance in request.get("settings", ()):
        path = directory / "carbon.conf"
        path.write_text(text, newline="")
        options = {"config": str(path), "instance": instance, "pidfile": None, "logdir": None}
        try:
            read = conf.read_config("carbon-cache", options)
        except Exception as error:
            answer["settings"].append(repr(error))
        else:
            answer["settings"].append({k: repr(v) if isinstance(v, float) else v for k, v in read.items()})
    return answer


if __name__ == "__main__":
    print("\n@@@" + json.dumps(_main(Path(sys.argv[1]))))

"""Where the real carbon's routers send names, asked in a process of its own.

``ask(cases, directory)`` hands them as JSON to this file run as a script, which imports carbon there. A case has
`method`, `hash_type`, `destinations`, `replication`, `diverse`, `names` and, where needed, `relay_rules` and
`aggregation_rules` as texts; its answer is a list of lists of destinations ``host:port:instance``, in carbon's order.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def ask(cases: list[dict[str, Any]], directory: Path) -> list[list[list[str]]]:
    """carbon's answers."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, str(directory)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": "/usr/bin:/bin", "GRAPHITE_ROOT": "/opt/graphite", "HOME": "/root"},
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[list[str]]] = json.loads(done.stdout.rpartition("\n@@@")[2])
    return answers


def _shown(destination: tuple[str, int, str | None]) -> str:
    host, port, instance = destination
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" + ("" if instance is None else f":{instance}")


def _answer(case: dict[str, Any], directory: Path) -> list[list[str]]:
    from carbon.aggregator.rules import RuleManager
    from carbon.conf import Settings
    from carbon.routers import DatapointRouter
    from carbon.util import parseDestinations

    settings = Settings()
    settings["REPLICATION_FACTOR"] = case["replication"]
    settings["DIVERSE_REPLICAS"] = case["diverse"]
    settings["ROUTER_HASH_TYPE"] = case["hash_type"]
    for name in ("relay-rules", "aggregation-rules"):
        path = directory / f"{name}.conf"
        path.write_text(case.get(name.replace("-", "_"), ""))
        settings[name] = str(path)
    # The routers would begin to read the file every ten seconds; once is enough.
    RuleManager.rules_file, settings["aggregation-rules"] = settings["aggregation-rules"], None
    RuleManager.rules_last_read = 0.0
    RuleManager.read_rules()
    router = DatapointRouter.plugins[case["method"]](settings)
    destinations = parseDestinations(case["destinations"])
    for destination in destinations:
        router.addDestination(destination)
    return [[_shown(found) for found in router.getDestinations(name)] for name in case["names"]]


if __name__ == "__main__":
    print("\n@@@" + json.dumps([_answer(case, Path(sys.argv[1])) for case in json.load(sys.stdin)]))

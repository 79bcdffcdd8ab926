"""``carbonpy web``: start, stop and look at the service that only answers queries.

The law: see `carbonpy.cli.daemon`.  It writes nothing but its pidfile, its log and the events it is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from carbonpy.cli.daemon import Program, act, make_parser

if TYPE_CHECKING:
    from carbonpy.settings import Settings

_EPILOG = """\
It answers for the whisper files in LOCAL_DATA_DIR, for the points that the caches at CARBONLINK_HOSTS have
not written yet, and for the servers in CLUSTER_SERVERS.  It answers at HTTP_PORT.

examples:
  carbonpy web --config /etc/carbonpy/front.yaml     in this terminal; Ctrl-C stops it
  carbonpy web start --daemon --config front.yaml    in the background
  carbonpy web status --config front.yaml            exit code 0 when it runs, 1 when not

front.yaml, in front of two carbonpy caches:
  web:
    http_port: 8080
    cluster_servers: ["http://a.example.org:8080", "http://b.example.org:8080"]

or over the files of a carbon-cache on this machine:
  cache: {local_data_dir: /opt/graphite/storage/whisper}
  web: {carbonlink_hosts: "127.0.0.1:7002:a"}

signals: SIGTERM and SIGINT stop it.
"""


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy web``."""
    return make_parser(
        "web",
        "Answer Graphite queries over whisper files, carbon caches and other Graphite servers.",
        _EPILOG,
        {},
    )


def _run(settings: Settings, config: str | None, overrides: dict[str, Any]) -> int:
    from carbonpy.daemons.web import run

    return run(settings, config, overrides)


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy web`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    places = ("STORAGE_DIR", "LOG_DIR", "PID_DIR", "CATALOG_FILE")
    return act(Program("web", _run, "web", places), options)

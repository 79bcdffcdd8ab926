"""Where things lie: carbon's rules for directories, the pidfile and the rules files.

The law, in carbon's order: ``$GRAPHITE_ROOT`` (/opt/graphite if unset) holds ``storage`` and ``conf``;
``$GRAPHITE_STORAGE_DIR`` and ``$GRAPHITE_CONF_DIR`` move them; the directory of the configuration file is
CONF_DIR when one is given; settings in the file move any of them.  What is below STORAGE_DIR follows the
STORAGE_DIR of the section for every instance: one that is set for a single instance moves, as with carbon,
nothing else of carbon's (but it does move the journal, which carbon does not know).  ``~`` is expanded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from os.path import abspath, dirname, expanduser, join, normpath
from typing import NamedTuple

#: The root when the environment does not say: where carbon's own installation goes.
DEFAULT_ROOT = "/opt/graphite"


#: NAMEs of rules files that can be elsewhere, and what they are called in CONF_DIR.
RULES = {
    "RELAY_RULES": "relay-rules.conf",
    "AGGREGATION_RULES": "aggregation-rules.conf",
    "REWRITE_RULES": "rewrite-rules.conf",
}


class RulesFiles(NamedTuple):
    """Paths of the rules files, which need not exist."""

    schemas: str
    aggregation: str
    whitelist: str
    blacklist: str


class Surroundings(NamedTuple):
    """STORAGE_DIR and CONF_DIR before any file is read."""

    storage_dir: str
    conf_dir: str

    @property
    def variables(self) -> dict[str, str]:
        """What ``%(STORAGE_DIR)s`` and ``%(CONF_DIR)s`` mean in a carbon.conf that sets neither."""
        return {"storage_dir": self.storage_dir.replace("%", "%%"), "conf_dir": self.conf_dir.replace("%", "%%")}


def clean(path: str) -> str:
    """`path` without ``~``, ``..`` and double slashes."""
    return normpath(expanduser(path))


def surroundings(config: str | None, environ: Mapping[str, str]) -> Surroundings:
    """Of the configuration file `config`, or of the embedded defaults."""
    root = environ.get("GRAPHITE_ROOT") or DEFAULT_ROOT
    storage = environ.get("GRAPHITE_STORAGE_DIR") or join(root, "storage")
    conf = environ.get("GRAPHITE_CONF_DIR") or join(root, "conf")
    return Surroundings(clean(storage), clean(conf) if config is None else dirname(abspath(expanduser(config))))


def derived(
    surrounding: Surroundings, common: Mapping[str, str], own: Mapping[str, str], program: str, instance: str
) -> dict[str, str]:
    """All directories by NAME: what `own` (this instance) or `common` (every instance) sets, else what follows."""
    base = common.get("STORAGE_DIR", surrounding.storage_dir)
    found = {
        "STORAGE_DIR": base,
        "CONF_DIR": surrounding.conf_dir,
        "PID_DIR": base,
        "LOG_DIR": join(base, "log", "carbon-cache" if program == "web" else f"carbon-{program}"),
        "LOCAL_DATA_DIR": join(base, "whisper"),
        **common,
        **own,
    }
    found.setdefault("JOURNAL_DIR", join(found["STORAGE_DIR"], "journal", instance or "none"))
    found.setdefault("SPOOL_DIR", join(found["STORAGE_DIR"], "spool", f"{program}-{instance or 'none'}"))
    for name, file in RULES.items():
        found[name] = join(found["CONF_DIR"], found.get(name, file))
    found.setdefault("EVENTS_FILE", join(dirname(found["LOCAL_DATA_DIR"]), "events.sqlite"))
    found.setdefault("CATALOG_FILE", join(dirname(found["LOCAL_DATA_DIR"]), _named("catalog", instance) + ".sqlite"))
    return found


def log_directory(log_dir: str, program: str, instance: str) -> str:
    """Where the log files of one instance go: a directory of its own in LOG_DIR."""
    return join(log_dir, _named(f"carbon-{program}", instance)) if instance else log_dir


def pidfile(pid_dir: str, program: str, instance: str) -> str:
    """The pidfile of one instance in PID_DIR."""
    return join(pid_dir, _named(f"carbon-{program}", instance) + ".pid")


def rules_files(conf_dir: str) -> RulesFiles:
    """The rules files in CONF_DIR by carbon's names."""
    names = ("storage-schemas.conf", "storage-aggregation.conf", "whitelist.conf", "blacklist.conf")
    return RulesFiles(*(join(conf_dir, name) for name in names))


def _named(what: str, instance: str) -> str:
    return f"{what}-{instance}" if instance else what


def existing_parent(path: str) -> str:
    """`path`, or the nearest directory above it that exists."""
    path = abspath(path)
    while not os.path.exists(path) and path != dirname(path):
        path = dirname(path)
    return path

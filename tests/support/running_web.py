"""A real `carbonpy web` in a child process, over a tree of files, caches and other servers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from support.running import RunningDaemon


class RunningWeb(RunningDaemon):
    """What `RunningDaemon` is for the cache; it listens at `http_port` alone.  `tree` is its LOCAL_DATA_DIR."""

    program = "web"

    def __init__(self, root: Path, tree: Path | None = None, web_extra: Mapping[str, object] | None = None) -> None:
        super().__init__(root, web_extra=web_extra)
        self.tree = tree or root / "no-tree"

    def write_config(self) -> None:
        """The carbon.conf as it stands."""
        web = {"HTTP_INTERFACE": "127.0.0.1", "HTTP_PORT": self.http_port, **self.web_extra}
        lines = ["[cache]", f"STORAGE_DIR = {self.storage_dir}", f"LOCAL_DATA_DIR = {self.tree}", "[web]"]
        self.config_path.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in web.items()), ""]))

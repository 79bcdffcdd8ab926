"""Asking a running daemon, over its HTTP port, to delete and to rename metrics.

The law: a password comes from a file, the environment (CARBONPY_PASSWORD) or a prompt, never from the command line,
where everybody on the machine could read it.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import http.client
import json
import os
import ssl
import sys
from typing import TYPE_CHECKING, Any

from carbonpy.errors import CarbonError

if TYPE_CHECKING:
    from carbonpy.settings import Settings

#: Seconds to wait for an answer: the writers have to come to a halt first.
_PATIENCE = 120.0
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def add_daemon_options(parser: argparse.ArgumentParser) -> None:
    """``--user``, ``--offline``."""
    group = parser.add_argument_group("the daemon")
    group.add_argument("--user", metavar="NAME", help="with HTTP_AUTH_FILE: who asks; the password: CARBONPY_PASSWORD")
    group.add_argument("--offline", action="store_true", help="work on the tree itself; refused while a daemon runs")


class DaemonLink:
    """One daemon's HTTP port.  One thread."""

    def __init__(self, settings: Settings, user: str | None) -> None:
        self._settings = settings
        self._headers = {"Content-Type": "application/json"}
        if user is not None:
            password = os.environ.get("CARBONPY_PASSWORD")
            if password is None:
                if not sys.stdin.isatty():
                    raise CarbonError("there is nobody to ask for the password; put it into CARBONPY_PASSWORD")
                password = getpass.getpass(f"password of {user}: ")
            coded = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {coded}"

    def delete(self, metrics: list[str], unless_written_since: float | None = None) -> list[dict[str, str]]:
        """Have metrics deleted; what became of each.  Raises CarbonError."""
        asked: dict[str, Any] = {"metrics": metrics}
        if unless_written_since is not None:
            asked["unless_written_since"] = unless_written_since
        told: list[dict[str, str]] = self._post("/admin/delete", asked)["metrics"]
        return told

    def rename(self, old: str, new: str) -> int:
        """Have a metric renamed; how many cached points went with it.  Raises CarbonError."""
        return int(self._post("/admin/rename", {"old": old, "new": new})["points"])

    def _post(self, path: str, document: dict[str, Any]) -> Any:
        web = self._settings.web
        if not web.http_port:
            raise CarbonError("the daemon has no HTTP port (HTTP_PORT = 0): set one, or stop it and use --offline")
        host = _ANYWHERE.get(web.http_interface, web.http_interface)
        where = f"{host}:{web.http_port}"
        connection: http.client.HTTPConnection
        if web.http_tls_certificate:
            # It is our own port on this machine, whatever name the certificate is for.
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(host, web.http_port, timeout=_PATIENCE, context=context)
        else:
            connection = http.client.HTTPConnection(host, web.http_port, timeout=_PATIENCE)
        try:
            connection.request("POST", path, json.dumps(document), self._headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise CarbonError(f"the daemon does not answer at {where}: {error}") from None
        finally:
            connection.close()
        if answer.status == 401:
            raise CarbonError("the daemon wants a name and a password; give --user, and CARBONPY_PASSWORD")
        if answer.status != 200:
            raise CarbonError(f"the daemon says: {body.decode(errors='replace').strip()}")
        return json.loads(body)

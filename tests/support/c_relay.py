"""What the real carbon-c-relay says it would do with names: its test mode."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from carbonpy.hashing.destination import Destination
from support.peers import debian_program

#: A name that parts the answers for one name from those for the next.
_NEXT = "next.name.please"


def c_relay() -> str:
    """The path of the program."""
    return debian_program("carbon-c-relay", "carbon-c-relay")


def server(destination: Destination) -> str:
    """`destination` as its configuration writes it."""
    instance = "" if destination.instance is None else f"={destination.instance}"
    return f"{destination.host}:{destination.port}{instance}"


def transcripts(config: str, lines: Sequence[str], directory: Path) -> list[list[str]]:
    """For each of `lines` (``name value timestamp``) what test mode prints about it, indented as it is."""
    path = directory / "relay.conf"
    path.write_text(f"cluster nobody forward 127.0.0.1:9;\nmatch ^{_NEXT}$ send to nobody stop;\n{config}")
    text = "".join(f"{_NEXT} 1 1\n{line}\n" for line in lines)
    done = subprocess.run([c_relay(), "-f", str(path), "-t"], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    answers: list[list[str]] = []
    printed = iter(done.stdout.split("\n"))
    for line in printed:
        if line.endswith(f"-> {_NEXT}"):
            answers.append([])
            # What follows is about this name: its clusters, its servers and "stop".
            while next(printed) != "    stop":
                pass
        elif answers and line:
            answers[-1].append(line)
    assert len(answers) == len(lines), (len(answers), len(lines), done.stdout[-500:])
    return answers


def servers_of(transcript: Sequence[str]) -> list[str]:
    """The ``host:port`` of a transcript, in its order."""
    return [line.strip() for line in transcript if _is_server(line.strip())]


def _is_server(line: str) -> bool:
    host, colon, port = line.rpartition(":")
    return bool(colon) and port.isdigit() and " " not in host and "(" not in host

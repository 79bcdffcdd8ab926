"""What is done to a cluster: kills, restarts, hangs and full disks, one after the other and several at once.

The law: what is broken here is mended here, and each deed is known with its time.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from clusterlib.programs import Cluster, Program

#: Seconds that a program stays killed, a cache hangs (the last is longer than relays wait for a confirmation), and a
#: disk stays full.
DEAD, HUNG, HUNG_LONG, FULL = (1.0, 6.0), (1.0, 6.0), (11.0, 14.0), (3.0, 8.0)
#: Seconds that a relay stays killed: nothing is sent to it meanwhile, so it is not long.
RELAY_DEAD = (0.5, 2.0)
#: Seconds between the end and the start of a restart.
GONE = (0.0, 0.5)
#: Seconds that a relay needs after its disk was full.
CATCHING_UP = 2.0
#: Seconds between two deeds.
PAUSE = (1.0, 5.0)


@contextmanager
def small_disks(place: Path, machines: Sequence[str], megabytes: int) -> Iterator[dict[str, Path]]:
    """Machine -> a disk of its own in memory; none where that is not allowed (it needs root)."""
    disks: dict[str, Path] = {}
    try:
        for name in machines:
            path = place / f"disk-{name}"
            path.mkdir(parents=True, exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,nr_inodes=0", "carbonpy-chaos", str(path)]
            if os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0:
                disks[name] = path
        yield disks
    finally:
        for path in disks.values():
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte free on a disk."""
    with (disk / "ballast").open("ab", buffering=0) as ballast:
        for size in (1 << 24, 1 << 16, 1 << 12, 1):
            try:
                while ballast.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


def _children(program: Program) -> list[int]:
    """The processes that a program has started."""
    assert program.process is not None
    pid = program.process.pid
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Trouble:
    """Makes trouble for the programs of a cluster, each of which has one trouble at a time.  One owner.

    say: is told of each deed.  disks: of machines, those that may be filled.
    """

    def __init__(
        self, cluster: Cluster, disks: Mapping[str, Path], random: random.Random, say: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._disks = disks
        self._random = random
        self._say = say
        #: Program -> when and how it is mended.
        self._mending: dict[str, tuple[float, Callable[[], None]]] = {}
        self._next = 0.0
        #: Relay -> (from, until) of the moments at which it was killed.
        self.deaths: dict[str, list[tuple[float, float]]] = {name: [] for name in cluster.relays}
        self.deeds: dict[str, int] = {}
        #: What must not have happened.
        self.complaints: list[str] = []

    @property
    def troubled(self) -> set[str]:
        """The names of programs that are not well at this moment."""
        return set(self._mending)

    def go_on(self) -> None:
        """Mend what is due, and do the next deed if it is time."""
        now = time.monotonic()
        for name, (due, mend) in list(self._mending.items()):
            # To mend one may have given another more time.
            if due <= now and self._mending.get(name) == (due, mend):
                del self._mending[name]
                mend()
        if now >= self._next:
            self._next = now + self._random.uniform(*PAUSE)
            self._do_something()

    def mend_all(self) -> None:
        """No trouble any more: everything runs."""
        for _, mend in list(self._mending.values()):
            mend()
        self._mending.clear()
        for program in (*self._cluster.caches.values(), *self._cluster.relays.values()):
            program.wait()

    def _do_something(self) -> None:
        deeds = [
            ("kill a cache", self._kill_cache),
            ("kill a cache", self._kill_cache),
            ("hang a cache", self._hang),
            ("hang a cache", self._hang),
            ("kill a relay", self._kill_relay),
            ("kill a writer", self._kill_writer),
            ("restart a cache", self._restart_cache),
            ("restart a relay", self._restart_relay),
        ]
        if self._disks:
            deeds.append(("fill a disk", self._fill))
        name, deed = self._random.choice(deeds)
        if deed():
            self.deeds[name] = self.deeds.get(name, 0) + 1

    def _well(self, programs: dict[str, Program]) -> str | None:
        names = [name for name, program in programs.items() if program.name not in self._mending]
        return self._random.choice(names) if names else None

    def _later(self, program: Program, seconds: tuple[float, float], mend: Callable[[], None]) -> float:
        pause = self._random.uniform(*seconds)
        self._mending[program.name] = (time.monotonic() + pause, mend)
        return pause

    def _kill_cache(self) -> bool:
        name = self._well(self._cluster.caches)
        if name is None:
            return False
        program = self._cluster.caches[name]
        program.kill()
        self._say(f"cache {name} is killed for {self._later(program, DEAD, program.start):.1f} s")
        return True

    def _kill_relay(self) -> bool:
        name = self._well(self._cluster.relays)
        if name is None:
            return False
        program = self._cluster.relays[name]
        before = time.monotonic()
        program.kill()
        self.deaths[name].append((before, time.monotonic()))
        self._say(f"relay {name} is killed for {self._later(program, RELAY_DEAD, program.start):.1f} s")
        return True

    def _kill_writer(self) -> bool:
        """One of the processes that write the files of a cache."""
        name = self._well(self._cluster.caches)
        writers = _children(self._cluster.caches[name]) if name is not None else []
        if not writers:
            return False
        os.kill(self._random.choice(writers), signal.SIGKILL)
        self._say(f"a writer of cache {name} is killed")
        return True

    def _restart_cache(self) -> bool:
        name = self._well(self._cluster.caches)
        if name is None or not self._cluster.caches[name].is_ready():
            return False
        self._restart(self._cluster.caches[name])
        return True

    def _restart_relay(self) -> bool:
        name = self._well(self._cluster.relays)
        if name is None or not self._cluster.relays[name].is_ready():
            return False
        before = time.monotonic()
        self._restart(self._cluster.relays[name])
        self.deaths[name].append((before, time.monotonic()))
        return True

    def _restart(self, program: Program) -> None:
        """As an operator does it, with SIGTERM."""
        program.ask_to_end()
        code = program.wait_for_end()
        if code:
            self.complaints.append(f"{program.name} ended with exit code {code}")
        self._say(f"{program.name} was asked to end and is away for {self._later(program, GONE, program.start):.1f} s")

    def _hang(self) -> bool:
        name = self._well(self._cluster.caches)
        if name is None:
            return False
        program = self._cluster.caches[name]
        program.hold()
        pause = self._later(program, self._random.choice([HUNG, HUNG, HUNG_LONG]), program.go_on)
        self._say(f"cache {name} hangs for {pause:.1f} s")
        return True

    def _fill(self) -> bool:
        """The disk of a machine: its cache cannot journal, its relay, if it has one, has memory alone for a while."""
        name = self._random.choice(list(self._disks))
        disk, cache, relay = self._disks[name], self._cluster.caches[name], self._cluster.relays.get(name)
        if cache.name in self._mending or (relay is not None and relay.name in self._mending):
            return False
        fill(disk)

        def free() -> None:
            (disk / "ballast").unlink()
            self._say(f"the disk of machine {name} has room again")
            if relay is not None:
                # Not before it has had the time to put on disk what it should have put there.
                self._mending[relay.name] = (time.monotonic() + CATCHING_UP, lambda: None)
            if not cache.runs:
                cache.start()

        pause = self._later(cache, FULL, free)
        if relay is not None:
            # Until there is room, however late that is: to end a program may take longer than a disk is to be full.
            self._mending[relay.name] = (float("inf"), lambda: None)
        killed = self._random.random() < 0.5
        if killed:
            time.sleep(min(2.0, pause / 2))
            cache.kill()
        more = f", and cache {name} is killed meanwhile" if killed else ""
        self._say(f"the disk of machine {name} is full for {pause:.1f} s{more}")
        return True

"""This machine's figures, from a /proc written by hand and from the real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from carbonpy.cli.hostmetrics import HostFigures, node
from carbonpy.metric import canonical

DISKSTATS = """\
   8       0 sda {reads} 0 2000 0 5 0 {written} 0 0 0 0
   8       1 sda1 1 0 999 0 5 0 999 0 0 0 0
   7       0 loop0 1 0 999 0 5 0 999 0 0 0 0
"""
NET = """\
Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
  eth0: {received} 20 0 0 0 0 0 0 {sent} 40 0 0 0 0 0 0
"""


class Machine:
    """A directory that looks like /proc, and seconds that pass when told."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.now = 100.0
        (proc / "net").mkdir(parents=True)
        (proc / "self").mkdir()
        self.write("loadavg", "0.25 1.50 2.75 3/456 789\n")
        self.write("meminfo", "MemTotal:  1000 kB\nMemFree: 100 kB\nMemAvailable:  600 kB\nHugePages_Total: 0\n")
        self.write("self/mounts", "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n")
        self.counters(cpu="100 0 50 800 50 0 0 0", written=0, received=1000, sent=0)

    def write(self, name: str, text: str) -> None:
        (self.proc / name).write_text(text)

    def counters(self, cpu: str, written: int, received: int, sent: int) -> None:
        self.write("stat", f"cpu  {cpu} 0 0\ncpu0 1 2 3 4\nbtime 1\n")
        self.write("diskstats", DISKSTATS.format(reads=1, written=written))
        self.write("net/dev", NET.format(received=received, sent=sent))

    def figures(self) -> HostFigures:
        return HostFigures(str(self.proc), lambda: self.now)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "proc")


def test_the_first_look_has_levels_and_no_rates(machine: Machine) -> None:
    seen = dict(machine.figures().read())
    assert seen["load.1min"] == 0.25
    assert seen["load.15min"] == 2.75
    assert seen["load.running"] == 3
    assert seen["memory.total"] == 1000 * 1024
    assert seen["memory.used"] == 400 * 1024
    assert not [name for name in seen if name.startswith(("cpu.", "io.", "network."))]


def test_the_root_filesystem_is_there_with_its_real_size(machine: Machine) -> None:
    seen = dict(machine.figures().read())
    space = os.statvfs("/")
    assert seen["disk.root.used"] + seen["disk.root.free"] <= space.f_blocks * space.f_frsize
    assert 0 <= seen["disk.root.used_percent"] <= 100
    assert {name for name in seen if name.startswith("disk.")} == {
        f"disk.root.{figure}" for figure in ("used", "free", "used_percent")
    }


def test_the_second_look_has_rates_per_second_and_shares_in_percent(machine: Machine) -> None:
    figures = machine.figures()
    figures.read()
    machine.now += 10
    machine.counters(cpu="130 0 60 850 60 0 0 0", written=100, received=51000, sent=20)
    seen = dict(figures.read())
    assert seen["cpu.user"] == 30.0
    assert seen["cpu.idle"] == 50.0
    assert sum(value for name, value in seen.items() if name.startswith("cpu.")) == pytest.approx(100)
    assert seen["io.sda.written_bytes"] == 100 * 512 / 10
    assert seen["network.eth0.received_bytes"] == 5000.0
    assert seen["network.eth0.sent_bytes"] == 2.0


def test_parts_of_disks_are_not_counted_twice(machine: Machine) -> None:
    figures = machine.figures()
    figures.read()
    machine.now += 1
    assert {name.split(".")[1] for name, _ in figures.read() if name.startswith("io.")} == {"sda"}


def test_a_counter_that_starts_anew_has_no_rate_this_once(machine: Machine) -> None:
    figures = machine.figures()
    figures.read()
    machine.now += 1
    machine.counters(cpu="130 0 60 850 60 0 0 0", written=0, received=5, sent=100)
    seen = dict(figures.read())
    assert "network.eth0.received_bytes" not in seen
    assert seen["network.eth0.sent_bytes"] == 100


def test_what_the_system_does_not_offer_is_left_out(machine: Machine) -> None:
    (machine.proc / "loadavg").unlink()
    machine.write("meminfo", "nothing of the sort\n")
    machine.write("stat", "")
    figures = machine.figures()
    figures.read()
    machine.now += 1
    families = {name.split(".")[0] for name, _ in figures.read()}
    assert families == {"disk", "io", "network"}
    assert HostFigures("/nonexistent").read() == []


def test_every_name_is_a_metric_as_it_stands(machine: Machine) -> None:
    machine.write("net/dev", NET.format(received=1, sent=1).replace("eth0", "br-lan.7 odd"))
    figures = machine.figures()
    figures.read()
    machine.now += 1
    names = [name for name, _ in figures.read()]
    assert "network.br-lan_7_odd.sent_bytes" in names
    assert [canonical(name) for name in names] == names
    assert node("/") == "root"
    assert node("/var/log") == "var_log"


def test_the_real_machine_has_the_four_families() -> None:
    families = {name.split(".")[0] for name, _ in HostFigures().read()}
    assert {"load", "memory", "disk"} <= families

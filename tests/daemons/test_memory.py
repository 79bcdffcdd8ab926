"""What the C library is told about memory, seen from outside: its own account of its arenas."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import ctypes, sys, threading
from carbonpy.daemons import memory

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
getattr(memory, sys.argv[1])()
here = threading.Barrier(4)

def work():
    here.wait()  # all of them live at once, so none can have the arena of one that ended
    libc.malloc(1000)
    here.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
stream = libc.fdopen(1, b"w")
libc.malloc_info(0, stream)
libc.fclose(stream)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas; there is nothing to tell others")
@pytest.mark.parametrize(("told", "shared"), [("give_back", True), ("trim", False)])
def test_all_threads_of_a_daemon_share_one_arena(told: str, shared: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, told],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.count("<heap nr=") == 1) is shared, done.stdout

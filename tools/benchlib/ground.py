"""A fresh filesystem for every single run, gone afterwards whatever happens.

Creating many files shortly after many were deleted is slow on some filesystems, and a filesystem that was written
to before is not the one the other daemon got. So each run stands on ground nobody has walked on: a tmpfs of its own
or a new ext4 image on a loop device (both need root), or else a new directory under /dev/shm.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

EXT4_IMAGE_BYTES = 24 << 30


@contextlib.contextmanager
def fresh_ground(kind: str, work_dir: Path) -> Iterator[Path]:
    """Yield an empty directory on fresh ground of `kind` ("tmpfs" or "ext4") and take it away after the block."""
    work_dir.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        if kind != "tmpfs":
            raise SystemExit("bench: --filesystem ext4 mounts a loop device and needs root; use tmpfs")
        place = Path(tempfile.mkdtemp(prefix="carbonpy-bench-", dir="/dev/shm"))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return
    place = Path(tempfile.mkdtemp(prefix="ground-", dir=work_dir))
    image = place.with_suffix(".img")
    mounted = False
    try:
        if kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", "mode=0755,size=80%,nr_inodes=0", "carbonpy-bench", str(place))
        else:
            with image.open("wb") as file:
                file.truncate(EXT4_IMAGE_BYTES)
            _run("mkfs.ext4", "-q", "-F", "-i", "8192", str(image))
            _run("mount", "-o", "loop,noatime", str(image), str(place))
        mounted = True
        yield place
    finally:
        if mounted:
            _unmount(place)
        with contextlib.suppress(OSError):
            place.rmdir()
        with contextlib.suppress(FileNotFoundError):
            image.unlink()


def _unmount(place: Path) -> None:
    for _ in range(50):
        if subprocess.run(["umount", str(place)], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    _run("umount", "--lazy", str(place))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command)}: {done.stderr.strip()}")

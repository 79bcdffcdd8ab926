"""A new file is complete under its name or not there at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import whisper
from support.disks import files_of_at_most

from carbonpy.whisper import file
from carbonpy.whisper.errors import (
    FileAlreadyExists,
    InvalidAggregationMethod,
    InvalidConfiguration,
    InvalidXFilesFactor,
)
from carbonpy.whisper.layout import make_header, pack_header

ARCHIVES = [(60, 1440), (300, 2016), (3600, 8760)]
NOBODY = 65534


@pytest.mark.parametrize("options", [{"sparse": True}, {"sparse": False}, {"fallocate": True}, {"fsync": True}])
@pytest.mark.parametrize("archives", [[(1, 1)], [(300, 2016), (60, 1440)], ARCHIVES])
def test_every_way_to_create_gives_the_bytes_of_the_whisper_package(
    tmp_path: Path, options: dict[str, bool], archives: list[tuple[int, int]]
) -> None:
    whisper.create(str(tmp_path / "theirs"), list(archives), 0.3, "absmin")
    header = file.create(tmp_path / "ours", archives, 0.3, "absmin", **options)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert header.file_size == (tmp_path / "ours").stat().st_size
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode
    assert (tmp_path / "ours").stat().st_nlink == 1
    assert sorted(os.listdir(tmp_path)) == ["ours", "theirs"]


def test_paths_may_be_bytes_or_relative_and_names_as_long_as_the_file_system_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (b"bytes\xff.wsp", "here.wsp", "x" * 251 + ".wsp"):
        file.create(path, [(60, 10)])
        assert os.path.getsize(path) == 28 + 120


@pytest.mark.parametrize("options", [{"sparse": True}, {"sparse": False}, {"fallocate": True}])
def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, options: dict[str, bool]) -> None:
    with files_of_at_most(100_000), pytest.raises(OSError):
        file.create(tmp_path / "m.wsp", ARCHIVES, **options)
    assert os.listdir(tmp_path) == []


def test_a_disk_too_full_for_the_header_leaves_nothing_behind(tmp_path: Path) -> None:
    with files_of_at_most(20), pytest.raises(OSError):
        file.create(tmp_path / "m.wsp", ARCHIVES)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_is_full_at_the_first_points_leaves_nothing_behind(tmp_path: Path) -> None:
    header = make_header([(60, 10)])
    with files_of_at_most(100), pytest.raises(OSError), file.creating(tmp_path / "m.wsp", header, sparse=True):
        raise AssertionError("the file was longer than allowed")
    assert os.listdir(tmp_path) == []


def test_a_directory_without_permission_is_reported_and_unchanged() -> None:
    directory = tempfile.mkdtemp()
    os.chmod(directory, 0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(NOBODY)
        with pytest.raises(PermissionError):
            file.create(os.path.join(directory, "m.wsp"), ARCHIVES)
        assert os.listdir(directory) == []
    finally:
        os.seteuid(user)
        os.chmod(directory, 0o755)
        shutil.rmtree(directory)


def test_a_directory_that_is_missing_or_a_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file.create(tmp_path / "missing" / "m.wsp", ARCHIVES)
    (tmp_path / "plain").touch()
    with pytest.raises(NotADirectoryError):
        file.create(tmp_path / "plain" / "m.wsp", ARCHIVES)
    assert os.listdir(tmp_path) == ["plain"]


def test_a_file_that_exists_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "m.wsp"
    path.write_bytes(b"precious")
    with pytest.raises(FileAlreadyExists, match=r"m\.wsp already exists!"):
        file.create(path, ARCHIVES)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["m.wsp"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "m.wsp"
    with pytest.raises(FileAlreadyExists), file.creating(path, make_header(ARCHIVES)):
        path.write_bytes(b"faster")
    assert path.read_bytes() == b"faster"
    assert os.listdir(tmp_path) == ["m.wsp"]


def test_of_many_that_create_one_file_exactly_one_succeeds(tmp_path: Path) -> None:
    def attempt(_: int) -> bool:
        try:
            file.create(tmp_path / "m.wsp", ARCHIVES)
        except FileAlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(64))) == 1
    assert os.listdir(tmp_path) == ["m.wsp"]


def test_the_file_appears_with_its_first_points(tmp_path: Path) -> None:
    path, now = tmp_path / "m.wsp", 1_700_000_000
    header = make_header([(60, 10)])
    with file.creating(path, header) as fd:
        assert file.write_points(fd, header, [now - 60, now], [1.0, 2.0], now, empty=True) == (2, 0, 0)
        assert not path.exists()
    assert whisper.fetch(str(path), now - 120, now, now)[1] == [1.0, 2.0]


def test_a_block_that_raises_leaves_no_file_and_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ZeroDivisionError), file.creating(tmp_path / "m.wsp", make_header(ARCHIVES)):
        print(1 // 0)
    assert os.listdir(tmp_path) == []
    assert os.listdir("/proc/self/fd") == before


def test_a_process_killed_in_the_middle_leaves_only_a_file_known_as_unfinished(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from carbonpy.whisper import file\n"
        "from carbonpy.whisper.layout import make_header\n"
        "with file.creating(sys.argv[1], make_header([(60, 10)])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "m.wsp"
    root = str(Path(__file__).resolve().parents[2])
    ended = subprocess.run([sys.executable, "-c", program, str(path)], env={**os.environ, "PYTHONPATH": root})
    assert ended.returncode == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    assert file.is_temporary(left)
    assert not left.endswith(".wsp")
    file.create(path, ARCHIVES)
    assert not file.is_temporary(path.name)


#: For a process that may not make hard links: the kernel answers EPERM, as file systems without them do.
NO_LINKS = """
import ctypes, os, platform, struct, sys
numbers = {"x86_64": (86, 265), "aarch64": (37, 37)}[platform.machine()]
LOAD_NUMBER, IF_EQUAL, RETURN, ALLOW, REFUSE = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000 | 1
program = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (LOAD_NUMBER, 0, 0, 0), (IF_EQUAL, 1, 0, numbers[0]), (IF_EQUAL, 0, 1, numbers[1]),
        (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW),
    )
)
code = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("H6xP", len(program) // 8, ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0, os.strerror(ctypes.get_errno())
probe = sys.argv[1] + "/probe"
open(probe, "w").close()
try:
    os.link(probe, probe + "2")
except PermissionError:
    os.unlink(probe)
else:
    sys.exit("links are still allowed")

from carbonpy.whisper import file
from carbonpy.whisper.errors import FileAlreadyExists
file.create(sys.argv[1] + "/m.wsp", [(60, 10)])
try:
    file.create(sys.argv[1] + "/m.wsp", [(60, 20)])
except FileAlreadyExists:
    print("refused")
"""


def test_without_hard_links_a_file_is_renamed_and_an_existing_one_still_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", NO_LINKS, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "refused\n", "")
    assert os.listdir(tmp_path) == ["m.wsp"]
    assert (tmp_path / "m.wsp").stat().st_size == 28 + 120


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (InvalidAggregationMethod, (ARCHIVES, 0.5, "median")),
        (InvalidXFilesFactor, (ARCHIVES, 1.5, "sum")),
        (InvalidXFilesFactor, (ARCHIVES, "half", "sum")),
        (InvalidXFilesFactor, (ARCHIVES, float("nan"), "sum")),
        (InvalidConfiguration, ([], 0.5, "sum")),
        (InvalidConfiguration, ([(60, 0)], 0.5, "sum")),
        (InvalidConfiguration, ([(0, 60)], 0.5, "sum")),
        (InvalidConfiguration, ([(60, 2**27)], 0.5, "sum")),
        (InvalidConfiguration, ([(1, 400_000_000), (2, 400_000_000)], 0.5, "sum")),
    ],
)
def test_what_cannot_be_a_file_is_refused_before_anything_is_written(
    tmp_path: Path, error: type[Exception], arguments: tuple[list[tuple[int, int]], float, str]
) -> None:
    with pytest.raises(error):
        file.create(tmp_path / "m.wsp", *arguments)
    with pytest.raises(error):
        pack_header(*arguments)
    assert os.listdir(tmp_path) == []

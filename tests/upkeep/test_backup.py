"""A backup gives back what was there, reads again only what has changed, and notices every damaged byte."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.running import REPOSITORY

from carbonpy.cli.main import main
from carbonpy.upkeep import packs
from carbonpy.upkeep.backup import Backup, Told, prune, restore
from carbonpy.upkeep.packs import BackupError, PackReader, list_path, read_list, snapshots
from carbonpy.whisper.creation import is_temporary
from carbonpy.whisper.treelock import TreeLock

OLD = time.time() - 1000


def write(root: Path, name: str, data: bytes, when: float = OLD) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (when, when))
    return path


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.wsp")}


def backed_up(root: Path, directory: Path, **how: bool) -> dict[str, str]:
    return {one.path: one.what for one in Backup(str(root), str(directory), **how).run()}


def restored(directory: Path, to: Path, name: str = "", **how: bool) -> list[Told]:
    _, entries = read_list(list_path(str(directory), name or snapshots(str(directory))[-1]))
    return list(restore(str(directory), entries, str(to), **how))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a.wsp", "b/c.wsp", "b/d.wsp", "e/f/g.wsp"]), st.binary(max_size=3000)),
        min_size=1,
        max_size=4,
    )
)
def test_every_backup_of_a_history_gives_back_what_was_there(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, bytes]]
) -> None:
    top = tmp_path_factory.mktemp("backup")
    root, directory = top / "tree", top / "backup"
    root.mkdir()
    for number, files in enumerate(history):
        for name, data in files.items():
            write(root, name, data, OLD + number)
        history[number] = tree(root)
        told = backed_up(root, directory)
        before = history[number - 1] if number else {}
        assert {name for name, what in told.items() if what == "kept"} == {
            name for name, data in history[number].items() if before.get(name) != data
        }
    for number, (name, expected) in enumerate(zip(snapshots(str(directory)), history)):
        to = top / f"restored-{number}"
        assert {one.what for one in restored(directory, to, name)} <= {"restored"}
        assert tree(to) == expected


def test_what_has_not_changed_is_not_read_again_unless_it_was_young(tmp_path: Path) -> None:
    root, directory = tmp_path / "tree", tmp_path / "backup"
    path = write(root, "a.wsp", b"one")
    young = write(root, "b.wsp", b"young", time.time())
    assert backed_up(root, directory) == {"a.wsp": "kept", "b.wsp": "kept"}
    path.write_bytes(b"two")
    os.utime(path, (OLD, OLD))  # nothing shows that it has changed
    when = os.stat(young).st_mtime_ns
    young.write_bytes(b"YOUNG")
    os.utime(young, ns=(when, when))
    assert backed_up(root, directory) == {"a.wsp": "same", "b.wsp": "kept"}
    assert backed_up(root, directory, full=True) == {"a.wsp": "kept", "b.wsp": "kept"}
    restored(directory, tmp_path / "to")
    assert tree(tmp_path / "to") == {"a.wsp": b"two", "b.wsp": b"YOUNG"}
    assert os.stat(tmp_path / "to" / "a.wsp").st_mtime == pytest.approx(OLD)


@pytest.mark.parametrize("where", range(0, 100, 7))
def test_a_damaged_byte_costs_its_file_and_is_told(tmp_path: Path, where: int) -> None:
    root, directory = tmp_path / "tree", tmp_path / "backup"
    chance = random.Random(where)
    for number in range(5):
        write(root, f"m{number}.wsp", chance.randbytes(200))
    backed_up(root, directory)
    (pack,) = (directory / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    place = len(packs.MAGIC) + (len(data) - len(packs.MAGIC)) * where // 100
    data[place] ^= 1
    pack.write_bytes(data)
    told = restored(directory, tmp_path / "to")
    assert sorted(one.what for one in told) == ["failed"] + ["restored"] * 4
    assert all(tree(tmp_path / "to")[name] == (root / name).read_bytes() for name in tree(tmp_path / "to"))
    assert main(["restore", "--verify", str(directory)]) == 1


def test_a_list_that_breaks_off_or_was_changed_is_no_backup(tmp_path: Path) -> None:
    root, directory = tmp_path / "tree", tmp_path / "backup"
    for number in range(3):
        write(root, f"m{number}.wsp", bytes([number]) * 50)
    backed_up(root, directory)
    path = Path(list_path(str(directory), snapshots(str(directory))[0]))
    whole = path.read_bytes()
    for end in range(0, len(whole), 13):
        path.write_bytes(whole[:end])
        with pytest.raises(BackupError):
            read_list(str(path))
        if whole[:end].count(b"\n"):
            assert len(read_list(str(path), complete=False)[1]) == max(0, whole[:end].count(b"\n") - 1)
    path.write_bytes(whole.replace(b'"size":50', b'"size":51', 1))
    with pytest.raises(BackupError):
        read_list(str(path))


def test_nothing_is_replaced_without_being_told_to_and_a_second_run_finds_it_all_there(tmp_path: Path) -> None:
    root, directory, to = tmp_path / "tree", tmp_path / "backup", tmp_path / "to"
    write(root, "a.wsp", b"mine")
    write(root, "b.wsp", b"b")
    backed_up(root, directory)
    write(to, "a.wsp", b"another")
    assert [one.what for one in restored(directory, to)] == ["kept", "restored"]
    assert tree(to) == {"a.wsp": b"another", "b.wsp": b"b"}
    assert [one.what for one in restored(directory, to, overwrite=True)] == ["restored", "same"]
    assert [one.what for one in restored(directory, to)] == ["same", "same"]


def test_beside_a_daemon_a_restored_file_bears_the_time_of_now(tmp_path: Path) -> None:
    root, directory, to = tmp_path / "tree", tmp_path / "backup", tmp_path / "to"
    write(root, "a.wsp", b"a")
    backed_up(root, directory)
    to.mkdir()
    with TreeLock(str(to), create=True).shared():
        pass
    before = time.time_ns()
    restored(directory, to)
    assert os.stat(to / "a.wsp").st_mtime_ns >= before


def test_a_list_cannot_lead_out_of_the_tree(tmp_path: Path) -> None:
    root, directory = tmp_path / "tree", tmp_path / "backup"
    write(root, "a.wsp", b"a")
    backed_up(root, directory)
    _, (entry,) = read_list(list_path(str(directory), snapshots(str(directory))[0]))
    for path in ("../x.wsp", "/x.wsp", "a/../../x.wsp"):
        (told,) = restore(str(directory), [entry._replace(path=path)], str(tmp_path / "to"))
        assert told.what == "failed"
    with pytest.raises(BackupError):
        PackReader(str(directory)).get(entry._replace(pack="../packs/" + entry.pack))


def test_pruning_keeps_what_the_newest_backups_need(tmp_path: Path) -> None:
    root, directory = tmp_path / "tree", tmp_path / "backup"
    write(root, "never.wsp", b"never changes" * 100)
    for number in range(4):
        write(root, "often.wsp", random.Random(number).randbytes(500), OLD + number)
        backed_up(root, directory)
    gone, freed = prune(str(directory), 1)
    assert gone == 3
    assert freed > 900
    assert {one.what for one in restored(directory, tmp_path / "to")} == {"restored"}
    assert tree(tmp_path / "to") == tree(root)


def test_killed_at_any_moment_it_goes_on_with_what_it_has(tmp_path: Path) -> None:
    root, directory, to = tmp_path / "tree", tmp_path / "backup", tmp_path / "to"
    chance = random.Random(3)
    for number in range(700):
        write(root, f"d{number % 10}/m{number}.wsp", chance.randbytes(4000))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "carbonpy"]
    backing = [*command, "backup", "--tree", str(root), "--quiet", str(directory)]
    restoring = [*command, "restore", "--to", str(to), "--quiet", str(directory)]
    for words in (backing, restoring):
        for seconds in (0.35, 0.45, 0.55):
            child = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(seconds)
            child.kill()
            child.wait()
            for path in to.rglob("*.wsp"):
                assert path.read_bytes() == (root / path.relative_to(to)).read_bytes()
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    assert tree(to) == tree(root)
    left = [name for _, _, names in os.walk(to) for name in names if is_temporary(name)]
    assert len(left) <= 3
    assert main(["restore", "--verify", str(directory)]) == 0

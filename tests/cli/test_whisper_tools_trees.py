"""Whole trees: in parallel, without touching what should not be, and whole after kill -9."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import whisper
from support.running import REPOSITORY
from support.waiting import until
from support.whisper_scripts import ours

from carbonpy.cli.main import main as carbonpy
from carbonpy.cli.whisper.crowd import Outcome, each, whisper_files, with_progress
from carbonpy.cli.whisper.table import TOOLS
from carbonpy.errors import CarbonError
from carbonpy.whisper import creation
from carbonpy.whisper.image import Image, known_of, parse_image
from carbonpy.whisper.layout import make_header
from carbonpy.whisper.storing import RingWriter

HEADER = make_header([(60, 60), (300, 48)], 0.5, "average")
FILES = 150
Capture = pytest.CaptureFixture[str]


def main(words: Sequence[str]) -> int:
    return carbonpy(["whisper", *words])


def data_with(gap: range = range(0), *, now: int | None = None) -> bytes:
    """A file with an hour of values, but for the minutes of `gap` before now."""
    now = int(time.time()) if now is None else now
    image = Image(HEADER.pack() + bytes(HEADER.file_size - len(HEADER.pack())), "file")
    slots = [now - now % 60 - 60 * age for age in range(59, -1, -1) if age not in gap]
    RingWriter(image, HEADER).write(slots, [float(slot // 60 % 100) for slot in slots], now)
    return bytes(image.data)


def lay(root: Path, data: bytes, count: int = FILES) -> list[Path]:
    paths = [root / f"dir{number % 7}" / f"m{number:04}.wsp" for number in range(count)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return paths


def points_of(path: Path) -> list[int]:
    return [archive["points"] for archive in whisper.info(str(path))["archives"]]


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if creation.is_temporary(path.name)]


def test_a_tree_is_resized_in_parallel_and_reported_in_order(tmp_path: Path, capsys: Capture) -> None:
    paths = lay(tmp_path, data_with())
    (tmp_path / "dir0" / "broken.wsp").write_bytes(b"broken")
    (tmp_path / "dir0" / "note.txt").write_bytes(b"no whisper file")
    assert main(["resize", "--jobs", "3", "--nobackup", "--json", str(tmp_path), "60:120", "300:96"]) == 1
    told = capsys.readouterr()
    records = [json.loads(line) for line in told.out.splitlines()]
    assert [record["path"] for record in records] == sorted(map(str, paths))
    assert {json.dumps(record["to"]) for record in records} == {"[[60, 120], [300, 96]]"}
    assert f"[ERROR] {tmp_path}/dir0/broken.wsp: Unable to read header" in told.err
    assert f"{FILES + 1} files, {FILES} changed, 1 failed" in told.err
    assert all(points_of(path) == [120, 96] for path in paths)
    assert (tmp_path / "dir0" / "note.txt").read_bytes() == b"no whisper file"
    assert leftovers(tmp_path) == []


def test_a_dry_run_changes_nothing_and_says_what_it_would(tmp_path: Path, capsys: Capture) -> None:
    data = data_with(range(10, 20))
    paths = lay(tmp_path / "b", data, 30)
    lay(tmp_path / "a", data_with(), 31)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}
    now = int(time.time())
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    for words in (
        ["resize", b, "60:120", "300:96"],
        ["fill", "--create", a, b],
        ["merge", a, b],
        ["delete-range", b, "--from", str(now - 3000), "--until", str(now)],
        ["set-xfilesfactor", b, "0.1"],
        ["set-aggregation-method", b, "max"],
        ["auto-update", b, "--expression", "value + 1"],
    ):
        assert main([*words[:1], "--dry-run", *words[1:]]) == 0, words
        assert "30 files, 30 would be changed, 0 failed" in capsys.readouterr().err, words
    assert main(["create", "--dry-run", str(tmp_path / "new.wsp"), "60:10"]) == 0
    assert main(["update", "--dry-run", str(paths[0]), "N:1"]) == 0
    assert main(["rename", "--dry-run", str(paths[0]), str(tmp_path / "x.wsp")]) == 0
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_list_of_files_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = lay(tmp_path, data_with(), 5)
    lines = "".join(f"{path}\n" for path in paths[:3])
    now = time.time()
    ran = ours(monkeypatch, now, "set-xfilesfactor", "--files-from", "-", "0.25", stdin=lines)
    assert ran.code == 0
    assert [whisper.info(str(path))["xFilesFactor"] for path in paths] == [0.25] * 3 + [0.5] * 2
    ran = ours(monkeypatch, now, "info", "--files-from", "-", "xFilesFactor", stdin=lines)
    assert ran.out == "".join(f"{path}: 0.25\n" for path in paths[:3])


def test_a_tree_is_filled_from_another_one(tmp_path: Path, capsys: Capture) -> None:
    now = int(time.time())
    whole, holed = data_with(now=now), data_with(range(10, 20), now=now)
    lay(tmp_path / "a", whole, 60)
    paths = lay(tmp_path / "b", holed, 50)
    assert main(["fill", "--backup", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "10 files of" in capsys.readouterr().err
    known = [known_of(path.read_bytes(), archive).slots.tolist() for path in paths for archive in HEADER.archives]
    wanted = [known_of(whole, archive).slots.tolist() for archive in HEADER.archives]
    assert known == wanted * len(paths)
    assert all(Path(f"{path}.bak").read_bytes() == holed for path in paths)
    assert main(["fill", "--create", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert len(list(whisper_files(str(tmp_path / "b")))) == 60
    assert main(["diff", "--ignore-empty", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "60 files, 0 differ" in capsys.readouterr().err
    assert main(["update", str(paths[7]), f"{now - 60}:99999"]) == 0
    assert main(["diff", "--json", "--summary", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["path_b"] == str(paths[7])


def test_every_tool_that_tells_something_tells_it_in_json(tmp_path: Path, capsys: Capture) -> None:
    (path,) = lay(tmp_path, data_with(), 1)
    other = tmp_path / "other.wsp"
    other.write_bytes(path.read_bytes())
    now = int(time.time())
    conf = tmp_path / "storage-schemas.conf"
    conf.write_text("[a]\npattern = .*\nretentions = 60:60,300:48\n")
    for words in (
        ["create", str(tmp_path / "new.wsp"), "60:10"],
        ["create", "--estimate", "60:10"],
        ["info", str(path)],
        ["dump", str(path)],
        ["fetch", str(path), "--from", "-1h"],
        ["plot", str(path), "--from", "-1h"],
        ["update", str(path), "N:1"],
        ["resize", str(path), "60:60", "300:96"],
        ["auto-update", str(path), "--from", "-1h"],
        ["merge", str(path), str(path)],
        ["fill", str(path), str(other)],
        ["set-xfilesfactor", str(path), "0.1"],
        ["set-aggregation-method", str(path), "max"],
        ["delete-range", str(path), "--from", str(now - 600), "--until", str(now - 300)],
        ["validate-storage-schemas", str(conf)],
        ["rename", str(path), str(tmp_path / "renamed.wsp")],
    ):
        code = main([words[0], "--json", *words[1:]])
        out = capsys.readouterr().out
        assert code in (0, 1), words
        assert json.loads(out) is not None, words
    for tool in TOOLS:
        assert main([tool.word, "--help"]) == 0
        assert "--json" in capsys.readouterr().out, tool.word


def test_renaming_never_replaces_and_tidies_up(tmp_path: Path, capsys: Capture) -> None:
    root = tmp_path / "whisper"
    for name in ("a/b/c.wsp", "a/b/d.wsp", "x.wsp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data_with())
    rename = ["rename", "--root", str(root)]
    assert main([*rename, "a.b.c", "x"]) == 1
    assert "exists already; nothing is replaced" in capsys.readouterr().err
    assert main([*rename, "a.b.none", "y"]) == 1
    assert main([*rename, "a.b.c", "n.e.w"]) == 0
    assert main([*rename, "a.b", "branch"]) == 0
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.wsp")) == ["branch/d.wsp", "n/e/w.wsp", "x.wsp"]
    assert not (root / "a").exists()
    assert main(["rename", str(root / "x.wsp"), str(root / "y.wsp")]) == 0
    assert (root / "y.wsp").exists()


def test_a_plot_is_to_scale(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "f.wsp"
    whisper.create(str(path), [(60, 120)])
    now = int(time.time()) // 60 * 60
    whisper.update_many(str(path), [(now - 60 * age, float(59 - age)) for age in range(60)])
    hour = ["plot", str(path), "--from", str(now - 3600), "--until", str(now)]
    assert main([*hour, "--width", "30", "--height", "8"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("58.5 │")
    assert rows[7].startswith(" 0.5 │")
    heights = [sum(row[6:].ljust(30)[column] != " " for row in rows[:8]) for column in range(30)]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (1, 8)
    assert rows[-1] == "60 of 60 slots of 60 s known"
    assert main([*hour, "--spark", "--width", "8"]) == 0
    assert capsys.readouterr().out == "f.wsp ▁▂▃▄▅▆▇█ 0 to 59, last 59\n"
    assert main(["plot", str(path), "--from", str(now - 7000), "--until", str(now - 6000)]) == 0
    assert "(nothing known)" in capsys.readouterr().out


@pytest.mark.parametrize("expression", ["__import__('os')", "value.real", "'a' * 3", "other", "value +", "[1]", "open"])
def test_an_expression_is_arithmetic_and_nothing_else(tmp_path: Path, capsys: Capture, expression: str) -> None:
    (path,) = lay(tmp_path, data_with(), 1)
    before = path.read_bytes()
    assert main(["auto-update", str(path), "--expression", expression]) == 1
    assert "is no expression of value and timestamp" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_an_error_of_one_file_is_named_and_stops_no_other(tmp_path: Path) -> None:
    paths = [str(path) for path in lay(tmp_path, data_with(), 40)]
    os.unlink(paths[17])

    outcomes = list(each(_size, paths, jobs=2))
    assert [outcome.path for outcome in outcomes] == paths
    assert [number for number, outcome in enumerate(outcomes) if outcome.error] == [17]
    assert outcomes[17].error == "No such file or directory"


def _size(path: str) -> Outcome:
    return Outcome(path, str(os.stat(path).st_size))


def _die(path: str) -> Outcome:
    if path == "30":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(path)


def test_a_worker_that_is_killed_ends_the_command_with_a_message() -> None:
    with pytest.raises(CarbonError, match="a worker process was killed"):
        list(each(_die, [str(number) for number in range(200)], jobs=2))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("library", [True, False])
def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, library: bool) -> None:
    if not library:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    ticks = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    terminal = Terminal()
    outcomes = [Outcome(str(number)) for number in range(50)]
    assert list(with_progress(outcomes, 50, "resize", terminal)) == outcomes
    assert "resize: " in terminal.getvalue()
    if library:
        assert "/50 [" in terminal.getvalue()
    else:
        assert "25 of 50 files, 1 a second, 25 s left" in terminal.getvalue()
    assert list(with_progress(outcomes, 50, "resize", io.StringIO())) == outcomes


@pytest.mark.parametrize("command", ["resize", "fill", "update"])
def test_killed_at_any_moment_every_file_is_the_old_or_the_new_one(tmp_path: Path, command: str) -> None:
    """kill -9 of the whole command, workers and all; a second run then does the rest."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    now = int(time.time())
    whole, old = data_with(now=now), data_with(range(10, 20), now=now)
    source = tmp_path / "source"
    lay(source, whole, 250)
    for number in range(3):
        root = tmp_path / str(number)
        paths = lay(root, old, 250 if command != "update" else 1)
        words = {
            "resize": ["resize", "--nobackup", "--jobs", "2", str(root), "60:3000", "300:5000"],
            "fill": ["fill", "--jobs", "2", str(source), str(root)],
            "update": ["update", str(paths[0]), *(f"{now - 60 * age}:777" for age in range(50))],
        }[command]
        inodes = {path: path.stat().st_ino for path in paths}
        line = [sys.executable, "-m", "carbonpy", "whisper", *words]
        nothing = subprocess.DEVNULL
        child = subprocess.Popen(line, env=environment, stdout=nothing, stderr=nothing, start_new_session=True)
        moment = random.Random(number).randint(1, 150) if command != "update" else number % 2

        def begun(moment: int = moment, paths: list[Path] = paths, inodes: dict[Path, int] = inodes) -> bool:
            """So many files are done, or the only one is about to be."""
            done = sum(path.stat().st_ino != inodes[path] for path in paths)
            return done >= moment if moment else bool(done or leftovers(paths[0].parent))

        until("the moment", begun, timeout=60, interval=0.0005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        until("its workers ended with it", lambda c=child: not _processes_of(c.pid))
        new = [path for path in paths if path.stat().st_ino != inodes[path]]
        assert new or command == "update"
        for path in paths:
            data = path.read_bytes()
            if path not in new:
                assert data == old
                continue
            header = parse_image(data, path)
            slots = known_of(data, header.archives[0])
            assert header.archives[0].points == (3000 if command == "resize" else 60)
            if command == "fill":
                assert len(slots.slots) == 60
            elif command == "resize":
                # At the old edge one coarse value may have come in addition.
                kept = known_of(old, HEADER.archives[0])
                before = dict(zip(kept.slots.tolist(), kept.values.tolist()))
                assert before.items() <= dict(zip(slots.slots.tolist(), slots.values.tolist())).items()
            else:
                assert (slots.values == 777.0).sum() == 50
        assert main(words) == 0


def test_ctrl_c_ends_a_command_at_once_and_quietly(tmp_path: Path) -> None:
    paths = lay(tmp_path, data_with(), 2000)
    inodes = {path: path.stat().st_ino for path in paths}
    line = [sys.executable, "-m", "carbonpy", "whisper", "resize", "--nobackup", str(tmp_path), "60:3000", "300:5000"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    child = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                             start_new_session=True)  # fmt: skip
    assert child.stderr is not None
    until("it works", lambda: any(path.stat().st_ino != inodes[path] for path in paths[:100]), 60, 0.001)
    os.killpg(child.pid, signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert (child.returncode, told) == (130, "")
    assert any(path.stat().st_ino == inodes[path] for path in paths)
    assert leftovers(tmp_path) == []


def test_ctrl_c_leaves_processes_alone_that_have_just_begun(tmp_path: Path) -> None:
    """It may come between the fork and the moment in which a process has said that it is not for it."""
    lay(tmp_path, data_with(), 100)
    program = """
import os, signal, sys
from carbonpy.cli.main import main
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGINT))
sys.exit(main(["whisper", "resize", "--nobackup", "--jobs", "3", sys.argv[1], "60:3000", "300:5000"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and re.fullmatch(r"100 files, 100 changed, 0 failed, .*\n", done.stderr), done.stderr
    assert leftovers(tmp_path) == []


def _processes_of(session: int) -> list[int]:
    """The processes of a session that still live."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(name))
    return found


def test_a_launcher_and_an_installed_command_are_the_same_tool(tmp_path: Path) -> None:
    path = tmp_path / "a.wsp"
    tools = REPOSITORY / "tools"
    launched = sorted(one.name for one in tools.glob("*.py") if "from launch import entry" in one.read_text())
    assert launched == sorted(f"{tool.script}.py" for tool in TOOLS if tool.script)
    assert all(os.access(tools / name, os.X_OK) for name in launched)
    setup = (REPOSITORY / "setup.cfg").read_text()
    for tool in TOOLS:
        if tool.script:
            for name in (tool.script, f"{tool.script}.py"):
                assert f"    {name} = carbonpy.cli.whisper.main:entry\n" in setup
    run = [sys.executable, str(tools / "whisper-create.py"), str(path), "60:10"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"Created: {path} (148 bytes)\n")
    run = [sys.executable, str(tools / "whisper-set-xfilesfactor.py"), str(path), "0.75"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"Updated xFilesFactor: {path} (0.5 -> 0.75)\n"
    done = subprocess.run([sys.executable, str(tools / "whisper-info.py")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: whisper-info.py")
    assert main(["whisper-info.py", str(path)]) == 0


@pytest.mark.parametrize(
    "words",
    [["info"], ["plot"], ["create", "a.wsp"], ["create", "a.wsp", "1x:2"], ["resize", "a.wsp"], ["diff", "a.wsp"],
     ["delete-range", "a.wsp", "--from", "-1h"], ["delete-range", "--from", "1", "--until", "2"],
     ["merge", ".", "a.wsp"],
     ["set-xfilesfactor", "a.wsp"], ["fetch", "a.wsp", "--from", "yesterday"], ["rename", "a.wsp"], ["auto-update"]],
)  # fmt: skip
def test_wrong_arguments_are_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wsp").write_bytes(data_with())
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"carbonpy whisper {words[0]}: " in told.err


def test_an_unknown_command_gets_a_hint(capsys: Capture) -> None:
    assert main(["resiez"]) == 2
    assert "did you mean 'resize'?" in capsys.readouterr().err
    assert main([]) == 2
    assert main(["help", "resize"]) == 0

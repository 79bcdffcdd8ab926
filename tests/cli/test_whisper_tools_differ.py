"""Where the whisper tools do otherwise than the package's scripts: each test shows what the script loses, and ours not.

The rows of the table in docs/compatibility.rst, in its order.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest
import whisper
from support.peers import environment_with
from support.whisper_scripts import REQUIREMENTS, both, ours, script, theirs

from carbonpy.whisper.image import Image, known_of, parse_image
from carbonpy.whisper.layout import Header, make_header
from carbonpy.whisper.storing import RingWriter

NOW = 1_700_000_130  # two minutes and ten seconds into a five-minute slot
TOP = NOW - NOW % 60


def file_of(header: Header, points: dict[int, float], *, at_once: bool = False, now: int = NOW) -> bytes:
    """A file to which the points were written one after the other, each at its time, or all at once."""
    image = Image(header.pack() + bytes(header.file_size - len(header.pack())), "file")
    if at_once:
        RingWriter(image, header).write(sorted(points), [points[slot] for slot in sorted(points)], now)
        return bytes(image.data)
    for slot in sorted(points):
        RingWriter(image, header).write([slot], [points[slot]], slot + 1)
    return bytes(image.data)


def values(data: bytes) -> list[dict[int, float]]:
    """What each archive knows."""
    known = [known_of(data, archive) for archive in parse_image(data, "file").archives]
    return [dict(zip(one.slots.tolist(), one.values.tolist())) for one in known]


def minutes(count: int, step: int = 60) -> list[int]:
    """The last `count` slots, oldest first."""
    return [TOP - step * age for age in range(count)][::-1]


HOUR = make_header([(60, 10), (300, 12)], 0.5, "average")
Patch = pytest.MonkeyPatch


def test_wrong_arguments_are_one_line_and_exit_code_2(monkeypatch: Patch, tmp_path: Path) -> None:
    one, other, _, _ = both(monkeypatch, tmp_path, {}, NOW, "whisper-resize", ["ROOT/a.wsp"])
    assert (one.code, other.code) == (1, 2)
    assert other.out == ""
    assert "give a path and at least one retention" in other.errors


def test_a_missing_file_is_said_so(monkeypatch: Patch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        both(monkeypatch, tmp_path, {}, NOW, "whisper-info", ["ROOT/none.wsp"])
    ran = ours(monkeypatch, NOW, "info", str(tmp_path / "none.wsp"))
    assert ran == ("", f"[ERROR] {tmp_path}/none.wsp: No such file or directory\n", 1)


def test_a_longer_fine_archive_leaves_the_coarse_values(monkeypatch: Patch, tmp_path: Path) -> None:
    files = {"a.wsp": file_of(HOUR, {slot: float(n) for n, slot in enumerate(minutes(60))})}
    before = {slot: value for slot, value in values(files["a.wsp"])[1].items() if slot > NOW - 3600}
    _, _, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-resize", ["ROOT/a.wsp", "60:30", "300:12"])
    after = values(mine["a.wsp"])
    assert after[1] == before
    assert sum(slot not in values(script["a.wsp"])[1] for slot in before) >= 3
    assert set(after[1]) & set(range(TOP - 1740, TOP - 600)) <= set(after[0])


def test_fine_values_that_do_not_fit_any_more_are_aggregated(monkeypatch: Patch, tmp_path: Path) -> None:
    header = make_header([(60, 10), (300, 12)], 0.5, "sum")
    files = {"a.wsp": file_of(header, dict.fromkeys(minutes(60), 1.0))}
    _, _, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-resize", ["ROOT/a.wsp", "60:5", "300:12"])
    assert 1.0 in values(script["a.wsp"])[1].values()
    full = {slot: value for slot, value in values(mine["a.wsp"])[1].items() if slot + 300 <= NOW}
    assert set(full.values()) == {5.0}


def test_another_method_is_made_of_all_fine_values(monkeypatch: Patch, tmp_path: Path) -> None:
    header = make_header([(60, 60), (300, 100)], 0.5, "average")
    files = {"a.wsp": file_of(header, {slot: 4.0 - slot // 60 % 5 for slot in minutes(60)})}
    words = ["--aggregationMethod=max", "ROOT/a.wsp", "60:30", "300:100"]
    _, _, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-resize", words)
    # The script has the maximum only as far as the new fine archive reaches; beyond, the last fine value of a slot,
    # be it the least of all.
    begin, end = TOP - 55 * 60, TOP - 35 * 60
    theirs_there = {slot: value for slot, value in values(script["a.wsp"])[1].items() if begin <= slot <= end}
    mine_there = {slot: value for slot, value in values(mine["a.wsp"])[1].items() if begin <= slot <= end}
    assert set(mine_there.values()) == {4.0}
    assert set(theirs_there.values()) == {0.0}
    assert mine_there.keys() == theirs_there.keys()


def test_the_oldest_slot_of_an_archive_is_kept(monkeypatch: Patch, tmp_path: Path) -> None:
    header = make_header([(60, 10)])
    files = {"a.wsp": file_of(header, dict.fromkeys(minutes(10), 3.0))}
    _, _, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-resize", ["ROOT/a.wsp", "60:20"])
    assert len(values(files["a.wsp"])[0]) == len(values(mine["a.wsp"])[0]) == 10
    assert len(values(script["a.wsp"])[0]) == 9


def test_resize_with_aggregate_puts_no_aggregates_among_fine_values(monkeypatch: Patch, tmp_path: Path) -> None:
    files = {"a.wsp": file_of(HOUR, {slot: float(n * n) for n, slot in enumerate(minutes(60))})}
    words = ["--aggregate", "ROOT/a.wsp", "60:10", "300:24"]
    one, other, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-resize", words)
    fine = values(files["a.wsp"])[0]
    assert values(mine["a.wsp"])[0] == fine
    assert any(value not in fine.values() for value in values(script["a.wsp"])[0].values())
    assert "oldtimestamps" in one.out
    assert "oldtimestamps" not in other.out
    _, _, _, without = both(monkeypatch, tmp_path, files, NOW, "whisper-resize", words[1:])
    assert without["a.wsp"] == mine["a.wsp"]


def test_a_file_that_is_so_already_stays(monkeypatch: Patch, tmp_path: Path) -> None:
    header = make_header([(60, 10)])
    files = {"a.wsp": file_of(header, dict.fromkeys(minutes(5), 3.0))}
    _, other, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-resize", ["ROOT/a.wsp", "60:10"])
    assert list(script) == ["a.wsp", "a.wsp.bak"]
    assert mine == files
    assert "stays as it is" in other.out


def test_force_resizes_a_file_that_is_cut_short(monkeypatch: Patch, tmp_path: Path) -> None:
    whole = file_of(HOUR, dict.fromkeys(minutes(60), 3.0))
    files = {"a.wsp": whole[:200]}
    with pytest.raises(Exception, match="Unable to read datapoints"):
        both(monkeypatch, tmp_path, files, NOW, "whisper-resize", ["--force", "ROOT/a.wsp", "60:10", "300:24"])
    path = tmp_path / "a.wsp"
    path.write_bytes(whole[:200])
    assert "--force keeps what is left" in ours(monkeypatch, NOW, "resize", str(path), "60:10", "300:24").errors
    assert path.read_bytes() == whole[:200]
    assert ours(monkeypatch, NOW, "resize", "--force", str(path), "60:10", "300:24").code == 0
    assert values(path.read_bytes())[0] == values(whole)[0]


def test_nobackup_leaves_an_older_backup(monkeypatch: Patch, tmp_path: Path) -> None:
    files = {"a.wsp": file_of(HOUR, dict.fromkeys(minutes(60), 3.0)), "a.wsp.bak": b"precious"}
    words = ["--nobackup", "ROOT/a.wsp", "60:10", "300:24"]
    _, _, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-resize", words)
    assert "a.wsp.bak" not in script
    assert mine["a.wsp.bak"] == b"precious"


def test_zero_is_a_value_and_a_single_slot_is_a_gap(monkeypatch: Patch, tmp_path: Path) -> None:
    header = make_header([(60, 60)])
    slots = minutes(60)
    source = file_of(header, dict.fromkeys(slots, 5.0))
    zeros = dict.fromkeys(slots, 1.0) | dict.fromkeys(slots[10:20], 0.0)
    del zeros[slots[30]]
    files = {"a.wsp": source, "b.wsp": file_of(header, zeros)}
    _, _, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-fill", ["ROOT/a.wsp", "ROOT/b.wsp"])
    assert values(script["b.wsp"])[0][slots[15]] == 5.0
    assert slots[30] not in values(script["b.wsp"])[0]
    assert values(mine["b.wsp"])[0] == zeros | {slots[30]: 5.0}


def test_fill_takes_files_of_other_archives(monkeypatch: Patch, tmp_path: Path) -> None:
    """Of a finer source the script leaves the last value of each slot; ours the aggregate."""
    source = file_of(make_header([(60, 120)], 0.5, "average"), {slot: float(slot // 60 % 5) for slot in minutes(120)})
    target = file_of(make_header([(300, 20)], 0.5, "average"), {})
    files = {"a.wsp": source, "b.wsp": target}
    _, _, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-fill", ["ROOT/a.wsp", "ROOT/b.wsp"])
    past = [slot for slot in values(mine["b.wsp"])[0] if slot + 300 <= TOP]
    assert len(past) > 15
    assert {values(mine["b.wsp"])[0][slot] for slot in past} == {2.0}
    assert {values(script["b.wsp"])[0][slot] for slot in past[1:]} == {4.0}


def test_fill_puts_no_coarse_value_among_fine_ones(monkeypatch: Patch, tmp_path: Path) -> None:
    """The script asks the source for a time just before its fine archive, and gets a coarse slot that lies within."""
    now = 1_700_000_260
    slots = [now - now % 60 - 60 * age for age in range(10)][::-1]
    whole = {slot: float(n * n) for n, slot in enumerate(slots)}
    source, target = (file_of(HOUR, points) for points in (whole, {slot: whole[slot] for slot in slots[5:]}))
    files = {"a.wsp": source, "b.wsp": target}
    _, _, script, mine = both(monkeypatch, tmp_path, files, now, "whisper-fill", ["ROOT/a.wsp", "ROOT/b.wsp"])
    assert values(mine["b.wsp"]) == values(source)
    (coarse,) = {slot for slot, value in values(script["b.wsp"])[0].items() if whole[slot] != value}
    assert values(script["b.wsp"])[0][coarse] == values(source)[1][coarse]


def test_dropped_values_do_not_shift_the_others(monkeypatch: Patch, tmp_path: Path) -> None:
    header = make_header([(60, 60)])
    files = {"a.wsp": file_of(header, {slot: float(n) for n, slot in enumerate(minutes(60)) if n % 2})}
    words = [f"--from={TOP - 300}", f"--until={TOP}", "--drop=nulls", "ROOT/a.wsp"]
    one, other, _, _ = both(monkeypatch, tmp_path, files, NOW, "whisper-fetch", words)
    stored = values(files["a.wsp"])[0]
    told = [line.split("\t") for line in other.out.splitlines()]
    assert [stored[int(stamp)] for stamp, _ in told] == [float(value) for _, value in told]
    assert any(int(line.split("\t")[0]) not in stored for line in one.out.splitlines())
    _, other, _, _ = both(monkeypatch, tmp_path, files, NOW, "whisper-fetch", ["--json", *words])
    answer = json.loads(other.out)
    assert [stored[stamp] for stamp in answer["timestamps"]] == answer["values"]


def test_json_has_null_where_a_value_is_no_number(monkeypatch: Patch, tmp_path: Path) -> None:
    header = make_header([(60, 60)])
    files = {"a.wsp": file_of(header, {TOP - 60: math.inf, TOP: math.nan})}
    words = [f"--from={TOP - 120}", f"--until={TOP}", "--json", "ROOT/a.wsp"]
    one, other, _, _ = both(monkeypatch, tmp_path, files, NOW, "whisper-fetch", words)
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(one.out)
    assert json.loads(other.out)["values"] == [None, None]


def test_values_that_are_left_out_are_counted(monkeypatch: Patch, tmp_path: Path) -> None:
    files = {"a.wsp": file_of(HOUR, {})}
    words = ["ROOT/a.wsp", f"{NOW - 999999}:1", f"{NOW}:2"]
    one, other, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-update", words)
    assert script == mine
    assert one.errors == ""
    assert "1 of 2 values lie beyond the file's reach" in other.errors


def test_auto_update_changes_the_archive_that_it_read(monkeypatch: Patch, tmp_path: Path) -> None:
    files = {"a.wsp": file_of(HOUR, dict.fromkeys(minutes(60), 1.0))}
    _, _, script, mine = both(monkeypatch, tmp_path, files, NOW, "whisper-auto-update", ["--from=0", "ROOT/a.wsp"])
    gibi = float(1 << 30)
    assert values(mine["a.wsp"])[0] == values(files["a.wsp"])[0]
    assert {value for slot, value in values(mine["a.wsp"])[1].items() if slot > NOW - 3600} == {gibi}
    assert gibi in values(script["a.wsp"])[0].values()


def test_a_create_that_fails_leaves_nothing(monkeypatch: Patch, tmp_path: Path) -> None:
    words = ["--aggregationMethod=median", "ROOT/a.wsp", "60:10"]
    _, other, script, mine = both(monkeypatch, tmp_path, {}, NOW, "whisper-create", words)
    assert script == {"a.wsp": b""}
    assert mine == {}
    assert "[ERROR] Unrecognized aggregation method" in other.errors


def test_a_file_that_is_cut_short_is_found(monkeypatch: Patch, tmp_path: Path) -> None:
    files = {"x/a.wsp": file_of(HOUR, {})[:100]}
    one, other, _, _ = both(
        monkeypatch, tmp_path, files, NOW, "find-corrupt-whisper-files", ["ROOT"], word="find-corrupt"
    )
    assert (one.errors, one.code) == ("", 0)
    assert (other.errors, other.code) == ("Corrupt Whisper file: ROOT/x/a.wsp\n", 1)


@pytest.mark.parametrize("retentions", ["60s:1d,90s:1w", "1min:1d"])
def test_archives_that_carbon_passes_over_are_no_valid_schemas(
    monkeypatch: Patch, tmp_path: Path, retentions: str
) -> None:
    files = {"s.conf": f"[a]\npattern = .*\nretentions = {retentions}\n".encode()}
    one, other, _, _ = both(monkeypatch, tmp_path, files, NOW, "validate-storage-schemas", ["ROOT/s.conf"])
    assert "  OK\n" in one.out
    assert one.code == 0
    assert "  - Error: Section 'a' contains an invalid" in other.out
    assert "OK" not in other.out
    assert other.code == 1


def test_auto_resize_changes_what_the_script_changes_and_leaves_tagged_files(
    monkeypatch: Patch, tmp_path: Path
) -> None:
    """The script asks carbon's rules; it starts whisper-resize.py for each file, so this one is run for it."""
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "storage-schemas.conf").write_text(
        "[tagged]\npattern = ^disk;\nretentions = 10s:1d\n[all]\npattern = .*\nretentions = 60s:20m,5m:1h\n"
    )
    (conf / "storage-aggregation.conf").write_text("[m]\npattern = ^max\naggregationMethod = max\nxFilesFactor = 0.1\n")
    root = tmp_path / "whisper"
    tagged = "_tagged/abc/def/abcdef.wsp"
    header = make_header([(60, 10), (300, 12)], 0.5, "average")
    data = file_of(header, {slot: float(n) for n, slot in enumerate(minutes(60))})
    for name in ("max/a.wsp", "same.wsp", tagged):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    same = make_header([(60, 20), (300, 12)], 0.5, "average")
    (root / "same.wsp").write_bytes(file_of(same, {}))
    dry = ours(monkeypatch, NOW, "auto-resize", str(root), str(conf))
    assert "updating Retentions from: 60:10 300:12  to: 60:20 300:12  \n" in dry.out
    assert "max.a aggregation schema differs real: average should be: max \n" in dry.out
    assert "max.a xFilesFactor differs real: 0.50 should be: 0.10 \n" in dry.out
    assert (root / "max/a.wsp").read_bytes() == data
    script = theirs(monkeypatch, NOW, "whisper-auto-resize", str(root), str(conf))
    for line in script.out.splitlines():
        if "differs" in line and "_tagged" not in line:
            assert line in dry.out
    assert "_tagged.abc" in script.out or "tagged/abc" in script.out
    done = ours(monkeypatch, NOW, "auto-resize", "--doit", "-x", "--nobackup", str(root), str(conf))
    assert done.code == 0
    assert "1 files of tagged metrics are left out" in done.errors
    assert "2 files, 1 changed, 0 failed" in done.errors
    info = whisper.info(str(root / "max/a.wsp"))
    assert (info["aggregationMethod"], [one["points"] for one in info["archives"]]) == ("max", [20, 12])
    assert (root / tagged).read_bytes() == data
    assert sorted(path.name for path in root.rglob("*.bak")) == []
    again = ours(monkeypatch, NOW, "auto-resize", "--doit", str(root), str(conf))
    assert "2 files, 0 changed" in again.errors
    shutil.rmtree(root)


def test_update_storage_times_does_not_run_any_more_and_auto_resize_does_its_work(
    monkeypatch: Patch, tmp_path: Path
) -> None:
    root, schemas = tmp_path / "whisper", tmp_path / "storage-schemas.conf"
    root.mkdir()
    (root / "a.wsp").write_bytes(file_of(HOUR, dict.fromkeys(minutes(5), 1.0)))
    before = (root / "a.wsp").read_bytes()
    schemas.write_text("[all]\npattern = .*\nretentions = 60s:20m,300s:2h\n")
    python = environment_with("whisper-scripts", REQUIREMENTS)
    command = [str(python), str(script("update-storage-times")), "--path", str(root), "--cfg", str(schemas)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode != 0
    assert (root / "a.wsp").read_bytes() == before
    aggregation = tmp_path / "storage-aggregation.conf"
    aggregation.write_text("[all]\npattern = .*\nxFilesFactor = 0.5\naggregationMethod = average\n")
    assert ours(monkeypatch, NOW, "auto-resize", "--doit", str(root), str(tmp_path)).code == 0
    header = parse_image((root / "a.wsp").read_bytes(), "a.wsp")
    assert [(archive.step, archive.points) for archive in header.archives] == [(60, 20), (300, 24)]

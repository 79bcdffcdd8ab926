"""The same command on the same files prints the same and leaves the same bytes as the whisper package's script."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import histories
from support.whisper_scripts import both

from carbonpy.whisper.image import Image, known_of
from carbonpy.whisper.layout import Header, make_header
from carbonpy.whisper.storing import RingWriter

START = 1_700_000_000
SEEDS = range(40)


def lived(source: random.Random, header: Header, *, zeros: bool = True, now: int = START) -> tuple[bytes, int]:
    """The bytes of a file with a random history, and the time at its end."""
    image = Image(header.pack() + bytes(header.file_size - len(header.pack())), "file")
    files = [(archive.step, archive.points) for archive in header.archives]
    for _ in range(source.randint(1, 10)):
        now = histories.later(source, files, now)
        points = sorted(set(histories.batch(source, files, now)), key=lambda point: point[0])
        points = [(stamp, value) for stamp, value in points if stamp <= now and value == value]
        if not zeros:
            points = [(stamp, value or 7.0) for stamp, value in points]
        RingWriter(image, header).write([stamp for stamp, _ in points], [value for _, value in points], now)
    return bytes(image.data), now


def header_of(source: random.Random) -> Header:
    return make_header(histories.archives(source), source.choice(histories.XFF), source.choice(histories.METHODS))


@pytest.fixture(params=SEEDS)
def corpus(request: pytest.FixtureRequest) -> Iterator[tuple[random.Random, dict[str, bytes], Header, int]]:
    """Two files of the same archives with histories of their own."""
    source = random.Random(request.param)
    header = header_of(source)
    one, now = lived(source, header)
    other, _ = lived(source, header, now=now - histories.retention([(a.step, a.points) for a in header.archives]) // 2)
    yield source, {"a.wsp": one, "b.wsp": other}, header, now


Corpus = tuple[random.Random, dict[str, bytes], Header, int]
Same = Callable[..., None]


@pytest.fixture
def same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Same:
    """Both commands must give the same in everything."""

    def check(files: dict[str, bytes], now: float, name: str, *words: str, word: str = "", stdin: str = "") -> None:
        one, other, one_after, other_after = both(
            monkeypatch, tmp_path, files, now, name, words, word=word, stdin=stdin
        )
        assert other.out == one.out
        assert other.code == one.code, (one, other)
        # What the script drops in silence is told.
        assert [line for line in other.errors.splitlines() if "were left out" not in line] == one.errors.splitlines()
        assert other_after == one_after

    return check


def test_info(corpus: Corpus, same: Same) -> None:
    _, files, _, now = corpus
    same(files, now, "whisper-info", "ROOT/a.wsp")
    same(files, now, "whisper-info", "ROOT/a.wsp", "--json")
    for field in ("xFilesFactor", "maxRetention", "aggregationMethod", "archives", "fileSize"):
        same(files, now, "whisper-info", "ROOT/a.wsp", field)


def test_info_of_a_damaged_file(same: Same) -> None:
    same({"a.wsp": b"short"}, START, "whisper-info", "ROOT/a.wsp")


def test_dump(corpus: Corpus, same: Same) -> None:
    _, files, _, now = corpus
    same(files, now, "whisper-dump", "ROOT/a.wsp")
    same(files, now, "whisper-dump", "ROOT/a.wsp", "--pretty")
    same(files, now, "whisper-dump", "--pretty", "--time-format", "%Y %H", "ROOT/a.wsp")
    same(files, now, "whisper-dump", "-r", "ROOT/a.wsp")
    same(files, now, "whisper-dump", "ROOT/none.wsp")


def test_fetch(corpus: Corpus, same: Same) -> None:
    source, files, header, now = corpus
    archives = [(archive.step, archive.points) for archive in header.archives]
    for form in ((), ("--json",), ("--pretty",), ("--pretty", "-t", "%s %Y")):
        begin, until = histories.question(source, archives, now)
        same(files, now, "whisper-fetch", f"--from={begin}", "--until", str(until), *form, "ROOT/a.wsp")
    same(files, now, "whisper-fetch", "ROOT/a.wsp")
    same(files, now, "whisper-fetch", "ROOT/none.wsp")


def test_update(corpus: Corpus, same: Same) -> None:
    source, files, header, now = corpus
    archives = [(archive.step, archive.points) for archive in header.archives]
    points = [f"{stamp}:{value!r}" for stamp, value in histories.batch(source, archives, now) if stamp <= now]
    same(files, now, "whisper-update", "ROOT/a.wsp", *points) if len(points) > 1 else None
    same(files, now, "whisper-update", "ROOT/a.wsp", stdin="\n".join(points) + "\n") if len(points) > 1 else None
    same(files, now, "whisper-update", "ROOT/a.wsp", "N:42.5")
    same(files, now, "whisper-update", "ROOT/a.wsp", f"{now + 100}:1")


def test_merge(corpus: Corpus, same: Same) -> None:
    source, files, _, now = corpus
    same(files, now, "whisper-merge", "ROOT/a.wsp", "ROOT/b.wsp")
    begin = now - source.randint(1, 200)
    same(files, now, "whisper-merge", f"--from={begin}", f"--until={min(begin + 50, now)}", "ROOT/a.wsp", "ROOT/b.wsp")
    same(files, now, "whisper-merge", "ROOT/none.wsp", "ROOT/b.wsp")


@pytest.mark.parametrize(
    "form", [(), ("--summary",), ("--json",), ("--summary", "--json"), ("--columns",), ("--columns", "--no-headers"),
             ("--ignore-empty",), ("--summary", "--columns", "--no-headers")],
)  # fmt: skip
def test_diff(same: Same, form: tuple[str, ...]) -> None:
    for seed in SEEDS:
        source = random.Random(seed)
        header = header_of(source)
        one, now = lived(source, header)
        other, _ = lived(source, header, now=now - header.max_retention)
        files = {"a.wsp": one, "b.wsp": other}
        same(files, now, "whisper-diff", *form, "ROOT/a.wsp", "ROOT/b.wsp")
        same(files, now, "whisper-diff", *form, f"--until={now - 5}", "ROOT/a.wsp", "ROOT/b.wsp")


def test_set_xfilesfactor_and_aggregation_method(corpus: Corpus, same: Same) -> None:
    source, files, _, now = corpus
    xff, method = str(source.choice(histories.XFF)), source.choice(histories.METHODS)
    same(files, now, "whisper-set-xfilesfactor", "ROOT/a.wsp", xff)
    same(files, now, "whisper-set-aggregation-method", "ROOT/a.wsp", method)
    same(files, now, "whisper-set-aggregation-method", "ROOT/a.wsp", method, xff)
    same(files, now, "whisper-set-aggregation-method", "ROOT/a.wsp", "median")
    same(files, now, "whisper-set-xfilesfactor", "ROOT/a.wsp", "1.5")


def test_create(same: Same) -> None:
    same({}, START, "whisper-create", "ROOT/a.wsp", "10s:6h", "1m:7d", "1h:60d")
    same({}, START, "whisper-create", "--sparse", "--xFilesFactor=0.2", "--aggregationMethod=max", "ROOT/a", "60:1440")
    same({"a.wsp": b"there"}, START, "whisper-create", "ROOT/a.wsp", "60:1440")
    same({"a.wsp": b"there"}, START, "whisper-create", "--overwrite", "ROOT/a.wsp", "1min:1weeks")
    same({}, START, "whisper-create", "ROOT/a.wsp", "60:1440", "90:1440")
    same({}, START, "whisper-create", "--estimate", "10s:6h,1m:7d,1h:10y")
    same({}, START, "whisper-create", "--estimate", "10s:6h", "1m:7d")


def test_resize(same: Same) -> None:
    """One archive becomes as long or longer: the case in which the script loses nothing."""
    for seed in SEEDS:
        source = random.Random(seed)
        step = source.choice((10, 30, 60))
        header = make_header([(step, source.randint(20, 50))], source.choice(histories.XFF), "average")
        image = Image(header.pack() + bytes(header.file_size - len(header.pack())), "file")
        now = START + source.randint(1, step - 1)
        slots = [now - now % step - step * n for n in range(source.randint(2, header.archives[0].points - 1))][::-1]
        RingWriter(image, header).write(slots, [source.uniform(1, 9) for _ in slots], now)
        files = {"a.wsp": bytes(image.data)}
        points = header.archives[0].points + source.randint(1, 40)
        long = [f"{step}:{points}", f"{step * 5}:{points}"]
        same(files, now, "whisper-resize", "ROOT/a.wsp", *long)
        same(files, now, "whisper-resize", "--nobackup", "ROOT/a.wsp", *long)
        same(files, now, "whisper-resize", "--newfile=ROOT/b.wsp", "--xFilesFactor=0", "ROOT/a.wsp", *long)
        same(files, now, "whisper-resize", "--aggregationMethod=max", "--force", "ROOT/a.wsp", *long)


def test_fill(same: Same) -> None:
    """Gaps of more than one slot in files without 0.0: the case in which the script does what it says."""
    for seed in SEEDS:
        source = random.Random(seed)
        header = make_header([(10, 60), (60, 40)], source.choice((0.5, 0.2)), source.choice(histories.METHODS))
        now = START + source.randint(1, 9)
        whole, holed = (
            Image(header.pack() + bytes(header.file_size - len(header.pack())), "file") for _ in range(2)
        )
        top = now - now % 10
        hole = range(source.randint(5, 20), source.randint(25, 40))
        for age in range(239, -1, -1):
            slot = top - age * 10
            RingWriter(whole, header).write([slot], [float(age + 1)], slot + 1)
            if age not in hole:
                RingWriter(holed, header).write([slot], [float(age + 1)], slot + 1)
        files = {"a.wsp": bytes(whole.data), "b.wsp": bytes(holed.data)}
        same(files, now, "whisper-fill", "ROOT/a.wsp", "ROOT/b.wsp")
        same(files, now, "whisper-fill", "--lock", "ROOT/a.wsp", "ROOT/b.wsp")


def test_where_the_fill_script_makes_the_same_of_random_files_the_bytes_are_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Otherwise it took 0.0 for a gap, left single slots, or put coarse values among fine ones: see the other file."""
    same = 0
    for seed in range(150):
        source = random.Random(seed)
        header = header_of(source)
        one, now = lived(source, header, zeros=False)
        other, _ = lived(source, header, zeros=False, now=now - header.max_retention)
        files = {"a.wsp": one, "b.wsp": other}
        _, _, script, mine = both(monkeypatch, tmp_path, files, now, "whisper-fill", ["ROOT/a.wsp", "ROOT/b.wsp"])
        archives = header.archives
        known = [[known_of(side["b.wsp"], archive) for archive in archives] for side in (script, mine)]
        # Where an archive was empty, the same values may begin at another place of its ring.
        if all(len(known_of(other, archive).slots) for archive in archives) and repr(known[0]) == repr(known[1]):
            same += 1
            assert mine == script, seed
    assert same > 20


def test_auto_update(corpus: Corpus, same: Same) -> None:
    _, files, header, now = corpus
    begin = now - header.archives[0].retention + header.archives[0].step
    same(files, now, "whisper-auto-update", f"--from={begin}", "ROOT/a.wsp")
    same(files, now, "whisper-auto-update", f"--from={begin}", f"--until={now - 1}", "--pretty", "ROOT/a.wsp")


def test_find_corrupt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = make_header([(60, 10)]).pack() + bytes(120)
    files = {"x/good.wsp": good, "x/bad.wsp": b"bad", "x/empty.wsp": b"", "x/other.txt": b""}
    for words in (("ROOT",), ("--delete-corrupt", "ROOT")):
        one, other, one_after, other_after = both(
            monkeypatch, tmp_path, files, START, "find-corrupt-whisper-files", words, word="find-corrupt"
        )
        assert other.out == one.out == ""
        assert sorted(other.errors.splitlines()) == sorted(one.errors.splitlines())
        assert other_after == one_after
        assert (one.code, other.code) == (0, 1)


def test_validate_storage_schemas(same: Same) -> None:
    good = b"[a]\npattern = ^a\nretentions = 60s:1d,5m:1w\n[b]\npattern = .*\nretentions = 1m:1d\n"
    same({"s.conf": good}, START, "validate-storage-schemas", "ROOT/s.conf")


def test_json_of_every_file_is_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Corpus) -> None:
    _, files, _, now = corpus
    for word in ("info", "fetch", "diff", "dump"):
        words = ["--json", "ROOT/a.wsp"] + (["ROOT/b.wsp"] if word == "diff" else [])
        _, ran, _, _ = both(monkeypatch, tmp_path, files, now, "whisper-info", words, word=word)
        assert json.loads(ran.out)

"""``carbonpy catalog`` as a person uses it, with a cache beside it that answers over a real socket."""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbonpy.catalog import Catalog, Progress
from carbonpy.cli.catalog import Shown
from carbonpy.cli.main import main
from carbonpy.wire.carbonlink import CacheQuery, decode_request, encode_datapoints


class Place:
    """A whisper tree, its configuration and its catalogue."""

    def __init__(self, home: Path, port: int) -> None:
        self.tree = home / "storage" / "whisper"
        self.config = home / "carbon.conf"
        self.tree.mkdir(parents=True)
        self.config.write_text(f"[cache]\nSTORAGE_DIR = {home}/storage\nCACHE_QUERY_PORT = {port}\n")
        self.catalog_file = str(home / "storage" / "catalog-a.sqlite")

    def touch(self, *files: str) -> None:
        for file in files:
            (self.tree / file).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / file).touch()

    def run(self, *words: str) -> int:
        return main(["catalog", *words, "--config", str(self.config)])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place whose daemon does not run: nothing listens on a port that was just free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return Place(tmp_path, port)


def serve(listener: socket.socket, cached: set[str], answers: int | None = None) -> threading.Thread:
    """Answer CarbonLink questions of one client; hang up after `answers` of them."""

    def work() -> None:
        client, _ = listener.accept()
        with client, client.makefile("rwb") as stream:
            given = 0
            while answers is None or given < answers:
                head = stream.read(4)
                if len(head) < 4:
                    return
                request = decode_request(stream.read(struct.unpack("!I", head)[0]))
                assert isinstance(request, CacheQuery)
                reply = encode_datapoints([(1.0, 2.0)] if request.metric in cached else [])
                stream.write(struct.pack("!I", len(reply)) + reply)
                stream.flush()
                given += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_rescan_makes_the_catalogue_and_the_others_read_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.touch("a/b.wsp", "a/c/d.wsp")
    assert place.run("rescan") == 0
    told = capsys.readouterr()
    assert "2 files seen, 2 metrics added, 0 removed" in told.out
    assert "2 metrics in " + place.catalog_file in told.out
    assert "no daemon answers" in told.err
    assert place.run("count") == 0
    assert capsys.readouterr().out == "2\n"
    assert place.run("list") == 0
    assert capsys.readouterr().out == "a.b\na.c.d\n"
    assert place.run("find", "a.*") == 0
    assert capsys.readouterr().out == "a.b\na.c.\n"
    assert place.run("find", "--leaves-only", "a.*") == 0
    assert capsys.readouterr().out == "a.b\n"
    assert place.run("find", "nothing.*") == 1
    assert capsys.readouterr().out == ""


def test_reading_a_catalogue_that_is_not_there_says_how_to_make_one(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("count",), ("list",), ("find", "*")):
        assert place.run(*words) == 1
        assert "carbonpy catalog rescan" in capsys.readouterr().err
    assert not Path(place.catalog_file).exists()


def test_wrong_words_are_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("find",), ("count", "a.*"), ("destroy",)):
        assert place.run(*words) == 2
        assert capsys.readouterr().err


def test_a_pattern_that_is_too_wide_ends_in_one_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.touch("a.wsp")
    place.run("rescan")
    capsys.readouterr()
    assert place.run("find", "{a,b}" * 40) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_rescan_keeps_a_metric_whose_points_the_daemon_holds(tmp_path: Path, listener: socket.socket) -> None:
    place = Place(tmp_path, listener.getsockname()[1])
    place.touch("on.disk.wsp", "a.wsp")
    catalog = Catalog(place.catalog_file)
    catalog.add(["only.cached", "gone", "a"])
    thread = serve(listener, {"only.cached"})
    assert place.run("rescan") == 0
    thread.join(10)
    assert list(catalog.metrics()) == ["a", "only.cached"]
    catalog.close()


def test_rescan_stops_when_the_daemon_goes_away(
    tmp_path: Path, listener: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path, listener.getsockname()[1])
    place.touch("a.wsp")
    catalog = Catalog(place.catalog_file)
    catalog.add(["gone", "x.only.cached"])
    thread = serve(listener, {"x.only.cached"}, answers=1)
    assert place.run("rescan") == 1
    thread.join(10)
    assert "stopped answering" in capsys.readouterr().err
    assert catalog.contains("x.only.cached")
    catalog.close()


def test_rescan_of_an_unmounted_tree_removes_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = Catalog(place.catalog_file)
    catalog.add(["a.b"])
    assert place.run("rescan") == 1
    assert "mount the disk" in capsys.readouterr().err
    assert catalog.contains("a.b")
    catalog.close()


def test_progress_is_a_line_every_few_seconds_in_a_file() -> None:
    now, stream, progress = [0.0], io.StringIO(), Progress()
    show = Shown(stream, lambda: now[0], terminal=False)
    for second in range(12):
        now[0], progress.files = float(second), 1000 * second
        show(progress)
    progress.done = True
    show(progress)
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["5000", "10000"]


def test_progress_is_one_line_that_changes_on_a_terminal() -> None:
    now, stream, progress = [0.0], io.StringIO(), Progress()
    show = Shown(stream, lambda: now[0], terminal=True)
    for tenth in range(30):
        now[0], progress.files = tenth * 0.05, tenth
        show(progress)
    progress.done = True
    show(progress)
    text = stream.getvalue()
    assert 10 <= text.count("\r") <= 17 and text.count("\n") == 1 and text.endswith("\n")

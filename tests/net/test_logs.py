"""Lines, files, rotation and the rate limit of the log, with a clock that is set by hand."""

from __future__ import annotations

import io
import os
import re
import time
from pathlib import Path

import pytest
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from carbonpy.errors import CarbonError
from carbonpy.net.logs import BURST, LogFile, TextLog


class HandClock:
    """Seconds that pass when the test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock(time.mktime((2026, 1, 31, 12, 0, 0, 0, 0, -1)))


def logger(log: TextLog, name: str = "carbonpy.test") -> Logger:
    return Logger(name, observer=LogPublisher(log))


def test_a_line_on_a_stream_has_the_date_of_carbon_and_the_kind(clock: HandClock) -> None:
    stream = io.StringIO()
    logger(TextLog(stream=stream, clock=clock)).info("hello {name}", name="world")
    assert stream.getvalue() == "31/01/2026 12:00:00 :: [console] hello world\n"


def test_each_kind_has_its_file_in_a_directory(tmp_path: Path, clock: HandClock) -> None:
    log = TextLog(directory=str(tmp_path / "log" / "deep"), clock=clock)
    logger(log, "listener").info("a sender came")
    logger(log, "carbonpy.query").info("a question")
    logger(log).info("something else")
    log.close()
    assert (tmp_path / "log/deep/listener.log").read_text() == "31/01/2026 12:00:00 :: a sender came\n"
    assert (tmp_path / "log/deep/query.log").read_text() == "31/01/2026 12:00:00 :: a question\n"
    assert (tmp_path / "log/deep/console.log").read_text() == "31/01/2026 12:00:00 :: something else\n"
    assert len(os.listdir(tmp_path / "log/deep")) == 3


def test_one_file_takes_all_kinds_and_names_them(tmp_path: Path, clock: HandClock) -> None:
    log = TextLog(path=str(tmp_path / "all.log"), clock=clock)
    logger(log, "listener").info("a")
    logger(log, "creates").info("b")
    log.close()
    assert (tmp_path / "all.log").read_text().count("12:00:00 :: [listener] a\n31/01/2026 12:00:00 :: [creates] b") == 1


def test_debug_lines_are_only_written_when_asked_for(clock: HandClock) -> None:
    quiet, chatty = io.StringIO(), io.StringIO()
    logger(TextLog(stream=quiet, clock=clock)).debug("detail")
    logger(TextLog(stream=chatty, clock=clock, debug=True)).debug("detail")
    assert quiet.getvalue() == ""
    assert "detail" in chatty.getvalue()


def test_text_from_outside_cannot_forge_a_line_of_its_own(clock: HandClock) -> None:
    stream = io.StringIO()
    logger(TextLog(stream=stream, clock=clock)).warn("bad name {name}", name="x\n31/01/2026 :: all is well\x1b[2J")
    assert stream.getvalue().count("\n") == 1
    assert "\\n31/01/2026" in stream.getvalue()
    assert "\\x1b[2J" in stream.getvalue()


def test_a_failure_brings_its_traceback(clock: HandClock) -> None:
    stream = io.StringIO()
    try:
        raise ValueError("spilled")
    except ValueError:
        logger(TextLog(stream=stream, clock=clock)).failure("it broke", failure=Failure())
    assert re.search(r":: \[console\] it broke\nTraceback.*ValueError: spilled", stream.getvalue(), re.DOTALL)


def test_a_flood_from_one_origin_is_cut_and_counted_and_leaves_others_alone(clock: HandClock) -> None:
    stream = io.StringIO()
    log = TextLog(stream=stream, clock=clock)
    noisy, other = logger(log, "listener"), logger(log)
    for number in range(BURST + 400):
        noisy.info("bad line {number}", number=number)
    assert stream.getvalue().count("bad line") == BURST
    other.info("still heard")
    assert "still heard" in stream.getvalue()
    clock.now += 1
    noisy.info("bad line {number}", number=-1)
    assert stream.getvalue().endswith("bad line -1 [400 lines like this left out]\n")


def test_what_was_left_out_is_said_even_if_its_origin_falls_silent(clock: HandClock) -> None:
    stream = io.StringIO()
    log = TextLog(stream=stream, clock=clock)
    for _ in range(BURST + 7):
        logger(log, "listener").info("again")
    clock.now += 60
    logger(log).info("later")
    assert "[listener] [7 lines left out like: again]" in stream.getvalue()


def test_the_memory_of_origins_is_bounded(clock: HandClock) -> None:
    stream = io.StringIO()
    log = TextLog(stream=stream, clock=clock)
    for number in range(2000):
        logger(log).info(f"format {number}")
    assert stream.getvalue().count("format") == 2000
    assert len(log._origins) <= 256


def test_a_new_day_starts_a_new_file(tmp_path: Path, clock: HandClock) -> None:
    file = LogFile(str(tmp_path / "console.log"), clock=clock)
    file.write("old\n")
    clock.now += 86400
    file.write("new\n")
    assert (tmp_path / "console.log").read_text() == "new\n"
    assert (tmp_path / "console.log.2026_1_31").read_text() == "old\n"


def test_a_file_never_grows_beyond_its_bound_and_old_copies_go(tmp_path: Path, clock: HandClock) -> None:
    file = LogFile(str(tmp_path / "console.log"), max_bytes=100, max_copies=3, clock=clock)
    for number in range(100):
        file.write(f"line number {number:04}\n")
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 4
    assert max(sizes) <= 100
    assert "0099" in (tmp_path / "console.log").read_text()


def test_a_file_that_another_program_moved_is_opened_anew(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "console.log"
    file = LogFile(str(path), daily=False, clock=clock)
    file.write("before\n")
    path.rename(tmp_path / "console.log.moved")
    clock.now += 86400
    file.write("after\n")
    assert path.read_text() == "after\n"
    assert (tmp_path / "console.log.moved").read_text() == "before\n"


def test_a_disk_that_takes_nothing_is_counted_and_never_raises(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "all.log").symlink_to("/dev/full")
    log = TextLog(path=str(tmp_path / "all.log"), clock=clock)
    logger(log).info("lost")
    assert log.lost == 1


def test_a_directory_that_cannot_be_made_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CarbonError, match="cannot make the log directory"):
        TextLog(directory=str(tmp_path / "file" / "log"))

"""What the making of a file tells before it is read."""

from __future__ import annotations

from carbonpy.reading.store import Info
from carbonpy.retention import parse_retentions

NOW = 1_700_000_000


def test_the_number_of_points_is_that_of_the_archive_that_answers() -> None:
    info = Info("average", 0.5, tuple(parse_retentions("1s:1h,60s:1d")))
    assert info.points(NOW - 600, NOW, NOW) == 601
    assert info.points(NOW - 3600, NOW, NOW) == 3601
    assert info.points(NOW - 7200, NOW, NOW) == 121
    assert info.points(NOW - 7200, NOW - 7100, NOW) == 2
    assert info.points(0, NOW, NOW) == 1441
    assert info.points(NOW, NOW - 60, NOW) == 1
    assert Info("average", 0.5, ()).points(0, NOW, NOW) == 0

"""Retention definitions: ``60s:7d`` and the list of archives a file is made of.

The law: `parse_retention` accepts exactly what carbon accepts in storage-schemas.conf (one letter
units, digits mean seconds and points), and `validate_archives` applies the five rules of the
whisper format with the messages of the whisper package, and a sixth: what the format cannot hold,
since its fields have 32 bits, is refused here and not when a file is to be made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from carbonpy.errors import RetentionError

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
#: Offsets and retentions in a whisper file are below this.
FIELD_LIMIT = 2**32
_WITH_UNIT = re.compile(r"(\d+)([a-z]+)\Z")


class Archive(NamedTuple):
    """One ring of a whisper file: `points` slots of `step` seconds."""

    step: int
    points: int

    @property
    def retention(self) -> int:
        """Seconds that the archive reaches back."""
        return self.step * self.points

    def __str__(self) -> str:
        return f"{self.step}:{self.points}"


def _whole(digits: str) -> int:
    if len(digits) > 20:  # and before Python refuses to convert it
        raise RetentionError(f"{digits[:20]}... is too large; use at most {FIELD_LIMIT - 1}")
    return int(digits)


def _seconds(text: str, what: str) -> int:
    match = _WITH_UNIT.match(text)
    if match is None:
        raise RetentionError(f"invalid {what} {text!r}; write a number, or a number and one of s, m, h, d, w, y")
    if match.group(2) not in UNIT_SECONDS:
        raise RetentionError(f"unknown unit {match.group(2)!r}; use s, m, h, d, w or y")
    return _whole(match.group(1)) * UNIT_SECONDS[match.group(2)]


def parse_retention(text: str) -> Archive:
    """``60s:7d``, ``60:10080``, ``1m:1w`` as an Archive.  Raises RetentionError (a ValueError)."""
    stripped = text.strip()
    parts = stripped.split(":")
    if len(parts) != 2:
        raise RetentionError(f"{stripped!r} has no single ':'; write step:retention, as in 60s:7d")
    step = _whole(parts[0]) if parts[0].isdecimal() else _seconds(parts[0], "step")
    if step <= 0:
        raise RetentionError(f"{stripped!r} has a step of zero; the step is at least one second")
    points = _whole(parts[1]) if parts[1].isdecimal() else _seconds(parts[1], "retention") // step
    if points <= 0:
        raise RetentionError(f"{stripped!r} keeps no points; the retention is at least one step")
    return Archive(step, points)


def parse_retentions(text: str) -> tuple[Archive, ...]:
    """A comma separated list of retentions, sorted and validated."""
    return validate_archives(parse_retention(part) for part in text.split(","))


def validate_archives(archives: Iterable[tuple[int, int]]) -> tuple[Archive, ...]:
    """The archives sorted by step, finest first.  Raises RetentionError when they cannot be one file."""
    # By step alone: two of one step are refused below, and named in the order given.
    ordered = tuple(sorted((Archive(*archive) for archive in archives), key=lambda archive: archive.step))
    if not ordered:
        raise RetentionError("You must specify at least one archive configuration!")
    for index, archive in enumerate(ordered):
        if archive.step <= 0 or archive.points <= 0:
            raise RetentionError(f"Archive {index} ({archive}) must have a step and a number of points above zero")
    offset = 16 + 12 * len(ordered)
    for archive in ordered:
        if offset >= FIELD_LIMIT or archive.retention >= FIELD_LIMIT:
            raise RetentionError(
                f"Archive {archive} does not fit into a whisper file, whose offsets and retentions "
                f"are below {FIELD_LIMIT}; keep fewer points"
            )
        offset += 12 * archive.points
    for index, (archive, coarser) in enumerate(zip(ordered, ordered[1:])):
        if archive.step >= coarser.step:
            raise RetentionError(
                "A Whisper database may not be configured having two archives with the same precision "
                f"(archive{index}: {tuple(archive)}, archive{index + 1}: {tuple(coarser)})"
            )
        if coarser.step % archive.step != 0:
            raise RetentionError(
                "Higher precision archives' precision must evenly divide all lower precision archives' precision "
                f"(archive{index}: {archive.step}, archive{index + 1}: {coarser.step})"
            )
        if coarser.retention <= archive.retention:
            raise RetentionError(
                "Lower precision archives must cover larger time intervals than higher precision archives "
                f"(archive{index}: {archive.retention} seconds, archive{index + 1}: {coarser.retention} seconds)"
            )
        if archive.points < coarser.step // archive.step:
            raise RetentionError(
                "Each archive must have at least enough points to consolidate to the next archive "
                f"(archive{index + 1} consolidates {coarser.step // archive.step} of archive{index}'s points "
                f"but it has only {archive.points} total points)"
            )
    return ordered

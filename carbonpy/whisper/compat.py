"""The words of the whisper package that need no file: retentions, archive lists, methods, formats.

The law: names, signatures, results and messages are those of the whisper package; the meaning comes
from the modules beside this one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from carbonpy.errors import RetentionError
from carbonpy.retention import validate_archives
from carbonpy.whisper import rollup
from carbonpy.whisper.errors import InvalidAggregationMethod, InvalidConfiguration
from carbonpy.whisper.layout import ARCHIVE, AVG_ZERO, METADATA, METHOD_CODES, METHOD_NAMES, POINT_SIZE, Header

longFormat = "!L"
longSize = 4
floatFormat = "!f"
floatSize = 4
valueFormat = "!d"
valueSize = 8
pointFormat = "!Ld"
pointSize = POINT_SIZE
metadataFormat = "!2LfL"
metadataSize = METADATA.size
archiveInfoFormat = "!3L"
archiveInfoSize = ARCHIVE.size

aggregationTypeToMethod = dict(METHOD_NAMES)
aggregationMethodToType = dict(METHOD_CODES)
aggregationMethods = list(METHOD_CODES)

UnitMultipliers = {
    "seconds": 1,
    "minutes": 60,
    "hours": 3600,
    "days": 86400,
    "weeks": 86400 * 7,
    "years": 86400 * 365,
}
_NUMBER_AND_UNIT = re.compile(r"(\d+)([a-z]+)$")


def getUnitString(s: str) -> str:
    """The unit that begins with `s`.  Raises ValueError."""
    for unit in UnitMultipliers:
        if unit.startswith(s):
            return unit
    raise ValueError(f"Invalid unit '{s}'")


def _seconds(text: str, what: str) -> int:
    match = _NUMBER_AND_UNIT.match(text)
    if match is None:
        raise ValueError(f"Invalid {what} specification '{text}'")
    return int(match.group(1)) * UnitMultipliers[getUnitString(match.group(2))]


def parseRetentionDef(retentionDef: str) -> tuple[int, int]:
    """``60:1440``, ``1m:1d``, ``5min:2weeks`` as (seconds per point, points).  Raises ValueError."""
    precision, colon, points = retentionDef.strip().partition(":")
    if not colon:
        raise ValueError(f"Invalid retention definition '{retentionDef}'")
    step = int(precision) if precision.isdigit() else _seconds(precision, "precision")
    return (step, int(points) if points.isdigit() else _seconds(points, "retention") // step)


def validateArchiveList(archiveList: list[tuple[int, int]]) -> None:
    """Sort a list of (seconds per point, points) in place; raises InvalidConfiguration if it cannot be one file."""
    if archiveList:
        archiveList.sort(key=lambda archive: archive[0])
    try:
        validate_archives(archiveList or ())
    except RetentionError as error:
        raise InvalidConfiguration(str(error)) from None


def aggregate(
    aggregationMethod: str, knownValues: Sequence[float], neighborValues: Sequence[float | None] | None = None
) -> float:
    """One value of many by the name of a method.  Raises InvalidAggregationMethod."""
    code = METHOD_CODES.get(aggregationMethod)
    if code is None:
        raise InvalidAggregationMethod(f"Unrecognized aggregation method {aggregationMethod}")
    if code != AVG_ZERO:
        return rollup.aggregate(code, knownValues, len(knownValues))
    if not neighborValues:
        raise InvalidAggregationMethod("Using avg_zero without neighborValues")
    return rollup.aggregate(code, [value or 0 for value in neighborValues], len(neighborValues))


def header_dict(header: Header) -> dict[str, Any]:
    """A Header as the dictionary that `info` returns."""
    return {
        "aggregationMethod": header.method_name,
        "maxRetention": header.max_retention,
        "xFilesFactor": header.xff,
        "archives": [
            {
                "offset": archive.offset,
                "secondsPerPoint": archive.step,
                "points": archive.points,
                "retention": archive.retention,
                "size": archive.size,
            }
            for archive in header.archives
        ],
    }

"""Every target that graphite-web was asked gives the same series here, or stands in the table with the reason."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.targets import T, evaluate

from carbonpy.errors import QueryError
from carbonpy.series.consolidation import thin
from carbonpy.series.series import Series

RESULT = re.compile(r"   (.*) tags=(\{.*\}) start=T([+-]\d+) step=(\d+|None) n=(\d+) (\[.*\])\Z")


class Result(NamedTuple):
    """One series as it was recorded.  step: None if a single point did not show it."""

    name: str
    tags: Mapping[str, str]
    start: int
    step: int | None
    values: Sequence[float | None]


class Recorded(NamedTuple):
    """One request.  results: what came back, or ``HTTP`` with the status and a part of the error."""

    target: str
    parameters: Mapping[str, Any]
    results: list[Result] | str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.target} {json.dumps(self.parameters)}" if self.parameters else self.target


def result(line: str) -> Result:
    match = RESULT.match(line)
    assert match is not None, line
    name, tags, start, step, count, values = match.groups()
    numbers = json.loads(values)
    assert len(numbers) == int(count), line
    return Result(name, ast.literal_eval(tags), int(start), None if step == "None" else int(step), numbers)


def recorded(file: Path) -> list[Recorded]:
    """The requests of a file; a line that begins with ``# `` is the reason of the next one."""
    requests: list[Recorded] = []
    reason = ""
    for line in file.read_text().splitlines():
        if line.startswith("# "):
            reason = line[2:]
        elif " =>" in line and not line.startswith("   "):
            asked, _, answer = line.rpartition(" =>")
            literals = re.fullmatch(r"(.*?) ?(\{[^{}]*: [^{}]*\})?", asked)
            assert literals is not None
            target, parameters = literals.groups()
            requests.append(
                Recorded(
                    ast.literal_eval(target),
                    ast.literal_eval(parameters) if parameters else {},
                    answer.strip() if answer.startswith(" HTTP ") else [],
                    reason,
                )
            )
        elif line.startswith("   ") and line.strip() != "[]":
            results = requests[-1].results
            assert isinstance(results, list)
            results.append(result(line))
    return requests


HERE = Path(__file__).parent
REQUESTS = recorded(HERE.parent / "golden" / "q3_functions.txt")

#: Requests that are answered otherwise here, with the answer and the reason: see the file.
DEVIATIONS = {str(request): request for request in recorded(HERE / "deviations.txt")}
#: The only answer that is another one every time.
RANDOM = "randomWalk('r',60)"


def answer(request: Recorded) -> list[Series]:
    series = evaluate(request.target, xff=float(request.parameters.get("xFilesFactor", 0)))
    return thin(series, int(request.parameters.get("maxDataPoints", 0)))


def shown(series: Series, no_nulls: bool) -> Result:
    points = [point for point in series.points() if point[0] is not None or not no_nulls]
    start = points[0][1] - T if points else series.start - T
    return Result(series.name, dict(series.tags), start, series.step, [value for value, _ in points])


def same(got: Result, expected: Result) -> bool:
    return (
        got.name == expected.name
        and got.tags == expected.tags
        and got.start == expected.start
        and expected.step in (got.step, None)
        and len(got.values) == len(expected.values)
        and all(
            (a is None) == (b is None) and (a is None or b is None or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9))
            for a, b in zip(got.values, expected.values)
        )
    )


def check(asked: Recorded) -> None:
    """That the answer is the recorded one; where that is an error, that here is one of which it tells a part."""
    if isinstance(asked.results, str):
        with pytest.raises(QueryError, match=re.escape(asked.results[len("HTTP 400 ") :]) or None):
            answer(asked)
    else:
        got = [shown(series, "noNullPoints" in asked.parameters) for series in answer(asked)]
        assert len(got) == len(asked.results)
        assert all(map(same, got, asked.results)), f"got\n{got}\nexpected\n{asked.results}"


def test_every_deviation_is_about_a_recorded_request_and_has_a_reason() -> None:
    there = {str(request): request for request in REQUESTS}
    for request in DEVIATIONS.values():
        assert there[str(request)].results != request.results
        assert request.reason


@pytest.mark.parametrize("asked", [one for one in REQUESTS if str(one) not in (*DEVIATIONS, RANDOM)], ids=str)
def test_the_answer_is_that_of_graphite_web(asked: Recorded) -> None:
    check(asked)


@pytest.mark.parametrize("asked", DEVIATIONS.values(), ids=str)
def test_an_answer_that_is_another_one_is_the_one_that_is_meant(asked: Recorded) -> None:
    check(asked)


def test_a_random_walk_is_random_only_in_its_values() -> None:
    (request,) = (one for one in REQUESTS if str(one) == RANDOM)
    assert isinstance(request.results, list)
    ((series,), (expected,)) = (answer(request), request.results)
    assert (series.name, dict(series.tags), series.start - T, series.step, len(series)) == (
        expected.name, expected.tags, expected.start, expected.step, len(expected.values)
    )  # fmt: skip
    assert series.values[0] == 0 and max(abs(b - a) for a, b in zip(series.values, series.values[1:])) <= 0.5

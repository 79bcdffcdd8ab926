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
    """One request.  results: what came back, or the status of an error."""

    target: str
    parameters: Mapping[str, Any]
    results: list[Result] | int

    def __str__(self) -> str:
        return f"{self.target} {json.dumps(self.parameters)}" if self.parameters else self.target


def result(line: str) -> Result:
    match = RESULT.match(line)
    assert match is not None, line
    name, tags, start, step, count, values = match.groups()
    numbers = json.loads(values)
    assert len(numbers) == int(count), line
    return Result(name, ast.literal_eval(tags), int(start), None if step == "None" else int(step), numbers)


def recorded() -> list[Recorded]:
    requests: list[Recorded] = []
    for line in (Path(__file__).parent.parent / "golden" / "q3_functions.txt").read_text().splitlines():
        if " =>" in line and not line.startswith("   "):
            asked, _, answer = line.rpartition(" =>")
            literals = re.fullmatch(r"(.*?) ?(\{[^{}]*: [^{}]*\})?", asked)
            assert literals is not None
            target, parameters = literals.groups()
            status = re.match(r" HTTP (\d+)", answer)
            requests.append(
                Recorded(
                    ast.literal_eval(target),
                    ast.literal_eval(parameters) if parameters else {},
                    int(status.group(1)) if status else [],
                )
            )
        elif line.startswith("   ") and line.strip() != "[]":
            results = requests[-1].results
            assert isinstance(results, list)
            results.append(result(line))
    return requests


REQUESTS = recorded()

#: str(request) -> (what comes here: recorded lines or a part of the error, why).
DEVIATIONS: dict[str, tuple[list[str] | str, str]] = {}


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


def compare(request: Recorded, expected: Sequence[Result]) -> None:
    got = [shown(series, "noNullPoints" in request.parameters) for series in answer(request)]
    assert len(got) == len(expected) and all(map(same, got, expected)), f"got\n{got}\nexpected\n{expected}"


def test_every_deviation_is_about_a_recorded_target() -> None:
    assert set(DEVIATIONS) <= {str(request) for request in REQUESTS}


@pytest.mark.parametrize("request_", [one for one in REQUESTS if str(one) not in DEVIATIONS], ids=str)
def test_the_answer_is_that_of_graphite_web(request_: Recorded) -> None:
    if isinstance(request_.results, int):
        with pytest.raises(QueryError):
            answer(request_)
    else:
        compare(request_, request_.results)


@pytest.mark.parametrize("request_", [one for one in REQUESTS if str(one) in DEVIATIONS], ids=str)
def test_a_deviation_is_as_it_is_declared(request_: Recorded) -> None:
    expected, reason = DEVIATIONS[str(request_)]
    assert reason
    if isinstance(expected, str):
        with pytest.raises(QueryError) as caught:
            answer(request_)
        assert expected in str(caught.value)
    else:
        compare(request_, [result(line) for line in expected])

"""aggregation-rules.conf: recorded cases, the real carbon, and what is told about bad lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from carbon.aggregator.rules import AGGREGATION_METHODS, AggregationRule, RuleManager
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import ConfigError
from carbonpy.rules.aggregates import METHODS, AggregateSpec, AggregationRules, known_method

VECTORS = json.loads((Path(__file__).resolve().parent.parent / "vectors" / "aggregation_rules.json").read_text())
#: Lines that carbon refuses and we take.
MORE_THAN_CARBON = {"total;dc=lon (10) = sum x.y": "total;dc=lon", "agg.x (10) = last a.b": "agg.x"}


@pytest.mark.parametrize("case", VECTORS["cases"], ids=[case["rule"] for case in VECTORS["cases"]])
def test_a_recorded_rule_is_read_as_carbon_reads_it(case: dict[str, Any]) -> None:
    line = case["rule"]
    if line in MORE_THAN_CARBON:
        assert [rule.output for rule in AggregationRules.parse(line, "f").rules] == [MORE_THAN_CARBON[line]]
        return
    if "parse_raises" in case:
        with pytest.raises(ConfigError, match=r"^rules\.conf:1 "):
            AggregationRules.parse(line, "rules.conf")
        return
    book = AggregationRules.parse(line, "rules.conf")
    names = case["expect"]
    if book.rules:
        (rule,) = book.rules
        assert (rule.regex.pattern, rule.template) == (case["regex"], case["template"])
        assert rule.spec == AggregateSpec(case["frequency"], case["method"])
    else:
        # Nothing can come of it, or carbon loses each point that matches.
        assert len(book.warnings) == 1 and book.warnings[0].startswith("rules.conf:1 ")
    found = {name: [output for _, output in book.outputs(name)] for name in names}
    assert found == {name: [output] if isinstance(output, str) else [] for name, output in names.items()}


_PART = st.sampled_from(
    ["*", "a", "b*", "<x>", "<y>", "pre<x>", "<x>post", "<<z>>", r"\d", "(a|b)", "<x>-<y>", "c;d=<x>", "%"]
)
_PATTERN = st.lists(_PART, min_size=1, max_size=4).map(".".join)
_OUT = st.lists(st.sampled_from(["a", "all", "<x>", "<y>", "<z>", "%%", "%"]), min_size=1, max_size=4).map(".".join)
_LINE = st.builds(
    "{} {} {}= {} {}".format,
    _OUT,
    st.sampled_from(["(10)", "60", "(x)", "((5)", "(1_0)", ""]),
    st.sampled_from(["", " ", "= "]),
    st.sampled_from([*AGGREGATION_METHODS, "p42"]),
    _PATTERN,
)
_NAME = st.lists(st.sampled_from(["a", "b", "bb", "1", "x-y", "prea", "c;d=e"]), min_size=1, max_size=4).map(".".join)


@given(_LINE, st.lists(_NAME, max_size=8))
def test_any_line_means_to_us_what_it_means_to_carbon(line: str, names: list[str]) -> None:
    rule: AggregationRule | None
    try:
        rule = RuleManager.parse_definition(line)
    except (ValueError, re.error):
        rule = None
    try:
        book = AggregationRules.parse(line, "f")
    except ConfigError:
        assert rule is None
        return
    assert rule is not None
    if book.rules:
        (ours,) = book.rules
        assert (ours.spec.interval, ours.spec.method) == (rule.frequency, rule.method)
    for name in names:
        try:
            expected = rule.get_aggregate_metric(name)
        except (KeyError, ValueError):
            assert not book.rules and book.warnings
            expected = None
        assert book.outputs(name) == ([] if expected is None else [(0, expected)])


@given(st.text())
def test_whatever_stands_in_a_file_it_is_rules_or_problems_with_their_lines(text: str) -> None:
    try:
        book = AggregationRules.parse(text, "file")
    except ConfigError as error:
        assert all(re.match(r"file:\d+ ", line) for line in str(error).split("\n"))
    else:
        assert len(book.rules) <= len(text.splitlines())


def test_all_bad_lines_are_told_with_their_places() -> None:
    text = "# rules\n\na (10) = sum b\nno rule\na (10) = mean b\na (x) = sum b\na (10) = sum (b\na (10) = sum b c\n"
    with pytest.raises(ConfigError) as caught:
        AggregationRules.parse(text, "rules.conf")
    problems = str(caught.value).splitlines()
    assert [problem.partition(" ")[0] for problem in problems] == [f"rules.conf:{line}" for line in (4, 5, 6, 7, 8)]
    assert "unknown method 'mean'" in problems[1] and "no number of seconds" in problems[2]
    assert "not a regular expression" in problems[3]


def test_rules_are_numbered_in_their_order_and_all_that_match_count() -> None:
    book = AggregationRules.parse("x (10) = sum a.*\ny (10) = sum b.*\nz.<n> (60) = max a.<n>\n", "f")
    assert book.outputs("a.q") == [(0, "x"), (2, "z.q")]
    assert [rule.line for rule in book.rules] == [1, 2, 3]
    assert book and not AggregationRules.default()


def test_an_output_may_have_tags_with_fields_of_the_input() -> None:
    book = AggregationRules.parse("all.cpu;dc=<dc>;kind=sum (60) = sum host.cpu;dc=<dc>;host=\\w+\n", "f")
    assert book.outputs("host.cpu;dc=lon;host=a") == [(0, "all.cpu;dc=lon;kind=sum")]


def test_methods_have_one_name_each() -> None:
    assert [known_method(word) for word in ("sum", "average", "cnt", "percentile7")] == [
        "sum",
        "avg",
        "count",
        "percentile7",
    ]
    assert set(AGGREGATION_METHODS) < set(METHODS)
    for word in ("percentile0", "percentile100", "percentileN", "p42", ""):
        with pytest.raises(ConfigError, match="unknown method"):
            known_method(word)


def test_a_rule_that_can_give_no_name_is_passed_over_with_a_sentence() -> None:
    text = "a.<b> (10) = sum c\na%.c (10) = sum c\na (0) = sum c\na (10) = sum c\n"
    book = AggregationRules.parse(text, "f")
    assert [rule.line for rule in book.rules] == [4]
    assert [warning.partition(" ")[0] for warning in book.warnings] == ["f:1", "f:2", "f:3"]

"""rewrite-rules.conf: recorded cases, the real carbon, and what is told about bad lines."""

from __future__ import annotations

import json
from pathlib import Path

from carbon.rewrite import RewriteRuleManager
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonpy.rules.rewriting import RewriteRules

VECTORS = json.loads((Path(__file__).resolve().parent.parent / "vectors" / "rewrite_rules.json").read_text())


def test_the_recorded_file_renames_as_carbon_does() -> None:
    rules = RewriteRules.parse(VECTORS["file"], "rewrite-rules.conf")
    for section, ours in (("pre", rules.pre_rules), ("post", rules.post_rules)):
        assert [[rule.pattern, rule.replacement] for rule in ours] == VECTORS["rulesets"][section]
    assert {name: rules.pre(name) for name in VECTORS["pre"]} == VECTORS["pre"]
    assert {name: rules.post(name) for name in VECTORS["post"]} == VECTORS["post"]
    assert [warning.partition(" ")[0] for warning in rules.warnings] == [
        "rewrite-rules.conf:2",
        "rewrite-rules.conf:9",
        "rewrite-rules.conf:10",
    ]


def test_a_section_that_is_gone_is_no_longer_in_force() -> None:
    after = RewriteRules.parse(VECTORS["after_reload_without_[post]"]["file"], "f")
    assert [[rule.pattern, rule.replacement] for rule in after.pre_rules] == [["^a", "b"]]
    assert after.post("pp") == "pp"


_PATTERN = st.sampled_from(["a", "^a", "b$", r"(\w+)\.x", r"(?P<n>\d)", "(", "", r"\.\.", "#", "a|b"])
_REPLACEMENT = st.sampled_from(["", "b", r"\1", r"\g<n>", "x=y", r"\g<0>\g<0>", "."])
_LINE = st.one_of(
    st.builds("{}{}{}".format, _PATTERN, st.sampled_from(["=", " = ", " "]), _REPLACEMENT),
    st.sampled_from(["[pre]", "[post]", "[PRE]", "[other]", "", "# c"]),
)


@settings(deadline=None)
@given(st.lists(_LINE, max_size=8), st.lists(st.text("ab1.x", max_size=8), max_size=6))
def test_any_file_renames_as_the_real_carbon_does(tmp_path_factory, lines: list[str], names: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "rewrite-rules.conf"
    path.write_text("\n".join(lines))
    RewriteRuleManager.clear()
    RewriteRuleManager.rules_last_read = 0.0
    RewriteRuleManager.rules_file = str(path)
    RewriteRuleManager.read_rules()
    rules = RewriteRules.parse(path.read_text(), str(path))
    for section, ours in (("pre", rules.pre), ("post", rules.post)):
        for name in names:
            expected = name
            for rule in RewriteRuleManager.rules(section):
                try:
                    expected = rule.apply(expected)
                except Exception:  # carbon loses the point; we pass the rule over
                    assert any("the replacement cannot be used" in warning for warning in rules.warnings)
            assert ours(name) == expected


@given(st.text())
def test_whatever_stands_in_a_file_it_is_rules_and_warnings(text: str) -> None:
    rules = RewriteRules.parse(text, "f")
    assert bool(rules) == bool(rules.pre_rules or rules.post_rules)
    assert all(warning.startswith("f:") for warning in rules.warnings)


def test_a_replacement_with_a_group_that_is_not_there_is_passed_over() -> None:
    rules = RewriteRules.parse("[pre]\na = \\2\nb = c\n", "f")
    assert rules.pre("ab") == "ac"
    assert rules.warnings == ("f:2 a = \\2: the replacement cannot be used: invalid group reference 2 at position 1; "
                              "the line is passed over",)  # fmt: skip


def test_a_section_that_comes_twice_is_the_second_one() -> None:
    rules = RewriteRules.parse("[pre]\na = b\n[PRE]\nc = d\n", "f")
    assert rules.pre("ac") == "ad"
    assert rules.warnings == ("f:3 [PRE]: takes the place of line 1; join the two sections",)

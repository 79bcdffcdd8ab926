"""conf/ and docs/settings.rst: made from the table, complete, and good to run as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from carbonpy.rules.aggregates import METHODS, AggregationRules
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.filters import FilterBook
from carbonpy.rules.rewriting import RewriteRules
from carbonpy.rules.schemas import SchemaBook
from carbonpy.settings import SETTINGS, load
from carbonpy.settings.check import check
from carbonpy.settings.documents import DOCUMENTS, write
from carbonpy.settings.loading import PROGRAMS, rows_of
from carbonpy.settings.table import SECTION_NAMES

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"


@pytest.mark.parametrize("path", sorted(DOCUMENTS))
def test_the_document_is_what_the_table_makes(path: str) -> None:
    """If not: python -m carbonpy.settings.documents"""
    assert (ROOT / path).read_text() == DOCUMENTS[path]()


def test_writing_the_documents_writes_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "docs").mkdir()
    write(str(tmp_path))
    assert {path for path in DOCUMENTS if (tmp_path / path).read_text() == (ROOT / path).read_text()} == set(DOCUMENTS)


@pytest.mark.parametrize("path", sorted(DOCUMENTS))
def test_every_setting_appears_with_its_sentence(path: str) -> None:
    flat = re.sub(r"[\s#]+", " ", (ROOT / path).read_text())
    for setting in SETTINGS:
        name = setting.key if path.endswith(".yaml") else setting.name
        assert re.sub(r"[\s#]+", " ", setting.sentence) in flat, setting.name
        assert re.search(rf"\b{name}\b", flat), setting.name


@pytest.mark.parametrize("name", ["carbonpy.yaml", "carbon.conf.example"])
def test_the_example_runs_as_it_is_and_is_the_defaults(name: str, tmp_path: Path) -> None:
    environ = {"GRAPHITE_STORAGE_DIR": str(tmp_path / "storage")}
    report = check(str(CONF / name), environ=environ)
    assert report.errors == report.warnings == ()
    assert report.effective is not None
    assert report.effective.origins == {}
    assert report.effective.cache.conf_dir == str(CONF)


@pytest.mark.parametrize(
    ("name", "mark"), [("carbonpy.yaml", r"(?m)^  # ([a-z_]+:)"), ("carbon.conf.example", r"(?m)^# ([A-Z_0-9]+ =)")]
)
def test_every_default_that_is_shown_is_the_default_when_its_mark_is_removed(
    name: str, mark: str, tmp_path: Path
) -> None:
    text = (CONF / name).read_text()
    head, section, rest = re.split(r"(?m)^(cache:|\[cache\])\n", text, maxsplit=1)
    replacement = r"  \1" if name.endswith(".yaml") else r"\1"
    path = tmp_path / name
    for program in PROGRAMS:
        if program in SECTION_NAMES:  # it has the settings of another section under its own name
            continue
        if program in ("relay", "aggregator"):  # relative to where the file lies, which is elsewhere here
            rest = re.sub("/opt/graphite/conf/([a-z]+-rules)", r"\1", rest)
        path.write_text(head + section + "\n" + re.sub(mark, replacement, rest))
        shown, default = load(str(path), program=program, environ={}), load(None, program=program, environ={})
        assert shown.warnings == []
        assert set(shown.origins) == {(setting.section, setting.name) for setting in rows_of(program)}
        assert {s.name for s in rows_of(program) if shown.value(s) != default.value(s)} == set()


def test_the_example_rules_parse_without_a_warning_and_match_what_they_say() -> None:
    def text(name: str) -> tuple[str, str]:
        return (CONF / name).read_text(), name

    schemas, aggregation = (
        SchemaBook.parse(*text("storage-schemas.conf")),
        AggregationBook.parse(*text("storage-aggregation.conf")),
    )
    assert schemas.warnings == aggregation.warnings == ()
    assert [schemas.match(name).name for name in ("carbon.agents.x", "web.cpu")] == ["carbon", "default"]
    assert [aggregation.match(name).method for name in ("a.upper_90", "a.lower", "a.count", "a.b")] == [
        "max",
        "min",
        "sum",
        "average",
    ]
    for name in ("whitelist.conf", "blacklist.conf"):
        assert not FilterBook.parse(*text(name)) and not FilterBook.parse(*text(name)).problems


def test_the_example_lists_have_examples_that_are_expressions() -> None:
    for name in ("whitelist.conf", "blacklist.conf"):
        examples = [line[2:] for line in (CONF / name).read_text().splitlines() if line.startswith(("# ^", "# \\"))]
        book = FilterBook.parse("\n".join(examples), name)
        assert len(book.patterns) == 2 and not book.problems


def examples_in(name: str, mark: str) -> str:
    """The lines of a file's comments that are examples, without their #."""
    return "\n".join(line[2:] for line in (CONF / name).read_text().splitlines() if re.match(mark, line))


def test_the_example_aggregation_rules_ask_for_nothing_and_have_examples_that_do_what_they_say() -> None:
    name = "aggregation-rules.conf"
    assert not AggregationRules.parse((CONF / name).read_text(), name)
    book = AggregationRules.parse(examples_in(name, r"# [^ ]+ \(\d+\) = "), name)
    assert len(book.rules) == 3 and book.warnings == ()
    outputs = {
        metric: [output for _, output in book.outputs(metric)]
        for metric in ("prod.applications.shop.web1.requests", "answers.duration;dc=lon;host=a", "other")
    }
    assert outputs == {
        "prod.applications.shop.web1.requests": ["prod.applications.shop.all.requests"] * 2,
        "answers.duration;dc=lon;host=a": ["answers.p99;dc=lon"],
        "other": [],
    }
    told = re.findall(r"\bp?[a-z]*\d*\b", (CONF / name).read_text().partition("Methods: ")[2].partition(". ")[0])
    assert {*METHODS} - {"percentileN"} <= set(told)


def test_the_example_rewrite_rules_ask_for_nothing_and_have_examples_that_do_what_they_say() -> None:
    name = "rewrite-rules.conf"
    assert not RewriteRules.parse((CONF / name).read_text(), name)
    book = RewriteRules.parse(examples_in(name, r"# (\[|[^ ]+ =)"), name)
    assert (len(book.pre_rules), len(book.post_rules), book.warnings) == (1, 2, ())
    assert book.pre("collectd.web1.example.cpu") == "servers.web1.cpu"
    assert book.post("a...b_sum") == "a.b"

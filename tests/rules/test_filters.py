"""Allow and deny lists by example; test_rules_like_carbon.py has the law."""

from __future__ import annotations

from carbonpy.rules.filters import FilterBook


def test_an_expression_is_found_anywhere_in_the_raw_name() -> None:
    book = FilterBook.parse("# noise\n\n  noisy\\.  \n^\\.\n", "blacklist.conf")
    assert book and book.patterns == ("noisy\\.", "^\\.")
    assert book.matches("web.noisy.cpu") and book.matches(".web")
    assert not book.matches("web.cpu")


def test_a_line_that_is_no_expression_is_told_and_passed_over() -> None:
    book = FilterBook.parse("good\n[bad\n", "blacklist.conf")
    (problem,) = book.problems
    assert problem.startswith("blacklist.conf:2 [bad: not a regular expression: ")
    assert problem.endswith("the line is passed over")
    assert book.matches("good") and book.warnings == book.problems


def test_an_empty_book_is_false_and_finds_nothing() -> None:
    assert not FilterBook.default() and not FilterBook.default().matches("a")
    assert FilterBook.parse("# only a comment\n", "f") == FilterBook.default()

"""The page of functions says what the declarations say."""

from __future__ import annotations

from pathlib import Path

from carbonpy.functions.documents import PAGE, page
from carbonpy.functions.library import Library

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_the_one_made_from_the_declarations() -> None:
    """If not: python -m carbonpy.functions.documents"""
    assert (ROOT / PAGE).read_text() == page(Library.standard())


def test_every_function_is_on_the_page_by_every_name() -> None:
    text = page(Library.standard())
    assert [name for name in Library.standard() if f"``{name}(" not in text and f"``{name}``" not in text] == []

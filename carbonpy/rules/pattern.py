"""Regular expressions of rules files: compiled once, searched anywhere in a name, as carbon does."""

from __future__ import annotations

import re
import warnings


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The compiled `pattern`.  Raises ValueError with a sentence when it is none that Python understands."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on what later Pythons may read otherwise; it reads as in carbon today
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}; see Python's re module for the syntax") from None

"""``carbonpy version``: what to write into a report about a problem."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import carbonpy

_LIBRARIES = ("twisted", "numpy", "lz4", "pyyaml")


def main(argv: Sequence[str]) -> int:
    """Print the versions, one a line; always 0."""
    argparse.ArgumentParser(
        prog="carbonpy version",
        description="Print the version of carbonpy, of Python and of the libraries it runs with.",
        epilog="example:  carbonpy version",
    ).parse_args(argv)
    print(f"carbonpy {carbonpy.__version__}")
    print(f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.release()}")
    for library in _LIBRARIES:
        try:
            print(f"{library} {version(library)}")
        except PackageNotFoundError:
            print(f"{library} is not installed")
    return 0

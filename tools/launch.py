"""What the launchers in this directory share: the whisper tools of this checkout under the names of the scripts.

The law: a launcher runs the code beside it, installed or not; the interpreter needs numpy, lz4 and PyYAML.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def entry() -> None:
    """Run the tool that this program is called."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import_module("carbonpy.cli.whisper.main").entry()

"""A sample of the questions of `tools/compare`: the same answers as a real graphite-web over the same tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def test_a_sample_of_questions_is_answered_as_graphite_web_answers_it() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / "compare"), "--sample", "9"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    questions = int(done.stdout.splitlines()[-1].split()[0])
    assert questions > 300

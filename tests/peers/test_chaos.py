"""A minute of tools/chaos: kills, hangs and full disks, and every point is where it belongs afterwards.

The deeds are others each time; the seed is printed, and ``tools/chaos --seed`` does them again.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.running import REPOSITORY


def test_a_cluster_loses_and_invents_nothing_while_its_parts_die_hang_and_fill_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "tools/chaos", "--seconds", "60", "--dir", str(tmp_path)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    owed, found = (
        int(number.replace(",", ""))
        for number in re.findall(r"([\d,]+) points have to be there, ([\d,]+) are", done.stdout)[0]
    )
    # Far fewer would mean that the relays were dead nearly all the time.
    assert found >= owed > 1_000_000
    assert re.search(r"deeds: .*kill a cache \d", done.stdout)

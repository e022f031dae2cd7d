"""The promise: `make demo` plays its scene to the end, and prints what the model says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_demo_shows_what_each_device_is_told() -> None:
    ran = subprocess.run(
        [sys.executable, "docs/demo.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "duplicate: nothing was stored twice" in ran.stdout
    assert "2002 members, read diffusion" in ran.stdout
    tablet = ran.stdout.partition("chen's tablet\n")[2].splitlines()
    assert tablet[0].split() == ["message", "trip", "1-0", "(recalled", "by", "alice)"]
    assert "已添加为好友，明天见" in tablet[1]
    assert tablet[2].endswith("bob: I'll bring the map (edited)")
    assert "好友: 1 found" in ran.stdout
    assert "nine: 0 found" in ran.stdout, "it was recalled"
    assert "mpa" not in "".join(tablet)

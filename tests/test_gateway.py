"""docs/gateway.md: its program runs and prints what is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.server.daemon import Daemon
from tests.test_commands import BLOCK

PAGE = (Path(__file__).parents[1] / "docs/gateway.md").read_text("utf-8")


def test_the_gateway_prints_what_is_shown(tmp_path: Path) -> None:
    program, shown = (
        next(text for language, text in BLOCK.findall(PAGE) if language == wanted)
        for wanted in ("python", "text")
    )
    daemon = Daemon(tmp_path / "data")
    try:
        ran = subprocess.run(
            [sys.executable, "-c", program.replace("port=7420", f"port={daemon.port}")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (sorted(ran.stdout.splitlines()), ran.stderr) == (sorted(shown.splitlines()), "")
    finally:
        daemon.stop()

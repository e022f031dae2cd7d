"""The promise: what the README shows to type works, and prints what it shows."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.server.daemon import Daemon

README: Final = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def block(language: str) -> str:
    """The only block of the README in `language`."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_embedded_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for first in (1, 1003):  # whoever runs it again goes on where it ended
        exec(compile(block("python"), "README.md", "exec"), {})
        lines = capsys.readouterr().out.splitlines()
        shown = [line.split()[::2] for line in lines[:3]]
        assert shown == [[str(first + at), who] for at, who in enumerate(("alice", "bob", "bob"))]
        assert len(lines) > 3


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_the_redis_cli_lines_print_what_is_shown(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        for shown in re.split(r"^\$ ", block("console"), flags=re.MULTILINE)[1:]:
            line, _, expected = shown.partition("\n")
            command = shlex.split(line.replace("-p 7420", f"--no-raw -p {daemon.port}"))
            ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
            assert ran.stdout == expected, line
    finally:
        daemon.stop()

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


TIME: Final = re.compile(r"\b1[78]\d{11}\b")
CURSOR: Final = re.compile(r"\b\d+-\d+-\d+\b")


def blocks(language: str) -> list[str]:
    """The blocks of the README in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_embedded_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for first in (1, 1003):  # whoever runs it again goes on where it ended
        exec(compile(blocks("python")[0], "README.md", "exec"), {})
        lines = capsys.readouterr().out.splitlines()
        shown = [line.split()[::2] for line in lines[:3]]
        assert shown == [[str(first + at), who] for at, who in enumerate(("alice", "bob", "bob"))]
        assert len(lines) > 3


def plain(text: str) -> str:
    """Without what is another each time."""
    return TIME.sub("<time>", CURSOR.sub("<cursor>", text))


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
def test_the_redis_cli_lines_print_what_is_shown(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    cursors: dict[str, str] = {}  # of the README, and of this daemon
    try:
        lines = [
            line
            for block in blocks("console")
            for line in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        ]
        assert len(lines) >= 8
        for shown in lines:
            line, _, expected = shown.partition("\n")
            line = CURSOR.sub(lambda found: cursors[found[0]], line)
            command = shlex.split(line.replace("-p 7420", f"--no-raw -p {daemon.port}"))
            ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
            pairs = zip(CURSOR.findall(expected), CURSOR.findall(ran.stdout), strict=True)
            cursors.update(pairs)
            assert plain(ran.stdout) == plain(expected), line
    finally:
        daemon.stop()

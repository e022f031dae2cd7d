"""The promise: what the README shows to type works, and prints what it shows. So does the README in
Chinese, whose lines to type are the same.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import termios
import time
from pathlib import Path
from typing import Final

import pytest

from tests.server.daemon import Daemon

ROOT: Final = Path(__file__).parent.parent
README: Final = (ROOT / "README.md").read_text("utf-8")

TIME: Final = re.compile(r"\b1[78]\d{11}\b")
CURSOR: Final = re.compile(r"\b\d+-\d+-\d+\b")
needs_redis_cli: Final = pytest.mark.skipif(
    shutil.which("redis-cli") is None, reason="redis-cli is not installed"
)


def blocks(language: str, page: str = README) -> list[str]:
    """The blocks of a page in `language`."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [text for found, text in fenced if found == language]


def test_the_chinese_readme_shows_the_same_lines_to_type() -> None:
    page = (ROOT / "docs" / "README.zh.md").read_text("utf-8")
    for language in ("redis", "python", "text", ""):
        shown = blocks(language, page)
        assert shown
        assert set(shown) <= set(blocks(language))


def test_the_chat_in_python_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    chat, _ = blocks("python")
    exec(compile(chat, "README.md", "exec"), {})
    shown, _ = blocks("text")
    assert capsys.readouterr().out == shown


def test_the_embedded_example_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, embedded = blocks("python")
    _, expected = blocks("text")
    for first in (1, 1003):  # whoever runs it again goes on where it ended
        exec(compile(embedded, "README.md", "exec"), {})
        printed = capsys.readouterr().out
        if first == 1:
            assert plain(printed) == plain(expected)
        lines = printed.splitlines()
        shown = [line.split()[::2] for line in lines[:3]]
        assert shown == [[str(first + at), who] for at, who in enumerate(("alice", "bob", "bob"))]
        assert len(lines) > 3


def plain(text: str) -> str:
    """Without what is another each time."""
    return TIME.sub("<time>", CURSOR.sub("<cursor>", text))


@needs_redis_cli
def test_the_redis_cli_lines_print_what_is_shown(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    cursors: dict[str, str] = {}  # of the README, and of this daemon
    try:
        lines = [
            line
            for block in blocks("redis")
            for line in re.split(r"^> ", block, flags=re.MULTILINE)[1:]
        ]
        assert len(lines) >= 6
        for shown in lines:
            line, _, expected = shown.partition("\n")
            line = CURSOR.sub(lambda found: cursors[found[0]], line)
            command = ["redis-cli", "-p", str(daemon.port), "--json", *shlex.split(line)]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
            pairs = zip(CURSOR.findall(expected), CURSOR.findall(ran.stdout), strict=True)
            cursors.update(pairs)
            assert plain(ran.stdout) == plain(expected), line
    finally:
        daemon.stop()


@needs_redis_cli
def test_redis_cli_completes_a_command_and_shows_its_arguments(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    terminal, inside = pty.openpty()
    termios.tcsetwinsize(inside, (24, 160))
    try:
        with subprocess.Popen(
            ["redis-cli", "-p", str(daemon.port), "--json"],
            env={**os.environ, "TERM": "xterm"},
            stdin=inside,
            stdout=inside,
        ) as redis_cli:
            try:
                until(terminal, f":{daemon.port}> ")
                os.write(terminal, b"conv.se\t")
                until(terminal, "CONV.SEND", "conversation sender [KEY message-key]")
            finally:
                redis_cli.terminate()
    finally:
        os.close(terminal)
        os.close(inside)
        daemon.stop()


def until(terminal: int, *wanted: str) -> None:
    """Return once a terminal shows all of `wanted`; fail after 20 seconds."""
    shown = ""
    deadline = time.monotonic() + 20
    while not all(each in shown for each in wanted):
        left = deadline - time.monotonic()
        assert left > 0, shown
        if select.select([terminal], [], [], left)[0]:
            shown += os.read(terminal, 65_536).decode("utf-8", "replace")

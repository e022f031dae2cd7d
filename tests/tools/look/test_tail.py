"""The promise: following goes on until Ctrl-C, and then ends with at most one word."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.server.daemon import Daemon
from tests.tools.looks import printed

TIMELINE = Path(sys.executable).parent / "timeline"


class Followed:
    """`timeline tail -f …` as a process of its own, read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [TIMELINE, "tail", "-f", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, problems = self.process.communicate(timeout=30)
        return self.process.returncode, problems


@pytest.mark.parametrize("of", ["daemon", "directory"])
@pytest.mark.parametrize("what", ["timeline", "inbox", "home", "log"])
def test_tail_follows_what_comes_until_ctrl_c(daemon: Daemon, of: str, what: str) -> None:
    client = daemon.client(decode_responses=True)
    where = ["--connect", f":{daemon.port}"] if of == "daemon" else [str(daemon.data)]
    head = client.execute_command("XADD", "followed", "*", "n", "0")
    client.execute_command("CONV.CREATE", "talk", "-", "MEMBERS", 1, "zoe")
    client.execute_command("CONV.SEND", "talk", "zoe", "*", "text", "before")
    client.execute_command("FEED.PUBLISH", "ann", "*", "text", "older")
    client.execute_command("FEED.FOLLOW", "zoe", "ann")
    client.execute_command("FEED.PUBLISH", "ann", "*", "text", "before")
    named = {
        "timeline": ["followed"],
        "inbox": ["@user:zoe"],
        "home": ["@home:zoe"],
        "log": ["--log"],
    }[what]
    following = Followed(*where, *named, "-n", "1")
    try:
        shown = [following.line()]
        for number in range(3):
            if what == "inbox":
                client.execute_command("CONV.SEND", "talk", "zoe", "*", "text", str(number))
            elif what == "home":
                client.execute_command("FEED.PUBLISH", "ann", "*", "text", str(number))
            else:
                client.execute_command("XADD", "followed", "*", "n", str(number))
            shown.append(following.line())
    finally:
        status, problems = following.stop()
    assert (status, problems) == (130, "stopped\n")
    if what == "timeline":
        first = int(head.partition("-")[0])
        assert [line.split()[0] for line in shown] == [f"{first + n}-0" for n in range(4)]
    else:
        numbers = [int(line.split()[0].partition("-")[0]) for line in shown]
        assert numbers == sorted(set(numbers)), "each once, in order"


@pytest.mark.parametrize("of", ["daemon", "directory"])
def test_what_is_edited_or_recalled_meanwhile_is_shown_as_it_is_then(
    daemon: Daemon, of: str
) -> None:
    client = daemon.client(decode_responses=True)
    where = ["--connect", f":{daemon.port}"] if of == "daemon" else [str(daemon.data)]
    name = f"changing-{of}"
    client.execute_command("CONV.CREATE", name, "-", "MEMBERS", 1, "zoe")
    for text in ("first", "second"):
        client.execute_command("CONV.SEND", name, "zoe", "*", "text", text)
    client.execute_command("CONV.EDIT", name, 1, "zoe", "*", "text", "before")
    following = Followed(*where, f"@conv:{name}", "-n", "1")
    try:
        assert "text=second" in following.line()
        client.execute_command("CONV.RECALL", name, 1, "zoe")
        line = following.line()
        assert line.startswith("1-0 ")
        assert "@recalled=zoe" in line
        client.execute_command("CONV.JOIN", name, "-", "yan")
        client.execute_command("CONV.EDIT", name, 2, "zoe", "*", "text", "2nd")
        line = following.line()
        assert line.startswith("2-0 ")
        assert "text=2nd" in line
        client.execute_command("CONV.SEND", name, "zoe", "*", "text", "third")
        assert "text=third" in following.line()
    finally:
        following.stop()


def test_top_shows_rates_lag_and_what_is_hot(daemon: Daemon) -> None:
    client = daemon.client()
    where = ["--connect", f":{daemon.port}"]
    writing = subprocess.Popen(
        [TIMELINE, "top", *where, "--once", "--json", "--interval", "1.5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    while writing.poll() is None:
        for _ in range(20):
            client.execute_command("XADD", "hot", "*", "n", "1")
    assert writing.stdout is not None
    found = json.loads(writing.stdout.read())
    writing.stdout.close()
    assert found["commits"] > 0
    assert found["group_commits"] >= 1
    assert found["hottest"][0]["timeline"] == "hot"
    assert found["consumers"].keys() == {"index"}
    text = printed("top", *where, "--once", "--interval", "0.1")
    for word in ("commits/s", "fsync", "index behind", "connections"):
        assert word in text


def test_top_is_a_live_view_on_a_terminal(daemon: Daemon) -> None:
    ours, theirs = pty.openpty()
    words = [str(TIMELINE), "top", "--connect", f":{daemon.port}", "--interval", "0.1"]
    process = subprocess.Popen(
        words, stdout=theirs, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "xterm"}
    )
    shown = b""
    deadline = time.monotonic() + 30
    try:
        while shown.count(b"commits/s") < 2 and time.monotonic() < deadline:
            if select.select([ours], [], [], 1.0)[0]:
                shown += os.read(ours, 1 << 16)
        process.send_signal(signal.SIGINT)
        _, problems = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(theirs)
        os.close(ours)
    assert shown.count(b"commits/s") >= 2, shown
    assert (process.returncode, problems) == (130, "stopped\n")


def test_ctrl_c_at_any_time_is_a_word_at_most(
    stopped: Path, tmp_path: Path, kill_rounds: int
) -> None:
    """While it loads, opens, reads or ends; nothing is left behind."""
    for number in range(kill_rounds):
        process = subprocess.Popen(
            [TIMELINE, "cat", stopped, "room:001", "--reverse"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        try:
            process.wait(0.08 + number / kill_rounds * 0.72)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, problems = process.communicate(timeout=30)
        assert process.returncode in (0, 1, 130, -signal.SIGINT)
        quiet = problems in ("", "stopped\n", "\nAborted!\n")
        assert quiet or "__main__.py" not in problems, "the interpreter, before us"
        assert not list(tmp_path.iterdir())


def test_the_reader_of_a_pipe_may_have_seen_enough(stopped: Path) -> None:
    ran = subprocess.run(
        f"{TIMELINE} cat {stopped} room:001 | head -n 2",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(ran.stdout.splitlines()) == 2
    assert ran.stderr == ""
    assert "\x1b" not in ran.stdout, "no colours in a pipe"

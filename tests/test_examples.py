"""The promise: the programs in docs/examples/ run, and do what their heads say."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import redis

from tests.server.daemon import Daemon

EXAMPLES: Final = Path(__file__).parent.parent / "docs" / "examples"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_here_and_says_how_to_run_it() -> None:
    text = Path(__file__).read_text("utf-8")
    for example in EXAMPLES.glob("*.py"):
        assert f'"{example.stem}' in text, example
        assert f"python docs/examples/{example.name}" in example.read_text("utf-8"), example


def test_the_chat_shows_each_device_what_happened() -> None:
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "chat.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    shown = ran.stdout
    assert "message 1 is a duplicate" in shown
    assert "Bob has 1 unread" in shown
    assert "Bob has 0 unread, Alice 1" in shown
    laptop = re.findall(r"bob's laptop: (.*)", shown)
    assert laptop == [
        "team, 0 unread",
        "message 1 from alice: Lunch at noon?",
        "read 1",
        "message 2 from bob: 明天见",
    ]
    alice = re.findall(r"alice's phone: (.*)", shown)
    assert alice[1:] == [
        "message 1 from alice: Lunch at one?",
        "message 2 from bob: (recalled)",
        "edit 1 from alice: Lunch at one?",
        "recall 2",
    ]
    assert "Alice has 0 unread" in shown
    assert "lunch: <b>Lunch</b> at one?\n" in shown
    assert "message 2 (明天见) was recalled, so it is not found." in shown
    assert "明天: (nothing found)\n" in shown


def test_the_demo_shows_what_each_device_is_told() -> None:
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"],
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
    *_, followed, left = [
        [line.split()[:2] for line in home.partition("\n\n")[0].splitlines()]
        for home in ran.stdout.split("  bob's home\n")
    ]
    assert followed[:3] == [["post", "chen/1"], ["reply", "bob/1"], ["post", "alice/3"]]
    assert left == [["repost", "chen/2"], ["post", "chen/1"], ["reply", "bob/1"]]
    assert "unseen, posts and notes: [0, 4]" in ran.stdout
    assert re.search(r"like +600 +fan599, fan598, fan597", ran.stdout)


class CrashError(Exception):
    """The worker stops in the middle of its work."""


@pytest.fixture
def daemon(tmp_path: Path) -> Any:  # noqa: ANN401  a generator of daemons
    started = Daemon(tmp_path / "data")
    yield started
    started.stop()


def asked(daemon: Daemon, *words: str | int) -> Any:  # noqa: ANN401  a reply
    with redis.Redis(port=daemon.port, protocol=3, decode_responses=True) as client:
        return client.execute_command(*words)


def said(daemon: Daemon, text: str, *words: str) -> None:
    asked(daemon, "CONV.SEND", "team", "alice", *words, "*", "text", text)


def test_the_push_worker_tells_who_is_off_line_at_least_once(daemon: Daemon) -> None:
    worker_of = loaded("push_worker").Worker
    told: list[tuple[str, list[str], str, str]] = []
    fails_at = ""

    def notify(user: str, tokens: list[str], conversation: str, text: str) -> None:
        if text == fails_at:
            raise CrashError
        told.append((user, tokens, conversation, text))

    asked(daemon, "CONV.CREATE", "team", "alice", "MEMBERS", 3, "bob", "carol", "dave")
    asked(daemon, "USER.DEVICE", "bob", "phone", "*", "token", "77ab")
    asked(daemon, "USER.SET", "carol", "team", "*", "@mute", "1")
    said(daemon, "Before the worker began")
    worker = worker_of(daemon.port, notify)
    listener: Any = redis.Redis(port=daemon.port, protocol=3)
    position = asked(daemon, "USER.CONVERSATIONS", "dave")["position"]
    asked(daemon, "USER.ACK", "dave", "phone", position)
    listener.execute_command("USER.SUBSCRIBE", "dave", "phone")  # online

    said(daemon, "Hello")
    said(daemon, "Not important", "SILENT")
    worker.work()
    assert told == [("bob", ["77ab"], "team", "Hello")], "carol is mute, dave is online"

    listener.close()
    said(daemon, "Two")
    said(daemon, "Three")
    asked(daemon, "CONV.SEND", "team", "bob", "*", "text", "Four")
    fails_at = "Three"
    told.clear()
    with pytest.raises(CrashError):
        worker.work()
    assert {text for *_, text in told} == {"Two"}

    fails_at = ""
    told.clear()
    worker_of(daemon.port, notify).work()  # another process, later
    assert [text for user, *_, text in told if user == "bob"] == ["Two", "Three"]
    assert [text for user, *_, text in told if user == "alice"] == ["Four"]
    told.clear()
    said(daemon, "Five")
    asked(daemon, "CONV.DELETE", "team", "-")
    worker_of(daemon.port, notify).work()
    assert told == [], "it was deleted meanwhile"


def test_the_lines_in_the_head_of_the_push_worker_make_it_tell_somebody(daemon: Daemon) -> None:
    told: list[tuple[str, list[str], str, str]] = []
    module = loaded("push_worker")
    worker = module.Worker(daemon.port, lambda *words: told.append(words))
    assert module.__doc__ is not None
    lines = re.findall(r"^ +redis-cli -p 7420 (.*)$", module.__doc__, re.MULTILINE)
    for line in lines:
        asked(daemon, *shlex.split(line))
    worker.work()
    assert told == [("bob", ["77ab"], "team", "Hello")]


def test_the_push_worker_goes_on_where_it_was_killed(daemon: Daemon) -> None:
    asked(daemon, "CONV.CREATE", "team", "alice", "MEMBERS", 1, "bob")
    command = [sys.executable, str(EXAMPLES / "push_worker.py"), str(daemon.port)]
    for texts in (["One"], ["Two", "Three"]):
        for text in texts[1:]:  # while no worker runs
            said(daemon, text)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "waiting for messages\n"
            said(daemon, texts[0])
            heard: set[str] = set()
            while not heard.issuperset(texts):  # what came before may be told again
                heard.add(worker.stdout.readline().split(" team ")[1].strip())
            worker.send_signal(signal.SIGKILL)

"""The promise: docs/commands.md and docs/feeds.md name every command of the families with its
syntax, say who may do what, and each of their examples, typed in the order of the page, prints what
is shown.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.server.daemon import Daemon
from timeline.errors import TimelineError
from timeline.formats.conversations import CONVERSATION_KINDS, KINDS, ROLES
from timeline.messaging.access.roles import TABLE, application_may
from timeline_server.connection.table import COMMANDS
from timeline_server.registry.syntax import parse

DOCS: Final = Path(__file__).parent.parent / "docs"
PAGES: Final = {name: (DOCS / name).read_text("utf-8") for name in ("commands.md", "feeds.md")}
PAGE: Final = PAGES["commands.md"]
FAMILIES: Final = ("CONV.", "USER.", "FEED.", "TIMELINE.", "LOG.", "BACKUP")
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT: Final = re.compile(r"^(3?)> (.*)\n", re.MULTILINE)  # `3>` is RESP3
CURSOR: Final = re.compile(r"\b([0-9]{5,10})(?=-[0-9]+-[0-9]+)")  # the epoch of one
_READING: Final = "Reading messages... (press Ctrl-C to quit)\n"  # as redis-cli begins to listen
TIME: Final = re.compile(r"\b1[0-9]{12}\b")


class Example(NamedTuple):
    """A command for redis-cli in a protocol, or with protocol 0 a program, and what it prints."""

    protocol: int
    text: str
    shown: str


def blocks(language: str) -> list[str]:
    found = [block for page in PAGES.values() for block in BLOCK.findall(page)]
    return [text for its_language, text in found if its_language == language]


def examples(page: str) -> Iterator[Example]:
    program = ""
    for language, text in BLOCK.findall(page):
        if language == "redis":
            _, *parts = PROMPT.split(text)
            for three, command, shown in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
                yield Example(3 if three else 2, command, shown.rstrip("\n"))
        elif language == "python":
            program = text
        elif language == "text":  # what the program before prints
            yield Example(0, program, text.rstrip("\n"))


def printed(daemon: Daemon, protocol: int, text: str) -> str:
    if not protocol:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(
                compile(text.replace("port=7420", f"port={daemon.port}"), "commands.md", "exec"), {}
            )
        return output.getvalue().rstrip("\n")
    words = ["redis-cli", "--no-raw", "-p", str(daemon.port), *(["-3"] if protocol == 3 else [])]
    ran = subprocess.run(
        words + shlex.split(text), capture_output=True, text=True, timeout=30, check=False
    )
    return ran.stdout.removeprefix(_READING).rstrip("\n")


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
@pytest.mark.parametrize("page", list(PAGES))
def test_every_example_prints_what_is_shown(
    tmp_path: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = Daemon(tmp_path / "daemon")
    try:
        ours = theirs = ""  # the epoch of this store, and that of the page
        for example in examples(PAGES[page]):
            text = example.text.replace(f" {theirs}-", f" {ours}-") if ours else example.text
            found = printed(daemon, example.protocol, text)
            if not ours and (epoch := CURSOR.search(found)):
                ours = epoch[1]
                theirs = CURSOR.findall(example.shown)[0]
            found = TIME.sub("<time>", CURSOR.sub(theirs, found))
            assert found == TIME.sub("<time>", example.shown), text
        assert ours or page != "commands.md", "cursors were among it"
    finally:
        assert daemon.stop() == 0


def simple_strings(reply: bytes) -> list[bytes]:
    """The simple strings that lie in arrays and maps of some replies, one behind the other."""
    found: list[bytes] = []
    at = 0

    def skip(depth: int) -> None:
        nonlocal at
        end = reply.index(b"\r\n", at)
        kind, rest = reply[at : at + 1], reply[at + 1 : end]
        at = end + 2
        if kind in b"*%>~" and int(rest) > 0:
            for _ in range(int(rest) * (2 if kind == b"%" else 1)):
                skip(depth + 1)
        elif kind in b"$=" and int(rest) >= 0:
            at += int(rest) + 2
        elif kind == b"+" and depth:
            found.append(rest)

    while at < len(reply):
        skip(0)
    return found


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_lies_in_arrays_and_maps_is_no_simple_string(tmp_path: Path, protocol: int) -> None:
    """Some clients make `true` of one: phpredis of the status of `CONV.SEND`."""
    daemon = Daemon(tmp_path / "data")
    shown = [each for page in PAGES.values() for each in examples(page)]
    words = [shlex.split(each.text) for each in shown if each.protocol]
    words += [["CLIENT", "LIST"], ["SLOWLOG", "GET"], ["CONFIG", "GET", "*"]]
    try:
        with socket.create_connection((daemon.host, daemon.port)) as connection:
            asked = [["HELLO", str(protocol)], *words, ["QUIT"]]
            connection.sendall(b"".join(map(encoded, asked)))
            with connection.makefile("rb") as replies:
                whole = replies.read()
        assert whole.endswith(b"+OK\r\n")
        assert simple_strings(whole) == []
    finally:
        assert daemon.stop() == 0


def encoded(words: list[str]) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


def test_every_command_of_the_families_is_there_with_its_syntax() -> None:
    described = {
        line.split()[0]: line.strip() for text in blocks("syntax") for line in text.splitlines()
    }
    registered = {
        name.decode(): command for name, command in COMMANDS.items()
        if name.decode().startswith(FAMILIES)
    }  # fmt: skip
    assert set(described) - {"SUBSCRIBE", "UNSUBSCRIBE"} == set(registered)
    for name, command in registered.items():
        assert parse(described[name].partition(" ")[2]) == command.arguments, name
        assert any(f"\n### {name}\n" in page for page in PAGES.values())


def rows(heading: str) -> list[list[str]]:
    """The table whose first column is headed so."""
    _, _, rest = PAGE.partition(f"| {heading} ")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_who_may_do_what_is_the_one_that_is_asked() -> None:
    found = {action: cells for action, *cells in rows("may")}
    assert set(found) == {action.value for action in TABLE}
    for action, allowed in TABLE.items():
        for kind, (cell, roles) in enumerate(zip(found[action.value], allowed, strict=True)):
            names = [ROLES[role] for role in sorted(roles, reverse=True)]
            names += ["`-`"] if application_may(action, kind) else []
            assert cell == (", ".join(names) or "nobody"), (action, CONVERSATION_KINDS[kind])


def test_every_kind_of_entry_is_told_of() -> None:
    assert [kind.strip("`") for kind, *_ in rows("kind")] == list(KINDS[1:])


def test_every_error_is_explained() -> None:
    found = {word.strip("`"): retry == "yes" for word, _, retry in rows("word")}
    classes = [TimelineError]
    for each in classes:
        classes += each.__subclasses__()
    codes = {each.code: each.retryable for each in classes if each.__module__ == "timeline.errors"}
    assert found == codes | {"EXECABORT": False}

"""The promise: what a client asks about commands before it calls them is true: where their keys
are, which subcommands there are, which commands there are not.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.server.daemon import Client, Daemon
from tests.server.test_connections import encoded
from timeline_server.connection.table import COMMANDS
from timeline_server.registry.lookup import every

FAMILIES = ("CONV.", "USER.", "TIMELINE.")
CONTAINERS = [name.decode() for name, command in COMMANDS.items() if command.subcommands]
# What is asked of all users or of no timeline in particular.
KEYLESS = {"TIMELINE.LIST", "TIMELINE.FIND", "TIMELINE.SEARCH", "TIMELINE.REINDEX"}


@pytest.fixture(scope="module")
def asking(daemon: Daemon) -> Client:
    with daemon.client(protocol=2, decode_responses=True) as client:
        yield client


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_explains_its_subcommands(asking: Client, name: str) -> None:
    connection = asking.connection_pool.get_connection()
    connection.send_command(name, "HELP")
    first, *lines = connection.read_response()
    connection.disconnect()
    assert first == f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert lines[-2:] == ["HELP", "    Print this help."]
    for member in COMMANDS[name.encode()].subcommands.values():
        beginning = member.name.partition(" ")[2]
        assert any(line.split(" ")[0] == beginning for line in lines), member.name


def test_a_conversation_and_a_user_are_keys_and_so_is_a_timeline(asking: Client) -> None:
    for command in COMMANDS.values():
        if command.name.startswith(FAMILIES) and command.name not in KEYLESS:
            words = [command.name, *(f"word{number}" for number in range(1, command.low))]
            words += ["word1"] * (len(words) == 1)
            assert asking.execute_command("COMMAND GETKEYS", *words)[0] == "word1", command.name
    for line, keys in {
        "CONV.JOIN team ann bob cem": ["team"],
        "CONV.DIRECT ann bob": ["ann"],
        "USER.ONLINE ann bob cem": ["ann", "bob", "cem"],
        "USER.READ ann team 5": ["ann"],
        "FEED.PUBLISH ann * text hi": ["ann"],
        "FEED.FOLLOW cat ann bob": ["cat"],
        "TIMELINE.INSPECT t 5": ["t"],
        "TIMELINE.COMPACT PREFIX t": [],
        "TIMELINE.GAIN t": ["t"],
        "xread count 5 streams a b 0 0": ["a", "b"],
    }.items():
        assert asking.execute_command("COMMAND GETKEYS", *line.split()) == keys


def test_key_specifications_say_the_same(asking: Client) -> None:
    found = {each[0]: each for each in told(asking, "CONV.SEND", "XREAD", "TIMELINE.COMPACT")}
    send, read, compact = found["conv.send"], found["xread"], found["timeline.compact"]
    assert send[3:6] == [1, 1, 1]
    assert send[8] == [
        ["flags", ["RW", "update"], "begin_search", ["type", "index", "spec", ["index", 1]],
         "find_keys", ["type", "range", "spec", ["lastkey", 0, "keystep", 1, "limit", 0]]]
    ]  # fmt: skip
    assert read[3:6] == compact[3:6] == [0, 0, 0]
    assert "movablekeys" in read[2]
    assert "movablekeys" in compact[2]
    assert read[8][0][3] == ["type", "keyword", "spec", ["keyword", "STREAMS", "startfrom", 1]]
    assert compact[8][0][3] == ["type", "unknown", "spec", []]


def test_commands_that_only_explain_that_they_are_not_there_are_not_told_of(asking: Client) -> None:
    assert told(asking, "XREADGROUP", "XACK", "XGROUP", "XGROUP|CREATE", "XADD")[:4] == [None] * 4
    names = asking.command_list()
    assert "xadd" in names
    assert not {"xreadgroup", "xack", "xgroup"} & set(names)
    assert asking.command_count() == len(names)
    for words in ("XREADGROUP GROUP g c STREAMS t >", "XGROUP CREATE t g $", "XACK t g 1-0"):
        connection = asking.connection_pool.get_connection()
        connection.send_command(*words.split())
        with pytest.raises(Exception, match="consumer groups are not supported"):
            connection.read_response()
        asking.connection_pool.release(connection)


def told(client: Client, *names: str) -> list[Any]:
    connection = client.connection_pool.get_connection()
    connection.send_command("COMMAND", "INFO", *names)
    found: list[Any] = connection.read_response()
    connection.disconnect()
    return found


def test_no_command_is_called_with_fewer_words_than_it_looks_at(daemon: Daemon) -> None:
    """What is wrong with so few words is an answer, and the connection goes on."""
    sent = b""
    for command in every():
        if command.name not in ("QUIT", "SHUTDOWN", "CLIENT REPLY"):
            words = command.name.encode().split()
            few = [*words, *[b"x"] * (command.low - len(words))]
            sent += encoded(*few) + encoded(b"RESET")
    with socket.create_connection((daemon.host, daemon.port), 20) as link:
        link.sendall(sent + encoded(b"ECHO", b"the end"))
        found = b""
        while not found.endswith(b"the end\r\n"):
            data = link.recv(1 << 16)
            assert data, found[-200:]
            found += data

"""The promise: a glob matches what Redis's matches, in a time that only its length and the name's
decide.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.server.daemon import Client, Daemon
from timeline_server.commands.glob import LONGEST, Glob
from timeline_server.errors import CommandError

SIGNS = b"ab*?[]^-\\\xe4"


def words(draw: random.Random, signs: bytes, longest: int) -> bytes:
    return bytes(draw.choices(signs, k=draw.randint(1, longest)))


def mixed(pattern: bytes) -> bool:
    """Whether it may hold a range from below 128 to above it, in which Redis takes bytes as signed
    on most machines.
    """
    return any(
        (pattern[at - 1] < 128) != (pattern[at + 1] < 128)
        for at in range(1, len(pattern) - 1)
        if pattern[at] == ord("-")
    )


def test_a_glob_matches_what_redis_matches(peer: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  shown when it fails
    draw = random.Random(seed)
    names = {words(draw, SIGNS, 5) for _ in range(300)}
    globs = [each for _ in range(2_000) if not mixed(each := words(draw, SIGNS, 8))]
    globs += (
        rb"[\]] [\*] [c-a] [^a] [ [^ [] [a a\ \ ** [a- [a-] [a-]] [\a-b] [b-\] *\ [a-\]]".split()
    )
    globs += rb"[^] [\ [^^] [--a] [a-b-] [[] [^]a] \\ \* ?\?".split()
    with redis.Redis(unix_socket_path=str(peer)) as link:
        link.flushall()
        link.mset(dict.fromkeys(names, b""))
        pipeline = link.pipeline(transaction=False)
        for each in globs:
            pipeline.keys(each)
        found = pipeline.execute()
    for pattern, theirs in zip(globs, found, strict=True):
        glob = Glob(pattern)
        assert {name for name in names if glob.matches(name)} == set(theirs), pattern
        assert all(name.startswith(glob.prefix) for name in theirs), pattern


def test_case_is_ignored_as_redis_ignores_it(peer: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  shown when it fails
    draw = random.Random(seed)
    signs = b"*?[]^-\\AZazGETget"
    globs = [words(draw, signs, 6) + draw.choice((b"", b"*")) for _ in range(300)]
    globs += [b"[Z-a]*", b"[a-Z]*", b"[A-z]*", b"GE[\\T]", b"GE[\\t]", b"[^G]ET"]
    with redis.Redis(unix_socket_path=str(peer)) as link:
        names = link.execute_command("COMMAND LIST")
        pipeline = link.pipeline(transaction=False)
        for each in globs:
            pipeline.execute_command("COMMAND LIST", "FILTERBY", "PATTERN", each)
        found = pipeline.execute()
    for pattern, theirs in zip(globs, found, strict=True):
        glob = Glob(pattern, ignore_case=True)
        assert {name for name in names if glob.matches(name)} == set(theirs), pattern


class Counted(bytes):
    """A name that counts how many of its bytes are looked at."""

    looked = 0

    def __getitem__(self, at: slice) -> Counted:  # type: ignore[override]
        return Counted(super().__getitem__(at))

    def __iter__(self) -> Iterator[int]:
        for byte in super().__iter__():
            Counted.looked += 1
            yield byte


@pytest.mark.parametrize("part", [b"a*", b"*a", b"*?a", b"*[ab]a"])
def test_a_name_is_read_once(part: bytes) -> None:
    name = Counted(b"a" * 500)
    Counted.looked = 0
    assert not Glob(part * 100 + b"b").matches(name)
    assert Counted.looked <= len(name)


def test_a_pattern_is_bounded() -> None:
    assert Glob(b"[" + b"a" * (LONGEST - 1)).matches(b"a")
    with pytest.raises(CommandError, match="4096 bytes"):
        Glob(b"*" * (LONGEST + 1))


STARS = "a*" * 100 + "b"


@pytest.mark.parametrize(
    "command",
    [
        ("KEYS", STARS),
        ("SCAN", "0", "MATCH", STARS),
        ("COMMAND LIST", "FILTERBY", "PATTERN", STARS),
        ("CONFIG", "GET", STARS),
    ],
    ids=" ".join,
)
def test_many_stars_end(daemon: Daemon, client: Client, command: tuple[str, ...]) -> None:
    client.xadd("a" * 500, {"f": "v"})
    reply = client.execute_command(*command)
    assert reply in ([], {}, [0, []], (0, []), [b"0", []])


def test_commands_take_the_same_globs(client: Client) -> None:
    for name in ("a]", "a*", "ab", "a^", "b"):
        client.xadd(name, {"f": "v"})
    for glob, names in {
        "a[\\]]": {b"a]"},
        "a[\\*]": {b"a*"},
        "[c-a]?": {b"a]", b"a*", b"ab", b"a^"},
        "[^a]": {b"b"},
        "a\\*": {b"a*"},
    }.items():
        assert set(client.keys(glob)) == names
        assert set(client.scan_iter(glob)) == names
    commands = client.execute_command("COMMAND LIST", "FILTERBY", "PATTERN", "X[lR]*")
    assert {b"xlen", b"xrange", b"xread"} <= set(commands)
    assert {"maxclients", "maxmemory"} <= set(client.config_get("MAX[^a]*"))

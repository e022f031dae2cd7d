"""The promise: any cut of a stream gives the same commands, and garbage a ProtocolError only."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given, strategies as st

from timeline_server.errors import ProtocolError
from timeline_server.wire.inline import split_inline
from timeline_server.wire.parser import Limits, Parser, Request

BOUND = 256 * 1024  # bytes that one call looks at, of which most are those of one large argument
LIMITS = Limits(request_bytes=200_000, argument_bytes=100_000, inline_bytes=1_000)


def encoded(command: Request) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(
        b"$%d\r\n%b\r\n" % (len(each), each) for each in command
    )


def outcome(pieces: list[bytes], limits: Limits = LIMITS) -> tuple[list[Request], str | None]:
    """The commands that a stream gives, and the fault that ends it."""
    parser = Parser(limits)
    commands: list[Request] = []
    for piece in pieces:
        try:
            commands += read(parser, piece)
        except ProtocolError as problem:
            return commands + problem.commands, str(problem)
    return commands, None


def read(parser: Parser, data: bytes) -> list[Request]:
    """All commands that are complete with `data`."""
    parser.feed(data)
    commands: list[Request] = []
    while parser.unread:
        before = parser.unread
        try:
            commands += parser.next()
        except ProtocolError as problem:
            problem.commands = commands + problem.commands
            raise
        assert before - BOUND <= parser.unread < before, "each call goes on, and not too far"
    return commands


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:stop] for start, stop in pairwise(marks)]


ARGUMENT = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"",
            b"XADD",
            b"*",
            b"*99999\r\n",
            b":1\r\n",
            b"\r\n",
            b"$-1\r\n",
            b"~3\r\n",
            b"\n>5\r\n",
            b"x" * 5_000,
        ]
    ),
)
COMMAND = st.lists(ARGUMENT, min_size=1, max_size=6)
FRAGMENT = st.one_of(
    st.binary(max_size=12),
    COMMAND.map(encoded),
    st.sampled_from(
        [
            b"PING\r\n", b"\r\n", b"*", b"$", b"*1\r\n", b"*-1\r\n", b"*0\r\n", b"*3\r\n",
            b"$3\r\n", b"$-1\r\n", b":1\r\n", b"+OK\r\n", b"-ERR\r\n", b"_\r\n", b"#t\r\n",
            b",1\r\n", b"%1\r\n", b"~1\r\n", b">1\r\n", b"|1\r\n", b"*2147483648\r\n",
            b"*4000000000\r\n", b"$4000000000\r\n", b"*01\r\n", b"$+4\r\n", b"*1\n", b"'",
            b'"\\x4', b"\0", b"*1\r\n$4\r\nPING\r\n",
        ]
    ),
)  # fmt: skip


@given(st.lists(COMMAND, max_size=20), st.lists(st.integers(0), max_size=8))
def test_any_cut_of_a_pipeline_gives_its_commands(
    commands: list[Request], places: list[int]
) -> None:
    data = b"".join(map(encoded, commands))
    assert outcome(cut(data, places)) == (commands, None)


@given(st.lists(FRAGMENT, max_size=8).map(b"".join), st.lists(st.integers(0), max_size=8))
@example(b"*1\r\n$4\r\nPING\r\n:1\r\n", [])
@example(b"*1\r\n$2\r\n", [])
@example(b"*2\r\n$4\r\nPING\r\n*1\r\n$1\r\nx\r\n", [14])
@example(b"*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nPING\r\n", [20])
def test_any_cut_of_garbage_gives_the_same_commands_and_fault(
    data: bytes, places: list[int]
) -> None:
    one_by_one = [data[at : at + 1] for at in range(len(data))]
    whole = outcome([data] if data else [])
    assert outcome(cut(data, places)) == whole
    assert outcome(one_by_one) == whole


@given(st.lists(FRAGMENT, max_size=8).map(b"".join), st.lists(st.integers(0), max_size=4))
def test_small_limits_let_small_commands_through_and_nothing_else(
    data: bytes, places: list[int]
) -> None:
    limits = Limits(
        arguments=10, request_bytes=1 << 16, argument_bytes=1 << 14, inline_bytes=1 << 14
    )
    commands, _ = outcome(cut(data, places), limits)
    assert all(0 < len(command) <= 10 for command in commands)


def test_mixed_inline_and_multibulk_commands_come_in_order() -> None:
    data = b"PING\r\n*1\r\n$4\r\nECHO\r\n\r\nSET \"a b\" 'c\\'d' \\x\n" + encoded([b"GET", b"k"])
    assert outcome([data]) == (
        [[b"PING"], [b"ECHO"], [b"SET", b"a b", b"c'd", b"\\x"], [b"GET", b"k"]],
        None,
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"*4000000000\r\n", "invalid multibulk length"),
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*" + b"1" * 70, "too big mbulk count string"),
        (b"*1\r\n$4000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$" + b"1" * 70, "too big bulk count string"),
        (b"*1\r\n*1\r\n$1\r\nx\r\n", "expected '$', got '*'"),
        (b"*2\r\n$1\r\nx\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n\x00", "expected '$', got byte 0x00"),
        (b"x" * 1_001, "too big inline request"),
        (b'ECHO "x\r\n', "unbalanced quotes in request"),
        (
            b"*3\r\n" + (b"$90000\r\n" + b"x" * 90_000 + b"\r\n") * 2 + b"$90000\r\n",
            "request above the limit of 200000 bytes (request_bytes)",
        ),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_the_words_of_redis_behind_what_was_whole(
    data: bytes, sentence: str
) -> None:
    good = [[b"PING"], [b"XADD", b"k", b"*", b"f", b"v"]]
    commands, fault = outcome([b"".join(map(encoded, good)) + data])
    assert commands == good
    assert fault == f"Protocol error: {sentence}"


def test_announced_lengths_take_no_memory() -> None:
    parser = Parser(Limits(arguments=1 << 31, request_bytes=1 << 40, argument_bytes=1 << 40))
    assert read(parser, b"*2000000000\r\n$4\r\nPING\r\n$1000000000000\r\nabc") == []
    assert parser.kept < 200


def test_an_argument_of_many_pieces_is_put_together_once() -> None:
    parser = Parser(Limits())
    value = b"v" * 1_000_000
    data = encoded([b"SET", b"k", value]) * 2
    found = [
        command
        for piece in cut(data, list(range(0, len(data), 1_000)))
        for command in read(parser, piece)
    ]
    assert found == [[b"SET", b"k", value]] * 2
    assert parser.kept == parser.unread == 0


def test_a_long_pipeline_is_read_whole_in_one_go() -> None:
    commands = [[b"XADD", b"key:%d" % number, b"*", b"text", b"x" * 100] for number in range(2_000)]
    assert outcome([b"".join(map(encoded, commands))], Limits()) == (commands, None)


@given(st.binary(max_size=40))
def test_inline_words_are_bytes_or_a_fault(line: bytes) -> None:
    try:
        words = split_inline(line)
    except ProtocolError:
        assert b"'" in line or b'"' in line
    else:
        assert all(isinstance(word, bytes) for word in words)


def test_a_line_that_comes_byte_by_byte_costs_no_more_than_its_length() -> None:
    """Counted, not timed: each look at the bytes that wait would make a copy of them."""
    parser = Parser(Limits())
    line = b"ECHO " + b"x" * 60_000 + b"\r\n"
    found = []
    copied = 0
    tracemalloc.start()
    try:
        for at in range(len(line)):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            parser.feed(line[at : at + 1])
            while parser.unread:
                found += parser.next()
            _, most = tracemalloc.get_traced_memory()
            copied += most - before
    finally:
        tracemalloc.stop()
    assert found == [[b"ECHO", b"x" * 60_000]]
    assert len(line) < copied <= 500 * len(line)


def test_an_unfinished_request_counts_its_objects() -> None:
    parser = Parser(Limits())
    parser.feed(b"*1000000\r\n" + b"$1\r\nx\r\n" * 10_000)
    while parser.unread:
        assert parser.next() == []
    assert parser.kept > 10_000 * (56 + 7)
    assert len(parser.forget()) == 10_000
    assert parser.kept == 0

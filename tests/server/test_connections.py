"""The promise: whatever arrives on a socket, the daemon answers or disconnects with a reason, keeps
its memory, and serves everybody else.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

import pytest

import timeline
from tests.server.daemon import Daemon, Start
from timeline_server.connection.appends import appends_from

Talk = Callable[..., bytes]


def converse(daemon: Daemon, *parts: bytes) -> bytes:
    """Sends the parts, then no more, and returns everything answered until the end."""
    with socket.create_connection((daemon.host, daemon.port), 20) as link:
        try:
            for part in parts:
                link.sendall(part)
            link.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the daemon has closed already
        received = b""
        try:
            while chunk := link.recv(1 << 16):
                received += chunk
        except ConnectionResetError:
            pass
        return received


def encoded(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (len(each), each) for each in words
    )


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"*4000000000\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$4000000000\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*-5\r\n*1\r\n$-7\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", b"-ERR Protocol error: expected '$', got '*'\r\n"),
        (b"*2\r\n$4\r\nPING\r\n:5\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"A" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
        (b'PING "a\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    ],
)
def test_a_protocol_error_is_told_and_ends_the_connection(
    daemon: Daemon, sent: bytes, answer: bytes
) -> None:
    assert converse(daemon, b"PING\r\n" + encoded(b"XADD", b"t", b"*", b"f", b"v"), sent).endswith(
        answer
    )
    assert converse(daemon, b"PING\r\n") == b"+PONG\r\n"


def test_what_was_whole_before_the_fault_is_done(daemon: Daemon) -> None:
    answer = converse(daemon, encoded(b"XADD", b"whole", b"*", b"f", b"v") * 2 + b"*1\r\n:1\r\n")
    assert answer == b"$3\r\n1-0\r\n$3\r\n2-0\r\n-ERR Protocol error: expected '$', got ':'\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nXADD crossed * f v\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost:7420\r\n\r\nXADD crossed * f v\r\n",
        b"PING\r\nhOST:\r\nXADD crossed * f v\r\n",
        (
            b"*2\r\n$4\r\npost\r\n$1\r\n/\r\n*5\r\n$4\r\nXADD\r\n$7\r\ncrossed\r\n"
            b"$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n"
        ),
        b"MULTI\r\nXADD crossed * f v\r\nHost: x\r\nEXEC\r\n",
        b"SUBSCRIBE sync:crossing:a\r\nPOST / HTTP/1.1\r\nUNSUBSCRIBE\r\nXADD crossed * f v\r\n",
    ],
    ids=["post", "get", "inline", "multi-bulk", "transaction", "subscribed"],
)
def test_a_page_that_a_browser_posts_is_cut_off(daemon: Daemon, sent: bytes) -> None:
    """Redis since 3.2.7: who sends HTTP is no client, and nothing behind it is carried out."""
    with daemon.client() as client:
        client.execute_command("USER.META", "crossing", "*", "name", "C")
    converse(daemon, sent)
    converse(daemon, sent[:3], sent[3:])
    assert converse(daemon, b"XLEN crossed\r\n") == b":0\r\n"
    daemon.wait_for_log("looks like HTTP")


def test_errors_in_use_leave_the_connection_usable(daemon: Daemon) -> None:
    sent = b"".join(
        [
            encoded(b"NOSUCH", b"\x00\xff", b"x" * 1000),
            encoded(b"XADD", b"t"),
            encoded(b"XADD", b"t", b"*", b"f"),
            encoded(b"XRANGE", b"t", b"a", b"b"),
            encoded(b"", b""),
            encoded(b"CLIENT", b"NOSUCH"),
            encoded(b"PING"),
        ]
    )
    lines = converse(daemon, sent).split(b"\r\n")
    assert len(lines) == 8
    assert lines[0].startswith(
        b"-ERR unknown command 'NOSUCH', with args beginning with: '\\x00\\xff'"
    )
    assert lines[1] == b"-ERR wrong number of arguments for 'xadd' command"
    assert all(line.startswith(b"-ERR ") for line in lines[:6])
    assert lines[6] == b"+PONG"


def test_a_pipeline_cut_anywhere_does_what_was_whole(daemon: Daemon) -> None:
    command = encoded(b"XADD", b"cut", b"*", b"f", b"v" * 10)
    converse(daemon, encoded(b"DEL", b"cut"))
    whole = 0
    for length in range(len(command) + 1):
        answer = converse(daemon, command + command[:length])
        whole += 1 + (length == len(command))
        assert answer.count(b"\r\n") == 2 * (1 + (length == len(command)))
    assert converse(daemon, b"XLEN cut\r\n") == b":%d\r\n" % whole


def test_binary_garbage_hurts_nobody(daemon: Daemon) -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    with daemon.client() as client:
        client.ping()
        before = daemon.resident()
        for _ in range(300):
            parts = [
                dice.choice(
                    [
                        dice.randbytes(dice.randrange(200)),
                        b"*3\r\n$4\r\nXADD\r\n",
                        b"\r\n",
                        b"*",
                        b"$9\r\n",
                    ]
                )
                for _ in range(5)
            ]
            converse(daemon, *parts)
        assert client.ping(), f"seed {seed}"
        assert daemon.resident() - before < 32 << 20, f"seed {seed}"


def test_requests_that_never_end_are_bounded(start: Start) -> None:
    daemon = start("--request-bytes", "1m", "--argument-bytes", "1m")
    before = daemon.resident()
    links = []
    for _ in range(20):
        link = socket.create_connection((daemon.host, daemon.port), 20)
        link.sendall(b"*10\r\n$1000000\r\n" + b"x" * 900_000)
        links.append(link)
    with daemon.client() as client:
        client.ping()
    assert daemon.resident() - before < 64 << 20
    for link in links:
        link.close()
    endless = b"*1000000\r\n" + b"$10\r\n0123456789\r\n" * 70_000
    assert b"Protocol error: request above the limit" in converse(daemon, endless)


def test_a_client_that_does_not_read_is_bounded_and_delays_nobody(start: Start) -> None:
    daemon = start()
    with daemon.client() as client:
        pipe = client.pipeline(transaction=False)
        for _ in range(100):
            pipe.xadd("t", {"f": b"x" * 10_000})
        pipe.execute()
        before = daemon.resident()
        lazy = socket.create_connection((daemon.host, daemon.port), 20)
        lazy.setblocking(False)
        request = encoded(b"XRANGE", b"t", b"-", b"+")
        sent = 0
        try:
            while sent < 5_000 * len(request):
                sent += lazy.send(request * 100)
        except BlockingIOError:
            pass
        for _ in range(100):
            client.ping()
        assert daemon.resident() - before < 48 << 20
        # Once it reads, it gets every answer it asked for.
        lazy.setblocking(True)
        header = b"*100\r\n"
        received = b""
        while received.count(header) < 3:
            received += lazy.recv(1 << 20)
        lazy.close()
        assert client.ping()


def test_more_clients_than_allowed_are_refused(start: Start) -> None:
    daemon = start("--maxclients", "3")
    links = [socket.create_connection((daemon.host, daemon.port), 20) for _ in range(3)]
    for link in links:
        link.sendall(b"PING\r\n")
        assert link.recv(100) == b"+PONG\r\n"
    assert converse(daemon, b"") == b"-ERR max number of clients reached\r\n"
    links.pop().close()
    while b"max number" in converse(daemon, b"PING\r\n"):
        pass  # until the daemon has noticed
    for link in links:
        link.close()


def test_replies_come_in_the_order_of_commands(daemon: Daemon) -> None:
    sent = b"".join(
        [
            b"DEL order\r\n",
            encoded(b"XADD", b"order", b"*", b"f", b"v"),
            b"PING one\r\n",
            b"XLEN order\r\n",
            encoded(b"XADD", b"order", b"*", b"f", b"v"),
            b"NOSUCH\r\n",
            b"MULTI\r\nXLEN order\r\nEXEC\r\n",
            b"PING two\r\n",
        ]
    )
    answer = converse(daemon, sent)
    assert answer.split(b"\r\n")[1:] == [
        b"$3", b"1-0", b"$3", b"one", b":1", b"$3", b"2-0",
        b"-ERR unknown command 'NOSUCH', with args beginning with:",
        b"+OK", b"+QUEUED", b"*1", b":2", b"$3", b"two", b"",
    ]  # fmt: skip


def test_quit_answers_everything_before_it(daemon: Daemon) -> None:
    sent = (
        encoded(b"XADD", b"quit", b"*", b"f", b"v")
        + b"QUIT\r\n"
        + encoded(b"XADD", b"quit", b"*", b"f", b"v")
    )
    assert converse(daemon, sent) == b"$3\r\n1-0\r\n+OK\r\n"
    assert converse(daemon, b"XLEN quit\r\n") == b":1\r\n"


def test_subscriptions_in_both_protocols(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.execute_command("USER.META", "u", "*", "name", "U")
    sent = (
        b"DEL sub\r\nSUBSCRIBE sync:u:a sync:u:b sync:u:a\r\nPING\r\nXLEN sub\r\n"
        b"UNSUBSCRIBE sync:u:a none\r\nUNSUBSCRIBE\r\nUNSUBSCRIBE\r\nXLEN sub\r\n"
    )
    assert converse(daemon, sent) == (
        b":0\r\n"
        b"*3\r\n$9\r\nsubscribe\r\n$8\r\nsync:u:a\r\n:1\r\n"
        b"*3\r\n$9\r\nsubscribe\r\n$8\r\nsync:u:b\r\n:2\r\n"
        b"*3\r\n$9\r\nsubscribe\r\n$8\r\nsync:u:a\r\n:2\r\n"
        b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
        b"-ERR Can't execute 'xlen': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
        b"are allowed in this context\r\n"
        b"*3\r\n$11\r\nunsubscribe\r\n$8\r\nsync:u:a\r\n:1\r\n"
        b"*3\r\n$11\r\nunsubscribe\r\n$4\r\nnone\r\n:1\r\n"
        b"*3\r\n$11\r\nunsubscribe\r\n$8\r\nsync:u:b\r\n:0\r\n"
        b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"
        b":0\r\n"
    )
    answer = converse(daemon, b"HELLO 3\r\nSUBSCRIBE sync:u:a\r\nXLEN sub\r\nRESET\r\nPING\r\n")
    assert answer.endswith(
        b">3\r\n$9\r\nsubscribe\r\n$8\r\nsync:u:a\r\n:1\r\n:0\r\n+RESET\r\n+PONG\r\n"
    )


def test_a_channel_that_would_never_say_anything_is_refused(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.execute_command("USER.META", "u", "*", "name", "U")
    sent = b"SUBSCRIBE sync:u:a sync:news\r\nSUBSCRIBE sync:u\r\nXLEN none\r\n"
    first, second, rest = converse(daemon, sent).split(b"\r\n", 2)
    assert (
        first
        == b"-ERR there is no channel sync:news: the channel of a device is sync:<user>:<device>"
    )
    assert (
        second
        == b"-ERR there is no channel sync:u: the channel of a device is sync:<user>:<device>"
    )
    assert rest == b":0\r\n", "nothing was subscribed to"


def test_a_mixed_pipeline_costs_no_more_than_its_length() -> None:
    """Counted, not timed, where it is interpreted: each run of appends ends where the next command
    is another.
    """
    looks = 0

    class Words(list[bytes]):
        __slots__ = ()

        def __len__(self) -> int:
            nonlocal looks
            looks += 1
            return super().__len__()

    short = Words((b"XADD", b"a", b"*", b"f", b"v"))
    commands: list[list[bytes]] = [short, Words((*short, b"g", b"w"))] * 500
    for place, command in enumerate(commands):
        assert appends_from(commands, place) == ([b"a"], [[word] for word in command[3:]])
    assert timeline.compiled or len(commands) < looks < 5 * len(commands)
